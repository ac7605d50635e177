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
#include "im/contacts_errand.h"
#include "im/feature.h"
#include "im/foreign.h"
#include "im/presence.h"
#include "im/presence_over.h"
#include "im/roster.h"
#include "im/sessions.h"
#include "im/stage.h"
#include "im/subscription.h"
#include "im/unsubscribe_again.h"
#include "io/timer.h"
#include "xmpp/stanza_error.h"

enum {
    AT_ONCE = 500,           /* contacts that accounts are told of in one go */
    PAUSE_MS = 100,          /* before the next */
    WORD_MS = 100,           /* between what a contact says, and the word that its domain is back */
    BACK_MS = 1000,          /* domains that are back are gathered for so long */
    CONFIRMED_MS = 30 * 1000 /* for the answers to probes */
};

static struct metric contacts_gone = {
    .name = "muster_presence_contacts_gone",
    .kind = METRIC_COUNTER,
    .help = "Contacts on other servers that were shown as unavailable because their server could "
            "not be reached, or had forgotten them.",
};

/* A foreign domain, and one of ours. */
struct pair {
    slice key; /* domain, '/', local: behind what has the pair, in its block */
    size_t domain_len;
};

/* A pair that contacts of this worker's accounts are at. */
struct place {
    struct list contacts; /* struct contact, in their order of coming */
    bool is_lost;         /* its contacts are being told to have gone */
    struct timer confirm; /* who is doubted then has gone */
    struct worker *worker;
    struct pair pair;
};

/* A resource that an account is shown as available. */
struct contact {
    struct list at; /* in place.contacts */
    struct place *place;
    struct account *account;
    bool doubted;      /* its server was away, and it has not said since that it is there */
    uint32_t heard_ms; /* when it last said that, by the clock of the loop */
    slice jid;         /* full; in this block */
};

/* A pair in a contact list of an account that was online, and whether rules let it speak. */
struct spoken {
    bool may;
    bool anew; /* since a moment ago it may again */
    struct pair pair;
};

/* Domains that are back. */
struct returned {
    uint16_t len;
    uint32_t at_ms; /* by the clock of the loop */
    char domain[];
};

/* A contact that rules keep from an account, as a blocked address; it is asked when they let it. */
struct barred {
    slice key; /* account, ' ', contact: in this block */
    size_t account_len;
};

struct contacts_worker {
    struct worker *worker;
    struct map places, back, spoken; /* struct place, struct returned, struct spoken */
    struct map barred;               /* struct barred */
    struct errands *errands;
    struct timer gather, empty; /* of what is back; of places that are lost */
};

/* In the slot of an account: struct contact by JID. */
struct contacts {
    struct map by_jid;
};

static unsigned account_slot, worker_slot;

static slice pair_domain(const struct pair *p) { return (slice){ p->key.ptr, p->domain_len }; }
static slice pair_local(const struct pair *p) { return slice_from(p->key, p->domain_len + 1); }
static uint32_t contacts_now_ms(const struct worker *w)
{
    return (uint32_t)(loop_now_us(worker_loop(w)) / 1000);
}

