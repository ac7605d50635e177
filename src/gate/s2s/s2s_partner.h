/* s2s_partner: a domain of ours and a foreign one, as an actor (home/actor.h) at the home of the
 * foreign domain. All stanzas from the one to the other go through it, so they keep their order; or
 * they are divided among several (gate/s2s/s2s_connections.h). It
 * has at most one outgoing stream (gate/s2s/s2s_out.h), made when there is something to send or to
 * ask; or the stanzas go back on one of the other server (gate/s2s/s2s_partner_back.h). Keys of a
 * server that takes them back are asked about by a partner of its own, "remote/local/": not on the
 * stream that they are of (XEP-0288 §2.2).
 *
 * What waits for the stream waits in the inbox of the actor. An attempt that fails is repeated with
 * growing pauses; after s2s.retry-for the senders are told of what is not stored, also if an
 * attempt hangs (gate/s2s/s2s_partner_fails.h). A domain that fails is remembered, and such stanzas
 * to it are refused at once, until it is tried again. Stored messages stay in the database:
 * gate/s2s/s2s_mail.h.
 *
 * What is written to the stream stays in memory (gate/s2s/s2s_unacked.h) until the server has
 * confirmed it: by XEP-0198; without it by the answer to a ping (XEP-0199) that was written behind
 * it, or by an orderly end of the stream. After a break the rest is written to the next stream,
 * before anything else. A server that ends streams for what it gets is given one at a time, and one
 * that has ended several of them goes back to its sender (gate/s2s/s2s_partner_care.h). A server
 * that does not answer the ping of two streams, and has answered none, cannot reach us, perhaps:
 * what is written to it counts as confirmed for a while, if its system has taken it.
 *
 * Limits: s2s.queue-stanzas and s2s.queue-bytes wait; s2s.unacked-max, and half of these bytes, are
 * not confirmed; one, when s2s.queue-total bytes of all wait or are not confirmed. Beside them
 * there is room for PARTNER_REPLIES_MAX answers from our server to the other one, as to its pings:
 * with two servers that wait for each other's answers, nothing else would move. Confined to its
 * worker. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_proof.h"
#include "gate/s2s/s2s_stage.h"
#include "home/message.h"
#include "im/outgoing.h"
#include "xmpp/stanza_error.h"

struct partner;
struct stanza;

/* Of its connections (gate/s2s/s2s_connections.h), 0: the first. */
struct partner_name {
    slice local, remote;
    unsigned number;
};

/* What the server of a domain says of a key. */
enum s2s_verdict {
    S2S_VALID,
    S2S_INVALID,
    S2S_UNKNOWN, /* it could not be asked */
    S2S_NOWHERE  /* there is no server to ask */
};

extern const struct actor_kind partner_kind;
/* On the worker of that connection. NULL: there is none, and none is made. */
struct partner *partner_find(struct worker *w, const struct partner_name *name, bool make);
/* For the connection of that number, on its worker. Takes over st. id: where the database has it,
 * or entry 0. */
void partner_take(struct worker *w, struct stanza *st, const struct outgoing_id *id,
                  unsigned number);
/* The ping that this partner is routing now: true, and takes it over. */
bool partner_takes_ping(struct partner *p, struct stanza *st);
/* The other server answers on the stream that we write to. false: that id is not of its ping. */
bool partner_pongs(struct partner *p, slice id);
/* The database has some, perhaps. shares: of these, another connection of the pair has left some.
 */
void partner_has_mail(struct partner *p, uint16_t shares);
/* A request that it has sent is answered: it is not written again. Or a message was refused. */
struct s2s_answer;
void partner_has_answer(struct partner *p, const struct s2s_answer *answer);
/* One of its shares is confirmed, and that is perhaps not written yet (gate/s2s/s2s_divert.h). */
void partner_has_settled(struct partner *p, const struct outgoing_id *id);
/* It carries these shares of another one, too (gate/s2s/s2s_divert.h), those of the database as
 * well. */
void partner_takes_over(struct partner *p, uint16_t shares);
/* It was handed that stanza, which is not stored and goes before the messages of its pair that the
 * database has from `entry` on. */
void partner_is_followed(struct partner *p, const struct stanza *st, uint64_t entry);
/* After the start of a node, and when another node has ended, on one worker: what its database has
 * is sent. */
void partners_find_pending(struct worker *w);
/* An account of ours is deleted, by its bare JID: on each worker, behind what it has sent. What of
 * that waits in memory is not sent any more. */
void partners_sender_gone(struct worker *w, slice bare);
static inline struct partner *partner_of(const struct actor *a)
{
    return (struct partner *)(uintptr_t)a; /* its first member */
}
/* A stanza of ours that waits is to be answered with this if the stream ends. hard: another attempt
 * would end in the same way. */
