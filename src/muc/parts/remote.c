/* remote: occupants of other servers leave when their server is lost (remote/remote_domains.h),
 * with status 333 (XEP-0045 §18.1), or when a rule forbids their domain or their address. When the
 * server is back after a failure, it may have forgotten where its users are: all its occupants are
 * sent an empty message, and those that do not exist any more leave as well: AT_ONCE of a worker at
 * a time, with a pause behind them. Those that wait are kept for each domain, as one reference for
 * each occupant. A message that finds no room is sent again (parts/missed.c). */
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/here.h"
#include "io/timer.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/talk/bounce.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

enum {
    AT_ONCE = 64,  /* occupants that are sent the message */
    PAUSE_MS = 100 /* before the next */
};

/* An occupant that is to be sent it. */
struct returning {
    struct list node;
    struct seat_ref *seat;
};
/* Occupants of a domain that is back. */
struct back {
    struct list node;  /* in returns.domains */
    struct list seats; /* struct returning */
    uint16_t domain_len;
    char domain[];
};
struct returns {
    struct list domains; /* struct back; each has somebody. The first is done first. */
    struct timer timer;
};
static unsigned slot;

static slice seat_domain(const struct seat *s) { return jid_split(s->jid).domain; }
static slice room_domain(const struct room *r) { return jid_split(r->jid).domain; }

struct lost {
    slice domain, local; /* local empty: all rooms; else a rule separates them */
};

static void abroad_seated(struct room *r, struct seat *s, bool back)
{
    (void)back;
    ensure(room_here(r));
    if (list_linked(&s->away))
        remote_domain_hold(r->worker, seat_domain(s), room_domain(r));
}

static void abroad_leaves(struct room *r, const struct seat *s, bool ends)
{
    (void)ends;
    if (list_linked(&s->away))
        remote_domain_release(r->worker, seat_domain(s), room_domain(r));
}

static void room_lost(struct room *r, void *arg)
{
    const struct lost *l = arg;
    if (l->local.len > 0 && !slice_eq(l->local, room_domain(r)))
        return;
    LIST_EACH (it, &r->away) {
        struct seat *s = CONTAINER_OF(it, struct seat, away);
        if (!slice_eq(seat_domain(s), l->domain))
            continue;
        if (l->local.len > 0)
            room_seat_parts(r, s);
        else
            room_seat_gone(r, s);
    }
}

static slice back_domain(const struct back *b) { return (slice){ b->domain, b->domain_len }; }

static void back_seat_free(struct returning *g)
{
    list_remove(&g->node);
    mem_free(&g->seat);
    mem_free(&g);
}

static void back_free(struct back *b)
{
    while (!list_empty(&b->seats))
        back_seat_free(CONTAINER_OF(b->seats.next, struct returning, node));
    if (list_linked(&b->node))
        list_remove(&b->node);
    mem_free(&b);
}

static void back_forget(struct returns *all, slice domain)
{
    LIST_EACH (it, &all->domains) {
        struct back *b = CONTAINER_OF(it, struct back, node);
        if (slice_eq(back_domain(b), domain)) {
            back_free(b);
            return;
        }
    }
}

/* Nothing that such an occupant says comes, nor what it answers. */
static void room_parts_barred(struct room *r, void *unused)
{
    (void)unused;
    LIST_EACH (it, &r->away) {
        const struct seat *s = CONTAINER_OF(it, const struct seat, away);
        if (foreign_is(r->worker, seat_domain(s)) && foreign_bars(r->worker, r->jid, seat_bare(s)))
            room_seat_parts(r, s);
    }
}

/* Rules for single addresses may have changed: of others than those, rooms_domain_lost() hears. */
static void rooms_rules_changed(struct worker *w) { rooms_each(w, room_parts_barred, NULL); }

static void back_next(struct returning *g)
{
    struct room *r;
    ensure(list_linked(&g->node));
    const struct seat *s = seat_ref_find(g->seat, &r);
    back_seat_free(g);
    if (s != NULL && list_linked(&s->away))
        room_ask_remote(r, s);
}

static void returns_run(struct timer *t, struct loop *loop)
{
    struct returns *all = CONTAINER_OF(t, struct returns, timer);
    for (unsigned n = 0; n < AT_ONCE && !list_empty(&all->domains);) {
        struct back *b = CONTAINER_OF(all->domains.next, struct back, node);
        ensure(!list_empty(&b->seats));
        for (; n < AT_ONCE && !list_empty(&b->seats); n++)
            back_next(CONTAINER_OF(b->seats.next, struct returning, node));
        if (list_empty(&b->seats))
            back_free(b);
    }
    if (!list_empty(&all->domains))
        timer_set(loop, t, PAUSE_MS);
}

static void room_back(struct room *r, void *arg)
{
    struct back *b = arg;
    LIST_EACH (it, &r->away) {
        const struct seat *s = CONTAINER_OF(it, const struct seat, away);
        if (!slice_eq(seat_domain(s), back_domain(b)))
            continue;
        struct returning *g = mem_new(struct returning);
        g->seat = seat_ref_new(r, s);
        list_append(&b->seats, &g->node);
    }
}

static void rooms_domain_lost(struct worker *w, slice domain, slice local)
{
    if (remote_domain_is_held(w, domain))
        rooms_each(w, room_lost, &(struct lost){ domain, local });
}

/* A domain that is back once more has all asked anew. */
static void rooms_domain_back(struct worker *w, slice domain)
{
    struct returns *all = *worker_state(w, slot);
    ensure(domain.len > 0 && domain.len <= JID_PART_MAX);
    back_forget(all, domain);
    if (!remote_domain_is_held(w, domain))
        return;
    struct back *b = mem_zalloc(sizeof *b + domain.len);
    list_init(&b->seats);
    b->domain_len = (uint16_t)domain.len;
    memcpy(b->domain, domain.ptr, domain.len);
    rooms_each(w, room_back, b);
    if (list_empty(&b->seats)) {
        back_free(b);
        return;
    }
    list_append(&all->domains, &b->node);
    if (!timer_is_set(&all->timer))
        timer_set(worker_loop(w), &all->timer, 0);
}

static void muc_remote_start(struct worker *w)
{
    struct returns *all = *worker_state(w, slot) = mem_new(struct returns);
    all->timer.fn = returns_run;
    list_init(&all->domains);
}

static void muc_remote_stop(struct worker *w)
{
    struct returns *all = *worker_state(w, slot);
    timer_cancel(&all->timer);
}

static void muc_remote_ended(struct worker *w)
{
    struct returns *all = *worker_state(w, slot);
    if (all == NULL)
        return;
    while (!list_empty(&all->domains))
        back_free(CONTAINER_OF(all->domains.next, struct back, node));
    mem_free(worker_state(w, slot));
}

const struct room_part remote_part = {
    .name = "remote",
    .seated = abroad_seated,
    .leaves = abroad_leaves,
};

const struct feature muc_remote_feature = {
    .name = "muc_remote",
    .parts = PART_ROOM,
    .foreign.changed = rooms_rules_changed,
    .worker.slot = &slot,
    .worker.start = muc_remote_start,
    .worker.stop = muc_remote_stop,
    .worker.ended = muc_remote_ended,
    .worker.domain_lost = rooms_domain_lost,
    .worker.domain_back = rooms_domain_back,
};
