#include "ext/import/import_prosody_group.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/utf8.h"
#include "base/whole_file.h"

enum { QUOTED_MAX = 100 };

struct prosody_group {
    slice name; /* first */
    struct source_group *group;
    uint32_t nicknames;
    struct prosody_group *next;
};
struct prosody_groups {
    struct source_groups *out;
    struct map by_name;
    struct prosody_group *first, **last;
    struct prosody_group *now; /* NULL: no line has begun one */
    struct why *why;           /* of the line */
};

static slice trim(slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static enum err begin_group(struct prosody_groups *x, slice name)
{
    struct prosody_group *g = map_get(&x->by_name, name);
    ensure(name.len > 0);
    if (g == NULL) {
        struct source_group *made = source_groups_add(x->out, name, (slice){ 0 });
        if (made == NULL)
            return E_LIMIT;
        made->to_members = true;
        g = arena_new(x->out->arena, struct prosody_group, 1);
        g->name = made->name;
        g->group = made;
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
    if (e == OK && is_public) {
        x->now->group->to_all = true;
        x->now->group->to_members = false;
    }
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
    if (e != OK)
        return e;
    x->now->nicknames += trim(nickname).len > 0;
    return source_group_member(x->out, x->now->group, member);
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

static void tell_nicknames(struct prosody_groups *x)
{
    for (const struct prosody_group *g = x->first; g != NULL; g = g->next)
        if (g->nicknames > 0)
            source_group_lost(x->out, g->group,
                              arena_printf(x->out->arena,
                                           "nicknames of members: %u; contacts have the names of "
                                           "profiles here",
                                           g->nicknames));
}

enum err prosody_groups_read(struct source_groups *out, slice text, struct why *why)
{
    struct why of_line;
    struct prosody_groups x = { .out = out, .why = &of_line };
    unsigned long long number = 0;
    enum err e = OK;
    x.last = &x.first;
    map_init(&x.by_name, map_key_slice);
    for (slice line; text.len > 0 && e == OK;) {
        (void)slice_cut(text, '\n', &line, &text);
        number++;
        e = take_line(&x, line);
    }
    tell_nicknames(&x);
    map_fini(&x.by_name);
    if (e == E_SYNTAX)
        why_set(why, "line %llu: %s", number, of_line.text);
    else if (e == E_LIMIT)
        why_set(why, "found more than %d groups or %d members of groups", SOURCE_GROUPS_MAX,
                SOURCE_MEMBERS_MAX);
    return e;
}

enum err prosody_groups_file(struct source_groups *out, const char *path, struct why *why)
{
    struct buf text;
    struct why of_text;
    buf_init(&text, PROSODY_GROUPS_BYTES_MAX);
    enum err e = whole_file_read(&text, path, why);
    if (e == OK) {
        e = prosody_groups_read(out, buf_fit(&text), &of_text);
        if (e != OK)
            why_set(why, "%s: %s", path, of_text.text);
    }
    buf_fini(&text);
    return e;
}
