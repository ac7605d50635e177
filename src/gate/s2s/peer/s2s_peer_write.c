#include "base/arena.h"
#include "codec/xml_elem.h"
#include "gate/s2s/peer/s2s_peer_private.h"
#include "home/router.h"
#include "home/trail.h"
#include "remote/foreign.h"
#include "remote/outgoing_bounce.h"
#include "xmpp/datetime.h"
#include "xmpp/ns.h"

enum {
    REPLY_BYTES_MAX = 4096,
    REPLIES_AHEAD = 8,   /* beyond s2s.unacked-max */
    ATTEMPT_MS = 15000,  /* that an attempt gets at least, also if s2s.retry-for is shorter; */
    ANOTHER_MS = 2000,   /* or this, if the last one failed */
    PING_MS = 1000,      /* from a stanza to the ping behind it */
    OUTWARD_GROWS = 4096 /* by other addresses, at most; else it is measured */
};

/* Stanzas that go back to their senders. */

static void peer_error(struct s2s_peer *p, struct stanza *st, enum stanza_error e, slice text)
{
    s2s_dropped(st, e == SE_NOT_ALLOWED           ? S2S_DROP_POLICY
                    : e == SE_RESOURCE_CONSTRAINT ? S2S_DROP_QUEUE
                                                  : S2S_DROP_UNREACHABLE);
    route_error(p->worker, st, e, text);
    stanza_unref(&st);
}

static void peer_forget_bytes(struct s2s_peer *p, const struct stanza *st)
{
    atomic_fetch_sub(&p->gate->waiting_bytes, st->bytes);
}

void peer_refuse(struct s2s_peer *p, struct s2s_sent *s)
{
    if (s->gone || (s->id.entry != 0 && peer_stopped(p))) /* it is sent after the next start */
        stanza_unref(&s->st);
    else if (s->id.entry != 0)
        s2s_backlog_leave(p, s, false);
    else
        peer_error(p, s->st, (enum stanza_error)p->blame.error, peer_words(p));
}

void peer_give_back(struct s2s_peer *p)
{
    while (p->queue.len > 0) {
        struct s2s_sent s = s2s_queue_cut(&p->queue, 0);
        peer_forget_bytes(p, s.st);
        peer_refuse(p, &s);
    }
    s2s_queue_rewind(&p->queue, true);
    s2s_backlog_drained(p);
    s2s_peer_set_session(p, (slice){ 0 }, 0);
    p->careful = 0;
}

void peer_bounce(struct s2s_peer *p, struct s2s_sent *s, struct stanza *error)
{
    if (s->id.entry != 0) {
        s2s_backlog_bounce(p, s, error);
        return;
    }
    if (error != NULL)
        route_send(p->worker, error);
    stanza_unref(&s->st);
}

/* Stanzas that are not stored wait for s2s.retry-for. On a stream that is up, what was written has
 * left; else it waits to be written again. */

static uint64_t peer_age_ms(const struct s2s_peer *p, const struct s2s_sent *s)
{
    uint64_t now = loop_wall_us(peer_loop(p));
    return now > s->at_us ? (now - s->at_us) / 1000 : 0;
}

static uint32_t peer_waits_from(const struct s2s_peer *p)
{
    return p->state == PEER_UP || p->state == PEER_CLOSING ? p->queue.written : 0;
}

static uint64_t peer_patience_ms(const struct s2s_peer *p)
{
    uint64_t ms = (uint64_t)setting_int(&s2s_retry_for);
    uint64_t least = peer_pauses(p) ? 0 : p->failing_us > 0 ? ANOTHER_MS : ATTEMPT_MS;
    return ms < least || peer_fails_for_long(p) ? least : ms;
}

void peer_wait_on(struct s2s_peer *p)
{
    uint64_t most = peer_patience_ms(p);
    if (timer_is_set(&p->patience))
        return;
    for (uint32_t i = peer_waits_from(p); i < p->queue.len; i++) {
        const struct s2s_sent *s = s2s_queue_at(&p->queue, i);
        if (s->id.entry != 0 || s->gone)
            continue;
        uint64_t age = peer_age_ms(p, s);
        timer_set(peer_loop(p), &p->patience, age < most ? most - age : 0);
        return;
    }
}

