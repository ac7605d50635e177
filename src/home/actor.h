/* actor: what has a home: an account, a room. Everything that concerns its address happens on one
 * worker, in one order; the kinds differ in their operations (struct actor_kind).
 *
 * States: LOADING (reads are under way, what comes waits in the inbox, in order) -> READY or ABSENT
 * (there is none of this address; remembered for a while, so that strangers cost no reads).
 * READY -> ABSENT when it is deleted or ends; ABSENT -> READY when it is made; ABSENT -> LOADING
 * when there may be one since. Nobody needs it: unloaded, at once or later.
 *
 * A struct embeds an actor as its first part, in a union with ACTOR_HEAD, so that its worker, jid
 * and state are its own members: see struct account. Confined to its worker.
 *
 * Limits: ACTOR_INBOX_MAX stanzas wait, and no more come when they have ACTOR_INBOX_BYTES;
 * kind->calls_max functions: 1,000 for accounts and publish-subscribe services, 131,072 for rooms.
 */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "home/origin.h"
#include "io/loop.h"
#include "io/timer.h"

struct actors;
struct buf;
struct frozen;
struct frozen_kind;
struct metric;
struct store_batch;
struct worker;

enum actor_state { ACTOR_LOADING, ACTOR_READY, ACTOR_ABSENT };
/* More than one client may have under way (session/session_input.c): alone it fills no inbox. */
enum { ACTOR_INBOX_MAX = 2048, ACTOR_INBOX_BYTES = 4 << 20 };

#define ACTOR_HEAD                                                                                 \
    struct worker *worker;                                                                         \
    slice jid; /* bare, prepared; in the block of the actor */                                     \
    uint8_t state

struct actor {
    ACTOR_HEAD;
    bool unsure;        /* ABSENT, or about to be, but there may be one by now: it is looked for
                           again */
    bool ended;         /* nobody finds it any more: actor_end() */
    bool changing;      /* a change is being committed */
    bool advancing;     /* changes are being prepared and applied */
    uint32_t pauses;    /* answers that it waits for, and what comes waits for them */
    uint32_t pins;      /* held requests, tasks: not unloaded while > 0; each has a block of memory
                           of its own, so there is no address space for 2^32 of them */
    struct actors *all; /* of its kind and worker */
    struct list idle;   /* in all->idle or all->absent while nobody needs it */
    uint64_t idle_since_us;
    struct actor_item *inbox, **inbox_tail; /* NULL: empty */
    uint32_t inbox_stanzas, inbox_calls, inbox_bytes;
    uint32_t change_count;                       /* those that wait, and the one under way */
    struct actor_change *changes, **change_tail; /* the first is under way if `changing` */
#ifdef MUSTER_DEBUG
    struct list marked; /* in all->marked */
#endif
};

/* An entry of an inbox: a stanza as its kind wants it, or a function. */
typedef void actor_any_fn(void);
struct actor_item {
    struct actor_item *next;
    struct stanza *st;
    actor_any_fn *fn; /* st NULL: what kind->call() is to call with arg */
    void *arg;
    struct origin origin;
    uint64_t sender_entry; /* of a message: what its sender's home knows of it */
    int64_t sender_id;
    uint64_t mark; /* the word of whoever put it in */
};

/* A row for each kind. Functions must be there unless it is said that they may be NULL. */
struct actor_kind {
    struct metric *loaded;     /* a gauge: how many are in memory */
    uint32_t idle_max;         /* READY ones that nobody needs; then the longest idle goes sooner */
    uint32_t absent_max;       /* the same of those that are ABSENT */
    uint32_t calls_max;        /* functions that wait in one inbox; each holds what it is to do */
    uint64_t (*idle_ms)(void); /* how long READY ones stay that nobody needs. NULL, as may_unload:
                                  they are in use until actor_end() */

    /* Begins to read it. actor_loaded() follows, never from inside. */
    void (*load)(struct actor *a);
    /* A stanza, when it is READY or ABSENT. Takes it over, and reports to its origin. */
    void (*handle)(struct actor *a, const struct actor_item *item);
    /* A stanza that cannot be handled: the actor could not be loaded. The same. */
    void (*refuse)(struct actor *a, const struct actor_item *item, enum err e);
    void (*call)(struct actor *a, actor_any_fn *fn, enum err e, void *arg);
    /* Whether a stanza must find a place: up to four times as many as others. NULL: none must. */
    bool (*urgent)(const struct stanza *st);
    bool (*in_use)(const struct actor *a); /* it has sessions, occupants */
    /* READY, and nobody needs it: true if it ends with that, and is ABSENT now. NULL: it stays. */
    bool (*ends_unused)(struct actor *a);
    /* The memory that a READY one has and the database does not, which a planned restart must not
     * lose, nor a move to another node: appends its records to `out`, in an order that is always
     * the same for the same memory. What depends on a stream is not among it. NULL: it has none,
     * and the three are NULL. Rooms have none: their seats are brought back by the sessions in
     * them, which freeze with their accounts (core/audience.h). */
    void (*freeze)(const struct actor *a, struct buf *out);
    /* Takes it back into one that is READY, beside what it has already; `f` is borrowed, references
     * that it keeps are taken. Fails before it changes anything: E_CORRUPT, `why` says where. */
    enum err (*thaw)(struct actor *a, const struct frozen *f, struct why *why);
    const struct frozen_kind *frozen; /* the records, and their version */
    /* It is about to be unloaded: stores what is not stored. false: later. */
    bool (*may_unload)(struct actor *a);
    void (*unload)(struct actor *a); /* frees it; it is not in the map any more */
    /* Ensures what must be true of it between two callbacks: see actor_mark(). */
    void (*check)(const struct actor *a);
    /* The process ends: frees what in_use() counts and the changes that wait; memory only. NULL:
     * there is nothing. */
    void (*drop)(struct actor *a);
};

