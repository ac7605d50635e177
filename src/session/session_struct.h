/* session_struct: what session.c, session_queue.c and account_frozen.c share. */
#pragma once
#include "base/metric.h"
#include "core/gate.h"
#include "session/sessions.h"

struct loop_defer;

extern struct log_area log_session;
extern struct setting sm_hibernate_buffer, sm_hibernate_bytes, sm_ack_every, sm_ack_after,
    sm_queue_max, sm_queue_bytes;
extern struct metric session_flushes, session_flushes_limit, session_flush_stanzas,
    session_flush_waited;

/* The h that its client is told: it counts from where stream management began. */
static inline uint32_t session_handled(const struct session *s)
{
    return (int32_t)(s->h - s->in_base) < 0 ? 0 : s->h - s->in_base;
}

struct session *session_create(struct account *a, slice resource); /* not attached yet */
void session_take_id(struct session *s,
                     uint64_t id);               /* of a session that has come from elsewhere */
void session_moved(struct session *s);           /* its home is elsewhere now: memory only */
void session_free(struct session *s);            /* memory only */
void sessions_end_waiting(struct loop_defer *d); /* those of session_end_later() */
void session_hibernate(struct session *s, uint64_t ms);
bool session_expires(const struct session *s); /* it hibernates, and its timer ends it */
