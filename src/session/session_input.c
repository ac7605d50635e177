#include "session/session_input.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/budget.h"
#include "core/core.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/actor.h"
#include "home/fan.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "home/router.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "presence/presence.h"
#include "presence/presence_in.h"
#include "session/session_queue.h"
#include "session/session_repeats.h"
#include "session/session_struct.h"
#include "session/session_wait.h"
#include "talk/iq.h"
#include "talk/message_out.h"
#include "xmpp/addresses.h"
#include "xmpp/delivery.h"
#include <assert.h>
#include <endian.h>

enum {
    UNFINISHED_MAX = 1024,
    UNFINISHED_LOW = 512
}; /* stanzas; above, its connection is not read */
static_assert((int)UNFINISHED_MAX < (int)ACTOR_INBOX_MAX, "one client fills no inbox");

static void send_acks(struct loop_defer *d)
{
    struct core *core = CONTAINER_OF(d, struct core, ack_defer);
    struct list *it;
    while ((it = list_pop(&core->acks)) != NULL) {
        struct session *s = CONTAINER_OF(it, struct session, ack_node);
        if (s->state != SESSION_ATTACHED)
            continue;
        s->h_told = s->h;
        session_down(s, &(struct down){ .kind = DOWN_ACK, .num = session_handled(s) });
    }
}

/* One <a/> a tick, however often it is due. */
static void ack_later(struct session *s)
{
    struct worker *w = s->account->worker;
    if (list_linked(&s->ack_node))
        return;
    list_append(&core_of(w)->acks, &s->ack_node);
    core_of(w)->ack_defer.fn = send_acks;
    loop_defer(worker_loop(w), &core_of(w)->ack_defer);
}

void session_asked(struct session *s)
{
    if (s->sm == 0)
        return;
    s->h_asked = s->in_count;
    ack_later(s);
}

static struct ticket *ticket(const struct session *s, uint32_t n)
{
    return &s->tickets[n & (s->ticket_cap - 1)];
}

static void tickets_grow(struct session *s)
{
    uint32_t cap = s->ticket_cap == 0 ? 16 : s->ticket_cap * 2;
    struct ticket *ring = mem_alloc(cap * sizeof *ring);
    for (uint32_t n = s->h + 1; s->tickets != NULL && n != s->in_count; n++)
        ring[n & (cap - 1)] = *ticket(s, n);
    mem_free(&s->tickets);
    s->tickets = ring;
    s->ticket_cap = cap;
}

/* The server itself answers these, within moments: an answer that waits for others is not waited
 * for here (component/delegation.c). So a client that asks for much at once, and reads slowly,
 * holds one answer and not all of them. */
static void flow_gets(struct session *s)
{
    if (s->gets > 0 && (s->holds & HOLD_GET) == 0)
        session_hold(s, HOLD_GET);
    else if (s->gets == 0 && (s->holds & HOLD_GET) != 0)
        session_release(s, HOLD_GET);
}

void session_flow(struct session *s)
{
    flow_gets(s);
    uint32_t open = s->in_count - s->h + repeats_open(s);
    if ((s->holds & HOLD_UNFINISHED) == 0 && open >= UNFINISHED_MAX)
        session_hold(s, HOLD_UNFINISHED);
    else if ((s->holds & HOLD_UNFINISHED) != 0 && open <= UNFINISHED_LOW)
        session_release(s, HOLD_UNFINISHED);
}

static bool is_next(const struct session *s) { return s->h + 1 == s->in_count; }

static void ticket_put(struct session *s, struct ticket t)
{
    if (s->in_count - s->h > s->ticket_cap)
        tickets_grow(s);
    *ticket(s, s->in_count) = t;
    if (t.get && t.awaited > 0)
        s->gets++;
    session_flow(s);
}

static void session_input_advance(struct session *s)
{
    while (s->h != s->in_count && ticket(s, s->h + 1)->awaited == 0)
        s->h++;
    if (s->sm != 0 && (int32_t)(s->h_asked - s->h_told) > 0 && s->h != s->h_told)
        ack_later(s);
    session_flow(s);
}

