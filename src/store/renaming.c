#include "store/renaming.h"
#include "base/arena.h"
#include "base/ensure.h"

struct renaming renaming_begin(struct arena *arena, const char *old, const char *to,
                               const char *const *others)
{
    struct renaming r = { .arena = arena,
                          .old = old,
                          .to = to,
                          .domain = strchr(old, '@') == NULL,
                          .others = others,
                          .name = arena_new(arena, const char *, RENAMING_NAMES_MAX),
                          .count = 1 };
    ensure(r.domain == (strchr(to, '@') == NULL));
    r.name[0] = old;
    return r;
}

static bool renaming_has(const struct renaming *r, slice name)
{
    for (unsigned i = 0; i < r->count; i++)
        if (slice_is(name, r->name[i]))
            return true;
    return false;
}

/* Or the domain itself. */
static bool renaming_is_below(slice name, const char *domain)
{
    size_t len = strlen(domain);
    return name.len >= len && slice_is(slice_from(name, name.len - len), domain) &&
           (name.len == len || name.ptr[name.len - len - 1] == '.');
}

/* Not of another domain of ours, which may be below this one. */
static bool renaming_owns(const struct renaming *r, slice name)
{
    for (const char *const *other = r->others; *other != NULL; other++)
        if (strlen(*other) > strlen(r->old) && renaming_is_below(name, *other))
            return false;
    return renaming_is_below(name, r->old);
}

enum err renaming_add(struct renaming *r, slice name)
{
    ensure(r->domain);
    if (!renaming_owns(r, name) || renaming_has(r, name))
        return OK;
    if (r->count == RENAMING_NAMES_MAX)
        return E_LIMIT;
    r->name[r->count++] = slice_cstr(r->arena, name);
    return OK;
}

/* All names end with the old one. */
static const char *renaming_name(const struct renaming *r, slice name)
{
    ensure(name.len >= strlen(r->old));
    return arena_printf(r->arena, "%.*s%s", (int)(name.len - strlen(r->old)), name.ptr, r->to);
}

struct renaming renaming_reverse(const struct renaming *r)
{
    struct renaming back = renaming_begin(r->arena, r->to, r->old, r->others);
    back.count = r->count;
    for (unsigned i = 0; i < r->count; i++)
        back.name[i] = renaming_name(r, slice_of(r->name[i]));
    return back;
}

/* A resource may have both of the characters. */
static slice renaming_bare_of(slice jid)
{
    slice bare, resource;
    slice_cut(jid, '/', &bare, &resource);
    return bare;
}

bool renaming_means(const struct renaming *r, slice jid)
{
    slice local, domain, bare = renaming_bare_of(jid);
    return renaming_has(r, r->domain && slice_cut(bare, '@', &local, &domain) ? domain : bare);
}

slice renaming_of(const struct renaming *r, slice jid, struct arena *tmp)
{
    if (!renaming_means(r, jid))
        return jid;
    size_t bare = renaming_bare_of(jid).len;
    return slice_of(arena_printf(tmp, "%.*s%s%.*s", (int)(bare - strlen(r->old)), jid.ptr, r->to,
                                 SLICE_ARG(slice_from(jid, bare))));
}

static bool renaming_in_word(char c)
{
    uint8_t u = (uint8_t)c;
    return u >= 0x80 || (u >= '0' && u <= '9') || ((u | 0x20) >= 'a' && (u | 0x20) <= 'z') ||
           (c != '\0' && strchr("_-+%", c) != NULL);
}

/* Behind the name nothing makes it a longer one, or the name of a user. */
static bool renaming_ends_at(slice rest)
{
    if (rest.len > 0 && rest.ptr[0] == '.')
        rest = slice_from(rest, 1); /* it may end a sentence */
    return rest.len == 0 || (!renaming_in_word(rest.ptr[0]) && rest.ptr[0] != '@');
}

bool renaming_in_text(const struct renaming *r, slice text)
{
    slice old = slice_of(r->old), word = text; /* word: from where a longer name would begin */
    for (; text.len >= old.len; text = slice_from(text, 1)) {
        slice name = { word.ptr, (size_t)(text.ptr - word.ptr) + old.len };
        if (slice_starts(text, old) && renaming_ends_at(slice_from(text, old.len)) &&
            (r->domain ? renaming_owns(r, name) : slice_eq(name, old)))
            return true;
        if (!renaming_in_word(text.ptr[0]) && text.ptr[0] != '.')
            word = slice_from(text, 1);
    }
    return false;
}
