#include "admin/alarms.h"
#include "admin/alarms_private.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "io/timer.h"
#include "store/store.h"
#include <stdio.h>
#include <string.h>

enum {
    ALARMS_MAX = 256, /* rows of alarms */
    LOOK_MS = 100,
    RETRY_MS = 1000,
    BATCH_MAX = 100,
    SWEEP_MS = 3600 * 1000,
    US_A_MS = 1000
};

static struct log_area log_alarms = { .name = "alarms" };
static void history_changed(struct worker *w, const struct setting *s);
static struct store_stmt ended_stmt = {
    .name = "alarms.ended",
    .sql = "SELECT count(*) FROM alarm_history WHERE cleared_us <> 0 AND cleared_us < $1",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact ended_impact = {
    .stmt = &ended_stmt, .what = "entries that are older", .unit_us = 1000, .deletes = true
};
static struct store_stmt beyond_stmt = {
    .name = "alarms.beyond",
    .sql = "SELECT CASE WHEN count(*) > $1 THEN count(*) - $1 ELSE 0 END FROM alarm_history",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact beyond_impact = { .stmt = &beyond_stmt,
                                                     .what = "entries beyond it",
                                                     .deletes = true };
static struct setting history_keep = {
    .name = "alarm.history-keep",
    .impact = &ended_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = INT64_C(90) * 24 * 3600 * 1000,
    .min = INT64_C(3600) * 1000,
    .max = SETTING_NONE,
    .allow_none = true,
    .changed = history_changed,
    .doc = "How long ended alarms are in `alarm history`. `none`: until alarm.history-max.",
};
static struct setting history_max = {
    .name = "alarm.history-max",
    .impact = &beyond_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 100,
    .max = 1000000,
    .unit = "entries",
    .changed = history_changed,
    .doc = "How many entries `alarm history` has at most. The oldest are deleted.",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE alarm_history(id INTEGER PRIMARY KEY, alarm TEXT NOT NULL, severity TEXT NOT "
      "NULL, detail TEXT NOT NULL, raised_us INTEGER NOT NULL, cleared_us INTEGER NOT NULL, "
      "known_us INTEGER NOT NULL, known_by TEXT NOT NULL, note TEXT NOT NULL, worst TEXT NOT NULL);"
      "CREATE TABLE alarm_rule(alarm TEXT PRIMARY KEY, severity INTEGER NOT NULL, hold_down_ms "
      "INTEGER NOT NULL, delivered INTEGER NOT NULL) WITHOUT ROWID",
      "CREATE TABLE alarm_history(id BIGINT PRIMARY KEY, alarm TEXT NOT NULL, severity TEXT NOT "
      "NULL, detail TEXT NOT NULL, raised_us BIGINT NOT NULL, cleared_us BIGINT NOT NULL, "
      "known_us BIGINT NOT NULL, known_by TEXT NOT NULL, note TEXT NOT NULL, worst TEXT NOT NULL);"
      "CREATE TABLE alarm_rule(alarm TEXT PRIMARY KEY, severity BIGINT NOT NULL, hold_down_ms "
      "BIGINT NOT NULL, delivered BIGINT NOT NULL)" },
    { 0 },
};
#define ENTRY_COLUMNS                                                                              \
    "id, alarm, severity, detail, raised_us, cleared_us, known_us, known_by, note, worst"
static struct store_stmt put_stmt = {
    .name = "alarms.put",
    .sql = "INSERT INTO alarm_history(" ENTRY_COLUMNS
           ") VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
           " ON CONFLICT(id) DO UPDATE SET severity = excluded.severity, detail = excluded.detail, "
           "cleared_us = excluded.cleared_us, known_us = excluded.known_us, "
           "known_by = excluded.known_by, note = excluded.note, worst = excluded.worst",
    .params = "itttiiittt",
    .cols = "",
};
static struct store_stmt open_stmt = {
    .name = "alarms.open",
    .sql = "SELECT " ENTRY_COLUMNS " FROM alarm_history WHERE cleared_us = 0 ORDER BY id",
    .params = "",
    .cols = "itttiiittt",
};
static struct store_stmt last_stmt = {
    .name = "alarms.last",
    .sql = "SELECT id FROM alarm_history ORDER BY id DESC LIMIT 1",
    .params = "",
    .cols = "i",
};
struct store_stmt alarms_history_stmt = {
    .name = "alarms.history",
    .sql = "SELECT " ENTRY_COLUMNS " FROM alarm_history WHERE ($1 = '' OR alarm = $1) AND "
           "id < $3 ORDER BY id DESC LIMIT $2",
    .params = "tii",
    .cols = "itttiiittt",
};
static struct store_stmt cut_old_stmt = {
    .name = "alarms.cut-old",
    .sql = "DELETE FROM alarm_history WHERE cleared_us > 0 AND cleared_us < $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt cut_many_stmt = {
    .name = "alarms.cut-many",
    .sql = "DELETE FROM alarm_history WHERE cleared_us > 0 AND id <= (SELECT id FROM alarm_history "
           "ORDER BY id DESC LIMIT 1 OFFSET $1)",
    .params = "i",
    .cols = "",
};
static struct store_stmt rules_stmt = {
    .name = "alarms.rules",
    .sql = "SELECT alarm, severity, hold_down_ms, delivered FROM alarm_rule",
    .params = "",
    .cols = "tiii",
};
struct store_stmt alarms_rule_put_stmt = {
    .name = "alarms.rule-put",
    .sql = "INSERT INTO alarm_rule(alarm, severity, hold_down_ms, delivered) VALUES($1, $2, $3, $4)"
           " ON CONFLICT(alarm) DO UPDATE SET severity = excluded.severity, "
           "hold_down_ms = excluded.hold_down_ms, delivered = excluded.delivered",
    .params = "tiii",
    .cols = "",
};
static const struct store_schema schema = {
    .feature = "alarms",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &put_stmt, &open_stmt, &last_stmt, &alarms_history_stmt,
                                           &cut_old_stmt, &cut_many_stmt, &rules_stmt,
                                           &alarms_rule_put_stmt, &ended_stmt, &beyond_stmt, NULL },
};

/* An entry of the history, as it is to be. */
struct entry {
    int64_t id;
    int severity, worst; /* the last one; the gravest it had */
    uint64_t raised_us, cleared_us, known_us;
    char detail[ALARM_DETAIL_BYTES], known_by[ALARM_BY_BYTES], note[ALARM_NOTE_BYTES];
};

/* Facts that were told of an alarm. */
struct kept {
    struct alarm *alarm;
    struct alarm_rule rule;
    bool told;       /* that it is active */
    uint64_t raised; /* its count of raises when that was last compared */
    struct entry entry;
};

/* A change that waits for the database. */
struct waiting {
    struct list node;
    const char *alarm;
    struct entry entry;
};

static struct {
    struct worker *worker; /* NULL: the duty is not here */
    struct kept kept[ALARMS_MAX];
    unsigned count;
    int64_t last_id;
    struct alarm_listener listener;
    struct loop_post post;
    _Atomic bool posted;
    struct timer look, retry, sweep;
    uint64_t settled_us; /* until then entries of the process before may go on; 0: over */
    struct list waiting; /* the first `writing` of them are under way */
    unsigned waiting_count, writing;
    bool busy;
} keeper;

static struct kept *kept_of(const struct alarm *a)
{
    for (unsigned i = 0; i < keeper.count; i++)
        if (keeper.kept[i].alarm == a)
            return &keeper.kept[i];
    return NULL;
}

/* Cut between characters. */
static void text_copy(char *out, size_t cap, slice text)
{
    text = utf8_head(text, cap - 1);
    snprintf(out, cap, "%.*s", SLICE_ARG(text));
}

/* The database. */

static void keeper_write(void);

static void waiting_free(struct waiting *one)
{
    ensure(keeper.waiting_count > 0);
    list_remove(&one->node);
    keeper.waiting_count--;
    mem_free(&one);
}

static void wrote(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg, (void)b;
    keeper.busy = false;
    if (result != STORE_OK) {
        keeper.writing = 0;
        timer_set(worker_loop(keeper.worker), &keeper.retry, RETRY_MS);
        return;
    }
    for (; keeper.writing > 0; keeper.writing--)
        waiting_free(CONTAINER_OF(keeper.waiting.next, struct waiting, node));
    keeper_write();
}

static struct store_batch *write_batch(void)
{
    struct store_batch *b = store_write(worker_store(keeper.worker), hash_keyed(SLICE("alarms")));
    keeper.writing = 0;
    LIST_EACH (it, &keeper.waiting) {
        const struct waiting *one = CONTAINER_OF(it, struct waiting, node);
        const struct entry *e = &one->entry;
        if (keeper.writing == BATCH_MAX)
            break;
        STORE_ADD(b, &put_stmt, 1, SV_I(e->id), SV_T(slice_of(one->alarm)),
                  SV_T(slice_of(alarm_severities[e->severity])), SV_T(slice_of(e->detail)),
                  SV_I(e->raised_us), SV_I(e->cleared_us), SV_I(e->known_us),
                  SV_T(slice_of(e->known_by)), SV_T(slice_of(e->note)),
                  SV_T(slice_of(alarm_severities[e->worst])));
        keeper.writing++;
    }
    return b;
}

static void keeper_write(void)
{
    ensure(worker_is_here(keeper.worker));
    if (keeper.busy || keeper.waiting_count == 0)
        return;
    keeper.busy = true;
    store_submit(write_batch(), worker_loop(keeper.worker), 0, wrote, NULL);
}

static void keeper_retry(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    keeper_write();
}

/* Behind those that are under way: the last word about an entry is the one that stays. */
static void entry_write(const struct kept *k)
{
    if (keeper.waiting_count == ALARMS_WAITING_MAX && !keeper.busy) {
        log_error(&log_alarms, LOG_EV("alarm.history-lost"), LOG_C("alarm", k->alarm->name),
                  LOG_C("hint", "the database does not work; the log has all changes"));
        waiting_free(CONTAINER_OF(keeper.waiting.next, struct waiting, node));
    }
    if (keeper.waiting_count > ALARMS_WAITING_MAX + BATCH_MAX)
        return;
    ensure(k->entry.id > 0);
    struct waiting *one = mem_new(struct waiting);
    one->alarm = k->alarm->name;
    one->entry = k->entry;
    list_append(&keeper.waiting, &one->node);
    keeper.waiting_count++;
    keeper_write();
}

/* Work of alarms. */

static alarms_told_fn *told_fns[ALARMS_TOLD_MAX];
static unsigned told_count;

void alarms_on_told(alarms_told_fn *told)
{
    ensure(told_count < ALARMS_TOLD_MAX);
    told_fns[told_count++] = told;
}

const char *alarms_what_name(enum alarms_what what)
{
    static const char *const names[] = { "raised", "changed", "cleared" };
    return names[what];
}

const char *alarms_action(const struct alarms_news *news)
{
    return news->alarm != NULL && news->what != ALARMS_CLEARED ? news->alarm->action : "";
}

/* The news have the worst severity, too: a target that was told of that hears of the end. */
static void alarms_deliver(const struct kept *k, enum alarms_what what, uint64_t at_us)
{
    struct alarms_news news = { .alarm = k->alarm,
                                .what = what,
                                .severity = k->entry.severity,
                                .worst = k->entry.worst,
                                .at_us = at_us,
                                .entry = k->entry.id };
    memcpy(news.detail, k->entry.detail, sizeof news.detail);
    for (unsigned i = 0; k->rule.delivered && i < told_count; i++)
        told_fns[i](keeper.worker, &news);
}

static void tell_raised(struct kept *k, uint64_t at_us)
{
    ensure(!k->told);
    k->told = true;
    k->entry = (struct entry){ .id = ++keeper.last_id,
                               .severity = atomic_load(&k->alarm->severity_now),
                               .raised_us = at_us };
    k->entry.worst = k->entry.severity;
    alarm_detail(k->alarm, k->entry.detail, sizeof k->entry.detail);
    entry_write(k);
    alarms_deliver(k, ALARMS_RAISED, at_us);
}

static void tell_changed(struct kept *k)
{
    ensure(k->told);
    k->entry.severity = atomic_load(&k->alarm->severity_now);
    if (k->entry.severity > k->entry.worst)
        k->entry.worst = k->entry.severity;
    alarm_detail(k->alarm, k->entry.detail, sizeof k->entry.detail);
    entry_write(k);
    alarms_deliver(k, ALARMS_CHANGED, clock_wall_us());
}

static void tell_cleared(struct kept *k, uint64_t at_us)
{
    ensure(k->told);
    k->told = false;
    k->entry.cleared_us = at_us;
    entry_write(k);
    alarms_deliver(k, ALARMS_CLEARED, at_us);
}

/* Returns in how many microseconds to look again; 0: at the next change. */
static uint64_t look_at_quiet(struct kept *k, bool active, uint64_t since_us, uint64_t now_us)
{
    uint64_t hold_us = (uint64_t)k->rule.hold_down_ms * US_A_MS, raised = k->raised;
    k->raised = atomic_load(&k->alarm->raised_count);
    if (active && now_us - since_us < hold_us)
        return since_us + hold_us - now_us;
    if (active || (k->raised != raised && hold_us == 0))
        tell_raised(k, since_us);
    if (k->told && !active)
        tell_cleared(k, since_us);
    return 0;
}

/* It was active when the process before ended, and is again: it is no new one. */
static void alarm_goes_on(const struct kept *k)
{
    const struct entry *e = &k->entry;
    alarm_since(k->alarm, e->raised_us);
    if (e->known_us > 0)
        (void)alarm_acknowledge(k->alarm, slice_of(e->known_by), slice_of(e->note), e->known_us);
}

/* An entry of the process before may still go on: its alarm has not changed in this one. */
static bool is_unsettled(uint64_t since_us, uint64_t now_us)
{
    uint64_t settled_us = keeper.settled_us;
    return now_us < settled_us && since_us + (uint64_t)ALARMS_SETTLE_MS * US_A_MS < settled_us;
}

static uint64_t look_at_told(struct kept *k, bool active, uint64_t since_us, uint64_t now_us)
{
    uint64_t hold_us = (uint64_t)k->rule.hold_down_ms * US_A_MS, raised = k->raised;
    k->raised = atomic_load(&k->alarm->raised_count);
    if (!active && is_unsettled(since_us, now_us))
        return keeper.settled_us - now_us;
    if (!active && now_us - since_us < hold_us)
        return since_us + hold_us - now_us;
    if (!active) {
        tell_cleared(k, since_us > k->entry.raised_us ? since_us : now_us);
    } else if (k->raised > raised && hold_us == 0 && raised > 0) {
        tell_cleared(k, since_us);
        tell_raised(k, since_us);
    } else {
        if (now_us < keeper.settled_us && since_us > k->entry.raised_us)
            alarm_goes_on(k);
        if (atomic_load(&k->alarm->severity_now) != k->entry.severity)
            tell_changed(k);
    }
    return 0;
}

/* Tells what has become of the alarm. Returns as look_at_quiet(). */
static uint64_t keeper_look(struct kept *k, uint64_t now_us)
{
    bool active = atomic_load(&k->alarm->active) != 0;
    uint64_t since_us = atomic_load(&k->alarm->since_us);
    since_us = since_us < now_us ? since_us : now_us; /* the clock was set back */
    return k->told ? look_at_told(k, active, since_us, now_us)
                   : look_at_quiet(k, active, since_us, now_us);
}

static void look_due(struct timer *t, struct loop *loop)
{
    uint64_t now_us = clock_wall_us(), next_us = UINT64_MAX;
    if (now_us >= keeper.settled_us)
        keeper.settled_us = 0;
    for (unsigned i = 0; i < keeper.count; i++) {
        uint64_t wait_us = keeper_look(&keeper.kept[i], now_us);
        if (wait_us > 0 && wait_us < next_us)
            next_us = wait_us;
    }
    if (next_us != UINT64_MAX)
        timer_set(loop, t, next_us / US_A_MS + 1);
}

void alarms_look(void)
{
    if (keeper.worker == NULL)
        return;
    ensure(worker_is_here(keeper.worker));
    for (unsigned i = 0; i < keeper.count; i++)
        (void)keeper_look(&keeper.kept[i], clock_wall_us());
}

static void look_soon(void) { timer_set(worker_loop(keeper.worker), &keeper.look, LOOK_MS); }

static void alarms_posted(struct loop_post *p, struct loop *loop)
{
    (void)p, (void)loop;
    atomic_store(&keeper.posted, false);
    if (keeper.worker != NULL)
        look_soon();
}

static void alarms_news_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)w, (void)message, (void)from;
    alarms_posted(NULL, NULL);
}

