#include "remote/remote_domains.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/host.h"
#include "home/message.h"
#include "home/node.h"
#include "home/question.h"
#include "home/remote.h"
#include "io/timer.h"
#include "remote/foreign.h"
#include "xmpp/ns.h"

enum {
    NAME_MS = 20 * 1000,        /* between two times that a worker names what it holds */
    NAMED_MS = 5 * NAME_MS,     /* a domain that no worker names any more is forgotten after this */
    LOOK_MS = 10 * 1000,        /* between two looks at a domain that fails, at most */
    LOST_LOOKS = 10,            /* the same for a lost one: so many times as long */
    RESUME_MS = 3 * 1000,       /* from a new stream to the ping that shows that it works */
    LOST_KEPT_MS = 24 * 3600000 /* then it is forgotten */
};

static struct setting ping_after = {
    .name = "s2s.ping-after",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 5 * 60 * 1000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .doc = "The server of a domain that has contacts online here, or occupants in rooms, is asked "
           "whether it is still there when nothing was heard of it for so long. One request asks "
           "for all of them.",
};
static struct setting lost_after = {
    .name = "s2s.lost-after",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 3 * 60 * 1000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .doc =
        "When another server could not be reached for so long, or a component (XEP-0114) was not "
        "connected, its users are shown as unavailable, and leave the rooms here. Shorter "
        "failures are not shown to users. But a user of a component leaves a room at once if "
        "something is said there while the component is not connected.",
};
static struct setting ping_timeout = {
    .name = "s2s.ping-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 20 * 1000,
    .min = 1000,
    .max = 10 * 60 * 1000,
    .doc = "A server that is asked whether it is still there has so long to answer. Then it is one "
           "that cannot be reached: see s2s.lost-after.",
};
static struct setting back_pause = {
    .name = "s2s.back-pause",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 30 * 1000,
    .min = 1000,
    .max = 3600 * 1000,
    .doc = "When a server that could not be reached is back, presence is asked for and told anew. "
           "For one that comes and goes, that is done at most once in so long.",
};
static struct metric domains_lost = {
    .name = "muster_s2s_lost",
    .kind = METRIC_GAUGE,
    .help = "Domains of other servers and components that could not be reached for s2s.lost-after, "
            "with contacts or occupants here.",
};
static struct log_area log_domains = { .name = "remote_domains" };

/* In struct remote_domains: so many things of a domain are shown at a domain of ours. */
struct held {
    uint32_t count;
    slice key, domain, local; /* key: domain, '/', local; in this block */
};

/* A domain, at its home. */
enum watch_state { WATCH_FINE, WATCH_FAILING, WATCH_LOST };
struct watch {
    struct worker *worker;
    struct timer timer; /* the next look */
    struct ask *ask;    /* a ping that is not answered yet; NULL: none */
    bool asking;        /* so, and ask_send() may not have returned yet */
    uint8_t state;      /* enum watch_state */
    uint64_t named_us;  /* when a worker last said that it holds it */
    uint64_t heard_us;  /* the last sign of life */
    uint64_t failing_us, lost_us, back_us;
    slice local;  /* kept: the domain of ours that asks */
    slice domain; /* in this block */
};

struct remote_domains {
    struct map held, watched;
    struct timer name; /* what is held */
};
static unsigned slot;

static slice held_key(const void *item) { return ((const struct held *)item)->key; }
static slice watch_domain(const void *item) { return ((const struct watch *)item)->domain; }
static struct remote_domains *domains_of(const struct worker *w)
{
    ensure(worker_is_here(w));
    return *worker_state(w, slot);
}
static uint64_t domains_now(const struct worker *w) { return loop_now_us(worker_loop(w)); }
static bool has_passed(uint64_t now_us, uint64_t since_us, uint64_t ms)
{
    return now_us - since_us >= ms * 1000;
}

static bool domain_is_component(const struct worker *w, slice domain)
{
    return remote_known(w, domain) || remote_expected(w, domain);
}

bool remote_domain_is_other(const struct worker *w, slice domain)
{
    const struct node *n = worker_node(w);
    return !node_serves(n, domain) && host_find(n, domain, &(slice){ 0 }) == NULL;
}

bool remote_domain_pair(struct worker *w, slice local, slice domain)
{
    return domain_is_component(w, domain) || foreign_pair(w, local, domain);
}

uint64_t remote_domain_lost_ms(void) { return (uint64_t)setting_int(&lost_after); }

