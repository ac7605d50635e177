#include "muc/operate/cleanup.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "im/feature.h"
#include "io/timer.h"
#include "muc/muc.h"
#include "muc/operate/operate.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "muc/state/store.h"
#include "ops/users.h"
#include "store/store.h"

enum { PAGE_ROWS = 64, FIRST_MS = 60000, PASS_MS = 3600000 };
#define DAY_MS 86400000ll
#define DAY_US (DAY_MS * 1000ull)

static void days_changed(const struct setting *s);

enum { CLEANUP_DAYS_MIN = 1, CLEANUP_DAYS_MAX = 36500 };
static struct setting cleanup_days = {
    .name = "muc.cleanup-days",
    .type = PARAM_INT,
    .def = SETTING_NONE,
    .min = CLEANUP_DAYS_MIN,
    .max = CLEANUP_DAYS_MAX,
    .allow_none = true,
    .unit = "days",
    .changed = days_changed,
    .doc = "Empty persistent rooms without a message for so long are destroyed within an hour, "
           "with their archives. `none` keeps all rooms.",
};

static struct metric cleaned = {
    .name = "muster_muc_rooms_cleaned",
    .kind = METRIC_COUNTER,
    .help = "Rooms destroyed because they were unused (muc.cleanup-days, room cleanup).",
};

static const struct store_migration migrations[] = {
    { 1, "CREATE TABLE room_spoken(room INTEGER PRIMARY KEY, day INTEGER NOT NULL)",
      "CREATE TABLE room_spoken(room BIGINT PRIMARY KEY, day BIGINT NOT NULL)" },
    { 0 },
};
static struct store_stmt spoken_stmt = {
    .name = "room.spoken",
    .sql =
        "INSERT INTO room_spoken(room, day) SELECT $1, $2" ROOM_EXISTS
        " ON CONFLICT(room) DO UPDATE SET day = excluded.day WHERE room_spoken.day < excluded.day",
    .params = "ii",
    .cols = "",
};
static struct store_stmt silent_stmt = {
    .name = "room.spoken-delete",
    .sql = "DELETE FROM room_spoken WHERE room = $1",
    .params = "i",
    .cols = "",
};
/* Rooms made before $2 without a message on day $3 or later. */
static struct store_stmt page_stmt = {
    .name = "room.unused",
    .sql = "SELECT jid FROM room WHERE jid > $1 AND created_us < $2 AND NOT EXISTS"
           " (SELECT 1 FROM room_spoken WHERE room = room.id AND day >= $3) ORDER BY jid LIMIT $4",
    .params = "tiii",
    .cols = "t",
};
static const struct store_schema schema = {
    .feature = "muc_cleanup",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &spoken_stmt, &silent_stmt, &page_stmt, NULL },
};

void room_spoken(struct room *r)
{
    uint32_t day = (uint32_t)(loop_wall_us(worker_loop(r->worker)) / DAY_US);
    if (day == r->spoken_day)
        return;
    r->spoken_day = day;
    struct store_batch *b = store_write(worker_store(r->worker), (uint64_t)r->id);
    STORE_ADD(b, &spoken_stmt, STORE_ANY_ROWS, SV_I(r->id), SV_I(day));
    store_submit(b, worker_loop(r->worker), 0, NULL, NULL);
}

void room_spoken_remove(struct store_batch *b, const struct room *r)
{
    STORE_ADD(b, &silent_stmt, STORE_ANY_ROWS, SV_I(r->id));
}

/* During a pass it belongs to the worker of the room that is looked at, otherwise to worker 0. */
static struct pass {
    struct worker *worker; /* 0 */
    struct timer timer;
    bool under_way, dry;
    bool again;                /* the setting was changed during the pass: start another */
    struct command_call *call; /* NULL: the timer started the pass */
    struct arena *arena;       /* of the page */
    uint64_t before_us;        /* rooms without a message since then are destroyed */
    uint64_t last_us;          /* last message of the room that is being destroyed */
    slice room[PAGE_ROWS];
    uint32_t count, at;
    uint32_t found, failed;
} pass;
static _Atomic(struct node *) node; /* NULL unless the node runs */