/* All actors of a kind on a worker. */
struct actors {
    const struct actor_kind *kind;
    struct worker *worker;
    struct loop *loop;        /* of the worker */
    struct map map;           /* struct actor by JID */
    struct list idle, absent; /* longest idle first */
    uint32_t idle_count, absent_count;
    struct timer sweep; /* unloads; set while there is something to unload */
#ifdef MUSTER_DEBUG
    struct list marked; /* to be checked at the end of the tick */
    struct loop_defer check;
#endif
};

void actors_init(struct actors *all, const struct actor_kind *kind, struct worker *w,
                 struct loop *loop);
void actors_stop(struct actors *all); /* frees all, after the loops have ended; memory only */
struct actor *actors_find(const struct actors *all, slice jid);   /* in any state; NULL: none */
struct actor *actors_next(const struct actors *all, uint32_t *i); /* as map_next() */

/* A new one, LOADING, with nothing in it: `a` and the copy of its JID are in a block of its owner,
 * all zeros but for the JID. The caller calls actor_load() next. */
void actor_init(struct actor *a, struct actors *all, slice jid);
void actor_load(struct actor *a); /* LOADING; kind->load() */
/* It was read, or cannot be: OK: READY; E_NOTFOUND: ABSENT; else ABSENT and unsure, and what waits
 * is refused with e. */
void actor_loaded(struct actor *a, enum err e);
/* Loads it again if it is ABSENT and unsure. Called before somebody asks for it. */
void actor_renew(struct actor *a);
/* It came to be or ended in memory. The caller touches it, unless it is pinned. */
void actor_become(struct actor *a, enum actor_state s);

/* Something happens to it: debug builds check it at the end of the tick. */
#ifdef MUSTER_DEBUG
void actor_mark(struct actor *a);
#else
static inline void actor_mark(struct actor *a) { (void)a; }
#endif

void actor_pin(struct actor *a);
void actor_unpin(struct actor *a);
void actor_touch(struct actor *a);  /* something ended: is it still needed? It may be freed. */
void actor_unload(struct actor *a); /* at once; nobody needs it */
/* It is ABSENT, unless it is loading, and not found any more, also if another of its JID is made.
 * It is unloaded as soon as nobody needs it, perhaps before this returns. */
void actor_end(struct actor *a);

/* The memory of a READY actor as bytes, and back: home/frozen.h. `out` is empty; it has overflowed
 * if they are more than FROZEN_BYTES_MAX. Takes as long as the bytes are many: the caller paces.
 * actor_thaw(): E_CORRUPT (wrong bytes, or some are missing) or E_UNSUPPORTED (another version):
 * nothing has changed, and `why` says what was found. */
void actor_freeze(const struct actor *a, struct buf *out);
NODISCARD enum err actor_thaw(struct actor *a, slice bytes, struct why *why);

/* Whether what comes has to wait, for the order. */
static inline bool actor_waits(const struct actor *a)
{
    return a->state == ACTOR_LOADING || a->pauses > 0 || a->inbox != NULL;
}
/* Lets what comes wait in the inbox, in order, while something of the actor waits for an answer.
 * When that is there: actor_unpause(), then the actor handles what has waited for it, which may
 * pause it again, then actor_go_on() handles the inbox. Pinned meanwhile. Each pause has an end of
 * its own. */
void actor_pause(struct actor *a);
void actor_unpause(struct actor *a);
void actor_go_on(struct actor *a);
/* Puts a copy of the item into the inbox. false: it is full, nothing has changed. */
bool actor_wait(struct actor *a, const struct actor_item *item);
/* The same without a limit, for what must not be lost and no peer can ask for often. */
void actor_wait_anyhow(struct actor *a, const struct actor_item *item);
/* Takes those out of the inbox that `pick` says, which takes over their references. */
typedef bool actor_pick_fn(struct actor *a, const struct actor_item *item, void *arg);
void actor_pick(struct actor *a, actor_pick_fn *pick, void *arg);

/* A change of stored state: prepare -> commit -> apply, one under way an actor, in the order in
 * which they are asked for. Embed it as the first member of your own struct. */
struct actor_change {
    struct actor_change *next;
    struct actor *actor;
    struct store_batch *batch;       /* made by prepare */
    const struct store_batch *found; /* while apply runs, if the batch is committed: its results */
    /* May look at the state that all earlier changes left; fills batch and returns OK, or an error:
     * then apply is called with it at once. No batch and OK: nothing to store, apply(OK) at once.
     */
    enum err (*prepare)(struct actor_change *c);
    /* When it is committed, or failed; frees it. Must be pure over the state of the actor for OK:
     * the same changes replayed give the same state. Changes that it asks for come next, before
     * others that wait. */
    void (*apply)(struct actor_change *c, enum err e);
};
void actor_change(struct actor *a, struct actor_change *c);
/* Memory only: takes the changes that wait, one after the other; NULL: there are none. */
struct actor_change *actor_take_change(struct actor *a);
