#include "im/contacts_errand.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/router.h"
#include "im/account.h"
#include "im/foreign.h"
#include "im/presence.h"
#include "im/presence_over.h"
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
    AGAIN_MS = 1000,            /* after a refusal */
    SOON_MS = 250,              /* after a portion of which a part got through */
    FAR_MS = 30 * 1000,         /* the longest after one whose server was not reached; while a rule
                                   bars the way */
    FAR_DOUBLES = 5,            /* so often AGAIN_MS doubles before it is FAR_MS */
    FAILURES_MAX = 100,         /* then what is refused is not done again */
    LANE_MAX = ERRANDS_MAX / 8, /* of one lane; the same: a server may say so as often as it likes,
                                   and others have errands, too */
    QUIET_MS = 60 * 1000,       /* for that long a lane stays that has nothing to do */
    ERRAND_KEY_MAX = 2 * JID_MAX + 3
};

struct errand {
    struct list node; /* in lane.errands, or errands.wide */
    uint16_t who_len, to_len;
    char key[]; /* who, '\n', to, two digits: enum errand_kind, enum stanza_named */
};

/* Those from a domain of ours to a foreign one. */
struct lane {
    struct errands *all;
    struct list errands;
    struct map known;  /* the same by key: each once; its count */
    struct list ready; /* in errands.ready, or not linked */
    bool busy;         /* a portion is under way */
    bool far, theirs;  /* since it began: of struct errand_refusal */
    bool quiet;        /* nothing is to be done: it stays, until `again`, for its failures */
    uint8_t portion;   /* errands: fewer if some are refused */
    uint8_t failures;  /* portions in a row of which nothing got through: at most FAILURES_MAX */
    uint32_t sent, refused; /* stanzas of the last portion; since it began */
    struct ask *ask;        /* the ping behind the portion */
    struct timer again;     /* then it is ready */
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

static slice errand_key(const void *item)
{
    const struct errand *e = item;
    return (slice){ e->key, e->who_len + 1u + e->to_len + 2u };
}
static slice errand_who(const struct errand *e) { return (slice){ e->key, e->who_len }; }
static slice errand_to(const struct errand *e)
{
    return (slice){ e->key + e->who_len + 1, e->to_len };
}
static enum errand_kind errand_kind(const struct errand *e)
{
    return (enum errand_kind)(e->key[e->who_len + 1 + e->to_len] - '0');
}
static enum stanza_named errand_named(const struct errand *e)
{
    return (enum stanza_named)(e->key[e->who_len + 1 + e->to_len + 1] - '0');
}
static slice errand_make_key(char key[ERRAND_KEY_MAX], const struct errand_refusal *r)
{
    slice who = r->who, to = r->to;
    ensure(who.len > 0 && who.len <= JID_MAX && to.len <= JID_MAX);
    memcpy(key, who.ptr, who.len);
    key[who.len] = '\n';
    if (to.len > 0)
        memcpy(key + who.len + 1, to.ptr, to.len);
    key[who.len + 1 + to.len] = (char)('0' + r->kind);
    key[who.len + 1 + to.len + 1] = (char)('0' + r->named);
    return (slice){ key, who.len + 1 + to.len + 2 };
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
    l->portion = ERRANDS_PORTION;
    list_init(&l->errands);
    map_init(&l->known, errand_key);
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

static struct errand *errand_make(struct errands *all, slice key, slice who, slice to)
{
    ensure(key.len == who.len + to.len + 3);
    struct errand *e = mem_zalloc(sizeof *e + key.len);
    e->who_len = (uint16_t)who.len;
    e->to_len = (uint16_t)to.len;
    memcpy(e->key, key.ptr, key.len);
    all->count++;
    return e;
}

static void errand_free(struct errands *all, struct errand *e)
{
    ensure(all->count > 0);
    all->count--;
    mem_free(&e);
}

static struct lane *lane_between(struct errands *all, slice who, slice to)
{
    return lane_get(all, jid_split(to).domain, jid_split(who).domain);
}

static void errand_put(struct errands *all, const struct errand_refusal *r)
{
    char text[ERRAND_KEY_MAX];
    slice key = errand_make_key(text, r);
    struct lane *l = lane_between(all, r->who, r->to);
    lane_rouse(l);
    if (map_get(&l->known, key) == NULL) {
        struct errand *e = errand_make(all, key, r->who, r->to);
        list_append(&l->errands, &e->node);
        map_put(&l->known, e);
    }
    lane_is_ready(l);
}

void errands_add(struct errands *all, slice account, slice contact)
{
    char key[ERRAND_KEY_MAX];
    if (all->count >= ERRANDS_MAX)
        return;
    const struct errand_refusal r = { ERRAND_TELL, .who = account, .to = contact };
    if (contact.len > 0) {
        errand_put(all, &r);
        return;
    }
    struct errand *e = errand_make(all, errand_make_key(key, &r), account, contact);
    list_append(&all->wide, &e->node);
    errands_wake(all, WIDE_MS);
}

void errands_look(struct errands *all, slice account, slice contact)
{
    if (all->count < ERRANDS_MAX)
        errand_put(all, &(struct errand_refusal){ ERRAND_LOOK, .who = account, .to = contact });
}

bool errands_wait(const struct errands *all, slice domain, slice local)
{
    const struct lane *l = lane_find(all, domain, local);
    return l != NULL && !l->quiet;
}

static void lane_pause(struct lane *l, uint64_t ms)
{
    if (l->far)
        ms = l->failures < FAR_DOUBLES ? (uint64_t)AGAIN_MS << l->failures : FAR_MS;
    timer_set(worker_loop(l->all->worker), &l->again, ms);
}

bool errands_under_way(const struct errands *all, slice who, slice to)
{
    const struct lane *l = lane_find(all, jid_split(to).domain, jid_split(who).domain);
    return l != NULL && l->busy;
}

bool errands_refused(struct errands *all, const struct errand_refusal *r)
{
    if (all->stopped)
        return true;
    if (all->count >= ERRANDS_MAX)
        return false;
    struct lane *l = lane_between(all, r->who, r->to);
    if (l->failures >= FAILURES_MAX || l->known.count >= LANE_MAX)
        return false;
    lane_rouse(l);
    l->refused++;
    l->far = l->far || r->far;
    l->theirs = l->theirs || r->theirs;
    if (!l->busy && !list_linked(&l->ready) && !timer_is_set(&l->again))
        lane_pause(l, AGAIN_MS);
    errand_put(all, r);
    return true;
}

void errands_greet(struct errands *all, slice resource, slice to)
{
    char text[ERRAND_KEY_MAX];
    struct lane *l = lane_find(all, jid_split(to).domain, jid_split(resource).domain);
    struct errand_refusal r = { ERRAND_FAREWELL, .who = resource, .to = to };
    for (unsigned named = NAMED_USUAL; l != NULL && named <= NAMED_MAIL; named++) {
        r.named = (enum stanza_named)named;
        struct errand *e = map_del(&l->known, errand_make_key(text, &r));
        if (e == NULL)
            continue;
        list_remove(&e->node);
        errand_free(all, e);
    }
}

void errands_back(struct errands *all, slice domain)
{
    struct lane *l;
    for (uint32_t i = 0; (l = map_next(&all->lanes, &i)) != NULL;) {
        if (l->quiet || !timer_is_set(&l->again) || !slice_eq(lane_domain(l), domain))
            continue;
        timer_cancel(&l->again);
        lane_is_ready(l);
    }
}

/* Doing them. */

/* An account that is here, and online. */
static struct account *errand_sender(const struct errands *all, const struct errand *e)
{
    struct account *a = account_find(all->worker, jid_bare_of(errand_who(e)));
    return a != NULL && a->state == ACTOR_READY && account_available(a) > 0 ? a : NULL;
}

static unsigned errand_tell(struct account *a, slice contact)
{
    bool seen = roster_is_seen(a, contact), sees = roster_sees(a, contact);
    if (seen)
        presence_show(a, contact);
    if (sees)
        presence_probe(a, contact);
    bool asked = subscription_ask_again(a, contact);
    return account_available(a) * ((unsigned)seen + sees) + asked;
}

static unsigned errand_tell_one(struct account *a, const struct errand *e)
{
    struct session *s = account_session(a, jid_split(errand_who(e)).resource);
    bool probe = errand_kind(e) == ERRAND_PROBE;
    slice contact = errand_to(e);
    if (s == NULL || !(probe ? roster_sees(a, contact) : roster_is_seen(a, contact)))
        return 0;
    presence_tell(s, contact, probe ? TYPE_PROBE : TYPE_AVAILABLE);
    return 1;
}

static unsigned errand_look(const struct account *a, slice contact)
{
    SESSIONS_EACH (s, a)
        if (s->available && s->hidden == SESSION_SHOWN && roster_sees(a, contact)) {
            presence_tell(s, contact, TYPE_PROBE);
            return 1;
        }
    return 0;
}

/* Also of an account without a session. */
static unsigned errand_say_farewell(const struct errands *all, const struct errand *e)
{
    slice resource = errand_who(e), to = errand_to(e);
    ensure(jid_split(resource).resource.len > 0 && to.len > 0);
    const struct account *a = account_find(all->worker, jid_bare_of(resource));
    if (!node_is_home(all->worker, jid_bare_of(resource)) ||
        (a != NULL && !presence_is_over(a, jid_split(resource).resource, to, errand_named(e))))
        return 0;
    struct stanza *st =
        stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, resource, to, (slice){ 0 }, (slice){ 0 });
    st->named = (uint8_t)errand_named(e);
    route_send(all->worker, st);
    return 1;
}

/* The number of stanzas, about: 0: there was nothing to say any more. */
static unsigned errand_do(const struct errands *all, const struct errand *e)
{
    if (errand_kind(e) == ERRAND_FAREWELL)
        return errand_say_farewell(all, e);
    struct account *a = errand_sender(all, e);
    if (a == NULL)
        return 0;
    switch (errand_kind(e)) {
    case ERRAND_TELL:
        return errand_tell(a, errand_to(e));
    case ERRAND_ASK:
        return subscription_ask_again(a, errand_to(e));
    case ERRAND_LOOK:
        return errand_look(a, errand_to(e));
    case ERRAND_UNSUBSCRIBE:
        unsubscribe_again_say(a, errand_to(e));
        return 1;
    default:
        return errand_tell_one(a, e);
    }
}

static void errand_spread(struct errands *all, const struct errand *e)
{
    const struct account *a = errand_sender(all, e);
    const struct roster *r = a == NULL ? NULL : a->roster;
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        slice contact = roster_item_jid(r->items[i]);
        if (foreign_is(all->worker, jid_split(contact).domain))
            errands_add(all, a->jid, contact);
    }
}

