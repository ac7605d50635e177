#include "im/contacts_errand.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/router.h"
#include "im/abroad.h"
#include "im/account.h"
#include "im/presence.h"
#include "im/roster.h"
#include "im/subscription.h"
#include "im/unsubscribe_again.h"
#include "io/timer.h"
#include "xmpp/ns.h"

enum {
    AT_ONCE = 500,              /* errands in one go */
    PAUSE_MS = 100,             /* before the next */
    WIDE_MS = 1000,             /* a server that has just started connects first */
    PING_MS = 5000,             /* for the answer behind a portion: some servers give none */
    AGAIN_MS = 1000,            /* after a portion that found no room */
    REFUSALS_MAX = 100,         /* such portions in a row; then what is refused is not done again */
    LATE_MAX = 100,             /* the same for refusals outside of portions */
    LANE_MAX = ERRANDS_MAX / 8, /* of one lane; then what is refused is not done again: a server may
                                   say so as often as it likes, and others have errands, too */
    QUIET_MS = 10 * 1000        /* without any of them; then they are counted anew */
};

struct errand {
    struct list node; /* in lane.errands, or errands.wide */
    bool unsubscribe; /* it is only to say that */
    uint16_t account_len, contact_len;
    char text[]; /* account, contact */
};

/* Those from a domain of ours to a foreign one. */
struct lane {
    struct errands *all;
    struct list errands;
    uint32_t count;    /* of these */
    struct list ready; /* in errands.ready, or not linked */
    bool busy;         /* a portion is under way */
    bool refused;      /* some of it found no room */
    uint8_t refusals;
    uint8_t late;       /* at most LATE_MAX: how often refusals outside of portions came */
    bool quiet;         /* nothing is to be done: it stays, until `again`, for that count */
    struct ask *ask;    /* the ping behind the portion */
    struct timer again; /* then it is ready */
    uint16_t domain_len, local_len;
    char key[]; /* domain, '/', local */
};

struct errands {
    struct worker *worker;
    struct map lanes;
    struct list ready; /* lanes whose turn it is */
    struct list wide;  /* for all contacts of an account */
    uint32_t count;
    bool stopped;
    struct timer run;
};

enum { LANE_KEY_MAX = 2 * JID_PART_MAX + 1 };

static slice errand_lane_key(const void *item)
{
    const struct lane *l = item;
    return (slice){ l->key, l->domain_len + 1u + l->local_len };
}
static slice lane_domain(const struct lane *l) { return (slice){ l->key, l->domain_len }; }
static slice lane_local(const struct lane *l)
{
    return (slice){ l->key + l->domain_len + 1, l->local_len };
}
static slice errand_lane_make_key(char key[LANE_KEY_MAX], slice domain, slice local)
{
    ensure(domain.len > 0 && domain.len <= JID_PART_MAX);
    ensure(local.len > 0 && local.len <= JID_PART_MAX);
    memcpy(key, domain.ptr, domain.len);
    key[domain.len] = '/';
    memcpy(key + domain.len + 1, local.ptr, local.len);
    return (slice){ key, domain.len + 1 + local.len };
}

static slice errand_account(const struct errand *e) { return (slice){ e->text, e->account_len }; }
static slice errand_contact(const struct errand *e)
{
    return (slice){ e->text + e->account_len, e->contact_len };
}

static void errands_wake(struct errands *all, uint64_t ms)
{
    if (!timer_is_set(&all->run))
        timer_set(worker_loop(all->worker), &all->run, ms);
}

static void lane_is_ready(struct lane *l)
{
    if (l->busy || list_linked(&l->ready) || timer_is_set(&l->again))
        return;
    list_append(&l->all->ready, &l->ready);
    errands_wake(l->all, 0);
}

static void lane_again(struct timer *t, struct loop *loop)
{
    (void)loop;
    lane_is_ready(CONTAINER_OF(t, struct lane, again));
}

static struct lane *lane_find(const struct errands *all, slice domain, slice local)
{
    char key[LANE_KEY_MAX];
    return map_get(&all->lanes, errand_lane_make_key(key, domain, local));
}

static struct lane *lane_get(struct errands *all, slice domain, slice local)
{
    struct lane *l = lane_find(all, domain, local);
    if (l != NULL)
        return l;
    l = mem_zalloc(sizeof *l + domain.len + 1 + local.len);
    l->all = all;
    l->again.fn = lane_again;
    list_init(&l->errands);
    l->domain_len = (uint16_t)domain.len;
    l->local_len = (uint16_t)local.len;
    (void)errand_lane_make_key(l->key, domain, local);
    map_put(&all->lanes, l);
    return l;
}

static void lane_rouse(struct lane *l)
{
    if (l->quiet)
        timer_cancel(&l->again);
    l->quiet = false;
}

