#include "ext/adhoc_words.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/command_options.h"
#include "base/ensure.h"
#include <string.h>

bool adhoc_has_pages(const struct command *c)
{
    return command_has_arg(c, "limit") && command_has_arg(c, "after");
}

static void adhoc_name_option(struct buf *out, const struct command_arg *a)
{
    buf_printf(out, "the field \"%s\"", a->doc);
}

slice adhoc_words_failed(const struct command_call *call)
{
    struct buf out;
    slice text = call->text, end = SLICE(COMMAND_EMPTY_REMOVES);
    size_t rest = text.len > end.len ? text.len - end.len : 0;
    bool removes = slice_eq((slice){ text.ptr + rest, text.len - rest }, end);
    if (removes)
        text.len = rest;
    buf_init(&out, ADHOC_TEXT_BYTES_MAX);
    command_options_named(&out, call->command, text, adhoc_name_option);
    if (removes)
        buf_printf(&out, "; the field \"" ADHOC_REMOVE_LABEL "\" removes one");
    if (!out.overflow)
        text = slice_dup(call->arena, buf_fit(&out));
    buf_fini(&out);
    return text;
}

slice adhoc_words_done(const struct command_call *call)
{
    const struct command_arg *a = call->command->args;
    ensure(call->ended && call->err == OK);
    if (call->rows == NULL && call->text.len == 0)
        return SLICE("There is nothing to show.");
    while (call->next.ptr != NULL && a->name != NULL && strcmp(a->name, "after") != 0)
        a++;
    if (call->next.ptr == NULL || a->name == NULL)
        return adhoc_words_failed(call);
    return slice_of(arena_printf(
        call->arena, "There are more. Run it again, with this in the field \"%s\": %.*s", a->doc,
        SLICE_ARG(call->next)));
}
