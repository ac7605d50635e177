#include "talk/iq.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "component/delegation.h"
#include "core/feature.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/host.h"
#include "home/router.h"
#include "home/ticket.h"
#include "presence/directed.h"
#include "presence/roster.h"
#include "session/session.h"
#include "session/session_queue.h"
#include "talk/iq_rules.h"
#include "xmpp/stanza_error.h"

struct setting presence_stranger_requests = {
    .name = "presence.stranger-requests",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc =
        "Whether requests (IQ) reach a client by its full address although their sender may not "
        "see its presence, as RFC 6121 §8.5.3.1 has it. The answer then tells that the client is "
        "connected. Off: the answer is the same as for a client that is not connected. Clients can "
        "then ask each other only after a subscription, directed presence, or in rooms.",
};

/* Whether the sender knows that the session is there: the account itself, a service, a subscriber,
 * or one that got directed presence. */
static bool knows(const struct session *s, const struct stanza *st)
{
    slice from = stanza_from_bare(st);
    const struct account *a = s->account;
    return memchr(from.ptr, '@', from.len) == NULL || slice_eq(from, a->jid) ||
           roster_is_seen(a, from) || (s->directed != NULL && directed_has(s->directed, from));
}

static const struct iq_rule *iq_find_in(const struct iq *iq, const struct iq_rule *rules)
{
    for (const struct iq_rule *r = rules; r != NULL && r->run != NULL; r++)
        if (r->type == (enum stanza_type)iq->st->type && (r->to & iq->target) != 0 &&
            elem_is(&iq->payload, r->name, r->ns))
            return r;
    return NULL;
}

static const struct iq_rule *iq_find_rule(const struct iq *iq)
{
    const struct iq_rule *r = iq->host == NULL ? NULL : iq_find_in(iq, iq->host->iq);
    return r != NULL ? r
                     : iq_rules_find((enum stanza_type)iq->st->type, iq->payload.ns_uri,
                                     iq->payload.name, iq->target);
}

static void iq_answer(struct iq *iq, struct stanza *reply)
{
    struct worker *w = iq->worker;
    ensure(!iq->answered);
    iq->answered = true;
    if (reply != NULL)
        route_send(w, reply);
    if (!iq->held)
        return;
    if (iq->origin.session != 0)
        ticket_done(w, iq->origin);
    if (iq->account != NULL)
        account_unpin(iq->account);
    if (iq->sender != NULL && iq->sender != iq->account)
        account_unpin(iq->sender);
    stanza_unref(&iq->st);
    arena_destroy(&iq->tmp);
    mem_free(&iq);
}

bool iq_by_password(const struct iq *iq)
{
    ensure(!iq->held);
    return iq->session != NULL && !iq->session->by_token;
}

void iq_result(struct iq *iq, slice payload)
{
    const struct stanza *st = iq->st;
    iq_answer(iq, stanza_make(STANZA_IQ, TYPE_RESULT, stanza_to(st), stanza_from(st), stanza_id(st),
                              payload));
}

void iq_result_buf(struct iq *iq, struct buf *payload)
{
    slice content = buf_fit(payload);
    if (payload->overflow)
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("the answer is too long to be sent"));
    else
        iq_result(iq, content);
    buf_fini(payload);
}

void iq_result_xml(struct iq *iq, struct xml_write *x)
{
    xml_close_all(x);
    iq_result_buf(iq, x->out);
}

void iq_error(struct iq *iq, enum stanza_error e, slice text)
{
    iq_answer(iq, stanza_make_error(iq->st, e, text));
}

void iq_error_with(struct iq *iq, enum stanza_error e, slice text, slice app_xml)
{
    iq_answer(iq, stanza_make_error_with(iq->st, e, NULL, text, app_xml));
}

void iq_error_form(struct iq *iq, enum stanza_error e, slice text, slice payload)
{
    const struct stanza *st = iq->st;
    struct buf content;
    struct xml_write x;
    xml_begin(&x, &content, XML_STANZA_MAX);
    buf_add(&content, payload);
    stanza_error_write(&x, e, NULL, text);
    struct stanza *answer = stanza_make_buf(STANZA_IQ, TYPE_ERROR, stanza_to(st), stanza_from(st),
                                            stanza_id(st), &content);
    iq_answer(iq, answer != NULL ? answer : stanza_make_error(st, e, text));
}

