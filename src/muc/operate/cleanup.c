/* cleanup: destroys unused rooms. A room is unused if it is persistent and empty, and its last
 * message is older than a number of days. A room without messages counts from the day when it was
 * made.
 *
 * The table room_spoken holds the day of each room's last message. The archive cannot tell: its
 * messages may have been deleted, and some rooms are not archived. The row is written with the
 * first message of a day.
 *
 * A pass looks at all rooms, one after the other, each at its home. It begins and ends at
 * the home of DUTY_ROOMS. The command `room cleanup` starts one; muc.cleanup-days starts one every
 * hour. Only one runs at a time.
 *
 * Limit: a pass holds the addresses of PAGE_ROWS rooms at a time. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "io/timer.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "muc/state/reach.h"
#include "muc/state/store.h"
#include "ops/jobs.h"
#include "ops/users.h"
#include "store/store.h"

enum { PAGE_ROWS = 64, FIRST_MS = 60000, PASS_MS = 3600000 };
#define DAY_MS 86400000ll
#define DAY_US (DAY_MS * 1000ull)

static void days_changed(struct worker *w, const struct setting *unused);

enum { CLEANUP_DAYS_MIN = 1, CLEANUP_DAYS_MAX = 36500 };
/* Whether somebody is in them, the database does not know. */
static struct store_stmt unused_stmt = {
    .name = "room.unused-count",
    .sql = "SELECT count(*) FROM room WHERE created_us < $1 AND NOT EXISTS"
           " (SELECT 1 FROM room_spoken WHERE room = room.id AND day >= $1 / 86400000000)",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact unused_impact = {
    .stmt = &unused_stmt,
    .what = "rooms without a message for so long, if nobody is in them",
    .unit_us = DAY_MS * 1000,
    .deletes = true
};
static struct setting cleanup_days = {
    .name = "muc.cleanup-days",
    .impact = &unused_impact,
    .scope = SCOPE_CLUSTER,
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
    .stmts =
        (struct store_stmt *const[]){ &spoken_stmt, &silent_stmt, &page_stmt, &unused_stmt, NULL },
};

/* At the slot of a room: the day of the last message since 1970, as it is stored. NULL: not known.
 */
static unsigned spoken_slot;

static uint32_t spoken_day(const struct room *r)
{
    return (uint32_t)(uintptr_t)*room_slot(r, spoken_slot);
}

static void cleanup_clear(struct room *r) { *room_slot(r, spoken_slot) = NULL; }

/* A user sent a message to this room: notes the day. */
static void cleanup_said(struct room *r, const struct room_said *said)
{
    if (said->speaker.len == 0 || !r->stored)
        return;
    uint32_t day = (uint32_t)(loop_wall_us(room_loop(r)) / DAY_US);
    if (day == spoken_day(r))
        return;
    *room_slot(r, spoken_slot) = (void *)(uintptr_t)day;
    struct store_batch *b = store_write(room_store(r), (uint64_t)r->id);
    STORE_ADD(b, &spoken_stmt, STORE_ANY_ROWS, SV_I(r->id), SV_I(day));
    store_submit(b, room_loop(r), 0, NULL, NULL);
}

static void cleanup_remove(struct store_batch *b, const struct room *r)
{
    STORE_ADD(b, &silent_stmt, STORE_ANY_ROWS, SV_I(r->id));
}

/* At the home of a room: is it unused? Then it is destroyed, unless the pass is dry. */

static struct command cleanup_command;

struct cleanup_asked {
    slice room;
    uint64_t before_us;
    bool dry;
};
static const struct message_field cleanup_asked_fields[] = {
    F_BARE(struct cleanup_asked, room),
    F_U64(struct cleanup_asked, before_us),
    F_BOOL(struct cleanup_asked, dry),
    { 0 },
};

struct cleanup_told {
    uint64_t last_us; /* of an unused room: its last message; 0: none */
    uint8_t verdict;
};
static const struct message_field cleanup_told_fields[] = {
    F_U64(struct cleanup_told, last_us),
    F_U8(struct cleanup_told, verdict, ROOM_STAYS),
    { 0 },
};
static const struct message_row cleanup_told_message = {
    .id = 94,
    .scope = MESSAGE_CLUSTER,
    .name = "cleanup-told",
    .size = sizeof(struct cleanup_told),
    .fields = cleanup_told_fields,
};

struct inspection {
    struct message_from from;
    struct worker *worker;
    uint64_t before_us, last_us;
    bool dry;
};

static void inspection_end(struct inspection *v, enum verdict_of_room verdict)
{
    question_answer(v->worker, &v->from, &cleanup_told_message,
                    &(struct cleanup_told){ v->last_us, (uint8_t)verdict });
    question_end(v->worker, &v->from);
    mem_free(&v);
}

static void cleanup_destroyed(struct room *r, enum err e, void *arg)
{
    (void)r;
    inspection_end(arg, e == OK ? ROOM_UNUSED : ROOM_STAYS);
}

/* Rooms whose last message is of an earlier day are destroyed. Checked again, since the room may
 * have been used after the page was read. */
static bool is_unused(const struct room *r, uint64_t before_us)
{
    return r->state == ACTOR_READY && r->stored && r->seat_count == 0 &&
           r->created_us < before_us && r->archive.last_id < before_us &&
           spoken_day(r) < before_us / DAY_US;
}

static void cleanup_reached(struct room *r, enum err e, void *arg)
{
    struct inspection *v = arg;
    ensure(worker_is_here(v->worker));
    if (e != OK || !is_unused(r, v->before_us)) {
        inspection_end(v, ROOM_USED);
        return;
    }
    v->last_us = r->archive.last_id;
    if (v->dry)
        inspection_end(v, ROOM_UNUSED);
    else
        room_commit(r,
                    &(struct room_delta){ .destroy = true,
                                          .by = slice_of(cleanup_command.name),
                                          .reason = SLICE("nobody used it") },
                    cleanup_destroyed, v);
}

static void cleanup_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct cleanup_asked *q = message;
    struct inspection *v = mem_new(struct inspection);
    *v =
        (struct inspection){ .from = *from, .worker = w, .before_us = q->before_us, .dry = q->dry };
    operate_reach(w, q->room, cleanup_reached, v);
}

