/* s2s_mail: stored messages of ours for one partner (im/outgoing.h): which of them its server has
 * confirmed, and those that the database has and memory does not: the backlog. Messages are left to
 * the database when too much waits, when the domain has failed for too long, and by a crash. When
 * the stream takes stanzas, they are read in pages, by sender and in order, and go before new ones.
 * When the domain has failed for s2s.keep-for since a message was stored, its sender gets one
 * error, for sure (im/outgoing_bounce.h). The same holds for messages that rules do not let go any
 * more (gate/s2s/s2s_judge.h).
 *
 * Limits: new messages of MAIL_LEFT_MAX senders are being left at a time; those of others are
 * refused. What waited in memory is always left: its own limits have bounded it. When
 * MAIL_SETTLED_MAX are confirmed and the database has not said yet that it knows, what comes is
 * left, too, and no page is sent: so no more are added than were in memory then. Confined to the
 * worker of its partner. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "im/outgoing.h"
#include "io/timer.h"

struct edge_word;
struct partner;
struct s2s_judge;
struct s2s_sent;
struct stanza;

enum { MAIL_LEFT_MAX = 2048, MAIL_SETTLED_MAX = 131072, MAIL_GONE_MAX = 4096 };

struct mail_settled {
    struct outgoing_id id;
    bool written; /* the database knows it; it stays while a page is read that was begun before */
};

struct s2s_mail {
    struct partner *partner;
    bool backlog;   /* the database has, or may have, messages that memory does not have */
    bool again;     /* one was left since the pages were begun: they begin anew */
    bool closing;   /* stored ones that come now wait in memory, behind what the database has */
    bool kept;      /* the inbox began behind that, and waits for it. If it gets too much, stored
                     * ones that come are left again, and go behind the inbox */
    bool passed;    /* this pass has passed over some, which go behind the inbox */
    bool whole;     /* this pass was begun when `older` was 0: all that goes before the inbox */
    uint32_t asked; /* senders whose messages are being left: whether they are stored is asked */
    struct map asked_of; /* of these, by sender */
    uint32_t older;      /* of these: left before the last pass began */
    struct list left;
    struct outgoing_read *page;
    struct s2s_judge *judge;   /* that page is being judged */
    struct outgoing_id behind; /* where the next page begins */
    struct timer rest;         /* between two passes, or until an older one is judged */
    uint64_t *gone; /* hashes of bare JIDs: senders, and others while the page is read, that were
                     * deleted since it was begun; NULL: none */
    uint32_t gone_len, gone_cap; /* at most MAIL_GONE_MAX */

    struct mail_settled *settled; /* confirmed; NULL: none */
    uint32_t settled_len, settled_cap;
    uint32_t telling;  /* of these, the first so many are being written */
    uint32_t tells;    /* by so many batches */
    bool tell_failed;  /* of some it is not known: they are written again */
    bool told;         /* all have answered */
    uint64_t hurry_us; /* loop time until which what is confirmed is written at once */
    struct timer settle;

    struct outgoing_read *old_page;
    struct outgoing_id old_behind;
    uint64_t old_before_us; /* wall clock: what is older is given up in this pass */
    uint32_t giving_up;     /* of that page: they are being settled */
    bool old_more;
    uint64_t judged_version;     /* foreign_version() of the last pass that looked for what rules do
                                  * not let go any more; 0: there was none */
    bool judges;                 /* this pass does */
    struct s2s_judge *old_judge; /* ... that page */
    uint32_t given_up;           /* in this pass */
    bool remains;                /* the last read of a pass: whether any message is left */
    struct timer expire;
};

void s2s_mail_init(struct s2s_mail *m, struct partner *p);
void s2s_mail_fini(struct s2s_mail *m); /* memory only */
/* The server has it. */
void s2s_mail_confirmed(struct s2s_mail *m, const struct outgoing_id *id);
/* Confirmed or given up, and not written yet. */
bool s2s_mail_has(const struct s2s_mail *m, const struct outgoing_id *id);
/* The server does not take it: its sender gets `reply`, if any. Takes over both references. */
void s2s_mail_bounce(struct s2s_mail *m, const struct s2s_sent *s, struct stanza *reply);
/* The same where a rule does not let it go any more: what its sender is told, if anything. */
void s2s_mail_refuse(struct s2s_mail *m, const struct s2s_sent *s, const struct edge_word *word);
/* Memory does not keep it: the database does. is_new: it did not wait in memory. Takes over the
 * reference. */
void s2s_mail_leave(struct s2s_mail *m, const struct s2s_sent *s, bool is_new);
/* Whether the database has some that memory does not have; and whether what comes must be left,
 * too, for the order. */
static inline bool s2s_mail_waits(const struct s2s_mail *m) { return m->backlog || m->asked > 0; }
/* MAIL_SETTLED_MAX are confirmed, and the database does not know it yet. */
static inline bool s2s_mail_is_full(const struct s2s_mail *m)
{
    return m->settled_len >= MAIL_SETTLED_MAX;
}
static inline bool s2s_mail_leaves(const struct s2s_mail *m)
{
    return (s2s_mail_waits(m) && !m->closing) || s2s_mail_is_full(m);
}
/* The first one has gone to the inbox, so all in it is behind what the database has. Stored ones
 * that follow go there, too: else what is not stored and comes behind them would be refused for the
 * order. When they have half of the room, they are left again, and it is (gate/s2s/s2s_behind.h).
 */
void s2s_mail_keeps(struct s2s_mail *m);
/* The inbox is refused, or nothing goes before it. */
void s2s_mail_keeps_none(struct s2s_mail *m);
void s2s_mail_found(struct s2s_mail *m); /* the database has some that were left */
/* The database has some, perhaps only those that memory has, too. inbox: something waits there, so
 * what comes still goes there: else what is not stored behind it would be refused for the order. */
void s2s_mail_hint(struct s2s_mail *m, bool inbox);
void s2s_mail_go(struct s2s_mail *m); /* the stream takes stanzas: reads on */
/* An account is deleted, by its bare JID: a page that has its rows, or may have, goes on without
 * them. After MAIL_GONE_MAX of these it is read again. */
void s2s_mail_sender_gone(struct s2s_mail *m, slice bare);
/* The partner carries more shares: the pages begin anew, as older messages of these may be among
 * what was passed over. */
void s2s_mail_widened(struct s2s_mail *m);
void s2s_mail_stop(struct s2s_mail *m); /* it does not any more */
/* Gives up what is too old, and what rules do not let go any more; if the stream is not up. */
void s2s_mail_expire(struct s2s_mail *m);
void s2s_mail_write(struct s2s_mail *m); /* what is confirmed, now */
/* The other server has refused a message, which is confirmed by now, or in a moment: that is
 * written at once. Else a crash within SETTLE_MS would send it again, and it would be shown after
 * all, perhaps, behind others that its sender has said since. */
void s2s_mail_hurries(struct s2s_mail *m);
bool s2s_mail_gives_up(
    const struct s2s_mail *m); /* senders are being told, and it waits for that */
/* Another partner reads the backlog from now on; false: there is none. The stream is not up. */
bool s2s_mail_hands_over(struct s2s_mail *m);