static const struct message_row alarms_news_message = {
    .id = 151,
    .scope = MESSAGE_PROCESS,
    .name = "alarms-news",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = alarms_news_run,
};

static struct trip {
    struct loop_defer defer;
    unsigned to;           /* the keeper's worker, which may have ended when the trip begins */
} trips[NODE_WORKERS_MAX]; /* by worker of the keeper's node */

static void alarms_depart(struct loop_defer *d)
{
    const struct trip *trip = CONTAINER_OF(d, struct trip, defer);
    home_send_to(worker_here(), 0, trip->to, &alarms_news_message, &(struct message_nothing){ 0 });
}

/* On any thread, while the keeper listens. Workers of its node speak by messages, and later in the
 * tick: the alarm may be about these. */
static void alarms_have_changed(struct alarm_listener *l)
{
    struct worker *w = worker_here();
    (void)l;
    if (atomic_exchange(&keeper.posted, true))
        return;
    if (w == NULL || w == keeper.worker || worker_node(w) != worker_node(keeper.worker)) {
        loop_post(worker_loop(keeper.worker), &keeper.post);
        return;
    }
    struct trip *trip = &trips[worker_index(w)];
    trip->defer.fn = alarms_depart;
    trip->to = worker_index(keeper.worker);
    loop_defer(worker_loop(w), &trip->defer);
}

