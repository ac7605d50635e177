#include "gate/s2s/s2s_share.h"
#include "gate/s2s/s2s_confirm.h"
#include "gate/s2s/s2s_demand.h"
#include "gate/s2s/s2s_out_ends.h"
#include "gate/s2s/s2s_out_private.h"
#include "gate/s2s/s2s_partner_ends.h"
#include "gate/s2s/s2s_partner_private.h"
#include <stdio.h>

enum { RING_FIRST = 16 };

struct s2s_guest {
    struct list node; /* in s2s_share.guests, until the stream ends */
    struct s2s_share *share;
    struct partner *partner; /* NULL: it has left */
    bool proved;             /* the server takes stanzas of this domain */
    uint32_t confirmed;      /* by the answer that is being read */
    struct timer wait;       /* for the answer to the key */
    uint16_t local_len;
    char local[];
};

/* Whose a stanza is that was written and is not confirmed: a guest, the host, or nobody who is
 * still there. */
static struct s2s_guest nobody;

struct s2s_share {
    struct s2s_out *out;
    struct list guests;
    unsigned guest_count;
    bool begun;               /* a guest was proved: it is noted whose stanzas are */
    struct s2s_guest *writer; /* whose the next stanza is; NULL: the host's */
    struct s2s_guest **ring;  /* `cap` slots, a power of two; NULL in one: the host */
    uint32_t cap, head, len;
    uint32_t base; /* so many were confirmed, as XEP-0198 counts */
};

static slice guest_local(const struct s2s_guest *g) { return (slice){ g->local, g->local_len }; }

/* The partners that others may wait for, by the foreign domain. */

static slice lead_remote(const void *item) { return partner_remote(item); }
void share_map_init(struct s2s_worker *sw) { map_init(&sw->leads, lead_remote); }
void share_map_fini(struct s2s_worker *sw) { map_fini(&sw->leads); }

static struct map *leads_of(const struct partner *p)
{
    return &s2s_worker(p->gate, p->worker)->leads;
}

static bool share_may(const struct partner *p)
{
    bool has_stanzas = partner_has_stanzas(p) || p->actor.inbox != NULL;
    return setting_bool(&s2s_multiplex) && has_stanzas && !p->careful && p->session == NULL &&
           p->actor.jid.len == (size_t)p->remote_len + 1 + p->local_len &&
           s2s_demand_of(partner_remote(p)).dialback;
}

static bool share_asks(struct s2s_out *o, struct partner *p);

bool share_takes(struct partner *p)
{
    if (!share_may(p))
        return false;
    struct partner *lead = map_get(leads_of(p), partner_remote(p));
    if (lead == NULL) {
        p->share.leads = true;
        map_put(leads_of(p), p);
    }
    if (lead == NULL || lead == p || !list_empty(&p->questions) ||
        loop_now_us(partner_loop(p)) < p->share.refused_us)
        return false;
    if (lead->out != NULL && lead->state == ACTOR_READY)
        return share_asks(lead->out, p);
    if (lead->state != ACTOR_LOADING)
        return false;
    ensure(!list_linked(&p->share.node) && p->share.guest == NULL);
    list_append(&lead->share.waits, &p->share.node);
    return true;
}

bool share_is_sought(const struct partner *p)
{
    return list_linked(&p->share.node) || (p->share.guest != NULL && !p->back.on);
}

static void share_connects(struct partner *p)
{
    ensure(p->state == ACTOR_LOADING && !partner_is_linked(p));
    loop_defer(partner_loop(p), &p->connect);
}

void share_ends(struct partner *p)
{
    struct list *it;
    if (!p->share.leads)
        return;
    map_del(leads_of(p), partner_remote(p));
    p->share.leads = false;
    while ((it = list_pop(&p->share.waits)) != NULL)
        share_connects(CONTAINER_OF(it, struct partner, share.node));
}

void share_opens(struct partner *p)
{
    struct list *it;
    while (p->out != NULL && (it = list_pop(&p->share.waits)) != NULL) {
        struct partner *other = CONTAINER_OF(it, struct partner, share.node);
        if (!share_asks(p->out, other))
            share_connects(other);
    }
}

