#include "ops/jobs.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/feature.h"
#include "home/command_run.h"
#include "home/edge.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/audit_command.h"
#include "ops/audit_job.h"
#include "ops/owner.h"
#include "store/store.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    TOLD_EVERY_US = 1000000,
    BY_BYTES = 256,
    ABOUT_BYTES = 512,
    TEXT_BYTES = 1024,
    ID_BYTES = 40
};

enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_ENDED };
static const char *const job_states[] = { "running", "done", "failed", "canceled" };

struct job {
    struct list node;
    uint64_t number;
    uint32_t on; /* id of its node */
    const struct command *command;
    enum job_state state;
    const char *canceled; /* as job_canceled() */
    int percent;          /* -1: not known */
    uint64_t created_us, ended_us;
    uint64_t told_us;                                       /* when its text was stored */
    uint64_t stepped_us;                                    /* job_stepped_us() */
    struct command_call *call;                              /* NULL: it has none */
    void (*finished)(struct command_call *call, void *arg); /* of the call */
    void *arg;
    char by[BY_BYTES], about[ABOUT_BYTES], text[TEXT_BYTES];
};

static struct log_area log_jobs = { .name = "jobs", .permission = "audit.read" };
static pthread_mutex_t jobs_lock = PTHREAD_MUTEX_INITIALIZER; /* guards all of it */
static struct list jobs_running = { &jobs_running, &jobs_running };
static struct list jobs_ended = { &jobs_ended, &jobs_ended }; /* the oldest first */
static unsigned jobs_kept;
static uint64_t job_last; /* 0: there was none yet */

static void job_copy(char *out, size_t cap, slice text)
{
    text = utf8_head(text, cap - 1);
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
}

static struct job *job_running(uint64_t number)
{
    LIST_EACH (it, &jobs_running) {
        struct job *j = CONTAINER_OF(it, struct job, node);
        if (j->number == number)
            return j;
    }
    return NULL;
}

static struct job *job_make(const struct worker *w, const struct command *kind, slice by)
{
    struct job *j = mem_new(struct job);
    ensure(kind->job);
    j->on = worker_node(w)->id;
    j->command = kind;
    j->canceled = worker_stopping(w) ? JOB_STOPS : NULL;
    j->percent = -1;
    j->created_us = clock_wall_us();
    j->stepped_us = clock_mono_us();
    job_copy(j->by, sizeof j->by, by);
    return j;
}

/* The first number of a process is the time in milliseconds, so that ids of before a restart are
 * not used again: scripts may have kept them. */
static uint64_t job_add(struct job *j)
{
    pthread_mutex_lock(&jobs_lock);
    if (job_last == 0)
        job_last = clock_wall_us() / 1000;
    uint64_t number = j->number = ++job_last;
    if (j->call != NULL)
        j->call->job = number;
    list_append(&jobs_running, &j->node);
    pthread_mutex_unlock(&jobs_lock);
    return number;
}

/* With the lock. The oldest that have ended go. */
static void job_over(struct job *j, enum job_state state, slice text)
{
    ensure(j->state == JOB_RUNNING && state != JOB_RUNNING);
    list_remove(&j->node);
    list_append(&jobs_ended, &j->node);
    j->state = state;
    j->percent = state == JOB_DONE ? 100 : j->percent;
    j->ended_us = clock_wall_us();
    j->call = NULL;
    job_copy(j->text, sizeof j->text, text);
    if (++jobs_kept <= JOBS_KEPT)
        return;
    struct job *oldest = CONTAINER_OF(list_pop(&jobs_ended), struct job, node);
    mem_free(&oldest);
    jobs_kept--;
}

static enum job_state job_end_state(enum err e)
{
    return e == OK ? JOB_DONE : e == E_CANCELED ? JOB_ENDED : JOB_FAILED;
}

/* Work that the job has done, or why it has ended, for the audit log. */
static void job_call_result(struct command_call *call)
{
    if (call->before.len + call->after.len == 0)
        call->after = command_changed_text(call, call->text);
}