/* To all: lost, or back. */

struct domain_news {
    slice domain;
    bool back;
};
static const struct message_field news_fields[] = {
    F_BARE(struct domain_news, domain),
    F_BOOL(struct domain_news, back),
    { 0 },
};

static void news_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct domain_news *m = message;
    (void)from;
    if (m->back)
        EMIT(worker.domain_back, w, m->domain);
    else
        EMIT(worker.domain_lost, w, m->domain, (slice){ 0 });
}
static const struct message_row news_message = {
    .id = 125,
    .scope = MESSAGE_CLUSTER,
    .name = "domain-news",
    .size = sizeof(struct domain_news),
    .fields = news_fields,
    .run = news_run,
};

static void watch_tell(const struct watch *d, bool back)
{
    each_home(d->worker, &news_message, &(struct domain_news){ watch_domain(d), back },
              &(struct asker){ 0 });
}

/* At the home of a domain. */

static void watch_after(struct watch *d, uint64_t ms)
{
    timer_set(worker_loop(d->worker), &d->timer, ms);
}

static uint64_t domain_look_ms(void)
{
    uint64_t part = (uint64_t)setting_int(&lost_after) / 4;
    return part < LOOK_MS ? part : LOOK_MS;
}

static void watch_is_fine(struct watch *d)
{
    d->heard_us = domains_now(d->worker);
    if (d->state == WATCH_LOST)
        metric_add(&domains_lost, -1);
    d->state = WATCH_FINE;
    watch_after(d, (uint64_t)setting_int(&ping_after));
}

static void watch_alive(struct watch *d)
{
    uint64_t now = domains_now(d->worker), pause_ms = (uint64_t)setting_int(&back_pause);
    ensure(worker_is_here(d->worker));
    if (d->state == WATCH_FINE) {
        d->heard_us = now;
        return;
    }
    if (d->back_us != 0 && !has_passed(now, d->back_us, pause_ms)) { /* it comes and goes */
        d->failing_us = now;
        watch_after(d, pause_ms - (now - d->back_us) / 1000);
        return;
    }
    log_info(&log_domains, LOG_EV("domain.back"), LOG_S("domain", watch_domain(d)),
             LOG_I("failed_s", (int64_t)((now - d->failing_us) / 1000000)));
    d->back_us = now;
    watch_is_fine(d);
    watch_tell(d, true);
}

static void watch_failed(struct watch *d)
{
    uint64_t now = domains_now(d->worker);
    if (d->state == WATCH_FINE) {
        d->state = WATCH_FAILING;
        d->failing_us = now;
        watch_after(d, domain_look_ms());
    } else if (d->state == WATCH_FAILING &&
               has_passed(now, d->failing_us, remote_domain_lost_ms())) {
        d->state = WATCH_LOST;
        d->lost_us = now;
        metric_add(&domains_lost, 1);
        log_info(&log_domains, LOG_EV("domain.lost"), LOG_S("domain", watch_domain(d)),
                 LOG_C("hint", domain_is_component(d->worker, watch_domain(d))
                                   ? "no connection of its component serves it"
                                   : "`musterctl s2s list` shows why it cannot be reached"));
        watch_tell(d, false);
    }
}

static void watch_forget(struct watch *d)
{
    if (d->state == WATCH_LOST)
        metric_add(&domains_lost, -1);
    map_del(&domains_of(d->worker)->watched, watch_domain(d));
    timer_cancel(&d->timer);
    ask_cancel(&d->ask);
    slice_release(&d->local);
    mem_free(&d);
}

bool remote_domain_is_unsent(const struct worker *w, const struct stanza *error)
{
    if (error->type != TYPE_ERROR || error->arrived ||
        !foreign_is(w, jid_split(stanza_from(error)).domain))
        return false;
    enum stanza_error condition = stanza_condition(error);
    return condition == SE_REMOTE_SERVER_TIMEOUT || condition == SE_RESOURCE_CONSTRAINT;
}

bool remote_domain_is_barred(struct worker *w, const struct stanza *error)
{
    return error->type == TYPE_ERROR && !error->arrived &&
           foreign_separates(w, jid_split(stanza_to(error)).domain,
                             jid_split(stanza_from(error)).domain);
}

bool remote_domain_answered(const struct worker *w, const struct stanza *reply)
{
    return reply != NULL &&
           (reply->arrived || remote_known(w, jid_split(stanza_from(reply)).domain));
}