struct iq *iq_hold(struct iq *iq)
{
    struct iq *held = mem_alloc(sizeof *held);
    *held = *iq;
    iq->held = held->held = true;
    stanza_ref(held->st);
    held->session = NULL;
    held->tmp = arena_create(1024);
    held->payload.parent = NULL;
    if (held->account != NULL)
        account_pin(held->account);
    if (held->sender != NULL && held->sender != held->account)
        account_pin(held->sender);
    return held;
}

void iq_relay(struct iq *iq, const struct stanza *answer)
{
    const struct stanza *st = iq->st;
    iq_answer(iq, stanza_change(answer, &(struct stanza_change){ .from = stanza_to(st),
                                                                 .to = stanza_from(st),
                                                                 .id = stanza_id(st) }));
}

void iq_forget(struct iq **held)
{
    ensure((*held)->held);
    stanza_unref(&(*held)->st);
    arena_destroy(&(*held)->tmp);
    mem_free(held);
}

/* RFC 6120 §8.2.3: a request has an id and exactly one child; a rule answers or service-unavailable
 * does. */
static enum routed iq_serve(struct iq *iq)
{
    struct stanza *st = iq->st;
    if (st->id_len == 0 || st->child_count != 1 || !stanza_payload(st, &iq->payload)) {
        iq_error(iq, SE_BAD_REQUEST, (slice){ 0 });
    } else if (iq->host != NULL || !delegation_takes(iq)) {
        const struct iq_rule *r = iq_find_rule(iq);
        if (r != NULL)
            r->run(iq);
        else
            iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    }
    ensure(iq->held || iq->answered);
    enum routed result = iq->held && iq->origin.session != 0 ? ROUTE_PENDING : ROUTED;
    /* a held request may have been answered already: its ticket is closed by a frame or call then
     */
    stanza_unref(&st);
    return result;
}

static struct account *sender_account(struct worker *w, const struct stanza *st)
{
    return account_find(w, stanza_from_bare(st));
}

enum routed server_receive(struct worker *w, struct stanza *st, struct origin origin)
{
    if (stanza_is_request(st)) {
        struct account *sender = sender_account(w, st);
        struct iq iq = { .worker = w,
                         .st = st,
                         .target = IQ_TO_SERVER,
                         .sender = sender,
                         .origin = origin,
                         .tmp = loop_scratch(worker_loop(w)) };
        if (sender != NULL && st->from_len > st->from_bare_len)
            iq.session =
                account_session(sender, slice_from(stanza_from(st), st->from_bare_len + 1u));
        return iq_serve(&iq);
    }
    if (st->kind == STANZA_IQ && ask_domain_answered(w, st)) {
        stanza_unref(&st);
        return ROUTED;
    }
    if (st->kind == STANZA_MESSAGE && stanza_has(st, KNOWN(BODY)))
        route_error(w, st, SE_SERVICE_UNAVAILABLE, SLICE("nobody reads messages to the server"));
    else if (st->type == TYPE_SUBSCRIBE)
        route_error(w, st, SE_SERVICE_UNAVAILABLE, SLICE("the server has no presence"));
    else if (st->type == TYPE_INVALID)
        route_error(w, st, SE_BAD_REQUEST, (slice){ 0 });
    stanza_unref(&st);
    return ROUTED;
}

static enum routed to_service(struct worker *w, const struct host *h, struct stanza *st,
                              struct origin origin, enum iq_target target)
{
    struct iq iq = { .worker = w,
                     .st = st,
                     .target = target,
                     .host = h,
                     .sender = sender_account(w, st),
                     .origin = origin,
                     .tmp = loop_scratch(worker_loop(w)) };
    return iq_serve(&iq);
}

enum routed iq_to_host(struct worker *w, const struct host *h, struct stanza *st,
                       struct origin origin)
{
    return to_service(w, h, st, origin, IQ_TO_HOST);
}