enum { PAIR_KEY_MAX = 2 * JID_PART_MAX + 1 };
static slice pair_make_key(char key[PAIR_KEY_MAX], slice domain, slice local)
{
    ensure(domain.len > 0 && domain.len <= JID_PART_MAX);
    ensure(local.len > 0 && local.len <= JID_PART_MAX);
    memcpy(key, domain.ptr, domain.len);
    key[domain.len] = '/';
    memcpy(key + domain.len + 1, local.ptr, local.len);
    return (slice){ key, domain.len + 1 + local.len };
}
static struct pair pair_at(void *memory, slice key, slice domain)
{
    memcpy(memory, key.ptr, key.len);
    return (struct pair){ { memory, key.len }, domain.len };
}
static slice contacts_place_key(const void *item) { return ((const struct place *)item)->pair.key; }
static slice spoken_key(const void *item) { return ((const struct spoken *)item)->pair.key; }
static slice contact_jid(const void *item) { return ((const struct contact *)item)->jid; }
static slice returned_domain(const void *item)
{
    const struct returned *r = item;
    return (slice){ r->domain, r->len };
}
static slice barred_key(const void *item) { return ((const struct barred *)item)->key; }
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
    if (errands_wait(contacts_worker_of(p->worker)->errands, pair_domain(&p->pair),
                     pair_local(&p->pair))) { /* not all are asked yet */
        timer_set(loop, t, CONFIRMED_MS);
        return;
    }
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
    char text[PAIR_KEY_MAX];
    slice key = pair_make_key(text, domain, local);
    struct place *p = map_get(&cw->places, key);
    if (p != NULL)
        return p;
    p = mem_zalloc(sizeof *p + key.len);
    p->worker = w;
    p->confirm.fn = place_confirm;
    p->pair = pair_at(p + 1, key, domain);
    list_init(&p->contacts);
    map_put(&cw->places, p);
    abroad_hold(w, domain, local);
    return p;
}

