#include "ext/upload/upload_sweep.h"
#include "account/account.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "ext/upload/upload.h"
#include "ext/upload/upload_files.h"
#include "ext/upload/upload_private.h"
#include "ext/upload/upload_rows.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "io/work.h"
#include "ops/users.h"
#include "store/store.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

enum { SWEEP_MS = 60 * 1000, MORE_MS = 100, NOTE_BYTES_MAX = 2 * COMMAND_CHANGED_MAX };

/* One a node, at the home of the duty. */
struct sweep {
    struct worker *worker;
    struct timer timer;
    struct store_op *op;
    struct work work;
    bool working; /* the helper has it: freed when it is back */
    bool stopped;
    struct command_call *call; /* who asked for this one; NULL: the timer */
    int64_t removed;           /* files of this round */
    struct upload_page page;
};
static struct sweep *the_sweep; /* at the home of the duty */

static void upload_sweep_next(struct sweep *s);

static void end_round(struct sweep *s, enum store_result result)
{
    struct command_call *call = s->call;
    ensure(worker_is_here(s->worker) && s->op == NULL);
    s->call = NULL;
    upload_acquit();
    if (call != NULL && result == STORE_OK)
        command_done(call, "files removed: %lld", (long long)s->removed);
    else if (call != NULL)
        command_fail_cause(call, err_of_store(result), NULL);
    timer_set(worker_loop(s->worker), &s->timer, SWEEP_MS);
}

/* Helper thread. */
static void work_run(struct work *w)
{
    struct sweep *s = CONTAINER_OF(w, struct sweep, work);
    upload_remove(&s->page);
}

static void upload_sweep_forgotten(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sweep *s = arg;
    ensure(s->page.count <= UPLOAD_PAGE);
    s->op = NULL;
    /* where none could be removed, the same page would be read again */
    if (result == STORE_OK && s->page.count == UPLOAD_PAGE && store_stmt_count(b) > 0)
        timer_set(worker_loop(s->worker), &s->timer, MORE_MS);
    else
        end_round(s, result);
}

static void work_done(struct work *w)
{
    struct sweep *s = CONTAINER_OF(w, struct sweep, work);
    ensure(s->working && s->page.count <= UPLOAD_PAGE);
    s->working = false;
    upload_acquit();
    if (s->stopped) {
        mem_free(&s);
        return;
    }
    struct store_batch *b = store_write(worker_store(s->worker), 0);
    for (uint32_t i = 0; i < s->page.count; i++)
        if (!s->page.spared[i])
            STORE_ADD(b, &upload_forget, STORE_ANY_ROWS, SV_T(slice_of(s->page.hash[i])));
    s->op = store_submit(b, worker_loop(s->worker), 0, upload_sweep_forgotten, s);
}

/* The database was asked again: content that has a reference now is kept. */
static void orphans_confirmed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sweep *s = arg;
    ensure(s->op != NULL && !s->working);
    s->op = NULL;
    for (uint32_t i = 0; result == STORE_OK && i < s->page.count; i++)
        if (store_row_count(b, i) == 0)
            upload_spare(i);
    s->working = result == STORE_OK &&
                 work_submit(worker_work(s->worker), worker_loop(s->worker), &s->work) == OK;
    if (!s->working)
        end_round(s, result == STORE_OK ? STORE_DOWN : result);
}

static void orphans_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sweep *s = arg;
    ensure(s->op != NULL && !s->working);
    s->op = NULL;
    if (result != STORE_OK || store_row_count(b, 0) == 0) {
        end_round(s, result);
        return;
    }
    struct store_batch *again = store_read(worker_store(s->worker), 0);
    s->page.count = store_row_count(b, 0);
    for (uint32_t i = 0; i < s->page.count; i++) {
        slice hash = store_text(b, 0, i, 0);
        snprintf(s->page.hash[i], sizeof s->page.hash[i], "%.*s", SLICE_ARG(hash));
        STORE_ADD(again, &upload_orphan, STORE_ANY_ROWS, SV_T(hash));
    }
    upload_condemn(&s->page);
    s->op = store_submit(again, worker_loop(s->worker), 0, orphans_confirmed, s);
}

