#include "ops/access_pattern.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/similar.h"

enum { AREAS_BYTES_MAX = 1024 };

static bool gives_anything(slice grants)
{
    char permission[COMMAND_PERMISSION_MAX];
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        command_permission(c, permission, sizeof permission);
        if (grants_permission(grants, permission))
            return true;
    }
    return false;
}

static bool has_area(slice area)
{
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        if (slice_is(area, c->area))
            return true;
    return false;
}

/* The names of areas are short: compared with an effect behind them, two letters may be missing. */
static slice area_near(slice area, struct arena *arena)
{
    struct similar s;
    slice near = { 0 }, effect;
    similar_init(&s, slice_of(arena_printf(arena, "%.*s.read", SLICE_ARG(area))));
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        similar_try(&s, slice_of(arena_printf(arena, "%s.read", c->area)));
    if (s.best.ptr != NULL)
        slice_cut(s.best, '.', &near, &effect);
    return near;
}

static slice all_areas(struct arena *arena)
{
    struct buf out;
    buf_init(&out, AREAS_BYTES_MAX);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        const struct command *first = command_first();
        while (strcmp(first->area, c->area) != 0)
            first = first->next;
        if (first == c)
            buf_printf(&out, "%s%s", buf_fit(&out).len > 0 ? ", " : "", c->area);
    }
    slice areas = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return areas;
}

/* `word` may begin with !. */
static void refuse_pattern(struct command_call *call, slice word)
{
    slice pattern = word.ptr[0] == '!' ? slice_from(word, 1) : word, area, effect;
    const char *mark = word.ptr[0] == '!' ? "!" : "";
    bool cut = slice_cut(pattern, '.', &area, &effect);
    ensure(cut); /* grants_are_valid() */
    slice near = has_area(area) ? (slice){ 0 } : area_near(area, call->arena);
    if (has_area(area))
        command_fail(
            call, E_SYNTAX, "%.*s: no command has this permission; did you mean %s%.*s.%s?",
            SLICE_ARG(word), mark, SLICE_ARG(area), slice_is(effect, "read") ? "write" : "read");
    else if (near.ptr != NULL)
        command_fail(call, E_SYNTAX,
                     "%.*s: no command has this permission; did you mean %s%.*s.%.*s?",
                     SLICE_ARG(word), mark, SLICE_ARG(near), SLICE_ARG(effect));
    else
        command_fail(call, E_SYNTAX, "%.*s: no command has this permission; the areas are %.*s",
                     SLICE_ARG(word), SLICE_ARG(all_areas(call->arena)));
}

bool access_patterns_known(struct command_call *call, const char *argument)
{
    slice grants = command_arg(call, argument), one, rest = grants;
    ensure(!call->ended);
    if (grants.ptr == NULL)
        return true;
    call->culprit = argument; /* the call may be freed when it has failed */
    while (slice_word(&rest, &one)) {
        if (gives_anything(one.ptr[0] == '!' ? slice_from(one, 1) : one))
            continue;
        refuse_pattern(call, one);
        return false;
    }
    if (!gives_anything(grants)) {
        command_fail(call, E_SYNTAX,
                     "%.*s: what stands behind ! takes away all that is given, so nothing is left",
                     SLICE_ARG(grants));
        return false;
    }
    call->culprit = NULL;
    return true;
}
