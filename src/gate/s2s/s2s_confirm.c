#include "gate/s2s/s2s_confirm.h"
#include "base/arena.h"
#include "codec/xml_elem.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_divert.h"
#include "gate/s2s/s2s_drop.h"
#include "gate/s2s/s2s_in_sm.h"
#include "gate/s2s/s2s_judge.h"
#include "gate/s2s/s2s_out_ends.h"
#include "gate/s2s/s2s_partner_care.h"
#include "gate/s2s/s2s_partner_private.h"
#include "home/router.h"
#include "home/trail.h"
#include "im/foreign.h"
#include "xmpp/datetime.h"
#include "xmpp/ns.h"
#include "xmpp/retract.h"

enum {
    REPLY_BYTES_MAX = 4096,
    DEAF_MS = 10 * 60000,
    PING_MS = 1000,       /* from a stanza to the ping behind it */
    OUTWARD_GROWS = 4096, /* by other addresses, at most; else it is measured */
    SESSION_ID_MAX = 4000 /* XEP-0198 §5: longer ones are not resumed */
};

/* What the server has confirmed, and what it has not. */

void partner_hold(struct partner *p, unsigned reason)
{
    if (p->state != ACTOR_READY || (p->holds & reason) != 0)
        return;
    p->holds |= (uint8_t)reason;
    if (p->holds == reason)
        actor_pause(&p->actor);
}

void partner_release(struct partner *p, unsigned reason)
{
    if ((p->holds & reason) == 0)
        return;
    p->holds &= (uint8_t)~reason;
    if (p->holds == 0 && p->mail.kept)
        p->holds = HOLD_MAIL;
    if (p->holds == 0) {
        actor_pin(&p->actor);
        actor_unpause(&p->actor);
        actor_go_on(&p->actor);
        partner_mail_begin(p); /* also if the inbox was empty */
        actor_unpin(&p->actor);
    } else if (p->holds == HOLD_MAIL) {
        s2s_mail_go(&p->mail);
    }
}

static void partner_was_confirmed(struct partner *p, struct s2s_sent *s)
{
    atomic_fetch_sub(&p->gate->waiting_bytes, s->st->bytes);
    if (s->id.entry != 0)
        s2s_mail_confirmed(&p->mail, &s->id);
    partner_watch_ends(p, &s->id);
    stanza_unref(&s->st);
}

static bool partner_is_loaded(const struct partner *p)
{
    bool full = atomic_load(&p->gate->waiting_bytes) >= setting_int(&s2s_queue_total);
    return ((p->careful || full) && p->unacked.len > 0) ||
           p->unacked.len >= (uint64_t)setting_int(&s2s_unacked_max) ||
           p->unacked.bytes >= (uint64_t)setting_int(&s2s_queue_bytes) / 2;
}

static void partner_ping(struct partner *p);

/* One at a time: the next. */
static void partner_goes_on(struct partner *p)
{
    while (p->careful && p->state == ACTOR_READY && p->unacked.written == 0 && p->unacked.len > 0 &&
           (p->holds & HOLD_END) == 0 && !doubt_unacked(p))
        partner_write_next(p);
    if (p->careful && p->unacked.written == 0)
        doubt_go_on(p);
}

void partner_weigh(struct partner *p)
{
    partner_goes_on(p);
    if (!partner_is_loaded(p)) {
        partner_release(p, HOLD_UNACKED);
        return;
    }
    partner_hold(p, HOLD_UNACKED);
    if (!p->counted)
        partner_ping(p);
}

static void partner_confirm(struct partner *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct s2s_sent s = s2s_unacked_take(&p->unacked, true);
        trail_note(s.st, "confirmed by server", "", partner_remote(p));
        partner_was_confirmed(p, &s);
    }
    if (count > 0) {
        if (p->vain)
            divert_tells_others(p);
        p->vain = false;
        p->failing_us = 0;
        p->failures = p->resumptions = 0;
    }
    if (count > 0 && p->unacked.len == 0)
        partner_care_ends(p);
    if (p->unacked.len == 0)
        timer_cancel(&p->ping_timer);
}