/* Guests. */

static struct s2s_guest *guest_find(const struct s2s_out *o, slice local)
{
    if (o->share != NULL)
        LIST_EACH (it, &o->share->guests) {
            struct s2s_guest *g = CONTAINER_OF(it, struct s2s_guest, node);
            if (slice_eq(guest_local(g), local))
                return g;
        }
    return NULL;
}

static void guest_late(struct timer *t, struct loop *loop);

static struct s2s_guest *guest_new(struct s2s_out *o, slice local)
{
    if (o->share == NULL) {
        o->share = mem_new(struct s2s_share);
        o->share->out = o;
        list_init(&o->share->guests);
    }
    if (o->share->guest_count == GUESTS_MAX)
        return NULL;
    struct s2s_guest *g = mem_zalloc(sizeof *g + local.len);
    g->share = o->share;
    g->wait.fn = guest_late;
    g->local_len = (uint16_t)local.len;
    memcpy(g->local, local.ptr, local.len);
    list_append(&o->share->guests, &g->node);
    o->share->guest_count++;
    return g;
}

/* What it has written is nobody's: if it comes back, it sends that again. */
static void guest_leaves(struct s2s_guest *g)
{
    struct s2s_share *s = g->share;
    ensure(g->partner != NULL && g->partner->share.guest == g);
    for (uint32_t i = 0; i < s->len; i++) {
        struct s2s_guest **slot = &s->ring[(s->head + i) & (s->cap - 1)];
        *slot = *slot == g ? &nobody : *slot;
    }
    timer_cancel(&g->wait);
    g->partner->share.guest = NULL;
    g->partner = NULL;
}

void share_leave(struct partner *p)
{
    list_remove(&p->share.node);
    if (p->share.guest != NULL)
        guest_leaves(p->share.guest);
}

static void guest_makes_its_own(struct partner *p)
{
    p->share.refused_us = loop_now_us(partner_loop(p)) + (uint64_t)GUEST_REFUSED_MS * 1000;
    share_connects(p);
}

static void guest_is_refused(struct s2s_guest *g, const char *why)
{
    struct partner *p = g->partner;
    log_info(&log_s2s, LOG_EV("s2s.unshared"), LOG_S("domain", partner_remote(p)),
             LOG_S("local", partner_local(p)), LOG_S("with", out_local(g->share->out)),
             LOG_C("why", why));
    guest_leaves(g);
    guest_makes_its_own(p);
}

static void guest_late(struct timer *t, struct loop *loop)
{
    (void)loop;
    guest_is_refused(CONTAINER_OF(t, struct s2s_guest, wait), "it does not answer the key");
}

static void share_push(struct s2s_share *s, struct s2s_guest *writer)
{
    if (s->len == s->cap) {
        uint32_t cap = s->cap == 0 ? RING_FIRST : 2 * s->cap;
        struct s2s_guest **ring = mem_alloc(cap * sizeof *ring);
        for (uint32_t i = 0; i < s->len; i++)
            ring[i] = s->ring[(s->head + i) & (s->cap - 1)];
        mem_free(&s->ring);
        s->ring = ring;
        s->cap = cap;
        s->head = 0;
    }
    s->ring[(s->head + s->len++) & (s->cap - 1)] = writer;
}

/* A session of XEP-0198 would be resumed for the host alone. */
static void share_begins(struct s2s_share *s)
{
    const struct s2s_unacked *sent = &s->out->partner->unacked;
    s->begun = true;
    s->base = sent->base;
    for (uint32_t i = 0; i < sent->written; i++)
        share_push(s, NULL);
    partner_set_session(s->out->partner, (slice){ 0 });
}

/* Its stanzas go on the stream from here on. */
static void guest_enters(struct s2s_guest *g)
{
    struct s2s_out *o = g->share->out;
    struct partner *p = g->partner;
    const char *tls, *auth;
    timer_cancel(&g->wait);
    if (!list_empty(&p->questions)) { /* they need a stream of their own, before stanzas */
        guest_leaves(g);
        share_connects(p);
        return;
    }
    if (!g->share->begun)
        share_begins(g->share);
    s2s_out_describe(o, &tls, &auth);
    p->back = (struct partner_back){ .on = true,
                                     .counted = o->sm != OUT_NO_SM,
                                     .max_bytes = o->max_bytes };
    snprintf(p->back.tls, sizeof p->back.tls, "%s", tls);
    log_info(&log_s2s, LOG_EV("s2s.shared"), LOG_S("domain", partner_remote(p)),
             LOG_S("local", partner_local(p)), LOG_S("with", out_local(o)));
    partner_up(p, p->back.counted, true);
}

