#include "gate/s2s/s2s_partner_back.h"
#include "base/rand.h"
#include "gate/s2s/s2s_confirm.h"
#include "gate/s2s/s2s_in_back.h"
#include "gate/s2s/s2s_lists.h"
#include "gate/s2s/s2s_out_ends.h"
#include "gate/s2s/s2s_partner_private.h"
#include <stdio.h>

struct back_offer {
    struct list node;
    struct partner_back way; /* on: never */
};

static struct back_offer *back_offer_at(struct list *it)
{
    return CONTAINER_OF(it, struct back_offer, node);
}

/* NULL: that stream is not offered, or not any more. */
static struct back_offer *back_offer_of(const struct partner *p, uint64_t stream)
{
    LIST_EACH (it, &p->offers)
        if (back_offer_at(it)->way.stream == stream)
            return back_offer_at(it);
    return NULL;
}

/* The offer that goes on from the stream that has ended. NULL: there is none. */
static struct back_offer *back_resuming(const struct partner *p)
{
    LIST_EACH (it, &p->offers)
        if (p->back.kept && back_offer_at(it)->way.resumes == p->back.stream)
            return back_offer_at(it);
    return NULL;
}

static void back_offer_ends(struct partner *p, struct back_offer *o)
{
    ensure(p->offer_count > 0 && list_linked(&o->node));
    list_remove(&o->node);
    p->offer_count--;
    mem_free(&o);
}

void partner_offers_end(struct partner *p)
{
    while (!list_empty(&p->offers))
        back_offer_ends(p, back_offer_at(p->offers.next));
}

/* Whether routes let us send to that domain: it is not so that all of them are out of service, and
 * nothing else counts. */
static bool back_is_served(slice remote)
{
    struct s2s_levels at = s2s_levels_of(remote);
    const struct s2s_listed *l;
    while ((l = s2s_levels_next(&at)) != NULL) {
        if (l->blocked || l->serves)
            return !l->blocked;
        if (l->ends)
            return false;
    }
    return true;
}

static bool back_waits_since(const struct partner *p, uint64_t ms)
{
    return loop_now_us(partner_loop(p)) - p->waits_us < ms * 1000;
}

/* The same, or since the other server has come after that, if it has: from then on it can be
 * reached again. */
static bool back_waits_since_there(const struct partner *p, uint64_t ms)
{
    uint64_t since_us = p->waits_us;
    LIST_EACH (it, &p->offers) {
        if (back_offer_at(it)->way.came_us > p->waits_us) {
            since_us = back_offer_at(it)->way.came_us;
            break;
        }
    }
    return loop_now_us(partner_loop(p)) - since_us < ms * 1000;
}

/* Its stream has broken, and the other server has another one from before that, or has resumed
 * another one: it has several, is there, and resumes the one that has broken as well. So it does if
 * all have broken at about the same time. */
static bool back_has_several(const struct partner *p)
{
    if (p->offer_gone_us + BACK_WAIT_MS * 1000 >= p->waits_us && p->offer_gone_us > 0)
        return true;
    LIST_EACH (it, &p->offers) {
        const struct partner_back *way = &back_offer_at(it)->way;
        if (way->resumes != 0 || way->came_us <= p->waits_us)
            return true;
    }
    return false;
}

/* The server that was asked for its session was there: it answers when what came is stored. Both
 * sides would send again what is not confirmed if another way was taken meanwhile. */
static bool back_is_answered_late(const struct partner *p)
{
    return p->asks_session && (p->unacked.len > 0 || p->flow != NULL) &&
           loop_now_us(partner_loop(p)) < p->session_over_us &&
           back_waits_since(p, (uint64_t)setting_int(&s2s_retry_for));
}

/* Its own stream has broken a moment ago, and can be resumed. The other server waits as long for
 * that before it writes again what it has written to that stream. An attempt that has a connection
 * gets more time. One that has failed in a way that stays, such as by a wrong certificate, has
 * perhaps met something else in place of the server: the next one may find that. */
static bool partner_resumes(const struct partner *p)
{
    bool longer = p->out != NULL || back_has_several(p);
    return partner_waits_for_session(p) ||
           (p->session != NULL && !partner_rules_fail(p) &&
            (back_waits_since_there(p, longer ? BACK_RESUME_MS : BACK_WAIT_MS) ||
             back_is_answered_late(p)));
}

/* How long a quiet stream is waited for: not for longer than we keep the session, or than what
 * waits does without an error. 0: there is none, or its time is over. */