bool partner_confirmed(struct partner *p, uint32_t h)
{
    uint32_t count;
    if (s2s_unacked_confirms(&p->unacked, h, &count) != OK)
        return false;
    partner_confirm(p, count);
    partner_weigh(p);
    return true;
}

uint32_t partner_sent_count(const struct partner *p) { return s2s_unacked_count(&p->unacked); }

/* It has refused to count: pings go on where that ends. */
void partner_uncounted(struct partner *p)
{
    p->counted = false;
    if (p->unacked.written > 0 && p->ping == NULL && !timer_is_set(&p->ping_timer))
        timer_set(partner_loop(p), &p->ping_timer, PING_MS);
}

void partner_confirm_all(struct partner *p) { partner_confirm(p, p->unacked.written); }
bool partner_is_unconfirmed(const struct partner *p) { return p->unacked.written > 0; }
bool partner_answers(const struct partner *p) { return p->answers; }
bool partner_hears(const struct partner *p) { return p->answers && !p->silent; }

void partner_confirms_by_end(struct partner *p)
{
    if (!p->answers)
        partner_confirm_all(p);
}

/* Nothing is taken from it, also no answer. */
static bool partner_is_banned(const struct partner *p)
{
    return s2s_ban(p->worker, partner_local(p), partner_remote(p)) != NULL;
}

void partner_confirms_if_not_asked(struct partner *p)
{
    if (partner_is_banned(p))
        partner_confirm_all(p);
    else
        partner_confirms_by_end(p);
}

bool partner_may_answer(const struct partner *p)
{
    return p->unacked.written > 0 && !partner_is_banned(p);
}

/* Without XEP-0198: the answer to a ping says that what was written before it has arrived. It
 * comes on a stream of the other server; some servers send it on ours (partner_pongs()). That of a
 * service or component of ours goes on to it: partner_has_answer() hears of it. */

static void partner_is_deaf(struct partner *p)
{
    p->deaf = true;
    p->deaf_us = loop_now_us(partner_loop(p)) + (uint64_t)DEAF_MS * 1000;
    log_info(&log_s2s, LOG_EV("s2s.unconfirmed"), LOG_S("domain", partner_remote(p)),
             LOG_S("local", partner_local(p)));
    partner_confirm_all(p);
    partner_weigh(p);
}

static void partner_has_ponged(struct partner *p)
{
    uint32_t count;
    p->answers = true;
    p->silent = false;
    if (s2s_unacked_confirms(&p->unacked, p->ping_count, &count) == OK)
        partner_confirm(p, count);
    partner_weigh(p);
    if (share_proves(p))
        partner_asks_now(p);
    else if (p->unacked.written > 0 && p->ping == NULL && !timer_is_set(&p->ping_timer))
        timer_set(partner_loop(p), &p->ping_timer, PING_MS);
    share_is_proved(p);
}

static void partner_ponged(struct worker *w, void *arg, const struct stanza *reply)
{
    struct partner *p = arg;
    (void)w;
    p->ping = NULL;
    p->ping_open = false;
    if (p->pinging)
        return; /* refused here, before it was written: it says nothing of the other server */
    actor_pin(&p->actor);
    if (reply != NULL) {
        partner_has_ponged(p);
    } else if (p->unacked.written > 0 &&
               (p->answers || !p->silent || (p->out != NULL && !s2s_out_has_arrived(p->out)))) {
        p->silent = true; /* the connection may be dead: another one follows */
        partner_blame(p, S2S_AT_NO_ANSWER, SE_REMOTE_SERVER_TIMEOUT, false,
                      "it does not answer a ping");
        if (p->out != NULL) /* it reads perhaps, and cannot reach us: then it ends its half, too */
            partner_ends(p);
        else
            partner_ends_back(p);
    } else if (p->unacked.written > 0) {
        partner_is_deaf(p);
    }
    actor_unpin(&p->actor);
}

bool partner_pongs(struct partner *p, slice id)
{
    if (p->ping == NULL || p->pinging || !ask_has_id(p->ping, id))
        return false;
    ask_cancel(&p->ping);
    p->ping_open = false;
    actor_pin(&p->actor);
    partner_has_ponged(p);
    actor_unpin(&p->actor);
    return true;
}

