#include "im/presence.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/metric.h"
#include "codec/xml_elem.h"
#include "home/fan.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "im/account.h"
#include "im/budget.h"
#include "im/directed.h"
#include "im/feature.h"
#include "im/presence_pace.h"
#include "im/roster.h"
#include "im/session_queue.h"
#include "im/stage.h"
#include "im/subscription.h"
#include "xmpp/delivery.h"
#include "xmpp/ns.h"

static struct metric metric_broadcasts = {
    .name = "muster_presence_broadcasts",
    .kind = METRIC_COUNTER,
    .help = "Presence changes of sessions that were broadcast to contacts.",
};
static struct metric metric_deliveries = {
    .name = "muster_presence_deliveries",
    .kind = METRIC_COUNTER,
    .help = "Presence stanzas given to sessions.",
};

void presence_each(struct account *a, enum presence_who who, presence_fn *fn, void *arg)
{
    LIST_EACH (node, &a->sessions) {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (who == PRESENCE_AVAILABLE ? s->available : s->interested)
            fn(s, arg);
    }
}

static void presence_give(struct session *s, void *arg)
{
    presence_answered(s, arg);
    if (!stage_takes(s, arg))
        return;
    metric_add(&metric_deliveries, 1);
    session_deliver_to(s, arg, session_bare(s)); /* RFC 6121 §4.2.3 */
}

static void give_all(struct account *a, struct stanza *st)
{
    presence_each(a, PRESENCE_AVAILABLE, presence_give, st);
}

/* Probes (§4.3.2). */

struct answer {
    struct worker *worker;
    struct account *asker; /* NULL: its home is not here */
    slice to;
    size_t bare_len;
};

static void answer_with(struct session *s, void *arg)
{
    struct answer *an = arg;
    struct session *to = NULL;
    if (!stage_view(s, (slice){ an->to.ptr, an->bare_len }))
        return;
    if (an->asker != NULL && an->to.len > an->bare_len)
        to = account_session(an->asker, slice_from(an->to, an->bare_len + 1));
    if (to != NULL && stage_block(an->asker, s->presence, &(struct refusal){ 0 }) == PASS &&
        stage_takes(to, s->presence))
        session_deliver_to(to, s->presence, an->to);
    else if (to == NULL && (an->asker == NULL || an->to.len == an->bare_len))
        route_send(an->worker, stanza_readdress(s->presence, (slice){ 0 }, an->to));
}

static void answer_probe(struct account *a, const struct stanza *st)
{
    struct worker *w = a->worker;
    slice asker = stanza_from_bare(st);
    if (!roster_is_seen(a, asker) && !slice_eq(asker, a->jid)) {
        route_send(w, subscription_stanza(a, asker, SUB_UNSUBSCRIBED));
        return;
    }
    struct answer an = { w, account_find(w, asker), stanza_from(st), asker.len };
    presence_each(a, PRESENCE_AVAILABLE, answer_with, &an);
}

/* From a fan (home/fan.h): a broadcast or a probe. One without sessions is not loaded for it. */

void presence_arrive(struct worker *w, slice bare, struct stanza *st)
{
    struct account *a = account_find(w, bare);
    if (a == NULL || stage_block(a, st, &(struct refusal){ 0 }) != PASS)
        return;
    if (st->type == TYPE_PROBE)
        answer_probe(a, st);
    else
        give_all(a, st);
}

static void presence_to_contacts(const struct session *s, struct stanza *st)
{
    struct account *a = s->account;
    struct fan f;
    const struct roster *r = a->roster;
    if (r == NULL || r->seen == 0)
        return;
    fan_begin(&f, a->worker, st, (slice){ 0 });
    for (uint32_t i = 0; i < r->seen; i++)
        if (stage_view(s, roster_item_jid(r->items[i])))
            fan_add(&f, roster_item_jid(r->items[i]));
    fan_end(&f);
}

static void presence_event(struct session *s, struct stanza *st) { EMIT(session.presence, s, st); }

static void broadcast(struct session *s, struct stanza *st)
{
    metric_add(&metric_broadcasts, 1);
    give_all(s->account, st); /* §4.2.2: own resources too */
    presence_to_contacts(s, st);
    presence_event(s, st);
}

/* Available (§4.2, §4.4). */

