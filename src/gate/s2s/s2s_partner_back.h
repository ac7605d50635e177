/* s2s_partner_back: a partner whose stanzas go back on a stream that the other server has opened
 * (XEP-0288), which may be on another worker: gate/s2s/s2s_in_back.h. It says by messages when
 * there is one, what was confirmed, and that it has ended. The partner uses it if policy and routes
 * let it connect to that server at all, and it has no stream of its own.
 *
 * If such a stream breaks and can be resumed (XEP-0198), and something is not confirmed, the
 * partner waits BACK_WAIT_MS for that before it connects itself or takes another one: who opened
 * the stream makes it again. A resumption that comes while the partner connects is still taken. As
 * long as a stream of that server is quiet, it is waited for: see back_left_ms(). A partner that
 * has a session of its own to resume waits as long before it takes a way back, or BACK_RESUME_MS if
 * it has a connection, or for s2s.retry-for if it has asked for that. A server that has several
 * streams gets BACK_RESUME_MS: the others say nothing of the one that has broken.
 *
 * Streams that are not used are remembered, BACK_OFFERS_MAX of a partner, the last ones: when the
 * one that is used ends, another one is.
 *
 * A partner that shares the stream of another one (gate/s2s/s2s_share.h) has it in the same way.
 * Confined to the worker of the
 * partner. */
#pragma once
#include "base/slice.h"
#include "home/message.h"

struct loop;
struct partner;
struct timer;

enum { BACK_WAIT_MS = 1000, BACK_RESUME_MS = 5000, BACK_OFFERS_MAX = 16, BACK_TLS_MAX = 15 };

/* What the stream says of a pair of domains. */
enum back_event {
    BACK_OFFERED = 0,
    BACK_CONFIRMED = 1, /* `count` more */
    BACK_FULL = 2,
    BACK_ROOM = 3,
    BACK_GONE = 4,
    /* It is authenticated, and its peer has not said yet whether it resumes another one: it does
     * when it has stored what came on that. BACK_OFFERED or BACK_GONE follows. */
    BACK_QUIET = 5
};

/* Of the other server, at the end of the stream: it may be for what it was sent. */
enum back_fault {
    FAULT_NONE = 0,
    FAULT_BREAKS = 1, /* its side has ended the connection without a word */
    FAULT_OFFENDS = 2 /* ... or has ended the stream with an error */
};

struct s2s_way_back {
    slice local, remote, tls;
    uint64_t stream, resumes; /* ids; resumes 0: none */
    uint32_t count;           /* BACK_OFFERED: what was written to the stream before, in all */
    uint32_t read;            /* BACK_CONFIRMED, BACK_GONE: so many of this pair have been read, of
                               * all that were written to this stream */
    uint32_t max_bytes;       /* BACK_OFFERED: the largest stanza (XEP-0478); 0: not said */
    uint8_t event;            /* enum back_event */
    uint8_t fault;            /* BACK_GONE: enum back_fault */
    bool counted;             /* it has XEP-0198 */
    bool certificate;         /* else dialback has proved it */
    bool resumable;           /* BACK_GONE */
    bool orderly;             /* BACK_GONE: the other server has ended it without an error, or an
                               * operator has closed it */
};
extern const struct message_row s2s_way_back_message;

/* The stream of a partner that is LOADING is one of these, or it waits for one. false: it connects
 * itself. */
bool partner_takes_back(struct partner *p);
void partner_offers_end(struct partner *p); /* nobody uses them */
/* There is one, and nothing that it would write twice can be resumed. */
bool partner_may_take_back(const struct partner *p);
/* There is one that it may take when its own session is not waited for any more. */
bool partner_may_soon_take_back(const struct partner *p);
/* One that is LOADING takes that instead of going on with its attempt. */
bool partner_turns_back(struct partner *p);
/* It is LOADING anew. If its own session is to be resumed, it takes a way back later: */
void partner_session_waits(struct partner *p);
void partner_turn_due(struct timer *t, struct loop *loop); /* partner.turn */
/* Gives it up: the partner has no stream. For partners that use one. */
void partner_leaves_back(struct partner *p);
struct stanza;
struct stanza_note;
void partner_write_back(struct partner *p, struct stanza *st, uint64_t delay_us); /* borrows */
/* What was written to it has perhaps arrived: the stream ends in order, and nothing more is written
 * until it has. */
void partner_ends_back(struct partner *p);
/* The stream has ended: it cannot be resumed. */
void partner_lost_back(struct partner *p, const char *why);
