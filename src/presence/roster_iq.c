#include "presence/roster_iq.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/roster_view.h"
#include "presence/subscription.h"
#include "session/session_queue.h"
#include "talk/iq.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include <stdio.h>
#include <stdlib.h>

enum { DELTA_PUSHES_MAX = 64 };

/* Get. */

/* As roster_ver() writes it: the account's id keeps versions of a namesake that was deleted apart.
 * false: nothing is known of that version, or groups are others since. */
static bool version_parse(slice text, const struct account *a, uint64_t *out)
{
    slice head, tail, number;
    int64_t id, version;
    char same[ROSTER_VER_BYTES];
    if (!slice_cut(text, '.', &head, &tail) || !slice_int(head, &id))
        return false;
    if (!slice_cut(tail, '.', &number, &(slice){ 0 }))
        number = tail;
    if (!slice_int(number, &version) || id != a->id || version < 0)
        return false;
    *out = (uint64_t)version;
    return roster_ver(same, a, *out) && slice_is(text, same);
}

static bool roster_iq_is_listed(const struct roster_item *i)
{
    return (i->flags & ROSTER_LISTED) != 0;
}

static void roster_iq_answer_all(struct iq *iq)
{
    const struct roster *r = iq->account->roster;
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    roster_query_open(&x, iq->account, r == NULL ? 0 : r->version);
    for (uint32_t i = 0; r != NULL && i < r->count; i++)
        if (roster_iq_is_listed(r->items[i]))
            roster_write_contact(&x, iq->account, roster_item_jid(r->items[i]));
    slice contact;
    for (struct roster_at at = { 0 }; roster_next_shared(iq->account, &at, &contact);)
        roster_write_contact(&x, iq->account, contact);
    iq_result_xml(iq, &x);
}

static int by_version(const void *one, const void *other)
{
    const struct roster_item *a = *(struct roster_item *const *)one;
    const struct roster_item *b = *(struct roster_item *const *)other;
    return a->version < b->version ? -1 : a->version > b->version;
}

/* §2.6.3: an empty result, then what changed since as pushes in order. Returns how many items there
 * are, or -1: too many, the full roster is the shorter answer. */
static int changed_since(const struct roster *r, uint64_t since,
                         const struct roster_item *items[DELTA_PUSHES_MAX])
{
    int n = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        if (!roster_iq_is_listed(r->items[i]) || r->items[i]->version <= since)
            continue;
        if (n == DELTA_PUSHES_MAX)
            return -1;
        items[n++] = r->items[i];
    }
    qsort(items, (size_t)n, sizeof *items, by_version);
    return n;
}

static void roster_iq_push_one(struct session *s, const struct roster_item *item)
{
    struct buf out;
    struct xml_write x;
    char id[32];
    xml_begin(&x, &out, XML_STANZA_MAX);
    roster_query_open(&x, s->account, item->version);
    roster_write_contact(&x, s->account, roster_item_jid(item));
    xml_close(&x);
    int len = snprintf(id, sizeof id, "roster-%llu", (unsigned long long)item->version);
    struct stanza *st = stanza_make(STANZA_IQ, TYPE_SET, (slice){ 0 }, session_jid(s),
                                    (slice){ id, (size_t)len }, buf_fit(&out));
    session_deliver(s, st, 0, 0);
    stanza_unref(&st);
    buf_fini(&out);
}

static void answer_changes(struct iq *iq, struct session *s, uint64_t since)
{
    const struct roster *r = iq->account->roster;
    uint64_t version = r == NULL ? 0 : r->version;
    int n = 0;
    const struct roster_item *items[DELTA_PUSHES_MAX];
    if (since > version || (since < version && since < r->removed) || s == NULL ||
        (since < version && (n = changed_since(r, since, items)) < 0)) {
        roster_iq_answer_all(iq);
        return;
    }
    iq_result(iq, (slice){ 0 });
    for (int i = 0; i < n; i++)
        roster_iq_push_one(s, items[i]);
}

static void answer_get(struct iq *iq, struct session *s)
{
    uint64_t since;
    if (s != NULL)
        s->interested = true; /* §2.2 */
    if (version_parse(elem_attr(&iq->payload, "ver", iq->tmp), iq->account, &since))
        answer_changes(iq, s, since);
    else
        roster_iq_answer_all(iq);
}

struct waiting_get {
    struct actor_change base; /* first */
    struct iq *iq;            /* held */
};

static enum err get_prepare(struct actor_change *base)
{
    return account_of(base->actor)->state == ACTOR_READY ? OK : E_NOTFOUND;
}