static void contacts_place_free(struct contacts_worker *cw, struct place *p)
{
    timer_cancel(&p->confirm);
    map_del(&cw->places, contacts_place_key(p));
    abroad_release(cw->worker, pair_domain(&p->pair), pair_local(&p->pair));
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
    c->heard_ms = contacts_now_ms(a->worker);
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

/* The stanza that this error answers could not be sent, or its server had no room for it. */
static bool is_unreached(const struct stanza *error)
{
    enum stanza_error condition = stanza_condition(error);
    return condition == SE_RESOURCE_CONSTRAINT || condition == SE_REMOTE_SERVER_TIMEOUT;
}

/* An answer that the server gave for the account, im/unsubscribe_again.h. true: it is given again,
 * and no client is told. */
static bool contact_was_unreached(struct account *a, const struct stanza *st)
{
    slice contact = stanza_from_bare(st);
    if (!stanza_to_is_bare(st) || !foreign_is(a->worker, jid_split(contact).domain) ||
        !unsubscribe_again_holds(a, contact))
        return false;
    (void)errands_refused(
        contacts_worker_of(a->worker)->errands,
        &(struct errand_refusal){ .kind = ERRAND_UNSUBSCRIBE, .who = a->jid, .to = contact });
    return true;
}

static slice error_resource(const struct stanza *st)
{
    return slice_from(stanza_to(st), st->to_bare_len + 1u);
}

static bool is_of_directed(const struct account *a, const struct stanza *error)
{
    const struct session *s = account_session(a, error_resource(error));
    return s != NULL && presence_is_sent(s, stanza_from_bare(error));
}

/* Errors of this server to what it has sent for an account, or a resource of it: there was no room,
 * or the other server was not reached. */

static bool contact_heard_no_farewell(struct worker *w, const struct stanza *st, bool far)
{
    return !stanza_to_is_bare(st) &&
           errands_refused(contacts_worker_of(w)->errands,
                           &(struct errand_refusal){ .kind = ERRAND_FAREWELL,
                                                     .who = stanza_to(st),
                                                     .to = stanza_from(st),
                                                     .named = (enum stanza_named)st->named,
                                                     .far = far });
}

static bool is_farewell(const struct stanza *error)
{
    return error->refused_kind == REFUSED_UNAVAILABLE || error->refused_kind == REFUSED_SAID;
}

static void contacts_error_to_nobody(struct worker *w, const struct stanza *st)
{
    bool far;
    if (is_farewell(st) && (abroad_is_unsent(w, st, &far) || abroad_is_barred(w, st)))
        (void)contact_heard_no_farewell(w, st, far);
}

/* Whether the address must see nothing of the resource that the error is for. */
static bool contact_must_not_see(const struct account *a, const struct stanza *error)
{
    return presence_is_over(a, error_resource(error), stanza_from(error),
                            (enum stanza_named)error->named);
}

static bool contact_was_not_told(struct account *a, const struct stanza *st, bool far)
{
    struct errands *errands = contacts_worker_of(a->worker)->errands;
    slice contact = stanza_from_bare(st);
    bool bare = stanza_to_is_bare(st);
    struct errand_refusal r = { .who = stanza_to(st), .to = contact, .far = far };
    switch (st->refused_kind) {
    case REFUSED_UNAVAILABLE: /* whether it is over is asked later: a session that becomes invisible
                                 (XEP-0186) is so a moment after this error */
        return contact_heard_no_farewell(a->worker, st, far);
    case REFUSED_SAID: /* where the session is shown by other presence, its client must know */
        return !bare && contact_must_not_see(a, st) &&
               contact_heard_no_farewell(a->worker, st, far);
    case REFUSED_AVAILABLE:
        r.kind = ERRAND_SHOW;
        return !bare && !is_of_directed(a, st) &&
               (!roster_is_seen(a, contact) || errands_refused(errands, &r));
    case REFUSED_PROBE:
        r.kind = ERRAND_PROBE;
        return !bare && (!roster_sees(a, contact) || errands_refused(errands, &r));
    default:
        r.kind = ERRAND_ASK;
        return bare && errands_under_way(errands, a->jid, contact) && errands_refused(errands, &r);
    }
}

/* The other server had no room: it does not say for what. It can also have made this up: then it
 * must learn nothing of a session that is hidden from the contact. */
static bool contact_had_no_room(struct account *a, const struct stanza *st)
{
    struct errands *errands = contacts_worker_of(a->worker)->errands;
    slice contact = stanza_from_bare(st);
    bool sees = roster_sees(a, contact);
    struct errand_refusal r = { .who = stanza_to(st), .to = contact, .theirs = true };
    if (!st->arrived || stanza_condition(st) != SE_RESOURCE_CONSTRAINT || stanza_to_is_bare(st) ||
        is_of_directed(a, st) || !foreign_is(a->worker, jid_split(contact).domain) ||
        contact_must_not_see(a, st))
        return false;
    r.kind = ERRAND_SHOW;
    bool shown = errands_refused(errands, &r);
    r.kind = ERRAND_PROBE;
    return shown && (!sees || errands_refused(errands, &r));
}

/* What the server has sent for an account did not get through: probes, answers to probes, broadcast
 * presence (RFC 6121 §4.2.2, §4.3). No client waits for an answer to these, and it would take the
 * error for a contact that has gone (§4.2.3); so they are sent again. The sender of directed
 * presence hears of it. A request goes out from the bare JID (§3.1.2): the user waits for its
 * answer, unless requests are being repeated. true: no client is told. */
static bool contact_did_not_hear(struct account *a, const struct stanza *st)
{
    bool far;
    return contact_was_unreached(a, st) ||
           (abroad_is_unsent(a->worker, st, &far) ? contact_was_not_told(a, st, far)
                                                  : contact_had_no_room(a, st));
}

/* A rule came while what the server has said waited: it is said when the rule ends. */
static bool contact_farewell_was_barred(const struct account *a, const struct stanza *st)
{
    return st->refused_kind == REFUSED_UNAVAILABLE && abroad_is_barred(a->worker, st) &&
           contact_heard_no_farewell(a->worker, st, false);
}

/* Of those that may speak, one is forgotten for another. */
static void spoken_note(struct contacts_worker *cw, slice domain, slice local)
{
    char text[PAIR_KEY_MAX];
    slice key = pair_make_key(text, domain, local);
    struct spoken *p;
    uint32_t i = 0;
    if (map_get(&cw->spoken, key) != NULL)
        return;
    if (cw->spoken.count >= CONTACTS_PAIRS_MAX) {
        while ((p = map_next(&cw->spoken, &i)) != NULL && !p->may)
            ;
        if (p == NULL)
            return;
        map_del(&cw->spoken, spoken_key(p));
        mem_free(&p);
    }
    p = mem_zalloc(sizeof *p + key.len);
    p->pair = pair_at(p + 1, key, domain);
    p->may = foreign_pair(cw->worker, local, domain);
    map_put(&cw->spoken, p);
}

static bool contact_may_speak(struct worker *w, slice account, slice contact)
{
    return foreign_pair(w, jid_split(account).domain, jid_split(contact).domain);
}

enum { BARRED_KEY_MAX = 2 * JID_MAX + 1 };
static slice barred_make_key(char key[BARRED_KEY_MAX], slice account, slice contact)
{
    ensure(account.len <= JID_MAX && contact.len <= JID_MAX);
    memcpy(key, account.ptr, account.len);
    key[account.len] = ' ';
    memcpy(key + account.len + 1, contact.ptr, contact.len);
    return (slice){ key, account.len + 1 + contact.len };
}

static bool contact_is_barred(const struct contacts_worker *cw, slice account, slice contact)
{
    char text[BARRED_KEY_MAX];
    return map_get(&cw->barred, barred_make_key(text, account, contact)) != NULL;
}

/* true: it is noted, if there is room. */
static bool contact_bar(struct contacts_worker *cw, slice account, slice contact)
{
    char text[BARRED_KEY_MAX];
    struct barred *b;
    ensure(account.len > 0 && contact.len > 0);
    if (!foreign_bars(cw->worker, account, contact))
        return false;
    slice key = barred_make_key(text, account, contact);
    if (cw->barred.count >= CONTACTS_PAIRS_MAX || map_get(&cw->barred, key) != NULL)
        return true;
    b = mem_zalloc(sizeof *b + key.len);
    *b = (struct barred){ { memcpy(b + 1, key.ptr, key.len), key.len }, account.len };
    map_put(&cw->barred, b);
    return true;
}

static enum verdict contacts_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    struct contacts_worker *cw = contacts_worker_of(a->worker);
    slice domain = jid_split(stanza_from(st)).domain;
    (void)why;
    if (st->kind == STANZA_PRESENCE && domain.len > 0 && account_available(a) > 0 &&
        foreign_is(a->worker, domain) && roster_find(a->roster, stanza_from_bare(st)) != NULL)
        spoken_note(cw, domain, jid_split(a->jid).domain); /* its contact may be new */
    if (st->kind == STANZA_PRESENCE && st->type == TYPE_ERROR &&
        ((is_unreached(st) && contact_did_not_hear(a, st)) || contact_farewell_was_barred(a, st)))
        return DROP;
    if (st->kind != STANZA_PRESENCE || st->type > TYPE_UNAVAILABLE ||
        st->from_len == st->from_bare_len || !abroad_is_other(a->worker, domain))
        return PASS;
    struct contact *c = contact_find(a, stanza_from(st));
    bool shown = contact_is_shown(a, st);
    if (c != NULL && shown) {
        c->doubted = false;
        c->heard_ms = contacts_now_ms(a->worker);
    } else if (c != NULL) {
        contact_free(c);
    } else if (shown) {
        contact_add(a, stanza_from(st));
    }
    return PASS;
}