static const struct message_row cleanup_asked_message = {
    .id = 93,
    .scope = MESSAGE_CLUSTER,
    .name = "cleanup-asked",
    .size = sizeof(struct cleanup_asked),
    .fields = cleanup_asked_fields,
    .run = cleanup_asked_run,
    .answer = &cleanup_told_message,
    .later = true,
};

/* A pass, at the home of DUTY_ROOMS. */
static struct pass {
    struct worker *worker;
    struct timer timer;
    bool under_way, dry;
    bool again;                /* the setting was changed during the pass: start another */
    const char *canceled;      /* why, before it had looked at all rooms */
    struct command_call *call; /* NULL: the timer started the pass */
    uint64_t job;
    uint32_t looked;     /* at rooms */
    struct arena *arena; /* of the page */
    uint64_t before_us;  /* rooms without a message since then are destroyed */
    slice room[PAGE_ROWS];
    uint32_t count, at;
    uint32_t found, failed;
} pass;

static void cleanup_due(struct timer *t, struct loop *loop);
static void cleanup_read_page(struct pass *p, slice after);
static void cleanup_look(struct pass *p);

static void next_pass(struct pass *p, uint64_t ms)
{
    p->timer.fn = cleanup_due;
    timer_set(worker_loop(p->worker), &p->timer, ms);
}

static void cleanup_say(const struct pass *p, struct command_call *call)
{
    if (p->canceled != NULL)
        command_fail(call, E_CANCELED, "%s; rooms that %s destroyed: %u", p->canceled,
                     p->dry ? "would be" : "were", p->found);
    else if (p->failed > 0)
        command_fail(call, E_DOWN, "%u rooms were destroyed, %u could not be: %s", p->found,
                     p->failed, err_text(E_DOWN));
    else
        command_done(call, "%u room%s %s destroyed", p->found, p->found == 1 ? "" : "s",
                     p->dry          ? "would be"
                     : p->found == 1 ? "was"
                                     : "were");
}

static void cleanup_end_own(const struct pass *p)
{
    if (p->found + p->failed > 0 || p->canceled != NULL)
        job_end_own(p->job,
                    p->canceled != NULL ? E_CANCELED
                    : p->failed == 0    ? OK
                                        : E_DOWN,
                    "rooms destroyed: %u, failed: %u", p->found, p->failed);
    else
        job_forget_own(p->job);
}

static void cleanup_finish(struct pass *p)
{
    struct command_call *call = p->call;
    if (!p->dry && p->found > 0)
        log_info(&log_muc, LOG_EV("rooms.cleaned"), LOG_I("rooms", p->found));
    arena_destroy(&p->arena);
    p->call = NULL;
    p->under_way = false;
    next_pass(p, p->again ? 0 : PASS_MS);
    if (call != NULL)
        cleanup_say(p, call);
    else
        cleanup_end_own(p);
}

static void cleanup_found(struct pass *p, slice room, uint64_t last_us)
{
    p->found++;
    metric_add(&cleaned, !p->dry);
    if (p->call == NULL)
        return;
    command_row(p->call);
    command_text(p->call, "jid", room);
    if (last_us > 0)
        users_add_time(p->call, "last_message", last_us);
    else
        command_text(p->call, "last_message", SLICE(""));
}

