/* trail: the way of each message, for `trace message`: who to whom, by which id, what became of it
 * and when; never the text. A ring on each worker has the newest steps (base/record_ring.h); what
 * is asked for is found by looking through it, so a step costs little more than the copy of the
 * addresses. The time is that of the loop (loop_wall_us()), which is never older than what came
 * from other workers: a step stands behind those that led to it. Settings: trace.messages,
 * trace.memory, trace.keep.
 *
 * Limits: of an id TRAIL_ID_MAX bytes are kept, of the rest what an address may have. Each worker
 * writes and reads its own ring. */
#pragma once
#include "base/setting.h"
#include "xmpp/stanza.h"

struct record_ring;
struct worker;

enum { TRAIL_ID_MAX = 255 };

struct trail_step {
    uint64_t at_us;          /* wall clock */
    const char *event, *why; /* static texts; why: may be "" */
    slice from, to, id;
    slice whom; /* session, push service or domain; may be empty */
};

extern _Thread_local struct record_ring *trail_mine; /* NULL: nothing is noted here */

void trail_add(const struct stanza *st, const char *event, const char *why, slice whom);

/* Of a message; other stanzas leave none. event is one of those that trail_rank() knows; it and why
 * are static texts. */
static inline void trail_note(const struct stanza *st, const char *event, const char *why,
                              slice whom)
{
    if (trail_mine != NULL && st->kind == STANZA_MESSAGE)
        trail_add(st, event, why, whom);
}

/* Of steps at the same time the one of the lower rank was first. An unknown event is the last. */
unsigned trail_rank(slice event);

/* Of a message that a component or another server sends: if it answers one by an error, why. */
void trail_answer(const struct stanza *st);
/* The same of another event, with the condition as the reason. */
void trail_error(const struct stanza *st, const char *event, slice whom);

/* Each step on this worker that is not older than trace.keep, the oldest first. The texts last
 * until the next message. */
void trail_each(void (*fn)(const struct trail_step *step, void *arg), void *arg);

void trail_worker_start(struct worker *w);
void trail_worker_stop(struct worker *w);
extern struct setting *const trail_settings[]; /* NULL-terminated */
