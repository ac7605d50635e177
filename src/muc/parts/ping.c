/* Occupants of other servers and components are asked from time to time whether they are still
 * there (XEP-0199), as nobody else says that they are not: after the settings muc.ping-after and
 * muc.ping-timeout. Occupants that do not answer, or no longer exist, are removed (XEP-0045
 * §18.1). */
#include "base/ensure.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/ask.h"
#include "home/here.h"
#include "io/timer.h"
#include "muc/muc.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/talk/bounce.h"
#include "muc/talk/say.h"
#include "xmpp/ns.h"

enum { LOOK_MS = 10 * 1000 };

struct pinger {
    struct worker *worker;
    struct timer timer;
};
static unsigned slot;

static void muc_ping_drop(void *arg)
{
    struct seat_ref *asked = arg;
    mem_free(&asked);
}

/* §18.1. A client without XEP-0199 says service-unavailable, and is there. */
static bool is_gone(const struct room *r, const struct stanza *reply)
{
    return reply == NULL || (reply->type == TYPE_ERROR && room_bounce_is_gone(r, reply));
}

static void muc_ping_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct room *r;
    struct seat *s = seat_ref_find(arg, &r);
    (void)w;
    if (s != NULL && is_gone(r, reply))
        room_seat_gone(r, s);
    muc_ping_drop(arg);
}

static void muc_ping_ask(const struct room *r, const struct seat *s)
{
    struct seat_ref *asked = seat_ref_new(r, s);
    const struct ask_request request = { .type = TYPE_GET,
                                         .from = r->jid,
                                         .to = s->jid,
                                         .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                                         .timeout_ms = (uint32_t)setting_int(&muc_ping_timeout),
                                         .drop = muc_ping_drop };
    ensure(room_here(r) && list_linked(&s->away));
    if (ask_send(r->worker, &request, muc_ping_answered, asked) == NULL)
        muc_ping_drop(asked);
}

static void muc_ping_look(struct room *r, void *arg)
{
    const uint64_t *now = arg;
    LIST_EACH (it, &r->away) {
        struct seat *s = CONTAINER_OF(it, struct seat, away);
        if ((int64_t)(*now - s->asked_us) / 1000 < setting_int(&muc_ping_after))
            continue;
        s->asked_us = *now;
        muc_ping_ask(r, s);
    }
}

static uint64_t until_next(void)
{
    int64_t half = setting_int(&muc_ping_after) / 2;
    return half < LOOK_MS ? (uint64_t)half : LOOK_MS;
}

static void muc_ping_due(struct timer *t, struct loop *loop)
{
    struct pinger *p = CONTAINER_OF(t, struct pinger, timer);
    uint64_t now = loop_now_us(loop);
    rooms_each(p->worker, muc_ping_look, &now);
    timer_set(loop, t, until_next());
}

static void muc_ping_worker_start(struct worker *w)
{
    struct pinger *p = *worker_state(w, slot) = mem_new(struct pinger);
    p->worker = w;
    p->timer.fn = muc_ping_due;
    timer_set(worker_loop(w), &p->timer, until_next());
}

static void muc_ping_worker_stop(struct worker *w)
{
    struct pinger *p = *worker_state(w, slot);
    timer_cancel(&p->timer);
}

static void muc_ping_worker_ended(struct worker *w) { mem_free(worker_state(w, slot)); }

const struct feature muc_ping_feature = {
    .name = "muc_ping",
    .parts = PART_ROOM | PART_SESSION,
    .worker.slot = &slot,
    .worker.start = muc_ping_worker_start,
    .worker.stop = muc_ping_worker_stop,
    .worker.ended = muc_ping_worker_ended,
};
