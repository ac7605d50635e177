#include "im/contacts_abroad.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "im/abroad.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/presence.h"
#include "im/roster.h"
#include "im/sessions.h"
#include "io/timer.h"

enum {
    AT_ONCE = 500,           /* contacts that are asked, or told of, in one go */
    PAUSE_MS = 100,          /* before the next */
    BACK_MS = 1000,          /* domains that are back are gathered for so long */
    CONFIRMED_MS = 30 * 1000 /* for the answers to probes */
};

static struct metric contacts_gone = {
    .name = "muster_presence_contacts_gone",
    .kind = METRIC_COUNTER,
    .help = "Contacts on other servers that were shown as unavailable because their server could "
            "not be reached, or had forgotten them.",
};

/* A domain that contacts of this worker's accounts are at. */
struct place {
    struct list contacts; /* struct contact, in their order of coming */
    bool is_lost;         /* its contacts are being told to have gone */
    struct timer confirm; /* who is doubted then has gone */
    struct worker *worker;
    uint16_t len;
    char domain[];
};

/* A resource that an account is shown as available. */
struct contact {
    struct list at; /* in place.contacts */
    struct place *place;
    struct account *account;
    bool doubted; /* its server was away, and it has not said since that it is there */
    slice jid;    /* full; in this block */
};

/* A contact that is to be asked and told, on behalf of an account; empty: all that are abroad. */
struct errand {
    struct list node;
    uint16_t account_len, contact_len;
    char text[]; /* account, contact */
};

/* Domains that are back. */
struct returned {
    uint16_t len;
    char domain[];
};

struct contacts_worker {
    struct worker *worker;
    struct map places, back; /* struct place, struct returned */
    struct list errands;
    uint32_t errand_count;
    struct timer gather, run, empty; /* of what is back; of errands; of places that are lost */
};

/* In the slot of an account: struct contact by JID. */
struct contacts {
    struct map by_jid;
};

static unsigned account_slot, worker_slot;

static slice place_domain(const void *item)
{
    const struct place *p = item;
    return (slice){ p->domain, p->len };
}
static slice contact_jid(const void *item) { return ((const struct contact *)item)->jid; }
static slice returned_domain(const void *item)
{
    const struct returned *r = item;
    return (slice){ r->domain, r->len };
}
static struct contacts_worker *contacts_worker_of(const struct worker *w)
{
    return *worker_state(w, worker_slot);
}
static struct loop *contacts_loop(const struct contacts_worker *cw)
{
    return worker_loop(cw->worker);
}

/* Who is there. */

static void contact_gone(struct contact *c);

/* It did not say that it is there. */
static void place_confirm(struct timer *t, struct loop *loop)
{
    struct place *p = CONTAINER_OF(t, struct place, confirm);
    unsigned n = 0;
    LIST_EACH (it, &p->contacts) {
        struct contact *c = CONTAINER_OF(it, struct contact, at);
        bool last = c->at.next == &p->contacts;
        if (c->doubted && n++ == AT_ONCE) {
            timer_set(loop, &p->confirm, PAUSE_MS);
            return;
        }
        if (c->doubted)
            contact_gone(c);
        if (last) /* the place may have gone with it */
            return;
    }
}

static struct place *place_get(struct worker *w, slice domain, slice local)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct place *p = map_get(&cw->places, domain);
    if (p != NULL)
        return p;
    p = mem_zalloc(sizeof *p + domain.len);
    p->worker = w;
    p->confirm.fn = place_confirm;
    p->len = (uint16_t)domain.len;
    memcpy(p->domain, domain.ptr, domain.len);
    list_init(&p->contacts);
    map_put(&cw->places, p);
    abroad_hold(w, domain, local);
    return p;
}

static void contacts_place_free(struct contacts_worker *cw, struct place *p)
{
    timer_cancel(&p->confirm);
    map_del(&cw->places, place_domain(p));
    abroad_release(cw->worker, place_domain(p));
    mem_free(&p);
}

static void contact_free(struct contact *c)
{
    struct account *a = c->account;
    struct place *p = c->place;
    ensure(account_here(a) && !list_empty(&p->contacts));
    struct contacts *all = a->state_of[account_slot];
    map_del(&all->by_jid, c->jid);
    list_remove(&c->at);
    mem_free(&c);
    if (list_empty(&p->contacts))
        contacts_place_free(contacts_worker_of(a->worker), p);
}

static struct contact *contact_find(const struct account *a, slice jid)
{
    const struct contacts *all = a->state_of[account_slot];
    return all == NULL ? NULL : map_get(&all->by_jid, jid);
}