/* The call of a job ends: so does the job, then the call goes on as it was made. */
static void job_call_finished(struct command_call *call, void *arg)
{
    struct job *j = arg;
    call->finished = j->finished;
    call->arg = j->arg;
    pthread_mutex_lock(&jobs_lock);
    job_over(j, job_end_state(call->err), call->text);
    pthread_mutex_unlock(&jobs_lock);
    job_call_result(call);
    call->finished(call, call->arg);
}

uint64_t job_begin(struct command_call *call)
{
    struct buf about;
    ensure(!call->ended);
    if (call->step_of != 0)
        return 0;
    struct job *j = job_make(call->worker, call->command, owner_of_call(call));
    buf_init(&about, AUDIT_BYTES_MAX);
    command_audit_args(call, &about);
    job_copy(j->about, sizeof j->about, buf_fit(&about));
    j->call = call;
    j->finished = call->finished;
    j->arg = call->arg;
    call->finished = job_call_finished;
    call->arg = j;
    uint64_t number = job_add(j);
    audit_job_begun(call, buf_slice(&about));
    buf_fini(&about);
    return number;
}

uint64_t job_begin_own(const struct worker *w, const struct command *kind)
{
    return job_add(job_make(w, kind, principal_server.actor));
}

void job_end_own(uint64_t number, enum err end, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ensure(len >= 0);
    pthread_mutex_lock(&jobs_lock);
    struct job *j = job_running(number);
    if (j != NULL) {
        ensure(j->call == NULL);
        job_over(j, job_end_state(end), slice_of(text));
    }
    pthread_mutex_unlock(&jobs_lock);
}

void job_forget_own(uint64_t number)
{
    pthread_mutex_lock(&jobs_lock);
    struct job *j = job_running(number);
    if (j != NULL) {
        ensure(j->call == NULL);
        list_remove(&j->node);
        mem_free(&j);
    }
    pthread_mutex_unlock(&jobs_lock);
}

/* With the lock: it tells or asks something. */
static struct job *job_stepping(uint64_t number)
{
    struct job *j = job_running(number);
    if (j != NULL)
        j->stepped_us = clock_mono_us();
    return j;
}

void job_percent(uint64_t number, int percent)
{
    pthread_mutex_lock(&jobs_lock);
    struct job *j = job_stepping(number);
    if (j != NULL)
        j->percent = percent < 0 ? -1 : percent > 100 ? 100 : percent;
    pthread_mutex_unlock(&jobs_lock);
}

/* With the lock: whether its text is due. The threads of helpers have no store. */
static bool job_is_to_store(struct job *j)
{
    uint64_t now_us = clock_mono_us();
    if (j->call == NULL || worker_here() == NULL || now_us < j->told_us + TOLD_EVERY_US)
        return false;
    j->told_us = now_us;
    return true;
}

void job_tell(uint64_t number, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ensure(len >= 0);
    pthread_mutex_lock(&jobs_lock);
    struct job *j = job_stepping(number);
    if (j != NULL)
        job_copy(j->text, sizeof j->text, slice_of(text));
    bool stores = j != NULL && job_is_to_store(j);
    pthread_mutex_unlock(&jobs_lock);
    if (stores)
        audit_job_told(number, utf8_head(slice_of(text), TEXT_BYTES - 1));
}

const char *job_canceled(uint64_t number)
{
    pthread_mutex_lock(&jobs_lock);
    struct job *j = job_stepping(number);
    const char *canceled = j != NULL ? j->canceled : NULL;
    pthread_mutex_unlock(&jobs_lock);
    return canceled;
}

/* With the lock. */
static struct job *job_of_call(const struct command_call *call)
{
    LIST_EACH (it, &jobs_running) {
        struct job *j = CONTAINER_OF(it, struct job, node);
        if (j->call == call)
            return j;
    }
    return NULL;
}

uint64_t job_stepped_us(const struct command_call *call)
{
    pthread_mutex_lock(&jobs_lock);
    const struct job *j = job_of_call(call);
    uint64_t at_us = j != NULL ? j->stepped_us : 0;
    pthread_mutex_unlock(&jobs_lock);
    return at_us;
}

