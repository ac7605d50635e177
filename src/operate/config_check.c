#include "operate/config_check.h"
#include "app/node_check.h"
#include "app/node_file.h"
#include "app/node_finding.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/list.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "io/work.h"
#include <string.h>
#include <unistd.h>

/* Runs on a helper thread, because it reads files. Lives in the arena of its call. */
struct check {
    struct work work;
    struct command_call *call;
    const char *path;
    struct buf mistakes, notes;
};

static void config_check_run_check(struct work *work)
{
    struct check *ck = CONTAINER_OF(work, struct check, work);
    struct node_file *file;
    struct node_findings found;
    const char *name = strrchr(ck->path, '/'); /* musterctl has put its own folder before it */
    const struct setting *s = setting_find(slice_of(name != NULL ? name + 1 : ck->path));
    if (s != NULL && access(ck->path, F_OK) != 0) {
        buf_printf(&ck->mistakes,
                   "found %s, which is a setting, allowed: a node file; `get %s` shows the "
                   "setting\n",
                   s->name, s->name);
        return;
    }
    if (node_file_load(&file, ck->path, &ck->mistakes) != OK)
        return;
    node_findings_init(&found, ck->call->arena);
    node_check(file, &found);
    node_findings_write(&found, NODE_MISTAKE, &ck->mistakes);
    node_findings_write(&found, NODE_NOTE, &ck->notes);
    node_file_free(&file);
}

static void check_done(struct work *work)
{
    struct check *ck = CONTAINER_OF(work, struct check, work);
    struct buf mistakes = ck->mistakes, notes = ck->notes; /* the call's arena ends below */
    slice shown = buf_slice(&mistakes);
    if (mistakes.overflow)
        command_fail(ck->call, E_SYNTAX, "%.*sThere are more mistakes, which are not shown.",
                     SLICE_ARG(shown));
    else if (shown.len > 0) /* without the last line feed */
        command_fail(ck->call, E_SYNTAX, "%.*s", (int)shown.len - 1, shown.ptr);
    else if (notes.overflow)
        command_done(ck->call, "%.*sThere are more notes, which are not shown.\n%s: no mistakes",
                     SLICE_ARG(buf_slice(&notes)), ck->path);
    else
        command_done(ck->call, "%.*s%s: no mistakes", SLICE_ARG(buf_slice(&notes)), ck->path);
    buf_fini(&mistakes);
    buf_fini(&notes);
}

static void config_check_run(struct command_call *call)
{
    const struct worker *w = call->worker;
    slice file = command_arg(call, "file");
    struct check *ck = arena_new(call->arena, struct check, 1);
    *ck = (struct check){ .work = { .run = config_check_run_check, .done = check_done },
                          .call = call };
    ck->path = file.ptr != NULL ? slice_cstr(call->arena, file) : node_file_own_path();
    buf_init(&ck->mistakes, CHECK_BYTES_MAX);
    buf_init(&ck->notes, CHECK_BYTES_MAX);
    if (work_submit(worker_work(w), worker_loop(w), &ck->work) != OK)
        command_fail(call, E_AGAIN, "all helper threads are busy; try again");
}

static struct command check_command = {
    .name = "config check",
    .access = COMMAND_LOCAL,
    .effect = COMMAND_READS,
    .area = "settings",
    .args =
        (const struct command_arg[]){
            { .name = "file",
              .kind = ARG_OPTIONAL,
              .type = PARAM_PATH,
              .doc = "the node file; the default is the one that the server was started with" },
            { 0 },
        },
    .run = config_check_run,
    .doc =
        "Checks a node file as a start would: the keys, the certificates (unreadable, expired, for "
        "other names), the data folder and, unless the server runs, the ports. Changes nothing.",
};

const struct feature config_check_feature = {
    .name = "config-check",
    .commands = (struct command *const[]){ &check_command, NULL },
};