struct alarm_rule alarms_rule(const struct alarm *a)
{
    const struct kept *k = kept_of(a);
    return k != NULL ? k->rule
                     : (struct alarm_rule){ .severity = -1,
                                            .hold_down_ms = a->hold_down_ms,
                                            .delivered = true };
}

void alarms_rule_set(const struct alarm *a, const struct alarm_rule *rule)
{
    struct kept *k = kept_of(a);
    if (k == NULL)
        return;
    ensure(worker_is_here(keeper.worker));
    k->rule = *rule;
    alarm_set_severity(k->alarm, rule->severity);
    look_soon();
}

int64_t alarms_entry(const struct alarm *a)
{
    const struct kept *k = kept_of(a);
    return k != NULL && k->told ? k->entry.id : 0;
}

uint64_t alarms_entry_cleared_us(const struct alarm *a, int64_t entry)
{
    const struct kept *k = kept_of(a);
    if (k == NULL || k->entry.id != entry)
        return 0;
    uint64_t since_us = atomic_load(&a->since_us);
    if (k->entry.cleared_us != 0 || is_unsettled(since_us, clock_wall_us()) ||
        atomic_load(&a->active) != 0)
        return k->entry.cleared_us;
    return since_us > k->entry.raised_us ? since_us : k->entry.raised_us;
}