void partner_blame(struct partner *p, enum s2s_stage stage, enum stanza_error e, bool hard,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Stored messages go on waiting, also if that was hard. */
void partner_hopes(struct partner *p);
/* The server has answered EXTERNAL with a failure, `said` of s2s_external_failed(): the stream may
 * end now, and the next one begins with dialback, unless that passes, or certificates were loaded
 * since then: s2s_tls_version(). */
void partner_external_failed(struct partner *p, enum s2s_external how, const char *said,
                             uint32_t version);
/* How the next one would go, as far as that is remembered; EXTERNAL_OFFERED: it is tried. */
enum s2s_external partner_external(const struct partner *p);
const char *partner_external_said(const struct partner *p); /* the last time */
/* The server says that it is somewhere else: tried next, where that may be. */
void partner_see_other(struct partner *p, slice host);
bool partner_may_be_plain(const struct partner *p); /* without TLS */
slice partner_local(const struct partner *p);
slice partner_remote(const struct partner *p);
struct outgoing_share partner_share(const struct partner *p); /* of the stored messages */
struct s2s_gate *partner_gate(const struct partner *p);
bool partner_has_stanzas(const struct partner *p); /* that wait for the stream */
/* The stream takes stanzas now. counted: it has XEP-0198; anew: its counts begin at 0. */
void partner_up(struct partner *p, bool counted, bool anew);
bool partner_confirmed(struct partner *p, uint32_t h); /* false: that cannot be */
void partner_confirm_all(struct partner *p);           /* that was written to the stream */
/* The same where answers to pings can say it, but were awaited in vain: not if it has ever given
 * one. */
void partner_confirms_by_end(struct partner *p);
/* The same, but a pair that may not speak was not asked. */
void partner_confirms_if_not_asked(struct partner *p);
bool partner_may_answer(const struct partner *p); /* something is unconfirmed, and it may speak */
bool partner_answers(const struct partner *p);    /* its server has answered a ping, */
bool partner_hears(const struct partner *p);      /* also the last one */
void partner_asks_now(struct partner *p);         /* with a ping, what it has read */
bool partner_is_unconfirmed(const struct partner *p); /* something of that */
uint32_t partner_sent_count(const struct partner *p);
void partner_uncounted(struct partner *p); /* it has no XEP-0198 after all */
/* The id of the session of XEP-0198 that can be resumed; empty: none. */
slice partner_session(const struct partner *p);
void partner_set_session(struct partner *p, slice id);
/* ... and it says for how many seconds; 0: it does not. */
void partner_session_max(struct partner *p, int64_t max_s);
/* Where the other server writes on our stream, too (XEP-0288). */
struct in_flow *partner_flow(const struct partner *p); /* what counts that; NULL: it may not */
/* The stream is authenticated. true: the last session goes on, if `resumes` says that it may. */
bool partner_begins(struct partner *p, struct xstream *x, bool both, bool resumes);
void partner_parts(struct partner *p); /* the stream is closed */
/* ... without an end: if its session can be resumed, it is made again at once, also if nothing
 * waits for it here. The other server may write on it, and what both show of users on the other
 * side stays true only if nothing was forgotten. */
void partner_rejoins(struct partner *p);
/* The server is there, and is asked to resume its session, or will be when what came is handled: it
 * takes no way back meanwhile. */
void partner_asks_session(struct partner *p);
/* It is idle. Nothing is written any more, and what comes until its end is taken. */
void partner_ends(struct partner *p);
/* The server has ended the stream with an error, perhaps for a stanza; or the connection, without
 * one. */
void partner_offends(struct partner *p);
void partner_breaks(struct partner *p);
/* ... or the stream, without an error. */
void partner_ended(struct partner *p);
void partner_full(struct partner *p); /* it takes none until: */
void partner_room(struct partner *p); /* it takes them again, if it did not */
/* The stream has ended. at_once: another one is made without a pause if stanzas wait, and it is no
 * failure: that was up, or has ended for that. It may free p. */
void partner_lost(struct partner *p, bool at_once);

/* For gate/s2s/s2s_mail.h. */
struct s2s_sent;
struct worker *partner_worker(const struct partner *p);
void partner_pin(struct partner *p);
void partner_unpin(struct partner *p);
bool partner_has(const struct partner *p, const struct outgoing_id *id); /* in memory */
/* The inbox has an older one from its sender to the same account, or something else that it came
 * behind (gate/s2s/s2s_behind.h). */
bool partner_keeps_older(const struct partner *p, const struct outgoing_id *id,
                         const struct stanza *st);
/* One that is judged once more, as rules have changed, is older, and of its sender. */
bool partner_judges_older(const struct partner *p, const struct outgoing_id *id);
bool partner_takes_mail(const struct partner *p);
void partner_send(struct partner *p, const struct s2s_sent *s); /* takes over the reference */
void partner_mail_came(struct partner *p);
void partner_mail_done(struct partner *p);
bool partner_may_give_up(const struct partner *p); /* the domain fails */
bool partner_is_hopeless(const struct partner *p); /* another attempt would fail, too */
/* What tells its sender why the domain fails, or NULL. */
struct stanza *partner_complaint(const struct partner *p, const struct stanza *st);
/* So many stored messages have waited too long; counted, and logged. */
void partner_mail_given_up(const struct partner *p, uint32_t count);