static void cleanup_heard(struct worker *w, void *arg, void *answer,
                          const struct message_from *from)
{
    const struct cleanup_told *told = answer;
    struct pass *p = arg;
    (void)w, (void)from;
    ensure(p->at < p->count);
    if (told->verdict == ROOM_UNUSED)
        cleanup_found(p, p->room[p->at], told->last_us);
    p->failed += told->verdict == ROOM_STAYS;
    p->looked++;
    job_tell(p->job, "rooms looked at: %u, unused: %u", p->looked, p->found);
}

static void cleanup_looked(struct worker *w, void *arg)
{
    struct pass *p = arg;
    (void)w;
    ensure(p->at < p->count);
    p->at++;
    cleanup_look(p);
}

static void cleanup_look(struct pass *p)
{
    p->canceled = p->at < p->count ? job_canceled(p->job) : NULL;
    if (p->canceled != NULL)
        cleanup_finish(p);
    else if (p->at < p->count)
        home_ask(p->worker, p->room[p->at], &cleanup_asked_message,
                 &(struct cleanup_asked){ p->room[p->at], p->before_us, p->dry },
                 &(struct asker){ .gather = cleanup_heard, .done = cleanup_looked, .arg = p });
    else if (p->count < PAGE_ROWS)
        cleanup_finish(p);
    else
        cleanup_read_page(p, p->room[p->count - 1]);
}

static void cleanup_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct pass *p = arg;
    ensure(p->under_way && worker_is_here(p->worker));
    arena_reset(p->arena);
    p->count = store_row_count(b, 0);
    p->at = 0;
    p->failed += result != STORE_OK;
    for (uint32_t i = 0; i < p->count; i++)
        p->room[i] = slice_dup(p->arena, store_text(b, 0, i, 0));
    cleanup_look(p);
}

static void cleanup_read_page(struct pass *p, slice after)
{
    struct store_batch *b = store_read(worker_store(p->worker), 0);
    STORE_ADD(b, &page_stmt, STORE_ANY_ROWS, SV_T(after), SV_I(p->before_us),
              SV_I(p->before_us / DAY_US), SV_I(PAGE_ROWS));
    store_submit(b, worker_loop(p->worker), 0, cleanup_page_read, p);
}

static void cleanup_begin(struct pass *p, int64_t days, struct command_call *call)
{
    uint64_t now = clock_wall_us(), age = (uint64_t)days * DAY_US;
    ensure(!p->under_way && worker_is_here(p->worker));
    timer_cancel(&p->timer);
    *p = (struct pass){ .worker = p->worker,
                        .under_way = true,
                        .call = call,
                        .dry = call != NULL && command_flag(call, "dry_run"),
                        .arena = arena_create(0),
                        .job = call != NULL ? job_begin(call)
                                            : job_begin_own(p->worker, &cleanup_command),
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

static void days_changed(struct worker *w, const struct setting *unused)
{
    (void)unused;
    if (!duty_is_here(w, DUTY_ROOMS))
        return;
    pass.again = pass.under_way;
    if (!pass.under_way)
        next_pass(&pass, 0);
}

static void cleanup_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ROOMS))
        return;
    pass = (struct pass){ .worker = w };
    next_pass(&pass, FIRST_MS);
}

static void cleanup_worker_ended(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ROOMS) || pass.worker != w)
        return;
    timer_cancel(&pass.timer);
    arena_destroy(&pass.arena);
    if (pass.under_way && pass.call == NULL)
        job_forget_own(pass.job);
    pass = (struct pass){ 0 };
}

static void run_cleanup(struct command_call *call)
{
    int64_t days = command_number(call, "older_than", setting_int(&cleanup_days));
    if (days == SETTING_NONE)
        command_fail(call, E_SYNTAX,
                     "--older-than is needed, for example 90d, because muc.cleanup-days is none");
    else if (pass.under_way)
        command_fail(call, E_AGAIN, "another cleanup of rooms is running; try again later");
    else
        cleanup_begin(&pass, days, call);
}

static const struct command_arg args[] = {
    { .name = "older_than",
      .kind = ARG_OPTION,
      .type = PARAM_INT,
      .example = "90d",
      .min = CLEANUP_DAYS_MIN,
      .max = CLEANUP_DAYS_MAX,
      .unit = "days",
      .doc = "time since the last message, as 90d; the default is muc.cleanup-days" },
    { .name = "dry_run",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "only shows which rooms would be destroyed" },
    { 0 },
};
static struct command cleanup_command = {
    .name = "room cleanup",
    .rest = "POST /rooms/cleanup",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .args = args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ROOMS,
    .job = true,
    .report = true,
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
    .messages =
        (const struct message_row *const[]){ &cleanup_asked_message, &cleanup_told_message, NULL },
    .worker.start = cleanup_worker_start,
    .worker.ended = cleanup_worker_ended,
};

const struct room_part cleanup_part = {
    .name = "cleanup",
    .slot = &spoken_slot,
    .remove = cleanup_remove,
    .clear = cleanup_clear,
    .said = cleanup_said,
};
