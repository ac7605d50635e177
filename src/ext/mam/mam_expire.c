#include "ext/mam/mam_expire.h"
#include "archive/archive.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "io/timer.h"

enum { STEP_ROWS = 256, STEP_BYTES = 4 << 20, PAUSE_MS = 20, FIRST_MS = 60000, PASS_MS = 3600000 };

struct setting mam_retention = {
    .name = "archive.retention",
    .type = PARAM_INT,
    .def = SETTING_NONE,
    .min = 1,
    .max = 36500,
    .allow_none = true,
    .unit = "days",
    .doc = "How long messages stay in the archives. Older ones are deleted within an hour, but not "
           "before the recipient has them. `none` keeps everything.",
};
struct metric mam_expired = { .name = "muster_archive_expired",
                              .kind = METRIC_COUNTER,
                              .help = "Messages deleted because they were older than "
                                      "archive.retention." };
struct log_area mam_log = { .name = "archive" };

/* The newest row is kept, so that its id is not used again. */
static struct store_stmt read_oldest = {
    .name = "mam.oldest",
    .sql =
        "SELECT m.id, m.sender, m.sender_entry, m.rcpt, m.rcpt_entry, m.flags, m.stanza, m.at_us,"
        " CASE WHEN m.rcpt_entry <> 0 AND m.flags % 2 = 1"
        " AND m.rcpt_entry > coalesce(b.cursor, 0) THEN 1 ELSE 0 END"
        " FROM message m LEFT JOIN mailbox b ON b.owner = m.rcpt WHERE m.id > $1"
        " AND m.id < (SELECT max(id) FROM message) ORDER BY m.id LIMIT $2",
    .params = "ii",
    .cols = "iiiiiitii",
};
static struct store_stmt read_late = {
    .name = "mam.late",
    .sql = "SELECT position FROM reader WHERE name = 'entries'",
    .params = "",
    .cols = "i",
};
struct store_stmt *const mam_expire_stmts[] = { &read_oldest, &read_late, NULL };

static struct pass {
    struct worker *worker;
    struct timer timer;
    bool under_way;
    struct command_call *call; /* NULL: the timer began it */
    int64_t position, next;    /* log ids: done up to, and with the step under way */
    int64_t before_us;
    uint32_t rows, removed, removing;
} pass;
static atomic_bool armed;

static void mam_expire_step(struct pass *p);
static void mam_expire_due(struct timer *t, struct loop *loop);

static void mam_expire_finish(struct pass *p, enum store_result r)
{
    struct command_call *call = p->call;
    ensure(worker_is_here(p->worker) && p->under_way);
    p->call = NULL;
    metric_add(&mam_expired, p->removed);
    if (p->removed > 0)
        log_info(&mam_log, LOG_EV("archive.expired"), LOG_I("messages", p->removed));
    p->timer.fn = mam_expire_due;
    timer_set(worker_loop(p->worker), &p->timer, PASS_MS);
    uint32_t removed = p->removed;
    p->under_way = false;
    if (call != NULL && r == STORE_OK)
        command_done(call, "messages deleted: %u", removed);
    else if (call != NULL)
        command_fail(call, E_DOWN, "the database does not answer; messages deleted: %u", removed);
}

static void mam_expire_next_step(struct timer *t, struct loop *loop)
{
    (void)loop;
    mam_expire_step(CONTAINER_OF(t, struct pass, timer));
}

static void mam_expire_removed(void *arg, enum store_result r, const struct store_batch *b)
{
    struct pass *p = arg;
    (void)b;
    ensure(p->under_way);
    if (r == STORE_OK) {
        p->removed += p->removing;
        p->position = p->next;
    } else if (r != STORE_CONFLICT) { /* a conflict: one was retracted meanwhile; read it again */
        mam_expire_finish(p, r);
        return;
    }
    p->timer.fn = mam_expire_next_step;
    timer_set(worker_loop(p->worker), &p->timer, PAUSE_MS);
}