void alarms_acknowledged(const struct alarm *a, slice by, slice note, uint64_t at_us)
{
    struct kept *k = kept_of(a);
    if (k == NULL)
        return;
    ensure(worker_is_here(keeper.worker));
    (void)keeper_look(k, clock_wall_us()); /* what was acknowledged has perhaps just been raised */
    if (!k->told) /* it is held down: somebody who knows of it needs no more proof */
        tell_raised(k, atomic_load(&a->since_us));
    k->entry.known_us = at_us;
    text_copy(k->entry.known_by, sizeof k->entry.known_by, by);
    text_copy(k->entry.note, sizeof k->entry.note, note);
    entry_write(k);
}

/* Begin and end. */

static void keeper_sweep_now(void)
{
    int64_t keep_ms = setting_int(&history_keep);
    struct store_batch *b = store_write(worker_store(keeper.worker), hash_keyed(SLICE("alarms")));
    STORE_ADD(b, &cut_many_stmt, STORE_ANY_ROWS, SV_I(setting_int(&history_max)));
    if (keep_ms < PARAM_NONE)
        STORE_ADD(b, &cut_old_stmt, STORE_ANY_ROWS,
                  SV_I((int64_t)clock_wall_us() - keep_ms * US_A_MS));
    store_submit(b, worker_loop(keeper.worker), 0, NULL, NULL);
}

