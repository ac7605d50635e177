/* s2s_peer: a domain of ours and a foreign one, at the home of the foreign domain. All stanzas from
 * the one to the other go through it, in one queue (gate/s2s/peer/s2s_queue.h) and over one stream
 * at a time: its own (gate/s2s/link/s2s_out.h), made when something waits, or one of the other
 * server (gate/s2s/peer/s2s_peer_back.h). It is a state machine: the table in s2s_peer.c.
 *
 * Not confirmed means: sent again, and it may come twice. Confirmed is what XEP-0198 counts;
 * without it, what was written before a ping that is answered, or before our end of a stream that
 * the other server answers by its own (RFC 6120 §4.4). Stored messages are rows of the database
 * until then (gate/s2s/peer/s2s_backlog.h); other stanzas are given back after s2s.retry-for. If a
 * server ends PEER_FRUITLESS_MAX streams in a row and confirms nothing on them, the oldest stanza
 * goes back: the last of these streams got stanzas one at a time.
 *
 * Limits: s2s.queue-stanzas and s2s.queue-bytes wait; s2s.unacked-max, and half of these bytes, are
 * not confirmed; s2s.queue-total bytes of all peers. Domains that were never reached: PEER_NEW_MAX
 * for a sender, PEER_NEW_ASKED for questions, PEER_NEW_NODE for a node. Confined to its worker. */
#pragma once
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_stage.h"
#include "remote/outgoing.h"
#include "xmpp/stanza_error.h"

struct in_flow;
struct s2s_peer;
struct stanza;
struct xstream;

enum {
    PEER_FRUITLESS_MAX = 3,
    PEER_NEW_MAX = 100,
    PEER_NEW_ASKED = 256,
    PEER_NEW_NODE = 20000,
    PEER_WHY_BYTES = 200
};

enum peer_state {
    PEER_WAITING, /* for something to send, or for the end of a pause */
    PEER_FINDING, /* a host of the domain is looked for */
    PEER_OPENING, /* there is a connection, and no stream for stanzas yet */
    PEER_UP,
    PEER_BROKEN,  /* the stream has ended and its session can be resumed (XEP-0198 §5) */
    PEER_CLOSING, /* our end of the stream is sent, or will be: nothing is written */
    PEER_FAILED, /* it was not reached for s2s.retry-for: stanzas are refused until the next attempt
                  */
    PEER_REFUSED, /* the same, and another attempt would end as the last one did */
    PEER_STATES
};

enum peer_event {
    PEER_WANTED,    /* a stanza, a row or a question waits */
    PEER_MISSED,    /* none was, as the blame says */
    PEER_OPENED,    /* the stream takes stanzas */
    PEER_LOST,      /* it is gone */
    PEER_OFFERED,   /* the other server has a stream that stanzas may go back on */
    PEER_DUE,       /* the pause is over */
    PEER_THERE,     /* the server has proved its domain to us, or an operator says `retry` */
    PEER_CLOSE,     /* an operator closes the stream, it is idle, or it does not confirm */
    PEER_FORBIDDEN, /* rules keep the domains apart, or this server stops */
    PEER_EVENTS
};

/* Of a worker, by "remote/local"; asks: only to ask about keys. NULL: there is none. */
struct s2s_peer *s2s_peer_find(struct worker *w, slice local, slice remote, bool asks);
/* The same, and makes it. sender: whose domain that was never reached counts for; empty: of
 * questions of strangers. NULL: it has too many of these. */
struct s2s_peer *s2s_peer_make(struct worker *w, slice local, slice remote, bool asks,
                               slice sender);
/* A stanza for the foreign domain, at its home. Takes over st. id: where the database has it, or
 * entry 0. */
void s2s_peer_take(struct worker *w, struct stanza *st, const struct outgoing_id *id);
/* The database has messages of the pair that memory does not have, perhaps. */
void s2s_peer_has_rows(struct worker *w, slice local, slice remote);
void s2s_peer_event(struct s2s_peer *p, enum peer_event e);
/* For each, of one foreign domain (ptr NULL: all); the sum of what fn returns. */
typedef bool s2s_peer_fn(struct s2s_peer *p);
int64_t s2s_peers_each(struct worker *w, slice domain, s2s_peer_fn *fn);
bool s2s_peer_close(struct s2s_peer *p);     /* false: it has no stream, and makes none */
bool s2s_peer_try_again(struct s2s_peer *p); /* now; false: it has not failed */
bool s2s_peer_judge(struct s2s_peer *p);     /* the rules about other servers are new */
bool s2s_peer_stop(struct s2s_peer *p);      /* the edge stops */
/* An account of ours, by its bare JID, is deleted: what it said and waits in memory is dropped. */
void s2s_peers_sender_gone(struct worker *w, slice bare);
void s2s_peers_init(struct s2s_worker *sw);
void s2s_peers_fini(struct s2s_worker *sw); /* memory only */