void job_keep_told(const struct command_call *call)
{
    char text[TEXT_BYTES];
    uint64_t number = 0, now_us = clock_mono_us();
    pthread_mutex_lock(&jobs_lock);
    struct job *j = job_of_call(call);
    if (j != NULL && now_us >= j->told_us + STORE_DEADLINE_MS * UINT64_C(1000)) {
        j->told_us = now_us;
        number = j->number;
        memcpy(text, j->text, sizeof text);
    }
    pthread_mutex_unlock(&jobs_lock);
    if (number != 0)
        audit_job_told(number, slice_of(text));
}

/* "1-1795702541123": the node and the number. */
static const char *job_id(const struct job *j, char out[ID_BYTES])
{
    snprintf(out, ID_BYTES, "%" PRIu32 "-%" PRIu64, j->on, j->number);
    return out;
}

/* The end of the server. Each node ends its own jobs, by its first worker. */

/* A job that begins later knows by itself that the server stops. */
static void jobs_stop(void *own, struct worker *w)
{
    (void)own;
    if (worker_index(w) != 0)
        return;
    pthread_mutex_lock(&jobs_lock);
    LIST_EACH (it, &jobs_running) {
        struct job *j = CONTAINER_OF(it, struct job, node);
        if (j->on == worker_node(w)->id && j->canceled == NULL)
            j->canceled = JOB_STOPS;
    }
    pthread_mutex_unlock(&jobs_lock);
}

static bool jobs_idle(void *own, struct worker *w)
{
    bool idle = true;
    (void)own;
    pthread_mutex_lock(&jobs_lock);
    LIST_EACH (it, &jobs_running)
        idle = idle && CONTAINER_OF(it, struct job, node)->on != worker_node(w)->id;
    pthread_mutex_unlock(&jobs_lock);
    return idle;
}

const struct edge jobs_edge = { .name = "jobs", .stop = jobs_stop, .idle = jobs_idle };

/* With the lock: who has made its call is still the same. */
static void job_cut_off(struct job *j)
{
    char id[ID_BYTES], what[TEXT_BYTES + 64];
    snprintf(what, sizeof what, "the server stopped before its end%s%s",
             j->text[0] != '\0' ? "; " : "", j->text);
    log_warn(&log_jobs, LOG_EV("job.cut-off"), LOG_C("id", job_id(j, id)),
             LOG_C("command", j->command->name), LOG_C("by", j->by), LOG_C("about", j->about),
             LOG_C("text", j->text),
             LOG_C("hint", "it did not get to its next step in time; run it again"));
    if (j->call != NULL && !j->call->recorded)
        audit_cut_off(j->call, slice_of(j->about), slice_of(what));
}

/* Nothing is waited for any more but what this has to be told. */
static void jobs_save(struct worker *w)
{
    if (worker_index(w) != 0)
        return;
    pthread_mutex_lock(&jobs_lock);
    LIST_EACH (it, &jobs_running) {
        struct job *j = CONTAINER_OF(it, struct job, node);
        if (j->on == worker_node(w)->id)
            job_cut_off(j);
    }
    pthread_mutex_unlock(&jobs_lock);
}

static void jobs_restore(struct worker *w)
{
    if (worker_index(w) == 0)
        audit_jobs_look(w);
}

/* Commands. Each node answers for its own jobs, by its first worker. */

/* A job is seen by all who may read what its command is about, and by who began it. */
static bool job_is_seen(const struct job *j, const struct command_call *call)
{
    char permission[COMMAND_PERMISSION_MAX];
    snprintf(permission, sizeof permission, "%s.read", j->command->area);
    return principal_may(&call->who, permission) || slice_eq(owner_of_call(call), slice_of(j->by));
}

/* Its author and arguments are what the audit log says of it, so they are for who may read that,
 * and for the author. */
static bool job_is_told(const struct job *j, const struct command_call *call)
{
    return principal_may(&call->who, "audit.read") ||
           slice_eq(owner_of_call(call), slice_of(j->by));
}

/* wanted: the id of one job; ptr NULL: any. */
static bool job_is_wanted(const struct job *j, const struct command_call *call, slice wanted)
{
    const struct worker *w = call->worker;
    char id[ID_BYTES];
    return j->on == worker_node(w)->id && job_is_seen(j, call) &&
           (wanted.ptr == NULL || slice_eq(wanted, slice_of(job_id(j, id))));
}

