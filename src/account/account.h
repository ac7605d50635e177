/* account: one user at its home: sessions, roster, mailbox. An actor (home/actor.h) that is loaded
 * on demand and unloaded when idle, confined to its home worker. ABSENT: there is no such account,
 * or it is disabled. READY -> ABSENT when it is deleted or disabled. */
#pragma once
#include "archive/recent.h"
#include "base/err.h"
#include "base/list.h"
#include "home/actor.h"
#include "home/here.h"
#include "home/origin.h"
#include "home/router.h"
#include "session/session.h"
#include "store/store.h"
#include "talk/mailbox.h"

struct roster;
struct worker;

enum account_removing { REMOVING_NOT, REMOVING_DISABLES, REMOVING_EMPTIES, REMOVING_DELETES };

struct account {
    union {
        struct actor actor;
        struct {
            ACTOR_HEAD;
        };
    };
    bool disabled;         /* ABSENT, but there is an account, which may be enabled again */
    bool admitted;         /* disabled, but it is loaded all the same, for its deletion */
    uint8_t removing;      /* enum account_removing: what is asked for */
    bool id_told;          /* `id` is from a login: it is loaded without being looked for */
    uint32_t storing;      /* messages for it whose write or look-up is under way: see message.c */
    int64_t id;            /* of the account row; never reused */
    int64_t generation;    /* of its password: streams that were authenticated before are refused */
    struct list sessions;  /* struct session, oldest first */
    uint64_t queue_bytes;  /* of all their queues */
    struct roster *roster; /* presence/roster.h; NULL until READY */
    struct recents recents;
    struct given *given; /* session/given.h; NULL: none */
    struct mailbox mailbox;
    void *state_of[]; /* of features: account.slot of struct feature; its JID is behind them */
};

/* Runs fn when the account is READY or ABSENT (at once if it is already), in order with all else of
 * it. E_DOWN instead if it cannot be loaded, E_LIMIT if its inbox is full. `arg` is fn's to free.
 */
typedef void account_fn(struct account *a, enum err e, void *arg);
void account_with(struct worker *w, slice bare, account_fn *fn, void *arg);
/* The same with an id that is known already (a login): saves a read. */
void account_with_id(struct worker *w, slice bare, int64_t id, account_fn *fn, void *arg);
/* READY only, also while more waits for it; else NULL: it has no sessions. Loads nothing. */
struct account *account_find(const struct worker *w, slice bare);

/* In any state; NULL: it is not in memory. */
struct account *account_seek(const struct worker *w, slice bare);
/* One that is not in memory: begins to load it. id_told: as authenticated; 0: it is looked up. */
struct account *account_make(struct worker *w, slice bare, int64_t id_told);

bool account_is_disabled(const struct worker *w, slice bare); /* as far as memory knows */

/* Forgets that an account was ABSENT, because it may exist now. */
void account_forget(struct worker *w, slice bare);

/* Calls fn for each account of the worker that is READY now; for those that are being loaded, when
 * they are, unless their inbox is full. fn may change accounts, but load none. */
typedef void accounts_fn(struct account *a, slice arg);
void accounts_each(struct worker *w, accounts_fn *fn, slice arg);

static inline struct account *account_of(struct actor *a)
{
    return CONTAINER_OF(a, struct account, actor);
}
/* For ensure(): it is touched where it has its home; somebody keeps it from being unloaded. */
static inline bool account_here(const struct account *a) { return worker_is_here(a->worker); }
static inline bool account_is_pinned(const struct account *a) { return a->actor.pins > 0; }
static inline bool session_here(const struct session *s) { return account_here(s->account); }
static inline void account_pin(struct account *a) { actor_pin(&a->actor); }
static inline void account_unpin(struct account *a) { actor_unpin(&a->actor); }
static inline uint64_t account_lane(const struct account *a) { return (uint64_t)a->id; }
struct node *account_node(const struct account *a);
/* Whether its domain is one of this node. Else somebody of another server may have its address by
 * now, whose is what others have given to the address: that stays when the account is deleted. */
bool account_is_served(const struct account *a);

/* A change of its stored state. That of a guest is refused (E_DENIED), since nothing of it is kept.
 */
void account_change(struct account *a, struct actor_change *c);

/* Sessions, oldest first: the one behind s; NULL: the first. Returns NULL behind the last. */
static inline struct session *session_next(const struct account *a, const struct session *s)
{
    struct list *next = s == NULL ? a->sessions.next : s->node.next;
    return next == &a->sessions ? NULL : CONTAINER_OF(next, struct session, node);
}
/* The body may end `s` itself, no other one. */
#define SESSIONS_EACH(s, a)                                                                        \
    for (struct session *s = session_next(a, NULL),                                                \
                        *s##_next = s == NULL ? NULL : session_next(a, s);                         \
         s != NULL; s = s##_next, s##_next = s == NULL ? NULL : session_next(a, s))
unsigned account_sessions(const struct account *a); /* connected or hibernating */
struct session *account_session(const struct account *a,
                                slice resource);     /* connected or hibernating */
unsigned account_available(const struct account *a); /* sessions with available presence */
unsigned account_receivers(const struct account *a); /* of these: priority ≥ 0 */

/* Values of account.disabled in the database; any other counts as disabled. */
enum account_disabled { ACCOUNT_ENABLED, ACCOUNT_DISABLED };

/* Whether what is stored for the account now is kept: else it is deleted or disabled, or about to
 * be, and ACCOUNT_LEAVES tells its owner. */
bool account_stays(const struct account *a);
#define ACCOUNT_LEAVES SLICE("the account is being deleted or disabled")

/* All accounts of a worker in memory, in any state: as map_next(). */
struct account *accounts_next(const struct worker *w, uint32_t *i);
uint32_t accounts_count(const struct worker *w);