static uint64_t back_left_ms(const struct partner *p)
{
    int64_t kept_ms = setting_int(&s2s_resume_for), most_ms = setting_int(&s2s_retry_for);
    uint64_t now = loop_now_us(partner_loop(p)),
             until = p->waits_us + 1000 * (uint64_t)(kept_ms < most_ms ? kept_ms : most_ms);
    return p->quiet_count > 0 && now < until ? (until - now) / 1000 + 1 : 0;
}

/* From the end of the stream on. Not all partners of a server connect to it at the same moment. */
static uint64_t back_wait_ms(const struct partner *p)
{
    uint32_t random;
    uint64_t left = back_left_ms(p);
    rand_bytes(&random, sizeof random);
    uint64_t ms = back_has_several(p) ? BACK_RESUME_MS : BACK_WAIT_MS - random % (BACK_WAIT_MS / 4);
    return left > ms ? left : ms;
}

static bool back_is_there(const struct partner *p)
{
    return !list_empty(&p->offers) && setting_bool(&s2s_bidi) && list_empty(&p->questions) &&
           back_is_served(partner_remote(p));
}

bool partner_may_take_back(const struct partner *p)
{
    return back_is_there(p) && !partner_resumes(p);
}

bool partner_may_soon_take_back(const struct partner *p)
{
    return back_is_there(p) && p->state == ACTOR_LOADING && partner_resumes(p);
}

/* Any other offer would get again what was written to the stream that has ended. */
static bool back_needs_resuming(const struct partner *p)
{
    return p->unacked.len > 0 && back_resuming(p) == NULL;
}

/* That, or the last one that came. */
static void back_begin(struct partner *p)
{
    struct partner_back old = p->back;
    struct back_offer *o = back_resuming(p);
    bool goes_on = o != NULL;
    ensure(!list_empty(&p->offers) && !p->back.on);
    if (o == NULL)
        o = back_offer_at(p->offers.prev);
    p->back = o->way;
    p->back.on = true;
    p->counted = p->back.counted;
    back_offer_ends(p, o);
    uint32_t h = p->back.base - old.base;
    if (goes_on && partner_confirmed(p, h))
        p->back.base = old.base;
    else
        goes_on = false;
    partner_up(p, p->back.counted, !goes_on);
}

bool partner_takes_back(struct partner *p)
{
    bool waits = (p->back.waits || back_left_ms(p) > 0) && p->back.kept && p->unacked.len > 0 &&
                 list_empty(&p->questions);
    ensure(p->state == ACTOR_LOADING && !partner_is_linked(p));
    p->back.waits = false;
    if (partner_may_take_back(p) && !(waits && back_needs_resuming(p))) {
        timer_cancel(&p->retry);
        back_begin(p);
        return true;
    }
    p->back.waiting = waits;
    if (waits)
        timer_set(partner_loop(p), &p->retry, back_wait_ms(p));
    return waits;
}

bool partner_turns_back(struct partner *p)
{
    if (!partner_may_take_back(p))
        return false;
    ensure(p->state == ACTOR_LOADING && p->out == NULL);
    s2s_find_cancel(&p->find);
    partner_set_session(p, (slice){ 0 }); /* else it would be resumed first */
    actor_load(&p->actor);
    return true;
}

/* It is LOADING, and there is a way back that it may take: it does. An attempt that has a
 * connection goes on, unless that would write again what the way back has resumed, or is late. */
static void back_turns(struct partner *p, bool late)
{
    ensure(p->state == ACTOR_LOADING && !p->back.on);
    if (p->out != NULL && (late || p->session != NULL || back_resuming(p) != NULL)) {
        s2s_out_close(p->out);
    } else if (p->out != NULL) {
        if (!timer_is_set(&p->turn))
            timer_set(partner_loop(p), &p->turn, BACK_WAIT_MS);
    } else if (p->find != NULL || share_is_sought(p)) {
        share_leave(p);
        partner_turns_back(p);
    } else if (timer_is_set(&p->retry) && !p->back.waiting) {
        partner_retries_now(p);
    }
}

void partner_session_waits(struct partner *p)
{
    if (p->session != NULL)
        timer_set(partner_loop(p), &p->turn, BACK_WAIT_MS);
}

void partner_turn_due(struct timer *t, struct loop *loop)
{
    struct partner *p = CONTAINER_OF(t, struct partner, turn);
    if (p->state != ACTOR_LOADING || (p->session == NULL && p->out == NULL))
        return;
    actor_mark(&p->actor);
    actor_pin(&p->actor);
    if (partner_may_take_back(p))
        back_turns(p, true);
    else if (p->session != NULL && (back_waits_since(p, BACK_RESUME_MS) || partner_resumes(p)))
        timer_set(loop, t, BACK_WAIT_MS);
    actor_unpin(&p->actor);
}

