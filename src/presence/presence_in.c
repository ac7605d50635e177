#include "presence/presence_in.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "component/component_watch.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/message.h"
#include "home/router.h"
#include "presence/directed.h"
#include "presence/presence.h"
#include "presence/presence_pace.h"
#include "presence/roster.h"
#include "presence/roster_out.h"
#include "presence/subscription.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "remote/remote_unsubscribe.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include "xmpp/delivery.h"
#include "xmpp/ns.h"

/* Probes (§4.3.2). */

struct answer {
    struct worker *worker;
    struct account *asker; /* NULL: its home is not here */
    slice to;
    size_t bare_len;
    bool told; /* of a session */
};

static void answer_with(struct session *s, void *arg)
{
    struct answer *an = arg;
    struct session *to = NULL;
    if (!stage_view(s, (slice){ an->to.ptr, an->bare_len }))
        return;
    an->told = true;
    if (an->asker != NULL && an->to.len > an->bare_len)
        to = account_session(an->asker, slice_from(an->to, an->bare_len + 1));
    if (to != NULL && stage_block(an->asker, s->presence, &(struct refusal){ 0 }) == PASS &&
        stage_takes(to, s->presence)) {
        session_deliver_to(to, s->presence, an->to);
        component_watch_contact(an->asker, s->presence);
    } else if (to == NULL && (an->asker == NULL || an->to.len == an->bare_len))
        route_send(an->worker, stanza_readdress(s->presence, (slice){ 0 }, an->to));
}

static bool probe_is_allowed(const struct account *a, const struct stanza *st)
{
    slice asker = stanza_from_bare(st);
    return slice_eq(asker, a->jid) || roster_is_seen(a, asker);
}

/* §4.3.2. Not to accounts of ours, whose rosters agree by words (presence/roster_out.h): it would
 * take back a request that waits, and tell who is online. */
static void probe_deny(struct worker *w, slice probed, const struct stanza *st)
{
    slice asker = stanza_from_bare(st);
    if (roster_out_confirms(worker_node(w), asker))
        return;
    route_send(w, stanza_make(STANZA_PRESENCE, TYPE_UNSUBSCRIBED, probed, asker, (slice){ 0 },
                              (slice){ 0 }));
}

/* §4.3.2. Another server that asks who is there may have forgotten it, so it is told also that
 * nobody is. Here unavailable presence is never lost. */
static void probe_answer(struct account *a, const struct stanza *st)
{
    struct worker *w = a->worker;
    slice asker = stanza_from_bare(st);
    if (!probe_is_allowed(a, st)) {
        probe_deny(w, a->jid, st);
        return;
    }
    struct answer an = { w, account_find(w, asker), stanza_from(st), asker.len, false };
    sessions_each(a, SESSIONS_AVAILABLE, answer_with, &an);
    if (!an.told && foreign_is(w, jid_split(asker).domain))
        route_send(w, stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, a->jid, stanza_from(st),
                                  (slice){ 0 }, (slice){ 0 }));
}

/* A change that waits may be the one that lets the asker see the account. A denial before it would
 * be wrong, or even take away what it grants: the probe waits for its turn. Where too much waits it
 * has no answer; the asker's server asks again when another client of the asker comes (§4.3.1). */
enum { PROBE_BEHIND_MAX = 1024 };
struct probe {
    struct actor_change base; /* first */
    struct stanza *st;
};

static enum err probe_prepare(struct actor_change *base)
{
    (void)base;
    return OK;
}

static void probe_apply(struct actor_change *base, enum err e)
{
    struct probe *p = (struct probe *)base;
    struct account *a = account_of(base->actor);
    (void)e; /* a guest's changes fail: it has no roster, which is an answer, too */
    if (a->state == ACTOR_READY)
        probe_answer(a, p->st);
    stanza_unref(&p->st);
    mem_free(&p);
}

