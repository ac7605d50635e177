#include "presence/presence.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "codec/xml_elem.h"
#include "component/component_shown.h"
#include "component/component_watch.h"
#include "core/budget.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/fan.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "home/remote.h"
#include "presence/caps.h"
#include "presence/directed.h"
#include "presence/presence_pace.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include "talk/offline.h"

struct metric presence_broadcasts = {
    .name = "muster_presence_broadcasts",
    .kind = METRIC_COUNTER,
    .help = "Presence changes of sessions that were broadcast to contacts.",
};
struct metric presence_deliveries = {
    .name = "muster_presence_deliveries",
    .kind = METRIC_COUNTER,
    .help = "Presence stanzas given to sessions.",
};

static void presence_give(struct session *s, void *arg)
{
    presence_answered(s, arg);
    if (!stage_takes(s, arg))
        return;
    metric_add(&presence_deliveries, 1);
    session_deliver_to(s, arg, session_bare(s)); /* RFC 6121 §4.2.3 */
}

void presence_give_all(struct account *a, struct stanza *st)
{
    ensure(account_here(a));
    sessions_each(a, SESSIONS_AVAILABLE, presence_give, st);
}

static void presence_to_contacts(const struct session *s, struct stanza *st)
{
    struct account *a = s->account;
    struct fan f;
    slice contact;
    fan_begin(&f, a->worker, st, (slice){ 0 });
    for (struct roster_at at = { 0 }; roster_next(a, ROSTER_IS_SEEN, &at, &contact);)
        if (stage_view(s, contact))
            fan_add(&f, contact);
    fan_end(&f);
}

static void presence_event(struct session *s, struct stanza *st) { EMIT(session.presence, s, st); }

static void broadcast(struct session *s, struct stanza *st)
{
    metric_add(&presence_broadcasts, 1);
    presence_give_all(s->account, st); /* §4.2.2: own resources too */
    presence_to_contacts(s, st);
    presence_event(s, st);
}

static void presence_became_available(struct session *s)
{
    if (s->priority >= 0) /* first: its read would wait for what features write */
        offline_flush(s);
    EMIT(session.available, s);
}

static void presence_became_unavailable(struct session *s, const struct stanza *st)
{
    EMIT(session.unavailable, s, st);
}

static void presence_became_receiver(struct session *s)
{
    offline_priority_changed(s); /* first: its read would wait for what features write */
    caps_receives(s);
}

/* Available (§4.2, §4.4). */

static void give_to(struct session *s, void *arg)
{
    struct session *newcomer = arg;
    ensure(s->presence != NULL); /* it is available */
    if (s != newcomer && stage_takes(newcomer, s->presence))
        session_deliver_to(newcomer, s->presence, session_bare(newcomer));
}

/* §3.1.3: requests without an answer, at every initial presence; not while a group
 * (account/shared.h) gives what is asked for. */
static void give_requests(struct session *s, struct arena *tmp)
{
    const struct roster *r = s->account->roster;
    struct xml_work *work = worker_xml(s->account->worker);
    for (uint32_t i = r == NULL || r->pending == 0 ? 0 : r->count; i > 0; i--) {
        struct stanza *st;
        slice text = roster_item_request(r->items[i - 1]);
        if (text.len == 0 || roster_is_seen(s->account, roster_item_jid(r->items[i - 1])) ||
            stanza_load(&st, text, work, tmp) != OK)
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
    slice contact;
    /* §4.3.1: from the full JID, so that the resources that know already are not told again */
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_PROBE, session_jid(s), (slice){ 0 },
                                    (slice){ 0 }, (slice){ 0 });
    fan_begin(&f, a->worker, st, (slice){ 0 });
    for (struct roster_at at = { 0 }; roster_next(a, ROSTER_SEES, &at, &contact);)
        fan_add(&f, contact);
    fan_end(&f);
    stanza_unref(&st);
}

static void introduce(struct session *s, struct arena *tmp)
{
    sessions_each(s->account, SESSIONS_AVAILABLE, give_to, s);
    probe_contacts(s);
    give_requests(s, tmp);
    presence_became_available(s);
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
    presence_became_unavailable(s, st);
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
    ensure(session_here(s));
    if (!priority_of(st, tmp, &priority)) {
        route_error(w, st, SE_BAD_REQUEST, SLICE("the priority is a number from -128 to 127"));
        return;
    }
    if (s->hidden == SESSION_HIDDEN_UNTIL_PRESENCE)
        reappear(s);
    bool first = !s->available;
    stanza_unref(&s->awake);
    stanza_unref(&s->presence);
    s->presence = stanza_ref(st);
    s->priority = priority;
    s->available = true;
    if (first || presence_pace_own(s))
        broadcast(s, st);
    if (first)
        introduce(s, tmp);
    else if (received != (priority >= 0))
        presence_became_receiver(s);
}

