/* backup: makes and verifies backups while the server works, one at a time, on a separate thread.
 * `musterctl backup restore` restores one. */
#include "admin/backup.h"
#include "admin/backup_alarm.h"
#include "admin/backup_list.h"
#include "admin/backup_set.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/host_folder.h"
#include "ops/jobs.h"
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

static const uint64_t report_us = 10 * 1000000;

static struct log_area log_backup = { .name = "backup" };
static struct metric finished_at = {
    .name = "muster_backup_finished_seconds",
    .kind = METRIC_GAUGE,
    .help = "Time of the last backup that succeeded, in seconds since 1970; 0: none yet.",
};

enum backup_kind { BACKUP_MAKE, BACKUP_VERIFY };

/* Lives in the arena of its call. */
struct backup_task {
    struct command_call *call;
    uint64_t job;         /* ops/jobs.h */
    const char *canceled; /* as job_canceled(); of the thread */
    struct loop_post post;
    pthread_t thread;
    enum backup_kind kind;
    const char *folder;
    const struct store_schema *const *schemas;
    struct backup_source from;
    struct backup_info info;
    uint64_t told_us;
    int64_t finished_s;
    struct why why;
    enum err err;
};
static struct backup_task *the_task; /* at the home of the duty */

/* The time of the last backup is in a file of the data folder, so that it outlives the process. */
static const char *time_file(struct arena *arena, const char *data)
{
    return arena_printf(arena, "%s/backup-finished", data);
}

static void time_set(int64_t seconds)
{
    metric_add(&finished_at, seconds - metric_read(&finished_at));
}

static void time_load(const char *data)
{
    struct arena *arena = arena_create(0);
    char text[24];
    int64_t seconds;
    int fd = open(time_file(arena, data), O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text) : 0;
    if (len > 1 && slice_int((slice){ text, (size_t)len - 1 }, &seconds) && seconds > 0)
        time_set(seconds); /* without line feed */
    if (fd >= 0)
        close(fd);
    arena_destroy(&arena);
}

/* A backup without it is complete all the same. On the thread of the task. */
static void time_save(const struct backup_task *t, int64_t seconds)
{
    struct arena *arena = arena_create(0);
    struct why why;
    const char *text = arena_printf(arena, "%" PRId64 "\n", seconds);
    if (durable_write(time_file(arena, t->from.data), 0600, slice_of(text), &why) != OK)
        log_warn(&log_backup, LOG_EV("backup.time-lost"), LOG_C("why", why.text),
                 LOG_C("hint", "after the next start, muster_backup_finished_seconds has the time "
                               "of an earlier backup"));
    arena_destroy(&arena);
}

static bool backup_go_on(void *arg, int percent)
{
    struct backup_task *t = arg;
    const char *part = t->info.has_database ? "files" : "database";
    uint64_t now_us = clock_mono_us();
    bool counts = t->kind == BACKUP_MAKE && !t->info.has_database; /* others know no percentage */
    job_percent(t->job, counts ? percent : -1);
    job_tell(t->job, "%s: %s", t->kind == BACKUP_MAKE ? "copying" : "checking", part);
    if (now_us - t->told_us > report_us) {
        t->told_us = now_us;
        log_info(&log_backup, LOG_EV("backup.progress"), LOG_C("folder", t->folder),
                 LOG_C("part", part), LOG_I("percent", percent));
    }
    t->canceled = job_canceled(t->job);
    return t->canceled == NULL;
}

static void backup_describe(const struct backup_task *t)
{
    struct command_call *call = t->call;
    command_row(call);
    command_text(call, "folder", slice_of(t->folder));
    command_text(call, "created", slice_of(t->info.created));
    command_text(call, "database", slice_of(t->info.has_database ? "sqlite" : "not in it"));
    command_bool(call, "secrets", t->info.has_secrets);
    command_int(call, "files", (int64_t)t->info.files);
    command_int(call, "bytes", (int64_t)t->info.bytes);
    command_int(call, "damaged", (int64_t)t->info.damaged);
    if (t->info.has_database)
        command_done(call, "%s", "");
    else
        command_done(call, "the database is not in it, since it is PostgreSQL: back it up with "
                           "pg_dump --format=custom, before this");
}

#define WRITABLE                                                                                   \
    "musterd must be able to write to it. Its systemd unit lets it write to "                      \
    "/var/lib/muster-backups"

/* Waits for the end of its thread. */
static void backup_join(struct backup_task *t)
{
    pthread_join(t->thread, NULL);
    the_task = NULL;
    if (t->err == OK)
        log_info(&log_backup, LOG_EV("backup.ended"), LOG_C("folder", t->folder),
                 LOG_C("result", "ok"));
    else
        log_at(&log_backup, t->err == E_CANCELED ? LOG_WARN : LOG_ERROR, LOG_EV("backup.ended"),
               LOG_C("folder", t->folder), LOG_C("result", err_name(t->err)),
               LOG_C("why", t->why.text));
    if (t->err == OK && t->kind == BACKUP_MAKE) {
        time_set(t->finished_s);
        backup_alarm_succeeded(t->finished_s);
    } else if (t->kind == BACKUP_MAKE && t->err != E_CANCELED && t->err != E_EXISTS) {
        backup_alarm_failed(t->folder, t->why.text);
    }
}