enum routed iq_to_room(struct worker *w, const struct host *h, struct stanza *st,
                       struct origin origin)
{
    return to_service(w, h, st, origin, IQ_TO_ROOM);
}

/* s: NULL: there is none. Takes over. */
static void iq_to_session(struct session *s, struct worker *w, struct stanza *st)
{
    bool shut = s != NULL && stanza_is_request(st) && !setting_bool(&presence_stranger_requests) &&
                !knows(s, st);
    if (s != NULL && !shut && stage_takes(s, st))
        session_deliver(s, st, 0, 0);
    else if (stanza_is_request(st))
        route_error(w, st, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    stanza_unref(&st);
}

enum routed iq_to_account(struct account *a, struct stanza *st, struct origin origin)
{
    struct worker *w = a->worker;
    bool known = a->state == ACTOR_READY;
    struct refusal why = { .error = SE_SERVICE_UNAVAILABLE };
    /* What the server has asked itself is no matter of the account's block list. */
    if (stanza_to_is_bare(st) && !stanza_is_request(st) && ask_answered(w, st)) {
        stanza_unref(&st);
        return ROUTED;
    }
    switch (known ? stage_block(a, st, &why) : PASS) {
    case REFUSE:
        if (!why.as_nobody) {
            stage_refuse(w, st, &why);
            return ROUTED;
        }
        known = false;
        break;
    case DROP:
        stanza_unref(&st);
        return ROUTED;
    default:
        break;
    }
    if (!stanza_to_is_bare(st)) { /* RFC 6121 §8.5.3.1 */
        iq_to_session(known ? account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u))
                            : NULL,
                      w, st);
        return ROUTED;
    }
    if (!stanza_is_request(st)) {
        if (st->type == TYPE_INVALID)
            route_error(w, st, SE_BAD_REQUEST, (slice){ 0 });
        stanza_unref(&st);
        return ROUTED;
    }
    bool self = known && slice_eq(stanza_from_bare(st), a->jid);
    if (self && a->removing) { /* what it stored now would stay behind it */
        route_error(w, st, SE_SERVICE_UNAVAILABLE, ACCOUNT_LEAVES);
        stanza_unref(&st);
        return ROUTED;
    }
    struct iq iq = { .worker = w,
                     .st = st,
                     .target = self ? IQ_TO_SELF : IQ_TO_ACCOUNT,
                     .account = known ? a : NULL,
                     .origin = origin,
                     .tmp = loop_scratch(worker_loop(w)),
                     .sender = self ? a : sender_account(w, st) };
    if (self && st->from_len > st->from_bare_len)
        iq.session = account_session(a, slice_from(stanza_from(st), st->from_bare_len + 1u));
    return iq_serve(&iq);
}

enum routed iq_from_session(struct session *s, struct stanza *st, struct origin origin)
{
    struct worker *w = s->account->worker;
    if (st->type == TYPE_INVALID || st->id_len == 0) { /* RFC 6120 §8.2.3 */
        route_error(w, st, SE_BAD_REQUEST, (slice){ 0 });
        stanza_unref(&st);
        return ROUTED;
    }
    return route(w, st, origin, 0, 0);
}

enum routed host_receive(struct worker *w, const struct host *h, struct stanza *st,
                         struct origin origin)
{
    bool domain = memchr(st->to, '@', st->to_bare_len) == NULL && stanza_to_is_bare(st);
    if (domain && stanza_is_request(st))
        return iq_to_host(w, h, st, origin);
    if (st->kind == STANZA_PRESENCE && st->type == TYPE_SUBSCRIBE) {
        route_error(w, st, SE_SERVICE_UNAVAILABLE, SLICE("services and rooms have no presence"));
        stanza_unref(&st);
        return ROUTED;
    }
    if (h->receive != NULL)
        return h->receive(w, h, st, origin);
    if (stanza_is_request(st) || (st->kind == STANZA_MESSAGE && stanza_has(st, KNOWN(BODY))))
        route_error(w, st, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    stanza_unref(&st);
    return ROUTED;
}
