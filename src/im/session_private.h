/* session_private: what session.c, session_queue.c and sessions_saved.c share. */
#pragma once
#include "base/metric.h"
#include "im/gate.h"
#include "im/session.h"

extern struct log_area log_session;
extern struct setting sm_hibernate_time, sm_hibernate_buffer, sm_hibernate_bytes, sm_ack_every,
    sm_queue_max, sm_queue_bytes;
extern struct metric session_flushes, session_flushes_limit, session_flush_stanzas,
    session_flush_waited;

/* The h that its client is told: it counts from where stream management began. */
static inline uint32_t session_handled(const struct session *s)
{
    return (int32_t)(s->h - s->in_base) < 0 ? 0 : s->h - s->in_base;
}

struct session *session_create(struct account *a, slice resource); /* not attached yet */
void session_end_later(struct session *s, enum session_end why);
void session_free(struct session *s); /* memory only */
void session_hibernate(struct session *s, uint64_t ms);
void session_down(struct session *s, struct down *d);

enum session_hold_bits {
    HOLD_UNFINISHED = 1, /* too many stanzas are not handled yet */
    HOLD_OFFLINE = 2     /* its offline messages come first */
};
void session_hold(struct session *s, enum session_hold_bits why);
void session_release(struct session *s, enum session_hold_bits why);

/* session_queue.c: outbound */
struct queued *session_queue_at(const struct session *s, uint32_t i); /* 0: the oldest */
void session_queue_push(struct session *s, struct stanza *st, uint64_t archive_id,
                        uint64_t delay_us);
void session_queue_resend(struct session *s);            /* after resumption: all of it, in order */
void session_queue_flush(struct session *s);             /* sends what was not sent yet */
uint32_t session_queue_longest(const struct session *s); /* bytes of the longest stanza */
void session_produce(struct session *s, struct session *to); /* lets producers go on, or end */
bool session_acked(struct session *s, uint32_t h);           /* false: h was never sent */
/* Drops old presence where there is too much for a session that hibernates (sm.hibernate-buffer).
 * false: it is still too much, and the session must end. */
bool session_queue_fits(struct session *s);
void session_queue_free(struct session *s); /* drops all of it, settles nothing */
void session_written(struct session *s, uint32_t count);

/* session_input.c: inbound */
void session_input(struct session *s, struct stanza *st); /* takes over */
void session_asked(struct session *s);                    /* <r/> */
