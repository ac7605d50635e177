#include "base/principal.h"
#include "base/arena.h"
#include <string.h>

const struct principal principal_server = {
    .kind = PRINCIPAL_SERVER,
    .actor = SLICE_INIT("server"),
    .role = SLICE_INIT("administrator"),
    .grants = SLICE_INIT("*"),
};

bool principal_is_remote(const struct principal *p)
{
    return p->kind != PRINCIPAL_SERVER && p->kind != PRINCIPAL_CONTROL;
}

static bool part_matches(slice pattern, slice part)
{
    return slice_is(pattern, "*") || slice_eq(pattern, part);
}

/* `*` stands for a whole part, or alone for both. */
static bool pattern_matches(slice pattern, slice area, slice effect)
{
    slice a, e;
    if (slice_is(pattern, "*"))
        return true;
    return slice_cut(pattern, '.', &a, &e) && part_matches(a, area) && part_matches(e, effect);
}

bool grants_permission(slice grants, const char *permission)
{
    slice one, area, effect;
    bool given = false;
    if (!slice_cut(slice_of(permission), '.', &area, &effect))
        return false;
    while (slice_word(&grants, &one)) {
        bool takes = one.len > 0 && one.ptr[0] == '!';
        if (!pattern_matches(takes ? slice_from(one, 1) : one, area, effect))
            continue;
        if (takes)
            return false;
        given = true;
    }
    return given;
}

bool principal_may(const struct principal *p, const char *permission)
{
    return p->kind != PRINCIPAL_NONE && grants_permission(p->grants, permission) &&
           (p->scope.ptr == NULL || grants_permission(p->scope, permission));
}

static bool is_area(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 'a' || text.ptr[i] > 'z')
            return false;
    return text.len > 0;
}

static bool is_pattern(slice text)
{
    slice area, effect;
    if (slice_is(text, "*"))
        return true;
    return slice_cut(text, '.', &area, &effect) && (slice_is(area, "*") || is_area(area)) &&
           (slice_is(effect, "*") || slice_is(effect, "read") || slice_is(effect, "write"));
}

bool grants_are_valid(slice grants)
{
    slice one;
    bool gives = false;
    if (grants.len > GRANTS_BYTES_MAX)
        return false;
    while (slice_word(&grants, &one)) {
        bool takes = one.ptr[0] == '!';
        if (!is_pattern(takes ? slice_from(one, 1) : one))
            return false;
        gives = gives || !takes;
    }
    return gives;
}

struct principal principal_dup(const struct principal *p, struct arena *arena)
{
    struct principal copy = *p;
    copy.actor = slice_dup(arena, p->actor);
    copy.from = slice_dup(arena, p->from);
    copy.role = slice_dup(arena, p->role);
    copy.grants = slice_dup(arena, p->grants);
    copy.scope = p->scope.ptr == NULL ? p->scope : slice_dup(arena, p->scope);
    copy.own = slice_dup(arena, p->own);
    return copy;
}
