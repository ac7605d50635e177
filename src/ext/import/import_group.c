#include "ext/import/import_group.h"
#include "base/arena.h"

void source_groups_init(struct source_groups *l, struct arena *arena)
{
    *l = (struct source_groups){ .arena = arena };
    l->last = &l->first;
    map_init(&l->by_key, map_key_slice);
}

void source_groups_fini(struct source_groups *l) { map_fini(&l->by_key); }

static slice group_key(const struct source_groups *l, slice name, slice host)
{
    return slice_of(arena_printf(l->arena, "%.*s@%.*s", SLICE_ARG(name), SLICE_ARG(host)));
}

struct source_group *source_groups_get(struct source_groups *l, slice name, slice host)
{
    slice key = group_key(l, name, host);
    struct source_group *g = map_get(&l->by_key, key);
    if (g != NULL || l->count == SOURCE_GROUPS_MAX)
        return g;
    g = arena_new(l->arena, struct source_group, 1);
    *g = (struct source_group){ .key = key, .name = name, .host = host, .shown = name };
    map_put(&l->by_key, g);
    *l->last = g;
    l->last = &g->next;
    l->count++;
    return g;
}

void source_text_add(struct arena *arena, struct source_text **list, slice text)
{
    struct source_text *t = arena_new(arena, struct source_text, 1);
    *t = (struct source_text){ *list, text };
    *list = t;
}

void source_text_append(struct source_text **list, struct source_text *more)
{
    while (*list != NULL)
        list = &(*list)->next;
    *list = more;
}

/* Once, however often it is named. */
static void group_seen_by(struct arena *arena, struct source_group *g,
                          const struct source_group *viewer)
{
    for (const struct source_viewer *v = g->to; v != NULL; v = v->next)
        if (v->group == viewer)
            return;
    struct source_viewer *v = arena_new(arena, struct source_viewer, 1);
    *v = (struct source_viewer){ .next = g->to, .group = viewer };
    g->to = v;
}

/* Newer versions of ejabberd also name groups of other hosts: NAME@HOST. */
void source_groups_settle(struct source_groups *l)
{
    for (struct source_group *g = l->first; g != NULL; g = g->next)
        for (const struct source_text *t = g->sees; t != NULL && g->problem == NULL; t = t->next) {
            struct source_group *seen = map_get(&l->by_key, group_key(l, t->text, g->host));
            if (seen == NULL)
                seen = map_get(&l->by_key, t->text);
            if (seen == NULL)
                source_text_add(
                    l->arena, &g->lost,
                    slice_of(arena_printf(
                        l->arena, "that its members see the group %.*s, which is not in the file",
                        SLICE_ARG(t->text))));
            else if (seen == g)
                g->to_members = true;
            else
                group_seen_by(l->arena, seen, g);
        }
}