static void give_to(struct session *s, void *arg)
{
    struct session *newcomer = arg;
    if (s != newcomer && stage_takes(newcomer, s->presence))
        session_deliver_to(newcomer, s->presence, session_bare(newcomer));
}

/* §3.1.3: requests without an answer, at every initial presence. */
static void give_requests(struct session *s, struct arena *tmp)
{
    const struct roster *r = s->account->roster;
    struct xml_work *work = worker_xml(s->account->worker);
    for (uint32_t i = r == NULL || r->pending == 0 ? 0 : r->count; i > 0; i--) {
        struct stanza *st;
        slice text = roster_item_request(r->items[i - 1]);
        if (text.len == 0 || stanza_load(&st, text, work, tmp) != OK)
            continue;
        if (stage_block(s->account, st, &(struct refusal){ 0 }) == PASS) /* blocked since */
            session_deliver(s, st, 0, 0);
        stanza_unref(&st);
    }
}

static void probe_contacts(struct session *s)
{
    struct fan f;
    struct account *a = s->account;
    const struct roster *r = a->roster;
    if (r == NULL)
        return;
    /* §4.3.1: from the full JID, so that the resources that know already are not told again */
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_PROBE, session_jid(s), (slice){ 0 },
                                    (slice){ 0 }, (slice){ 0 });
    fan_begin(&f, a->worker, st, (slice){ 0 });
    for (uint32_t i = 0; i < r->count; i++)
        if (sub_sees(r->items[i]->state))
            fan_add(&f, roster_item_jid(r->items[i]));
    fan_end(&f);
    stanza_unref(&st);
}

static void introduce(struct session *s, struct arena *tmp)
{
    presence_each(s->account, PRESENCE_AVAILABLE, give_to, s);
    probe_contacts(s);
    give_requests(s, tmp);
    session_became_available(s);
}

/* The schema allows white space around the number (§4.7.2.3: xs:byte). */
static slice presence_trim(slice s)
{
    static const char space[] = " \t\r\n";
    while (s.len > 0 && memchr(space, s.ptr[0], sizeof space - 1) != NULL)
        s = slice_from(s, 1);
    while (s.len > 0 && memchr(space, s.ptr[s.len - 1], sizeof space - 1) != NULL)
        s.len--;
    return s;
}

/* §4.7.2.3. false: not a number from -128 to 127. */
static bool priority_of(const struct stanza *st, struct arena *tmp, int8_t *out)
{
    int64_t n = 0;
    if (stanza_has(st, KNOWN(PRIORITY)) &&
        (!slice_int(presence_trim(stanza_child_text(st, KNOWN_PRIORITY, tmp)), &n) ||
         n < INT8_MIN || n > INT8_MAX))
        return false;
    *out = (int8_t)n;
    return true;
}

static struct stanza *unavailable_from(const struct session *s)
{
    return stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, session_jid(s), (slice){ 0 },
                       (slice){ 0 }, (slice){ 0 });
}

/* XEP-0186 §3.2: this presence counts as its initial one. Until it came, the client went on to hear
 * of its contacts: one who left meanwhile would stay in its list for ever. */
static void reappear(struct session *s)
{
    struct stanza *st = unavailable_from(s);
    s->available = false;
    presence_pace_forget(s);
    session_became_unavailable(s, st);
    s->hidden = SESSION_SHOWN;
    stanza_unref(&st);
}

static void become_available(struct session *s, struct stanza *st)
{
    struct account *a = s->account;
    struct worker *w = a->worker;
    struct arena *tmp = loop_scratch(worker_loop(w));
    bool received = s->priority >= 0;
    int8_t priority;

    if (!priority_of(st, tmp, &priority)) {
        route_error(w, st, SE_BAD_REQUEST, SLICE("the priority is a number from -128 to 127"));
        return;
    }
    if (s->hidden == SESSION_HIDDEN_UNTIL_PRESENCE)
        reappear(s);
    bool first = !s->available;
    presence_pace_own(s);
    stanza_unref(&s->awake);
    stanza_unref(&s->presence);
    s->presence = stanza_ref(st);
    s->priority = priority;
    s->available = true;
    broadcast(s, st);
    if (first)
        introduce(s, tmp);
    else if (received != (priority >= 0))
        session_became_receiver(s);
}

