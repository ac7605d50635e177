#include "admin/events_watch.h"
#include "admin/control_json.h"
#include "admin/event_ring.h"
#include "admin/log_recent.h"
#include "admin/metrics_history.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "home/command_run.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/timer.h"

enum {
    WATCH_MS = 1000,
    METRICS_EACH = 2, /* of these */
    ALARMS_MAX = 256,
    AUDIT_PAGE = 100,
    EVENT_BYTES_MAX = 64 << 10,
    RING_METRICS = 64,
    RING_ROWS = 512,
    RING_BYTES = 1 << 20
};

static struct event_ring metrics_ring = EVENT_RING(RING_METRICS, RING_BYTES);
static struct event_ring alarms_ring = EVENT_RING(RING_ROWS, RING_BYTES);
static struct event_ring audit_ring = EVENT_RING(RING_ROWS, RING_BYTES);
static struct event_ring settings_ring = EVENT_RING(RING_ROWS, RING_BYTES);

struct event_topic_row event_topics[EVENT_TOPICS] = {
    [EVENT_METRICS] = { "metrics", "metrics", &metrics_ring, 0, 0 },
    [EVENT_ALARMS] = { "alarms", "alarm list", &alarms_ring, 0, 0 },
    [EVENT_LOG] = { "log", "log list", &log_recent, 0, 0 },
    [EVENT_AUDIT] = { "audit", "audit list", &audit_ring, 0, 0 },
    [EVENT_SETTINGS] = { "settings", "config history", &settings_ring, 0, 0 },
};

const struct command *event_command(unsigned topic)
{
    return command_find(slice_of(event_topics[topic].command));
}

void event_reader_add(unsigned topic)
{
    uint64_t nobody = 0;
    atomic_compare_exchange_strong(&event_topics[topic].wanted_us, &nobody, clock_wall_us());
    event_topics[topic].readers++;
}

static _Atomic uint64_t epoch;

uint64_t events_epoch(void) { return epoch; }

/* One command that lists rows. */
struct watch {
    struct command_call call; /* arena NULL: it is not under way */
    struct command_return ended;
    void (*take)(struct watch *w);
};

static struct {
    struct worker *worker; /* NULL: not here */
    struct timer timer;
    unsigned turns;
    struct watch alarms, audit, settings;
    /* Words that were said of each alarm, by hashes of its name and its row. */
    struct said {
        uint64_t name, row;
    } said[ALARMS_MAX];
    int64_t audit_last;     /* id; 0: not known yet */
    uint64_t settings_last; /* the newest version, by the hash of its row */
} watch;

static void watch_back(struct command_return *r)
{
    struct watch *w = CONTAINER_OF(r, struct watch, ended);
    ensure(w->call.ended);
    if (w->call.err == OK)
        w->take(w);
    arena_destroy(&w->call.arena);
}

static void watch_finished(struct command_call *call, void *arg)
{
    struct watch *w = arg;
    (void)call;
    command_return(&w->ended, watch.worker, watch_back);
}

static void watch_list(struct watch *w, unsigned topic, const char *name, const char *value)
{
    struct why why;
    slice names = slice_of(name), values = slice_of(value);
    if (w->call.arena != NULL)
        return;
    w->call = (struct command_call){ .command = event_command(topic),
                                     .arena = arena_create(0),
                                     .worker = watch.worker,
                                     .who = principal_server,
                                     .finished = watch_finished,
                                     .arg = w };
    if (command_bind(&w->call, &names, &values, 1, &why) == OK)
        command_run(&w->call);
    else
        arena_destroy(&w->call.arena);
}

static void add_row_event(unsigned topic, const struct command_row *row)
{
    struct buf text;
    buf_init(&text, EVENT_BYTES_MAX);
    control_row(&text, row);
    event_ring_add(event_topics[topic].ring, buf_fit(&text));
    buf_fini(&text);
}

static uint64_t row_hash(const struct command_row *row)
{
    struct buf text;
    buf_init(&text, EVENT_BYTES_MAX);
    control_row(&text, row);
    uint64_t hash = hash_keyed(buf_fit(&text)) | 1;
    buf_fini(&text);
    return hash;
}

