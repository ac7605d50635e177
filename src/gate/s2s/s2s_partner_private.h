/* s2s_partner_private: the memory of a partner, for the files that it is made of:
 * gate/s2s/s2s_partner.c, s2s_partner_care.c, s2s_partner_ends.c, s2s_partner_fails.c,
 * s2s_partner_keys.c, s2s_share.c and s2s_confirm.c. */
#pragma once
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/s2s/s2s_behind.h"
#include "gate/s2s/s2s_find.h"
#include "gate/s2s/s2s_mail.h"
#include "gate/s2s/s2s_out.h"
#include "gate/s2s/s2s_partner.h"
#include "gate/s2s/s2s_partner_back.h"
#include "gate/s2s/s2s_partner_fails.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_share.h"
#include "gate/s2s/s2s_unacked.h"
#include "home/ask.h"

enum { PARTNER_WHY_BYTES = 200, PARTNER_REPLIES_MAX = 8 };

/* Why a stream takes no stanzas of the inbox. */
enum {
    HOLD_OUTPUT = 1,  /* the server reads too slowly */
    HOLD_UNACKED = 2, /* too much is not confirmed */
    HOLD_MAIL = 4,    /* older ones are read from the database */
    HOLD_END = 8,     /* it is being ended */
    HOLD_RULES = 16,  /* what has waited is judged again: gate/s2s/s2s_confirm.h */
    HOLD_PARTING = 32 /* its pair may speak no more: farewells alone are written */
};

/* A stream that the other server has opened: gate/s2s/s2s_partner_back.h. */
struct partner_back {
    uint64_t stream;          /* its id; 0: none */
    uint64_t resumes;         /* the one that it goes on from; 0: none */
    uint32_t base;            /* what was written to it before this partner used it */
    uint32_t max_bytes;       /* the largest stanza that it takes (XEP-0478); 0: not said */
    struct message_from from; /* the worker that has it */
    uint64_t came_us;         /* loop time when it was offered */
    bool on;                  /* it is the stream of the partner */
    bool kept;                /* it has ended, and may be resumed: `base` and `stream` count */
    bool waits;               /* ... so it is waited for, */
    bool waiting;             /* as `retry` says */
    bool counted, certificate;
    char tls[BACK_TLS_MAX + 1];
};

/* A pair of domains, an actor. LOADING: the stream to it is being made, what is for it waits in the
 * inbox. READY: stanzas are written to the stream; paused while that takes none. ABSENT: it failed,
 * and stanzas are refused until `retry`; what is not confirmed may stay (partner_keeps_sent()). */
struct partner_limit {
    const struct setting *setting;
    const char *why; /* as operators read it */
};