void presence_replace(struct session *s, struct stanza *own, bool away)
{
    struct stanza *keep = stanza_ref(own);
    stanza_unref(&s->awake);
    stanza_unref(&s->presence);
    if (away) {
        s->awake = keep;
        s->presence = stanza_append(keep, SLICE("<show>away</show>")); /* §4.7.2.1 */
    } else {
        s->presence = keep;
    }
    broadcast(s, s->presence);
}

/* Directed presence (§4.6). */

void presence_directed_save(const struct session *s, struct buf *out)
{
    directed_save(s->directed, out);
}

void presence_directed_load(struct session *s, slice lines)
{
    directed_load(&s->directed, lines, loop_scratch(worker_loop(s->account->worker)));
}

static bool sees(const struct session *s, slice contact)
{
    const struct account *a = s->account;
    return slice_eq(contact, a->jid) || (roster_is_seen(a, contact) && stage_view(s, contact));
}

/* Unavailable to those who got directed presence, but for contacts that a broadcast has reached. */
static void directed_end(const struct session *s, struct directed *d, const struct stanza *st,
                         bool broadcasted)
{
    char text[JID_MAX];
    slice to;
    for (struct directed_at at = { 0 }; directed_next(d, &at, text, &to);)
        if (!broadcasted || !sees(s, jid_bare_of(to)))
            route_send(s->account->worker, stanza_readdress(st, (slice){ 0 }, to));
    directed_free(&d);
}

bool presence_is_sent(const struct session *s, slice jid)
{
    return directed_has(s->directed, jid_bare_of(jid));
}

bool presence_is_directed(const struct account *a, slice jid)
{
    LIST_EACH (it, &a->sessions)
        if (presence_is_sent(CONTAINER_OF(it, struct session, node), jid))
            return true;
    return false;
}

void presence_plain_in_rooms(struct session *s)
{
    char text[JID_MAX];
    slice to;
    for (struct directed_at at = { 0 }; directed_next(s->directed, &at, text, &to);)
        if (directed_is_entered(&at))
            route_send(s->account->worker,
                       stanza_make(STANZA_PRESENCE, TYPE_AVAILABLE, session_jid(s), to,
                                   (slice){ 0 }, (slice){ 0 }));
}

void presence_directed_drop(struct session *s, presence_unwanted_fn *unwanted)
{
    char text[JID_MAX];
    slice to;
    struct stanza *st = s->directed == NULL ? NULL : unavailable_from(s);
    for (struct directed_at at = { 0 }; directed_next(s->directed, &at, text, &to);) {
        if (!unwanted(s, to))
            continue;
        route_send(s->account->worker, stanza_readdress(st, (slice){ 0 }, to));
        directed_remove(&s->directed, to);
    }
    stanza_unref(&st);
}

/* All that our services have are places. */
static bool is_of_service(const struct worker *w, slice bare)
{
    struct jid jid = jid_split(bare);
    return !node_serves(worker_node(w), jid.domain) &&
           host_find(worker_node(w), jid.domain, &(slice){ 0 }) != NULL;
}

/* It says so when it joins (XEP-0045 §7.2.1). */
static enum directed_kind presence_kind_of(const struct worker *w, const struct stanza *st)
{
    return stanza_has(st, KNOWN(MUC)) || is_of_service(w, stanza_to_bare(st)) ? DIRECTED_ROOM
                                                                              : DIRECTED_USER;
}

/* A room keeps a presence as it came, and as it shows it to moderators and to others. */
enum { ROOM_COPIES = 3 };

static enum routed direct(struct session *s, struct stanza *st, struct origin origin)
{
    struct worker *w = s->account->worker;
    if (st->type == TYPE_UNAVAILABLE) {
        directed_remove(&s->directed, stanza_to(st));
    } else if (st->type == TYPE_AVAILABLE &&
               directed_add(&s->directed, stanza_to(st), presence_kind_of(w, st)) != OK) {
        slice text = slice_of(
            arena_printf(loop_scratch(worker_loop(w)),
                         "presence was sent to %lld addresses (presence.directed-max): leave a "
                         "room, or send one of them unavailable presence, and try again",
                         (long long)setting_int(&directed_max)));
        route_error(w, st, SE_POLICY_VIOLATION, text);
        stanza_unref(&st);
        return ROUTED;
    } else if (st->type == TYPE_AVAILABLE) {
        directed_keeps(s->directed, stanza_to(st), ROOM_COPIES * (uint32_t)st->bytes);
        budget_weigh(s->account);
    }
    return route(w, st, origin, 0, 0);
}