/* One that was written and may be resumed stays in the count. */
static void peer_late(struct s2s_peer *p, uint32_t n)
{
    if (n < p->queue.again) {
        const struct s2s_sent *s = s2s_queue_at(&p->queue, n);
        s2s_queue_gone(&p->queue, n);
        peer_error(p, stanza_ref(s->st), (enum stanza_error)p->blame.error, peer_words(p));
        return;
    }
    struct s2s_sent s = s2s_queue_cut(&p->queue, n);
    peer_forget_bytes(p, s.st);
    peer_refuse(p, &s);
}

void peer_patience_ends(struct timer *t, struct loop *loop)
{
    struct s2s_peer *p = CONTAINER_OF(t, struct s2s_peer, patience);
    uint64_t most = peer_patience_ms(p);
    (void)loop;
    if (p->find != NULL && s2s_find_waits(p->find))
        s2s_peer_blame(p, S2S_AT_TCP, SE_REMOTE_SERVER_TIMEOUT, false, "%s", s2s_find_no_turn);
    else if (!p->blame.set) /* the attempt hangs, or the server reads too slowly */
        s2s_peer_blame(p, p->out != NULL ? s2s_out_stage(p->out, true) : S2S_AT_NO_ANSWER,
                       SE_REMOTE_SERVER_TIMEOUT, false, "it does not answer");
    if (p->failing_us == 0 && p->state != PEER_UP && p->state != PEER_CLOSING)
        p->failing_us = p->since_us; /* others do not wait as long */
    for (uint32_t i = peer_waits_from(p); i < p->queue.len;) {
        const struct s2s_sent *s = s2s_queue_at(&p->queue, i);
        bool late = s->id.entry == 0 && !s->gone && peer_age_ms(p, s) >= most;
        uint32_t before = p->queue.len;
        if (late)
            peer_late(p, i);
        i += !late || p->queue.len == before;
    }
    peer_wait_on(p);
    peer_work(p);
}

/* Writing. */

/* What is written: with the addresses that others see. */
static size_t peer_bytes_of(const struct s2s_peer *p, const struct stanza *st,
                            const struct stanza_note *note)
{
    struct stanza *other = foreign_outward(p->worker, st);
    const struct stanza *written = other != NULL ? other : st;
    char *text = mem_alloc(stanza_write_max(written, note));
    size_t bytes = stanza_write(text, written, note);
    mem_free(&text);
    stanza_unref(&other);
    return bytes;
}

/* XEP-0478 §4: it must not be sent on a stream that says that it does not take so much. */
static bool peer_exceeds(const struct s2s_peer *p, const struct stanza *st,
                         const struct stanza_note *note)
{
    size_t most = p->out != NULL ? s2s_out_max_bytes(p->out) : p->back.max_bytes;
    return most > 0 && stanza_write_max(st, note) + OUTWARD_GROWS > most &&
           peer_bytes_of(p, st, note) > most;
}

/* A test that has ended without it: nobody wants it any more (probe/imtest.c). */
static bool peer_is_late_test(const struct s2s_peer *p, const struct stanza *st)
{
    struct elem test;
    int64_t until_us;
    struct arena *tmp = loop_scratch(peer_loop(p));
    return stanza_has(st, KNOWN(TEST)) && stanza_child(st, KNOWN_TEST, &test) &&
           datetime_parse(elem_attr(&test, "until", tmp), &until_us) &&
           (int64_t)loop_wall_us(peer_loop(p)) > until_us;
}

/* An answer to what the other server has asked our domain, such as a ping. */
static bool peer_is_reply(const struct stanza *st)
{
    struct jid from = jid_split(stanza_from(st)), to = jid_split(stanza_to(st));
    return st->kind == STANZA_IQ && (st->type == TYPE_RESULT || st->type == TYPE_ERROR) &&
           from.domain.len == st->from_len && to.domain.len == st->to_len &&
           st->bytes <= REPLY_BYTES_MAX;
}

