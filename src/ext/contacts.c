/* contacts: contact lists in the hands of an operator: shown, added to in bulk, and contacts
 * removed. (Groups of users: ext/contacts_group.c.) What does not fit any more is left out, and the
 * answer says so; the rest is one change.
 *
 * Limits: ADD_MAX contacts a command; roster.contacts-max, roster.watchers-max, roster.groups-max.
 */
#include "ext/contacts.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/first_few.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/router.h"
#include "ops/users.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/roster_iq.h"
#include "presence/roster_out.h"
#include "presence/subscription.h"
#include <assert.h>

enum { ADD_MAX = 1000 };

struct task {
    struct command_call *call;
    slice bare;
    account_fn *fn;
    bool reads; /* fn is for a disabled account as well, which has no roster in memory */
    void *arg;  /* of fn, if it needs more */
};

static void contacts_loaded(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    ensure(account_here(a) && t->fn != NULL);
    if (!users_there(t->call, a, e))
        return;
    if (a->disabled && !t->reads)
        users_fail_disabled(t->call, t->bare);
    else
        t->fn(a, OK, t);
}

static void contacts_run(struct command_call *call, account_fn *fn, bool reads, void *arg)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){
        .call = call, .bare = command_arg(call, "jid"), .fn = fn, .reads = reads, .arg = arg
    };
    account_with(call->worker, t->bare, contacts_loaded, t);
}

/* contact list */

static const char *groups_text(const struct roster_item *item, struct arena *arena)
{
    slice groups = roster_item_groups(item), group;
    const char *text = "";
    while (slice_cut(groups, '\0', &group, &groups))
        text = arena_printf(arena, "%s%s%.*s", text, *text == '\0' ? "" : ", ", SLICE_ARG(group));
    return text;
}

static void list_roster(struct task *t, const struct roster *r)
{
    struct command_call *call = t->call;
    struct buf xml;
    struct xml_write x;
    struct first_few page;
    users_page_begin(&page, call);
    for (uint32_t i = 0; r != NULL && i < r->count; i++)
        if ((r->items[i]->flags & ROSTER_LISTED) != 0)
            first_few_add(&page, roster_item_jid(r->items[i]), r->items[i]);
    first_few_sort(&page);
    xml_begin(&x, &xml, XML_PART_MAX);
    for (uint32_t i = 0; i < users_page_count(call, &page); i++) {
        const struct roster_item *item = page.item[i].of;
        command_row(call);
        command_text(call, "owner", t->bare);
        command_text(call, "jid", slice_dup(call->arena, roster_item_jid(item)));
        command_text(call, "name", slice_dup(call->arena, roster_item_name(item)));
        command_text(call, "subscription", slice_of(sub_state_subscription(item->state)));
        command_bool(call, "ask", sub_state_ask(item->state) != 0);
        command_text(call, "groups", slice_of(groups_text(item, call->arena)));
        buf_clear(&xml);
        roster_item_write(&x, item);
        command_text(call, "item", buf_fit(&xml)); /* as clients get it */
    }
    buf_fini(&xml);
    users_page_done(call, &page);
}

static void roster_found(void *arg, enum err e, const struct roster *r)
{
    struct task *t = arg;
    if (e != OK)
        command_fail(t->call, e, "%.*s: %s", SLICE_ARG(t->bare), err_text(e));
    else
        list_roster(t, r);
}

static void contacts_list(struct account *a, enum err e, void *arg)
{
    struct task *t = arg;
    (void)e;
    ensure(account_here(a));
    if (a->disabled)
        roster_read(a->worker, t->bare, roster_found, t);
    else
        list_roster(t, a->roster);
}

static void contacts_run_list(struct command_call *call)
{
    contacts_run(call, contacts_list, true, NULL);
}

/* contact add */

static struct store_stmt stmt_shows = {
    /* whether the list of $1 says that $2 sees it */
    .name = "contacts.shows",
    .sql = "SELECT count(*) FROM roster JOIN account ON account.id = roster.owner "
           "WHERE account.jid = $1 AND roster.jid = $2 AND roster.state IN (6, 7, 8)",
    .params = "tt",
    .cols = "i",
};