static void partner_ping(struct partner *p)
{
    if (p->ping != NULL || p->pinging || p->counted || p->deaf || !partner_is_linked(p) ||
        ((p->holds & HOLD_END) != 0 && !share_proves(p)))
        return;
    timer_cancel(&p->ping_timer);
    p->pinging = p->ping_open = true;
    s2s_worker(p->gate, p->worker)->pinger = p;
    struct ask *ask =
        ask_send(p->worker,
                 &(struct ask_request){ .type = TYPE_GET,
                                        .from = partner_local(p),
                                        .to = partner_remote(p),
                                        .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                                        .timeout_ms = (uint32_t)setting_int(&s2s_ack_timeout),
                                        .home = partner_remote(p) },
                 partner_ponged, p);
    p->ping = p->ping_open ? ask : NULL;
    s2s_worker(p->gate, p->worker)->pinger = NULL;
    if (p->pinging) { /* it was not written: later */
        p->pinging = false;
        ask_cancel(&p->ping);
        timer_set(partner_loop(p), &p->ping_timer, PING_MS);
    }
}

void partner_asks_now(struct partner *p)
{
    if (partner_may_answer(p))
        partner_ping(p);
}

/* It is routed as others are, and must come to this stream, which is perhaps not at the home of the
 * domain: it confirms what was written before it. */
bool partner_takes_ping(struct partner *p, struct stanza *st)
{
    ensure(p->pinging);
    if (st->kind != STANZA_IQ || st->type != TYPE_GET ||
        !slice_eq(stanza_from(st), partner_local(p)) || !slice_eq(stanza_to(st), partner_remote(p)))
        return false;
    s2s_worker(p->gate, p->worker)->pinger = NULL;
    partner_write(p, &(struct s2s_sent){ .st = st, .at_us = loop_wall_us(partner_loop(p)) });
    p->ping_count = s2s_unacked_count(&p->unacked);
    p->pinging = false;
    return true;
}

void partner_ping_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    partner_ping(CONTAINER_OF(t, struct partner, ping_timer));
}

slice partner_session(const struct partner *p)
{
    return p->session == NULL ? (slice){ 0 } : slice_of(p->session);
}

void partner_set_session(struct partner *p, slice id)
{
    mem_free(&p->session);
    if (id.len == 0 || id.len > SESSION_ID_MAX)
        return;
    p->session = mem_alloc(id.len + 1);
    memcpy(p->session, id.ptr, id.len);
    p->session[id.len] = '\0';
}

/* What the other server writes on our stream (XEP-0288). */

struct in_flow *partner_flow(const struct partner *p) { return p->flow; }

bool partner_begins(struct partner *p, struct xstream *x, bool both, bool resumes)
{
    bool goes_on = resumes && p->session != NULL && (p->flow != NULL) == both &&
                   (p->flow == NULL || !s2s_flow_is_lost(p->flow));
    if (!goes_on) {
        partner_parts(p);
        s2s_flow_drop(&p->flow);
        if (both)
            p->flow = s2s_flow_new(p->gate, p->worker);
    }
    if (p->flow != NULL)
        s2s_flow_join(p->flow, x, s2s_out_flow_rests);
    return goes_on;
}

void partner_parts(struct partner *p)
{
    if (p->flow != NULL)
        s2s_flow_part(p->flow);
}

void partner_rejoins(struct partner *p) { p->rejoins = p->session != NULL && !partner_stopped(p); }

void partner_asks_session(struct partner *p) { p->asks_session = true; }

void partner_ends(struct partner *p)
{
    partner_hold(p, HOLD_END);
    s2s_out_finish(p->out);
}

