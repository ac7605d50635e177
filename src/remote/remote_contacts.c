#include "remote/remote_contacts.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/here.h"
#include "home/router.h"
#include "io/timer.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/subscription.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "session/sessions.h"

enum {
    AT_ONCE = 500,  /* contacts that are told, or are told of, in one go */
    PAUSE_MS = 100, /* before the next */
    BACK_MS = 1000  /* a server that has just started connects first */
};

static struct metric contacts_gone = {
    .name = "muster_presence_contacts_gone",
    .kind = METRIC_COUNTER,
    .help = "Contacts on other servers that were shown as unavailable because their server could "
            "not be reached, or had forgotten them.",
};

/* Contacts of this worker's accounts of one domain of ours at another domain. */
struct place {
    struct list contacts;     /* struct contact, in their order of coming */
    bool is_lost;             /* its contacts are being told to have gone */
    slice key, domain, local; /* key: domain, '/', local; in this block */
};

/* A resource that an account is shown as available. */
struct contact {
    struct list at; /* in place.contacts */
    struct place *place;
    struct account *account;
    slice jid; /* full; in this block */
};

/* A contact that rules keep from an account. */
struct barred {
    slice key; /* account, ' ', contact: in this block */
    size_t account_len;
};

/* To be told again: a domain that is back, an account with all its contacts, or one contact of it.
 */
struct returned {
    struct list node; /* in remote_contacts.back */
    uint32_t at;      /* of sessions_next(), of a domain */
    slice account;    /* in this block, as the next; empty: all */
    slice what;       /* a domain, or a bare JID; empty: all */
};

struct remote_contacts {
    struct worker *worker;
    struct map places, barred;
    struct list back;         /* struct returned */
    struct timer tell, empty; /* of `back`; of places that are lost */
};

/* In the slot of an account: struct contact by JID. */
struct contacts {
    struct map by_jid;
};

static unsigned account_slot, worker_slot;

static slice contacts_place_key(const void *item) { return ((const struct place *)item)->key; }
static slice contact_jid(const void *item) { return ((const struct contact *)item)->jid; }
static slice barred_key(const void *item) { return ((const struct barred *)item)->key; }
static slice contact_domain(slice jid) { return jid_split(jid).domain; }
static struct remote_contacts *contacts_of(const struct worker *w)
{
    return *worker_state(w, worker_slot);
}

enum { KEY_MAX = 2 * JID_MAX + 1 };
static slice key_of_two(char key[KEY_MAX], slice one, char between, slice two)
{
    ensure(one.len > 0 && one.len <= JID_MAX && two.len > 0 && two.len <= JID_MAX);
    memcpy(key, one.ptr, one.len);
    key[one.len] = between;
    memcpy(key + one.len + 1, two.ptr, two.len);
    return (slice){ key, one.len + 1 + two.len };
}

/* Contacts that are shown. */

static struct place *place_get(struct worker *w, slice domain, slice local)
{
    struct remote_contacts *all = contacts_of(w);
    char text[KEY_MAX];
    slice key = key_of_two(text, domain, '/', local);
    struct place *p = map_get(&all->places, key);
    if (p != NULL)
        return p;
    p = mem_zalloc(sizeof *p + key.len);
    p->key = (slice){ memcpy(p + 1, key.ptr, key.len), key.len };
    p->domain = (slice){ p->key.ptr, domain.len };
    p->local = slice_from(p->key, domain.len + 1);
    list_init(&p->contacts);
    map_put(&all->places, p);
    remote_domain_hold(w, domain, local);
    return p;
}

static void contact_free(struct contact *c)
{
    struct account *a = c->account;
    struct contacts *all = a->state_of[account_slot];
    struct place *p = c->place;
    ensure(account_here(a) && !list_empty(&p->contacts));
    map_del(&all->by_jid, c->jid);
    list_remove(&c->at);
    mem_free(&c);
    if (!list_empty(&p->contacts))
        return;
    map_del(&contacts_of(a->worker)->places, p->key);
    remote_domain_release(a->worker, p->domain, p->local);
    mem_free(&p);
}

static void contact_add(struct account *a, slice jid)
{
    ensure(account_here(a) && account_available(a) > 0);
    struct contacts *all = a->state_of[account_slot];
    if (all == NULL) {
        all = a->state_of[account_slot] = mem_new(struct contacts);
        map_init(&all->by_jid, contact_jid);
    }
    if (all->by_jid.count >= REMOTE_CONTACTS_MAX)
        return;
    struct contact *c = mem_zalloc(sizeof *c + jid.len);
    c->account = a;
    c->place = place_get(a->worker, contact_domain(jid), contact_domain(a->jid));
    c->jid = (slice){ memcpy(c + 1, jid.ptr, jid.len), jid.len };
    list_append(&c->place->contacts, &c->at);
    map_put(&all->by_jid, c);
}