/* Neither half of it has ended, or is about to. */
static bool share_is_open(const struct s2s_out *o)
{
    return o->up && o->x.state == STREAM_BOUND && !o->draining && !o->proving && !o->peer_ended &&
           !o->x.end_sent && o->ends_us == 0;
}

static bool share_asks(struct s2s_out *o, struct partner *p)
{
    struct s2s_guest *g = guest_find(o, partner_local(p));
    if (!share_is_open(o) || !o->has_errors)
        return false;
    if (g == NULL)
        g = guest_new(o, partner_local(p));
    if (g == NULL || (!g->proved && !s2s_out_prove(o, partner_local(p))))
        return false;
    g->partner = p;
    p->share.guest = g;
    if (g->proved)
        guest_enters(g);
    else
        timer_set(partner_loop(p), &g->wait, GUEST_MS);
    return true;
}

bool share_result(struct s2s_out *o, slice local, const char *refused)
{
    struct s2s_guest *g = guest_find(o, local);
    if (g == NULL)
        return false;
    g->proved = g->proved || refused == NULL;
    if (g->partner == NULL || g->partner->back.on)
        return true; /* it is late, or says it once more */
    partner_pin(g->partner);
    struct partner *p = g->partner;
    if (refused == NULL && share_is_open(o))
        guest_enters(g);
    else
        guest_is_refused(g, refused != NULL ? refused : "the answer has crossed our end");
    partner_unpin(p);
    return true;
}

bool share_may_send(const struct s2s_out *o, slice local)
{
    const struct s2s_guest *g = guest_find(o, local);
    return g != NULL && g->proved;
}

struct partner *share_partner(const struct s2s_out *o, slice local)
{
    const struct s2s_guest *g;
    if (slice_eq(local, partner_local(o->partner)))
        return o->partner;
    g = guest_find(o, local);
    return g != NULL && g->proved ? g->partner : NULL;
}

void share_write(struct partner *p, const struct stanza *st, const struct stanza_note *note)
{
    struct s2s_share *s = p->share.guest->share;
    ensure(s->begun && p->share.guest->proved && s->writer == NULL);
    s->writer = p->share.guest;
    s2s_out_write(s->out, st, note);
}

void share_wrote(struct s2s_out *o)
{
    struct s2s_share *s = o->share;
    if (s->begun && o->sm != OUT_NO_SM)
        share_push(s, s->writer);
    s->writer = NULL;
}

static struct s2s_out *guest_stream(const struct partner *p)
{
    return p->share.guest != NULL && p->back.on ? p->share.guest->share->out : NULL;
}

const struct s2s_out *share_stream(const struct partner *p) { return guest_stream(p); }

void share_closes(struct partner *p)
{
    struct s2s_out *o = p->share.guest->share->out;
    guest_leaves(p->share.guest);
    partner_close(o->partner);
}

void share_parts(struct partner *p, bool on) { s2s_out_parts(p->share.guest->share->out, on); }

void share_finishes(struct partner *p) { s2s_out_finish(p->share.guest->share->out); }

/* All partners of a stream. */

static struct partner *guest_at(struct list *it)
{
    struct partner *p = CONTAINER_OF(it, struct s2s_guest, node)->partner;
    return p != NULL && p->back.on ? p : NULL;
}

void share_each(struct s2s_out *o, void (*fn)(struct partner *p))
{
    struct s2s_share *s = o->share;
    fn(o->partner);
    if (s != NULL)
        LIST_EACH (it, &s->guests)
            if (guest_at(it) != NULL)
                fn(guest_at(it));
}

void share_holds(struct partner *p) { partner_hold(p, HOLD_END); }

