/* control: the Unix socket of `musterctl`, an edge. Each line is a request, answered by one line,
 * in order; the protocol is in control_json.h. Root, the user of the server and the group of the
 * socket file can run every command, also if somebody loosened the file's mode (0660). The peer's
 * user is the actor in the audit log.
 *
 * At the home of DUTY_CONTROL. When it is stopped, it accepts no more and removes the socket file;
 * running commands are still answered, until the node waits for nothing else. Limits: 32
 * connections and 4 more of root, 10 s until the first request and 60 s from an answer to the next
 * one, 64 KiB a request, 16 MiB a reply, one command at a time for each connection. */
#pragma once
#include "base/err.h"
#include "home/edge.h"

struct control;
struct log_area;

extern struct log_area log_admin;
extern const struct edge control_edge; /* its own: struct control */

/* Listens; connections wait until the edge is opened. `address` is "unix:PATH"; a socket
 * file without a listening process is replaced. E_EXISTS: another process listens, or the file is
 * not a socket.
 */
NODISCARD enum err control_create(struct control **out, const char *address, struct why *why);
void control_destroy(struct control **control); /* after the node */