static void backup_tell(struct backup_task *t)
{
    if (t->err == OK)
        backup_describe(t);
    else if (t->err == E_CANCELED && t->canceled != NULL)
        command_fail(t->call, E_CANCELED, "%s: %s", t->folder, t->canceled);
    else if ((t->err == E_DENIED || t->err == E_NOTFOUND) && t->kind == BACKUP_MAKE)
        command_fail(t->call, t->err, "%s. The folder above must exist, and " WRITABLE,
                     t->why.text);
    else
        command_fail(t->call, t->err, "%s", t->why.text);
}

/* Whether the result could be kept does not matter to whoever waits. */
static void backup_kept(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)result, (void)b;
    backup_tell(arg);
}

/* What says nothing of the backup that is in the folder. */
static bool backup_tells_nothing(const struct backup_task *t)
{
    return t->err == E_EXISTS ||
           (t->kind == BACKUP_VERIFY && (t->err == E_CANCELED || t->err == E_NOTFOUND));
}

static void backup_ended(struct loop_post *post, struct loop *loop)
{
    struct backup_task *t = CONTAINER_OF(post, struct backup_task, post);
    (void)loop;
    ensure(the_task == t);
    backup_join(t);
    if (backup_tells_nothing(t))
        backup_tell(t);
    else
        backup_keep(t->call->worker, t->folder, t->kind == BACKUP_VERIFY,
                    t->err == OK ? SLICE("") : slice_of(t->why.text), backup_kept, t);
}

static enum err backup_run_make(struct backup_task *t)
{
    enum err e = backup_make(t->folder, &t->from, &t->info, &t->why);
    t->finished_s = (int64_t)(clock_wall_us() / 1000000);
    if (e == OK)
        time_save(t, t->finished_s);
    return e;
}

static void *backup_thread(void *arg)
{
    struct backup_task *t = arg;
    struct worker *w = t->call->worker;
    t->told_us = clock_mono_us();
    if (t->kind == BACKUP_MAKE)
        t->err = backup_run_make(t);
    else
        t->err = backup_verify(t->folder, t->schemas, &t->from.watch, &t->info, &t->why);
    loop_post(worker_loop(w), &t->post);
    return NULL;
}

static const struct store_schema *const *all_schemas(struct arena *arena)
{
    size_t count = 0;
    FEATURES_EACH (f, schema)
        count += f->schema != NULL;
    const struct store_schema **out = arena_new(arena, const struct store_schema *, count + 1);
    count = 0;
    FEATURES_EACH (f, schema)
        out[count++] = f->schema;
    return out;
}

static void backup_begin(struct backup_task *t)
{
    struct command_call *call = t->call;
    const struct worker *w = call->worker;
    t->from.store = worker_store(w);
    t->from.data = worker_node(w)->data;
    t->schemas = all_schemas(call->arena);
    if (the_task != NULL || worker_stopping(w)) {
        command_fail(call, E_AGAIN, "another backup is being made or verified: try later");
        return;
    }
    the_task = t;
    t->job = job_begin(call);
    if (pthread_create(&t->thread, NULL, backup_thread, t) == 0)
        return;
    the_task = NULL;
    command_fail(call, E_LIMIT,
                 "no thread could be started; the system has too many, try again later");
}

/* Without a name the folder is called as the time is. */
static slice backup_named(const struct command_call *call)
{
    char stamp[CLOCK_STAMP_LEN];
    slice given = command_arg(call, "folder"),
          above = slice_without_end(slice_of(setting_text(&host_folder)), '/', 1);
    if (given.ptr != NULL)
        return given;
    clock_stamp(stamp, clock_wall_us());
    return slice_of(arena_printf(call->arena, "%.*s/%.10s_%.2s-%.2s-%.2s", SLICE_ARG(above), stamp,
                                 stamp + 11, stamp + 14, stamp + 17));
}

static void backup_submit(struct command_call *call, enum backup_kind kind, enum backup_keys keys)
{
    struct backup_task *t = arena_new(call->arena, struct backup_task, 1);
    *t = (struct backup_task){ .call = call, .kind = kind, .post = { .fn = backup_ended } };
    /* Completion writes the name of a folder with a slash at its end. */
    t->folder = slice_cstr(call->arena, slice_without_end(backup_named(call), '/', 1));
    t->from.keys = keys;
    t->from.watch = (struct store_watch){ backup_go_on, t };
    backup_begin(t);
}

static void backup_run_create(struct command_call *call)
{
    backup_submit(call, BACKUP_MAKE,
                  command_flag(call, "secrets") ? BACKUP_WITH_SECRETS : BACKUP_WITHOUT_SECRETS);
}