static void contacts_forget(struct account *a)
{
    struct contacts *all = a->state_of[account_slot];
    struct contact *c;
    if (all == NULL)
        return;
    for (uint32_t i = 0; (c = map_next(&all->by_jid, &i)) != NULL;)
        contact_free(c);
    map_fini(&all->by_jid);
    mem_free(&all);
    a->state_of[account_slot] = NULL;
}

/* Says that it has gone, as its server would. */
static void contact_gone(struct contact *c)
{
    struct worker *w = c->account->worker;
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, c->jid, c->account->jid,
                                    (slice){ 0 }, (slice){ 0 });
    metric_add(&contacts_gone, 1);
    contact_free(c);
    route_send(w, st);
}

typedef bool contact_is_fn(const struct contact *c, slice bare);
static void contacts_gone_if(struct account *a, contact_is_fn *is, slice bare)
{
    struct contacts *all = a->state_of[account_slot];
    struct contact *c;
    for (uint32_t i = 0; all != NULL && (c = map_next(&all->by_jid, &i)) != NULL;)
        if (is(c, bare))
            contact_gone(c);
}

static bool contact_is(const struct contact *c, slice bare)
{
    return slice_eq(jid_bare_of(c->jid), bare);
}

/* Occupants of rooms are told by their rooms; of a foreign room its client asks (XEP-0410). The
 * first presence of a new contact comes before the change that lets the account see it is
 * committed. */
static bool contact_is_shown(const struct account *a, const struct stanza *st)
{
    slice bare = stanza_from_bare(st);
    return st->type == TYPE_AVAILABLE && !stanza_has(st, KNOWN(MUC_USER)) &&
           account_available(a) > 0 &&
           (roster_find(a->roster, bare) != NULL || presence_is_directed(a, bare));
}

/* What this server has sent by itself for a resource, and could not get through: the client would
 * take the error for a contact that has gone (RFC 6121 §4.2.3). Directed presence is of the client.
 */
static bool error_is_of_server(const struct account *a, const struct stanza *st)
{
    return st->from_len > 0 && !stanza_to_is_bare(st) &&
           (st->refused_kind == REFUSED_AVAILABLE || st->refused_kind == REFUSED_UNAVAILABLE ||
            st->refused_kind == REFUSED_PROBE) &&
           (remote_domain_is_unsent(a->worker, st) || remote_domain_is_barred(a->worker, st));
}

static enum verdict contacts_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    (void)why;
    if (st->kind != STANZA_PRESENCE)
        return PASS;
    if (st->type == TYPE_ERROR)
        return error_is_of_server(a, st) ? DROP : PASS;
    if (st->type > TYPE_UNAVAILABLE ||
        !remote_domain_is_other(a->worker, contact_domain(stanza_from(st))))
        return PASS;
    if (st->from_len == st->from_bare_len) { /* the answer to a probe where nobody is there */
        if (st->type == TYPE_UNAVAILABLE)
            contacts_gone_if(a, contact_is, stanza_from(st));
        return PASS;
    }
    const struct contacts *all = a->state_of[account_slot];
    struct contact *c = all == NULL ? NULL : map_get(&all->by_jid, stanza_from(st));
    bool shown = contact_is_shown(a, st);
    if (c != NULL && !shown)
        contact_free(c);
    else if (c == NULL && shown)
        contact_add(a, stanza_from(st));
    return PASS;
}

/* Their domain is lost. */

static bool place_empty(struct place *p, unsigned *left)
{
    while (*left > 0) {
        struct contact *c = CONTAINER_OF(p->contacts.next, struct contact, at);
        bool last = c->at.next == &p->contacts; /* the place goes with it */
        (*left)--;
        contact_gone(c);
        if (last)
            return true;
    }
    return false;
}

static void places_empty(struct timer *t, struct loop *loop)
{
    struct remote_contacts *all = CONTAINER_OF(t, struct remote_contacts, empty);
    unsigned left = AT_ONCE;
    struct place *p;
    for (uint32_t i = 0; (p = map_next(&all->places, &i)) != NULL;)
        if (p->is_lost && !place_empty(p, &left)) {
            timer_set(loop, t, PAUSE_MS);
            return;
        }
}

static void contacts_domain_lost(struct worker *w, slice domain, slice local)
{
    struct remote_contacts *all = contacts_of(w);
    struct place *p;
    for (uint32_t i = 0; (p = map_next(&all->places, &i)) != NULL;) {
        if (!slice_eq(p->domain, domain) || (local.len > 0 && !slice_eq(p->local, local)))
            continue;
        p->is_lost = true;
        if (!timer_is_set(&all->empty))
            timer_set(worker_loop(w), &all->empty, 0);
    }
}