static void cleanup_due(struct timer *t, struct loop *loop);
static void cleanup_read_page(struct pass *p, slice after);

static void next_pass(struct pass *p, uint64_t ms)
{
    p->timer.fn = cleanup_due;
    timer_set(worker_loop(p->worker), &p->timer, ms);
}

static void cleanup_say(const struct pass *p, struct command_call *call)
{
    if (p->failed > 0)
        command_fail(call, E_DOWN, "%u rooms were destroyed, %u could not be", p->found, p->failed);
    else
        command_done(call, "%u room%s %s destroyed", p->found, p->found == 1 ? "" : "s",
                     p->dry          ? "would be"
                     : p->found == 1 ? "was"
                                     : "were");
}

/* On worker 0. */
static void cleanup_finish(struct worker *w, void *arg)
{
    struct pass *p = arg;
    struct command_call *call = p->call;
    (void)w;
    if (!p->dry && p->found > 0)
        log_info(&log_muc, LOG_EV("rooms.cleaned"), LOG_I("rooms", p->found));
    arena_destroy(&p->arena);
    p->call = NULL;
    p->under_way = false;
    next_pass(p, p->again ? 0 : PASS_MS);
    if (call != NULL)
        cleanup_say(p, call);
}

static void cleanup_look(struct worker *w, struct pass *p);

static void cleanup_found(struct pass *p, const struct room *r, uint64_t last_us)
{
    p->found++;
    metric_add(&cleaned, !p->dry);
    if (p->call == NULL)
        return;
    command_row(p->call);
    command_text(p->call, "jid", r->jid);
    if (last_us > 0)
        users_add_time(p->call, "last_message", last_us);
    else
        command_text(p->call, "last_message", SLICE(""));
}

static void cleanup_destroyed(struct room *r, enum err e, void *arg)
{
    struct pass *p = arg;
    if (e == OK)
        cleanup_found(p, r, p->last_us);
    else
        p->failed++;
    cleanup_look(r->worker, p);
}

/* Rooms whose last message is of an earlier day are destroyed. */
static uint64_t last_day(const struct pass *p) { return p->before_us / DAY_US; }

/* Checked again, since the room may have been used after the page was read. */
static bool is_unused(const struct room *r, const struct pass *p)
{
    return r->state == ACTOR_READY && r->stored && r->seat_count == 0 &&
           r->created_us < p->before_us && r->archive.last_id < p->before_us &&
           r->spoken_day < last_day(p);
}

static void cleanup_reached(struct room *r, enum err e, void *arg)
{
    struct pass *p = arg;
    bool unused = e == OK && is_unused(r, p);
    if (!unused) {
        cleanup_look(worker_here(), p);
    } else if (p->dry) {
        cleanup_found(p, r, r->archive.last_id);
        cleanup_look(worker_here(), p);
    } else {
        p->last_us = r->archive.last_id;
        room_commit(r, &(struct room_delta){ .destroy = true, .reason = SLICE("nobody used it") },
                    cleanup_destroyed, p);
    }
}

static void page_again(struct worker *w, void *arg)
{
    struct pass *p = arg;
    (void)w;
    cleanup_read_page(p, p->room[p->count - 1]);
}

static void cleanup_look(struct worker *w, struct pass *p)
{
    if (p->at < p->count)
        operate_reach(w, p->room[p->at++], cleanup_reached, p);
    else
        node_call(worker_node(w), duty_home(worker_node(w), DUTY_ROOMS),
                  p->count < PAGE_ROWS ? cleanup_finish : page_again, p);
}

static void cleanup_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct pass *p = arg;
    arena_reset(p->arena);
    p->count = store_row_count(b, 0);
    p->at = 0;
    p->failed += result != STORE_OK;
    for (uint32_t i = 0; i < p->count; i++)
        p->room[i] = slice_dup(p->arena, store_text(b, 0, i, 0));
    cleanup_look(p->worker, p);
}