static void get_apply(struct actor_change *base, enum err e)
{
    struct waiting_get *get = (struct waiting_get *)base;
    const struct stanza *st = get->iq->st;
    if (e != OK)
        iq_error(get->iq, stanza_error_of(e), (slice){ 0 });
    else
        answer_get(get->iq, account_session(account_of(base->actor),
                                            slice_from(stanza_from(st), st->from_bare_len + 1u)));
    mem_free(&get);
}

/* The answer shows what has been asked before it: it waits for changes that are being committed. */
static void roster_get(struct iq *iq)
{
    struct elem item;
    if (elem_first(&iq->payload, &item)) { /* §2.1.3 */
        iq_error(iq, SE_BAD_REQUEST, SLICE("a roster get has no items"));
    } else if (iq->account->actor.change_count == 0) {
        answer_get(iq, iq->session);
    } else {
        struct waiting_get *get = mem_new(struct waiting_get);
        get->base.prepare = get_prepare;
        get->base.apply = get_apply;
        get->iq = iq_hold(iq);
        account_change(iq->account, &get->base);
    }
}

/* Set. */

struct roster_set {
    struct actor_change base; /* first */
    struct iq *iq;            /* held */
    slice jid, name, groups;
    bool removal;
    enum stanza_error error; /* that prepare found */
    slice text;
    struct roster_change change;
};

struct refusal {
    enum stanza_error error; /* SE_NONE: fine */
    slice text;
};
#define REFUSE(e, sentence) ((struct refusal){ (e), SLICE(sentence) })
static const struct refusal accepted = { .error = SE_NONE };

static bool roster_iq_has_group(slice groups, slice name)
{
    slice group;
    while (slice_cut(groups, '\0', &group, &groups))
        if (slice_eq(group, name))
            return true;
    return false;
}

/* §2.3.3 */
static struct refusal parse_groups(struct roster_set *set, const struct elem *item)
{
    struct arena *tmp = set->iq->tmp;
    size_t longest = (size_t)setting_int(&roster_name_bytes), len = 0;
    int64_t count = 0;
    char *packed = arena_alloc_raw(tmp, item->content.len + 1); /* a tag is longer than its NUL */
    struct elem child;
    for (bool any = elem_first(item, &child); any; any = elem_next(&child, &child)) {
        if (!elem_is(&child, "group", NS_ROSTER))
            continue;
        slice name = elem_text(&child, tmp);
        if (name.len == 0)
            return REFUSE(SE_NOT_ACCEPTABLE, "a group needs a name");
        if (name.len > longest)
            return REFUSE(SE_NOT_ACCEPTABLE, "a group name is longer than roster.name-bytes");
        if (roster_iq_has_group((slice){ packed, len }, name))
            return REFUSE(SE_BAD_REQUEST, "a group is named twice");
        if (roster_has_shared(set->iq->account, set->jid, name))
            continue; /* the server keeps it, so it is not the user's */
        if (++count > setting_int(&roster_groups_max))
            return REFUSE(SE_NOT_ACCEPTABLE, "more groups than roster.groups-max");
        memcpy(packed + len, name.ptr, name.len);
        len += name.len;
        packed[len++] = '\0';
    }
    set->groups = (slice){ packed, len };
    return accepted;
}

static struct refusal roster_iq_parse_set(struct roster_set *set)
{
    struct iq *iq = set->iq;
    struct elem item, other;
    struct jid jid;
    if (!elem_child(&iq->payload, "item", NS_ROSTER, &item) || elem_next(&item, &other))
        return REFUSE(SE_BAD_REQUEST, "a roster set has exactly one item");
    slice address = elem_attr(&item, "jid", iq->tmp);
    if (address.len == 0)
        return REFUSE(SE_BAD_REQUEST, "the item has no jid");
    if (jid_parse(&jid, address, iq->tmp) != OK)
        return REFUSE(SE_JID_MALFORMED, "the jid of the item is not an address");
    set->jid = jid_bare(&jid);
    if (slice_eq(set->jid, iq->account->jid))
        return REFUSE(SE_NOT_ALLOWED, "a roster does not list its owner");
    /* §2.1.2.5: a client may say nothing about the subscription but `remove` */
    set->removal = slice_is(elem_attr(&item, "subscription", iq->tmp), "remove");
    if (set->removal)
        return accepted;
    set->name = elem_attr(&item, "name", iq->tmp);
    if (set->name.len > (size_t)setting_int(&roster_name_bytes))
        return REFUSE(SE_NOT_ACCEPTABLE, "the name is longer than roster.name-bytes");
    return parse_groups(set, &item);
}

