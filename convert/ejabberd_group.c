#include "base/arena.h"
#include "convert/ejabberd_rows.h"

struct ejabberd_group {
    struct ejabberd_reader *r;
    const struct ejabberd_owner *owner;
    struct text_list *lost;
};

static void group_lost(struct ejabberd_group *g, const char *what)
{
    struct text_list *l = arena_new(g->r->tmp, struct text_list, 1);
    *l = (struct text_list){ .next = g->lost, .text = slice_of(what) };
    g->lost = l;
}

/* Older versions call the label a name. */
static slice label_of(const struct erlang_term *options)
{
    slice label = erlang_text(erlang_get(options, "label"));
    return label.len > 0 ? label : erlang_text(erlang_get(options, "name"));
}

/* Groups that its members see. */
static struct text_list *displayed_of(struct ejabberd_group *g, const struct erlang_term *options)
{
    struct text_list *list = NULL;
    EJABBERD_TEXTS_EACH(g->r, t, erlang_get(options, "displayed_groups"),
                        "names of groups of an unknown form")
    {
        struct text_list *l = arena_new(g->r->tmp, struct text_list, 1);
        *l = (struct text_list){ .next = list, .text = t->text };
        list = l;
    }
    return list;
}

static void group_options_lost(struct ejabberd_group *g, const struct erlang_term *options)
{
    static const char *const read[] = { "label",     "name",         "displayed_groups", "disabled",
                                        "all_users", "online_users", "description" };
    if (erlang_is(erlang_get(options, "online_users"), "true"))
        group_lost(g, "members by @online@: whoever is online; `group-member add NAME --domain "
                      "DOMAIN` makes all accounts members");
    if (erlang_text(erlang_get(options, "description")).len > 0)
        group_lost(g, "its description");
    for (const struct erlang_term *t = erlang_at(options, 0); t != NULL; t = t->next) {
        slice name = erlang_word(erlang_at(t, 0));
        size_t i = 0;
        while (i < sizeof read / sizeof read[0] && !slice_is(name, read[i]))
            i++;
        if (i == sizeof read / sizeof read[0] || erlang_count(t) != 2)
            group_lost(g, arena_printf(g->r->tmp, "its option %.*s", SLICE_ARG(name)));
    }
}

static void take_group(void *arg, const struct erlang_term *row)
{
    struct ejabberd_group *g = arg;
    struct output *o = g->r->dump->output;
    const struct erlang_term *options = erlang_at(row, 2);
    output_line(o, "group");
    output_put(o, "name", g->owner->name);
    output_put(o, "host", g->owner->host);
    output_put(o, "shown", label_of(options));
    output_list(o, "sees", displayed_of(g, options));
    output_flag(o, "domain", erlang_is(erlang_get(options, "all_users"), "true"));
    if (erlang_is(erlang_get(options, "disabled"), "true"))
        output_put(o, "refused", SLICE("it is disabled"));
    group_options_lost(g, options);
    output_list(o, "lost", g->lost);
    output_end(o);
}

static void take_member(void *arg, const struct erlang_term *row)
{
    struct ejabberd_group *g = arg;
    struct output *o = g->r->dump->output;
    struct arena *tmp = arena_create(0);
    output_line(o, "member");
    output_put(o, "group", g->owner->name);
    output_put(o, "host", g->owner->host);
    output_put(o, "jid", ejabberd_jid(erlang_at(row, 1), tmp));
    output_end(o);
    arena_destroy(&tmp);
}

void ejabberd_group(struct ejabberd_reader *r, const struct ejabberd_owner *owner)
{
    struct ejabberd_group g = { .r = r, .owner = owner };
    ejabberd_each(r, owner, EJABBERD_GROUP, take_group, &g);
    ejabberd_each(r, owner, EJABBERD_MEMBER, take_member, &g);
    r->dump->output->groups++;
}
