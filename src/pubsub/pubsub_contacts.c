#include "pubsub/pubsub_contacts.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/stage.h"
#include "home/here.h"
#include "home/jids.h"
#include "home/node.h"
#include "home/question.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "pubsub/pubsub_store.h"

/* Owners of one node that are asked. */
enum { OWNERS_ASKED_MAX = 32 };

/* Whether a contact is one that the model means, at the home of an owner. */

enum { FEW_GROUPS = 4 };

/* The contact has many groups: a map finds each entry of the list. */
static bool has_one_of(slice allowed, slice groups, unsigned count, struct arena *tmp)
{
    slice *each = arena_new(tmp, slice, count), one;
    struct map wanted;
    bool found = false;
    map_init(&wanted, map_key_slice);
    for (unsigned i = 0; i < count; i++) {
        (void)slice_cut(groups, '\0', &each[i], &groups);
        if (map_get(&wanted, each[i]) == NULL)
            map_put(&wanted, &each[i]);
    }
    while (!found && slice_cut(allowed, '\t', &one, &allowed))
        found = map_get(&wanted, one) != NULL;
    map_fini(&wanted);
    return found;
}

static bool is_in_groups(const struct account *a, slice allowed, slice bare)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    slice groups = roster_groups(a, bare, tmp), group;
    unsigned count = 0;
    for (slice rest = groups; slice_cut(rest, '\0', &group, &rest);)
        count++;
    if (count > FEW_GROUPS)
        return has_one_of(allowed, groups, count, tmp);
    while (slice_cut(groups, '\0', &group, &groups))
        if (ps_list_has(allowed, group))
            return true;
    return false;
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
    /* While homes are asked. */
    struct loop_defer nobody; /* there is nobody to ask */
    ps_contacts_fn *done;
    void *arg;
    unsigned left;
    enum err failed;
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

static bool contacts_has(const struct ps_contacts *c, slice bare)
{
    const struct known *k = c == NULL || c->all ? NULL : map_get(&c->by_jid, bare);
    return c != NULL && (c->all || (k != NULL && k->yes));
}

/* At the home of an owner: which of these addresses are contacts. */

struct contacts_asked {
    slice owner, groups, jids; /* jids: home/jids.h */
    uint8_t model;             /* enum ps_access_model */
};

struct contacts_told {
    uint8_t err;
    slice yes; /* a byte for each address, 0 or 1; none if err */
};
static const struct message_field contacts_told_fields[] = {
    F_ERR(struct contacts_told, err),
    F_BYTES(struct contacts_told, yes, UINT32_MAX),
    { 0 },
};
static const struct message_row contacts_told_message = {
    .id = 42,
    .scope = MESSAGE_CLUSTER,
    .name = "contacts-told",
    .size = sizeof(struct contacts_told),
    .fields = contacts_told_fields,
};

/* While the account is loaded. */
struct looking {
    struct arena *arena; /* of it */
    struct worker *worker;
    struct contacts_asked asked;
    struct message_from from;
};

static void look_through(const struct account *a, const struct contacts_asked *asked,
                         struct buf *yes)
{
    slice rest = asked->jids, jid;
    uint32_t number;
    while (jids_next(&rest, &jid, &number)) {
        bool is = asked->model == PS_PRESENCE ? roster_is_seen(a, jid)
                                              : is_in_groups(a, asked->groups, jid);
        char byte = is && stage_show(a, jid);
        buf_append(yes, &byte, 1);
    }
}

static void account_there(struct account *a, enum err e, void *arg)
{
    struct looking *l = arg;
    struct arena *arena = l->arena;
    struct worker *w = l->worker;
    struct buf yes;
    ensure(account_here(a));
    buf_init(&yes, SIZE_MAX / 8);
    if (e == OK && a->state == ACTOR_READY)
        look_through(a, &l->asked, &yes);
    question_answer(w, &l->from, &contacts_told_message,
                    &(struct contacts_told){ (uint8_t)e, buf_fit(&yes) });
    question_end(w, &l->from);
    buf_fini(&yes);
    arena_destroy(&arena);
}

static void contacts_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct contacts_asked *asked = message;
    struct arena *arena = arena_create(0);
    struct looking *l = arena_new(arena, struct looking, 1);
    *l = (struct looking){ arena,
                           w,
                           { slice_dup(arena, asked->owner), slice_dup(arena, asked->groups),
                             slice_dup(arena, asked->jids), asked->model },
                           *from };
    account_with(w, l->asked.owner, account_there, l);
}