/* An answer to the other server that nothing unconfirmed is in front of is not confirmed, either,
 * where that takes a ping: the other server would answer our ping and ask about its answer, and so
 * on for ever. Lost, it is asked for again. */
static bool peer_lets_go(struct s2s_peer *p)
{
    if (p->counted || p->queue.written != 1 || !peer_is_reply(s2s_queue_at(&p->queue, 0)->st))
        return false;
    struct s2s_sent s = s2s_queue_confirm(&p->queue);
    peer_forget_bytes(p, s.st);
    stanza_unref(&s.st);
    return true;
}

/* The next of the queue does not go to the stream. Takes it out; `error` NULL: nobody is told. */
static void peer_skips(struct s2s_peer *p, bool too_large)
{
    struct s2s_sent s = s2s_queue_cut(&p->queue, p->queue.written);
    peer_forget_bytes(p, s.st);
    if (too_large) {
        peer_bounce(p, &s,
                    stanza_make_error(s.st, SE_POLICY_VIOLATION,
                                      SLICE("its server takes no stanza as large")));
        return;
    }
    if (s.id.entry != 0)
        s2s_backlog_confirmed(p, &s.id);
    stanza_unref(&s.st);
}

static void peer_write_next(struct s2s_peer *p)
{
    const struct s2s_sent *s = s2s_queue_at(&p->queue, p->queue.written);
    uint64_t now = loop_wall_us(peer_loop(p));
    bool old = s->id.entry != 0 && now > s->at_us && now - s->at_us >= S2S_DELAY_US;
    const struct stanza_note note = { .delay_us = old ? s->at_us : 0, .by = s2s_peer_local(p) };
    bool drop = s->gone || peer_is_late_test(p, s->st), large = peer_exceeds(p, s->st, &note);
    if (drop || large) {
        peer_skips(p, !drop);
        return;
    }
    trail_note(s->st, "sent to server", "", s2s_peer_remote(p));
    s = s2s_queue_write(&p->queue);
    if (p->back.on)
        peer_back_write(p, s->st, note.delay_us);
    else
        s2s_out_write(p->out, s->st, &note);
    bool asks = !p->counted && !peer_lets_go(p) && p->ping.ask == NULL && !p->ping.routing;
    if (asks && !timer_is_set(&p->ping.timer))
        timer_set(peer_loop(p), &p->ping.timer, p->careful > 0 ? 0 : PING_MS);
}

/* How much is sent ahead of what is confirmed. */
static bool peer_has_window(const struct s2s_peer *p)
{
    bool full = atomic_load(&p->gate->waiting_bytes) >= setting_int(&s2s_queue_total);
    if ((full || p->careful > 0) && p->queue.written > 0)
        return false;
    return p->queue.written < (uint64_t)setting_int(&s2s_unacked_max) &&
           p->queue.written_bytes < (uint64_t)setting_int(&s2s_queue_bytes) / 2;
}

bool peer_may_write(const struct s2s_peer *p)
{
    return p->state == PEER_UP && peer_is_linked(p) && !p->full && peer_has_window(p) &&
           p->queue.written >= p->queue.again;
}

static void peer_ping(struct s2s_peer *p);

void peer_pump(struct s2s_peer *p)
{
    while (p->state == PEER_UP && peer_is_linked(p) && !p->full &&
           p->queue.written < p->queue.len && peer_has_window(p) &&
           (p->queue.written < p->queue.again || !s2s_backlog_holds(p)))
        peer_write_next(p);
    if (p->state != PEER_UP)
        return;
    if (!p->counted && !peer_has_window(p))
        peer_ping(p);
    if (p->queue.written == p->queue.len)
        s2s_backlog_drained(p);
    s2s_backlog_go(p);
    peer_wait_on(p);
}

void peer_write_row(struct s2s_peer *p, const struct s2s_sent *s)
{
    ensure(peer_may_write(p));
    atomic_fetch_add(&p->gate->waiting_bytes, s->st->bytes);
    s2s_queue_push_next(&p->queue, s);
    peer_write_next(p);
}