static struct partner *share_only_one(const struct s2s_out *o, unsigned *count)
{
    struct partner *one = NULL;
    *count = 0;
    if (partner_is_unconfirmed(o->partner)) {
        one = o->partner;
        ++*count;
    }
    if (o->share != NULL)
        LIST_EACH (it, &o->share->guests) {
            struct partner *p = guest_at(it);
            if (p != NULL && partner_is_unconfirmed(p)) {
                one = p;
                ++*count;
            }
        }
    return one;
}

void share_blames(struct s2s_out *o, void (*fn)(struct partner *p))
{
    unsigned count;
    struct partner *p = share_only_one(o, &count);
    if (o->share == NULL)
        fn(o->partner);
    else if (count == 1)
        fn(p);
}

bool share_is_unconfirmed(const struct s2s_out *o)
{
    unsigned count;
    if (o->share == NULL)
        return partner_is_unconfirmed(o->partner);
    (void)share_only_one(o, &count);
    return count > 0;
}

bool share_some(const struct s2s_out *o, bool (*answers)(const struct partner *p))
{
    if (partner_may_answer(o->partner) && answers(o->partner))
        return true;
    if (o->share != NULL)
        LIST_EACH (it, &o->share->guests) {
            const struct partner *p = guest_at(it);
            if (p != NULL && partner_may_answer(p) && answers(p))
                return true;
        }
    return false;
}

static struct s2s_out *share_out(const struct partner *p)
{
    struct s2s_out *o = guest_stream(p);
    return o != NULL ? o : p->out;
}

bool share_proves(const struct partner *p)
{
    return share_out(p) != NULL && s2s_out_proves(share_out(p));
}

void share_is_proved(struct partner *p)
{
    if (share_out(p) != NULL)
        s2s_out_is_proved(share_out(p));
}

uint32_t share_sent_count(const struct s2s_out *o)
{
    const struct s2s_share *s = o->share;
    return s != NULL && s->begun ? s->base + s->len : partner_sent_count(o->partner);
}

static void guest_confirmed(struct partner *p, uint32_t count)
{
    if (count > 0 && p->counted) /* else answers to pings have confirmed it, or will */
        (void)partner_confirmed(p, p->unacked.base + count);
}

bool share_confirmed(struct s2s_out *o, uint32_t h)
{
    struct s2s_share *s = o->share;
    if (s == NULL || !s->begun)
        return partner_confirmed(o->partner, h);
    uint32_t count = h - s->base, own = 0; /* unsigned: right across the wrap */
    if (count > s->len)
        return false;
    for (; count > 0; count--) {
        struct s2s_guest *g = s->ring[s->head];
        s->head = (s->head + 1) & (s->cap - 1);
        s->len--;
        s->base++;
        if (g == NULL)
            own++;
        else if (g != &nobody)
            g->confirmed++;
    }
    guest_confirmed(o->partner, own);
    LIST_EACH (it, &s->guests) {
        struct s2s_guest *g = CONTAINER_OF(it, struct s2s_guest, node);
        uint32_t confirmed = g->confirmed;
        g->confirmed = 0;
        if (confirmed > 0)
            guest_confirmed(g->partner, confirmed);
    }
    return true;
}

void share_uncounted(struct s2s_out *o)
{
    if (o->share != NULL)
        o->share->head = o->share->len = 0;
    share_each(o, partner_uncounted);
}

void share_gone(struct s2s_out *o, struct partner *host)
{
    struct s2s_share *s = o->share;
    struct list *it;
    o->share = NULL;
    share_ends(host);
    if (s == NULL)
        return;
    while ((it = list_pop(&s->guests)) != NULL) {
        struct s2s_guest *g = CONTAINER_OF(it, struct s2s_guest, node);
        struct partner *p = g->partner;
        timer_cancel(&g->wait);
        if (p != NULL) {
            p->share.guest = NULL;
            partner_pin(p);
            if (p->back.on)
                partner_lost_back(p, host->why);
            else
                guest_makes_its_own(p); /* perhaps the stream has ended for its key */
            partner_unpin(p);
        }
        mem_free(&g);
    }
    mem_free(&s->ring);
    mem_free(&s);
}
