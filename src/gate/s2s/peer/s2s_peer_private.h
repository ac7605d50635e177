/* s2s_peer_private: the memory of a peer, for the files that it is made of: s2s_peer.c (states),
 * s2s_peer_write.c, s2s_peer_back.c, s2s_peer_show.c, s2s_backlog.c and s2s_keys.c. */
#pragma once
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/link/s2s_out.h"
#include "gate/s2s/peer/s2s_backlog.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/peer/s2s_peer_back.h"
#include "gate/s2s/peer/s2s_queue.h"
#include "gate/s2s/s2s_rows.h"
#include "home/ask.h"

struct peer_blame {
    uint8_t stage; /* enum s2s_stage */
    uint8_t error; /* enum stanza_error: what senders are told */
    bool set;      /* of the attempt that is under way, or the stream; else of the one before */
    bool hard;
    char why[PEER_WHY_BYTES];
};

struct peer_external {
    uint8_t how; /* enum s2s_external */
    char said[EXTERNAL_SAID_MAX];
    uint64_t until_us; /* loop time until which EXTERNAL is not tried again; 0: it is */
    uint32_t version;  /* s2s_tls_version() of the certificate */
};

struct peer_ping {
    struct ask *ask;    /* under way; NULL: none */
    uint32_t count;     /* what its answer confirms */
    bool routing;       /* what comes from inside is the ping */
    struct timer timer; /* until the next one */
};

struct peer_keys { /* of gate/s2s/peer/s2s_keys.c */
    struct list questions;
    uint32_t count;
};

struct peer_overflow { /* stanzas that found no room, and of which the log has told */
    uint64_t count, told, told_us;
    const struct setting *by; /* of the last stanza; NULL: it found room */
};

struct peer_session {
    slice id; /* ptr NULL: none can be resumed */
    uint32_t max_s;
    uint64_t over_us; /* loop time when the other server forgets it, since the stream broke */
};

struct s2s_peer {
    struct worker *worker;
    struct s2s_gate *gate;
    uint8_t state;       /* enum peer_state */
    bool counted;        /* the stream has XEP-0198 */
    bool full;           /* its connection takes no more */
    bool progress;       /* something was confirmed on it */
    bool known;          /* it counts for nobody: it was reached, or has a route */
    uint8_t fruitless;   /* streams in a row on which nothing was confirmed */
    uint8_t failures;    /* attempts in a row */
    uint16_t owner;      /* whom it counts for if it is not known */
    uint32_t careful;    /* so many go one at a time */
    uint64_t failing_us; /* loop time since which it was not reached; 0: it was, or nobody knows */
    uint64_t since_us;   /* of the state */
    uint64_t there_us;   /* of the last PEER_THERE */
    struct s2s_find *find;
    struct s2s_out *out;
    struct peer_back back, offer; /* the stream in place of `out`, and one that may be */
    struct in_flow *flow;
    struct s2s_queue queue;
    struct s2s_backlog backlog;
    struct peer_keys keys;
    struct peer_overflow overflow;
    uint32_t pins; /* it is not freed: somebody answers */
    struct peer_blame blame;
    struct peer_external external;
    struct peer_ping ping;
    struct peer_session session;
    struct timer pause, patience; /* until PEER_DUE; until the oldest goes back */
    struct loop_defer work;
    uint16_t remote_len, local_len;
    bool asks;   /* it carries no stanzas */
    char text[]; /* "remote/local", and another "/" of one that asks */
};

static inline struct loop *peer_loop(const struct s2s_peer *p) { return worker_loop(p->worker); }
static inline bool peer_is_linked(const struct s2s_peer *p) { return p->out != NULL || p->back.on; }
static inline bool peer_stopped(const struct s2s_peer *p)
{
    return s2s_worker(p->gate, p->worker)->out.stopped;
}
/* Senders are told this beside the error. */
static inline slice peer_words(const struct s2s_peer *p)
{
    return s2s_stage_words((enum s2s_stage)p->blame.stage, (enum stanza_error)p->blame.error);
}
static inline bool peer_fails_for_long(const struct s2s_peer *p)
{
    uint64_t now_us = loop_now_us(peer_loop(p));
    return p->failing_us > 0 &&
           (now_us - p->failing_us) / 1000 >= (uint64_t)setting_int(&s2s_retry_for);
}
/* It has failed, and the next attempt is not under way. */
static inline bool peer_pauses(const struct s2s_peer *p)
{
    return p->state == PEER_FAILED || p->state == PEER_REFUSED ||
           (p->state == PEER_WAITING && timer_is_set(&p->pause));
}
void peer_work(
    struct s2s_peer *p); /* at the end of the event: what is wanted begins; it may be freed */

/* s2s_peer_write.c: what is written and in which order, is confirmed, and goes back. */

void peer_pump(struct s2s_peer *p);            /* writes what may be written */
bool peer_may_write(const struct s2s_peer *p); /* one more that is not a row of the queue */
void peer_write_row(struct s2s_peer *p, const struct s2s_sent *s); /* takes over the reference */
void peer_give_back(struct s2s_peer *p); /* all of the queue, with the blame */
/* One that is kept in memory no longer: the database has it, or its sender is told. */
void peer_refuse(struct s2s_peer *p, struct s2s_sent *s);
void peer_bounce(struct s2s_peer *p, struct s2s_sent *s,
                 struct stanza *error); /* takes over both */
void peer_wait_on(struct s2s_peer *p);  /* sets `patience` */
void peer_write_stop(struct s2s_peer *p);
void peer_patience_ends(struct timer *t, struct loop *loop);
void peer_ping_due(struct timer *t, struct loop *loop);
