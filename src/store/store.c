#include "store/store.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/latency.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store_driver.h"

struct log_area log_store = { .name = "store", .level = LOG_INFO };

struct alarm store_full_alarm = {
    .name = "store.full",
    .severity = ALARM_CRITICAL,
    .text = "The database cannot grow, because the disk or a limit is full. Nothing new is stored.",
    .action = "Free space on the file system of the database. Writes resume by themselves.",
    .explanation =
        "Clients are told that their messages cannot be stored, and send them again later.",
    .raised_when = "A write fails because the disk or a limit is full.",
    .cleared_when = "A write succeeds, and none has failed for lack of space in the last 5 s. With "
                    "SQLite, the file system also has 4 MiB of free space, or a 32nd of its size "
                    "if that is less.",
    .also = "XcpMFTDBFullError",
};
/* A small write still finds room where a larger one does not: in the WAL, or in pages that are
 * free. */
enum { FULL_QUIET_US = 5000000 };
static _Atomic uint64_t full_us; /* the last write that found no room, monotonic */

void store_full_raise(slice detail)
{
    atomic_store(&full_us, clock_mono_us());
    alarm_raise(&store_full_alarm, detail);
}

void store_full_worked(void)
{
    if (clock_mono_us() >= atomic_load(&full_us) + FULL_QUIET_US)
        alarm_clear(&store_full_alarm);
}

struct alarm store_down_alarm = {
    .name = "store.down",
    .severity = ALARM_CRITICAL,
    .text = "The database cannot be used. Nothing new is stored.",
    .action = "Look at the detail: start the database server, repair the disk or the permissions, "
              "or restore a backup.",
    .explanation = "Everything that must be stored is refused until the database works.",
    .raised_when = "The connection is lost, the server is silent, or the file cannot be used.",
    .cleared_when = "The database answers again.",
    .also = "XcpMFTDBConnectError",
};
struct alarm store_refused_alarm = {
    .name = "store.refused",
    .severity = ALARM_CRITICAL,
    .text = "The database refuses some or all of what it is to store: its tables, or the rights to "
            "them, are not what they were when the server started.",
    .action = "Look at the detail, which has the words of the database. Give the database user of "
              "the server its rights back, or undo the change of the tables. The alarm is cleared "
              "when the database accepts what it refused.",
    .explanation =
        "Somebody changed the tables or the rights of the database user while the server runs.",
    .raised_when = "The database refuses a statement that it accepted at the start.",
    .cleared_when = "It accepts the statement again.",
};
struct alarm store_slow_alarm = {
    .name = "store.slow",
    .severity = ALARM_CRITICAL,
    .text =
        "The database does not store what it is given in time, so messages are not acknowledged.",
    .action = "Look at the disk of the database: whether it answers, and what else loads it. The "
              "alarm is cleared when a write is done.",
    .explanation = "Clients hear nothing of a message that is not stored yet; other requests end "
                   "with an error.",
    .raised_when = "A write was not done within its time limit.",
    .cleared_when = "A write is done.",
};

enum { STORE_BATCH_READ, STORE_BATCH_WRITE };
static struct metric store_batch_us = {
    .name = "muster_store_batch_us",
    .kind = METRIC_HISTOGRAM,
    .label = "kind",
    .values = (const char *const[]){ "read", "write", NULL },
    .buckets = (const int64_t[]){ 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
                                  1000000, 5000000, 0 },
    .help = "Time from the submission of a batch until the database has answered it.",
};
struct metric store_commits = { .name = "muster_store_commits", .help = "Group commits" };
struct metric store_commit_us = { .name = "muster_store_commit_us",
                                  .help = "Microseconds spent in commits" };
struct metric store_late_rows = { .name = "muster_store_late_rows",
                                  .help = "Late index rows inserted" };
struct metric store_checkpoints = { .name = "muster_store_checkpoints",
                                    .help = "Checkpoints made" };
static struct metric store_overdue = { .name = "muster_store_overdue",
                                       .help = "Batches answered by their deadline" };
static struct metric store_queue = { .name = "muster_store_queue",
                                     .kind = METRIC_GAUGE,
                                     .history = true,
                                     .help = "Batches submitted that have not ended" };
struct metric *const store_metrics[] = {
    &store_batch_us,    &store_commits, &store_commit_us, &store_late_rows,
    &store_checkpoints, &store_overdue, &store_queue,     NULL,
};

