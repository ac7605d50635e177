/* sessions: those of a worker: found and counted, spoken to, marked for their end. How they begin
 * and end is in session/session.h. */
#pragma once
#include "core/gate.h"
#include "session/session.h"

struct session *session_find(const struct worker *w, uint64_t id);
/* All sessions of a worker: as map_next(). */
struct session *sessions_next(const struct worker *w, uint32_t *i);
uint32_t sessions_count(const struct worker *w);

/* The active client of an account: that of the session which was last to send available presence or
 * a message within session.active-time, and is connected and not in the background. NULL: none. */
struct session *session_active(const struct account *a);

/* Calls fn for the sessions of an account that are available, or know the roster; oldest first. */
enum sessions_who { SESSIONS_AVAILABLE, SESSIONS_INTERESTED };
typedef void sessions_fn(struct session *s, void *arg);
void sessions_each(struct account *a, enum sessions_who who, sessions_fn *fn, void *arg);

/* To the stream of a session, or to one that has none yet. */
void session_down(struct session *s, struct down *d);
void session_link_down(struct worker *w, const struct link *link, struct down *d);

enum session_hold_bits {
    HOLD_UNFINISHED = 1, /* too many stanzas are not handled yet */
    HOLD_OFFLINE = 2,    /* its offline messages come first */
    HOLD_WAITING = 4,    /* too much of it waits: session/session_wait.h */
    HOLD_MOVING = 8,     /* it goes to another node: account/moves.h */
    HOLD_GET = 16        /* a request is not answered yet */
};
/* Its stream is told not to read, until no reason is left. */
void session_hold(struct session *s, enum session_hold_bits why);
void session_release(struct session *s, enum session_hold_bits why);

/* Ends it when the delivery under way is over. */
void session_end_later(struct session *s, enum session_end why);

/* An entry of its acknowledgement queue; 0: the oldest. */
static inline struct queued *session_queue_at(const struct session *s, uint32_t i)
{
    return &s->queue[(s->queue_head + i) & (s->queue_cap - 1)];
}
uint32_t session_queue_longest(const struct session *s); /* bytes of the longest stanza */