static const struct message_field contacts_asked_fields[] = {
    F_BARE(struct contacts_asked, owner),
    F_BYTES(struct contacts_asked, groups, UINT32_MAX),
    F_JIDS(struct contacts_asked, jids),
    F_U8(struct contacts_asked, model, PS_ROSTER),
    { 0 },
};
static const struct message_row contacts_asked_message = {
    .id = 41,
    .scope = MESSAGE_CLUSTER,
    .name = "contacts-asked",
    .size = sizeof(struct contacts_asked),
    .fields = contacts_asked_fields,
    .run = contacts_asked_run,
    .answer = &contacts_told_message,
    .later = true,
};
const struct message_row *const ps_contacts_messages[] = { &contacts_asked_message,
                                                           &contacts_told_message, NULL };

/* Asking. */

static void contacts_heard(struct worker *w, void *arg, void *answer,
                           const struct message_from *from)
{
    const struct contacts_told *told = answer;
    struct ps_contacts *c = arg;
    (void)w, (void)from;
    if (told->err != OK)
        c->failed = told->err;
    for (uint32_t i = 0; i < c->count && i < told->yes.len; i++)
        c->list[i].yes = c->list[i].yes || told->yes.ptr[i] == 1;
}

static void owner_answered(struct worker *w, void *arg)
{
    struct ps_contacts *c = arg;
    (void)w;
    ensure(c->left > 0);
    if (--c->left == 0)
        c->done(c->arg, c->failed == OK ? SE_NONE : stanza_error_of(c->failed));
}

/* Only this server knows the rosters of its accounts. */
static bool pubsub_contacts_is_asked(const struct ps_node *n, const struct ps_affiliate *a)
{
    slice local, domain;
    return a->affiliation == PS_OWNER && a->shares &&
           slice_cut((slice){ a->jid, a->len }, '@', &local, &domain) &&
           node_serves(worker_node(n->service->worker), domain);
}

static void none_to_ask(struct loop_defer *d)
{
    struct ps_contacts *c = CONTAINER_OF(d, struct ps_contacts, nobody);
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
    struct worker *w = n->service->worker;
    struct contacts_asked asked = { .groups = config->text[PS_GROUPS], .model = config->access };
    const struct ps_affiliate *a;
    struct buf jids;
    c->done = done;
    c->arg = arg;
    buf_init(&jids, SIZE_MAX / 8);
    for (uint32_t i = 0; i < c->count; i++)
        jids_add(&jids, c->list[i].jid, i);
    asked.jids = buf_fit(&jids);
    for (uint32_t i = 0; c->count > 0 && c->left < OWNERS_ASKED_MAX &&
                         (a = map_next(&n->affiliates, &i)) != NULL;) {
        if (!pubsub_contacts_is_asked(n, a))
            continue;
        c->left++;
        asked.owner = (slice){ a->jid, a->len };
        home_ask(w, asked.owner, &contacts_asked_message, &asked,
                 &(struct asker){ .gather = contacts_heard, .done = owner_answered, .arg = c });
    }
    buf_fini(&jids);
    c->nobody.fn = none_to_ask;
    if (c->left == 0)
        loop_defer(worker_loop(w), &c->nobody);
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

void ps_sharing_store(struct store_batch *b, const struct ps_node *n, const struct ps_config *c,
                      slice by)
{
    const struct ps_affiliate *a;
    for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;) {
        bool shares = will_share(n, c, a, by);
        if (shares != a->shares)
            ps_store_affiliate(b, n, (slice){ a->jid, a->len },
                               shares ? PS_OWNER_SHARING : PS_OWNER);
    }
}

void ps_sharing_apply(const struct ps_node *n, const struct ps_config *c, slice by)
{
    struct ps_affiliate *a;
    for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;)
        a->shares = will_share(n, c, a, by);
}

/* What somebody is to a node. */

struct ps_actor ps_actor_of(const struct ps_node *n, slice from)
{
    const struct ps_service *s = n->service;
    slice bare = jid_bare_of(from);
    const struct ps_affiliate *a = ps_affiliate(n, bare);
    const struct ps_subscriber *sub = ps_subscriber(n, bare);
    struct ps_actor who = { .affiliation = a == NULL ? PS_NONE : a->affiliation };
    if (sub == NULL)
        sub = ps_subscriber(n, from);
    if (sub != NULL)
        who.state = sub->state;
    if (s->account == NULL) {
        who.presence = who.in_group = contacts_has(n->contacts, bare);
        return who;
    }
    if (slice_eq(bare, s->jid)) {
        who.affiliation = PS_OWNER;
        who.may_configure = true;
        return who;
    }
    who.presence = roster_is_seen(s->account, bare) && stage_show(s->account, bare);
    if (n->config.access == PS_ROSTER)
        who.in_group = is_in_groups(s->account, n->config.text[PS_GROUPS], bare);
    return who;
}
