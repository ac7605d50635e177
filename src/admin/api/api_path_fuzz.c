/* Requests to the API from arbitrary bytes: the first line is the path, the second the query, the
 * rest the body. They name a command with bound arguments, or there is a reason why not; a value in
 * the path is never empty, and a cursor comes back as it was. */
#include "admin/api/api.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void run(struct command_call *call) { (void)call; }

static const struct command_arg list_args[] = {
    { .name = "domain", .kind = ARG_OPTION, .type = PARAM_DOMAIN, .doc = "whose" },
    COMMAND_LIMIT_ARG(100, "how many"),
    { .name = "after", .kind = ARG_OPTION, .doc = "begin after it" },
    { 0 },
};
static const struct command_arg item_args[] = {
    { .name = "room", .kind = ARG_POSITIONAL, .type = PARAM_ROOM, .doc = "which" },
    { .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_JID, .doc = "who" },
    { .name = "affiliation",
      .kind = ARG_OPTION,
      .type = PARAM_CHOICE,
      .choices = (const char *const[]){ "owner", "member", NULL },
      .doc = "what" },
    { .name = "force", .kind = ARG_FLAG, .type = PARAM_BOOL, .doc = "whether" },
    { 0 },
};
static struct command rows[] = {
    { .name = "room list",
      .rest = "GET /rooms",
      .effect = COMMAND_READS,
      .area = "tests",
      .args = list_args,
      .run = run,
      .doc = "Lists rooms." },
    { .name = "room affiliate",
      .rest = "PUT /rooms/{room}/affiliations/{jid}, DELETE /rooms/{room}/affiliations/{jid}",
      .effect = COMMAND_CHANGES,
      .area = "tests",
      .args = item_args,
      .run = run,
      .doc = "Changes one." },
    { .name = "room report",
      .rest = "GET /rooms/report",
      .effect = COMMAND_READS,
      .area = "tests",
      .args = list_args,
      .run = run,
      .doc = "Reports on rooms." },
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        command_register(&rows[i]);
    return 0;
}

static void bind(const struct command *c, const struct api_target *t, slice query, slice body)
{
    enum { PAIRS_MAX = COMMAND_ARGS_MAX + API_PARTS_MAX };
    slice names[PAIRS_MAX], values[PAIRS_MAX];
    size_t count = COMMAND_ARGS_MAX;
    struct command_call call = { .command = c, .arena = arena_create(0) };
    struct why why = { "" };
    for (size_t i = 0; i < t->count; i++) {
        ensure(t->values[i].len > 0);
        names[i] = t->names[i];
        values[i] = t->values[i];
    }
    enum err e = api_query(query, call.arena, names + t->count, values + t->count, &count);
    ensure(e == OK || e == E_SYNTAX || e == E_LIMIT);
    if (e == OK)
        e = control_bind(body, names, values, t->count + count, &call, &why);
    ensure(e == OK || why.text[0] != '\0' || e == E_SYNTAX || e == E_LIMIT);
    ensure(e != OK || c->args != item_args || command_arg(&call, "jid").ptr != NULL);
    arena_destroy(&call.arena);
}

static void cursor(slice text)
{
    struct arena *tmp = arena_create(0);
    slice shown = api_cursor(text, tmp);
    ensure(text.len == 0 || slice_eq(api_cursor_read(shown, tmp), text));
    slice read = api_cursor_read(text, tmp);
    ensure(read.len <= text.len / 2);
    arena_destroy(&tmp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum http_verb methods[] = { HTTP_M_GET, HTTP_M_POST, HTTP_M_PUT, HTTP_M_DELETE,
                                              HTTP_M_PATCH };
    struct arena *tmp = arena_create(0);
    struct api_target target;
    slice path, query, rest = { (const char *)data, size };
    slice_cut(rest, '\n', &path, &rest);
    slice_cut(rest, '\n', &query, &rest);
    cursor(query);
    enum err e = api_find(path, tmp, &target);
    ensure(e == OK || e == E_SYNTAX);
    ensure(e != OK || target.found == (target.methods != 0));
    for (size_t i = 0; e == OK && i < sizeof methods / sizeof methods[0]; i++) {
        const struct command *c = api_row(&target, methods[i]);
        ensure((c != NULL) == ((target.methods & methods[i]) != 0));
        if (c != NULL)
            bind(c, &target, query, rest);
    }
    arena_destroy(&tmp);
    return 0;
}