static bool awaits(const struct session *s, uint32_t count)
{
    return count - s->h - 1 < s->in_count - s->h;
}

bool session_ticket(struct worker *w, struct origin o)
{
    struct session *s = session_find(w, o.session);
    if (s == NULL)
        return false;
    if (!awaits(s, o.count)) {
        bool again = repeats_reported(s, o.count, &o.count);
        session_flow(s);
        if (!again)
            return true; /* counted already, or not repeated */
    }
    if (s->handling && o.count == s->in_count) {
        s->early++;
        return true;
    }
    struct ticket *t = ticket(s, o.count);
    if (t->awaited > 0 && --t->awaited == 0) {
        s->gets -= t->get;
        session_input_advance(s);
    }
    return true;
}

void session_tickets_save(const struct session *s, struct buf *out)
{
    for (uint32_t n = s->h + 1; n != s->in_count + 1; n++) {
        uint64_t bytes = htole64(ticket_number(*ticket(s, n)));
        buf_append(out, &bytes, TICKET_BYTES);
    }
}

void session_tickets_restore(struct session *s, uint32_t in_count, slice saved)
{
    ensure(saved.len == (uint64_t)(in_count - s->h) * TICKET_BYTES);
    for (s->in_count = s->h; saved.len > 0; saved = slice_from(saved, TICKET_BYTES)) {
        uint64_t bytes;
        memcpy(&bytes, saved.ptr, TICKET_BYTES);
        s->in_count++;
        ticket_put(s, ticket_of_number(le64toh(bytes)));
    }
    s->h_asked = in_count; /* if its client has asked, it is told when they are handled */
    session_input_advance(s);
}

/* To the home of a client: what it has sent costs. */
struct charge {
    slice client;
    uint64_t bytes;
};

void session_charge(struct worker *w, slice client, uint64_t bytes)
{
    slice bare = jid_bare_of(client);
    if (bare.len < client.len && fan_is_local(worker_node(w), bare))
        home_send(w, bare, &charge_message, &(struct charge){ client, bytes });
}

static void charge_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct charge *c = message;
    slice bare = jid_bare_of(c->client);
    const struct account *a = account_find(w, bare);
    struct session *s = a == NULL ? NULL : account_session(a, slice_from(c->client, bare.len + 1));
    uint32_t num = c->bytes < UINT32_MAX ? (uint32_t)c->bytes : UINT32_MAX;
    (void)from;
    if (s != NULL && s->state == SESSION_ATTACHED)
        session_down(s, &(struct down){ .kind = DOWN_CHARGE, .num = num });
}

static unsigned charge_slot(const void *message)
{
    return node_slot(jid_bare_of(((const struct charge *)message)->client));
}

static const struct message_field charge_fields[] = {
    F_FULL(struct charge, client),
    F_U64(struct charge, bytes),
    { 0 },
};
const struct message_row charge_message = {
    .id = 35,
    .scope = MESSAGE_CLUSTER,
    .name = "charge",
    .size = sizeof(struct charge),
    .fields = charge_fields,
    .run = charge_run,
    .slot = charge_slot,
};

/* What makes it the active client: a person is there. */
static bool speaks(const struct stanza *st)
{
    if (st->kind == STANZA_PRESENCE)
        return st->type == TYPE_AVAILABLE && st->to_len == 0;
    return st->kind == STANZA_MESSAGE && st->type != TYPE_ERROR &&
           (stanza_has(st, KNOWN(BODY)) || message_storable(st));
}

/* Straight to the session: its account might block who the answer seems to come from. */
static void session_input_refuse(struct session *s, struct stanza *st, const struct refusal *why)
{
    struct stanza *reply =
        stanza_make_error_with(st, why->error, why->type, why->text, why->app_xml);
    trail_note(st, "refused", stanza_error_name(why->error), (slice){ 0 });
    if (reply != NULL)
        session_deliver(s, reply, 0, 0);
    stanza_unref(&reply);
    stanza_unref(&st);
}