/* The store as one loop sees it. Lives from the first submit of the loop to store_close(). */
struct store_port {
    struct store *store;
    struct loop *loop;
    struct loop_post post;                  /* of what is in `finished` */
    _Atomic bool posted;                    /* `post` is on its way: it must not be posted twice */
    _Atomic(struct store_batch *) finished; /* stack, the latest on top */
    struct timer timer;  /* set while an op is pending: the next look at deadlines */
    uint64_t look_us;    /* when that is */
    struct list pending; /* ops by until_us, the soonest first */
    struct list patient; /* the same of those that wait longer than STORE_DEADLINE_MS */
    struct list overdue; /* behind their deadline; the driver still has them. Answered, or firm */
    uint64_t logged_us;  /* the last line about deadlines; since then so many were not logged: */
    uint64_t late_writes, late_reads;
};

const char *store_result_name(enum store_result r)
{
    static const char *const names[] = { "ok", "conflict", "full", "down", "unknown", "busy" };
    ensure((unsigned)r < sizeof names / sizeof *names);
    return names[r];
}

enum err err_of_store(enum store_result r)
{
    static const enum err map[] = {
        [STORE_OK] = OK,       [STORE_CONFLICT] = E_CONFLICT, [STORE_FULL] = E_FULL,
        [STORE_DOWN] = E_DOWN, [STORE_UNKNOWN] = E_TIMEOUT,   [STORE_BUSY] = E_FULL
    };
    return map[r];
}

static struct store_batch *batch_of(struct store_op *op)
{
    return CONTAINER_OF(op, struct store_batch, op);
}

static void store_answer(struct store_op *op, enum store_result result, const struct store_batch *b)
{
    store_done_fn *done = op->done;
    op->done = NULL;
    if (done == NULL)
        return;
    done(op->arg, result, b);
    atomic_fetch_sub(&batch_of(op)->store->awaited, 1);
}

static void take_finished(struct store_port *port, struct loop *loop)
{
    struct store_batch *b = atomic_exchange(&port->finished, NULL), *oldest = NULL, *next;
    ensure(port->loop == loop);
    for (; b != NULL; b = next) {
        next = b->next;
        b->next = oldest;
        oldest = b;
    }
    for (b = oldest; b != NULL; b = next) {
        next = b->next;
        list_remove(&b->op.node);
        if (b->op.late)
            atomic_fetch_sub(&b->store->late_writes, 1);
        if (b->kind == BATCH_WRITE && b->result == STORE_OK &&
            atomic_load_explicit(&store_slow_alarm.active, memory_order_relaxed) != 0)
            alarm_clear(&store_slow_alarm);
        arena_reset(loop_scratch(loop)); /* one post, many callbacks */
        store_answer(&b->op, b->result, b->result == STORE_OK ? b : NULL);
        batch_free(b);
    }
}

static void finished_posted(struct loop_post *post, struct loop *loop)
{
    struct store_port *port = CONTAINER_OF(post, struct store_port, post);
    atomic_store(&port->posted, false); /* before it looks: what finishes behind that posts again */
    take_finished(port, loop);
}

enum { LOOK_US = 1000 * 1000, HELD_UP_US = 500 * 1000, LOG_EVERY_US = 1000 * 1000 };

/* NULL: none is pending. */
static struct store_op *port_first(const struct store_port *port)
{
    const struct list *lists[] = { &port->pending, &port->patient };
    struct store_op *first = NULL;
    for (unsigned i = 0; i < 2; i++) {
        if (list_empty(lists[i]))
            continue;
        struct store_op *op = CONTAINER_OF(lists[i]->next, struct store_op, node);
        if (first == NULL || op->until_us < first->until_us)
            first = op;
    }
    return first;
}

/* At the deadline of the first, or earlier: only who looks often notices a standstill. */
static void look_later(struct store_port *port, uint64_t now_us)
{
    const struct store_op *first = port_first(port);
    uint64_t left_us = first->until_us > now_us ? first->until_us - now_us : 0;
    if (left_us > LOOK_US)
        left_us = LOOK_US;
    port->look_us = now_us + left_us;
    timer_set(port->loop, &port->timer, left_us / 1000 + 1);
}

/* While the process stood still (a moved virtual machine, a debugger), nothing could be done for
 * what was under way: that time does not count. */
static void forgive_standstill(struct store_port *port, uint64_t now_us)
{
    if (now_us <= port->look_us + HELD_UP_US)
        return;
    LIST_EACH (it, &port->pending)
        CONTAINER_OF(it, struct store_op, node)->until_us += now_us - port->look_us;
    LIST_EACH (it, &port->patient)
        CONTAINER_OF(it, struct store_op, node)->until_us += now_us - port->look_us;
}