static void contacts_session_directs(struct session *s, slice to)
{
    errands_greet(contacts_worker_of(s->account->worker)->errands, session_jid(s), to);
}

static void contacts_session_available(struct session *s)
{
    const struct account *a = s->account;
    const struct roster *r = a->roster;
    if (account_available(a) > 1)
        return;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]), domain = jid_split(contact).domain;
        if (!foreign_is(a->worker, domain))
            continue;
        spoken_note(contacts_worker_of(a->worker), domain, jid_split(a->jid).domain);
        (void)contact_bar(contacts_worker_of(a->worker), a->jid, contact);
        subscription_ask_again(a, contact);
    }
}

/* It may be new in the list, and nothing but the request need have come from it. */
static void contacts_shown(struct account *a, slice contact, bool shown)
{
    slice domain = jid_split(contact).domain;
    if (shown && account_available(a) > 0 && foreign_is(a->worker, domain))
        spoken_note(contacts_worker_of(a->worker), domain, jid_split(a->jid).domain);
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

static void contacts_domain_lost(struct worker *w, slice domain, slice local)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct place *p;
    if (!abroad_is_held(w, domain))
        return;
    for (uint32_t i = 0; (p = map_next(&cw->places, &i)) != NULL;) {
        if (!slice_eq(pair_domain(&p->pair), domain) ||
            (local.len > 0 && !slice_eq(pair_local(&p->pair), local)))
            continue;
        p->is_lost = true;
        if (!timer_is_set(&cw->empty))
            timer_set(worker_loop(w), &cw->empty, 0);
    }
}

