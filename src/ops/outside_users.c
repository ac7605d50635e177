#include "ops/outside_users.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "io/timer.h"
#include "session/session.h"
#include "store/store.h"
#include <pthread.h>

enum { SOON_MS = 1, AGAIN_MS = 5000 };

struct store_stmt outside_users_all = {
    .name = "test-user.all",
    .sql = "SELECT t.account, a.jid FROM test_user t JOIN account a ON a.id = t.account "
           "ORDER BY t.at_us, t.account LIMIT 100",
    .params = "",
    .cols = "it",
};

struct user {
    int64_t id;
    slice jid;
};

static struct {
    pthread_rwlock_t lock; /* guards what is below; `any` is read without it */
    struct arena *arena;
    struct user *each;
    uint32_t count;
    _Atomic bool any;
} users = { .lock = PTHREAD_RWLOCK_INITIALIZER };

/* Reader of each worker. Worker 0 of a node reads the marks. */
struct outside_reader {
    struct worker *worker;
    uint32_t hidden; /* so many sessions of the worker are not in `muster_sessions` */
    struct timer again;
    struct store_op *op;
    bool changed; /* since it is being read */
};

unsigned outside_users_slot;
static struct outside_reader *users_reader(const struct worker *w)
{
    return *worker_state(w, outside_users_slot);
}

bool outside_is_test(const struct account *a)
{
    bool is = false;
    if (!atomic_load_explicit(&users.any, memory_order_relaxed))
        return false;
    pthread_rwlock_rdlock(&users.lock);
    for (uint32_t i = 0; i < users.count && !is; i++)
        is = users.each[i].id == a->id;
    pthread_rwlock_unlock(&users.lock);
    return is;
}

uint32_t outside_user_count(void)
{
    pthread_rwlock_rdlock(&users.lock);
    uint32_t count = users.count;
    pthread_rwlock_unlock(&users.lock);
    return count;
}

static uint32_t sessions_without(const struct worker *w, const struct session *gone)
{
    uint32_t count = 0;
    ensure(worker_is_here(w));
    pthread_rwlock_rdlock(&users.lock);
    for (uint32_t i = 0; i < users.count; i++) {
        const struct account *a = account_find(w, users.each[i].jid);
        if (a == NULL)
            continue;
        SESSIONS_EACH (s, a)
            count += s != gone;
    }
    pthread_rwlock_unlock(&users.lock);
    return count;
}

uint32_t outside_sessions(const struct worker *w) { return sessions_without(w, NULL); }

static void sessions_hide(const struct worker *w, const struct session *gone)
{
    struct outside_reader *r = users_reader(w);
    if (r == NULL)
        return; /* the node did not get so far */
    ensure(r->worker == w);
    uint32_t now = sessions_without(w, gone);
    metric_add(&session_count, (int64_t)r->hidden - (int64_t)now);
    r->hidden = now;
}

void outside_session_began(struct session *s)
{
    if (outside_is_test(s->account))
        sessions_hide(s->account->worker, NULL);
}

void outside_session_freed(struct session *s)
{
    if (outside_is_test(s->account))
        sessions_hide(s->account->worker, s);
}

static void users_marked_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    sessions_hide(w, NULL);
}

const struct message_row outside_marked_message = {
    .id = 176,
    .scope = MESSAGE_PROCESS,
    .name = "tests.marked",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = users_marked_run,
};

static void users_take(const struct store_batch *b)
{
    struct arena *arena = arena_create(0);
    uint32_t count = store_row_count(b, 0);
    struct user *each = arena_new(arena, struct user, count + 1);
    ensure(count <= OUTSIDE_USERS_MAX);
    for (uint32_t i = 0; i < count; i++)
        each[i] = (struct user){ store_int(b, 0, i, 0), slice_dup(arena, store_text(b, 0, i, 1)) };
    pthread_rwlock_wrlock(&users.lock);
    struct arena *old = users.arena;
    users.arena = arena;
    users.each = each;
    users.count = count;
    atomic_store(&users.any, count > 0);
    pthread_rwlock_unlock(&users.lock);
    arena_destroy(&old);
}

/* The workers of this node. */
static void users_tell(struct worker *w)
{
    for (unsigned i = 0; i < worker_node(w)->worker_count; i++)
        home_send_to(w, worker_node(w)->id, i, &outside_marked_message,
                     &(struct message_nothing){ 0 });
}

static struct store_batch *users_batch(const struct worker *w)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &outside_users_all, STORE_ANY_ROWS, NULL, 0);
    return b;
}

static void users_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct outside_reader *r = arg;
    r->op = NULL;
    if (result == STORE_OK) {
        users_take(b);
        users_tell(r->worker);
    }
    if (result != STORE_OK || r->changed)
        timer_set(worker_loop(r->worker), &r->again, result == STORE_OK ? SOON_MS : AGAIN_MS);
    r->changed = false;
}

static void users_due(struct timer *t, struct loop *loop)
{
    struct outside_reader *r = CONTAINER_OF(t, struct outside_reader, again);
    r->changed = r->op != NULL;
    if (r->op == NULL)
        r->op = store_submit(users_batch(r->worker), loop, 0, users_read, r);
}

static void users_changed_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    if (worker_index(w) == 0)
        users_due(&users_reader(w)->again, worker_loop(w));
}

void outside_users_deleted(struct worker *w, slice bare)
{
    (void)bare;
    if (worker_index(w) == 0 && atomic_load(&users.any))
        users_due(&users_reader(w)->again, worker_loop(w));
}

const struct message_row outside_users_message = {
    .id = 121,
    .scope = MESSAGE_CLUSTER,
    .name = "tests.users",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = users_changed_run,
};

void outside_users_changed(struct worker *w)
{
    each_home(w, &outside_users_message, &(struct message_nothing){ 0 }, &(struct asker){ 0 });
}

static void users_read_first(void *arg, enum store_result result, const struct store_batch *b)
{
    struct outside_reader *r = arg;
    if (result == STORE_OK)
        users_take(b);
    else
        timer_set(worker_loop(r->worker), &r->again, AGAIN_MS);
}

void outside_users_start(struct worker *w)
{
    struct outside_reader *r = mem_new(struct outside_reader);
    *worker_state(w, outside_users_slot) = r;
    r->worker = w;
    r->again.fn = users_due;
    if (worker_index(w) == 0)
        (void)store_run(users_batch(w), users_read_first, r);
}

void outside_users_stop(struct worker *w)
{
    struct outside_reader *r = users_reader(w);
    if (r == NULL)
        return;
    timer_cancel(&r->again);
    store_cancel(&r->op);
}

void outside_users_ended(struct worker *w)
{
    struct outside_reader *r = users_reader(w);
    *worker_state(w, outside_users_slot) = NULL;
    mem_free(&r);
}