static void log_overdue(struct store_port *port, uint64_t now_us)
{
    if (port->late_writes + port->late_reads == 0 || now_us - port->logged_us < LOG_EVERY_US)
        return;
    log_warn(&log_store, LOG_EV("store.overdue"), LOG_I("writes", port->late_writes),
             LOG_I("reads", port->late_reads),
             LOG_C("hint", "the database did not answer in time; look at the load of its disk"));
    port->logged_us = now_us;
    port->late_writes = port->late_reads = 0;
}

static void answer_overdue(struct store_port *port, struct store_op *op)
{
    bool write = batch_of(op)->kind == BATCH_WRITE;
    atomic_store(&batch_of(op)->given_up, !op->firm);
    list_remove(&op->node);
    list_append(&port->overdue, &op->node);
    metric_add(&store_overdue, 1);
    op->late = write;
    if (write)
        atomic_fetch_add(&port->store->late_writes, 1);
    if (write && atomic_load_explicit(&store_slow_alarm.active, memory_order_relaxed) == 0)
        alarm_raise(&store_slow_alarm, SLICE("a write was not done within its deadline"));
    if (port->store->driver->look != NULL)
        port->store->driver->look(port->store);
    port->late_writes += write;
    port->late_reads += !write;
    arena_reset(loop_scratch(port->loop));
    if (!op->firm)
        store_answer(op, write ? STORE_UNKNOWN : STORE_DOWN, NULL);
}

/* The timer is not changed when operations end in time, which is cheaper. So it is set again
 * here. What has finished is handled first, so that it succeeds. */
static void check_deadlines(struct timer *timer, struct loop *loop)
{
    struct store_port *port = CONTAINER_OF(timer, struct store_port, timer);
    forgive_standstill(port, loop_now_us(loop));
    take_finished(port, loop);
    for (struct store_op *op; (op = port_first(port)) != NULL;) {
        uint64_t now_us = loop_now_us(loop);
        if (op->until_us > now_us) {
            look_later(port, now_us);
            break;
        }
        answer_overdue(port, op);
    }
    log_overdue(port, loop_now_us(loop));
}

static struct store_port *port_of(struct store *store, struct loop *loop)
{
    unsigned index = loop_index(loop);
    ensure(index < STORE_LOOPS_MAX);
    struct store_port *port = store->ports[index];
    if (port == NULL) {
        port = mem_new(struct store_port);
        port->store = store;
        port->loop = loop;
        port->post.fn = finished_posted;
        port->timer.fn = check_deadlines;
        list_init(&port->pending);
        list_init(&port->patient);
        list_init(&port->overdue);
        store->ports[index] = port;
    }
    ensure(port->loop == loop);
    return port;
}

/* Nearly all deadlines are one of two, so the place is found at the end of one of the lists. */
static void await(struct store_port *port, struct store_op *op, uint64_t ms)
{
    ensure(ms > 0 && op->until_us > 0);
    struct list *all = ms > STORE_DEADLINE_MS ? &port->patient : &port->pending, *at = all;
    while (at->prev != all &&
           CONTAINER_OF(at->prev, struct store_op, node)->until_us > op->until_us)
        at = at->prev;
    list_insert_before(at, &op->node);
    if (port_first(port) == op)
        look_later(port, loop_now_us(port->loop));
}

static void store_hand_over(struct store *store, struct store_batch *b)
{
    size_t bytes = batch_footprint(b);
    size_t queued = atomic_fetch_add(&store->queued_bytes, bytes);
    b->next = NULL;
    metric_add(&store_queue, 1);
    if (!b->overflow && b->part_count > 0 && queued + bytes <= STORE_QUEUE_BYTES_MAX) {
        store->driver->submit(store, b);
        return;
    }
    b->result = STORE_OK; /* of an empty batch */
    if (b->overflow)
        b->result = STORE_CONFLICT;
    else if (b->part_count > 0)
        b->result = STORE_DOWN;
    store_finish(store, b);
}