static void watch_pinged(struct worker *w, void *arg, const struct stanza *reply)
{
    struct watch *d = arg;
    ensure(w == d->worker && d->asking);
    d->ask = NULL;
    d->asking = false;
    if (remote_domain_answered(w, reply))
        watch_alive(d);
    else
        watch_failed(d);
}

static void watch_ping(struct watch *d)
{
    const struct ask_request ping = { .type = TYPE_GET,
                                      .from = d->local,
                                      .to = watch_domain(d),
                                      .home = watch_domain(d),
                                      .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                                      .timeout_ms = (uint32_t)setting_int(&ping_timeout) };
    if (d->asking || worker_stopping(d->worker))
        return;
    d->asking = true;
    struct ask *a = ask_send(d->worker, &ping, watch_pinged, d);
    if (d->asking) /* else the answer of this server has come at once */
        d->ask = a;
    d->asking = d->ask != NULL;
}

/* Whether it is there. */
static void watch_ask(struct watch *d)
{
    if (!domain_is_component(d->worker, watch_domain(d)))
        watch_ping(d);
    else if (remote_known(d->worker, watch_domain(d)))
        watch_alive(d);
    else
        watch_failed(d);
}

static bool watch_hand_over(struct watch *d);

static void domain_look(struct timer *t, struct loop *loop)
{
    struct watch *d = CONTAINER_OF(t, struct watch, timer);
    uint64_t now = loop_now_us(loop), ping_ms = (uint64_t)setting_int(&ping_after);
    if (watch_hand_over(d))
        return;
    if (d->state == WATCH_FINE
            ? has_passed(now, d->named_us, NAMED_MS)
            : d->state == WATCH_LOST && has_passed(now, d->lost_us, LOST_KEPT_MS)) {
        watch_forget(d);
        return;
    }
    if (d->state == WATCH_FINE && !has_passed(now, d->heard_us, ping_ms)) {
        watch_after(d, ping_ms - (now - d->heard_us) / 1000);
        return;
    }
    watch_after(d, d->state == WATCH_FINE      ? ping_ms
                   : d->state == WATCH_FAILING ? domain_look_ms()
                                               : LOST_LOOKS * domain_look_ms());
    watch_ask(d);
}

static struct watch *watch_get(const struct worker *w, slice domain)
{
    return map_get(&domains_of(w)->watched, domain);
}

static struct watch *watch_make(struct worker *w, slice domain, slice local)
{
    ensure(domain.len <= JID_PART_MAX && local.len <= JID_PART_MAX);
    struct remote_domains *all = domains_of(w);
    if (all->watched.count >= REMOTE_DOMAINS_MAX)
        return NULL;
    struct watch *d = mem_zalloc(sizeof *d + domain.len);
    char *at = (char *)(d + 1);
    d->worker = w;
    d->timer.fn = domain_look;
    d->local = slice_keep(local);
    d->domain = slice_lay(&at, domain);
    map_put(&all->watched, d);
    watch_is_fine(d); /* what is shown of it has just come from there */
    return d;
}

/* To the home of a domain: it is held on the worker that says so. */

struct domain_held {
    slice domain, local;
};
static const struct message_field held_fields[] = {
    F_BARE(struct domain_held, domain),
    F_BARE(struct domain_held, local),
    { 0 },
};

static void held_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct domain_held *m = message;
    struct watch *d = watch_get(w, m->domain);
    (void)from;
    if (!remote_domain_is_other(w, m->domain) || !node_serves(worker_node(w), m->local))
        return;
    if (d == NULL)
        d = watch_make(w, m->domain, m->local);
    if (d == NULL)
        return;
    d->named_us = domains_now(w);
    if (!slice_eq(d->local, m->local) && !remote_domain_pair(w, d->local, m->domain)) {
        slice_release(&d->local); /* it may not ask any more */
        d->local = slice_keep(m->local);
    }
    if (remote_expected(w, m->domain) && !remote_known(w, m->domain))
        watch_failed(d); /* also if nobody has said so: its node has ended */
}
static const struct message_row held_message = {
    .id = 127,
    .scope = MESSAGE_CLUSTER,
    .name = "domain-held",
    .size = sizeof(struct domain_held),
    .fields = held_fields,
    .run = held_run,
};

struct domain_signal {
    slice domain;
    uint8_t sign; /* enum domain_sign */
};
static const struct message_field signal_fields[] = {
    F_BARE(struct domain_signal, domain),
    F_U8(struct domain_signal, sign, DOMAIN_RESUMED),
    { 0 },
};