struct partner {
    union {
        struct actor actor; /* its jid is "remote/local", or with a number "remote/local/1" */
        struct {
            ACTOR_HEAD;
        };
    };
    struct s2s_gate *gate;
    struct s2s_find *find;
    struct s2s_out *out;
    struct partner_back back;        /* in place of `out` */
    struct list offers;              /* other ones, the last that came at the end */
    uint8_t offer_count;             /* at most BACK_OFFERS_MAX */
    uint8_t quiet_count;             /* at most BACK_OFFERS_MAX, of `quiet` */
    uint64_t quiet[BACK_OFFERS_MAX]; /* streams: see BACK_QUIET */
    uint64_t offer_gone_us; /* loop time when one of `offers` last broke that could be resumed */
    struct in_flow *flow;   /* what came on `out` and its forerunners; NULL: nothing may come */
    struct {
        struct list node;        /* in `waits` of the partner that it waits for */
        struct list waits;       /* partners of other domains of ours, for the stream of this one */
        struct s2s_guest *guest; /* on the stream of another partner; NULL: it is none */
        uint64_t refused_us;     /* loop time until which it makes its own */
        bool leads;              /* others find it: s2s_worker.leads */
    } share;                     /* gate/s2s/s2s_share.h */
    struct timer retry;
    struct timer turn;         /* ... until a way back is taken: gate/s2s/s2s_partner_back.h */
    struct timer patience;     /* while LOADING: how long stanzas wait */
    struct loop_defer connect; /* actor_load() has been called */
    struct list questions;
    unsigned question_count;
    uint64_t failing_us; /* loop time of the first attempt that failed; 0: the last one did not */
    uint64_t since_us;   /* of its stage */
    uint64_t waits_us;   /* loop time when it was last LOADING anew, */
    uint64_t attempt_until_us; /* and until which an attempt is waited for */
    uint8_t failures;          /* in a row; at most FAILURES_COUNTED */
    uint8_t resumptions;       /* attempts in a row that followed soon; at most RESUME_SOON_MAX */
    uint8_t missed;            /* beside another connection that is up; at most DIVERT_FAILURES */
    uint8_t stage;             /* enum s2s_stage: of the last failure */
    uint8_t blame;             /* enum stanza_error: what senders are told */
    bool blamed;               /* of the attempt that is under way, or the stream */
    bool hard;
    bool hopeful;      /* ... but stored messages wait */
    uint8_t replies;   /* of `reply`; at most PARTNER_REPLIES_MAX */
    uint8_t holds;     /* HOLD_OUTPUT and so on: paused */
    bool overdue;      /* LOADING: its senders wait for the attempt no more */
    bool fresh;        /* LOADING, but actor_load() was not called yet */
    bool asked_only;   /* LOADING for a question alone: counted in gate->asked_only */
    bool vain;         /* a stream was up, and nothing was confirmed since */
    bool offended;     /* the server has ended the stream for what it was sent */
    bool broke;        /* its side has ended the connection without a word */
    bool orderly;      /* ... or the stream, without an error */
    bool quick;        /* the next attempt follows at once: partner_may_be_quick() */
    bool careful;      /* ... or the last one was vain: one at a time, each confirmed */
    bool counted;      /* the stream that is up has XEP-0198 */
    bool deaf;         /* it has not answered pings, or cannot: what is written counts */
    bool silent;       /* it has not answered the ping of one stream */
    bool answers;      /* it has answered one */
    bool pinging;      /* what comes from inside is the ping */
    bool rejoins;      /* the stream has broken, and is to be resumed */
    bool asks_session; /* ... and the server was asked to: partner_asks_session() */
    bool ping_open;    /* its answer is to come; it may come from inside */
    const struct partner_limit *full; /* the last stanza found no room by that; NULL: it did */
    uint64_t overflows;               /* those that did not */
    uint64_t overflows_told;          /* ... of which the log has told */
    uint64_t overflow_told_us;        /* loop time of when it last did; 0: never */
    uint64_t came_us;        /* loop time when it last proved its domain to us while it failed */
    uint64_t uncertified_us; /* loop time until which it is not shown our certificate; 0: it is */
    uint32_t uncertified_version; /* s2s_tls_version() of that certificate */
    struct s2s_unacked unacked;
    struct s2s_mail mail;
    struct s2s_behind behind;
    struct {
        uint64_t inbox_version;  /* foreign_version() that all in the inbox was judged by, */
        uint64_t sent_version;   /* and all in `unacked`; or a later one for some */
        uint32_t inbox;          /* so many in front of the inbox are to be judged again */
        uint32_t sent;           /* and in `unacked`: all that are not written, or none */
        struct s2s_judge *judge; /* of the first of these; NULL: none */
        uint64_t judge_version;
        struct loop_defer next; /* when that has judged */
    } doubt;
    struct {
        uint64_t version;        /* foreign_version() that the inbox was looked through by */
        uint32_t judged;         /* stored ones in front of the inbox that were judged by it */
        struct s2s_judge *judge; /* of the next of these; NULL: none */
    } forbid;                    /* of gate/s2s/s2s_forbid.c */
    uint64_t deaf_us;            /* loop time until which it is not asked again */
    struct ask *ping;            /* under way; NULL: none */
    uint32_t ping_count;         /* what its answer confirms */
    struct timer ping_timer;
    struct {
        int64_t sender;
        uint64_t entry;    /* 0: it is not stored */
        const void *st;    /* of one that is not stored; compared only */
        uint8_t streams;   /* at most PARTNER_SUSPECT_MAX */
        uint8_t quick;     /* attempts that followed at once, at most PARTNER_QUICK_MAX, since */
        uint64_t quick_us; /* this loop time */
    } suspect; /* the oldest when a server that gets one at a time ended its streams for that */
    struct outgoing_id *watched; /* stored ones that were written to a stream that ended for one of
                                  * them, perhaps; room for WATCHED_MAX; NULL: none */
    uint32_t watched_len;
    uint64_t watched_us;                       /* loop time until which care lasts for them */
    struct stanza *reply[PARTNER_REPLIES_MAX]; /* wait for the next stream, and go first */
    char *session;                             /* to be resumed (XEP-0198 §5); NULL: none */
    uint32_t session_max_s;   /* at most SESSION_MAX_S; 0: the other server does not say it */
    uint64_t session_over_us; /* loop time when it has kept that, since the stream broke */
    uint64_t returns_us;      /* the same if it is made again until then: partner_returns(); or 0 */
    uint8_t returns;          /* attempts for that alone; at most RETURNS_COUNTED */
    uint8_t number;           /* of its connections; 0: the first */
    bool diverts;             /* another one carries its stanzas: gate/s2s/s2s_divert.h */
    uint8_t diverted_to;      /* its number */
    uint64_t diverted_us;     /* loop time of the last that it was handed */
    uint16_t shares;          /* of stored messages that this one sends, a bit for each */
    uint16_t remote_len, local_len;
    uint8_t external;                      /* enum s2s_external: how it failed the last time, */
    char external_said[EXTERNAL_SAID_MAX]; /* and what s2s_external_failed() says of that */
    char why[PARTNER_WHY_BYTES];
    char text[];
};