/* Where the alarm of that name is, or is to be; NULL: there are too many. */
static struct said *alarm_said(slice name)
{
    uint64_t hash = hash_keyed(name) | 1;
    for (unsigned i = 0; i < ALARMS_MAX; i++) {
        if (watch.said[i].name != hash && watch.said[i].name != 0)
            continue;
        watch.said[i].name = hash;
        return &watch.said[i];
    }
    return NULL;
}

/* A row that is another one than before; of those that were never looked at, active ones. */
static void take_alarms(struct watch *w)
{
    for (const struct command_row *row = w->call.rows; row != NULL; row = row->next) {
        struct said *said = alarm_said(command_row_text(row, "name"));
        uint64_t hash = row_hash(row);
        if (said == NULL || said->row == hash)
            continue;
        if (said->row != 0 || slice_is(command_row_text(row, "active"), "true"))
            add_row_event(EVENT_ALARMS, row);
        said->row = hash;
    }
}

/* The newest come first. A gap in their numbers are entries that nobody has read. */
static void take_audit(struct watch *w)
{
    const struct command_row *rows[AUDIT_PAGE];
    unsigned count = 0;
    int64_t last = watch.audit_last;
    char wanted[CLOCK_STAMP_LEN]; /* entries of before are no events */
    clock_stamp(wanted, event_topics[EVENT_AUDIT].wanted_us);
    for (const struct command_row *row = w->call.rows; row != NULL && count < AUDIT_PAGE;
         row = row->next) {
        bool before =
            last == 0 && slice_compare(command_row_text(row, "time"), slice_of(wanted)) < 0;
        if (before || command_row_int(row, "id") <= last)
            break;
        rows[count++] = row;
    }
    if (w->call.rows != NULL)
        watch.audit_last = command_row_int(w->call.rows, "id");
    if (last > 0 && count > 0 && command_row_int(rows[count - 1], "id") > last + 1)
        event_ring_skip(&audit_ring, (uint64_t)(command_row_int(rows[count - 1], "id") - last - 1));
    while (count > 0)
        add_row_event(EVENT_AUDIT, rows[--count]);
}

/* The newest version, also when its state is another one: it was confirmed, or rolled back. */
static void take_settings(struct watch *w)
{
    uint64_t hash = w->call.rows != NULL ? row_hash(w->call.rows) : 0;
    if (hash != 0 && hash != watch.settings_last)
        add_row_event(EVENT_SETTINGS, w->call.rows);
    watch.settings_last = hash;
}

static void watch_metrics(void)
{
    struct buf text;
    buf_init(&text, EVENT_BYTES_MAX);
    metrics_history_now(&text);
    event_ring_add(&metrics_ring, buf_fit(&text));
    buf_fini(&text);
}

static void watch_due(struct timer *t, struct loop *loop)
{
    timer_set(loop, t, WATCH_MS);
    if (event_topics[EVENT_METRICS].readers > 0 && watch.turns++ % METRICS_EACH == 0)
        watch_metrics();
    if (event_topics[EVENT_ALARMS].readers > 0)
        watch_list(&watch.alarms, EVENT_ALARMS, "all", "true");
    if (event_topics[EVENT_AUDIT].readers > 0)
        watch_list(&watch.audit, EVENT_AUDIT, "limit", "100");
    if (event_topics[EVENT_SETTINGS].readers > 0)
        watch_list(&watch.settings, EVENT_SETTINGS, "limit", "1");
}

void events_watch_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_METRICS))
        return;
    epoch = clock_wall_us();
    watch.worker = w;
    watch.timer.fn = watch_due;
    watch.alarms.take = take_alarms;
    watch.audit.take = take_audit;
    watch.settings.take = take_settings;
    timer_set(worker_loop(w), &watch.timer, WATCH_MS);
}

/* A command that is under way does not come back: its loop has ended. */
void events_watch_stop(struct worker *w)
{
    if (!duty_is_here(w, DUTY_METRICS))
        return;
    timer_cancel(&watch.timer);
    arena_destroy(&watch.alarms.call.arena);
    arena_destroy(&watch.audit.call.arena);
    arena_destroy(&watch.settings.call.arena);
    for (unsigned t = 0; t < EVENT_TOPICS; t++)
        event_ring_clear(event_topics[t].ring);
}