/* It is back. */

/* Its server is, or a rule lets it speak again. */
static bool pair_is_back(const struct contacts_worker *cw, slice domain, slice local)
{
    char text[PAIR_KEY_MAX];
    const struct spoken *p = map_get(&cw->spoken, pair_make_key(text, domain, local));
    return p != NULL && !p->may ? false
                                : map_get(&cw->back, domain) != NULL || (p != NULL && p->anew);
}

/* Once for each account that is online, be it by another session. */
static bool is_first_of_available(const struct session *s)
{
    return s->account->sessions.next == &s->node && account_available(s->account) > 0;
}

static void errands_of(struct contacts_worker *cw, const struct account *a)
{
    const struct roster *r = a->roster;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        if ((sub_sees(r->items[i]->state) || sub_state_ask(r->items[i]->state) || i < r->seen) &&
            pair_is_back(cw, jid_split(contact).domain, jid_split(a->jid).domain) &&
            !contact_bar(cw, a->jid, contact))
            errands_add(cw->errands, a->jid, contact);
    }
}

/* What its contacts are is doubted until they say it: those that have not since it is back. What
 * they say can come before the word that it is back. */
static void place_doubt(struct contacts_worker *cw, struct place *p, const struct returned *r)
{
    LIST_EACH (it, &p->contacts) {
        struct contact *c = CONTAINER_OF(it, struct contact, at);
        bool heard = (int32_t)(c->heard_ms - r->at_ms) >= -WORD_MS;
        c->doubted = !heard && roster_sees(c->account, jid_bare_of(c->jid));
    }
    timer_set(contacts_loop(cw), &p->confirm, CONFIRMED_MS);
}

static void contacts_gather(struct timer *t, struct loop *loop)
{
    (void)loop;
    struct contacts_worker *cw = CONTAINER_OF(t, struct contacts_worker, gather);
    const struct session *s;
    struct returned *r;
    struct place *p;
    struct spoken *k;
    for (uint32_t i = 0; (s = sessions_next(cw->worker, &i)) != NULL;)
        if (is_first_of_available(s))
            errands_of(cw, s->account);
    for (uint32_t i = 0; (p = map_next(&cw->places, &i)) != NULL;)
        if ((r = map_get(&cw->back, pair_domain(&p->pair))) != NULL)
            place_doubt(cw, p, r);
    for (uint32_t i = 0; (r = map_next(&cw->back, &i)) != NULL;) {
        map_del(&cw->back, returned_domain(r));
        mem_free(&r);
    }
    for (uint32_t i = 0; (k = map_next(&cw->spoken, &i)) != NULL;)
        k->anew = false;
}

static void contacts_gather_soon(struct contacts_worker *cw)
{
    if (!timer_is_set(&cw->gather))
        timer_set(contacts_loop(cw), &cw->gather, BACK_MS);
}

static void contacts_domain_back(struct worker *w, slice domain)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct place *p;
    errands_back(cw->errands, domain);
    for (uint32_t i = 0; (p = map_next(&cw->places, &i)) != NULL;)
        if (slice_eq(pair_domain(&p->pair), domain) && abroad_pair(w, pair_local(&p->pair), domain))
            p->is_lost = false;
    struct returned *r = map_get(&cw->back, domain);
    if (r != NULL) { /* again */
        r->at_ms = contacts_now_ms(w);
        return;
    }
    r = mem_zalloc(sizeof *r + domain.len);
    r->len = (uint16_t)domain.len;
    r->at_ms = contacts_now_ms(w);
    memcpy(r->domain, domain.ptr, domain.len);
    map_put(&cw->back, r);
    contacts_gather_soon(cw);
}

