/* recent: remembers the messages that an account has recently received and sent, and those that a
 * room has, to recognize repeats. A client sends a message that was not acknowledged again, with
 * the same origin-id (XEP-0359 §3.2). Within ten minutes, that is not a second message
 * (architecture §6). Confined to the home of the account or room.
 *
 * Limits: RECENT_US, and at least the last RECENT_MAX of each, which is more than a session has
 * unfinished (session/session_input.c); at most twice as many. In memory once there is one, and as
 * large as there are many. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct arena;
struct recent;
struct stanza;
struct store_batch;

/* Of an account or room. */
struct recents {
    struct recent *received, *sent; /* NULL: none */
};

enum { RECENT_MAX = 2048, RECENT_US = 600 * 1000000 };

/* A hash of its sender and origin-id, the same on all nodes; 0: it has none. */
int64_t recent_origin(const struct stanza *st, struct arena *tmp);

/* Received: the archive id of the first copy; 0: there is none. An origin of 0 is never known. */
uint64_t recent_find(const struct recents *r, int64_t origin, uint64_t now_us);
void recent_put(struct recents *r, int64_t origin, uint64_t archive_id);
/* One that was put: the join (home/ticket.h) that its first copy is handled with; 0: none. */
void recent_join(struct recents *r, int64_t origin, uint64_t join);
uint64_t recent_join_of(const struct recents *r, int64_t origin);
void recent_drop(struct recents *r, int64_t origin);

/* Sent: true: it was sent before. Else it is remembered, until an error for it comes back. */
bool recent_said(struct recents *r, const struct stanza *st, int64_t origin, uint64_t now_us);
void recent_refused(struct recents *r, const struct stanza *error);

void recent_load(struct store_batch *b, int64_t owner, uint64_t now_us); /* one statement */
void recent_loaded(struct recents *r, const struct store_batch *b, unsigned first);
void recent_free(struct recents *r);