struct addition {
    slice jid;
    const char *result;
    const struct addition *first; /* it names the same contact; NULL: none */
    int looked;                   /* number of the statement that looks for its account; -1: none */
    int shown;                    /* of the one that looks into its list; -1: none */
    bool one_sided;               /* its list does not have what the user's says that it sees */
    bool is_new;                  /* it was not listed */
    bool done;                    /* the contact is as the command asks, or would be */
    bool approves;                /* lets it see the user, now or ahead */
    bool changes;                 /* delta is to be applied */
    struct roster_delta delta;
    struct stanza *word[2]; /* to the contact: `subscribed`, `subscribe`; NULL: none */
};
struct add {
    struct actor_change base; /* first; all of it is in the arena of the call */
    struct command_call *call;
    struct addition *items;
    uint32_t count;
    slice groups;                     /* one, ended by a NUL; or none */
    int64_t list_left, watchers_left; /* how many more may be listed, and may see the user */
};

/* Statements for each contact that is new, approved and asked: its item, two words, its account;
 * and one for the versions of the roster. */
static_assert(4 * ADD_MAX + 1 <= STORE_PARTS_MAX, "all is one change");

static bool contacts_is_listed(const struct roster *r, slice jid)
{
    const struct roster_item *item = roster_find(r, jid);
    return item != NULL && (item->flags & ROSTER_LISTED) != 0;
}

static bool contacts_has_group(slice groups, slice group)
{
    slice one;
    while (slice_cut(groups, '\0', &one, &groups)) {
        if (slice_eq(one, (slice){ group.ptr, group.len - 1 })) /* without its NUL */
            return true;
    }
    return false;
}

/* Those who see the user, wait for that, or were approved ahead. */
static int64_t contacts_watchers(const struct roster *r)
{
    int64_t count = r == NULL ? 0 : (int64_t)r->seen + r->pending;
    for (uint32_t i = r == NULL ? 0 : r->seen; r != NULL && i < r->count; i++)
        count += (r->items[i]->flags & ROSTER_PREAPPROVED) != 0 &&
                 !sub_state_pending_in(r->items[i]->state);
    return count;
}

/* The group beside those that the contact is in. */
enum joining { JOINS_NOT, JOINS, JOINS_TOO_MANY };
static enum joining join_group(const struct add *add, struct addition *item)
{
    slice had = item->delta.groups, one, rest = had;
    int64_t count = 0;
    while (slice_cut(rest, '\0', &one, &rest))
        count++;
    if (add->groups.len == 0 || contacts_has_group(had, add->groups))
        return JOINS_NOT;
    if (count >= setting_int(&roster_groups_max))
        return JOINS_TOO_MANY;
    char *both = arena_alloc_raw(add->call->arena, had.len + add->groups.len);
    if (had.len > 0)
        memcpy(both, had.ptr, had.len);
    memcpy(both + had.len, add->groups.ptr, add->groups.len);
    item->delta.groups = (slice){ both, had.len + add->groups.len };
    return JOINS;
}

/* RFC 6121 §3.1.2, §3.1.5: what the contact is told goes out with the change, in the same
 * transaction; an approval ahead of the request (§3.4.2) is only noted. */
static void contacts_tell(const struct add *add, struct addition *item, enum sub_verb verb,
                          unsigned nth)
{
    const struct account *a = account_of(add->base.actor);
    bool approved = (item->delta.flags & ROSTER_PREAPPROVED) != 0;
    struct sub_result result = sub_next((enum sub_state)item->delta.state, approved, verb, SUB_OUT);
    item->delta.state = (uint8_t)result.state;
    if ((result.actions & SUB_SET_PREAPPROVED) != 0)
        item->delta.flags |= ROSTER_PREAPPROVED;
    if ((result.actions & SUB_ROUTE) != 0 && !command_flag(add->call, "dry_run"))
        item->word[nth] = subscription_stanza(a, item->jid, verb);
}

/* The change in words: "there already; put into the group, approved and asked". */
static const char *contacts_said(const struct add *add, const struct addition *item,
                                 enum joining joins, bool approves, bool asks)
{
    const char *part[3], *text = "there already";
    unsigned count = 0;
    if (joins == JOINS)
        part[count++] = "put into the group";
    if (approves)
        part[count++] = "approved";
    if (asks)
        part[count++] = "asked";
    for (unsigned i = 0; i < count; i++)
        text = arena_printf(add->call->arena, "%s%s%s", text,
                            i == 0           ? "; "
                            : i == count - 1 ? " and "
                                             : ", ",
                            part[i]);
    if (joins == JOINS_TOO_MANY)
        text =
            arena_printf(add->call->arena, "%s; not put into the group: roster.groups-max (%lld)",
                         text, (long long)setting_int(&roster_groups_max));
    return item->is_new ? "added" : text;
}