/* A component has come: whatever it knew before, it may have forgotten. */
static void watch_came(struct worker *w, slice domain)
{
    struct watch *d = watch_get(w, domain);
    if (d != NULL) {
        watch_failed(d);
        watch_alive(d);
        return;
    }
    d = watch_make(w, domain, worker_node(w)->domains[0]);
    if (d != NULL)
        watch_tell(d, true);
}

static void signal_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct domain_signal *m = message;
    struct watch *d = watch_get(w, m->domain);
    (void)from;
    if (m->sign == DOMAIN_UP && domain_is_component(w, m->domain)) {
        watch_came(w, m->domain);
        return;
    }
    if (d == NULL)
        return;
    bool failing = d->state == WATCH_FAILING;
    if (m->sign == DOMAIN_FAILED) {
        watch_failed(d);
    } else if (m->sign == DOMAIN_BROKEN) { /* it may be there, and have forgotten everything */
        watch_failed(d);
        if (!failing && d->state == WATCH_FAILING)
            watch_after(d, domain_look_ms() / 8);
    } else if (m->sign == DOMAIN_UP && failing) { /* one that has broken may be resumed yet */
        watch_after(d, RESUME_MS);
    } else if (m->sign == DOMAIN_HEARD && failing) {
        d->failing_us = domains_now(w); /* it tells us what changes, if it does not answer */
    } else if (m->sign == DOMAIN_RESUMED && failing) {
        log_info(&log_domains, LOG_EV("domain.resumed"), LOG_S("domain", watch_domain(d)));
        watch_is_fine(d);
    } else {
        watch_alive(d);
    }
}
static const struct message_row signal_message = {
    .id = 128,
    .scope = MESSAGE_CLUSTER,
    .name = "domain-seen",
    .size = sizeof(struct domain_signal),
    .fields = signal_fields,
    .run = signal_run,
};

/* The slot of the domain has moved. Its new home hears of a domain that is fine from the workers
 * that hold it, and has to be told of others. Ends the watch if so. */
static bool watch_hand_over(struct watch *d)
{
    struct worker *w = d->worker;
    slice domain = watch_domain(d);
    if (node_is_home(w, domain))
        return false;
    if (d->state != WATCH_FINE) {
        home_send(w, domain, &held_message, &(struct domain_held){ domain, d->local });
        home_send(w, domain, &signal_message, &(struct domain_signal){ domain, DOMAIN_FAILED });
    }
    watch_forget(d);
    return true;
}

void remote_domain_seen(struct worker *w, slice domain, enum domain_sign sign)
{
    if (!worker_stopping(w))
        home_send(w, domain, &signal_message, &(struct domain_signal){ domain, (uint8_t)sign });
}

void remote_domain_heard(struct worker *w, slice domain, uint64_t *told_us)
{
    uint64_t now = domains_now(w);
    if (*told_us != 0 && !has_passed(now, *told_us, domain_look_ms()))
        return;
    *told_us = now;
    remote_domain_seen(w, domain, DOMAIN_HEARD);
}

/* What is held on this worker. */

enum { HELD_KEY_MAX = 2 * JID_PART_MAX + 1 };
static slice held_make_key(char key[HELD_KEY_MAX], slice domain, slice local)
{
    ensure(domain.len > 0 && domain.len <= JID_PART_MAX);
    ensure(local.len > 0 && local.len <= JID_PART_MAX);
    memcpy(key, domain.ptr, domain.len);
    key[domain.len] = '/';
    memcpy(key + domain.len + 1, local.ptr, local.len);
    return (slice){ key, domain.len + 1 + local.len };
}

/* For the domain of ours whose users or rooms show it: services do not ask. */
static void held_name(struct worker *w, const struct held *h)
{
    slice domain = h->domain, local = foreign_parent(worker_node(w), h->local);
    if (remote_domain_is_other(w, domain) && remote_domain_pair(w, local, domain))
        home_send(w, domain, &held_message, &(struct domain_held){ domain, local });
}

static void held_name_all(struct timer *t, struct loop *loop)
{
    struct worker *w = worker_here();
    struct remote_domains *all = CONTAINER_OF(t, struct remote_domains, name);
    const struct held *h;
    struct watch *d;
    for (uint32_t i = 0; (h = map_next(&all->held, &i)) != NULL;)
        held_name(w, h);
    for (uint32_t i = 0; (d = map_next(&all->watched, &i)) != NULL;)
        (void)watch_hand_over(d); /* the look at one that is lost may be far off */
    timer_set(loop, t, NAME_MS);
}

