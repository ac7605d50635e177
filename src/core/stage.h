/* stage: where extensions stand in the way of a stanza (architecture §3). Each stage calls, in the
 * order of app/features.c, the features that have a function for it:
 *
 *   CHECK     from a client, at the sender's home, before anything is done with the stanza; it may
 *             wait for an answer (core/stage_wait.h)
 *   BLOCK     to an account, at the addressee's home, before it is stored or delivered
 *   ARCHIVE   whether it stays in the archive of an account that sent or received it; where one
 *             says no, it does not, but it is stored until it is settled; it may wait, too
 *   KEPT      its write was submitted, at both homes, or the addressee does not take it: what else
 *             it changes in their archives
 *   DELIVER   which sessions take it
 *   CARBON    a message was accepted: copies for other sessions
 *   PUSH      an incoming message was accepted: devices that are away are told
 *   HOLD      to a session that is paused (session/session.h): whether it can wait
 *
 * KEPT and PUSH are functions of tables that one feature has. And, beside the way: VIEW, whether a
 * contact sees the presence of a session; SHOW, whether what an account lets its subscribers know
 * is for this one (last activity, personal events); PERMIT, whether a subscription request is
 * granted without asking the owner. SENDS stands for CHECK where no client sends: in the name of an
 * account (component/privilege.h).
 *
 * Confined to the home worker. What an account says to itself passes BLOCK and VIEW untouched. */
#pragma once
#include "base/slice.h"
#include "home/origin.h"
#include "xmpp/stanza.h"

struct account;
struct buf;
struct session;
struct store_batch;
struct worker;

enum verdict {
    PASS,
    DROP,   /* dropped silently; it counts as handled */
    REFUSE, /* answered by the error of the refusal, where a stanza of its kind is answered */
    WAIT    /* CHECK and ARCHIVE only: the answer comes later (core/stage_wait.h) */
};
struct refusal {
    enum stanza_error error;
    slice text;    /* for people; static or scratch */
    slice app_xml; /* application element within <error/> (RFC 6120 §8.3.2); static or scratch */
    const char *type;   /* of the error (RFC 6120 §8.3.2); NULL: the usual one */
    bool not_strangers; /* it tells something of the account: mailbox.tell-strangers */
    bool as_nobody;     /* REFUSE: answered as if there were no account */
    bool for_now;       /* by a rule of the operator, not of the owner of the account */
    bool bare;          /* PASS of presence: it goes on without its content */
    bool again;         /* asked of what was accepted earlier: nothing is counted */
};

/* A message at one account, accepted if it is not PASSAGE_REFUSED. Everything is borrowed for the
 * call. */
struct passage {
    struct stanza *st;
    uint64_t known;          /* KNOWN bits of it as it came: what only servers need is gone */
    struct session *session; /* sent: its sender; received: the session it was addressed to, if
                                it went to one only; NULL: to all that take it */
    uint64_t archive_id;     /* in this account's archive; 0: not kept */
    struct origin origin;    /* KEPT: whose acknowledgement waits for it */
    unsigned taken;          /* received: sessions whose queue has it now */
    enum passage_way {
        PASSAGE_SENT,
        PASSAGE_RECEIVED,
        PASSAGE_REFUSED, /* KEPT: the addressee does not take it */
        PASSAGE_DORMANT  /* PUSH: of concern to those sessions that hibernate, which have it */
    } way;
    int64_t sender; /* KEPT, not sent: id of the account that sent it; 0: none of this database */
};

/* Of a paused session. The strongest answer of all features counts. */
enum hold {
    HOLD_DROP, /* nobody misses it; not for what has an archive id */
    HOLD_KEEP, /* until the session is no longer paused, or something urgent comes */
    HOLD_SEND  /* urgent: what was kept goes first */
};

/* st may be replaced by one with the same addresses, kind and type: the function then owns and
 * releases the old reference. */
typedef enum verdict stage_check_fn(struct session *s, struct stanza **st, struct refusal *why);
typedef enum verdict stage_block_fn(struct account *a, const struct stanza *st,
                                    struct refusal *why);
typedef bool stage_takes_fn(const struct session *s, const struct stanza *st);
/* PASS: it stays; DROP: it does not; or WAIT. */
typedef enum verdict stage_archive_fn(struct account *a, const struct stanza *st, slice contact);
typedef bool stage_sends_fn(const struct account *a, const struct stanza *st);
typedef bool stage_view_fn(const struct session *s, slice contact); /* bare JID */
typedef bool stage_show_fn(const struct account *a, slice contact); /* bare JID */
typedef bool stage_permit_fn(const struct account *a, slice contact);
typedef void stage_passage_fn(struct account *a, const struct passage *p);
typedef enum hold stage_hold_fn(struct session *s, const struct stanza *st);

/* The archives of accounts, as clients use them. In struct feature; one has it. */
struct archive_part {
    /* KEPT. For a repeat, too: the first copy may have been kept by a process that ended before the
     * change. true: it will call ticket_done(p->origin), when its change is committed or was
     * refused. What it submits on the lane of the account comes behind the message. */
    bool (*kept)(struct account *a, const struct passage *p);
    /* Bind 2 (XEP-0386): adds reads to one batch before a session is bound by it; then, when its
     * rules have run, gets their results from the first statement on, and appends to <bound/>.
     * b NULL: they could not be read. */
    void (*bind2_load)(struct account *a, struct store_batch *b);
    void (*bind2_loaded)(struct session *s, const struct store_batch *b, struct buf *bound);
};
/* Devices that are away. The same. */
struct push_part {
    void (*passed)(struct account *a, const struct passage *p); /* PUSH */
    void (*quiet)(struct session *s); /* its PAUSE_QUIET has begun or ended */
};

/* *at: 0; after WAIT, where to go on when the feature that waits lets the stanza pass. */
enum verdict stage_check(struct session *s, struct stanza **st, struct refusal *why, unsigned *at);
/* Whether a stanza may stand for another one: see stage_check_fn. */
bool stage_is_alike(const struct stanza *before, const struct stanza *after);
enum verdict stage_block(struct account *a, const struct stanza *st, struct refusal *why);
/* What is to be done with a stanza that was accepted earlier. */
enum stage_since {
    SINCE_FREE,    /* it is delivered */
    SINCE_BLOCKED, /* the owner has blocked its sender: never (XEP-0191 §3.3) */
    SINCE_WAITS    /* refused for now: it stays stored until the operator's rule changes */
};
enum stage_since stage_since(struct account *a, const struct stanza *st);
bool stage_takes(const struct session *s, const struct stanza *st);
/* contact: the other side, as it is in the stanza. Once for each message that is stored. *at: as
 * above. */
enum verdict stage_archive(struct account *a, const struct stanza *st, slice contact, unsigned *at);
bool stage_sends(const struct account *a, const struct stanza *st); /* `to` is set */
bool stage_view(const struct session *s, slice contact);
bool stage_show(const struct account *a, slice contact);
bool stage_permit(const struct account *a, slice contact); /* one that says yes is enough */
bool stage_kept(struct account *a, const struct passage *p);
void stage_carbon(struct account *a, const struct passage *p);
void stage_push(struct account *a, const struct passage *p);
enum hold stage_hold(struct session *s, const struct stanza *st);

/* Answers a refused stanza and releases it. */
void stage_refuse(struct worker *w, struct stanza *st, const struct refusal *why);

void stages_set(void); /* by features_set() */