static struct errand *errand_make(struct errands *all, slice account, slice contact)
{
    ensure(account.len > 0 && account.len <= JID_MAX && contact.len <= JID_MAX);
    struct errand *e = mem_zalloc(sizeof *e + account.len + contact.len);
    e->account_len = (uint16_t)account.len;
    e->contact_len = (uint16_t)contact.len;
    memcpy(e->text, account.ptr, account.len);
    if (contact.len > 0)
        memcpy(e->text + account.len, contact.ptr, contact.len);
    all->count++;
    return e;
}

static void errand_free(struct errands *all, struct errand *e)
{
    ensure(all->count > 0);
    all->count--;
    mem_free(&e);
}

static struct errand *errand_put(struct errands *all, slice account, slice contact)
{
    struct lane *l = lane_get(all, jid_split(contact).domain, jid_split(account).domain);
    struct errand *e = errand_make(all, account, contact);
    lane_rouse(l);
    list_append(&l->errands, &e->node);
    l->count++;
    lane_is_ready(l);
    return e;
}

void errands_add(struct errands *all, slice account, slice contact)
{
    if (all->count >= ERRANDS_MAX)
        return;
    if (contact.len > 0) {
        (void)errand_put(all, account, contact);
        return;
    }
    list_append(&all->wide, &errand_make(all, account, contact)->node);
    errands_wake(all, WIDE_MS);
}

bool errands_wait(const struct errands *all, slice domain, slice local)
{
    const struct lane *l = lane_find(all, domain, local);
    return l != NULL && !l->quiet;
}

static bool lane_ends_with(const struct lane *l, slice account, slice contact)
{
    const struct errand *last = CONTAINER_OF(l->errands.prev, const struct errand, node);
    return !list_empty(&l->errands) && !last->unsubscribe &&
           slice_eq(errand_account(last), account) && slice_eq(errand_contact(last), contact);
}

/* An errand has several stanzas, and each may be refused. */
static void errand_put_once(struct errands *all, const struct lane *l, slice account, slice contact)
{
    if (!lane_ends_with(l, account, contact))
        (void)errand_put(all, account, contact);
}

bool errands_again(struct errands *all, slice account, slice contact)
{
    struct lane *l = lane_find(all, jid_split(contact).domain, jid_split(account).domain);
    if (l == NULL || !l->busy || l->refusals >= REFUSALS_MAX || l->count >= LANE_MAX ||
        all->count >= ERRANDS_MAX)
        return false;
    l->refused = true;
    errand_put_once(all, l, account, contact);
    return true;
}

static void lane_is_late(struct lane *l)
{
    ensure(!l->busy && !l->quiet && l->late < LATE_MAX);
    if (list_linked(&l->ready) || timer_is_set(&l->again))
        return;
    l->late++;
    timer_set(worker_loop(l->all->worker), &l->again, AGAIN_MS);
}

bool errands_refused(struct errands *all, slice account, slice contact)
{
    if (all->stopped || errands_again(all, account, contact))
        return true;
    if (all->count >= ERRANDS_MAX)
        return false;
    struct lane *l = lane_get(all, jid_split(contact).domain, jid_split(account).domain);
    if (l->busy || l->late >= LATE_MAX || l->count >= LANE_MAX)
        return false;
    lane_rouse(l);
    lane_is_late(l);
    errand_put_once(all, l, account, contact);
    return true;
}

void errands_unsubscribe(struct errands *all, slice account, slice contact)
{
    if (all->stopped || all->count >= ERRANDS_MAX)
        return;
    struct lane *l = lane_get(all, jid_split(contact).domain, jid_split(account).domain);
    if (l->count >= LANE_MAX || (l->busy ? l->refusals >= REFUSALS_MAX : l->late >= LATE_MAX))
        return;
    lane_rouse(l);
    if (l->busy)
        l->refused = true;
    else
        lane_is_late(l);
    errand_put(all, account, contact)->unsubscribe = true;
}

/* Doing them. */

/* An account that is here, and online. */
static struct account *errand_sender(const struct errands *all, const struct errand *e)
{
    struct account *a = account_find(all->worker, errand_account(e));
    return a != NULL && a->state == ACTOR_READY && account_available(a) > 0 ? a : NULL;
}

static void errand_tell(struct account *a, slice contact)
{
    if (roster_is_seen(a, contact))
        presence_show(a, contact);
    if (roster_sees(a, contact))
        presence_probe(a, contact);
    subscription_ask_again(a, contact);
}

static void errand_spread(struct errands *all, const struct errand *e)
{
    const struct account *a = errand_sender(all, e);
    const struct roster *r = a == NULL ? NULL : a->roster;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        if (abroad_is(all->worker, jid_split(contact).domain))
            errands_add(all, a->jid, contact);
    }
}

