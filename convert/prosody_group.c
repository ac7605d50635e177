#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/utf8.h"
#include "base/whole_file.h"
#include "convert/prosody.h"

enum { QUOTED_MAX = 100, GROUPS_BYTES_MAX = 64 << 20 };

struct prosody_group {
    slice name; /* first */
    uint32_t nicknames;
    bool to_all; /* who sees it: all accounts of the source's domains, or its members */
    struct prosody_group *next;
};
struct prosody_groups {
    struct output *out;
    struct arena *arena;
    struct map by_name;
    struct prosody_group *first, **last;
    struct prosody_group *now; /* NULL: no line has begun one */
    uint32_t members;
    struct why *why; /* of the line */
};

static slice trim(slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static enum err groups_too_many(const struct prosody_groups *x)
{
    why_set(x->why, "found more than %d groups or %d members of groups", OUTPUT_GROUPS_MAX,
            OUTPUT_MEMBERS_MAX);
    return E_LIMIT;
}

static enum err begin_group(struct prosody_groups *x, slice name)
{
    struct prosody_group *g = map_get(&x->by_name, name);
    ensure(name.len > 0);
    if (g == NULL) {
        if (x->by_name.count == OUTPUT_GROUPS_MAX)
            return groups_too_many(x);
        g = arena_new(x->arena, struct prosody_group, 1);
        g->name = slice_dup(x->arena, name);
        map_put(&x->by_name, g);
        *x->last = g;
        x->last = &g->next;
    }
    x->now = g;
    return OK;
}

/* A public group is visible to all users, so to its members, too. */
static enum err take_heading(struct prosody_groups *x, slice line)
{
    ensure(line.len > 0 && line.ptr[0] == '[');
    if (line.ptr[line.len - 1] != ']') {
        line = utf8_head(line, QUOTED_MAX);
        why_set(x->why, "found \"%.*s\", expected [NAME] or [+NAME] and nothing behind it",
                SLICE_ARG(line));
        return E_SYNTAX;
    }
    slice name = { line.ptr + 1, line.len - 2 };
    bool is_public = slice_starts(name, SLICE("+"));
    name = trim(slice_from(name, is_public ? 1 : 0));
    if (name.len == 0) {
        why_set(x->why, "found a group without a name");
        return E_SYNTAX;
    }
    enum err e = begin_group(x, name);
    if (e == OK)
        x->now->to_all |= is_public;
    return e;
}

static enum err take_address(struct prosody_groups *x, slice line)
{
    slice member, nickname;
    ensure(line.len > 0);
    (void)slice_cut(line, '=', &member, &nickname);
    member = trim(member);
    for (size_t i = 0; i < member.len; i++)
        if (member.ptr[i] == ' ' || member.ptr[i] == '\t')
            member.len = i;
    if (member.len == 0) {
        why_set(x->why, "found a nickname without an address");
        return E_SYNTAX;
    }
    enum err e = x->now == NULL ? begin_group(x, SLICE("default")) : OK;
    if (e == OK && x->members++ == OUTPUT_MEMBERS_MAX)
        e = groups_too_many(x);
    if (e != OK)
        return e;
    x->now->nicknames += trim(nickname).len > 0;
    output_line(x->out, "member");
    output_put(x->out, "group", x->now->name);
    output_put(x->out, "host", SLICE(""));
    output_put(x->out, "jid", member);
    output_end(x->out);
    return OK;
}

static enum err take_line(struct prosody_groups *x, slice line)
{
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (!utf8_valid(line)) {
        why_set(x->why, "found what is no UTF-8");
        return E_SYNTAX;
    }
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            why_set(x->why, "found a control character");
            return E_SYNTAX;
        }
    }
    line = trim(line);
    if (line.len == 0 || line.ptr[0] == '#')
        return OK;
    return line.ptr[0] == '[' ? take_heading(x, line) : take_address(x, line);
}

static void tell_groups(struct prosody_groups *x)
{
    for (const struct prosody_group *g = x->first; g != NULL; g = g->next) {
        struct text_list lost = { .text = slice_of(arena_printf(
                                      x->arena,
                                      "nicknames of members: %u; contacts have the names of "
                                      "profiles here",
                                      g->nicknames)) };
        output_line(x->out, "group");
        output_put(x->out, "name", g->name);
        output_put(x->out, "host", SLICE(""));
        output_flag(x->out, "members", !g->to_all);
        output_flag(x->out, "all", g->to_all);
        output_list(x->out, "lost", g->nicknames > 0 ? &lost : NULL);
        output_end(x->out);
        x->out->groups++;
    }
}

enum err prosody_groups_read(struct output *o, slice text, struct why *why)
{
    struct why of_line;
    struct prosody_groups x = { .out = o, .why = &of_line, .arena = arena_create(0) };
    unsigned long long number = 0;
    enum err e = OK;
    x.last = &x.first;
    map_init(&x.by_name, map_key_slice);
    for (slice line; text.len > 0 && e == OK;) {
        (void)slice_cut(text, '\n', &line, &text);
        number++;
        e = take_line(&x, line);
    }
    if (e == OK)
        tell_groups(&x);
    else if (e == E_LIMIT)
        *why = of_line;
    else
        why_set(why, "line %llu: %s", number, of_line.text);
    map_fini(&x.by_name);
    arena_destroy(&x.arena);
    return e;
}

enum err prosody_groups_file(struct output *o, const char *path, struct why *why)
{
    struct buf text;
    struct why of_text;
    buf_init(&text, GROUPS_BYTES_MAX);
    enum err e = whole_file_read(&text, path, why);
    if (e == OK) {
        e = prosody_groups_read(o, buf_fit(&text), &of_text);
        if (e != OK)
            why_set(why, "%s: %s", path, of_text.text);
    }
    buf_fini(&text);
    return e;
}