/* Whether one more contact may be listed, or may see the user. If not, the result says so. */
static bool contacts_fits(const struct add *add, struct addition *item, bool approves)
{
    if (item->is_new && add->list_left <= 0)
        item->result = "roster.contacts-max is reached";
    else if (approves && add->watchers_left <= 0 && !sub_state_pending_in(item->delta.state))
        item->result = "roster.watchers-max is reached";
    return item->result == NULL;
}

/* A request that waits is repeated: the contact had perhaps blocked the user, or is another account
 * by now. So is that for a subscription which the contact's own list does not have, as after a part
 * of a backup was played back. */
static bool contacts_must_ask(const struct add *add, const struct addition *item)
{
    return command_flag(add->call, "subscribe") &&
           (!sub_sees((enum sub_state)item->delta.state) || item->one_sided);
}

/* Each change is made as if those before it were there: their versions follow each other. */
static void plan(struct add *add, struct addition *item, uint32_t nth)
{
    struct account *a = account_of(add->base.actor);
    item->delta = roster_edit(a->roster, item->jid);
    enum sub_state state = (enum sub_state)item->delta.state;
    bool asks = contacts_must_ask(add, item);
    bool approves = command_flag(add->call, "approve") && !sub_is_seen(state) &&
                    (sub_state_pending_in(state) || (item->delta.flags & ROSTER_PREAPPROVED) == 0);
    item->is_new = !contacts_is_listed(a->roster, item->jid);
    if (!contacts_fits(add, item, approves))
        return;
    enum joining joins = join_group(add, item);
    item->done = joins != JOINS_TOO_MANY;
    item->approves = approves;
    item->result = contacts_said(add, item, joins, approves, asks);
    item->changes = item->is_new || joins == JOINS || approves ||
                    (asks && !sub_sees(state) && !sub_state_ask(state));
    add->list_left -= item->is_new;
    add->watchers_left -= approves && !sub_state_pending_in(state);
    item->delta.flags |= ROSTER_LISTED;
    if (approves)
        contacts_tell(add, item, SUB_SUBSCRIBED, 0);
    if (asks)
        contacts_tell(add, item, SUB_SUBSCRIBE, 1);
    if (!item->changes) /* asks once more */
        return;
    roster_seal(a->roster, &item->delta, ROSTER_SHOWN);
    item->delta.version += nth;
    item->delta.item_version = item->delta.version;
}

/* STORE_CONFLICT: an account of somebody who is approved was deleted meanwhile. The approval would
 * be for the next holder of the address. */
static void contacts_store(struct add *add)
{
    const struct account *a = account_of(add->base.actor);
    struct store_batch *b = store_write(worker_store(a->worker), account_lane(a));
    const struct addition *last = NULL;
    add->base.batch = b;
    for (uint32_t i = 0; i < add->count; i++) {
        const struct addition *item = &add->items[i];
        if (item->changes)
            roster_item_store(b, a->id, &item->delta);
        for (unsigned n = 0; n < 2; n++)
            if (item->word[n] != NULL)
                subscription_announce(b, a, item->word[n]);
        if (item->approves && item->looked >= 0)
            roster_out_add_settled(b, item->jid, a->jid);
        last = item->changes ? item : last;
    }
    if (last != NULL)
        roster_versions_store(b, a->id, &last->delta);
}

static enum err add_prepare(struct actor_change *base)
{
    struct add *add = (struct add *)base;
    struct account *a = account_of(base->actor);
    uint32_t changes = 0, says = 0;
    ensure(base->batch == NULL);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    add->list_left = setting_int(&roster_contacts_max) - (int64_t)roster_count(a);
    add->watchers_left = setting_int(&roster_watchers_max) - contacts_watchers(a->roster);
    for (uint32_t i = 0; i < add->count; i++) {
        struct addition *item = &add->items[i];
        if (item->result == NULL && slice_eq(item->jid, a->jid))
            item->result = "the user's own address";
        if (item->result == NULL)
            plan(add, item, changes);
        if (item->first != NULL)
            item->done = item->first->done;
        changes += item->changes;
        says += item->changes || item->word[1] != NULL;
    }
    if (says > 0 && !command_flag(add->call, "dry_run"))
        contacts_store(add);
    return OK;
}

