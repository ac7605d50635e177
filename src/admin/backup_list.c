#include "admin/backup_list.h"
#include "admin/backup_set.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/work.h"
#include "ops/host_folder.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BACKUPS_MAX = 1000, RESULTS_MAX = 200 };

static const struct store_migration backup_migrations[] = {
    { 1,
      "CREATE TABLE backup_result(node TEXT NOT NULL, folder TEXT NOT NULL, verified INTEGER NOT "
      "NULL, at_us INTEGER NOT NULL, why TEXT NOT NULL, PRIMARY KEY(node, folder, verified)) "
      "WITHOUT ROWID",
      "CREATE TABLE backup_result(node TEXT NOT NULL, folder TEXT NOT NULL, verified BIGINT NOT "
      "NULL, at_us BIGINT NOT NULL, why TEXT NOT NULL, PRIMARY KEY(node, folder, verified))" },
    { 0 },
};
static struct store_stmt backup_result_put = {
    .name = "backup.put",
    .sql = "INSERT INTO backup_result(node, folder, verified, at_us, why) VALUES($1, $2, $3, $4, "
           "$5) ON CONFLICT(node, folder, verified) DO UPDATE SET at_us = excluded.at_us, why = "
           "excluded.why",
    .params = "ttiit",
    .cols = "",
};
/* A folder that is made anew was not verified. */
static struct store_stmt backup_result_forget = {
    .name = "backup.forget",
    .sql = "DELETE FROM backup_result WHERE node = $1 AND folder = $2 AND verified > $3",
    .params = "tti",
    .cols = "",
};
static struct store_stmt backup_result_trim = {
    .name = "backup.trim",
    .sql = "DELETE FROM backup_result WHERE node = $1 AND at_us <= (SELECT at_us FROM "
           "backup_result WHERE node = $1 ORDER BY at_us DESC LIMIT 1 OFFSET $2)",
    .params = "ti",
    .cols = "",
};
static struct store_stmt backup_result_list = {
    .name = "backup.list",
    .sql = "SELECT folder, verified, at_us, why FROM backup_result WHERE node = $1 ORDER BY at_us",
    .params = "t",
    .cols = "tiit",
};
const struct store_schema backup_schema = {
    .feature = "backup",
    .migrations = backup_migrations,
    .stmts = (struct store_stmt *const[]){ &backup_result_put, &backup_result_forget,
                                           &backup_result_trim, &backup_result_list, NULL },
};

static slice backup_node(const struct worker *w) { return slice_of(worker_node(w)->name); }

void backup_keep(struct worker *w, const char *folder, bool verified, slice why,
                 store_done_fn *done, void *arg)
{
    struct store_batch *b = store_write(worker_store(w), 0);
    slice node = backup_node(w), path = slice_of(folder);
    ensure(worker_is_here(w) && duty_is_here(w, DUTY_BACKUP));
    STORE_ADD(b, &backup_result_put, STORE_ANY_ROWS, SV_T(node), SV_T(path), SV_I(verified),
              SV_I(clock_wall_us()), SV_T(why));
    STORE_ADD(b, &backup_result_forget, STORE_ANY_ROWS, SV_T(node), SV_T(path), SV_I(verified));
    STORE_ADD(b, &backup_result_trim, STORE_ANY_ROWS, SV_T(node), SV_I(RESULTS_MAX));
    store_submit(b, worker_loop(w), 0, done, arg);
}

/* One folder that is, or was, a backup. */
struct backup_found {
    const char *folder;
    const char *made, *checked; /* what that said; NULL: it was not done here, "": a success */
    uint64_t made_us, checked_us;
    struct backup_info info; /* what its list says, if `e` is OK */
    struct why why;
    enum err e; /* of reading its list; E_NOTFOUND: the folder is no backup */
};

/* Lives in the arena of its call. */
struct backup_listing {
    struct work work;
    struct command_call *call;
    const char *folder;
    struct backup_found *found;
    unsigned count;
    int error; /* of the folder; 0: none */
};

static struct backup_found *found_of(struct backup_listing *l, const char *folder)
{
    ensure(folder[0] == '/' && l->count <= BACKUPS_MAX);
    for (unsigned i = 0; i < l->count; i++)
        if (strcmp(l->found[i].folder, folder) == 0)
            return &l->found[i];
    if (l->count == BACKUPS_MAX)
        return NULL;
    l->found[l->count] = (struct backup_found){ .folder = folder };
    return &l->found[l->count++];
}