/* A part of the last portion, or all of it. A server that refuses presence and takes probes would
 * be asked for ever. */
static bool lane_got_through(const struct lane *l) { return l->refused < l->sent && !l->theirs; }

static void lane_ponged(struct worker *w, void *arg, const struct stanza *reply)
{
    struct lane *l = arg;
    (void)w, (void)reply;
    ensure(l->busy);
    l->ask = NULL;
    l->busy = false;
    if (l->refused > 0)
        lane_pause(l, lane_got_through(l) ? SOON_MS : AGAIN_MS);
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
    map_fini(&l->known);
    map_del(&l->all->lanes, errand_lane_key(l));
    mem_free(&l);
}

/* Nothing is left to be done. A server that refuses everything later than a portion lasts would be
 * asked for ever if that were not remembered. */
static void lane_end(struct lane *l)
{
    ensure(!l->busy && list_empty(&l->errands));
    if (l->quiet || l->sent == 0) {
        lane_free(l);
        return;
    }
    l->quiet = true;
    timer_set(worker_loop(l->all->worker), &l->again, QUIET_MS);
}

/* What became of the last portion. */
static void lane_judge(struct lane *l)
{
    ensure(!l->busy && !l->quiet);
    if (l->refused == 0)
        l->portion = l->portion < ERRANDS_PORTION / 2 ? (uint8_t)(2 * l->portion) : ERRANDS_PORTION;
    else if (l->portion > 1)
        l->portion /= 2;
    if (lane_got_through(l))
        l->failures = 0;
    else if (l->sent > 0 && l->failures < FAILURES_MAX)
        l->failures++;
    ensure(l->portion > 0 && l->failures <= FAILURES_MAX);
    l->sent = l->refused = 0;
    l->far = l->theirs = false;
}