/* It is committed. */
static void contacts_commit(struct account *a, struct addition *item)
{
    bool shows = item->word[0] != NULL && !roster_out_confirms(account_node(a), item->jid);
    presence_look(a, item->jid);
    if (item->changes)
        roster_commit(a, &item->delta, ROSTER_SHOWN);
    for (unsigned i = 0; i < 2; i++) {
        if (item->word[i] != NULL)
            subscription_send(a, item->word[i]);
        item->word[i] = NULL;
    }
    if (shows) /* an account of ours asks for it itself */
        presence_show(a, item->jid);
}

static void contacts_row(struct command_call *call, const struct addition *item, enum err e)
{
    command_row(call);
    command_text(call, "jid", item->jid);
    command_text(call, "result", slice_of(e == OK ? item->result : "not added"));
    command_bool(call, "done", e == OK && item->done);
}

static void add_apply(struct actor_change *base, enum err e)
{
    struct add *add = (struct add *)base;
    struct account *a = account_of(base->actor);
    struct command_call *call = add->call;
    uint32_t added = 0, changed = 0;
    bool dry = command_flag(call, "dry_run");
    ensure(account_here(a) && account_is_pinned(a));
    for (uint32_t i = 0; i < add->count; i++) {
        struct addition *item = &add->items[i];
        if (e == OK && item->changes) {
            added += item->is_new;
            changed += !item->is_new;
        }
        if (e == OK && !dry && (item->changes || item->word[1] != NULL))
            contacts_commit(a, item);
        stanza_unref(&item->word[0]);
        stanza_unref(&item->word[1]);
        contacts_row(call, item, e);
    }
    if (e == E_CONFLICT && command_flag(call, "approve"))
        command_fail(call, e,
                     "the account of a contact was deleted or replaced meanwhile, or there is "
                     "too much to change at once");
    else if (e != OK)
        users_fail_cause(call, a->jid, e);
    else if (dry)
        command_done(call, "contacts that would be added: %u of %u, changed: %u", added, add->count,
                     changed);
    else
        command_done(call, "contacts added: %u of %u, changed: %u", added, add->count, changed);
}

static const struct addition *named_before(const struct add *add, slice jid)
{
    for (uint32_t i = 0; i < add->count; i++)
        if (slice_eq(add->items[i].jid, jid))
            return &add->items[i];
    return NULL;
}

static const char *contacts_bad_address(slice text)
{
    bool separated = memchr(text.ptr, ',', text.len) != NULL ||
                     memchr(text.ptr, '\n', text.len) != NULL ||
                     memchr(text.ptr, '\t', text.len) != NULL;
    return separated ? "not an address; addresses are separated by spaces" : "not an address";
}

/* A list of addresses with spaces between. false: the call has failed. */
static bool parse_contacts(struct add *add, slice text)
{
    struct command_call *call = add->call;
    struct jid jid;
    slice one;
    add->items = arena_new(call->arena, struct addition, ADD_MAX);
    while (slice_word(&text, &one)) {
        if (add->count == ADD_MAX) {
            command_fail(call, E_LIMIT, "found too many contacts, allowed: %d for each command",
                         ADD_MAX);
            return false;
        }
        struct addition *item = &add->items[add->count];
        *item = (struct addition){ .jid = one };
        bool fine = jid_parse(&jid, one, call->arena) == OK;
        if (fine)
            item->jid = jid_bare(&jid);
        item->looked = item->shown = -1;
        item->first = fine ? named_before(add, item->jid) : NULL;
        item->result = !fine                 ? contacts_bad_address(one)
                       : item->first != NULL ? "named twice"
                                             : NULL;
        add->count++;
    }
    if (add->count > 0)
        return true;
    command_fail(call, E_SYNTAX, "contacts: found none, allowed: addresses separated by spaces");
    return false;
}

static void contacts_add(struct account *a, enum err e, void *arg)
{
    struct add *add = ((struct task *)arg)->arg;
    ensure(e == OK && account_here(a));
    account_change(a, &add->base);
}

/* Whether its account, if it has one, is in this database. */
static bool contacts_is_in_reach(const struct add *add, const struct addition *item)
{
    const struct node *n = worker_node(add->call->worker);
    return item->result == NULL && roster_out_confirms(n, item->jid) &&
           roster_out_knows(n, item->jid);
}

