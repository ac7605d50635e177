/* link: the messages between a stream and the home of its session, where these are on different
 * workers (architecture §3): bind requests and struct up one way, struct down the other. */
#pragma once
#include "core/gate.h"

struct map;
struct message_row;

/* Of the gate: its streams on this worker, by id. */
struct map *link_streams(const struct worker *w);

/* `stream` is an id; `session` tells the way to its home. Takes over up->st. */
void link_send_up(struct worker *w, uint64_t stream, uint64_t session, const struct up *up);
void link_send_down(struct worker *w, const struct link *link, const struct down *d);
void link_send_bind(struct worker *w,
                    const struct bind_request *req); /* to the home of req->bare */

extern const struct message_row down_message;
extern const struct message_row bind_message, up_message; /* session/link_up.h runs them */