/* A rule keeps its domains apart. What must be said is said when it ends. */
static bool lane_is_barred(const struct lane *l)
{
    return foreign_separates(l->all->worker, lane_local(l), lane_domain(l));
}

/* A portion; how many it has. */
static unsigned lane_go(struct lane *l)
{
    struct errands *all = l->all;
    char home[JID_MAX];
    size_t home_len = 0;
    unsigned done = 0;
    if (list_empty(&l->errands)) {
        lane_end(l);
        return 0;
    }
    if (lane_is_barred(l)) {
        timer_set(worker_loop(all->worker), &l->again, FAR_MS);
        return 0;
    }
    lane_judge(l);
    l->busy = true;
    for (; done < l->portion && l->refused == 0 && !list_empty(&l->errands); done++) {
        struct errand *e = CONTAINER_OF(list_pop(&l->errands), struct errand, node);
        slice account = jid_bare_of(errand_who(e));
        map_del(&l->known, errand_key(e));
        unsigned sent = errand_do(all, e);
        if (sent > 0) {
            memcpy(home, account.ptr, account.len);
            home_len = account.len;
        }
        l->sent += sent;
        errand_free(all, e);
    }
    if (home_len > 0) {
        lane_ping(l, (slice){ home, home_len });
    } else {
        l->busy = false;
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
        map_fini(&l->known);
        mem_free(&l);
    }
    errand_list_free(all, &all->wide);
    ensure(all->count == 0);
    map_fini(&all->lanes);
    mem_free(&all);
}