static void back_send(struct partner *p, struct s2s_to_back *m)
{
    m->stream = p->back.stream;
    m->local = partner_local(p);
    m->remote = partner_remote(p);
    home_send_to(p->worker, 0, p->back.from.worker, &s2s_to_back_message, m);
}

void partner_write_back(struct partner *p, struct stanza *st, uint64_t delay_us)
{
    if (p->share.guest != NULL)
        share_write(p, st, &(struct stanza_note){ .delay_us = delay_us, .by = partner_local(p) });
    else
        back_send(p, &(struct s2s_to_back){ .st = stanza_ref(st), .delay_us = delay_us });
}

static void back_is_lost(struct partner *p, bool kept)
{
    p->back.on = false;
    p->back.kept = p->back.waits = kept && !partner_stopped(p);
    partner_lost(p, true);
}

void partner_leaves_back(struct partner *p)
{
    if (p->share.guest != NULL)
        share_closes(p);
    back_is_lost(p, false);
}

void partner_lost_back(struct partner *p, const char *why)
{
    partner_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false, "%s", why);
    back_is_lost(p, false);
}

void partner_ends_back(struct partner *p)
{
    partner_hold(p, HOLD_END);
    if (p->share.guest != NULL)
        share_finishes(p);
    else
        back_send(p, &(struct s2s_to_back){ .st = NULL });
}

/* The stream of an offer has been resumed by another one before it was used. */
static void back_goes_over(struct partner *p, struct back_offer *o)
{
    if (o == back_resuming(p))
        p->back.stream = o->way.stream;
    back_offer_ends(p, o);
}

/* With s2s.connections the other server opens several streams, and each is offered. */
static void back_takes_offer(struct partner *p, const struct s2s_way_back *m,
                             const struct message_from *from)
{
    if (p->back.on && m->resumes != 0 && m->resumes == p->back.stream)
        back_is_lost(p, true); /* its end may be told later */
    struct back_offer *old = m->resumes == 0 ? NULL : back_offer_of(p, m->resumes);
    if (old != NULL)
        back_goes_over(p, old);
    old = p->offer_count < BACK_OFFERS_MAX ? NULL : back_offer_at(p->offers.next);
    if (old != NULL)
        back_offer_ends(p, old);
    ensure(p->offer_count < BACK_OFFERS_MAX);
    struct back_offer *o = mem_new(struct back_offer);
    o->way = (struct partner_back){ .stream = m->stream,
                                    .resumes = m->resumes,
                                    .base = m->count,
                                    .from = *from,
                                    .came_us = loop_now_us(partner_loop(p)),
                                    .counted = m->counted,
                                    .max_bytes = m->max_bytes,
                                    .certificate = m->certificate };
    snprintf(o->way.tls, sizeof o->way.tls, "%.*s", SLICE_ARG(m->tls));
    list_append(&p->offers, &o->node);
    p->offer_count++;
}

/* false: that stream is not quiet. */
static bool back_speaks(struct partner *p, uint64_t stream)
{
    ensure(p->quiet_count <= BACK_OFFERS_MAX);
    for (unsigned i = 0; i < p->quiet_count; i++) {
        if (p->quiet[i] != stream)
            continue;
        p->quiet[i] = p->quiet[--p->quiet_count];
        return true;
    }
    return false;
}

/* Of those beyond BACK_OFFERS_MAX, nothing is known. An attempt that has no connection so far ends:
 * partner_takes_back() waits. */
static void back_is_quiet(struct partner *p, uint64_t stream)
{
    ensure(stream != 0 && stream != p->back.stream);
    if (p->quiet_count < BACK_OFFERS_MAX)
        p->quiet[p->quiet_count++] = stream;
    if (p->state != ACTOR_LOADING || !p->back.kept || !back_needs_resuming(p))
        return;
    if (p->back.waiting) {
        timer_set(partner_loop(p), &p->retry, back_wait_ms(p));
    } else if (p->find != NULL && p->out == NULL) {
        s2s_find_cancel(&p->find);
        partner_retries_now(p);
    }
}

/* It takes the offer later, if its session is not resumed meanwhile. An attempt without a
 * connection may have begun while the other server could not be reached: another one begins. */
static void back_tries_first(struct partner *p)
{
    p->resumptions = 0; /* it is there: pauses are short again */
    if (p->find != NULL && p->out == NULL) {
        s2s_find_cancel(&p->find);
        partner_retries_now(p);
    }
    partner_session_waits(p);
}