/* For operators: a line of `s2s list`, and why it fails: s2s_peer_show.c. */

struct peer_failed {
    enum s2s_stage stage;
    char why[PEER_WHY_BYTES];
};
void s2s_peer_show(const struct s2s_peer *p, s2s_show_fn *show, void *arg);
/* Seconds until the next attempt; 0: there is none. */
int64_t s2s_peers_next_s(struct worker *w, slice domain);
/* Why a pair has failed that waits for its next attempt; or where the one is that is under way.
 * false: neither. */
bool s2s_peer_failure(struct worker *w, slice local, slice remote, struct peer_failed *out);
bool s2s_peer_attempt(struct worker *w, slice local, slice remote, struct peer_failed *out);

/* For its stream. */

slice s2s_peer_local(const struct s2s_peer *p);
slice s2s_peer_remote(const struct s2s_peer *p);
struct s2s_gate *s2s_peer_gate(const struct s2s_peer *p);
bool s2s_peer_asks(const struct s2s_peer *p);  /* only about keys */
bool s2s_peer_sends(const struct s2s_peer *p); /* something waits for a stream */
/* Why the stream ends: what senders are told, and operators. hard: another attempt would end in the
 * same way. */
void s2s_peer_blame(struct s2s_peer *p, enum s2s_stage stage, enum stanza_error e, bool hard,
                    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* EXTERNAL has failed as s2s_external_failed() says: the next stream begins with dialback, unless
 * that passes, or certificates were loaded since then (s2s_tls_version()). */
void s2s_peer_external_failed(struct s2s_peer *p, enum s2s_external how, const char *said,
                              uint32_t version);
enum s2s_external s2s_peer_external(const struct s2s_peer *p); /* OFFERED: it is tried */
const char *s2s_peer_external_said(const struct s2s_peer *p);  /* the last time */
void s2s_peer_see_other(struct s2s_peer *p, slice host);       /* tried next, where that may be */
bool s2s_peer_may_be_plain(const struct s2s_peer *p);          /* without TLS */
/* The stream takes stanzas. counted: it has XEP-0198; anew: its counts begin at 0. */
void s2s_peer_opened(struct s2s_peer *p, bool counted, bool anew);
bool s2s_peer_confirmed(struct s2s_peer *p, uint32_t h); /* false: that cannot be */
void s2s_peer_confirm_all(struct s2s_peer *p);           /* that was written to the stream */
void s2s_peer_uncounted(struct s2s_peer *p);             /* it has no XEP-0198 after all */
bool s2s_peer_is_unconfirmed(const struct s2s_peer *p);  /* something that was written to it */
uint32_t s2s_peer_count(const struct s2s_peer *p);       /* of what was sent, as h */
void s2s_peer_full(struct s2s_peer *p, bool full); /* its connection takes no more, or again */
/* The answer to our ping may come on the stream that it was written to. false: it is none. */
bool s2s_peer_ponged(struct s2s_peer *p, slice id);
/* The ping that is being routed on this worker: true, and takes it over. */
bool s2s_peer_takes_ping(struct s2s_peer *p, struct stanza *st);
/* The session of XEP-0198 that can be resumed; empty: none. max_s: how long the server keeps it; 0:
 * it does not say so. */
slice s2s_peer_session(const struct s2s_peer *p);
void s2s_peer_set_session(struct s2s_peer *p, slice id, int64_t max_s);
/* What counts the stanzas of the other server on our stream (XEP-0288); NULL: none may come. */
struct in_flow *s2s_peer_flow(const struct s2s_peer *p);
/* The stream is authenticated. true: the last session goes on, if `resumes` says that it may. */
bool s2s_peer_begins(struct s2s_peer *p, struct xstream *x, bool both, bool resumes);
/* The stream has ended. */
enum peer_end {
    PEER_END_FRESH,   /* before it took stanzas */
    PEER_END_ORDERLY, /* by both sides, or by ours */
    PEER_END_THEIRS,  /* the other server has ended it with an error, or the connection */
    PEER_END_BROKEN   /* the network has */
};
void s2s_peer_lost(struct s2s_peer *p, enum peer_end how);