struct stanza *presence_shown_away(const struct stanza *own)
{
    return stanza_append(own, SLICE("<show>away</show>")); /* RFC 6121 §4.7.2.1 */
}

void presence_replace(struct session *s, struct stanza *own, bool away)
{
    struct stanza *keep = stanza_ref(own);
    ensure(s->available);
    stanza_unref(&s->awake);
    stanza_unref(&s->presence);
    if (away) {
        s->awake = keep;
        s->presence = presence_shown_away(keep);
    } else {
        s->presence = keep;
    }
    broadcast(s, s->presence);
}

/* Directed presence (§4.6). */

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

/* Addresses of components have rows. A contact that broadcasts reach keeps it. */
static void directed_news_fn(void *arg, slice jid, bool there)
{
    struct session *s = arg;
    if (there)
        component_shown(s, jid);
    else if (!s->available || jid_split(jid).resource.len > 0 || !sees(s, jid))
        component_unshown(s, jid);
}

static struct directed_news presence_news(struct session *s)
{
    return (struct directed_news){ directed_news_fn, s };
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

static void directed_drop(struct session *s, presence_unwanted_fn *unwanted,
                          const struct directed_news *news)
{
    char text[JID_MAX];
    slice to;
    struct stanza *st = s->directed == NULL ? NULL : unavailable_from(s);
    for (struct directed_at at = { 0 }; directed_next(s->directed, &at, text, &to);) {
        if (!unwanted(s, to))
            continue;
        route_send(s->account->worker, stanza_readdress(st, (slice){ 0 }, to));
        directed_remove(&s->directed, to, news);
    }
    stanza_unref(&st);
}

void presence_directed_drop(struct session *s, presence_unwanted_fn *unwanted)
{
    struct directed_news news = presence_news(s);
    directed_drop(s, unwanted, &news);
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

enum routed presence_direct(struct session *s, struct stanza *st, struct origin origin)
{
    struct worker *w = s->account->worker;
    struct directed_news news = presence_news(s);
    ensure(session_here(s));
    st->refused_kind = REFUSED_SAID;
    if (st->type == TYPE_UNAVAILABLE) {
        directed_remove(&s->directed, stanza_to(st), &news);
    } else if (st->type == TYPE_AVAILABLE &&
               directed_add(&s->directed, stanza_to(st), presence_kind_of(w, st), &news) != OK) {
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

void presence_in_rooms(struct session *s, bool shown)
{
    struct stanza *own = s->awake != NULL ? s->awake : s->presence;
    char text[JID_MAX];
    slice to;
    ensure(session_here(s) && (own == NULL || s->available));
    if (shown && (own == NULL || s->hidden != SESSION_SHOWN))
        return;
    for (struct directed_at at = { 0 }; directed_next(s->directed, &at, text, &to);) {
        if (!directed_is_entered(&at))
            continue;
        struct stanza *st = shown ? stanza_readdress(own, (slice){ 0 }, to)
                                  : stanza_make(STANZA_PRESENCE, TYPE_AVAILABLE, session_jid(s), to,
                                                (slice){ 0 }, (slice){ 0 });
        directed_keeps(s->directed, to, ROOM_COPIES * (uint32_t)st->bytes);
        route_send(s->account->worker, st);
    }
    budget_weigh(s->account);
}

void presence_answered(struct session *s, const struct stanza *st)
{
    struct directed_news news = presence_news(s);
    bool room = st->type == TYPE_AVAILABLE && stanza_has(st, KNOWN(MUC_USER));
    if (room || s->directed != NULL)
        directed_answer(&s->directed, st,
                        room && is_of_service(s->account->worker, stanza_from_bare(st))
                            ? DIRECTED_ROOM
                            : DIRECTED_USER,
                        &news);
}

/* Unavailable (§4.5, §4.6.3). */

static void become_unavailable(struct session *s, struct stanza *st)
{
    struct directed *directed = s->directed;
    bool was = s->available;
    component_shown_leaves(s);
    s->available = false;
    s->directed = NULL;
    presence_pace_forget(s);
    stanza_unref(&s->awake);
    stanza_unref(&s->presence);
    if (was) {
        presence_became_unavailable(s, st);
        broadcast(s, st);
    }
    directed_end(s, directed, st, was);
    component_shown_ends(s);
}

void presence_session_ended(struct session *s)
{
    if (!s->available && s->directed == NULL) {
        component_shown_ends(s);
        return;
    }
    struct stanza *st = unavailable_from(s);
    become_unavailable(s, st);
    stanza_unref(&st);
}

static bool is_at_component(const struct session *s, slice jid)
{
    return remote_known(s->account->worker, jid_split(jid).domain);
}

/* Others are sent it as contacts are. */
static bool is_only_directed_to_component(const struct session *s, slice jid)
{
    return is_at_component(s, jid) && !(s->available && sees(s, jid_bare_of(jid)));
}

static void tell_component_contacts(struct session *s)
{
    struct stanza *st = unavailable_from(s);
    slice contact;
    for (struct roster_at at = { 0 }; roster_next(s->account, ROSTER_IS_SEEN, &at, &contact);)
        if (is_at_component(s, contact) && stage_view(s, contact))
            route_send(s->account->worker, stanza_readdress(st, (slice){ 0 }, contact));
    component_watch_presence(s, st);
    stanza_unref(&st);
}

void presence_tell_components(struct session *s)
{
    ensure(session_here(s));
    if (s->available)
        tell_component_contacts(s);
    directed_drop(s, is_only_directed_to_component, NULL); /* the rows go at once */
    component_shown_ends(s);
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
        return;                  /* whoever sees it not, cannot see it go (XEP-0186 §3.1) */
    ensure(s->presence != NULL); /* it is available */
    if (type == TYPE_AVAILABLE) {
        component_shown(s, contact);
        st = stanza_ref(s->presence);
    } else {
        st = stanza_make(STANZA_PRESENCE, type, session_jid(s), (slice){ 0 }, (slice){ 0 },
                         (slice){ 0 });
        if (type == TYPE_UNAVAILABLE && !presence_is_sent(s, contact))
            component_unshown(s, contact);
    }
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
    sessions_each(a, SESSIONS_AVAILABLE, show_session, &(struct show){ contact, TYPE_AVAILABLE });
    caps_contact_shown(a, contact, true);
}

static void look_session(struct session *s, void *arg)
{
    const slice *contact = arg;
    s->was_seen = stage_view(s, *contact) || presence_is_sent(s, *contact);
}

void presence_look(struct account *a, slice contact)
{
    ensure(account_here(a));
    sessions_each(a, SESSIONS_AVAILABLE, look_session, &contact);
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
    if (roster_is_seen(a, contact)) /* by a group, or by a subscription */
        return;
    sessions_each(a, SESSIONS_AVAILABLE, hide_session, &contact);
    caps_contact_shown(a, contact, false);
}

static void review_session(struct session *s, void *arg)
{
    const slice *contact = arg;
    bool sees = stage_view(s, *contact);
    if (sees != s->was_seen && !presence_is_sent(s, *contact))
        presence_tell(s, *contact, sees ? TYPE_AVAILABLE : TYPE_UNAVAILABLE);
}

void presence_review(struct account *a, slice contact)
{
    sessions_each(a, SESSIONS_AVAILABLE, review_session, &contact);
}

void presence_probe(struct account *a, slice contact)
{
    sessions_each(a, SESSIONS_AVAILABLE, show_session, &(struct show){ contact, TYPE_PROBE });
    presence_asked(a, contact);
}

void presence_asked(struct account *a, slice contact) { EMIT_ONE(personal, probed, a, contact); }

void presence_resync(struct session *s)
{
    if (s->available)
        probe_contacts(s);
}

void presence_vanish(struct session *s)
{
    struct directed *directed = s->directed;
    ensure(session_here(s));
    if (s->hidden != SESSION_SHOWN) {
        s->hidden = SESSION_HIDDEN;
        return;
    }
    struct stanza *st = unavailable_from(s);
    component_shown_leaves(s);
    s->directed = NULL;
    if (s->available) {
        presence_to_contacts(s, st);
        presence_event(s, st);
    }
    directed_end(s, directed, st, s->available);
    component_shown_ends(s);
    s->hidden = SESSION_HIDDEN;
    EMIT_ONE(last, hidden, s);
    stanza_unref(&st);
}

void presence_appear(struct session *s)
{
    if (s->hidden != SESSION_SHOWN)
        s->hidden = s->available ? SESSION_HIDDEN_UNTIL_PRESENCE : SESSION_SHOWN;
}

void presence_views_changed(struct account *a)
{
    ensure(account_here(a));
    EMIT_ONE(watch, views_changed, a);
}

bool presence_shows(const struct account *a, slice contact)
{
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        if (s->available && stage_view(s, contact))
            return true;
    }
    return false;
}

enum routed presence_undirected(struct session *s, struct stanza *st)
{
    bool was = s->available;
    ensure(session_here(s));
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