/* A partner that does nothing yet, or whose attempt has no connection so far, takes it at once. */
static void back_offered(struct partner *p, const struct s2s_way_back *m,
                         const struct message_from *from)
{
    bool was_quiet = back_speaks(p, m->stream);
    back_takes_offer(p, m, from);
    if (p->back.waiting && back_needs_resuming(p)) {
        if (was_quiet || back_has_several(p))
            timer_set(partner_loop(p), &p->retry, back_wait_ms(p));
        return;
    }
    partner_forgive(p);
    if (p->fresh || (p->state == ACTOR_ABSENT && !p->diverts))
        actor_load(&p->actor);
    else if (p->state == ACTOR_LOADING && partner_may_take_back(p))
        back_turns(p, false);
    else if (p->state == ACTOR_LOADING && p->session != NULL)
        back_tries_first(p);
}

static void back_event(struct partner *p, const struct s2s_way_back *m)
{
    if (m->event == BACK_CONFIRMED) {
        /* counting may have begun behind the first that it has written: pings confirm, too */
        (void)partner_confirmed(p, p->counted ? p->unacked.base + m->count : m->read);
    } else if (m->event == BACK_FULL) {
        partner_full(p);
    } else if (m->event == BACK_ROOM) {
        partner_room(p);
    } else if (m->event == BACK_GONE) {
        if ((p->holds & HOLD_END) == 0) /* else it is known why */
            partner_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false,
                          "the stream of the server has ended");
        if (!p->counted)
            (void)partner_confirmed(p, m->read);
        if (m->fault == FAULT_BREAKS)
            partner_breaks(p);
        else if (m->fault == FAULT_OFFENDS)
            partner_offends(p);
        else if (m->orderly)
            partner_ended(p);
        back_is_lost(p, m->resumable);
    }
}

/* It has ended before it was used. What it has resumed can still be resumed, as what it has gone on
 * with: counts are those of the session. So can what a quiet one would have resumed. */
static void back_offer_gone(struct partner *p, const struct s2s_way_back *m)
{
    struct back_offer *o = back_offer_of(p, m->stream);
    if (back_speaks(p, m->stream) && p->back.waiting && back_needs_resuming(p))
        timer_set(partner_loop(p), &p->retry, back_wait_ms(p));
    bool has_resumed = o != NULL && o == back_resuming(p);
    if (o != NULL && m->resumable && (p->state != ACTOR_LOADING || o->way.came_us <= p->waits_us))
        p->offer_gone_us = loop_now_us(partner_loop(p));
    if (o != NULL)
        back_offer_ends(p, o);
    if (!has_resumed)
        return;
    p->back.stream = m->stream;
    p->back.kept = p->back.waits = m->resumable && !partner_stopped(p);
}

static void way_back_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_way_back *m = message;
    struct s2s_gate *g = s2s_gate_of(w);
    struct partner *p = NULL;
    if (g != NULL)
        p = partner_find(w, &(struct partner_name){ m->local, m->remote, 0 },
                         m->event == BACK_OFFERED && !s2s_worker(g, w)->out.stopped);
    if (p == NULL)
        return;
    actor_mark(&p->actor);
    actor_pin(&p->actor);
    if (m->event == BACK_OFFERED)
        back_offered(p, m, from);
    else if (m->event == BACK_QUIET)
        back_is_quiet(p, m->stream);
    else if (p->back.on && p->back.stream == m->stream)
        back_event(p, m);
    else if (m->event == BACK_GONE)
        back_offer_gone(p, m);
    actor_unpin(&p->actor);
}

static const struct message_field way_back_fields[] = {
    F_BARE(struct s2s_way_back, local),
    F_BARE(struct s2s_way_back, remote),
    F_TEXT(struct s2s_way_back, tls, BACK_TLS_MAX),
    F_U64(struct s2s_way_back, stream),
    F_U64(struct s2s_way_back, resumes),
    F_U32(struct s2s_way_back, count, UINT32_MAX),
    F_U32(struct s2s_way_back, read, UINT32_MAX),
    F_U32(struct s2s_way_back, max_bytes, UINT32_MAX),
    F_U8(struct s2s_way_back, event, BACK_QUIET),
    F_U8(struct s2s_way_back, fault, FAULT_OFFENDS),
    F_BOOL(struct s2s_way_back, counted),
    F_BOOL(struct s2s_way_back, certificate),
    F_BOOL(struct s2s_way_back, resumable),
    F_BOOL(struct s2s_way_back, orderly),
    { 0 },
};
const struct message_row s2s_way_back_message = {
    .id = 103,
    .scope = MESSAGE_PROCESS,
    .name = "s2s-way-back",
    .size = sizeof(struct s2s_way_back),
    .fields = way_back_fields,
    .run = way_back_run,
};