static void contact_add(struct account *a, slice jid)
{
    ensure(account_here(a) && account_available(a) > 0);
    struct contacts *all = a->state_of[account_slot];
    if (all == NULL) {
        all = a->state_of[account_slot] = mem_new(struct contacts);
        map_init(&all->by_jid, contact_jid);
    }
    if (all->by_jid.count >= CONTACTS_ABROAD_MAX)
        return;
    struct contact *c = mem_zalloc(sizeof *c + jid.len);
    c->account = a;
    c->place = place_get(a->worker, jid_split(jid).domain, jid_split(a->jid).domain);
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

static enum verdict contacts_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    (void)why;
    if (st->kind != STANZA_PRESENCE || st->type > TYPE_UNAVAILABLE ||
        st->from_len == st->from_bare_len ||
        !abroad_is(a->worker, jid_split(stanza_from(st)).domain))
        return PASS;
    struct contact *c = contact_find(a, stanza_from(st));
    bool shown = contact_is_shown(a, st);
    if (c != NULL && shown)
        c->doubted = false;
    else if (c != NULL)
        contact_free(c);
    else if (shown)
        contact_add(a, stanza_from(st));
    return PASS;
}

/* A request without an answer is repeated: either server may have lost the request, or the answer.
 * A contact that has granted it already grants it again without asking its user (RFC 6121
 * §3.1.3). */
static void contact_ask_again(const struct account *a, slice contact)
{
    route_send(a->worker, stanza_make(STANZA_PRESENCE, TYPE_SUBSCRIBE, a->jid, contact,
                                      (slice){ 0 }, (slice){ 0 }));
}

static void contacts_session_available(struct session *s)
{
    const struct account *a = s->account;
    const struct roster *r = a->roster;
    if (account_available(a) > 1)
        return;
    for (uint32_t i = 0; r != NULL && i < r->count; i++)
        if (sub_state_ask(r->items[i]->state) &&
            abroad_is(a->worker, jid_split(roster_item_jid(r->items[i])).domain))
            contact_ask_again(a, roster_item_jid(r->items[i]));
}

static void contacts_session_unavailable(struct session *s, const struct stanza *st)
{
    (void)st;
    if (account_available(s->account) == 0)
        contacts_forget(s->account);
}

/* Their domain is lost. */

static bool place_empty(struct place *p, unsigned *left)
{
    while (*left > 0) {
        struct contact *c = CONTAINER_OF(p->contacts.next, struct contact, at);
        bool last = c->at.next == &p->contacts;
        (*left)--;
        ensure(c->place == p);
        contact_gone(c);
        if (last)
            return true;
    }
    return false;
}

static void places_empty(struct timer *t, struct loop *loop)
{
    struct contacts_worker *cw = CONTAINER_OF(t, struct contacts_worker, empty);
    unsigned left = AT_ONCE;
    struct place *p;
    for (uint32_t i = 0; (p = map_next(&cw->places, &i)) != NULL;)
        if (p->is_lost && !place_empty(p, &left)) {
            timer_set(loop, t, PAUSE_MS);
            return;
        }
}

static void contacts_domain_lost(struct worker *w, slice domain)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct place *p = map_get(&cw->places, domain);
    if (p == NULL)
        return;
    p->is_lost = true;
    if (!timer_is_set(&cw->empty))
        timer_set(worker_loop(w), &cw->empty, 0);
}

/* It is back. */

static void errand_add(struct contacts_worker *cw, slice account, slice contact)
{
    ensure(account.len > 0 && account.len <= JID_MAX && contact.len <= JID_MAX);
    if (cw->errand_count >= CONTACTS_PROBES_MAX)
        return;
    struct errand *e = mem_zalloc(sizeof *e + account.len + contact.len);
    e->account_len = (uint16_t)account.len;
    e->contact_len = (uint16_t)contact.len;
    memcpy(e->text, account.ptr, account.len);
    if (contact.len > 0)
        memcpy(e->text + account.len, contact.ptr, contact.len);
    list_append(&cw->errands, &e->node);
    cw->errand_count++;
}

static void errand_tell(struct account *a, slice contact)
{
    const struct roster_item *item = roster_find(a->roster, contact);
    if (roster_is_seen(a, contact))
        presence_show(a, contact);
    if (roster_sees(a, contact))
        presence_probe(a, contact);
    if (item != NULL && sub_state_ask(item->state))
        contact_ask_again(a, contact);
}

static void errand_for_all(struct contacts_worker *cw, const struct account *a)
{
    const struct roster *r = a->roster;
    for (uint32_t i = 0; r != NULL && i < r->count; i++)
        if (abroad_is(a->worker, jid_split(roster_item_jid(r->items[i])).domain))
            errand_add(cw, a->jid, roster_item_jid(r->items[i]));
}

static void errand_do(struct contacts_worker *cw, const struct errand *e)
{
    slice contact = { e->text + e->account_len, e->contact_len };
    struct account *a = account_find(cw->worker, (slice){ e->text, e->account_len });
    if (a == NULL || a->state != ACTOR_READY || account_available(a) == 0)
        return;
    if (contact.len == 0)
        errand_for_all(cw, a);
    else
        errand_tell(a, contact);
}