static void run_verify(struct command_call *call)
{
    backup_submit(call, BACKUP_VERIFY, BACKUP_WITHOUT_SECRETS);
}

/* musterctl restores while no server runs: this one does. */
static void run_restore(struct command_call *call)
{
    command_fail(call, E_CONFLICT,
                 "a running server cannot restore; stop it (`systemctl stop muster`), move its "
                 "data folder away, and run the command again");
}

static void backup_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_BACKUP))
        return;
    time_load(worker_node(w)->data);
    backup_alarm_start(w, metric_read(&finished_at));
}

/* One that was given up and has still not ended: the disk is slow. It removes its files. Its call
 * is not ended, since the loop by which the answer would go back has ended. */
static void backup_worker_stop(struct worker *w)
{
    if (!duty_is_here(w, DUTY_BACKUP))
        return;
    backup_alarm_stop();
    if (the_task != NULL)
        backup_join(the_task);
}

static const struct command_column backup_columns[] = {
    { .name = "folder", .type = PARAM_PATH, .doc = "the folder of the backup" },
    { .name = "created", .type = PARAM_STAMP, .doc = "when it was made" },
    { .name = "database", .doc = "sqlite, or that it is not in it" },
    { .name = "secrets", .type = PARAM_BOOL, .doc = "whether secrets.key is in it" },
    { .name = "files", .type = PARAM_INT, .doc = "files in it" },
    { .name = "bytes", .type = PARAM_INT, .unit = "bytes", .doc = "their sizes" },
    { .name = "damaged", .type = PARAM_INT, .doc = "files that are not as they were" },
    { 0 },
};
static struct command create_command = {
    .name = "backup create",
    .effect = COMMAND_CHANGES,
    .area = "backup",
    .args =
        (const struct command_arg[]){
            { .name = "folder",
              .kind = ARG_OPTIONAL,
              .type = PARAM_PATH,
              .check = backup_takes_name,
              .form = BACKUP_NAME_FORM,
              .doc = "folder to make on the server's host; the folder above must exist. Without "
                     "it, one that is named after the time is made in backup.folder" },
            { .name = "secrets",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc =
                  "includes secrets.key, with which login tokens in the backup can be used; "
                  "without "
                  "it, devices need their passwords and components new secrets after a restore" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_BACKUP,
    .run = backup_run_create,
    .inside = &host_folder,
    .job = true,
    .doc =
        "Makes a backup while the server works: the database if it is SQLite, uploaded files, the "
        "key that signs upload slots, and certificates of the data folder with their keys. Only "
        "the user of the server "
        "can read it, since it contains everything that users have stored. It does not contain the "
        "node file and the certificates that it names. `backup restore` restores it.",
    .columns = backup_columns,
};
static struct command verify_command = {
    .name = "backup verify",
    .args =
        (const struct command_arg[]){
            { .name = "folder",
              .kind = ARG_POSITIONAL,
              .type = PARAM_PATH,
              .check = param_is_absolute,
              .form = PARAM_ABSOLUTE,
              .doc = "folder of the backup on the server's host" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_BACKUP,
    .run = run_verify,
    .inside = &host_folder,
    .job = true,
    .doc = "Verifies a backup: the checksum of every file, and the database.",
    .effect = COMMAND_CHANGES, /* of what `backup list` shows; and it keeps the disk busy */
    .area = "backup",
    .columns = backup_columns,
};

static struct command restore_command = {
    .name = "backup restore",
    .effect = COMMAND_CHANGES,
    .area = "backup",
    .args =
        (const struct command_arg[]){
            { .name = "folder",
              .kind = ARG_POSITIONAL,
              .type = PARAM_PATH,
              .check = param_is_absolute,
              .form = PARAM_ABSOLUTE,
              .doc = "folder of the server's host that has the backup" },
            { 0 },
        },
    .run = run_restore,
    .access = COMMAND_LOCAL,
    .offline = true,
    .doc = "Puts a backup into the data folder of the node file (`musterctl --config FILE`), which "
           "must have no "
           "database. Nothing there is overwritten: a key that the backup has, too, becomes "
           "KEY.old, and any other file that differs is named. The server must be stopped. A "
           "damaged backup is refused before anything is written. The same as `musterd --restore "
           "FOLDER`.",
};

const struct feature backup_feature = {
    .name = "backup",
    .commands = (struct command *const[]){ &backup_list_command, &create_command, &verify_command,
                                           &restore_command, NULL },
    .schema = &backup_schema,
    .settings = (struct setting *const[]){ &host_folder, &backup_alarm_after, NULL },
    .alarms = (struct alarm *const[]){ &backup_failed_alarm, &backup_missing_alarm, NULL },
    .metrics = (struct metric *const[]){ &finished_at, NULL },
    .logs = (struct log_area *const[]){ &log_backup, NULL },
    .worker.start = backup_worker_start,
    .worker.stop = backup_worker_stop,
};