static void expired_removed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sweep *s = arg;
    (void)b;
    ensure(s->op != NULL);
    s->op = NULL;
    if (result != STORE_OK)
        end_round(s, result);
    else
        upload_sweep_next(s);
}

static void expired_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sweep *s = arg;
    ensure(s->op != NULL);
    s->op = NULL;
    if (result != STORE_OK) {
        end_round(s, result);
        return;
    }
    uint32_t n = store_row_count(b, 0);
    if (n == 0) {
        struct store_batch *orphans = store_read(worker_store(s->worker), 0);
        store_add(orphans, &upload_orphans, STORE_ANY_ROWS, NULL, 0);
        s->op = store_submit(orphans, worker_loop(s->worker), 0, orphans_read, s);
        return;
    }
    struct store_batch *w = store_write(worker_store(s->worker), 0);
    for (uint32_t i = 0; i < n; i++) {
        STORE_ADD(w, &upload_unref, STORE_ANY_ROWS, SV_T(store_text(b, 0, i, 0)));
        STORE_ADD(w, &upload_delete, STORE_ANY_ROWS, SV_T(store_text(b, 0, i, 0)));
    }
    s->removed += n;
    metric_add(&upload_removed, n);
    s->op = store_submit(w, worker_loop(s->worker), 0, expired_removed, s);
}

static void upload_sweep_next(struct sweep *s)
{
    struct store_batch *b = store_read(worker_store(s->worker), 0);
    STORE_ADD(b, &upload_expired, STORE_ANY_ROWS, SV_I(loop_wall_us(worker_loop(s->worker))));
    s->op = store_submit(b, worker_loop(s->worker), 0, expired_read, s);
}

static void upload_sweep_on_timer(struct timer *t, struct loop *loop)
{
    struct sweep *s = CONTAINER_OF(t, struct sweep, timer);
    (void)loop;
    if (s->call == NULL)
        s->removed = 0;
    upload_sweep_next(s);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic(const char *) once_data;

static void load_once(void)
{
    struct why why;
    if (upload_files_open(once_data, &why) != OK)
        alarm_raise(&upload_key_alarm, slice_of(why.text));
}

void upload_sweep_start(struct worker *w)
{
    if (worker_node(w)->data == NULL)
        return;
    once_data = worker_node(w)->data; /* the same on all workers */
    pthread_once(&once, load_once);
    if (!duty_is_here(w, DUTY_UPLOADS))
        return;
    struct sweep *s = mem_new(struct sweep);
    s->worker = w;
    s->timer.fn = upload_sweep_on_timer;
    s->work.run = work_run;
    s->work.done = work_done;
    the_sweep = s;
    timer_set(worker_loop(w), &s->timer, SWEEP_MS);
}

void upload_sweep_stop(struct worker *w)
{
    if (!duty_is_here(w, DUTY_UPLOADS) || the_sweep == NULL)
        return;
    struct sweep *s = the_sweep;
    the_sweep = NULL;
    timer_cancel(&s->timer);
    store_cancel(&s->op);
    s->stopped = true;
    if (s->working)
        return;
    upload_acquit();
    mem_free(&s);
}

/* Commands. */

static void run_sweep(struct command_call *call)
{
    struct sweep *s = the_sweep;
    if (s == NULL || s->op != NULL || s->working || s->call != NULL) {
        command_fail(call, E_AGAIN, "another change of it is not finished yet; try again");
        return;
    }
    timer_cancel(&s->timer);
    s->call = call;
    s->removed = 0;
    upload_sweep_next(s);
}

static void upload_sweep_add_time(struct command_call *call, const char *name, int64_t at_us)
{
    char stamp[CLOCK_STAMP_LEN];
    if (at_us > INT64_MAX / 4)
        return; /* for ever */
    clock_stamp(stamp, (uint64_t)at_us);
    command_text(call, name, slice_dup(call->arena, slice_of(stamp)));
}

static void upload_sweep_listed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (store_row_count(b, 0) == 0) {
        users_fail_missing(call, command_arg(call, "jid"));
        return;
    }
    uint32_t rows = store_row_count(b, 0), limit = command_page_limit(call);
    for (uint32_t i = 0; i < rows && i < limit; i++) {
        if (store_text(b, 0, i, 0).len == 0)
            continue;
        command_row(call);
        command_text(call, "id", slice_dup(call->arena, store_text(b, 0, i, 0)));
        command_text(call, "name", slice_dup(call->arena, store_text(b, 0, i, 1)));
        command_text(call, "type", slice_dup(call->arena, store_text(b, 0, i, 2)));
        command_int(call, "bytes", store_int(b, 0, i, 3));
        upload_sweep_add_time(call, "stored", store_int(b, 0, i, 4));
        upload_sweep_add_time(call, "until", store_int(b, 0, i, 5));
    }
    if (rows > limit)
        command_done_more(call, slice_of(arena_printf(call->arena, "%" PRId64 "/%.*s",
                                                      store_int(b, 0, limit - 1, 4),
                                                      SLICE_ARG(store_text(b, 0, limit - 1, 0)))));
    else
        command_done(call, "%s", "");
}