/* To the domain itself, where nobody reads: unless an extension does. */
static bool session_input_to_server(struct session *s, struct stanza *st, struct origin o,
                                    unsigned *awaited)
{
    slice to = stanza_to(st);
    if (st->kind == STANZA_IQ || to.len == 0 || !stanza_to_is_bare(st) ||
        memchr(to.ptr, '@', to.len) != NULL || !node_serves(worker_node(s->account->worker), to))
        return false;
    FEATURES_EACH (f, session.to_server)
        if (f->session.to_server(s, st, o, awaited))
            return true;
    return false;
}

static bool is_claim_of_origin(enum known_child known, const struct elem *e, void *arg)
{
    struct worker *w = arg;
    (void)known;
    return addresses_claim_origin(e, loop_scratch(worker_loop(w)));
}

/* A quick look first: few stanzas have addresses. */
struct stanza *session_input_without_claims(struct worker *w, struct stanza *st)
{
    static const slice word = SLICE_INIT("addresses");
    slice content = stanza_content(st);
    if (!stanza_has(st, KNOWN(PAYLOAD)) ||
        memmem(content.ptr, content.len, word.ptr, word.len) == NULL)
        return st;
    return stanza_without(st, KNOWN(PAYLOAD), is_claim_of_origin, w);
}

static void input_wait(struct session *s, const struct session_waiting *one)
{
    session_wait_put(s, one);
    session_wait_weigh(s);
    budget_weigh(s->account);
}

/* CHECK lets it pass. */
static unsigned input_handle(struct session *s, struct stanza *st, struct origin o)
{
    unsigned awaited = 0;
    if (speaks(st))
        s->spoke_us = loop_now_us(worker_loop(s->account->worker));
    if (session_input_to_server(s, st, o, &awaited))
        return awaited;
    if (st->kind == STANZA_IQ && (st->type == TYPE_RESULT || st->type == TYPE_ERROR))
        session_queue_answered(s, st);
    if (st->kind != STANZA_IQ)
        st = session_input_without_claims(s->account->worker, st);
    switch (st->kind) {
    case STANZA_MESSAGE:
        return message_from_session(s, st, o);
    case STANZA_PRESENCE:
        return presence_from_session(s, st, o);
    default:
        return iq_from_session(s, st, o);
    }
}

/* It does not, or not now: then it goes on at `at`. */
static unsigned input_stop(struct session *s, const struct session_waiting *it, enum verdict v,
                           const struct refusal *why)
{
    struct stanza *st = it->st;
    if (v == WAIT) {
        session_wait_ask(s, it);
        budget_weigh(s->account);
        return ROUTE_PENDING;
    }
    if (v == REFUSE)
        session_input_refuse(s, st, why);
    else
        stanza_unref(&st);
    return ROUTED;
}

static unsigned input_check(struct session *s, struct stanza *st, struct origin o, unsigned at)
{
    struct refusal why = { .error = SE_POLICY_VIOLATION };
    enum verdict v = stage_check(s, &st, &why, &at);
    if (v == PASS)
        return input_handle(s, st, o);
    return input_stop(s, &(struct session_waiting){ .st = st, .at = at, .origin = o }, v, &why);
}

unsigned session_said(struct session *s, struct stanza *st, struct origin o)
{
    if (st->bad_to || st->bad_from) { /* RFC 6120 §8.3.3.8 */
        session_input_refuse(
            s, st, &(struct refusal){ .error = SE_JID_MALFORMED, .text = stanza_bad_address(st) });
        return ROUTED;
    }
    if (core_of(s->account->worker)->over_budget) {
        session_input_refuse(
            s, st,
            &(struct refusal){ .error = SE_RESOURCE_CONSTRAINT,
                               .text = SLICE_INIT("the server is short of memory") });
        return ROUTED;
    }
    if (!s->waits)
        return input_check(s, st, o, 0);
    input_wait(s, &(struct session_waiting){ .st = st, .origin = o });
    return ROUTE_PENDING;
}

void session_nonza(struct session *s, uint32_t number)
{
    if (s->waits)
        input_wait(s, &(struct session_waiting){ .nonza = number });
    else
        nonza_run(s, number);
}