void remote_domain_hold(struct worker *w, slice domain, slice local)
{
    struct remote_domains *all = domains_of(w);
    char text[HELD_KEY_MAX];
    slice key = held_make_key(text, domain, local);
    struct held *h = map_get(&all->held, key);
    if (h != NULL) {
        h->count++;
        return;
    }
    h = mem_zalloc(sizeof *h + key.len);
    h->count = 1;
    h->key = (slice){ memcpy(h + 1, key.ptr, key.len), key.len };
    h->domain = (slice){ h->key.ptr, domain.len };
    h->local = slice_from(h->key, domain.len + 1);
    map_put(&all->held, h);
    held_name(w, h);
}

void remote_domain_release(struct worker *w, slice domain, slice local)
{
    struct remote_domains *all = domains_of(w);
    char text[HELD_KEY_MAX];
    struct held *h = map_get(&all->held, held_make_key(text, domain, local));
    ensure(h != NULL && h->count > 0);
    if (--h->count > 0)
        return;
    map_del(&all->held, held_key(h));
    mem_free(&h);
}

bool remote_domain_is_held(const struct worker *w, slice domain)
{
    const struct held *h;
    for (uint32_t i = 0; (h = map_next(&domains_of(w)->held, &i)) != NULL;)
        if (slice_eq(h->domain, domain))
            return true;
    return false;
}

/* The feature. */

/* Domains that a rule separates from one of ours are as lost for it as those that cannot be
 * reached: what this worker shows of them there would never change. */
static void domains_rules_changed(struct worker *w)
{
    struct remote_domains *all = domains_of(w);
    struct arena *tmp = arena_create(0);
    const struct held *h;
    struct lost {
        struct lost *next;
        slice domain, local;
    } *gone = NULL;
    for (uint32_t i = 0; (h = map_next(&all->held, &i)) != NULL;) {
        if (remote_expected(w, h->domain))
            held_name(w, h); /* it is that of a component now, which may not be connected */
        if (remote_domain_pair(w, h->local, h->domain))
            continue;
        struct lost *l = arena_new(tmp, struct lost, 1);
        *l = (struct lost){ gone, slice_dup(tmp, h->domain), slice_dup(tmp, h->local) };
        gone = l;
    }
    for (; gone != NULL; gone = gone->next) /* it may release them */
        EMIT(worker.domain_lost, w, gone->domain, gone->local);
    arena_destroy(&tmp);
}

static void domains_worker_start(struct worker *w)
{
    struct remote_domains *all = *worker_state(w, slot) = mem_new(struct remote_domains);
    map_init(&all->held, held_key);
    map_init(&all->watched, watch_domain);
    all->name.fn = held_name_all;
    timer_set(worker_loop(w), &all->name, NAME_MS);
}

static void domains_worker_stop(struct worker *w)
{
    struct remote_domains *all = *worker_state(w, slot);
    struct watch *d;
    timer_cancel(&all->name);
    for (uint32_t i = 0; (d = map_next(&all->watched, &i)) != NULL;)
        watch_forget(d);
}

static void domains_worker_ended(struct worker *w)
{
    struct remote_domains *all = *worker_state(w, slot);
    struct held *h;
    if (all == NULL)
        return;
    for (uint32_t i = 0; (h = map_next(&all->held, &i)) != NULL;)
        mem_free(&h);
    map_fini(&all->held);
    map_fini(&all->watched);
    mem_free(worker_state(w, slot));
}

const struct feature remote_domains_feature = {
    .name = "remote_domains",
    .parts = PART_PRESENCE | PART_ROOM,
    .settings =
        (struct setting *const[]){ &ping_after, &ping_timeout, &lost_after, &back_pause, NULL },
    .metrics = (struct metric *const[]){ &domains_lost, NULL },
    .logs = (struct log_area *const[]){ &log_domains, NULL },
    .messages =
        (const struct message_row *const[]){ &news_message, &held_message, &signal_message, NULL },
    .foreign.changed = domains_rules_changed,
    .worker.slot = &slot,
    .worker.start = domains_worker_start,
    .worker.stop = domains_worker_stop,
    .worker.ended = domains_worker_ended,
};