static void cleanup_read_page(struct pass *p, slice after)
{
    struct store_batch *b = store_read(worker_store(p->worker), 0);
    STORE_ADD(b, &page_stmt, STORE_ANY_ROWS, SV_T(after), SV_I(p->before_us), SV_I(last_day(p)),
              SV_I(PAGE_ROWS));
    store_submit(b, worker_loop(p->worker), 0, cleanup_page_read, p);
}

static void cleanup_begin(struct pass *p, int64_t days, struct command_call *call)
{
    uint64_t now = clock_wall_us(), age = (uint64_t)days * DAY_US;
    timer_cancel(&p->timer);
    *p = (struct pass){ .worker = p->worker,
                        .under_way = true,
                        .call = call,
                        .dry = call != NULL && command_flag(call, "dry-run"),
                        .arena = arena_create(0),
                        .before_us = now > age ? now - age : 0 };
    cleanup_read_page(p, SLICE(""));
}

static void cleanup_due(struct timer *t, struct loop *loop)
{
    struct pass *p = CONTAINER_OF(t, struct pass, timer);
    int64_t days = setting_int(&cleanup_days);
    (void)loop;
    if (days == SETTING_NONE)
        next_pass(p, PASS_MS);
    else
        cleanup_begin(p, days, NULL);
}

static void due_now(struct worker *w, void *unused)
{
    (void)w;
    (void)unused;
    pass.again = pass.under_way;
    if (!pass.under_way)
        next_pass(&pass, 0);
}

static void days_changed(const struct setting *s)
{
    struct node *n = atomic_load(&node);
    (void)s;
    if (n != NULL)
        node_call(n, duty_home(n, DUTY_ROOMS), due_now, NULL);
}

static void cleanup_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ROOMS))
        return;
    pass = (struct pass){ .worker = w };
    next_pass(&pass, FIRST_MS);
    atomic_store(&node, worker_node(w));
}

static void cleanup_worker_stop(struct worker *w)
{
    if (duty_is_here(w, DUTY_ROOMS))
        atomic_store(&node, NULL);
}

static void cleanup_worker_ended(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ROOMS) || pass.worker != w)
        return;
    timer_cancel(&pass.timer);
    arena_destroy(&pass.arena);
    pass = (struct pass){ 0 };
}

static void run_cleanup(struct command_call *call)
{
    int64_t days = command_number(call, "older-than", setting_int(&cleanup_days));
    if (days == SETTING_NONE)
        command_fail(call, E_SYNTAX,
                     "--older-than is needed, for example 90d, because muc.cleanup-days is none");
    else if (pass.under_way)
        command_fail(call, E_AGAIN, "another cleanup of rooms is running; try again later");
    else
        cleanup_begin(&pass, days, call);
}

static const struct command_arg args[] = {
    { .name = "older-than",
      .kind = ARG_OPTION,
      .type = PARAM_INT,
      .min = CLEANUP_DAYS_MIN,
      .max = CLEANUP_DAYS_MAX,
      .unit = "days",
      .doc = "time since the last message, as 90d; the default is muc.cleanup-days" },
    { .name = "dry-run",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "only shows which rooms would be destroyed" },
    { 0 },
};
static struct command cleanup_command = {
    .name = "room cleanup",
    .effect = COMMAND_CHANGES,
    .args = args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ROOMS,
    .run = run_cleanup,
    .asks = "Empty rooms without a message for so long are deleted with their archives.",
    .doc = "Destroys unused persistent rooms with their archives: empty rooms that have had no "
           "message for some days.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_ROOM, .doc = "the room" },
            { .name = "last_message", .type = PARAM_STAMP, .doc = "its last message; empty: none" },
            { 0 } },
};

const struct feature muc_cleanup_feature = {
    .name = "muc_cleanup",
    .parts = PART_ROOM | PART_ACCOUNT,
    .schema = &schema,
    .settings = (struct setting *const[]){ &cleanup_days, NULL },
    .commands = (struct command *const[]){ &cleanup_command, NULL },
    .metrics = (struct metric *const[]){ &cleaned, NULL },
    .worker.start = cleanup_worker_start,
    .worker.stop = cleanup_worker_stop,
    .worker.ended = cleanup_worker_ended,
};