static void answer_probe(struct account *a, struct stanza *st)
{
    if (a->actor.change_count == 0 || probe_is_allowed(a, st)) {
        probe_answer(a, st);
        return;
    }
    if (a->actor.change_count >= PROBE_BEHIND_MAX)
        return;
    struct probe *p = mem_new(struct probe);
    *p = (struct probe){ { .prepare = probe_prepare, .apply = probe_apply }, stanza_ref(st) };
    account_change(a, &p->base);
}

/* A probe that is refused as if there were no account is answered like one, except to contacts:
 * they know the account, and their subscriptions stay. */
static void probe_refused(struct account *a, const struct stanza *st, const struct refusal *why)
{
    ensure(why->as_nobody);
    if (st->type == TYPE_PROBE && !probe_is_allowed(a, st))
        probe_deny(a->worker, a->jid, st);
}

void presence_arrive(struct worker *w, slice bare, struct stanza *st)
{
    struct account *a = account_find(w, bare);
    if (a == NULL && !component_watch_wants(w, bare, st))
        return;
    if (a == NULL || actor_waits(&a->actor)) { /* it is loaded; behind what waits there */
        route_send(w, stanza_readdress(st, (slice){ 0 }, bare));
        return;
    }
    struct refusal why = { 0 };
    enum verdict v = stage_block(a, st, &why);
    if (v == REFUSE && why.as_nobody)
        probe_refused(a, st, &why);
    else if (v == PASS && st->type == TYPE_PROBE)
        answer_probe(a, st);
    else if (v == PASS) {
        presence_give_all(a, st);
        component_watch_contact(a, st);
    }
}

enum routed presence_from_session(struct session *s, struct stanza *st, struct origin origin)
{
    if (st->type != TYPE_INVALID && st->to_len == 0)
        return presence_undirected(s, st);
    switch (st->type) {
    case TYPE_SUBSCRIBE:
    case TYPE_SUBSCRIBED:
    case TYPE_UNSUBSCRIBE:
    case TYPE_UNSUBSCRIBED:
        return subscription_out(s, st, origin);
    case TYPE_INVALID: /* §4.7.1 */
        route_error(s->account->worker, st, SE_BAD_REQUEST, SLICE("unknown type of presence"));
        stanza_unref(&st);
        return ROUTED;
    default:
        return presence_direct(s, st, origin);
    }
}

static void presence_show_one(struct session *s, void *st) { session_deliver(s, st, 0, 0); }

static void show_error(struct account *a, struct stanza *st)
{
    const struct roster_item *item = roster_find(a->roster, stanza_from_bare(st));
    if (item != NULL && sub_state_ask(item->state))
        sessions_each(a, SESSIONS_INTERESTED, presence_show_one, st);
}

/* §8.5.2.1.2, §8.5.3.1 by the table of delivery rules. A subscription request goes out from the
 * bare JID (§3.1.2), so an error that answers it comes back to that: the resources that know the
 * roster are told, where the table would be silent. */
static void presence_deliver(struct account *a, struct stanza *st)
{
    bool bare = stanza_to_is_bare(st);
    struct session *s =
        bare ? NULL : account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u));
    enum delivery_have have = s != NULL                  ? HAVE_MATCH
                              : account_available(a) > 0 ? HAVE_SOME
                                                         : HAVE_NONE;
    if (bare && st->type == TYPE_ERROR) {
        show_error(a, st);
        subscription_bounced(a, st);
    }
    switch (delivery_rule(STANZA_PRESENCE, st->type, bare ? TO_BARE : TO_FULL, have)) {
    case DELIVER_ALL:
        presence_give_all(a, st);
        break;
    case DELIVER_MATCH:
        if (!stage_takes(s, st))
            break;
        metric_add(&presence_deliveries, 1);
        session_deliver(s, st, 0, 0);
        break;
    default:
        break;
    }
}

