#include "app/config_check.h"
#include "app/certs.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/list.h"
#include "im/feature.h"
#include "im/worker.h"
#include "io/work.h"

enum { ERRORS_BYTES_MAX = 64 * 1024 };

static const char *own_path = "";

/* Reads files, so on a helper thread. In the arena of its call. */
struct check {
    struct work work;
    struct command_call *call;
    const char *path;
    struct buf errors;
    enum err err;
};

void config_check_path(const char *path) { own_path = path; }

static void run_check(struct work *work)
{
    struct check *ck = CONTAINER_OF(work, struct check, work);
    struct node_file *file;
    struct why why;
    ck->err = node_file_load(&file, ck->path, &ck->errors);
    if (ck->err != OK)
        return;
    ck->err = certs_check(file, &why);
    if (ck->err != OK)
        buf_printf(&ck->errors, "%s: %s\n", ck->path, why.text);
    node_file_free(&file);
}

static void check_done(struct work *work)
{
    struct check *ck = CONTAINER_OF(work, struct check, work);
    struct buf errors = ck->errors; /* the call and its arena end below */
    errors.len -= errors.len > 0;   /* the last line feed */
    if (ck->err == OK)
        command_done(ck->call, "%s: no mistakes", ck->path);
    else
        command_fail(ck->call, ck->err, "%.*s", SLICE_ARG(buf_slice(&errors)));
    buf_fini(&errors);
}

static void run(struct command_call *call)
{
    const struct worker *w = call->worker;
    slice file = command_arg(call, "file");
    struct check *ck = arena_new(call->arena, struct check, 1);
    *ck = (struct check){ .work = { .run = run_check, .done = check_done }, .call = call };
    ck->path = file.ptr != NULL ? slice_cstr(call->arena, file) : own_path;
    buf_init(&ck->errors, ERRORS_BYTES_MAX);
    if (work_submit(w->work, w->loop, &ck->work) != OK)
        command_fail(call, E_AGAIN, "all helper threads are busy; try again");
}

static struct command check_command = {
    .name = "config check",
    .args =
        (const struct command_arg[]){
            { "file", ARG_OPTIONAL, "node file; the one the server runs with if missing", NULL },
            { 0 },
        },
    .run = run,
    .doc = "Checks a node file and its certificates without changing anything.",
};

const struct feature config_check_feature = {
    .name = "config-check",
    .commands = (struct command *const[]){ &check_command, NULL },
};