static void errands_run(struct timer *t, struct loop *loop)
{
    struct contacts_worker *cw = CONTAINER_OF(t, struct contacts_worker, run);
    for (unsigned n = 0; n < AT_ONCE && !list_empty(&cw->errands); n++) {
        struct errand *e = CONTAINER_OF(list_pop(&cw->errands), struct errand, node);
        ensure(cw->errand_count > 0);
        cw->errand_count--;
        errand_do(cw, e);
        mem_free(&e);
    }
    if (!list_empty(&cw->errands))
        timer_set(loop, t, PAUSE_MS);
}

static void errands_of(struct contacts_worker *cw, const struct account *a)
{
    const struct roster *r = a->roster;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        if ((sub_sees(r->items[i]->state) || sub_state_ask(r->items[i]->state) || i < r->seen) &&
            map_get(&cw->back, jid_split(contact).domain) != NULL)
            errand_add(cw, a->jid, contact);
    }
}

/* What its contacts are is doubted until they say it. */
static void place_doubt(struct contacts_worker *cw, struct place *p)
{
    LIST_EACH (it, &p->contacts) {
        struct contact *c = CONTAINER_OF(it, struct contact, at);
        c->doubted = roster_sees(c->account, jid_bare_of(c->jid));
    }
    timer_set(contacts_loop(cw), &p->confirm, CONFIRMED_MS + cw->errand_count / AT_ONCE * PAUSE_MS);
}

static void contacts_gather(struct timer *t, struct loop *loop)
{
    struct contacts_worker *cw = CONTAINER_OF(t, struct contacts_worker, gather);
    const struct session *s;
    struct returned *r;
    for (uint32_t i = 0; (s = sessions_next(cw->worker, &i)) != NULL;)
        if (s->available && s->account->sessions.next == &s->node) /* once for each account */
            errands_of(cw, s->account);
    for (uint32_t i = 0; (r = map_next(&cw->back, &i)) != NULL;) {
        struct place *p = map_get(&cw->places, returned_domain(r));
        if (p != NULL)
            place_doubt(cw, p);
        map_del(&cw->back, returned_domain(r));
        mem_free(&r);
    }
    if (!list_empty(&cw->errands) && !timer_is_set(&cw->run))
        timer_set(loop, &cw->run, 0);
}

static void contacts_domain_back(struct worker *w, slice domain)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct place *p = map_get(&cw->places, domain);
    if (p != NULL)
        p->is_lost = false;
    if (map_get(&cw->back, domain) != NULL)
        return;
    struct returned *r = mem_zalloc(sizeof *r + domain.len);
    r->len = (uint16_t)domain.len;
    memcpy(r->domain, domain.ptr, domain.len);
    map_put(&cw->back, r);
    if (!timer_is_set(&cw->gather))
        timer_set(worker_loop(w), &cw->gather, BACK_MS);
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
    struct contacts_worker *cw = contacts_worker_of(s->account->worker);
    (void)saved;
    errand_add(cw, s->account->jid, (slice){ 0 });
    if (!timer_is_set(&cw->run))
        timer_set(contacts_loop(cw), &cw->run, BACK_MS);
}

/* The feature. */

static void contacts_worker_start(struct worker *w)
{
    struct contacts_worker *cw = *worker_state(w, worker_slot) = mem_new(struct contacts_worker);
    cw->worker = w;
    map_init(&cw->places, place_domain);
    map_init(&cw->back, returned_domain);
    list_init(&cw->errands);
    cw->gather.fn = contacts_gather;
    cw->run.fn = errands_run;
    cw->empty.fn = places_empty;
}

static void contacts_worker_stop(struct worker *w)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct place *p;
    timer_cancel(&cw->gather);
    timer_cancel(&cw->run);
    timer_cancel(&cw->empty);
    for (uint32_t i = 0; (p = map_next(&cw->places, &i)) != NULL;)
        timer_cancel(&p->confirm);
}

static void contacts_worker_ended(struct worker *w)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct returned *r;
    if (cw == NULL)
        return;
    for (uint32_t i = 0; (r = map_next(&cw->back, &i)) != NULL;)
        mem_free(&r);
    while (!list_empty(&cw->errands)) {
        struct errand *e = CONTAINER_OF(list_pop(&cw->errands), struct errand, node);
        mem_free(&e);
    }
    map_fini(&cw->places);
    map_fini(&cw->back);
    mem_free(&cw);
    *worker_state(w, worker_slot) = NULL;
}

const struct feature contacts_abroad_feature = {
    .name = "contacts_abroad",
    .parts = PART_PRESENCE | PART_ACCOUNT,
    .metrics = (struct metric *const[]){ &contacts_gone, NULL },
    .account.slot = &account_slot,
    .account.unload = contacts_forget,
    .session.available = contacts_session_available,
    .session.unavailable = contacts_session_unavailable,
    .session.save = contacts_save,
    .session.restore = contacts_restore,
    .stage.block = contacts_block,
    .worker.slot = &worker_slot,
    .worker.start = contacts_worker_start,
    .worker.stop = contacts_worker_stop,
    .worker.ended = contacts_worker_ended,
    .worker.domain_lost = contacts_domain_lost,
    .worker.domain_back = contacts_domain_back,
};