struct store_op *store_submit(struct store_batch *b, struct loop *loop, uint32_t deadline_ms,
                              store_done_fn *done, void *arg)
{
    bool firm = deadline_ms == STORE_UNTIL_DONE;
    uint64_t ms = deadline_ms > 0 && !firm ? deadline_ms : STORE_DEADLINE_MS;
    b->port = port_of(b->store, loop);
    b->submitted_us = clock_mono_us();
    uint64_t due_us = b->submitted_us + ms * 1000;
    b->op = (struct store_op){
        .deadline_us = due_us, .until_us = due_us, .firm = firm, .done = done, .arg = arg
    };
    if (done != NULL)
        atomic_fetch_add(&b->store->awaited, 1);
    await(b->port, &b->op, ms);
    store_hand_over(b->store, b);
    return &b->op; /* completions come by a post to this very loop, so it still lives */
}

void store_cancel(struct store_op **op)
{
    if (*op != NULL && (*op)->done != NULL) {
        (*op)->done = NULL;
        atomic_fetch_sub(&batch_of(*op)->store->awaited, 1);
    }
    *op = NULL;
}

bool store_busy(const struct store *store) { return atomic_load(&store->awaited) > 0; }

bool store_stands(const struct store *store) { return atomic_load(&store->late_writes) > 0; }

bool store_may_commit(const struct store *store)
{
    return store_busy(store) && !store_is_pgsql(store) &&
           atomic_load(&store_down_alarm.active) == 0;
}

enum store_result store_run(struct store_batch *b, store_done_fn *done, void *arg)
{
    struct store *store = b->store;
    ensure(loop_here() == NULL);
    b->submitted_us = clock_mono_us();
    b->op.deadline_us = UINT64_MAX;
    store_hand_over(store, b);
    pthread_mutex_lock(&store->run_lock);
    while (!atomic_load(&b->finished))
        pthread_cond_wait(&store->run_done, &store->run_lock);
    pthread_mutex_unlock(&store->run_lock);
    enum store_result result = b->result;
    if (done != NULL)
        done(arg, result, result == STORE_OK ? b : NULL);
    batch_free(b);
    return result;
}

static void wake_waiter(struct store *store, struct store_batch *b)
{
    pthread_mutex_lock(&store->run_lock);
    atomic_store(&b->finished, true);
    pthread_cond_broadcast(&store->run_done);
    pthread_mutex_unlock(&store->run_lock);
}

/* Takes all batches of one port out of the list and pushes them as one chain. */
static struct store_batch *store_give_back(struct store_batch *first)
{
    struct store_port *port = first->port;
    struct store_batch *rest = NULL, **rest_tail = &rest, *chain = NULL, *next;
    for (struct store_batch *b = first; b != NULL; b = next) {
        next = b->next;
        if (b->port == port) {
            b->next = chain;
            chain = b;
        } else {
            *rest_tail = b;
            rest_tail = &b->next;
        }
    }
    *rest_tail = NULL;
    struct store_batch *top = atomic_load(&port->finished);
    do {
        first->next = top; /* the first one ends the chain */
    } while (!atomic_compare_exchange_weak(&port->finished, &top, chain));
    if (!atomic_exchange(&port->posted, true))
        loop_post(port->loop, &port->post);
    return rest;
}

void store_finish(struct store *store, struct store_batch *first)
{
    size_t bytes = 0;
    int64_t count = 0;
    uint64_t now_us = clock_mono_us();
    for (struct store_batch *b = first; b != NULL; b = b->next) {
        metric_observe(&store_batch_us,
                       b->kind == BATCH_WRITE ? STORE_BATCH_WRITE : STORE_BATCH_READ,
                       (int64_t)(now_us - b->submitted_us));
        if (b->kind == BATCH_WRITE)
            latency_observe(LATENCY_COMMIT, b->submitted_us, now_us);
        bytes += batch_footprint(b);
        count++;
    }
    metric_add(&store_queue, -count);
    atomic_fetch_sub(&store->queued_bytes, bytes);
    while (first != NULL) {
        struct store_batch *next = first->next;
        if (first->port != NULL)
            next = store_give_back(first);
        else
            wake_waiter(store, first);
        first = next;
    }
}

static enum err add_stmt(struct store *store, struct store_stmt *stmt, struct why *why)
{
    for (uint32_t i = 0; i < store->stmt_count; i++)
        if (store->stmts[i] == stmt)
            return OK;
    if (store->stmt_count == STORE_STMTS_MAX || strlen(stmt->params) > STORE_PARAMS_MAX ||
        strlen(stmt->cols) > STORE_PARAMS_MAX) {
        why_set(why, "statement %s: more than %d statements, or %d parameters or columns",
                stmt->name, STORE_STMTS_MAX, STORE_PARAMS_MAX);
        return E_LIMIT;
    }
    stmt->id = store->stmt_count;
    store->stmts[store->stmt_count++] = stmt;
    return OK;
}

