/* s2s_backlog: stored messages of ours for one peer: which of them its server has confirmed, and
 * those that the database has and memory does not, because too much waits, the domain was not
 * reached for s2s.retry-for, or this server has crashed. While the stream takes stanzas they are
 * read in pages, by sender and in order.
 *
 * Order: what waited in memory when the first was left goes before the rows; then a pass over all
 * rows begins, and what comes from then on waits in memory until it has ended. If memory is full
 * meanwhile, stored ones are left for another pass, and others are refused. Before a pass the home
 * of each sender that left some is asked for the newest of them: the answer comes behind its write.
 *
 * While the domain fails, a message that is older than s2s.keep-for goes back to its sender, for
 * sure (remote/outgoing_bounce.h); all do if another attempt would fail as well.
 *
 * Limits: messages of BACKLOG_SENDERS senders are left at a time; no page is sent while
 * BACKLOG_SETTLED_MAX are confirmed and not written. Confined to the worker of its peer. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "io/timer.h"
#include "remote/outgoing.h"

struct s2s_peer;
struct s2s_sent;
struct stanza;

enum { BACKLOG_SENDERS = 2048, BACKLOG_SETTLED_MAX = 131072 };

struct backlog_settled {
    struct outgoing_id id;
    bool written; /* the database knows it; it stays while a page is read that was begun before */
};

struct s2s_backlog {
    bool some;  /* the database has, or may have, messages that memory does not have */
    bool first; /* they go before what waits in memory; else behind it */
    bool anew;  /* others were found since the pass began */
    enum { PASS_NONE, PASS_ASKS, PASS_READS } pass;
    uint32_t asked; /* senders whose homes are to answer */
    struct map left;
    struct outgoing_read *page;
    struct outgoing_id behind; /* where the next page begins */

    struct backlog_settled *settled; /* confirmed; NULL: none */
    uint32_t settled_len, settled_cap;
    uint32_t telling; /* of these, the first so many are being written, */
    uint32_t tells;   /* by so many batches */
    bool told;        /* all have answered */
    struct timer settle;

    struct list bounces; /* messages of which senders are being told */
    struct outgoing_read *old;
    struct outgoing_id old_behind;
    uint64_t old_before_us; /* wall clock: what is older is given up */
    bool remains;           /* the last read of that: whether any is left */
    bool old_more;
    uint32_t giving_up, given_up; /* of the page; in all */
    struct timer expire;
};

void s2s_backlog_init(struct s2s_peer *p);
void s2s_backlog_fini(struct s2s_peer *p); /* memory only */
/* Stored messages that come now are left, and others are refused. */
bool s2s_backlog_leaves(const struct s2s_peer *p);
/* What waits in memory is not written yet. */
bool s2s_backlog_holds(const struct s2s_peer *p);
/* The database keeps it, memory does not. Takes over the reference. is_new: it did not wait. */
void s2s_backlog_leave(struct s2s_peer *p, const struct s2s_sent *s, bool is_new);
void s2s_backlog_found(struct s2s_peer *p);       /* the database has some that memory has not */
void s2s_backlog_drained(struct s2s_peer *p);     /* nothing waits in memory: rows are next */
void s2s_backlog_go(struct s2s_peer *p);          /* reads on, if the stream takes stanzas */
void s2s_backlog_stop(struct s2s_peer *p);        /* it does not any more */
void s2s_backlog_sender_gone(struct s2s_peer *p); /* rows were deleted */
void s2s_backlog_confirmed(struct s2s_peer *p, const struct outgoing_id *id);
/* Confirmed, or its sender is being told, and that is not written yet. */
bool s2s_backlog_knows(const struct s2s_peer *p, const struct outgoing_id *id);
/* The server does not take it: its sender gets `error`. Takes over both references. */
void s2s_backlog_bounce(struct s2s_peer *p, const struct s2s_sent *s, struct stanza *error);
void s2s_backlog_expire(struct s2s_peer *p); /* gives up what is too old, if the domain fails */
void s2s_backlog_flush(struct s2s_peer *p);  /* what is confirmed is written now */
bool s2s_backlog_is_idle(const struct s2s_peer *p); /* nothing is under way */
