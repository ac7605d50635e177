/* session_queue: the outbound half of a session: its acknowledgement queue (XEP-0198 §4). */
#pragma once
#include "base/slice.h"
#include "session/session.h"

struct stanza;
struct worker;

/* Delivers a stanza to this session; the caller keeps its reference. archive_id: the mailbox entry
 * that is settled when the client has it (0: none). delay_us: delay stamp (0: none). Ends no
 * session: one that overflows ends when the callback under way is over. */
void session_deliver(struct session *s, struct stanza *st, uint64_t archive_id, uint64_t delay_us);
/* The same for a shared stanza that is written with another `to` (presence fan-out); borrowed. */
void session_deliver_to(struct session *s, struct stanza *st, slice to);
/* While `flushing`: all that waits for stored messages up to this archive id; they have been
 * delivered. UINT64_MAX: all that waits. */
void session_deliver_behind(struct session *s, uint64_t archive_id);

/* A copy of something stored, wrapped for a session that asked for it. When the client has it, so
 * has the owner: archive_id is settled (0: none). If the session ends before, it is dropped, and
 * that entry is open again; nobody else gets it. */
void session_deliver_copy(struct session *s, struct stanza *st, uint64_t archive_id);
/* A copy of a message to another session of the account, written with another `to`. It settles the
 * entry if nobody else has the message queued when the client takes it; the entry is open again if
 * the session that has it last ends. */
void session_deliver_carbon(struct session *s, struct stanza *st, slice to, uint64_t archive_id);
/* Whether the client took nearly all of what it was sent; a producer goes on then, or waits for it.
 * session_wait() calls p->go once, later. */
bool session_took(const struct session *s);
void session_wait(struct session *s, struct producer *p);
/* Before something that may wait begins: it holds memory of the server. false: there are
 * SESSION_CLAIMS_MAX under way. The end of each is told, also when the session has ended. */
enum { SESSION_CLAIMS_MAX = 32 };
bool session_claim(struct session *s);
void session_unclaim(struct worker *w, uint64_t session);

/* The client answers a request. If it has not acknowledged that, the end of the session brings no
 * second answer, an error (RFC 6120 §8.2.3): for a request among the last ANSWERS_LOOK_BACK stanzas
 * that were sent, since each answer looks through them. */
enum { ANSWERS_LOOK_BACK = 256 };
void session_queue_answered(struct session *s, const struct stanza *answer);

/* What stage BLOCK says may be another now: drops what was not sent yet of those whom the owner has
 * blocked, or has not taken while it hibernates. Messages are settled, requests answered. */
void session_queue_review(struct session *s);
/* If its queue has this message of the archive, it has `st` in its place from now on. Borrows. */
void session_queue_replace(struct session *s, uint64_t archive_id, struct stanza *st);

/* Keeps what comes until it is unpaused or something urgent comes, see stage_hold(). */
void session_pause(struct session *s, enum session_pause why);
void session_unpause(struct session *s, enum session_pause why);

/* Entries that the client has not acknowledged; of these, those that were not sent yet. */
static inline uint32_t session_queue_len(const struct session *s) { return s->queue_len; }
static inline uint32_t session_queue_unsent(const struct session *s) { return s->queue_unsent; }

/* Whether the queue holds this archive id: the session has it or will get it on resumption. */
bool session_queued(struct session *s, uint64_t archive_id);

/* Whether another session than `but` has the entry in its queue; own: not as a copy of what went to
 * a third one. */
bool session_queued_elsewhere(const struct account *a, const struct session *but,
                              uint64_t archive_id, bool own);

/* The newest message that is kept and that the client has not acknowledged; NULL: none. Borrowed.
 */
const struct stanza *session_last_unacked(const struct session *s);

/* For the session itself. */
void session_queue_push(struct session *s, struct stanza *st, uint64_t archive_id,
                        uint64_t delay_us);
void session_queue_resend(struct session *s); /* after resumption: all of it, in order */
void session_queue_flush(struct session *s);  /* sends what was not sent yet */
void session_produce(struct session *s, struct session *to); /* lets producers go on, or end */
bool session_acked(struct session *s, uint32_t h);           /* false: h was never sent */
/* Drops old presence where there is too much for a session that hibernates (sm.hibernate-buffer).
 * false: it is still too much, and the session must end. */
bool session_queue_fits(struct session *s);
void session_queue_free(struct session *s); /* drops all of it, settles nothing */
void session_written(struct session *s, uint32_t count);
