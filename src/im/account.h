/* account: one user at its home: sessions, roster, mailbox. Loaded on demand and unloaded when
 * idle; all its stanzas wait in one inbox while it loads, in order (architecture §3). Confined to
 * its home worker.
 *
 * States: LOADING (reads are under way, inbox gathers) -> READY or ABSENT (no such account;
 * remembered for a while so that strangers cost no reads) -> unloaded. READY -> ABSENT by deletion.
 * A load that fails (store down) bounces the inbox and forgets the account. */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "home/origin.h"
#include "im/mailbox.h"
#include "im/router.h"
#include "im/session.h"
#include "store/store.h"

struct roster;
struct worker;

enum account_state { ACCOUNT_LOADING, ACCOUNT_READY, ACCOUNT_ABSENT };
enum { ACCOUNT_STATE_SLOTS = 12 };

struct account {
    struct worker *worker;
    slice jid;          /* bare, prepared; in this block */
    int64_t id;         /* of the account row; never reused */
    int64_t generation; /* of its password: streams that were authenticated before are refused */
    uint8_t state;
    bool disabled;    /* ABSENT, but there is an account, which may be enabled again */
    bool look_again;  /* when it is not found: the id may be stale, or it was created meanwhile */
    uint32_t pins;    /* held IQs, running tasks: not unloaded while > 0; each has a block of
                       * memory of its own, so there is no address space for 2^32 of them */
    uint32_t storing; /* messages for it whose write or look-up is under way: see message.c */
    struct list sessions; /* struct session, oldest first */
    uint64_t queue_bytes; /* of all their queues */
    struct list idle;     /* in worker.idle while there is nothing to do */
    uint64_t idle_since_us;
    struct inbox_item *inbox, **inbox_tail; /* NULL when empty */
    uint32_t inbox_count, inbox_bytes;      /* bytes of the stanzas among them */
    struct store_op *loading;
    struct mutation *mutations, **mutation_tail; /* the first is in flight if `mutating` */
    bool mutating, removing; /* a mutation is being committed / its deletion is asked for */
    struct roster *roster;   /* im/roster.h; NULL until READY */
    struct recent *recent;   /* recent messages (im/recent.h); NULL: none */
    struct recent *sent;
    struct crossings *crossings; /* im/crossing.h; NULL: none */
    struct given *given;         /* im/given.h; NULL: none */
    struct mailbox mailbox;
    void *state_of[ACCOUNT_STATE_SLOTS]; /* of features: account_state_slot() */
};

/* Runs fn when the account is READY or ABSENT (at once if it is already), in order with all else of
 * it. E_DOWN instead if it cannot be loaded, E_LIMIT if its inbox is full. `arg` is fn's to free.
 */
typedef void account_fn(struct account *a, enum err e, void *arg);
void account_with(struct worker *w, slice bare, account_fn *fn, void *arg);
/* The same with an id that is known already (a login): saves a read. */
void account_with_id(struct worker *w, slice bare, int64_t id, account_fn *fn, void *arg);
struct account *account_find(const struct worker *w,
                             slice bare); /* READY only, else NULL; loads nothing */

/* Forgets that an account was ABSENT, because it may exist now. */
void account_forget(struct worker *w, slice bare);

/* Calls fn for each account of the worker that is READY now; for those that are being loaded, when
 * they are, unless their inbox is full. fn may change accounts, but load none. */
typedef void accounts_fn(struct account *a, slice arg);
void accounts_each(struct worker *w, accounts_fn *fn, slice arg);

void account_pin(struct account *a);
void account_unpin(struct account *a);
static inline uint64_t account_lane(const struct account *a) { return (uint64_t)a->id; }
struct node *account_node(const struct account *a);

/* prepare -> commit -> apply (architecture §3): the batch is submitted when the mutations before it
 * have ended; `apply` runs when it is committed (or failed), and must be pure over the account's
 * state for OK: the same deltas replayed give the same state. `apply` frees it; embed it first in
 * your own. */
struct mutation {
    struct mutation *next;
    struct account *account;
    struct store_batch *batch; /* made by prepare */
    /* May look at the state that all earlier mutations left; fills batch and returns OK, or an
     * error: then apply is called with it at once. No batch and OK: nothing to store, apply(OK) at
     * once. */
    enum err (*prepare)(struct mutation *m);
    void (*apply)(struct mutation *m, enum err e);
};
void account_mutate(struct account *a, struct mutation *m);
enum err err_of_store(enum store_result r);

/* Sessions. */
struct session *account_session(const struct account *a,
                                slice resource);     /* connected or hibernating */
unsigned account_available(const struct account *a); /* sessions with available presence */
unsigned account_receivers(const struct account *a); /* of these: priority ≥ 0 */

unsigned account_state_slot(void); /* at start: a slot for one feature */

/* Disables the account: ends its sessions. It is ABSENT from then on, and keeps its data. */
void account_disable(struct account *a, void (*done)(void *arg, enum err e), void *arg);
/* Values of account.disabled: 2 is a disabled one that its deletion needs loaded. */
enum account_disabled { ACCOUNT_ENABLED, ACCOUNT_DISABLED, ACCOUNT_LEAVING };

/* Whether what is stored for the account now is kept: else it is deleted or disabled, or about to
 * be, and ACCOUNT_LEAVES tells its owner. */
bool account_stays(const struct account *a);
#define ACCOUNT_LEAVES SLICE("the account is being deleted or disabled")

/* Deletes the account: lets every feature add its statements, calls done when they are committed,
 * and ends the sessions. Then every worker hears of it (feature.account_deleted). */
void account_remove(struct account *a, void (*done)(void *arg, enum err e), void *arg);

/* A stanza to the account, at its home. Takes over st. */
enum routed account_receive(struct worker *w, struct stanza *st, struct origin origin,
                            uint64_t sender_entry, int64_t sender_id);
void account_touch(struct account *a); /* something ended: unload when idle */
void accounts_stop(struct worker *w);  /* frees all, after the loops have ended */