/* Also for presence that is blocked: a blocked contact who has left is sent nothing either. An
 * address that presence could not be sent to perhaps goes on to see what it was sent before, so it
 * is told when the session ends. */
static void presence_probe_answered(struct account *a, const struct stanza *st)
{
    if (remote_domain_is_unsent(a->worker, st))
        return;
    struct session *s = stanza_to_is_bare(st)
                            ? NULL
                            : account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u));
    if (s != NULL)
        presence_answered(s, st);
}

enum routed presence_to_account(struct account *a, struct stanza *st, struct origin origin)
{
    struct refusal why = { .error = SE_SERVICE_UNAVAILABLE };
    ensure(account_here(a));
    ensure(a->state == ACTOR_READY);
    bool is_error = st->type == TYPE_ERROR; /* whose features ask what it was sent for */
    if (!is_error)
        presence_probe_answered(a, st);
    enum verdict v = stage_block(a, st, &why);
    if (is_error)
        presence_probe_answered(a, st);
    st = foreign_pass(st, &why);
    switch (v) {
    case REFUSE:
        if (!why.as_nobody) {
            stage_refuse(a->worker, st, &why);
            return ROUTED;
        }
        probe_refused(a, st, &why);
        stanza_unref(&st);
        return ROUTED;
    case DROP:
        if (st->type >= TYPE_SUBSCRIBE && st->type <= TYPE_UNSUBSCRIBED)
            subscription_dropped(a->worker, st);
        stanza_unref(&st);
        return ROUTED;
    default:
        break;
    }
    switch (st->type) {
    case TYPE_SUBSCRIBE:
    case TYPE_SUBSCRIBED:
    case TYPE_UNSUBSCRIBE:
    case TYPE_UNSUBSCRIBED:
        return subscription_in(a, st, origin);
    case TYPE_PROBE:
        answer_probe(a, st);
        break;
    default:
        presence_deliver(a, st);
        component_watch_contact(a, st);
        break;
    }
    stanza_unref(&st);
    return ROUTED;
}

void presence_to_nobody(struct worker *w, struct stanza *st)
{
    switch (st->type) {
    case TYPE_SUBSCRIBE:
    case TYPE_SUBSCRIBED:
    case TYPE_UNSUBSCRIBE:
    case TYPE_UNSUBSCRIBED:
        subscription_to_nobody(w, st);
        return;
    case TYPE_PROBE:
        probe_deny(w, stanza_to_bare(st), st);
        break;
    default:
        break;
    }
    stanza_unref(&st);
}

void presence_replay(struct worker *w) { subscription_replay(w, (slice){ 0 }); }

static void replay_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    presence_replay(w);
}

const struct message_row replay_message = {
    .id = 21,
    .scope = MESSAGE_CLUSTER,
    .name = "replay",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = replay_run,
};

static struct setting *const settings[] = { &directed_max, &presence_change_rate, NULL };
static struct metric *const metrics[] = { &presence_broadcasts, &presence_deliveries,
                                          &presence_waited, NULL };

const struct feature presence_feature = {
    .name = "presence",
    .parts = PART_PRESENCE | PART_SESSION,
    .stream_feature = "<sub xmlns='" NS_PREAPPROVAL "'/>", /* §3.4.1 */
    .schema = &roster_out_schema,
    .settings = settings,
    .metrics = metrics,
    .logs = subscription_logs,
    .session.slot = &presence_pace_session,
    .session.save = presence_pace_save,
    .session.restore = presence_pace_restore,
    .worker.slot = &presence_pace_worker,
    .worker.ended = presence_pace_ended,
    .worker.domain_back = remote_unsubscribe_soon,
    .account.remove = roster_out_remove,
    .account.created = subscription_account_changed,
    .account.left_disabled = subscription_account_changed,
    .account.disowned = subscription_account_changed,
    .account.enabled = subscription_replay,
    .messages = (const struct message_row *const[]){ &replay_message, &settled_message, NULL },
};