bool roster_removal_plan(const struct account *a, slice jid, struct roster_change *out)
{
    const struct roster_item *item = roster_find(a->roster, jid);
    *out = (struct roster_change){ .hides = false };
    if (item == NULL || !roster_iq_is_listed(item))
        return false;
    out->delta = roster_edit(a->roster, jid);
    if (sub_sees(item->state) || sub_state_ask(item->state))
        out->announce[0] = subscription_stanza(a, jid, SUB_UNSUBSCRIBE);
    if (sub_is_seen(item->state) || sub_state_pending_in(item->state)) /* a request is denied */
        out->announce[1] = subscription_stanza(a, jid, SUB_UNSUBSCRIBED);
    out->hides = sub_is_seen(item->state);
    out->delta.state = SUB_NONE;
    out->delta.flags = 0;
    roster_seal(a->roster, &out->delta, ROSTER_SHOWN);
    return true;
}

void roster_change_store(struct store_batch *b, const struct account *a,
                         const struct roster_change *r)
{
    roster_delta_store(b, a->id, &r->delta);
    for (int i = 0; i < 2; i++)
        if (r->announce[i] != NULL)
            subscription_announce(b, a, r->announce[i]);
}

void roster_change_commit(struct account *a, struct roster_change *r)
{
    slice jid = r->delta.jid;
    ensure(account_here(a));
    presence_look(a, jid);
    roster_commit(a, &r->delta, ROSTER_SHOWN);
    for (int i = 0; i < 2; i++)
        if (r->announce[i] != NULL)
            subscription_send(a, r->announce[i]);
    if (r->hides)
        presence_hide(a, jid);
    *r = (struct roster_change){ .hides = false };
}

void roster_change_drop(struct roster_change *r)
{
    for (int i = 0; i < 2; i++)
        stanza_unref(&r->announce[i]);
}

static enum err prepare_update(struct roster_set *set, struct account *a)
{
    struct roster_delta *delta = &set->change.delta;
    ensure(account_here(a));
    *delta = roster_edit(a->roster, set->jid);
    delta->flags |= ROSTER_LISTED;
    delta->name = set->name;
    delta->groups = set->groups;
    int64_t most = setting_int(&roster_contacts_max);
    if (!roster_delta_is_new(a->roster, delta) || roster_count(a) < most) {
        roster_seal(a->roster, delta, ROSTER_SHOWN);
        return OK;
    }
    set->error = SE_POLICY_VIOLATION;
    set->text = slice_of(
        arena_printf(set->iq->tmp, "roster.contacts-max (%lld) is reached", (long long)most));
    return E_LIMIT;
}

static enum err set_prepare(struct actor_change *base)
{
    struct roster_set *set = (struct roster_set *)base;
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND; /* deleted meanwhile */
    if (set->removal && !roster_removal_plan(a, set->jid, &set->change)) {
        bool shared = roster_is_shared(a, set->jid);
        set->error = shared ? SE_NOT_ALLOWED : SE_ITEM_NOT_FOUND; /* §2.5.3 */
        if (shared)
            set->text = SLICE("the contact is in a group that the server keeps");
        return E_NOTFOUND;
    }
    enum err e = set->removal ? OK : prepare_update(set, a);
    if (e != OK)
        return e;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    roster_change_store(base->batch, a, &set->change);
    return OK;
}

static void set_apply(struct actor_change *base, enum err e)
{
    struct roster_set *set = (struct roster_set *)base;
    if (e != OK) {
        iq_error(set->iq, set->error != SE_NONE ? set->error : stanza_error_of(e), set->text);
        roster_change_drop(&set->change);
    } else {
        roster_change_commit(account_of(base->actor), &set->change);
        iq_result(set->iq, (slice){ 0 });
    }
    mem_free(&set);
}

static void roster_set(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF) { /* RFC 6121 §2.1.5 */
        iq_error(iq, SE_FORBIDDEN, SLICE("a roster is changed by its owner only"));
        return;
    }
    struct roster_set *set = mem_new(struct roster_set);
    set->base.prepare = set_prepare;
    set->base.apply = set_apply;
    set->iq = iq_hold(iq);
    struct refusal refusal = roster_iq_parse_set(set);
    if (refusal.error != SE_NONE) {
        iq_error(set->iq, refusal.error, refusal.text);
        mem_free(&set);
        return;
    }
    account_change(set->iq->account, &set->base);
}

const struct iq_rule roster_iq_rules[] = {
    { TYPE_GET, NS_ROSTER, "query", IQ_TO_SELF, roster_get },
    { TYPE_SET, NS_ROSTER, "query", IQ_TO_SELF | IQ_TO_ACCOUNT, roster_set },
    { 0 },
};
