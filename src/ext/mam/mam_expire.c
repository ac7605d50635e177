#include "ext/mam/mam_expire.h"
#include "archive/archive.h"
#include "archive/leave.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "io/timer.h"

enum {
    STEP_ROWS = 256,
    STEP_BYTES = 4 << 20,
    PAUSE_MS = 20,
    FIRST_MS = 60000,
    PASS_MS = 3600000,
    TRIES = 100,
    FORMER_MS = 10000, /* of a read, and how long it waits before */
    FORMER_LINE_MS = 60000,
};

static struct store_stmt older = {
    .name = "mam.older",
    .sql = "SELECT count(*) FROM message WHERE at_us < $1",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact older_impact = { .stmt = &older,
                                                    .what = "messages that are older",
                                                    .unit_us = INT64_C(24) * 3600 * 1000000,
                                                    .deletes = true };
struct setting mam_retention = {
    .name = "archive.retention",
    .impact = &older_impact,
    .scope = SCOPE_CLUSTER,
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

/* $3: the time before which a message is old. The text of one that is young is not read. */
#define READ_OLD                                                                                   \
    "SELECT m.id, m.sender, m.sender_entry, m.rcpt, m.rcpt_entry, m.flags,"                        \
    " CASE WHEN m.at_us < $3 THEN m.stanza ELSE '' END, m.at_us,"                                  \
    " CASE WHEN m.pending_out <> 0 OR (m.rcpt_entry <> 0 AND m.flags % 2 = 1"                      \
    " AND m.rcpt_entry > coalesce(b.cursor, 0)) THEN 1 ELSE 0 END,"                                \
    " CASE WHEN m.id < (SELECT max(id) FROM message) THEN 0 ELSE 1 END"                            \
    " FROM message m LEFT JOIN mailbox b ON b.owner = m.rcpt WHERE "
static struct store_stmt read_oldest = {
    .name = "mam.oldest",
    .sql = READ_OLD "m.id > $1 ORDER BY m.id LIMIT $2",
    .params = "iii",
    .cols = "iiiiiitiii",
};
/* By their index: `+` keeps the databases from that of the ids. */
static struct store_stmt read_imported = {
    .name = "mam.imported",
    .sql = READ_OLD "+m.id > $1 AND (m.flags & 64) <> 0 AND m.at_us < $3"
                    " ORDER BY m.at_us LIMIT $2",
    .params = "iii",
    .cols = "iiiiiitiii",
};
static struct store_stmt read_late = {
    .name = "mam.late",
    .sql = "SELECT position FROM reader WHERE name = 'entries'",
    .params = "",
    .cols = "i",
};
/* A deleted account has no entries, but of messages that were on their way when it was deleted. */
static struct store_stmt read_former = {
    .name = "mam.former",
    .sql = "SELECT id FROM former WHERE EXISTS (SELECT 1 FROM entry WHERE owner = former.id)"
           " LIMIT 1",
    .params = "",
    .cols = "i",
};
struct store_stmt *const mam_expire_stmts[] = { &older,     &read_oldest, &read_imported,
                                                &read_late, &read_former, NULL };

/* A pass first removes what deleted accounts own, one account after the other. Then it goes along
 * the log until all of a page are young. Then it takes the imported messages, whose times are not
 * in the order of the log. */
static struct pass {
    struct worker *worker;
    struct timer timer;
    bool under_way;
    struct command_call *call; /* NULL: the timer began it */
    int64_t position, next;    /* log ids: done up to, and with the step under way */
    bool imported;             /* these now */
    int64_t now_us, before_us; /* INT64_MIN: no message is too old */
    uint32_t rows, tries, removed, removing;
    uint32_t left; /* removed, of deleted accounts */
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
    if (p->removed + p->left > 0)
        log_info(&mam_log, LOG_EV("archive.expired"), LOG_I("messages", p->removed + p->left));
    p->timer.fn = mam_expire_due;
    timer_set(worker_loop(p->worker), &p->timer, PASS_MS);
    uint32_t removed = p->removed + p->left;
    p->under_way = false;
    if (call != NULL && r == STORE_OK && p->before_us == INT64_MIN)
        command_done(call,
                     "messages deleted: %u, of deleted accounts and interrupted imports; "
                     "archive.retention is none, so no other message is too old",
                     removed);
    else if (call != NULL && r == STORE_OK)
        command_done(call, "messages deleted: %u", removed);
    else if (call != NULL)
        command_fail(call, E_DOWN, "messages deleted: %u; %s", removed, err_text(E_DOWN));
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
        p->tries = 0;
    } else if (r != STORE_CONFLICT || ++p->tries == TRIES) {
        mam_expire_finish(p, r);
        return;
    } /* else one was retracted meanwhile: read them again */
    p->timer.fn = mam_expire_next_step;
    timer_set(worker_loop(p->worker), &p->timer, PAUSE_MS);
}

/* Adds the removal of those that are old. False: the pass need not look further. A message from the
 * future was stored when the clock was wrong, so it says nothing about those behind it. */
static bool add_old(struct pass *p, struct store_batch *b, const struct store_batch *rows)
{
    struct arena *tmp = arena_create(0);
    int64_t inserted = store_row_count(rows, 1) > 0 ? store_int(rows, 1, 0, 0) : 0;
    bool further = false;
    size_t bytes = 0;
    p->removing = 0;
    for (uint32_t i = 0; i < store_row_count(rows, 0) && bytes < STEP_BYTES; i++) {
        struct archive_line m = archive_line_of(rows, 0, i);
        int64_t at_us = store_int(rows, 0, i, 7);
        bool newest = store_int(rows, 0, i, 9) != 0;
        bool old = at_us < p->before_us;
        ensure(m.id > p->position || p->imported);
        further |= old || at_us > p->now_us || (m.flags & MESSAGE_IMPORTED) != 0;
        if (!p->imported)
            p->next = m.id;
        if (!old || store_int(rows, 0, i, 8) != 0) /* or nobody has it */
            continue;
        if ((m.flags & MESSAGE_EVENT) != 0) /* it goes with the message that it is about */
            continue;
        if (newest && m.stanza.len == 0) /* it was old before */
            continue;
        if (m.id > inserted) /* its entries would come behind it */
            store_read_late(b, STORE_ALL_OWNERS);
        bytes += m.stanza.len;
        archive_drop(b, &m, newest, tmp);
        p->removing += m.stanza.len > 0; /* else it was emptied, and counted, as the newest */
    }
    arena_destroy(&tmp);
    return further;
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
    if (r != STORE_OK || worker_stopping(p->worker)) {
        mam_expire_finish(p, r);
        return;
    }
    struct store_batch *b = store_write(worker_store(p->worker), 0);
    bool further = add_old(p, b, rows);
    if (store_stmt_count(b) > 0) {
        archive_edit(b);
        store_submit(b, worker_loop(p->worker), 0, mam_expire_removed, p);
        return;
    }
    store_drop(&b);
    if (further && !p->imported) {
        mam_expire_removed(p, STORE_OK, NULL);
    } else if (!p->imported) {
        p->imported = true;
        p->position = p->next = 0;
        mam_expire_step(p);
    } else {
        mam_expire_finish(p, STORE_OK);
    }
}

static void mam_expire_step(struct pass *p)
{
    struct store_batch *b = store_read(worker_store(p->worker), 0);
    STORE_ADD(b, p->imported ? &read_imported : &read_oldest, STORE_ANY_ROWS, SV_I(p->position),
              SV_I(p->rows), SV_I(p->before_us));
    store_add(b, &read_late, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(p->worker), 0, mam_expire_oldest_read, p);
}

static void mam_expire_read_former(struct pass *p);

/* Whatever became of them: an hour later they are looked for again. */
static void mam_expire_former_end(struct pass *p)
{
    if (p->before_us > INT64_MIN && !worker_stopping(p->worker))
        mam_expire_step(p);
    else
        mam_expire_finish(p, STORE_OK);
}

static void mam_expire_former_cleared(void *arg, enum err e)
{
    struct pass *p = arg;
    ensure(p->under_way);
    if (e == OK)
        mam_expire_read_former(p);
    else
        mam_expire_former_end(p);
}

static void mam_expire_former_read(void *arg, enum store_result r, const struct store_batch *rows)
{
    struct pass *p = arg;
    ensure(p->under_way);
    if (r != STORE_OK || store_row_count(rows, 0) == 0 || worker_stopping(p->worker)) {
        mam_expire_former_end(p);
        return;
    }
    archive_clear(p->worker, store_int(rows, 0, 0, 0), &p->left, mam_expire_former_cleared, p);
}

static void mam_expire_read_former(struct pass *p)
{
    struct store_batch *b = store_read(worker_store(p->worker), 0);
    store_read_long(b, 0, FORMER_MS);
    store_add(b, &read_former, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(p->worker), FORMER_LINE_MS, mam_expire_former_read, p);
}

static void mam_expire_begin(struct command_call *call)
{
    int64_t days = setting_int(&mam_retention);
    timer_cancel(&pass.timer);
    pass.under_way = true;
    pass.call = call;
    pass.position = pass.next = 0;
    pass.imported = false;
    pass.rows = STEP_ROWS;
    pass.removed = pass.left = pass.tries = 0;
    pass.now_us = (int64_t)clock_wall_us();
    pass.before_us = days == SETTING_NONE ? INT64_MIN : pass.now_us - days * 86400 * 1000000;
    mam_expire_read_former(&pass);
}

static void mam_expire_due(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
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

/* An import that was interrupted may have left something though there is no account. */
void mam_expire_start(struct worker *w)
{
    atomic_store(&armed, true);
    mam_expire_arm_here(w, NULL, NULL);
}

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
    if (pass.under_way)
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
    .doc = "Deletes messages older than archive.retention at once. It also deletes what deleted "
           "accounts and interrupted imports have left. Without this command, that happens within "
           "an hour.",
};