/* It is back. */

static bool may_speak(struct worker *w, slice account, slice contact)
{
    return !foreign_is(w, contact_domain(contact)) ||
           (foreign_pair(w, contact_domain(account), contact_domain(contact)) &&
            !foreign_bars(w, account, contact));
}

/* Whether rules keep the contact from the account; so it is noted, if there is room. */
static bool contact_bar(struct remote_contacts *all, slice account, slice contact)
{
    char text[KEY_MAX];
    if (may_speak(all->worker, account, contact))
        return false;
    slice key = key_of_two(text, account, ' ', contact);
    if (all->barred.count >= REMOTE_BARRED_MAX || map_get(&all->barred, key) != NULL)
        return true;
    struct barred *b = mem_zalloc(sizeof *b + key.len);
    *b = (struct barred){ { memcpy(b + 1, key.ptr, key.len), key.len }, account.len };
    map_put(&all->barred, b);
    return true;
}

static void contacts_later(struct remote_contacts *all, slice account, slice what)
{
    struct returned *r = mem_zalloc(sizeof *r + account.len + what.len);
    char *at = (char *)(r + 1);
    ensure(account.len + what.len > 0);
    r->account = slice_lay(&at, account);
    r->what = slice_lay(&at, what);
    list_append(&all->back, &r->node);
    if (!timer_is_set(&all->tell))
        timer_set(worker_loop(all->worker), &all->tell, BACK_MS);
}

static void contact_tell(struct account *a, slice contact)
{
    ensure(account_here(a) && account_available(a) > 0);
    if (roster_is_seen(a, contact))
        presence_show(a, contact);
    if (roster_sees(a, contact))
        presence_probe(a, contact);
    (void)subscription_ask_again(a, contact);
}

/* Of an account: all contacts of that domain or address, or, empty, all. */
static unsigned remote_contacts_tell(struct remote_contacts *all, struct account *a, slice what)
{
    const struct roster *r = a->roster;
    unsigned n = 0;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]), domain = contact_domain(contact);
        bool means = what.len == 0 ? remote_domain_is_other(all->worker, domain)
                                   : slice_eq(what, domain) || slice_eq(what, contact);
        if (!means || contact_bar(all, a->jid, contact))
            continue;
        contact_tell(a, contact);
        n++;
    }
    return n;
}

/* Once for each account that is online, be it by another session. */
static bool is_first_of_available(const struct session *s)
{
    return s->account->sessions.next == &s->node && account_available(s->account) > 0;
}

/* At most about *left contacts; true: it is done. */
static bool returned_tell(struct remote_contacts *all, struct returned *r, unsigned *left)
{
    const struct session *s;
    if (r->account.len > 0) {
        struct account *a = account_find(all->worker, r->account);
        unsigned n =
            a == NULL || account_available(a) == 0 ? 0 : remote_contacts_tell(all, a, r->what);
        *left -= n < *left ? n : *left;
        return true;
    }
    while (*left > 0 && (s = sessions_next(all->worker, &r->at)) != NULL) {
        unsigned n = is_first_of_available(s) ? remote_contacts_tell(all, s->account, r->what) : 0;
        *left -= n < *left ? n : *left;
    }
    return *left > 0;
}

static void contacts_returned(struct timer *t, struct loop *loop)
{
    struct remote_contacts *all = CONTAINER_OF(t, struct remote_contacts, tell);
    unsigned left = AT_ONCE;
    while (left > 0 && !list_empty(&all->back)) {
        struct returned *r = CONTAINER_OF(all->back.next, struct returned, node);
        if (!returned_tell(all, r, &left))
            break;
        list_remove(&r->node);
        mem_free(&r);
    }
    if (!list_empty(&all->back))
        timer_set(loop, t, PAUSE_MS);
}

static void contacts_domain_back(struct worker *w, slice domain)
{
    struct remote_contacts *all = contacts_of(w);
    struct place *p;
    for (uint32_t i = 0; (p = map_next(&all->places, &i)) != NULL;)
        if (slice_eq(p->domain, domain) && remote_domain_pair(w, p->local, domain))
            p->is_lost = false;
    LIST_EACH (it, &all->back) {
        struct returned *r = CONTAINER_OF(it, struct returned, node);
        if (r->account.len == 0 && slice_eq(r->what, domain)) {
            r->at = 0;
            return;
        }
    }
    contacts_later(all, (slice){ 0 }, domain);
}

