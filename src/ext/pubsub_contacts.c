#include "ext/pubsub_contacts.h"
#include "base/arena.h"
#include "base/mem.h"
#include "ext/pubsub_access.h"
#include "ext/pubsub_config.h"
#include "ext/pubsub_op.h"
#include "ext/pubsub_store.h"
#include "home/node.h"
#include "home/worker.h"
#include "im/account.h"
#include "im/roster.h"
#include "im/stage.h"

/* Owners of one node that are asked. */
enum { OWNERS_ASKED_MAX = 32 };

/* Whether a contact is one that the model means, at the home of an owner. */

static bool in_groups(const struct roster_item *item, slice allowed)
{
    slice groups = item == NULL ? (slice){ 0 } : roster_item_groups(item), group;
    while (slice_cut(groups, '\0', &group, &groups))
        if (ps_list_has(allowed, group))
            return true;
    return false;
}

bool ps_in_groups(const struct account *a, slice allowed, slice bare)
{
    return in_groups(roster_find(a->roster, bare), allowed);
}

/* What the owners said. */

struct known {
    slice jid;
    bool yes;
};
struct ps_contacts {
    struct arena *arena; /* holds all of it but the map, and this */
    struct map by_jid;   /* struct known */
    struct known *list;
    uint32_t count;
    bool all;
    /* While homes are asked. They read the list and these. */
    struct worker *worker;
    ps_contacts_fn *done;
    void *arg;
    enum ps_access_model model;
    slice groups;
    unsigned left;
    enum err failed;
};
struct question {
    struct ps_contacts *of;
    slice owner;
    enum err e;
    bool *yes; /* for each of of->list; written at the home of the owner */
};

struct ps_contacts *ps_contacts_create(uint32_t max)
{
    struct arena *arena = arena_create(0);
    struct ps_contacts *c = arena_new(arena, struct ps_contacts, 1);
    c->arena = arena;
    c->list = arena_new(arena, struct known, max + 1);
    map_init(&c->by_jid, map_key_slice);
    return c;
}

struct ps_contacts *ps_contacts_all(void)
{
    struct ps_contacts *c = ps_contacts_create(0);
    c->all = true;
    return c;
}

void ps_contacts_add(struct ps_contacts *c, slice jid)
{
    slice bare = jid_bare_of(jid);
    if (map_get(&c->by_jid, bare) != NULL)
        return;
    struct known *k = &c->list[c->count++];
    k->jid = slice_dup(c->arena, bare);
    map_put(&c->by_jid, k);
}

void ps_contacts_free(struct ps_contacts **pc)
{
    struct ps_contacts *c = *pc;
    *pc = NULL;
    if (c == NULL)
        return;
    map_fini(&c->by_jid);
    struct arena *arena = c->arena;
    arena_destroy(&arena);
}

bool ps_contacts_has(const struct ps_contacts *c, slice bare)
{
    const struct known *k = c == NULL || c->all ? NULL : map_get(&c->by_jid, bare);
    return c != NULL && (c->all || (k != NULL && k->yes));
}

/* Asking. */

static void take_answer(const struct question *q)
{
    struct ps_contacts *c = q->of;
    if (q->e != OK)
        c->failed = q->e;
    for (uint32_t i = 0; q->e == OK && i < c->count; i++)
        c->list[i].yes = c->list[i].yes || q->yes[i];
}

static void answered(struct worker *w, void *arg)
{
    struct ps_contacts *c = ((struct question *)arg)->of;
    (void)w;
    take_answer(arg);
    if (--c->left == 0)
        c->done(c->arg, c->failed == OK ? SE_NONE : stanza_error_of(c->failed));
}

static void account_there(struct account *a, enum err e, void *arg)
{
    struct question *q = arg;
    const struct ps_contacts *c = q->of;
    q->e = e;
    for (uint32_t i = 0; e == OK && a->state == ACTOR_READY && i < c->count; i++) {
        slice bare = c->list[i].jid;
        bool is =
            c->model == PS_PRESENCE ? roster_is_seen(a, bare) : ps_in_groups(a, c->groups, bare);
        q->yes[i] = is && stage_show(a, bare);
    }
    node_call(c->worker->node, c->worker->index, answered, q);
}

static void ask_here(struct worker *w, void *arg)
{
    account_with(w, ((const struct question *)arg)->owner, account_there, arg);
}

/* Only this server knows the rosters of its accounts. */
static bool is_asked(const struct ps_node *n, const struct ps_affiliate *a)
{
    slice local, domain;
    return a->affiliation == PS_OWNER && a->shares &&
           slice_cut((slice){ a->jid, a->len }, '@', &local, &domain) &&
           node_serves(n->service->worker->node, domain);
}

static void ask_owner(struct ps_contacts *c, slice owner)
{
    struct question *q = arena_new(c->arena, struct question, 1);
    uint32_t node;
    *q = (struct question){ .of = c,
                            .owner = slice_dup(c->arena, owner),
                            .yes = arena_new(c->arena, bool, c->count + 1) };
    c->left++;
    node_call(c->worker->node, node_home(c->worker->node, q->owner, &node), ask_here, q);
}

static void none_to_ask(struct worker *w, void *arg)
{
    struct ps_contacts *c = arg;
    (void)w;
    c->done(c->arg, SE_NONE);
}

bool ps_contacts_needed(const struct ps_node *n, const struct ps_config *config)
{
    return n->service->account == NULL &&
           (config->access == PS_PRESENCE || config->access == PS_ROSTER);
}

void ps_contacts_ask(struct ps_contacts *c, const struct ps_node *n, const struct ps_config *config,
                     ps_contacts_fn *done, void *arg)
{
    const struct ps_affiliate *a;
    c->worker = n->service->worker;
    c->done = done;
    c->arg = arg;
    c->model = (enum ps_access_model)config->access;
    c->groups = slice_dup(c->arena, config->text[PS_GROUPS]);
    for (uint32_t i = 0;
         c->count > 0 && c->left < OWNERS_ASKED_MAX && (a = map_next(&n->affiliates, &i)) != NULL;)
        if (is_asked(n, a))
            ask_owner(c, (slice){ a->jid, a->len });
    if (c->left == 0)
        node_call(c->worker->node, c->worker->index, none_to_ask, c);
}

/* Which owners share their contacts. */

/* Whether those of an owner count when `by` has submitted configuration c. */
static bool will_share(const struct ps_node *n, const struct ps_config *c,
                       const struct ps_affiliate *a, slice by)
{
    bool same = n->config.access == c->access &&
                (c->access != PS_ROSTER || slice_eq(n->config.text[PS_GROUPS], c->text[PS_GROUPS]));
    if (a->affiliation != PS_OWNER || !ps_contacts_needed(n, c))
        return false;
    return slice_eq((slice){ a->jid, a->len }, by) || (same && a->shares);
}

void ps_sharing_store(const struct ps_op *op)
{
    const struct ps_affiliate *a;
    for (uint32_t i = 0; (a = map_next(&op->node->affiliates, &i)) != NULL;) {
        bool shares = will_share(op->node, &op->config, a, ps_from_bare(op));
        if (shares != a->shares)
            ps_store_affiliate(op->batch, op->node, (slice){ a->jid, a->len },
                               shares ? PS_OWNER_SHARING : PS_OWNER);
    }
}

void ps_sharing_apply(const struct ps_op *op)
{
    struct ps_affiliate *a;
    for (uint32_t i = 0; (a = map_next(&op->node->affiliates, &i)) != NULL;)
        a->shares = will_share(op->node, &op->config, a, ps_from_bare(op));
}
