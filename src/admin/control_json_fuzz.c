/* Requests of the control socket from arbitrary bytes: a command with bound arguments, or a reason;
 * the refusal is one line of valid JSON either way. */
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void run(struct command_call *call) { (void)call; }

static struct command add = {
    .effect = COMMAND_CHANGES,
    .area = "tests",
    .name = "user add",
    .args =
        (const struct command_arg[]){
            { .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_USER, .doc = "address" },
            { .name = "password", .kind = ARG_SECRET, .type = PARAM_SECRET, .doc = "password" },
            { .name = "role",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = (const char *const[]){ "user", "admin", NULL },
              .doc = "role" },
            { .name = "force", .kind = ARG_FLAG, .type = PARAM_BOOL, .doc = "whatever" },
            { 0 },
        },
    .run = run,
    .doc = "Adds an account.",
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    command_register(&add);
    return 0;
}

static void check_line(struct buf *out)
{
    ensure(out->len > 0 && out->ptr[out->len - 1] == '\n');
    json_t *reply = json_loadb(out->ptr, out->len, 0, NULL);
    ensure(json_is_object(reply));
    json_decref(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command_call call = { .arena = arena_create(0) };
    struct why why = { "" };
    struct buf out;
    buf_init(&out, 1 << 20);
    enum err e = control_parse((slice){ (const char *)data, size }, &call, &why);
    ensure(e == OK || e == E_SYNTAX || e == E_NOTFOUND);
    ensure(e != OK || (call.command == &add && command_arg(&call, "jid").ptr != NULL));
    control_refuse(&out, e == OK ? E_EXISTS : e, slice_of(why.text));
    check_line(&out);
    buf_fini(&out);
    arena_destroy(&call.arena);
    return 0;
}