/* On a helper thread: folders that are no backup, and results of backups that are gone, are left
 * out. */
static void backups_look_into(struct backup_listing *l)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < l->count; i++) {
        struct backup_found *f = &l->found[i];
        f->e = backup_look(f->folder, &f->info, &f->why);
        if (f->e != E_NOTFOUND || (f->made != NULL && f->made[0] != '\0'))
            l->found[kept++] = *f;
    }
    l->count = kept;
}

static void backups_listing_run(struct work *w)
{
    struct backup_listing *l = CONTAINER_OF(w, struct backup_listing, work);
    const struct dirent *d;
    struct stat st;
    DIR *dir = opendir(l->folder);
    l->error = dir == NULL ? errno : 0;
    while (dir != NULL && (d = readdir(dir)) != NULL) {
        const char *path = arena_printf(l->call->arena, "%s/%s", l->folder, d->d_name);
        if (d->d_name[0] != '.' && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            found_of(l, path);
    }
    if (dir != NULL)
        closedir(dir);
    backups_look_into(l);
}

static const char *backup_made_at(struct arena *arena, const struct backup_found *f)
{
    char *stamp;
    ensure(f->e == OK || f->made != NULL);
    if (f->e == OK)
        return f->info.created;
    stamp = arena_alloc_raw(arena, CLOCK_STAMP_LEN);
    clock_stamp(stamp, f->made_us);
    return stamp;
}

static const char *backup_result_of(const struct backup_found *f)
{
    if (f->checked != NULL && f->checked[0] != '\0')
        return f->checked;
    if (f->e == OK)
        return "ok";
    return f->made != NULL && f->made[0] != '\0' ? f->made : f->why.text;
}

static void backup_list_row(struct command_call *call, const struct backup_found *f)
{
    command_row(call);
    command_text(call, "folder", slice_of(f->folder));
    if (f->e == OK || f->made != NULL)
        command_text(call, "created", slice_of(backup_made_at(call->arena, f)));
    if (f->e == OK) {
        command_int(call, "bytes", (int64_t)f->info.bytes);
        command_int(call, "files", (int64_t)f->info.files);
        command_text(call, "database", slice_of(f->info.has_database ? "sqlite" : "not in it"));
        command_bool(call, "secrets", f->info.has_secrets);
        command_text(call, "verified",
                     slice_of(f->checked == NULL      ? "no"
                              : f->checked[0] == '\0' ? "yes"
                                                      : "failed"));
    }
    if (f->e == OK && f->checked != NULL) {
        char *stamp = arena_alloc_raw(call->arena, CLOCK_STAMP_LEN);
        clock_stamp(stamp, f->checked_us);
        command_text(call, "verified_at", slice_of(stamp));
    }
    command_text(call, "result", slice_of(backup_result_of(f)));
    command_text(call, "node", backup_node(call->worker));
}

/* The newest first; those of which the time is not known are last. */
static int is_newer_backup(const void *a, const void *b)
{
    const struct backup_found *one = a, *other = b;
    char at[2][CLOCK_STAMP_LEN] = { "", "" };
    if (one->e != OK && one->made != NULL)
        clock_stamp(at[0], one->made_us);
    if (other->e != OK && other->made != NULL)
        clock_stamp(at[1], other->made_us);
    return strcmp(other->e == OK ? other->info.created : at[1],
                  one->e == OK ? one->info.created : at[0]);
}

static void backups_listing_done(struct work *w)
{
    struct backup_listing *l = CONTAINER_OF(w, struct backup_listing, work);
    struct command_call *call = l->call;
    ensure(worker_is_here(call->worker));
    if (l->error != 0 && command_arg(call, "folder").ptr != NULL) {
        command_fail(call, durable_err(l->error), "%s: %s", l->folder, strerror(l->error));
        return;
    }
    if (l->count > 1)
        qsort(l->found, l->count, sizeof *l->found, is_newer_backup);
    for (unsigned i = 0; i < l->count; i++)
        backup_list_row(call, &l->found[i]);
    if (l->error != 0)
        command_done(call,
                     "%s, where backup.folder says that backups are: %s; make it, with the user of "
                     "musterd as its owner",
                     l->folder, strerror(l->error));
    else
        command_done(call, "%s", "");
}

static bool is_listed_backup(const struct backup_listing *l, slice folder)
{
    slice own = slice_of(l->folder);
    return command_arg(l->call, "folder").ptr == NULL ||
           (slice_starts(folder, own) && folder.len > own.len && folder.ptr[own.len] == '/' &&
            memchr(folder.ptr + own.len + 1, '/', folder.len - own.len - 1) == NULL);
}

static void backups_take_result(struct backup_listing *l, const struct store_batch *b, uint32_t row)
{
    struct arena *arena = l->call->arena;
    slice folder = store_text(b, 0, row, 0);
    struct backup_found *f =
        is_listed_backup(l, folder) ? found_of(l, slice_cstr(arena, folder)) : NULL;
    if (f == NULL)
        return;
    const char *why = slice_cstr(arena, store_text(b, 0, row, 3));
    uint64_t at_us = (uint64_t)store_int(b, 0, row, 2);
    if (store_int(b, 0, row, 1) != 0)
        f->checked = why, f->checked_us = at_us;
    else
        f->made = why, f->made_us = at_us;
}

static void backups_results_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct backup_listing *l = arg;
    struct worker *w = l->call->worker;
    if (result != STORE_OK) {
        command_fail_cause(l->call, err_of_store(result), "the results could not be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        backups_take_result(l, b, i);
    l->work = (struct work){ .run = backups_listing_run, .done = backups_listing_done };
    if (work_submit(worker_work(w), worker_loop(w), &l->work) != OK)
        command_fail(l->call, E_AGAIN, "the server has too much to do; try again later");
}

static void run_backup_list(struct command_call *call)
{
    struct backup_listing *l = arena_new(call->arena, struct backup_listing, 1);
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    slice folder = command_arg(call, "folder");
    if (folder.ptr == NULL)
        folder = slice_of(setting_text(&host_folder));
    *l = (struct backup_listing){
        .call = call,
        .folder = slice_cstr(call->arena, slice_without_end(folder, '/', 1)),
    };
    l->found = arena_new(call->arena, struct backup_found, BACKUPS_MAX);
    STORE_ADD(b, &backup_result_list, STORE_ANY_ROWS, SV_T(backup_node(call->worker)));
    store_submit(b, worker_loop(call->worker), 0, backups_results_read, l);
}

struct command backup_list_command = {
    .name = "backup list",
    .rest = "GET /backups",
    .effect = COMMAND_READS,
    .area = "backup",
    .args =
        (const struct command_arg[]){
            { .name = "folder",
              .kind = ARG_OPTION,
              .type = PARAM_PATH,
              .check = param_is_absolute,
              .form = PARAM_ABSOLUTE,
              .doc = "folder of the server's host that has the backups; backup.folder by default" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_BACKUP,
    .inside = &host_folder,
    .run = run_backup_list,
    .doc = "Lists backups, the newest first: those in backup.folder, and those that were made here "
           "elsewhere. One that could not be made is in the list as well, with the reason, until "
           "another is made of that name. The list shows at most 1,000.",
    .columns =
        (const struct command_column[]){
            { .name = "folder", .type = PARAM_PATH, .doc = "the folder of the backup" },
            { .name = "created",
              .type = PARAM_STAMP,
              .optional = true,
              .doc = "when it was made, or could not be made" },
            { .name = "bytes",
              .type = PARAM_INT,
              .unit = "bytes",
              .optional = true,
              .doc = "sizes of its files" },
            { .name = "files",
              .type = PARAM_INT,
              .optional = true,
              .wide = true,
              .doc = "files in it" },
            { .name = "database",
              .optional = true,
              .wide = true,
              .doc = "sqlite, or that it is not in it" },
            { .name = "secrets",
              .type = PARAM_BOOL,
              .optional = true,
              .wide = true,
              .doc = "whether secrets.key is in it" },
            { .name = "verified",
              .optional = true,
              .doc = "yes, no, or failed: what `backup verify` found" },
            { .name = "verified_at",
              .type = PARAM_STAMP,
              .optional = true,
              .wide = true,
              .doc = "when that was" },
            { .name = "result", .doc = "ok, or why it could not be made or is damaged" },
            { .name = "node", .apart = true, .doc = "name of the node whose host has it" },
            { 0 },
        },
};
