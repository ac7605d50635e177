/* control: the Unix socket of `musterctl`. Each line is a request, answered by one line, in order;
 * the protocol is in control_json.h. Every process that can open the socket (mode 0660) can run
 * every command. The peer's user is the actor in the audit log.
 *
 * Lives on the loop of one worker; call everything on its thread. Limits: 32 connections, 64 KiB a
 * request, 16 MiB a reply, one command at a time for each connection. */
#pragma once
#include "base/err.h"

struct control;
struct log_area;
struct worker;

extern struct log_area log_admin;

/* `address` is "unix:PATH"; a socket file without a listening process is replaced. E_EXISTS:
 * another process listens, or the file is not a socket. */
NODISCARD enum err control_open(struct control **out, const char *address, struct worker *worker,
                                struct why *why);
/* Stops accepting and removes the socket file. Running commands are still answered. */
void control_close(struct control *control);
/* Frees everything. Call it after the loop has ended. */
void control_destroy(struct control **control);