static void place_bar(struct contacts_worker *cw, struct place *p)
{
    LIST_EACH (it, &p->contacts) {
        struct contact *c = CONTAINER_OF(it, struct contact, at);
        bool last = c->at.next == &p->contacts;
        if (foreign_is(cw->worker, pair_domain(&p->pair)) &&
            contact_bar(cw, c->account->jid, jid_bare_of(c->jid)))
            contact_gone(c);
        if (last) /* the place may have gone with it */
            return;
    }
}

/* A contact is not asked twice where all of its domain are asked anyway. */
static void contacts_barred_changed(struct contacts_worker *cw)
{
    struct barred *b;
    struct place *p;
    for (uint32_t i = 0; (b = map_next(&cw->barred, &i)) != NULL;) {
        slice account = { b->key.ptr, b->account_len };
        slice contact = slice_from(b->key, b->account_len + 1);
        if (!contact_may_speak(cw->worker, account, contact) ||
            foreign_bars(cw->worker, account, contact))
            continue;
        if (!pair_is_back(cw, jid_split(contact).domain, jid_split(account).domain))
            errands_add(cw->errands, account, contact);
        map_del(&cw->barred, barred_key(b));
        mem_free(&b);
    }
    for (uint32_t i = 0; (p = map_next(&cw->places, &i)) != NULL;)
        place_bar(cw, p);
}

static bool is_separated(const struct session *s, slice jid)
{
    return foreign_separates(s->account->worker, jid_split(s->account->jid).domain,
                             jid_split(jid).domain);
}

/* Contacts elsewhere that a rule has just separated it from would see it for ever. */
static void session_parts(struct session *s, const struct contacts_worker *cw)
{
    const struct roster *r = s->account->roster;
    slice local = jid_split(s->account->jid).domain;
    char key[PAIR_KEY_MAX];
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        const struct spoken *p =
            map_get(&cw->spoken, pair_make_key(key, jid_split(contact).domain, local));
        if (p != NULL && p->may && sub_is_seen(r->items[i]->state) && is_separated(s, contact))
            presence_tell(s, contact, TYPE_UNAVAILABLE);
    }
}

static bool is_kept_apart(const struct session *s, slice jid)
{
    struct worker *w = s->account->worker;
    return foreign_is(w, jid_split(jid).domain) &&
           (is_separated(s, jid) || foreign_bars(w, s->account->jid, jid_bare_of(jid)));
}

/* The same of rooms elsewhere, and whoever else was sent directed presence: also where the rule is
 * for their address alone. */
static void sessions_part(const struct contacts_worker *cw)
{
    const struct spoken *p;
    struct session *s;
    bool any = false;
    for (uint32_t i = 0; !any && (p = map_next(&cw->spoken, &i)) != NULL;)
        any = p->may && !foreign_pair(cw->worker, pair_local(&p->pair), pair_domain(&p->pair));
    for (uint32_t i = 0; (s = sessions_next(cw->worker, &i)) != NULL;) {
        presence_directed_drop(s, is_kept_apart);
        if (any && session_is_available(s) && !s->hidden)
            session_parts(s, cw);
    }
}

static void session_hides(struct session *s, slice contact)
{
    if (session_is_available(s) && !s->hidden && stage_view(s, contact))
        presence_tell(s, contact, TYPE_UNAVAILABLE);
}

/* Contacts whose addresses alone a rule keeps from the account since now. Those that see it would
 * do so for ever; they and those that it has asked for a subscription are noted, as are domains. */
static void account_parts(struct contacts_worker *cw, const struct account *a)
{
    const struct roster *r = a->roster;
    ensure(account_here(a) && account_available(a) > 0);
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]), domain = jid_split(contact).domain;
        bool seen = i < r->seen && stage_show(a, contact);
        if (!(seen || sub_state_ask(r->items[i]->state)) || !foreign_is(cw->worker, domain))
            continue;
        spoken_note(cw, domain, jid_split(a->jid).domain);
        if (contact_is_barred(cw, a->jid, contact) || !contact_bar(cw, a->jid, contact) || !seen)
            continue;
        SESSIONS_EACH (s, a)
            session_hides(s, contact);
    }
}