static void keeper_sweep_due(struct timer *t, struct loop *loop)
{
    timer_set(loop, t, SWEEP_MS);
    keeper_sweep_now();
}

static void history_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (keeper.worker == w)
        keeper_sweep_now();
}

static int severity_of(slice name)
{
    for (int i = 0; alarm_severities[i] != NULL; i++)
        if (slice_is(name, alarm_severities[i]))
            return i;
    return ALARM_WARNING;
}

/* An entry of the process before that has no end. Of an alarm that this program has not, or of
 * which there is a newer one, it ends now. */
static void entry_open(const struct store_batch *b, uint32_t row)
{
    struct kept gone = { 0 }, *k = kept_of(alarm_find(store_text(b, 1, row, 1)));
    struct entry *e = k != NULL && !k->told ? &k->entry : &gone.entry;
    *e = (struct entry){ .id = store_int(b, 1, row, 0),
                         .severity = severity_of(store_text(b, 1, row, 2)),
                         .worst = severity_of(store_text(b, 1, row, 9)),
                         .raised_us = (uint64_t)store_int(b, 1, row, 4),
                         .known_us = (uint64_t)store_int(b, 1, row, 6) };
    text_copy(e->detail, sizeof e->detail, store_text(b, 1, row, 3));
    text_copy(e->known_by, sizeof e->known_by, store_text(b, 1, row, 7));
    text_copy(e->note, sizeof e->note, store_text(b, 1, row, 8));
    if (k == NULL || k->told)
        return;
    k->told = true;
    if (k->alarm->lasts && !atomic_load(&k->alarm->active))
        alarm_restore(k->alarm, (enum alarm_severity)e->severity, slice_of(e->detail),
                      e->raised_us);
    if (atomic_load(&k->alarm->active))
        alarm_goes_on(k);
}