void presence_answered(struct session *s, const struct stanza *st)
{
    bool room = st->type == TYPE_AVAILABLE && stanza_has(st, KNOWN(MUC_USER));
    if (room || s->directed != NULL)
        directed_answer(&s->directed, st,
                        room && is_of_service(s->account->worker, stanza_from_bare(st))
                            ? DIRECTED_ROOM
                            : DIRECTED_USER);
}

/* Unavailable (§4.5, §4.6.3). */

static void become_unavailable(struct session *s, struct stanza *st)
{
    struct directed *directed = s->directed;
    bool was = s->available;
    s->available = false;
    s->directed = NULL;
    presence_pace_forget(s);
    stanza_unref(&s->awake);
    stanza_unref(&s->presence);
    if (was) {
        session_became_unavailable(s, st);
        broadcast(s, st);
    }
    directed_end(s, directed, st, was);
}

void presence_session_ended(struct session *s)
{
    if (!s->available && s->directed == NULL)
        return;
    struct stanza *st = unavailable_from(s);
    become_unavailable(s, st);
    stanza_unref(&st);
}

void presence_session_forget(struct session *s)
{
    s->available = false;
    presence_pace_forget(s);
    stanza_unref(&s->awake);
    stanza_unref(&s->presence);
    directed_free(&s->directed);
}

/* One contact. */

struct show {
    slice contact;
    enum stanza_type type;
};

void presence_tell(struct session *s, slice contact, enum stanza_type type)
{
    struct stanza *st;
    if (!s->available || (type == TYPE_AVAILABLE && !stage_view(s, contact)))
        return;
    if (type == TYPE_UNAVAILABLE && s->hidden != SESSION_SHOWN && !presence_is_sent(s, contact))
        return; /* whoever sees it not, cannot see it go (XEP-0186 §3.1) */
    if (type == TYPE_AVAILABLE)
        st = stanza_ref(s->presence);
    else
        st = stanza_make(STANZA_PRESENCE, type, session_jid(s), (slice){ 0 }, (slice){ 0 },
                         (slice){ 0 });
    fan_one(s->account->worker, st, (slice){ 0 }, contact);
    stanza_unref(&st);
}

static void show_session(struct session *s, void *arg)
{
    const struct show *show = arg;
    presence_tell(s, show->contact, show->type);
}

void presence_show(struct account *a, slice contact)
{
    presence_each(a, PRESENCE_AVAILABLE, show_session, &(struct show){ contact, TYPE_AVAILABLE });
}

static void look_session(struct session *s, void *arg)
{
    const slice *contact = arg;
    s->was_seen = stage_view(s, *contact) || presence_is_sent(s, *contact);
}

void presence_look(struct account *a, slice contact)
{
    presence_each(a, PRESENCE_AVAILABLE, look_session, &contact);
}

static void hide_session(struct session *s, void *arg)
{
    const slice *contact = arg;
    if (s->was_seen)
        presence_tell(s, *contact, TYPE_UNAVAILABLE);
    s->was_seen = false;
}

void presence_hide(struct account *a, slice contact)
{
    presence_each(a, PRESENCE_AVAILABLE, hide_session, &contact);
}

void presence_probe(struct account *a, slice contact)
{
    presence_each(a, PRESENCE_AVAILABLE, show_session, &(struct show){ contact, TYPE_PROBE });
    EMIT(account.probed, a, contact);
}

void presence_resync(struct session *s)
{
    if (s->available)
        probe_contacts(s);
}

void presence_vanish(struct session *s)
{
    struct directed *directed = s->directed;
    if (s->hidden != SESSION_SHOWN) {
        s->hidden = SESSION_HIDDEN;
        return;
    }
    struct stanza *st = unavailable_from(s);
    s->directed = NULL;
    if (s->available) {
        presence_to_contacts(s, st);
        presence_event(s, st);
    }
    directed_end(s, directed, st, s->available);
    s->hidden = SESSION_HIDDEN;
    EMIT(session.hidden, s);
    stanza_unref(&st);
}