static void contacts_known(void *arg, enum store_result result, const struct store_batch *b)
{
    struct add *add = arg;
    if (result != STORE_OK) {
        command_fail_cause(add->call, err_of_store(result), "the accounts could not be read");
        return;
    }
    for (uint32_t i = 0; i < add->count; i++) {
        struct addition *item = &add->items[i];
        if (item->looked >= 0)
            item->result = roster_out_settled_text(b, (unsigned)item->looked);
        item->one_sided = item->shown >= 0 && store_int(b, (unsigned)item->shown, 0, 0) == 0;
    }
    contacts_run(add->call, contacts_add, false, add);
}

static void contacts_run_add(struct command_call *call)
{
    slice group = command_arg(call, "group");
    struct add *add = arena_new(call->arena, struct add, 1);
    *add = (struct add){ .base = { .prepare = add_prepare, .apply = add_apply }, .call = call };
    if (group.len > (size_t)setting_int(&roster_name_bytes)) {
        command_fail(call, E_LIMIT, "the name of the group is longer than roster.name-bytes");
        return;
    }
    if (!parse_contacts(add, command_arg(call, "contacts")))
        return;
    if (group.len > 0) /* its NUL too */
        add->groups = (slice){ slice_cstr(call->arena, group), group.len + 1 };
    struct worker *w = call->worker;
    struct store_batch *b = store_read(worker_store(w), 0);
    for (uint32_t i = 0, n = 0; i < add->count; i++) {
        struct addition *item = &add->items[i];
        if (!contacts_is_in_reach(add, item))
            continue;
        if (command_flag(call, "approve")) { /* it must be there */
            roster_out_look(b, item->jid, command_arg(call, "jid"));
            item->looked = (int)n++;
        }
        if (command_flag(call, "subscribe")) {
            STORE_ADD(b, &stmt_shows, 1, SV_T(item->jid), SV_T(command_arg(call, "jid")));
            item->shown = (int)n++;
        }
    }
    store_submit(b, worker_loop(w), 0, contacts_known, add);
}

/* contact del */

struct removal {
    struct actor_change base; /* first */
    struct command_call *call;
    slice jid;
    struct roster_change change;
};

static enum err del_prepare(struct actor_change *base)
{
    struct removal *r = (struct removal *)base;
    struct account *a = account_of(base->actor);
    ensure(base->batch == NULL);
    if (a->state != ACTOR_READY || !roster_removal_plan(a, r->jid, &r->change))
        return E_NOTFOUND;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    roster_change_store(base->batch, a, &r->change);
    return OK;
}

static void del_apply(struct actor_change *base, enum err e)
{
    struct removal *r = (struct removal *)base;
    slice owner = account_of(base->actor)->jid;
    ensure(base->actor->pins > 0);
    if (e == OK) {
        roster_change_commit(account_of(base->actor), &r->change);
        command_done(r->call, "%.*s is no contact of %.*s any more", SLICE_ARG(r->jid),
                     SLICE_ARG(owner));
    } else {
        roster_change_drop(&r->change);
        if (e == E_NOTFOUND)
            command_fail(r->call, e, "%.*s is no contact of %.*s", SLICE_ARG(r->jid),
                         SLICE_ARG(owner));
        else
            users_fail_cause(r->call, owner, e);
    }
    mem_free(&r);
}

static void del(struct account *a, enum err e, void *arg)
{
    struct command_call *call = ((struct task *)arg)->call;
    struct jid contact = jid_split(command_arg(call, "contact"));
    (void)e;
    struct removal *r = mem_new(struct removal);
    r->base.prepare = del_prepare;
    r->base.apply = del_apply;
    r->call = call;
    r->jid = jid_bare(&contact);
    account_change(a, &r->base);
}

static void contacts_run_del(struct command_call *call) { contacts_run(call, del, false, NULL); }

/* contact full */

static struct store_stmt stmt_full = {
    .name = "contacts.full",
    .params = "iiit",
    .cols = "ti",
    .sql = "SELECT account.jid, count(*) FROM roster JOIN account ON account.id = roster.owner "
           "WHERE (roster.flags & $1) <> 0 AND account.jid > $4 GROUP BY account.jid HAVING "
           "count(*) >= $2 "
           "ORDER BY account.jid LIMIT $3",
};

static void full_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the contact lists could not be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "jid", store_text(b, 0, i, 0));
        command_int(call, "contacts", store_int(b, 0, i, 1));
    }
    command_done_listed(call, "jid");
}