/* Where a page begins: after the file that was stored then, and has this id. */
static bool upload_list_place(slice text, int64_t *at_us, slice *id)
{
    slice time;
    return slice_cut(text, '/', &time, id) && slice_int(time, at_us) && *at_us >= 0 && id->len > 0;
}

static bool is_upload_place(slice text)
{
    int64_t at_us;
    slice id;
    return upload_list_place(text, &at_us, &id);
}

static void upload_sweep_run_list(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    int64_t at_us = 0;
    slice id = SLICE(""), after = command_arg(call, "after");
    if (after.ptr != NULL && !upload_list_place(after, &at_us, &id))
        ensure(false); /* is_upload_place() */
    STORE_ADD(b, &upload_list, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")), SV_I(at_us),
              SV_T(id), SV_I(command_page_limit(call) + 1));
    store_submit(b, worker_loop(w), 0, upload_sweep_listed, call);
}

static void upload_sweep_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    if (store_int(b, 0, 0, 0) == 0) {
        users_fail_missing(call, command_arg(call, "jid"));
        return;
    }
    command_row(call);
    command_int(call, "files", store_int(b, 0, 0, 1));
    command_int(call, "bytes", store_int(b, 0, 0, 2));
    if (setting_int(&upload_files_max) < SETTING_NONE)
        command_int(call, "files_max", setting_int(&upload_files_max));
    if (setting_int(&upload_quota) < SETTING_NONE)
        command_int(call, "bytes_max", setting_int(&upload_quota));
    command_done(call, "%s", "");
}

static void run_quota(struct command_call *call)
{
    const struct worker *w = call->worker;
    ensure(worker_is_here(w));
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &upload_count, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(w), 0, upload_sweep_counted, call);
}

static slice upload_note(struct arena *arena, const struct store_batch *b)
{
    struct buf out;
    char stored[CLOCK_STAMP_LEN];
    clock_stamp(stored, (uint64_t)store_int(b, 0, 0, 4));
    buf_init(&out, NOTE_BYTES_MAX);
    command_changed_part(&out, "jid", store_text(b, 0, 0, 0));
    command_changed_part(&out, "name", store_text(b, 0, 0, 1));
    command_changed_part(&out, "type", store_text(b, 0, 0, 2));
    buf_printf(&out, " bytes=%" PRId64 " stored=%s", store_int(b, 0, 0, 3), stored);
    slice note = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return note;
}