/* It was handled, but for `reports`. */
static void input_done(struct session *s, const struct stanza *st, unsigned reports)
{
    unsigned awaited = reports > s->early ? reports - s->early : 0;
    s->handling = false;
    s->early = 0;
    ensure(awaited <= TICKET_REPORTS_MAX);
    if (awaited == 0 && is_next(s)) {
        s->h = s->in_count;
        return;
    }
    struct ticket t = repeat_ticket(s, st);
    t.awaited = (uint16_t)awaited;
    ticket_put(s, t);
}

/* false: it is new. Takes over if it is not. */
static bool input_again(struct session *s, struct stanza *st)
{
    struct ticket t;
    if (s->repeats == NULL || !repeats_take(s, st, &t))
        return false;
    stanza_unref(&st);
    if (t.awaited == 0 && is_next(s))
        s->h = s->in_count;
    else
        ticket_put(s, t);
    return true;
}

void session_input(struct session *s, struct stanza *st)
{
    struct worker *w = s->account->worker;
    struct origin o = { s->id, ++s->in_count };
    ensure(session_here(s));
    s->active_us = loop_now_us(worker_loop(w));
    if (input_again(s, st))
        return;
    struct stanza *kept = stanza_ref(st);
    s->handling = true;
    unsigned r = session_said(s, st, o);
    s = session_find(w, o.session);
    if (s != NULL) /* handling it may have ended the session */
        input_done(s, kept, r);
    stanza_unref(&kept);
}

/* What waited. */

static struct ticket *input_ticket(const struct session *s, uint32_t count)
{
    return awaits(s, count) ? ticket(s, count) : repeats_ticket(s, count);
}

/* Of what waited, one report is open; while it is handled, others may come that are not counted
 * yet. */
enum { REPORTS_GUARD = 32768 };

static void input_expects(struct session *s, struct origin o, int more)
{
    struct ticket *t = input_ticket(s, o.count);
    if (t == NULL)
        return;
    int awaited = (int)t->awaited + more;
    ensure(awaited > 0 && awaited <= TICKET_REPORTS_MAX);
    t->awaited = (uint16_t)awaited;
}

/* Handles one that waited, as CHECK says of it, and says it of those that it becomes: they come
 * before all others. false: the session is gone. */
static bool input_go_on(struct session *s, struct session_waiting *it, enum verdict v,
                        const struct refusal *why)
{
    struct worker *w = s->account->worker;
    struct origin o = it->origin;
    struct session_waiting *others = session_wait_take_all(s);
    unsigned reports;
    input_expects(s, o, REPORTS_GUARD);
    if (it->archive)
        reports = message_archived(s, it->st, o, it->at, v);
    else if (v == PASS)
        reports = input_check(s, it->st, o, it->at);
    else
        reports = input_stop(s, it, v, why);
    mem_free(&it);
    s = session_find(w, o.session);
    if (s == NULL) {
        session_wait_free(&others);
        return false;
    }
    session_wait_put_all(s, others);
    input_expects(s, o, (int)reports - REPORTS_GUARD);
    ticket_done(w, o);
    return session_find(w, o.session) == s;
}

/* The next, until one has to be asked about. */
static void input_rest(struct session *s)
{
    struct session_waiting *it;
    uint64_t id = s->id;
    struct worker *w = s->account->worker;
    while (s != NULL && !session_wait_is_asked(s) && (it = session_wait_take(s)) != NULL) {
        if (it->st == NULL) {
            nonza_run(s, it->nonza);
            mem_free(&it);
            s = session_find(w, id);
        } else if (!input_go_on(s, it, PASS, NULL)) {
            return;
        }
    }
    if (s == NULL)
        return;
    if (s->leaving && !s->waits)
        session_end_later(s, (enum session_end)s->end_why);
    session_wait_weigh(s);
}

void session_answered(struct stage_pause *p, enum verdict v, struct stanza *st,
                      const struct refusal *why)
{
    struct session *s = session_wait_of(p);
    struct session_waiting *it = session_wait_take(s);
    actor_mark(&s->account->actor);
    if (st != NULL) {
        ensure(stage_is_alike(it->st, st));
        stanza_unref(&it->st);
        it->st = st;
    }
    if (input_go_on(s, it, v, why))
        input_rest(s);
}