static inline struct loop *partner_loop(const struct partner *p) { return worker_loop(p->worker); }
/* It has a stream, of any kind. */
static inline bool partner_is_linked(const struct partner *p)
{
    return p->out != NULL || p->back.on;
}
/* The name of its pair. */
static inline slice partner_pair(const struct partner *p)
{
    return (slice){ p->text, p->remote_len + 1u + p->local_len };
}
/* Its domain of ours is one still, or has last words to say. */
static inline bool partner_is_served(const struct partner *p)
{
    return s2s_was_ours(p->worker, partner_local(p));
}
/* partner_asker() has made it: it carries no stanzas. */
static inline bool partner_asks_only(const struct partner *p)
{
    return p->actor.jid.ptr[p->actor.jid.len - 1] == '/';
}
/* What senders are told beside the error. */
static inline slice partner_words(const struct partner *p)
{
    return s2s_stage_words((enum s2s_stage)p->stage, (enum stanza_error)p->blame);
}
static inline bool partner_stopped(const struct partner *p)
{
    return s2s_worker(p->gate, p->worker)->out.stopped;
}
/* Of gate/s2s/s2s_partner.c, for gate/s2s/s2s_verify.c. */
void partner_asked_only(struct partner *p, bool on); /* it is made for questions alone */
void partner_forget(struct partner *p);              /* nobody needs it */
void partner_begin(struct partner *p);               /* to make its stream, if nobody did */
struct s2s_verify;
struct partner *partner_asker(struct worker *w, const struct s2s_verify *v); /* or a new one */
/* For gate/s2s/s2s_partner_ends.c: the attempt has failed, as the blame says; it is to; and it
 * pauses no more. */
void partner_failed(struct partner *p);
void partner_breaks_off(struct partner *p);
void partner_retries_now(struct partner *p);
/* For gate/s2s/s2s_partner_back.h: why it failed is over, and so is the pause. */
void partner_forgive(struct partner *p);
static inline bool partner_is_farewell(const struct stanza *st)
{
    return st->kind == STANZA_PRESENCE && st->type == TYPE_UNAVAILABLE;
}
/* One was taken out of the inbox. If that is empty now, what was kept until then goes there, or
 * back if nothing can be written any more. */
void partner_inbox_shrank(struct partner *p);
/* One of the inbox, and back. */
static inline struct s2s_sent partner_item(const struct actor_item *item)
{
    return (struct s2s_sent){ .st = item->st,
                              .id = { .sender = item->sender_id,
                                      .entry = item->sender_entry,
                                      .slot = (uint16_t)node_slot(stanza_from_bare(item->st)),
                                      .unshown = (item->mark & 1) != 0 },
                              .at_us = item->mark >> 1 };
}
static inline struct actor_item partner_item_of(const struct s2s_sent *s)
{
    return (struct actor_item){ .st = s->st,
                                .sender_entry = s->id.entry,
                                .sender_id = s->id.sender,
                                .mark = s->at_us << 1 | s->id.unshown };
}