static void keeper_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    if (result != STORE_OK) {
        log_error(&log_alarms, LOG_EV("alarm.history-unread"),
                  LOG_C("why", store_result_name(result)));
        return;
    }
    for (uint32_t row = 0; row < store_row_count(b, 0); row++) {
        struct alarm *a = alarm_find(store_text(b, 0, row, 0));
        if (a == NULL)
            continue;
        int64_t severity = store_int(b, 0, row, 1);
        struct kept *k = kept_of(a);
        k->rule = (struct alarm_rule){ .severity = severity > ALARM_CRITICAL ? -1 : (int)severity,
                                       .hold_down_ms = store_int(b, 0, row, 2),
                                       .delivered = store_int(b, 0, row, 3) != 0 };
        alarm_set_severity(a, k->rule.severity);
    }
    for (uint32_t row = 0; row < store_row_count(b, 1); row++)
        entry_open(b, row);
    keeper.last_id = store_row_count(b, 2) > 0 ? store_int(b, 2, 0, 0) : 0;
}

static void alarms_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ALARMS))
        return;
    keeper.worker = w;
    keeper.count = 0;
    keeper.busy = false;
    atomic_store(&keeper.posted, false);
    memset(trips, 0, sizeof trips);
    keeper.writing = keeper.waiting_count = 0;
    list_init(&keeper.waiting);
    keeper.look.fn = look_due;
    keeper.retry.fn = keeper_retry;
    keeper.sweep.fn = keeper_sweep_due;
    keeper.post.fn = alarms_posted;
    keeper.listener.changed = alarms_have_changed;
    keeper.settled_us = clock_wall_us() + (uint64_t)ALARMS_SETTLE_MS * US_A_MS;
    for (struct alarm *a = alarm_first(); a != NULL; a = a->next) {
        ensure(keeper.count < ALARMS_MAX);
        keeper.kept[keeper.count++] = (struct kept){
            .alarm = a,
            .rule = { .severity = -1, .hold_down_ms = a->hold_down_ms, .delivered = true }
        };
    }
    struct store_batch *b = store_read(worker_store(w), 0);
    store_add(b, &rules_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &open_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &last_stmt, STORE_ANY_ROWS, NULL, 0);
    (void)store_run(b, keeper_loaded, NULL);
    timer_set(worker_loop(w), &keeper.sweep, SWEEP_MS);
    look_soon();
    alarm_listen(&keeper.listener);
}

static void last_written(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    *(bool *)arg = result == STORE_OK;
    for (; result == STORE_OK && keeper.writing > 0; keeper.writing--)
        waiting_free(CONTAINER_OF(keeper.waiting.next, struct waiting, node));
}

/* The loop has ended. Entries that are under way are written again, which changes nothing. */
static void alarms_stop(struct worker *w)
{
    bool works = true;
    if (keeper.worker != w)
        return;
    alarm_unlisten(&keeper.listener);
    timer_cancel(&keeper.look);
    timer_cancel(&keeper.retry);
    timer_cancel(&keeper.sweep);
    while (works && keeper.waiting_count > 0)
        (void)store_run(write_batch(), last_written, &works);
    while (keeper.waiting_count > 0)
        waiting_free(CONTAINER_OF(keeper.waiting.next, struct waiting, node));
    keeper.worker = NULL;
}

const struct feature alarms_feature = {
    .name = "alarms",
    .schema = &schema,
    .settings = (struct setting *const[]){ &history_keep, &history_max, NULL },
    .commands =
        (struct command *const[]){ &alarm_list_command, &alarm_show_command, &alarm_history_command,
                                   &alarm_acknowledge_command, &alarm_set_command, NULL },
    .messages = (const struct message_row *const[]){ &alarms_news_message, NULL },
    .logs = (struct log_area *const[]){ &log_alarms, NULL },
    .worker.start = alarms_start,
    .worker.stop = alarms_stop,
};