static void run_full(struct command_call *call)
{
    struct worker *w = call->worker;
    slice after = command_arg(call, "after");
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &stmt_full, STORE_ANY_ROWS, SV_I(ROSTER_LISTED),
              SV_I(setting_int(&roster_contacts_max)), SV_I(command_page_limit(call) + 1),
              SV_T(after.ptr != NULL ? after : SLICE("")));
    store_submit(b, worker_loop(w), 0, full_found, call);
}

static const struct command_arg list_args[] = {
    COMMAND_USER_ARG,
    COMMAND_PAGE_ARGS("address"),
    { 0 },
};
static const struct command_arg add_args[] = {
    COMMAND_USER_ARG,
    { .name = "contacts",
      .kind = ARG_POSITIONAL,
      .many = true,
      .doc = "addresses, separated by spaces; up to 1,000" },
    { .name = "group", .kind = ARG_OPTION, .doc = "the group that they are put into" },
    { .name = "subscribe",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "sends each contact a subscription request from the user" },
    { .name = "approve",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "lets each contact see when the user is online: answers its request, or the next "
             "one. Contacts of this server must have accounts" },
    { .name = "dry_run",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "says what would be done, and changes nothing" },
    { 0 },
};
static struct command contact_list = {
    .name = "contact list",
    .rest = "GET /users/{jid}/roster",
    .effect = COMMAND_READS,
    .area = "contacts",
    .args = list_args,
    .home = "jid",
    .run = contacts_run_list,
    .doc = "Shows the contact list of a user. The account may be disabled.",
    .columns =
        (const struct command_column[]){
            { .name = "owner", .wide = true, .type = PARAM_USER, .doc = "the user" },
            { .name = "jid", .type = PARAM_JID, .doc = "the contact" },
            { .name = "name", .doc = "its name" },
            { .name = "subscription", .doc = "none, to, from or both" },
            { .name = "ask",
              .type = PARAM_BOOL,
              .doc = "whether a request of the user waits for an answer" },
            { .name = "groups", .doc = "its groups, separated by commas" },
            { .name = "item", .wide = true, .doc = "as clients get it" },
            { 0 } },
};
struct command contact_add = {
    .name = "contact add",
    .rest = "POST /users/{jid}/roster",
    .effect = COMMAND_CHANGES,
    .area = "contacts",
    .args = add_args,
    .home = "jid",
    .run = contacts_run_add,
    .doc = "Adds contacts to a user's contact list. The options also apply to contacts that are "
           "there already. What roster.contacts-max, roster.watchers-max or roster.groups-max does "
           "not allow is left out. There is a row with the result for each contact.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .doc = "the contact" },
            { .name = "result", .doc = "what was done" },
            { .name = "done",
              .wide = true,
              .type = PARAM_BOOL,
              .doc = "whether the contact is as the command asks, or would be" },
            { 0 } },
};
static const struct command_arg del_args[] = {
    COMMAND_USER_ARG,
    { .name = "contact",
      .kind = ARG_POSITIONAL,
      .type = PARAM_JID,
      .doc = "address of the contact" },
    { 0 },
};
static struct command contact_del = {
    .name = "contact del",
    .rest = "DELETE /users/{jid}/roster/{contact}",
    .effect = COMMAND_CHANGES,
    .area = "contacts",
    .args = del_args,
    .home = "jid",
    .run = contacts_run_del,
    .doc = "Removes a contact from a user's contact list. This ends the subscriptions between the "
           "two, as when the user's client does it.",
};
static const struct command_arg full_args[] = { COMMAND_PAGE_ARGS("address"), { 0 } };
static struct command contact_full = {
    .name = "contact full",
    .effect = COMMAND_READS,
    .area = "contacts",
    .args = full_args,
    .run = run_full,
    .doc = "Shows the users whose contact list is full (roster.contacts-max).",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the user" },
            { .name = "contacts", .type = PARAM_INT, .doc = "contacts in the list" },
            { 0 } },
};

static const struct store_migration migrations[] = { { 0 } };
static const struct store_schema schema = { .feature = "contacts",
                                            .migrations = migrations,
                                            .stmts = (struct store_stmt *const[]){
                                                &stmt_full, &stmt_shows, NULL } };

const struct feature contacts_feature = {
    .name = "contacts",
    .parts = PART_ACCOUNT | PART_PRESENCE,
    .schema = &schema,
    .logs = contacts_logs,
    .commands = (struct command *const[]){ &contact_list, &contact_add, &contact_group,
                                           &contact_del, &contact_full, NULL },
};