const char *store_param_next(const char *at, const char **begin, unsigned *number)
{
    for (char quote = '\0'; *at != '\0'; at++) {
        if (quote != '\0') {
            quote = *at == quote ? '\0' : quote;
        } else if (*at == '\'' || *at == '"') {
            quote = *at;
        } else if (*at == '$' && at[1] >= '1' && at[1] <= '9') {
            *begin = at++;
            for (*number = 0; *at >= '0' && *at <= '9' && *number < 1000; at++)
                *number = *number * 10 + (unsigned)(*at - '0');
            return at;
        }
    }
    return NULL;
}

static enum err collect(struct store *store, const struct store_conf *conf, struct why *why)
{
    enum err e = OK;
    store->stmts = mem_zalloc(STORE_STMTS_MAX * sizeof(struct store_stmt *));
    for (size_t i = 0; conf->schemas[i] != NULL; i++) {
        const struct store_schema *schema = conf->schemas[i];
        for (size_t n = 0; e == OK && schema->stmts != NULL && schema->stmts[n] != NULL; n++)
            e = add_stmt(store, schema->stmts[n], why);
        if (e == OK && schema->late != NULL) {
            ensure(store->late == NULL);
            store->late = schema->late;
            e = add_stmt(store, schema->late->insert, why);
        }
        if (e != OK)
            return e;
        if (schema->index != NULL) {
            ensure(store->index == NULL);
            store->index = schema->index;
        }
    }
    store->stmts = mem_realloc(store->stmts, (store->stmt_count + 1) * sizeof(struct store_stmt *));
    return OK;
}

static enum err find_driver(struct store *store, const char *url, struct why *why)
{
    static const struct store_driver *const drivers[] = { &store_sqlite, &store_pgsql };
    slice scheme, rest;
    if (slice_cut(slice_of(url), ':', &scheme, &rest) && rest.len > 0) {
        for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
            if (slice_is(scheme, drivers[i]->scheme))
                store->driver = drivers[i];
        }
    }
    if (store->driver != NULL)
        return OK;
    why_set(why,
            "database \"%.*s\": not known here; write sqlite:/path/to/muster.db or "
            "postgresql://USER@HOST/NAME",
            SLICE_ARG(scheme)); /* what follows may hold a password */
    return E_SYNTAX;
}

static void store_free(struct store *store)
{
    pthread_cond_destroy(&store->run_done);
    pthread_mutex_destroy(&store->run_lock);
    mem_free(&store->stmts);
    mem_free(&store);
}

enum err store_open(struct store **out, const struct store_conf *conf, struct why *why)
{
    struct store *store = mem_new(struct store);
    pthread_mutex_init(&store->run_lock, NULL);
    pthread_cond_init(&store->run_done, NULL);
    enum err e = find_driver(store, conf->url, why);
    if (e == OK)
        e = collect(store, conf, why);
    if (e == OK)
        e = store->driver->open(store, conf, why);
    if (e != OK) {
        store_free(store);
        store = NULL;
    }
    *out = store;
    return e;
}

bool store_is_pgsql(const struct store *store) { return store->driver != &store_sqlite; }

void store_info(const struct store *store, struct store_info *out)
{
    *out = (struct store_info){ .check_percent = -1 };
    store->driver->info(store, out);
}

enum err store_backup(struct store *store, const char *path, const struct store_watch *watch,
                      struct why *why)
{
    if (store->driver->backup != NULL)
        return store->driver->backup(store, path, watch, why);
    why_set(why, "PostgreSQL is backed up with its own tools, as pg_dump");
    return E_UNSUPPORTED;
}

static void drop_all(struct list *ops)
{
    struct list *node;
    while ((node = list_pop(ops)) != NULL)
        batch_free(batch_of(CONTAINER_OF(node, struct store_op, node)));
}

void store_close(struct store **store)
{
    struct store *s = *store;
    if (s == NULL)
        return;
    s->driver->close(s);
    for (unsigned i = 0; i < STORE_LOOPS_MAX; i++) {
        struct store_port *port = s->ports[i];
        if (port == NULL)
            continue;
        timer_cancel(&port->timer);
        drop_all(&port->pending); /* all have come back by now, to a loop that does not run */
        drop_all(&port->patient);
        drop_all(&port->overdue);
        mem_free(&port);
    }
    store_free(s);
    *store = NULL;
}
