#include "ext/import/import_ejabberd_group.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/map.h"

/* A group, and what is not settled before all are known. */
struct ejabberd_group {
    slice key; /* NAME@HOST; first */
    struct source_group *group;
    struct source_text *displayed; /* names of groups whose members its members see */
    struct ejabberd_group *next;
};
struct ejabberd_groups {
    struct ejabberd_reader *r;
    struct source_groups *out;
    struct map by_key;
    struct ejabberd_group *first, **last;
    struct ejabberd_group *now; /* whose rows are read */
    enum err e;
};

static bool option_is(const struct erlang_term *options, const char *name)
{
    return erlang_is(erlang_get(options, name), "true");
}

/* Older versions call the label a name. */
static void take_label(struct ejabberd_groups *x, const struct erlang_term *options)
{
    slice label = erlang_text(erlang_get(options, "label"));
    if (label.len == 0)
        label = erlang_text(erlang_get(options, "name"));
    if (label.len > 0)
        x->now->group->shown = slice_dup(x->out->arena, label);
}

static void take_displayed(struct ejabberd_groups *x, const struct erlang_term *names)
{
    struct arena *arena = x->out->arena;
    for (const struct erlang_term *n = names == NULL ? NULL : names->first; n != NULL;
         n = n->next) {
        struct source_text *t = arena_new(arena, struct source_text, 1);
        t->text = slice_dup(arena, erlang_text(n));
        t->next = x->now->displayed;
        x->now->displayed = t;
    }
}

static void take_group(void *arg, const struct erlang_term *row)
{
    struct ejabberd_groups *x = arg;
    struct source_group *g = x->now->group;
    const struct erlang_term *options = erlang_at(row, 2);
    take_label(x, options);
    take_displayed(x, erlang_get(options, "displayed_groups"));
    if (option_is(options, "disabled"))
        g->problem = "it is disabled";
    if (option_is(options, "all_users"))
        source_group_domain(x->out, g, g->host);
    if (option_is(options, "online_users"))
        source_group_lost(x->out, g,
                          "members by @online@: whoever is online; `group-member add NAME --domain "
                          "DOMAIN` makes all accounts members");
    if (erlang_text(erlang_get(options, "description")).len > 0)
        source_group_lost(x->out, g, "its description");
}

static void take_member(void *arg, const struct erlang_term *row)
{
    struct ejabberd_groups *x = arg;
    struct arena *tmp = arena_create(0);
    slice jid = ejabberd_jid(erlang_at(row, 1), tmp);
    if (jid.len > 0 && x->e == OK)
        x->e = source_group_member(x->out, x->now->group, jid);
    arena_destroy(&tmp);
}

static struct ejabberd_group *group_find(const struct ejabberd_groups *x, slice name, slice host)
{
    struct arena *tmp = arena_create(0);
    struct ejabberd_group *g = map_get(
        &x->by_key, slice_of(arena_printf(tmp, "%.*s@%.*s", SLICE_ARG(name), SLICE_ARG(host))));
    if (g == NULL) /* newer versions also name groups of other hosts: NAME@HOST */
        g = map_get(&x->by_key, name);
    arena_destroy(&tmp);
    return g;
}

/* Who sees it: its members if it displays itself, those of others that do. */
static void groups_settle(struct ejabberd_groups *x)
{
    for (struct ejabberd_group *g = x->first; g != NULL; g = g->next)
        for (const struct source_text *t = g->displayed; t != NULL && g->group->problem == NULL;
             t = t->next) {
            struct ejabberd_group *seen = group_find(x, t->text, g->group->host);
            if (seen == NULL)
                source_group_lost(x->out, g->group,
                                  arena_printf(x->out->arena,
                                               "that its members see the group %.*s, which is not "
                                               "in the file",
                                               SLICE_ARG(t->text)));
            else if (seen == g)
                seen->group->to_members = true;
            else
                source_group_to(x->out, seen->group, g->group);
        }
}

static enum err add_group(struct ejabberd_groups *x, const struct ejabberd_owner *o)
{
    struct ejabberd_group *g = arena_new(x->out->arena, struct ejabberd_group, 1);
    g->group = source_groups_add(x->out, o->name, o->host);
    if (g->group == NULL)
        return E_LIMIT;
    g->key =
        slice_of(arena_printf(x->out->arena, "%.*s@%.*s", SLICE_ARG(o->name), SLICE_ARG(o->host)));
    if (map_get(&x->by_key, g->key) == NULL) /* names with @ may look the same */
        map_put(&x->by_key, g);
    *x->last = g;
    x->last = &g->next;
    x->now = g;
    ejabberd_each(x->r, o, EJABBERD_GROUP, take_group, x);
    ejabberd_each(x->r, o, EJABBERD_MEMBER, take_member, x);
    return x->r->why.text[0] != '\0' ? E_SYNTAX : x->e;
}

enum err ejabberd_groups(struct ejabberd_reader *r, const struct ejabberd_owner *owners,
                         struct source_groups *out)
{
    struct ejabberd_groups x = { .r = r, .out = out };
    enum err e = OK;
    x.last = &x.first;
    map_init(&x.by_key, map_key_slice);
    for (const struct ejabberd_owner *o = owners; o != NULL && e == OK; o = o->next)
        e = add_group(&x, o);
    if (e == E_LIMIT)
        why_set(&r->why, "found more than %d groups or %d members of groups", SOURCE_GROUPS_MAX,
                SOURCE_MEMBERS_MAX);
    groups_settle(&x);
    map_fini(&x.by_key);
    return e;
}