/* What is written: with the addresses that others see. */
static size_t partner_bytes_of(const struct partner *p, const struct stanza *st,
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
static bool partner_exceeds(const struct partner *p, const struct stanza *st,
                            const struct stanza_note *note)
{
    size_t most = p->out != NULL ? s2s_out_max_bytes(p->out) : p->back.max_bytes;
    return most > 0 && stanza_write_max(st, note) + OUTWARD_GROWS > most &&
           partner_bytes_of(p, st, note) > most;
}

/* Its sender is told. Takes over the references; reply: NULL if nobody is told. */
static void partner_sends_back(struct partner *p, struct s2s_sent *s, struct stanza *reply)
{
    partner_watch_ends(p, &s->id);
    atomic_fetch_sub(&p->gate->waiting_bytes, s->st->bytes);
    if (s->id.entry != 0) {
        s2s_mail_bounce(&p->mail, s, reply);
        return;
    }
    if (reply != NULL)
        route_send(p->worker, reply);
    stanza_unref(&s->st);
}

/* The next that is to be written goes back to its sender. */
static void partner_returns_next(struct partner *p)
{
    struct s2s_sent s = s2s_unacked_cut(&p->unacked);
    partner_sends_back(
        p, &s,
        stanza_make_error(s.st, SE_POLICY_VIOLATION, SLICE("its server takes no stanza as large")));
}

/* A test that has ended without it: nobody wants it any more (probe/imtest.c). */
static bool partner_is_late_test(const struct partner *p, const struct stanza *st)
{
    struct elem test;
    int64_t until_us;
    struct arena *tmp = loop_scratch(partner_loop(p));
    return stanza_has(st, KNOWN(TEST)) && stanza_child(st, KNOWN_TEST, &test) &&
           datetime_parse(elem_attr(&test, "until", tmp), &until_us) &&
           (int64_t)loop_wall_us(partner_loop(p)) > until_us;
}

bool partner_is_reply(const struct stanza *st)
{
    struct jid from = jid_split(stanza_from(st)), to = jid_split(stanza_to(st));
    return st->kind == STANZA_IQ && (st->type == TYPE_RESULT || st->type == TYPE_ERROR) &&
           from.domain.len == st->from_len && to.domain.len == st->to_len &&
           st->bytes <= REPLY_BYTES_MAX;
}

/* Nobody wants it, and nobody is told. */
static void partner_drops_next(struct partner *p)
{
    struct s2s_sent s = s2s_unacked_cut(&p->unacked);
    partner_watch_ends(p, &s.id);
    atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
    if (s.id.entry != 0)
        s2s_mail_confirmed(&p->mail, &s.id);
    stanza_unref(&s.st);
}

/* An answer to the other server that nothing unconfirmed is in front of is not confirmed, either,
 * where that takes a ping: the other server would answer our ping and ask about its answer, and so
 * on for ever. Lost, it is asked for again. */
static bool partner_lets_go(struct partner *p)
{
    if (p->counted || p->unacked.written != 1 ||
        !partner_is_reply(s2s_unacked_first(&p->unacked)->st))
        return false;
    struct s2s_sent s = s2s_unacked_take(&p->unacked, true);
    atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
    stanza_unref(&s.st);
    return true;
}

void partner_write_next(struct partner *p)
{
    const struct s2s_sent *s = s2s_unacked_at(&p->unacked, p->unacked.written);
    if (s->gone || partner_is_late_test(p, s->st)) {
        partner_drops_next(p);
        return;
    }
    uint64_t now = loop_wall_us(partner_loop(p));
    bool old = s->id.entry != 0 && now > s->at_us && now - s->at_us >= S2S_DELAY_US;
    const struct stanza_note note = { .delay_us = old ? s->at_us : 0, .by = partner_local(p) };
    if (partner_exceeds(p, s->st, &note)) {
        partner_returns_next(p);
        return;
    }
    s = s2s_unacked_write(&p->unacked);
    if (p->back.on)
        partner_write_back(p, s->st, note.delay_us);
    else
        s2s_out_write(p->out, s->st, &note);
    if (partner_lets_go(p))
        return;
    if (p->deaf && loop_now_us(partner_loop(p)) > p->deaf_us)
        p->deaf = false;
    if (!p->counted && p->deaf)
        partner_confirm_all(p);
    else if (!p->counted && p->ping == NULL && !timer_is_set(&p->ping_timer))
        timer_set(partner_loop(p), &p->ping_timer, PING_MS);
}

static void doubt_unacked_begins(struct partner *p)
{
    ensure(p->unacked.len == 0);
    p->doubt.sent_version = foreign_version();
    p->doubt.sent = 0;
}

void partner_write(struct partner *p, const struct s2s_sent *s)
{
    ensure(partner_is_linked(p) && p->state == ACTOR_READY);
    if (p->unacked.len == 0)
        doubt_unacked_begins(p);
    trail_note(s->st, "sent to server", "", partner_remote(p));
    atomic_fetch_add(&p->gate->waiting_bytes, s->st->bytes);
    s2s_unacked_push_next(&p->unacked, s);
    partner_write_next(p);
    partner_weigh(p);
}

/* Stanzas that have waited while rules changed. */

void doubt_inbox_begins(struct partner *p)
{
    p->doubt.inbox_version = foreign_version();
    p->doubt.inbox = 0;
}

bool doubt_takes(struct partner *p, const struct s2s_sent *s)
{
    uint64_t version = foreign_version();
    if (p->doubt.inbox_version != version) {
        p->doubt.inbox_version = version;
        p->doubt.inbox = p->actor.inbox_stanzas + 1;
    }
    if (p->doubt.inbox == 0)
        return false;
    p->doubt.inbox = p->actor.inbox == NULL ? 0 : p->doubt.inbox - 1;
    if (p->unacked.len == 0)
        doubt_unacked_begins(p);
    ensure(p->doubt.sent == p->unacked.len - p->unacked.written);
    atomic_fetch_add(&p->gate->waiting_bytes, s->st->bytes);
    s2s_unacked_push(&p->unacked, s);
    p->doubt.sent++;
    if (p->doubt.inbox == 0 || p->doubt.sent == OUTGOING_PAGE)
        doubt_go_on(p);
    return true;
}

bool doubt_unacked(struct partner *p)
{
    uint64_t version = foreign_version();
    bool doubts = p->doubt.sent > 0 || p->doubt.sent_version != version;
    ensure(p->unacked.written == 0);
    p->doubt.sent = doubts ? p->unacked.len : 0;
    p->doubt.sent_version = version;
    return p->doubt.sent > 0;
}

static void doubt_refuses(struct partner *p, struct s2s_sent *s, const struct edge_word *word)
{
    partner_watch_ends(p, &s->id);
    if (s->id.entry != 0) {
        s2s_mail_refuse(&p->mail, s, word);
        return;
    }
    s2s_dropped(s->st, S2S_DROP_POLICY);
    if (!word->silent)
        route_error(p->worker, s->st, word->error, (slice){ 0 });
    stanza_unref(&s->st);
}

/* The first that is not written. */
static void doubt_ends(struct partner *p, const struct edge_word *word)
{
    struct s2s_sent s = s2s_unacked_cut(&p->unacked);
    atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
    ensure(p->doubt.sent > 0);
    p->doubt.sent--;
    if (!edge_word_goes(word)) {
        doubt_refuses(p, &s, word);
        return;
    }
    s.st = foreign_goes(s.st, word);
    partner_write(p, &s);
}

static bool doubt_may_write(const struct partner *p)
{
    return p->state == ACTOR_READY && partner_is_linked(p) && (p->holds & HOLD_END) == 0;
}

static void doubt_judged(void *arg, const struct outgoing_page *page, const struct edge_word *words)
{
    struct partner *p = arg;
    bool is_old = p->doubt.judge_version != foreign_version(); /* they are judged once more */
    p->doubt.judge = NULL;
    actor_pin(&p->actor);
    for (unsigned i = 0; i < page->count && !is_old && doubt_may_write(p); i++)
        doubt_ends(p, &words[i]);
    if (doubt_may_write(p))
        loop_defer(partner_loop(p), &p->doubt.next);
    actor_unpin(&p->actor);
}

void doubt_go_on(struct partner *p)
{
    struct outgoing_line lines[OUTGOING_PAGE];
    struct outgoing_page page = { .error = OK, .lines = lines };
    if (p->doubt.sent == 0)
        return;
    ensure(p->doubt.sent == p->unacked.len - p->unacked.written);
    partner_hold(p, HOLD_RULES);
    if (p->doubt.judge != NULL || !doubt_may_write(p) || (p->careful && p->unacked.written > 0))
        return;
    unsigned most = p->careful ? 1 : OUTGOING_PAGE;
    while (page.count < most && page.count < p->doubt.sent) {
        const struct s2s_sent *s = s2s_unacked_at(&p->unacked, p->unacked.written + page.count);
        lines[page.count++] = (struct outgoing_line){ .id = s->id, .at_us = s->at_us, .st = s->st };
    }
    p->doubt.judge_version = foreign_version();
    struct s2s_judge *judge = s2s_judge_page(p->worker, &page, doubt_judged, p);
    if (judge != NULL)
        p->doubt.judge = judge;
}

void doubt_next(struct loop_defer *d)
{
    struct partner *p = CONTAINER_OF(d, struct partner, doubt.next);
    actor_pin(&p->actor);
    doubt_go_on(p);
    if (p->doubt.sent == 0) {
        partner_weigh(p);
        partner_release(p, HOLD_RULES);
    }
    actor_unpin(&p->actor);
}

void doubt_stop(struct partner *p)
{
    s2s_judge_cancel(&p->doubt.judge);
    loop_defer_cancel(&p->doubt.next);
}

/* What waits and is not sent any more. */

struct partner_gone {
    s2s_unacked_fn *pick;
    void *arg;
    const char *why; /* of the way of a message */
    bool settles;    /* the database has rows of these */
};

static bool partner_drops_item(struct actor *a, const struct actor_item *item, void *arg)
{
    struct partner *p = partner_of(a);
    const struct partner_gone *gone = arg;
    struct s2s_sent s = partner_item(item);
    if (!gone->pick(&s, gone->arg))
        return false;
    atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
    if (gone->settles)
        s2s_mail_confirmed(&p->mail, &s.id);
    trail_note(s.st, "dropped", gone->why, partner_remote(p));
    stanza_unref(&s.st);
    return true;
}

/* Stanzas that were written to a stream stay in its count. */
static void partner_drops(struct partner *p, const struct partner_gone *gone)
{
    actor_mark(&p->actor);
    actor_pick(&p->actor, partner_drops_item, (void *)(uintptr_t)gone);
    s2s_unacked_gone(&p->unacked, gone->pick, gone->arg);
    if (p->doubt.inbox > p->actor.inbox_stanzas)
        p->doubt.inbox = p->actor.inbox_stanzas;
    p->forbid.judged = 0; /* it counts from the front, where some have gone, perhaps */
    partner_inbox_shrank(p);
}

/* A sender that is deleted. What a farewell is made of, and answers, still go. */
static bool partner_is_content_of(const struct s2s_sent *s, void *arg)
{
    const struct stanza *st = s->st;
    bool asks = stanza_is_request(st);
    return (st->kind == STANZA_MESSAGE || asks) && slice_eq(stanza_from_bare(st), *(slice *)arg);
}

static void partner_sender_gone(struct partner *p, slice bare)
{
    partner_drops(p, &(struct partner_gone){ .pick = partner_is_content_of,
                                             .arg = &bare,
                                             .why = "its sender is deleted" });
    s2s_mail_sender_gone(&p->mail, bare);
    if (p->doubt.sent > 0 && p->state == ACTOR_READY) /* no others come that it has waited for */
        loop_defer(partner_loop(p), &p->doubt.next);
}

void partners_sender_gone(struct worker *w, slice bare)
{
    struct s2s_gate *g = s2s_gate_of(w);
    slice local = jid_split(bare).domain;
    struct actor *a;
    ensure(worker_is_here(w) && local.len > 0 && local.len < bare.len);
    for (uint32_t i = 0; g != NULL && (a = actors_next(&s2s_worker(g, w)->partners, &i)) != NULL;)
        if (slice_eq(partner_local(partner_of(a)), local))
            partner_sender_gone(partner_of(a), bare);
}

struct partner_retraction {
    const struct s2s_sent *by;
    slice target;
    struct arena *tmp;
};

/* Of the same author, to the same address; an occupant of a room has its full JID. */
static bool partner_is_taken_back(const struct s2s_sent *s, void *arg)
{
    const struct partner_retraction *r = arg;
    const struct stanza *by = r->by->st;
    return s->id.entry != 0 && s->id.sender == r->by->id.sender &&
           (stanza_has(by, KNOWN(MUC_USER))
                ? slice_eq(stanza_to(s->st), stanza_to(by))
                : slice_eq(stanza_to_bare(s->st), stanza_to_bare(by))) &&
           retract_has_id(s->st, r->target, r->tmp);
}

void partner_retracts(struct partner *p, const struct s2s_sent *s)
{
    struct arena *tmp = loop_scratch(partner_loop(p));
    struct partner_retraction r = { s, retract_target(s->st, tmp), tmp };
    if (r.target.len > 0)
        partner_drops(p, &(struct partner_gone){ .pick = partner_is_taken_back,
                                                 .arg = &r,
                                                 .why = "its sender has retracted it",
                                                 .settles = true });
}

struct partner_answered {
    const struct s2s_answer *answer;
    bool found; /* another one may have the same id */
};

static bool partner_is_answered(const struct s2s_sent *s, void *arg)
{
    struct partner_answered *a = arg;
    bool is = !a->found && s->st->kind == STANZA_IQ && stanza_is_request(s->st) &&
              slice_eq(stanza_id(s->st), a->answer->id) &&
              slice_eq(stanza_to(s->st), a->answer->theirs) &&
              slice_eq(stanza_from(s->st), a->answer->ours);
    a->found |= is;
    return is;
}

/* RFC 6120 §8.2.3: one answer. After a break a request that changes something would do so twice,
 * and one that is given up would get an error, too. */
void partner_has_answer(struct partner *p, const struct s2s_answer *answer)
{
    if (answer->message) {
        s2s_mail_hurries(&p->mail);
        return;
    }
    if (slice_eq(answer->ours, partner_local(p)) && slice_eq(answer->theirs, partner_remote(p)) &&
        partner_pongs(p, answer->id))
        return;
    s2s_unacked_gone(&p->unacked, partner_is_answered,
                     &(struct partner_answered){ .answer = answer });
}

/* Stanzas that the server does not take. */

void partner_suspects(struct partner *p)
{
    if (!partner_takes_care(p))
        return;
    struct s2s_sent s = s2s_unacked_take(&p->unacked, false);
    partner_set_session(p, (slice){ 0 });
    p->back.kept = false; /* counts of that session have it */
    log_info(&log_s2s, LOG_EV("s2s.refused"), LOG_S("domain", partner_remote(p)),
             LOG_S("local", partner_local(p)), LOG_S("from", stanza_from(s.st)),
             LOG_S("id", stanza_id(s.st)), LOG_C("why", p->why));
    partner_sends_back(
        p, &s,
        stanza_make_error(s.st, SE_NOT_ACCEPTABLE,
                          SLICE("its server ends the connection when it gets this")));
}

/* Answers. */

bool partner_reply(struct partner *p, const struct s2s_sent *s)
{
    if (!partner_is_reply(s->st))
        return false;
    if (p->state == ACTOR_READY && (p->holds & HOLD_END) == 0) {
        if (p->unacked.len >= (uint64_t)setting_int(&s2s_unacked_max) + PARTNER_REPLIES_MAX)
            return false;
        partner_write(p, s);
        return true;
    }
    if (p->replies == PARTNER_REPLIES_MAX)
        return false;
    atomic_fetch_add(&p->gate->waiting_bytes, s->st->bytes);
    p->reply[p->replies++] = s->st;
    return true;
}

static struct stanza *partner_next_reply(struct partner *p)
{
    struct stanza *st = p->reply[0];
    p->replies--;
    memmove(p->reply, p->reply + 1, p->replies * sizeof(struct stanza *));
    atomic_fetch_sub(&p->gate->waiting_bytes, st->bytes);
    return st;
}

void partner_write_replies(struct partner *p)
{
    while (p->replies > 0)
        partner_write(p, &(struct s2s_sent){ .st = partner_next_reply(p) });
}

void partner_drop_replies(struct partner *p)
{
    while (p->replies > 0) {
        struct stanza *st = partner_next_reply(p);
        s2s_dropped(st, S2S_DROP_UNREACHABLE);
        stanza_unref(&st);
    }
}

/* For gate/s2s/s2s_mail.h. */

bool partner_has(const struct partner *p, const struct outgoing_id *id)
{
    const struct actor_item *it = p->actor.inbox;
    while (it != NULL && (it->sender_entry != id->entry || it->sender_id != id->sender))
        it = it->next;
    return it != NULL || s2s_unacked_has(&p->unacked, id->sender, id->entry);
}

bool partner_keeps_older(const struct partner *p, const struct outgoing_id *id,
                         const struct stanza *st)
{
    const struct actor_item *it = p->actor.inbox;
    slice to = stanza_to_bare(st);
    while (it != NULL && (it->sender_entry == 0 || it->sender_entry > id->entry ||
                          it->sender_id != id->sender || !slice_eq(stanza_to_bare(it->st), to)))
        it = it->next;
    return it != NULL || s2s_behind_is(&p->behind, st, id->entry);
}

bool partner_judges_older(const struct partner *p, const struct outgoing_id *id)
{
    for (uint32_t i = p->unacked.written; i < p->unacked.len; i++) {
        const struct outgoing_id *other = &s2s_unacked_at(&p->unacked, i)->id;
        if (other->sender == id->sender && other->entry != 0 && other->entry < id->entry)
            return true;
    }
    return false;
}

bool partner_takes_mail(const struct partner *p)
{
    return p->state == ACTOR_READY && partner_is_linked(p) && p->holds == HOLD_MAIL;
}

void partner_send(struct partner *p, const struct s2s_sent *s) { partner_write(p, s); }

void partner_mail_done(struct partner *p) { partner_release(p, HOLD_MAIL); }

/* The inbox is empty: what the database has goes before what comes from now on. */
void partner_mail_begin(struct partner *p)
{
    if (p->state != ACTOR_READY || !partner_is_linked(p) || p->holds != 0 ||
        p->actor.inbox != NULL || !s2s_mail_waits(&p->mail))
        return;
    partner_hold(p, HOLD_MAIL);
    s2s_mail_go(&p->mail);
}

void partner_mail_came(struct partner *p)
{
    actor_mark(&p->actor);
    if (p->diverts) {
        (void)s2s_mail_hands_over(&p->mail);
        divert_mail(p);
        return;
    }
    if (p->fresh || (p->state == ACTOR_ABSENT && !timer_is_set(&p->retry)))
        actor_load(&p->actor);
    else if (partner_is_hopeless(p) ||
             (p->state == ACTOR_ABSENT && setting_int(&s2s_keep_for) == 0))
        s2s_mail_expire(&p->mail);
    else
        partner_mail_begin(p);
}

bool partner_may_give_up(const struct partner *p)
{
    return p->state != ACTOR_READY && p->failures > 0 && !partner_stopped(p) && !p->diverts;
}

bool partner_is_hopeless(const struct partner *p)
{
    return p->state == ACTOR_ABSENT && p->hard && !p->hopeful;
}

struct stanza *partner_complaint(const struct partner *p, const struct stanza *st)
{
    return stanza_make_error(st, (enum stanza_error)p->blame, partner_words(p));
}

void partner_mail_given_up(const struct partner *p, uint32_t count)
{
    bool served = partner_is_served(p);
    metric_add_to(&s2s_given_up, served ? 0 : 1, count);
    if (served)
        log_info(&log_s2s, LOG_EV("s2s.given-up"), LOG_S("domain", partner_remote(p)),
                 LOG_S("local", partner_local(p)), LOG_I("messages", count), LOG_C("why", p->why));
    else
        log_warn(&log_s2s, LOG_EV("s2s.given-up"), LOG_S("domain", partner_remote(p)),
                 LOG_S("local", partner_local(p)), LOG_I("messages", count), LOG_C("why", p->why),
                 LOG_C("hint", "their senders are told when this server serves their domain "
                               "again, and not before"));
}

void partner_blames_us(struct partner *p)
{
    if (p->blame != SE_SERVICE_UNAVAILABLE) /* else that was logged already */
        log_warn(&log_s2s, LOG_EV("s2s.unserved"), LOG_S("domain", partner_remote(p)),
                 LOG_S("local", partner_local(p)),
                 LOG_C("hint", "stored messages wait for another server, and this one does not "
                               "serve the domain of their senders any more; they are given up "
                               "after s2s.keep-for, unless that is in `domains` again by then"));
    partner_blame(p, S2S_AT_POLICY, SE_SERVICE_UNAVAILABLE, false,
                  "this server does not serve its own domain any more (`domains` in the node "
                  "file; of a component: `component add`); stored messages of that domain are "
                  "given up after s2s.keep-for");
}
