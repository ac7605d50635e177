/* control: the Unix socket of `musterctl`. Each line is a request, answered by one line, in order;
 * the protocol is in control_json.h. Whoever may open the socket (mode 0660) may do everything; the
 * peer's user id is the actor in the audit log.
 *
 * Lives on one worker's loop; everything is called on its thread. Bounds: 32 connections, 64 KiB a
 * request, 16 MiB a reply, one command at a time for each connection. */
#pragma once
#include "base/err.h"

struct control;
struct log_area;
struct worker;

extern struct log_area log_admin;

/* `address` is "unix:PATH"; a socket file that nobody listens on is replaced. E_EXISTS: somebody
 * does, or the file is no socket. */
NODISCARD enum err control_open(struct control **out, const char *address, struct worker *worker,
                                struct why *why);
/* Accepts no more and removes the socket file. Commands that still run are answered. */
void control_close(struct control *control);
/* Frees what is left; the loop has ended. */
void control_destroy(struct control **control);
