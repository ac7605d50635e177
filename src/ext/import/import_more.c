#include "ext/import/import_more.h"
#include "base/arena.h"
#include "base/mem.h"
#include "ext/import/import_group.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

struct more {
    FILE *file;
    struct arena *arena;
    const char *folder, *path;
    struct source_groups *groups;
    uint64_t lines; /* that were read */
};

static slice member_text(const json_t *o, const char *key, struct arena *tmp)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v)
               ? slice_dup(tmp, (slice){ json_string_value(v), json_string_length(v) })
               : SLICE("");
}

/* The texts of a list, in their order. */
static struct source_text *member_list(const json_t *o, const char *key, struct arena *tmp)
{
    struct source_text *list = NULL;
    const json_t *all = json_object_get(o, key);
    for (size_t i = json_array_size(all); i > 0; i--) {
        const json_t *v = json_array_get(all, i - 1);
        struct source_text *t = arena_new(tmp, struct source_text, 1);
        *t = (struct source_text){ list, slice_dup(tmp, (slice){ json_string_value(v),
                                                                 json_string_length(v) }) };
        list = t;
    }
    return list;
}

/* NULL: it is over, or it is wrong: `why` is not empty. */
static json_t *more_line(struct more *m, struct why *why)
{
    json_error_t error;
    int c;
    why->text[0] = '\0';
    while ((c = fgetc(m->file)) == '\n')
        ;
    if (c == EOF && !ferror(m->file))
        return NULL;
    ungetc(c, m->file);
    json_t *o = json_loadf(m->file, JSON_DISABLE_EOF_CHECK, &error);
    m->lines++;
    if (!json_is_object(o)) {
        why_set(why, "%s: line %llu: found no object of JSON: %s", m->path,
                (unsigned long long)m->lines, o == NULL ? error.text : "another value");
        json_decref(o);
        o = NULL;
    }
    return o;
}

enum err more_open(struct more **out, const char *folder, struct source_groups *groups,
                   struct why *why)
{
    struct more *m = mem_new(struct more);
    m->arena = arena_create(0);
    m->groups = groups;
    m->folder = slice_cstr(m->arena, slice_of(folder));
    m->path = arena_printf(m->arena, "%s/more.jsonl", folder);
    m->file = fopen(m->path, "re");
    *out = m;
    if (m->file == NULL) {
        why_set(why, "%s: %s", m->path, strerror(errno));
        return E_IO;
    }
    return OK;
}

void more_close(struct more **m)
{
    if (*m == NULL)
        return;
    if ((*m)->file != NULL)
        fclose((*m)->file);
    arena_destroy(&(*m)->arena);
    mem_free(m);
}

static void more_room(const struct more *m, const json_t *o, struct arena *tmp,
                      struct source_found *out)
{
    slice file = member_text(o, "file", tmp);
    *out = (struct source_found){ .host = member_text(o, "host", tmp),
                                  .name = member_text(o, "name", tmp),
                                  .text = member_text(o, "refused", tmp),
                                  .lost = member_list(o, "lost", tmp) };
    if (out->text.len == 0 &&
        (!slice_starts(file, SLICE("rooms/")) || memmem(file.ptr, file.len, "..", 2) != NULL))
        out->text = SLICE("its file is not in the folder `rooms`");
    out->file = slice_of(arena_printf(tmp, "%s/%.*s", m->folder, SLICE_ARG(file)));
}

static void more_lost(const json_t *o, struct arena *tmp, struct source_found *out)
{
    json_int_t count = json_integer_value(json_object_get(o, "count"));
    slice first = member_text(o, "first", tmp), what = member_text(o, "what", tmp);
    out->count = count > 0 ? (uint64_t)count : 1;
    out->text = slice_of(arena_printf(tmp, "%.*s: %llu%s%.*s", SLICE_ARG(what),
                                      (unsigned long long)out->count,
                                      first.len > 0 ? ", first of " : "", SLICE_ARG(first)));
}

/* false: there are too many. */
static bool more_group(struct source_groups *l, const json_t *o)
{
    slice shown = member_text(o, "shown", l->arena), refused = member_text(o, "refused", l->arena);
    struct source_group *g =
        source_groups_get(l, member_text(o, "name", l->arena), member_text(o, "host", l->arena));
    if (g == NULL)
        return false;
    if (shown.len > 0)
        g->shown = shown;
    if (refused.len > 0)
        g->problem = slice_cstr(l->arena, refused);
    g->to_members |= json_is_true(json_object_get(o, "members"));
    g->to_all |= json_is_true(json_object_get(o, "all"));
    if (json_is_true(json_object_get(o, "domain")))
        source_text_add(l->arena, &g->domains, g->host);
    source_text_append(&g->sees, member_list(o, "sees", l->arena));
    source_text_append(&g->lost, member_list(o, "lost", l->arena));
    return true;
}

static bool more_member(struct source_groups *l, const json_t *o)
{
    struct source_group *g =
        source_groups_get(l, member_text(o, "group", l->arena), member_text(o, "host", l->arena));
    if (g == NULL || l->members++ >= SOURCE_MEMBERS_MAX)
        return false;
    source_text_add(l->arena, &g->members, member_text(o, "jid", l->arena));
    return true;
}

/* SOURCE_USER: it gives nothing. */
static enum source_unit more_take(struct more *m, const json_t *o, struct arena *tmp,
                                  struct source_found *out, struct why *why)
{
    slice type = member_text(o, "type", tmp);
    bool fine = true;
    if (slice_is(type, "room")) {
        more_room(m, o, tmp, out);
        return SOURCE_ROOM;
    }
    if (slice_is(type, "lost")) {
        more_lost(o, tmp, out);
        return SOURCE_LOST;
    }
    if (slice_is(type, "group") || slice_is(type, "member")) {
        fine = slice_is(type, "group") ? more_group(m->groups, o) : more_member(m->groups, o);
        why_set(why, "%s: found more than %d groups or %d members of groups", m->path,
                SOURCE_GROUPS_MAX, SOURCE_MEMBERS_MAX);
    } else {
        out->count = 1;
        out->text =
            slice_of(arena_printf(tmp, "a line of the unknown type \"%.*s\"", SLICE_ARG(type)));
        return SOURCE_LOST;
    }
    return fine ? SOURCE_USER : SOURCE_ERROR;
}

enum source_unit more_next(struct more *m, struct arena *tmp, struct source_found *out,
                           struct why *why)
{
    enum source_unit found = SOURCE_USER;
    while (found == SOURCE_USER) {
        json_t *o = more_line(m, why);
        if (o == NULL && why->text[0] != '\0')
            return SOURCE_ERROR;
        if (o == NULL) {
            source_groups_settle(m->groups);
            return SOURCE_END;
        }
        found = more_take(m, o, tmp, out, why);
        json_decref(o);
    }
    return found;
}
