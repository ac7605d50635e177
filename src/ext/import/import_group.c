#include "ext/import/import_group.h"
#include "base/arena.h"
#include "base/ensure.h"

void source_groups_init(struct source_groups *l, struct arena *arena)
{
    *l = (struct source_groups){ .arena = arena };
    l->last = &l->first;
}

struct source_group *source_groups_add(struct source_groups *l, slice name, slice host)
{
    if (l->count == SOURCE_GROUPS_MAX)
        return NULL;
    struct source_group *g = arena_new(l->arena, struct source_group, 1);
    g->name = slice_dup(l->arena, name);
    g->host = slice_dup(l->arena, host);
    g->shown = g->name;
    *l->last = g;
    l->last = &g->next;
    l->count++;
    return g;
}

static void text_add(struct source_groups *l, struct source_text **list, slice text)
{
    struct source_text *t = arena_new(l->arena, struct source_text, 1);
    ensure(text.len > 0);
    t->text = slice_dup(l->arena, text);
    t->next = *list;
    *list = t;
}

enum err source_group_member(struct source_groups *l, struct source_group *g, slice jid)
{
    if (l->members == SOURCE_MEMBERS_MAX)
        return E_LIMIT;
    l->members++;
    text_add(l, &g->members, jid);
    return OK;
}

void source_group_domain(struct source_groups *l, struct source_group *g, slice domain)
{
    text_add(l, &g->domains, domain);
}

void source_group_to(struct source_groups *l, struct source_group *g,
                     const struct source_group *viewer)
{
    for (const struct source_viewer *v = g->to; v != NULL; v = v->next)
        if (v->group == viewer)
            return;
    struct source_viewer *v = arena_new(l->arena, struct source_viewer, 1);
    *v = (struct source_viewer){ .next = g->to, .group = viewer };
    g->to = v;
}

void source_group_lost(struct source_groups *l, struct source_group *g, const char *what)
{
    struct source_lost *lost = arena_new(l->arena, struct source_lost, 1);
    *lost = (struct source_lost){ .next = g->lost, .what = what };
    g->lost = lost;
}