static void lane_ponged(struct worker *w, void *arg, const struct stanza *reply)
{
    struct lane *l = arg;
    (void)w, (void)reply;
    ensure(l->busy);
    l->ask = NULL;
    l->busy = false;
    l->refusals = l->refused ? (uint8_t)(l->refusals + 1) : 0;
    if (l->refused)
        timer_set(worker_loop(l->all->worker), &l->again, AGAIN_MS);
    else
        lane_is_ready(l);
}

/* The answer may come at once. */
static void lane_ping(struct lane *l, slice home)
{
    const struct ask_request ping = { .type = TYPE_GET,
                                      .from = lane_local(l),
                                      .to = lane_domain(l),
                                      .home = home,
                                      .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                                      .timeout_ms = PING_MS };
    struct ask *a = ask_send(l->all->worker, &ping, lane_ponged, l);
    if (a == NULL && l->busy)
        lane_ponged(l->all->worker, l, NULL);
    else if (l->busy)
        l->ask = a;
}

static void lane_free(struct lane *l)
{
    ensure(!l->busy && l->ask == NULL && list_empty(&l->errands) && !list_linked(&l->ready));
    timer_cancel(&l->again);
    map_del(&l->all->lanes, errand_lane_key(l));
    mem_free(&l);
}

static void lane_rest(struct lane *l)
{
    ensure(l->late > 0);
    l->quiet = true;
    timer_set(worker_loop(l->all->worker), &l->again, QUIET_MS);
}

/* Nothing is left to be done. A server that refuses everything later than a portion lasts would be
 * asked for ever if that were not remembered. */
static void lane_end(struct lane *l)
{
    ensure(!l->busy && list_empty(&l->errands));
    if (l->late == 0 || l->quiet)
        lane_free(l);
    else
        lane_rest(l);
}

/* A portion; how many it has. */
static unsigned lane_go(struct lane *l)
{
    struct errands *all = l->all;
    char home[JID_MAX];
    size_t home_len = 0;
    unsigned done = 0;
    l->busy = true;
    l->refused = false;
    for (; done < ERRANDS_PORTION && !l->refused && !list_empty(&l->errands); done++) {
        struct errand *e = CONTAINER_OF(list_pop(&l->errands), struct errand, node);
        l->count--;
        struct account *a = errand_sender(all, e);
        if (a != NULL) {
            memcpy(home, a->jid.ptr, a->jid.len);
            home_len = a->jid.len;
            if (e->unsubscribe)
                unsubscribe_again_say(a, errand_contact(e));
            else
                errand_tell(a, errand_contact(e));
        }
        errand_free(all, e);
    }
    if (home_len > 0) {
        lane_ping(l, (slice){ home, home_len });
    } else {
        l->busy = false;
        if (list_empty(&l->errands))
            lane_end(l);
        else
            lane_is_ready(l);
    }
    return done;
}

static void errands_run(struct timer *t, struct loop *loop)
{
    struct errands *all = CONTAINER_OF(t, struct errands, run);
    unsigned n = 0;
    while (n < AT_ONCE && !list_empty(&all->wide)) {
        struct errand *e = CONTAINER_OF(list_pop(&all->wide), struct errand, node);
        errand_spread(all, e);
        errand_free(all, e);
        n++;
    }
    while (n < AT_ONCE && !list_empty(&all->ready)) {
        struct lane *l = CONTAINER_OF(all->ready.next, struct lane, ready);
        list_remove(&l->ready);
        n += lane_go(l);
    }
    if (!list_empty(&all->wide) || !list_empty(&all->ready))
        timer_set(loop, t, PAUSE_MS);
}

struct errands *errands_create(struct worker *w)
{
    struct errands *all = mem_new(struct errands);
    all->worker = w;
    all->run.fn = errands_run;
    map_init(&all->lanes, errand_lane_key);
    list_init(&all->ready);
    list_init(&all->wide);
    return all;
}

void errands_stop(struct errands *all)
{
    struct lane *l;
    all->stopped = true;
    timer_cancel(&all->run);
    for (uint32_t i = 0; (l = map_next(&all->lanes, &i)) != NULL;) {
        timer_cancel(&l->again);
        ask_cancel(&l->ask);
    }
}

static void errand_list_free(struct errands *all, struct list *list)
{
    while (!list_empty(list))
        errand_free(all, CONTAINER_OF(list_pop(list), struct errand, node));
}

void errands_destroy(struct errands **pe)
{
    struct errands *all = *pe;
    struct lane *l;
    *pe = NULL;
    if (all == NULL)
        return;
    for (uint32_t i = 0; (l = map_next(&all->lanes, &i)) != NULL;) {
        errand_list_free(all, &l->errands);
        mem_free(&l);
    }
    errand_list_free(all, &all->wide);
    ensure(all->count == 0);
    map_fini(&all->lanes);
    mem_free(&all);
}