static void accounts_part(struct contacts_worker *cw)
{
    const struct session *s;
    for (uint32_t i = 0; (s = sessions_next(cw->worker, &i)) != NULL;)
        if (is_first_of_available(s))
            account_parts(cw, s->account);
}

/* Rules have changed: contacts that may not be seen any more go, those that may again are asked. */
static void contacts_pairs_changed(struct worker *w)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    sessions_part(cw);
    struct spoken *p;
    struct place *place;
    for (uint32_t i = 0; (p = map_next(&cw->spoken, &i)) != NULL;) {
        bool may = foreign_pair(w, pair_local(&p->pair), pair_domain(&p->pair));
        p->anew = may && (p->anew || !p->may);
        p->may = may;
        if (!p->anew)
            continue;
        if ((place = map_get(&cw->places, p->pair.key)) != NULL)
            place->is_lost = false;
        errands_back(cw->errands, pair_domain(&p->pair));
        contacts_gather_soon(cw);
    }
    accounts_part(cw);
    contacts_barred_changed(cw);
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
    errands_add(contacts_worker_of(s->account->worker)->errands, s->account->jid, (slice){ 0 });
}

static void contacts_look(struct account *a, slice contact)
{
    struct contacts_worker *cw = contacts_worker_of(a->worker);
    if (!foreign_is(a->worker, jid_split(contact).domain) || !contact_bar(cw, a->jid, contact))
        errands_look(cw->errands, a->jid, contact);
}

/* The feature. */

static void contacts_worker_start(struct worker *w)
{
    struct contacts_worker *cw = *worker_state(w, worker_slot) = mem_new(struct contacts_worker);
    cw->worker = w;
    map_init(&cw->places, contacts_place_key);
    map_init(&cw->back, returned_domain);
    map_init(&cw->spoken, spoken_key);
    map_init(&cw->barred, barred_key);
    cw->errands = errands_create(w);
    cw->gather.fn = contacts_gather;
    cw->empty.fn = places_empty;
}

static void contacts_worker_stop(struct worker *w)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct place *p;
    timer_cancel(&cw->gather);
    timer_cancel(&cw->empty);
    errands_stop(cw->errands);
    for (uint32_t i = 0; (p = map_next(&cw->places, &i)) != NULL;)
        timer_cancel(&p->confirm);
}

static void contacts_worker_ended(struct worker *w)
{
    struct contacts_worker *cw = contacts_worker_of(w);
    struct returned *r;
    struct spoken *p;
    struct barred *b;
    if (cw == NULL)
        return;
    for (uint32_t i = 0; (b = map_next(&cw->barred, &i)) != NULL;)
        mem_free(&b);
    map_fini(&cw->barred);
    for (uint32_t i = 0; (r = map_next(&cw->back, &i)) != NULL;)
        mem_free(&r);
    for (uint32_t i = 0; (p = map_next(&cw->spoken, &i)) != NULL;)
        mem_free(&p);
    errands_destroy(&cw->errands);
    map_fini(&cw->spoken);
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
    .account.error_to_nobody = contacts_error_to_nobody,
    .account.contact_shown = contacts_shown,
    .account.looks = contacts_look,
    .session.directs = contacts_session_directs,
    .session.available = contacts_session_available,
    .session.unavailable = contacts_session_unavailable,
    .session.save = contacts_save,
    .session.restore = contacts_restore,
    .stage.block = contacts_block,
    .foreign.changed = contacts_pairs_changed,
    .worker.slot = &worker_slot,
    .worker.start = contacts_worker_start,
    .worker.stop = contacts_worker_stop,
    .worker.ended = contacts_worker_ended,
    .worker.domain_lost = contacts_domain_lost,
    .worker.domain_back = contacts_domain_back,
};