static void job_time(struct command_call *call, const char *key, uint64_t wall_us)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, wall_us);
    command_text(call, key, slice_dup(call->arena, slice_of(stamp)));
}

static slice job_text(const struct command_call *call, const char *text)
{
    return slice_dup(call->arena, slice_of(text));
}

static void job_row(struct command_call *call, const struct job *j)
{
    const struct worker *w = call->worker;
    char id[ID_BYTES];
    command_row(call);
    command_text(call, "id", job_text(call, job_id(j, id)));
    command_text(call, "command", slice_of(j->command->name));
    command_text(call, "state", slice_of(job_states[j->state]));
    if (j->percent >= 0)
        command_int(call, "percent", j->percent);
    bool told = job_is_told(j, call);
    if (told || j->state != JOB_FAILED) /* why names what it was given */
        command_text(call, "text", job_text(call, j->text));
    if (told) {
        command_text(call, "about", job_text(call, j->about));
        command_text(call, "by", job_text(call, j->by));
    }
    command_text(call, "node", slice_of(worker_node(w)->name));
    job_time(call, "created", j->created_us);
    if (j->state != JOB_RUNNING)
        job_time(call, "ended", j->ended_us);
}

static void jobs_add(struct command_call *call, const struct list *jobs, slice wanted)
{
    LIST_EACH (it, (struct list *)(uintptr_t)jobs) {
        const struct job *j = CONTAINER_OF(it, struct job, node);
        if (job_is_wanted(j, call, wanted))
            job_row(call, j);
    }
}

static void jobs_show(struct command_call *call, bool ended, slice wanted)
{
    const struct worker *w = call->worker;
    if (worker_index(w) != 0)
        return;
    pthread_mutex_lock(&jobs_lock);
    if (ended)
        jobs_add(call, &jobs_ended, wanted);
    jobs_add(call, &jobs_running, wanted);
    pthread_mutex_unlock(&jobs_lock);
}

static void run_job_list(struct command_call *call)
{
    jobs_show(call, !command_flag(call, "running"), (slice){ 0 });
}

static void run_job_show(struct command_call *call)
{
    jobs_show(call, true, command_arg(call, "job"));
}

static void job_list_gathered(struct command_call *call)
{
    command_done_page(call, "created", (slice){ 0 }, UINT32_MAX);
}

static void job_missing(struct command_call *call)
{
    command_fail(call, E_NOTFOUND, "%.*s: no such job; `job list` shows the jobs that there are",
                 SLICE_ARG(command_arg(call, "job")));
}

static void job_show_gathered(struct command_call *call)
{
    if (call->rows != NULL)
        command_done(call, "%s", "");
    else
        job_missing(call);
}

/* Answer of its node on a job that is to be canceled. */
static const char *job_cancel(struct job *j, const struct command_call *call)
{
    struct why why;
    if (command_allowed(j->command, &call->who, &why) != OK)
        return "denied";
    if (j->state != JOB_RUNNING)
        return "over";
    j->canceled = JOB_CANCELED;
    return "canceled";
}

static void jobs_cancel(struct command_call *call, struct list *jobs)
{
    LIST_EACH (it, jobs) {
        struct job *j = CONTAINER_OF(it, struct job, node);
        if (!job_is_wanted(j, call, command_arg(call, "job")))
            continue;
        command_row(call);
        command_text(call, "command", slice_of(j->command->name));
        command_text(call, "answer", slice_of(job_cancel(j, call)));
    }
}

static void run_job_cancel(struct command_call *call)
{
    const struct worker *w = call->worker;
    if (worker_index(w) != 0)
        return;
    pthread_mutex_lock(&jobs_lock);
    jobs_cancel(call, &jobs_ended);
    jobs_cancel(call, &jobs_running);
    pthread_mutex_unlock(&jobs_lock);
}