void presence_appear(struct session *s)
{
    if (s->hidden != SESSION_SHOWN)
        s->hidden = s->available ? SESSION_HIDDEN_UNTIL_PRESENCE : SESSION_SHOWN;
}

void presence_views_changed(struct account *a) { EMIT(account.views_changed, a); }

bool presence_shows(const struct account *a, slice contact)
{
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        if (s->available && stage_view(s, contact))
            return true;
    }
    return false;
}

/* Entry points. */

static enum routed undirected(struct session *s, struct stanza *st)
{
    bool was = s->available;
    if (st->type == TYPE_AVAILABLE)
        become_available(s, st);
    else if (st->type == TYPE_UNAVAILABLE)
        become_unavailable(s, st);
    else
        route_error(s->account->worker, st, SE_BAD_REQUEST,
                    SLICE("presence of this type needs an address"));
    if (st->type == TYPE_UNAVAILABLE && was) /* §4.5.2: to the resource that sent it as well */
        session_deliver_to(s, st, session_bare(s));
    stanza_unref(&st);
    return ROUTED;
}

enum routed presence_from_session(struct session *s, struct stanza *st, struct origin origin)
{
    if (st->type != TYPE_INVALID && st->to_len == 0)
        return undirected(s, st);
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
        return direct(s, st, origin);
    }
}

static void presence_show_one(struct session *s, void *st) { session_deliver(s, st, 0, 0); }

static void show_error(struct account *a, struct stanza *st)
{
    const struct roster_item *item = roster_find(a->roster, stanza_from_bare(st));
    if (item != NULL && sub_state_ask(item->state))
        presence_each(a, PRESENCE_INTERESTED, presence_show_one, st);
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
        give_all(a, st);
        break;
    case DELIVER_MATCH:
        if (!stage_takes(s, st))
            break;
        metric_add(&metric_deliveries, 1);
        session_deliver(s, st, 0, 0);
        break;
    default:
        break;
    }
}

/* Also for presence that is blocked: a blocked contact who has left is sent nothing either. */
static void presence_probe_answered(struct account *a, const struct stanza *st)
{
    struct session *s = stanza_to_is_bare(st)
                            ? NULL
                            : account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u));
    if (s != NULL)
        presence_answered(s, st);
}

enum routed presence_to_account(struct account *a, struct stanza *st, struct origin origin)
{
    struct refusal why = { .error = SE_SERVICE_UNAVAILABLE };
    presence_probe_answered(a, st);
    switch (stage_block(a, st, &why)) {
    case REFUSE:
        stage_refuse(a->worker, st, &why);
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
    case TYPE_PROBE: /* §4.3.2: it does not exist */
        route_send(w, stanza_make(STANZA_PRESENCE, TYPE_UNSUBSCRIBED, stanza_to_bare(st),
                                  stanza_from_bare(st), (slice){ 0 }, (slice){ 0 }));
        break;
    default:
        break;
    }
    stanza_unref(&st);
}

void presence_replay(struct worker *w) { subscription_replay(w); }

static void replay_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    subscription_replay(w);
}

const struct message_row replay_message = {
    .id = 21,
    .scope = MESSAGE_CLUSTER,
    .name = "replay",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = replay_run,
};

static struct setting *const settings[] = { &directed_max, &presence_composed_rate, NULL };
static struct metric *const metrics[] = { &metric_broadcasts, &metric_deliveries, &presence_waited,
                                          NULL };

const struct feature presence_feature = {
    .name = "presence",
    .parts = PART_PRESENCE | PART_SESSION,
    .stream_feature = "<sub xmlns='" NS_PREAPPROVAL "'/>", /* §3.4.1 */
    .schema = &subscription_schema,
    .settings = settings,
    .metrics = metrics,
    .logs = subscription_logs,
    .session.slot = &presence_pace_session,
    .worker.slot = &presence_pace_worker,
    .worker.ended = presence_pace_ended,
    .account.remove = subscription_remove,
    .account.deleted = subscription_account_deleted,
    .account.enabled = presence_replay,
    .messages = (const struct message_row *const[]){ &replay_message, &settled_message, NULL },
};