static void mam_expire_oldest_read(void *arg, enum store_result r, const struct store_batch *rows)
{
    struct pass *p = arg;
    ensure(p->under_way && p->rows > 0);
    if (r == STORE_CONFLICT && p->rows > 1) { /* too many bytes */
        p->rows = store_fewer(p->rows);
        mam_expire_step(p);
        return;
    }
    uint32_t count = r == STORE_OK ? store_row_count(rows, 0) : 0;
    int64_t inserted = r == STORE_OK && store_row_count(rows, 1) > 0 ? store_int(rows, 1, 0, 0) : 0;
    struct store_batch *b = store_write(worker_store(p->worker), 0);
    struct arena *tmp = arena_create(0);
    uint32_t i = 0;
    p->removing = 0;
    size_t bytes = 0;
    for (; i < count && bytes < STEP_BYTES && store_int(rows, 0, i, 7) < p->before_us; i++) {
        struct archive_line m = archive_line_of(rows, 0, i);
        bytes += m.stanza.len;
        p->next = m.id;
        if (store_int(rows, 0, i, 8) != 0) /* nobody has it */
            continue;
        if ((m.flags & MESSAGE_EVENT) != 0) /* it goes with the message that it is about */
            continue;
        if (m.id > inserted) /* its entries would come behind it */
            store_read_late(b, STORE_ALL_OWNERS);
        archive_drop(b, &m, tmp);
        p->removing++;
    }
    arena_destroy(&tmp);
    if (i == 0 || worker_stopping(p->worker)) {
        store_drop(&b);
        mam_expire_finish(p, r);
    } else if (p->removing == 0) {
        store_drop(&b);
        mam_expire_removed(p, STORE_OK, NULL);
    } else {
        archive_edit(b);
        store_submit(b, worker_loop(p->worker), 0, mam_expire_removed, p);
    }
}

static void mam_expire_step(struct pass *p)
{
    struct store_batch *b = store_read(worker_store(p->worker), 0);
    STORE_ADD(b, &read_oldest, STORE_ANY_ROWS, SV_I(p->position), SV_I(p->rows));
    store_add(b, &read_late, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(p->worker), 0, mam_expire_oldest_read, p);
}

static void mam_expire_begin(struct command_call *call)
{
    int64_t days = setting_int(&mam_retention);
    timer_cancel(&pass.timer);
    pass.under_way = true;
    pass.call = call;
    pass.position = pass.next = 0;
    pass.rows = STEP_ROWS;
    pass.removed = 0;
    pass.before_us = (int64_t)clock_wall_us() - days * 86400 * 1000000;
    mam_expire_step(&pass);
}

static void mam_expire_due(struct timer *t, struct loop *loop)
{
    if (setting_int(&mam_retention) == SETTING_NONE)
        timer_set(loop, t, PASS_MS);
    else
        mam_expire_begin(NULL);
}

static void mam_expire_arm_here(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    pass.worker = w;
    pass.timer.fn = mam_expire_due;
    timer_set(worker_loop(w), &pass.timer, FIRST_MS);
}

const struct message_row mam_expire_arm_message = {
    .id = 46,
    .scope = MESSAGE_CLUSTER,
    .name = "archive-arm",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = mam_expire_arm_here,
};

/* Once there is an account, there may be an archive. Any worker. */
void mam_expire_arm(struct worker *w)
{
    bool not_yet = false;
    if (atomic_load_explicit(&armed, memory_order_relaxed) ||
        !atomic_compare_exchange_strong(&armed, &not_yet, true))
        return;
    duty_send(w, DUTY_ARCHIVE, &mam_expire_arm_message, &(struct message_nothing){ 0 });
}

void mam_expire_stop(struct worker *w)
{
    if (pass.worker != w)
        return;
    timer_cancel(&pass.timer);
    pass = (struct pass){ 0 };
    atomic_store(&armed, false);
}

static void run_expire(struct command_call *call)
{
    pass.worker = call->worker;
    if (setting_int(&mam_retention) == SETTING_NONE)
        command_fail(call, E_DENIED,
                     "archive.retention is none, so no message is too old; set it first");
    else if (pass.under_way)
        command_fail(call, E_AGAIN, "messages are being deleted already; try again later");
    else
        mam_expire_begin(call);
}

struct command mam_expire_command = {
    .name = "archive expire",
    .effect = COMMAND_CHANGES,
    .area = "archive",
    .args = (const struct command_arg[]){ { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ARCHIVE,
    .run = run_expire,
    .doc = "Deletes messages older than archive.retention at once. Without this command, that "
           "happens within an hour.",
};