/* Whether it finds room; else by which limit it does not. A server that does not hear unavailable
 * presence shows a ghost, and nothing repeats it: that has twice the room. */
static bool peer_has_room(struct s2s_peer *p, const struct stanza *st)
{
    bool goodbye = st->kind == STANZA_PRESENCE && st->type == TYPE_UNAVAILABLE;
    if (s2s_queue_waiting(&p->queue) >= (uint64_t)setting_int(&s2s_queue_stanzas) << goodbye)
        p->overflow.by = &s2s_queue_stanzas;
    else if (p->queue.bytes + st->bytes > (uint64_t)setting_int(&s2s_queue_bytes))
        p->overflow.by = &s2s_queue_bytes;
    else if (atomic_load(&p->gate->waiting_bytes) + st->bytes > setting_int(&s2s_queue_total))
        p->overflow.by = &s2s_queue_total;
    else
        p->overflow.by = NULL;
    return p->overflow.by == NULL;
}

/* A flood is refused stanza by stanza, and one line each would hide all else of the log. */
static void peer_tell_overflow(struct s2s_peer *p, const struct stanza *st)
{
    enum { AGAIN_US = 60 * 1000 * 1000 };
    uint64_t now_us = loop_now_us(peer_loop(p));
    p->overflow.count++;
    metric_add(&s2s_overflows, 1);
    if (p->overflow.told_us != 0 && now_us - p->overflow.told_us < AGAIN_US)
        return;
    log_warn(&log_s2s, LOG_EV("s2s.overflow"), LOG_S("domain", jid_split(stanza_to(st)).domain),
             LOG_S("local", jid_split(stanza_from(st)).domain), LOG_I("queue", p->queue.len),
             LOG_C("setting", p->overflow.by != NULL ? p->overflow.by->name : s2s_queue_bytes.name),
             LOG_I("refused", p->overflow.count - p->overflow.told),
             LOG_C("hint", "its server takes them too slowly or not at all; senders get an error: "
                           "`s2s show` shows the stream"));
    p->overflow.told_us = now_us;
    p->overflow.told = p->overflow.count;
}

/* It takes no more of what is not stored; what is, stays in the database. */
static void peer_overflows(struct s2s_peer *p, struct s2s_sent *s)
{
    if (s->id.entry != 0) {
        s2s_backlog_leave(p, s, true);
        return;
    }
    peer_tell_overflow(p, s->st);
    peer_error(p, s->st, SE_RESOURCE_CONSTRAINT, SLICE("too many stanzas wait for this server"));
}

/* Such an answer goes before all that waits: the other server confirms nothing before it has it. */
static bool peer_replies(struct s2s_peer *p, const struct s2s_sent *s)
{
    if (p->state != PEER_UP || p->queue.written < p->queue.again || !peer_is_reply(s->st) ||
        p->queue.written >= (uint64_t)setting_int(&s2s_unacked_max) + REPLIES_AHEAD)
        return false;
    s2s_queue_push_next(&p->queue, s);
    peer_write_next(p);
    return true;
}

static void peer_takes(struct s2s_peer *p, struct s2s_sent *s)
{
    if (peer_pauses(p) && p->state != PEER_WAITING) {
        peer_refuse(p, s);
    } else if (s2s_backlog_leaves(p) || !peer_has_room(p, s->st)) {
        peer_overflows(p, s);
    } else {
        atomic_fetch_add(&p->gate->waiting_bytes, s->st->bytes);
        if (peer_replies(p, s))
            return;
        s2s_queue_push(&p->queue, s);
        if (p->state != PEER_UP)
            trail_note(s->st, "waits", "for its server", s2s_peer_remote(p));
    }
    if (p->state == PEER_UP)
        peer_pump(p);
    else
        s2s_peer_event(p, PEER_WANTED);
    peer_wait_on(p);
}

static void nobody_asks(void *arg, enum err e) { (void)arg, (void)e; }