static void upload_sweep_deleted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
    } else if (store_changed(b, 2) == 0) {
        command_fail(call, E_NOTFOUND,
                     "there is no such file; `upload list` shows those of a user");
    } else {
        command_changed(call, upload_note(call->arena, b), SLICE(""));
        command_done(call, "file removed");
    }
}

static void upload_sweep_run_del(struct command_call *call)
{
    const struct worker *w = call->worker;
    slice id = command_arg(call, "id");
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, &upload_was, STORE_ANY_ROWS, SV_T(id));
    STORE_ADD(b, &upload_unref, STORE_ANY_ROWS, SV_T(id));
    STORE_ADD(b, &upload_delete, STORE_ANY_ROWS, SV_T(id));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, upload_sweep_deleted, call);
}

#define JID_ARG                                                                                    \
    {                                                                                              \
        .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_USER, .doc = "the account"            \
    }
static const struct command_arg list_args[] = {
    JID_ARG,
    { .name = "after",
      .kind = ARG_OPTION,
      .check = is_upload_place,
      .form = "the place that the page before it names",
      .doc = "begin after this place, which the page before it names" },
    COMMAND_LIMIT_ARG(COMMAND_PAGE_MAX, "show at most this number"),
    { 0 },
};
static const struct command_arg quota_args[] = { JID_ARG, { 0 } };
static const struct command_arg del_args[] = {
    { .name = "id", .kind = ARG_POSITIONAL, .doc = "id of the file, from the list of uploads" },
    { 0 },
};
static const struct command_arg no_args[] = { { 0 } };

struct command upload_command_list = {
    .name = "upload list",
    .rest = "GET /users/{jid}/uploads",
    .effect = COMMAND_READS,
    .area = "uploads",
    .args = list_args,
    .run = upload_sweep_run_list,
    .doc = "Lists the files that an account has uploaded.",
    .access = COMMAND_OWN,
    .columns =
        (const struct command_column[]){
            { .name = "id", .doc = "id of the file" },
            { .name = "name", .doc = "its name" },
            { .name = "type", .doc = "its media type" },
            { .name = "bytes", .type = PARAM_INT, .unit = "bytes", .doc = "its size" },
            { .name = "stored",
              .optional = true,
              .type = PARAM_STAMP,
              .doc = "when it was stored" },
            { .name = "until",
              .optional = true,
              .type = PARAM_STAMP,
              .doc = "until when it is kept; missing: for ever" },
            { 0 } },
};
struct command upload_command_quota = {
    .name = "upload quota",
    .rest = "GET /users/{jid}/upload-quota",
    .effect = COMMAND_READS,
    .area = "uploads",
    .args = quota_args,
    .run = run_quota,
    .record = true,
    .doc = "Shows the uploads of an account: how many files, their size, and the limits.",
    .columns =
        (const struct command_column[]){
            { .name = "files", .type = PARAM_INT, .doc = "how many it has" },
            { .name = "bytes", .type = PARAM_INT, .unit = "bytes", .doc = "their size" },
            { .name = "files_max",
              .type = PARAM_INT,
              .optional = true,
              .doc = "upload.files-max; missing: there is no limit" },
            { .name = "bytes_max",
              .type = PARAM_INT,
              .unit = "bytes",
              .optional = true,
              .doc = "upload.quota; missing: there is no limit" },
            { 0 } },
};
struct command upload_command_del = {
    .name = "upload del",
    .rest = "DELETE /uploads/{id}",
    .effect = COMMAND_CHANGES,
    .area = "uploads",
    .asks = "The file is deleted, and its link does not work any more.",
    .args = del_args,
    .run = upload_sweep_run_del,
    .doc = "Removes an uploaded file. Its content is deleted by the next `upload sweep`, unless "
           "another file has the same content.",
};
struct command upload_command_sweep = {
    .name = "upload sweep",
    .effect = COMMAND_CHANGES,
    .area = "uploads",
    .args = no_args,
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_UPLOADS,
    .run = run_sweep,
    .doc = "Removes expired files and unused contents now. The server does that every minute by "
           "itself.",
};