static void contacts_session_available(struct session *s)
{
    const struct account *a = s->account;
    const struct roster *r = a->roster;
    if (account_available(a) > 1)
        return;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        if (!foreign_is(a->worker, contact_domain(contact)))
            continue;
        (void)contact_bar(contacts_of(a->worker), a->jid, contact);
        subscription_ask_again(a, contact);
    }
}

static void contacts_session_unavailable(struct session *s, const struct stanza *st)
{
    (void)st;
    if (account_available(s->account) == 0)
        contacts_forget(s->account);
}

/* A session that a planned restart has kept has missed what its contacts said meanwhile, and they
 * may have missed what was said to them. */

static void contacts_save(const struct session *s, struct buf *out)
{
    if (s->available)
        buf_add(out, SLICE("1"));
}

static void contacts_restore(struct session *s, slice saved)
{
    (void)saved;
    contacts_later(contacts_of(s->account->worker), s->account->jid, (slice){ 0 });
}

/* Rules have changed. */

static bool is_kept_apart(const struct session *s, slice jid)
{
    return !may_speak(s->account->worker, s->account->jid, jid_bare_of(jid));
}

static bool contact_is_barred(const struct contact *c, slice unused)
{
    (void)unused;
    return !may_speak(c->account->worker, c->account->jid, jid_bare_of(c->jid));
}

/* Contacts that a rule has just separated from the account would see it for ever. */
static void account_parts(struct remote_contacts *all, struct account *a)
{
    const struct roster *r = a->roster;
    char text[KEY_MAX];
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        if (!foreign_is(all->worker, contact_domain(contact)) ||
            map_get(&all->barred, key_of_two(text, a->jid, ' ', contact)) != NULL ||
            !contact_bar(all, a->jid, contact) || i >= r->seen || !stage_show(a, contact))
            continue;
        SESSIONS_EACH (s, a)
            if (session_is_available(s) && s->hidden == SESSION_SHOWN && stage_view(s, contact))
                presence_tell(s, contact, TYPE_UNAVAILABLE);
    }
    contacts_gone_if(a, contact_is_barred, (slice){ 0 });
}

static void contacts_rules_changed(struct worker *w)
{
    struct remote_contacts *all = contacts_of(w);
    struct session *s;
    struct barred *b;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;) {
        presence_directed_drop(s, is_kept_apart);
        if (is_first_of_available(s))
            account_parts(all, s->account);
    }
    for (uint32_t i = 0; (b = map_next(&all->barred, &i)) != NULL;) {
        slice account = { b->key.ptr, b->account_len };
        slice contact = slice_from(b->key, b->account_len + 1);
        if (!may_speak(w, account, contact))
            continue;
        contacts_later(all, account, contact);
        map_del(&all->barred, barred_key(b));
        mem_free(&b);
    }
}

/* The feature. */

static void contacts_worker_start(struct worker *w)
{
    struct remote_contacts *all = *worker_state(w, worker_slot) = mem_new(struct remote_contacts);
    all->worker = w;
    map_init(&all->places, contacts_place_key);
    map_init(&all->barred, barred_key);
    list_init(&all->back);
    all->tell.fn = contacts_returned;
    all->empty.fn = places_empty;
}

static void contacts_worker_stop(struct worker *w)
{
    struct remote_contacts *all = contacts_of(w);
    timer_cancel(&all->tell);
    timer_cancel(&all->empty);
}

static void contacts_worker_ended(struct worker *w)
{
    struct remote_contacts *all = contacts_of(w);
    struct barred *b;
    struct list *it;
    if (all == NULL)
        return;
    for (uint32_t i = 0; (b = map_next(&all->barred, &i)) != NULL;)
        mem_free(&b);
    while ((it = list_pop(&all->back)) != NULL) {
        struct returned *r = CONTAINER_OF(it, struct returned, node);
        mem_free(&r);
    }
    map_fini(&all->barred);
    map_fini(&all->places);
    mem_free(worker_state(w, worker_slot));
}

const struct feature remote_contacts_feature = {
    .name = "remote_contacts",
    .parts = PART_PRESENCE | PART_ACCOUNT,
    .metrics = (struct metric *const[]){ &contacts_gone, NULL },
    .account.slot = &account_slot,
    .account.unload = contacts_forget,
    .session.available = contacts_session_available,
    .session.unavailable = contacts_session_unavailable,
    .session.save = contacts_save,
    .session.restore = contacts_restore,
    .stage.block = contacts_block,
    .foreign.changed = contacts_rules_changed,
    .worker.slot = &worker_slot,
    .worker.start = contacts_worker_start,
    .worker.stop = contacts_worker_stop,
    .worker.ended = contacts_worker_ended,
    .worker.domain_lost = contacts_domain_lost,
    .worker.domain_back = contacts_domain_back,
};