/* There is no peer for it, and none is made. Takes over the reference. */
static void peer_turned_away(struct worker *w, struct s2s_sent *s)
{
    static const slice words =
        SLICE_INIT("too many servers are waited for that were never reached");
    metric_add(&s2s_overflows, 1);
    if (s->id.entry != 0) {
        const struct outgoing_pair pair = { w, jid_split(stanza_from(s->st)).domain,
                                            jid_split(stanza_to(s->st)).domain };
        outgoing_bounce(&pair, &s->id, stanza_make_error(s->st, SE_RESOURCE_CONSTRAINT, words),
                        nobody_asks, NULL);
    } else {
        s2s_dropped(s->st, S2S_DROP_QUEUE);
        route_error(w, s->st, SE_RESOURCE_CONSTRAINT, words);
    }
    stanza_unref(&s->st);
}

void s2s_peer_take(struct worker *w, struct stanza *st, const struct outgoing_id *id)
{
    struct jid from = jid_split(stanza_from(st)), to = jid_split(stanza_to(st));
    struct s2s_sent s = { .st = st, .id = *id, .at_us = loop_wall_us(worker_loop(w)) };
    struct s2s_peer *p = s2s_peer_make(w, from.domain, to.domain, false, stanza_from_bare(st));
    if (p == NULL) {
        peer_turned_away(w, &s);
    } else if (id->entry != 0 && p->backlog.some &&
               (s2s_queue_has(&p->queue, id->sender, id->entry) || s2s_backlog_knows(p, id))) {
        stanza_unref(&st); /* the database was faster */
    } else {
        peer_takes(p, &s);
    }
}

/* Confirmation. */

static void peer_confirm(struct s2s_peer *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct s2s_sent s = s2s_queue_confirm(&p->queue);
        trail_note(s.st, "confirmed by server", "", s2s_peer_remote(p));
        peer_forget_bytes(p, s.st);
        if (s.id.entry != 0)
            s2s_backlog_confirmed(p, &s.id);
        stanza_unref(&s.st);
    }
    p->careful -= p->careful < count ? p->careful : count;
    if (count > 0) {
        p->progress = true;
        p->fruitless = 0;
        p->failing_us = 0;
        p->failures = 0;
    }
    if (p->queue.written == 0)
        timer_cancel(&p->ping.timer);
}

bool s2s_peer_confirmed(struct s2s_peer *p, uint32_t h)
{
    uint32_t count;
    if (s2s_queue_confirms(&p->queue, h, &count) != OK)
        return false;
    peer_confirm(p, count);
    peer_pump(p);
    return true;
}

void s2s_peer_confirm_all(struct s2s_peer *p) { peer_confirm(p, p->queue.written); }
bool s2s_peer_is_unconfirmed(const struct s2s_peer *p) { return p->queue.written > 0; }
uint32_t s2s_peer_count(const struct s2s_peer *p) { return s2s_queue_count(&p->queue); }

void s2s_peer_uncounted(struct s2s_peer *p)
{
    p->counted = false;
    if (p->queue.written > 0 && p->ping.ask == NULL && !timer_is_set(&p->ping.timer))
        timer_set(peer_loop(p), &p->ping.timer, PING_MS);
}

void s2s_peer_full(struct s2s_peer *p, bool full)
{
    p->full = full;
    if (!full)
        peer_pump(p);
}

/* Without XEP-0198: the answer to a ping says that what was written before it has arrived. It comes
 * on a stream of the other server, or on ours. */

static void peer_has_ponged(struct s2s_peer *p)
{
    uint32_t count;
    if (s2s_queue_confirms(&p->queue, p->ping.count, &count) == OK)
        peer_confirm(p, count);
    if (p->queue.written > 0 && !timer_is_set(&p->ping.timer))
        timer_set(peer_loop(p), &p->ping.timer, p->careful > 0 ? 0 : PING_MS);
    peer_pump(p);
}

/* No answer: the connection may be dead, or the server cannot reach us. If it reads, it ends the
 * stream as we do, which confirms as much. */