static void job_cancel_gathered(struct command_call *call)
{
    struct why why;
    slice id = command_arg(call, "job");
    const struct command_row *r = command_take_rows(call);
    const struct command *c = r == NULL ? NULL : command_find(command_row_text(r, "command"));
    slice answer = r == NULL ? (slice){ 0 } : command_row_text(r, "answer");
    if (c == NULL) {
        job_missing(call);
    } else if (slice_is(answer, "canceled")) {
        command_done(call, "job %.*s ends at its next step", SLICE_ARG(id));
    } else if (slice_is(answer, "over")) {
        command_fail(call, E_CONFLICT, "job %.*s has ended already; `job show %.*s` says how",
                     SLICE_ARG(id), SLICE_ARG(id));
    } else {
        if (command_allowed(c, &call->who, &why) == OK)
            why_set(&why, "the node where it runs refused it; try again");
        command_fail(call, E_DENIED,
                     "job %.*s is a `%s`, and you may cancel only what you may run: %s",
                     SLICE_ARG(id), c->name, why.text);
    }
}

static const struct command_column job_columns[] = {
    { .name = "id", .doc = "of its node and the job" },
    { .name = "command", .doc = "the command that does such work" },
    { .name = "state", .moves = true, .doc = "running, done, failed or canceled" },
    { .name = "percent",
      .moves = true,
      .type = PARAM_INT,
      .unit = "percent",
      .optional = true,
      .doc = "how much of it is done, where that is known" },
    { .name = "text",
      .moves = true,
      .optional = true,
      .doc = "what it has done so far, or its result; why it "
             "failed is for those who may read the audit log, and for the author" },
    { .name = "about", .wide = true, .optional = true, .doc = "arguments of the command" },
    { .name = "by", .optional = true, .doc = "who began it" },
    { .name = "node", .apart = true, .doc = "name of the node where it runs" },
    { .name = "created", .type = PARAM_STAMP, .doc = "when it began" },
    { .name = "ended",
      .moves = true,
      .type = PARAM_STAMP,
      .optional = true,
      .wide = true,
      .doc = "when it ended" },
    { 0 },
};
#define JOB_ID_ARG                                                                                 \
    {                                                                                              \
        .name = "job", .kind = ARG_POSITIONAL, .min = 1, .max = ID_BYTES - 1,                      \
        .doc = "its id in the list of jobs"                                                        \
    }

static struct command job_list_command = {
    .name = "job list",
    .rest = "GET /jobs",
    .effect = COMMAND_READS,
    .area = "jobs",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ { .name = "running",
                                            .kind = ARG_FLAG,
                                            .type = PARAM_BOOL,
                                            .doc = "only jobs that have not ended" },
                                          { 0 } },
    .run = run_job_list,
    .gathered = job_list_gathered,
    .doc = "Lists work that takes long: imports, exports, backups, cleanups of rooms and "
           "announcements. Jobs that run are in it, and the last 50 of each node that have ended "
           "since it was started, the newest last. You see jobs of commands whose area you may "
           "read, and your own. Arguments and authors of others are for those who may read the "
           "audit log.",
    .columns = job_columns,
};
static struct command job_show_command = {
    .name = "job show",
    .rest = "GET /jobs/{job}",
    .effect = COMMAND_READS,
    .area = "jobs",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ JOB_ID_ARG, { 0 } },
    .run = run_job_show,
    .gathered = job_show_gathered,
    .record = true,
    .doc = "Shows a job: how far it is, or its result.",
    .columns = job_columns,
};
static struct command job_cancel_command = {
    .name = "job cancel",
    .rest = "DELETE /jobs/{job}",
    .effect = COMMAND_CHANGES,
    .area = "jobs",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ JOB_ID_ARG, { 0 } },
    .run = run_job_cancel,
    .gathered = job_cancel_gathered,
    .parts =
        (const struct command_column[]){ { .name = "command", .doc = "of the job" },
                                         { .name = "answer", .doc = "canceled, over or denied" },
                                         { 0 } },
    .doc =
        "Ends a job at its next step. `server stop` and `server restart` do so with all jobs. An "
        "export or a backup leaves no file, an import keeps what it has stored and can be run "
        "again. You must be allowed to run the command that the job is of, too: jobs of those "
        "that run only at the server's host are canceled there.",
};

const struct feature jobs_feature = {
    .name = "jobs",
    .commands = (struct command *const[]){ &job_list_command, &job_show_command,
                                           &job_cancel_command, NULL },
    .logs = (struct log_area *const[]){ &log_jobs, NULL },
    .worker = { .restore = jobs_restore, .save = jobs_save },
};