static void peer_ponged(struct worker *w, void *arg, const struct stanza *reply)
{
    struct s2s_peer *p = arg;
    (void)w;
    p->ping.ask = NULL;
    if (p->ping.routing)
        return; /* refused here, before it was written: it says nothing of the other server */
    if (reply != NULL) {
        peer_has_ponged(p);
    } else if (p->queue.written > 0) {
        s2s_peer_blame(p, S2S_AT_NO_ANSWER, SE_REMOTE_SERVER_TIMEOUT, false,
                       "it does not answer a ping");
        s2s_peer_event(p, PEER_CLOSE);
    }
}

bool s2s_peer_ponged(struct s2s_peer *p, slice id)
{
    if (p->ping.ask == NULL || p->ping.routing || !ask_has_id(p->ping.ask, id))
        return false;
    ask_cancel(&p->ping.ask);
    peer_has_ponged(p);
    return true;
}

static void peer_ping(struct s2s_peer *p)
{
    if (p->ping.ask != NULL || p->ping.routing || p->counted || p->state != PEER_UP ||
        p->queue.written == 0)
        return;
    timer_cancel(&p->ping.timer);
    p->ping.routing = true;
    s2s_worker(p->gate, p->worker)->pinger = p;
    p->ping.ask =
        ask_send(p->worker,
                 &(struct ask_request){ .type = TYPE_GET,
                                        .from = s2s_peer_local(p),
                                        .to = s2s_peer_remote(p),
                                        .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                                        .timeout_ms = (uint32_t)setting_int(&s2s_ack_timeout),
                                        .home = s2s_peer_remote(p) },
                 peer_ponged, p);
    s2s_worker(p->gate, p->worker)->pinger = NULL;
    if (p->ping.routing) { /* it was not written: later */
        p->ping.routing = false;
        ask_cancel(&p->ping.ask);
        timer_set(peer_loop(p), &p->ping.timer, PING_MS);
    }
}

/* It is routed as others are, and must come to this stream: it confirms what was written before. */
bool s2s_peer_takes_ping(struct s2s_peer *p, struct stanza *st)
{
    ensure(p->ping.routing);
    if (st->kind != STANZA_IQ || st->type != TYPE_GET ||
        !slice_eq(stanza_from(st), s2s_peer_local(p)) ||
        !slice_eq(stanza_to(st), s2s_peer_remote(p)))
        return false;
    s2s_worker(p->gate, p->worker)->pinger = NULL;
    atomic_fetch_add(&p->gate->waiting_bytes, st->bytes);
    s2s_queue_push_next(&p->queue,
                        &(struct s2s_sent){ .st = st, .at_us = loop_wall_us(peer_loop(p)) });
    peer_write_next(p);
    p->ping.count = s2s_queue_count(&p->queue);
    p->ping.routing = false;
    return true;
}

void peer_ping_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    peer_ping(CONTAINER_OF(t, struct s2s_peer, ping.timer));
}

void peer_write_stop(struct s2s_peer *p)
{
    ask_cancel(&p->ping.ask);
    timer_cancel(&p->ping.timer);
    s2s_backlog_stop(p);
    p->full = false;
}

/* What waits of an account that is deleted: messages and requests. Its unavailable presence goes.
 */
void s2s_peers_sender_gone(struct worker *w, slice bare)
{
    struct s2s_gate *g = s2s_gate_of(w);
    struct s2s_peer *p;
    for (uint32_t at = 0; g != NULL && (p = map_next(&s2s_worker(g, w)->peers, &at)) != NULL;) {
        for (uint32_t i = 0; i < p->queue.len; i++) {
            const struct s2s_sent *s = s2s_queue_at(&p->queue, i);
            if (s->gone || !(s->st->kind == STANZA_MESSAGE || stanza_is_request(s->st)) ||
                !slice_eq(stanza_from_bare(s->st), bare))
                continue;
            trail_note(s->st, "dropped", "its sender is deleted", s2s_peer_remote(p));
            s2s_queue_gone(&p->queue, i);
        }
        s2s_backlog_sender_gone(p);
    }
}
