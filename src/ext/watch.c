/* watch: temporary presence: one session watches a user's availability for a while, without a
 * subscription, by urn:muster:watch:0 (docs/policy.md). The home of the watched account holds who
 * watches it, in memory only and pinned while there are some; the home of the watcher counts what
 * its sessions watch, and ends it with them. Subscribers may watch, and users who would
 * be granted a subscription unasked. For others the user is asked as for a subscription (RFC 6121
 * §3.1.3), and the answer holds for that while. What a watcher sees is what stage VIEW says.
 *
 * Limits (settings): presence.temporary-max an account that watches, presence.temporary-time,
 * roster.watchers-max together with subscribers. A restart forgets who watches. */
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/router.h"
#include "io/timer.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "session/session_queue.h"
#include "session/sessions.h"

#define NS_WATCH "urn:muster:watch:0"
#define ENDED_ID NS_WATCH "/session-ended" /* of the request at the end of a session */

/* clang-format off */
static void temporary_changed(struct worker *w, const struct setting *s);

static struct setting temporary = {
    .name = "presence.temporary", .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL, .def = 1, .changed = temporary_changed,
    .doc = "Lets users watch the availability of others for a while without subscribing to it. The "
           "others are asked, unless they would grant a subscription without being asked. Off: "
           "all watches end.",
};
static struct setting temporary_max = {
    .name = "presence.temporary-max", .scope = SCOPE_CLUSTER,
    .type = PARAM_INT, .def = 100, .min = 1, .max = 1000,
    .unit = "users",
    .doc = "How many temporary subscriptions all sessions of a user can have together. More are "
           "refused with policy-violation.",
};
static struct setting temporary_time = {
    .name = "presence.temporary-time", .scope = SCOPE_CLUSTER,
    .type = PARAM_MS, .def = 3600000, .min = 30000,
    .max = 86400000,
    .doc = "How long a temporary watch lasts at most; clients that go on watching renew it.",
};
/* clang-format on */

static unsigned account_slot, session_slot;

/* The watched account. */

/* The user's answer about a watcher, if the rules say to ask. A refusal is remembered for as long
 * as the watch would have lasted, so that the user is asked only once. */
enum consent { CONSENT_RULES, CONSENT_ASKED, CONSENT_GIVEN, CONSENT_REFUSED };

struct watcher {
    struct watcher *next;
    uint64_t until_us; /* monotonic */
    bool shown;        /* it was sent available presence */
    uint8_t consent;   /* enum consent */
    uint16_t len;
    char jid[]; /* full */
};
struct watched {
    struct account *account; /* pinned while there are watchers */
    struct watcher *first;
    uint32_t count;
    struct timer timer; /* when the first of them ends */
};

static slice watcher_jid(const struct watcher *w) { return (slice){ w->jid, w->len }; }

static slice watcher_bare(const struct watcher *w)
{
    struct jid jid = jid_split(watcher_jid(w));
    return jid_bare(&jid);
}

static struct watched *watched_of(const struct account *a) { return a->state_of[account_slot]; }

/* Whether the watcher is, or would be without asking, a subscriber. It is tested now, too, not only
 * at the request. */
static bool watch_may_see(const struct account *a, slice bare)
{
    return roster_is_seen(a, bare) || stage_permit(a, bare);
}

/* Subscribers get it in any case. One that also watches gets it twice. */
static void watch_show(struct watcher *w, struct session *s, const struct stanza *st)
{
    slice bare = watcher_bare(w);
    ensure(session_here(s));
    if (!stage_view(s, bare) || (w->consent != CONSENT_GIVEN && !watch_may_see(s->account, bare)))
        return;
    w->shown = st->type == TYPE_AVAILABLE;
    route_send(s->account->worker, stanza_readdress(st, (slice){ 0 }, watcher_jid(w)));
}

static void show_all(struct account *a, struct watcher *w)
{
    SESSIONS_EACH (s, a) {
        if (session_is_available(s))
            watch_show(w, s, s->presence);
    }
}

/* From the bare JID: of the account as a whole. */
static void show_nothing(struct account *a, struct watcher *w)
{
    ensure(account_here(a));
    w->shown = false;
    route_send(a->worker, stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, a->jid, watcher_jid(w),
                                      (slice){ 0 }, (slice){ 0 }));
}

static void watch_take_out(struct watched *d, struct watcher **at)
{
    struct watcher *w = *at;
    *at = w->next;
    ensure(d->count > 0);
    d->count--;
    mem_free(&w);
}

static struct watcher **watch_find(struct watched *d, slice jid)
{
    struct watcher **at = &d->first;
    while (*at != NULL && !slice_eq(watcher_jid(*at), jid))
        at = &(*at)->next;
    return at;
}

static void settle(struct watched *d)
{
    struct account *a = d->account;
    uint64_t now = loop_now_us(worker_loop(a->worker)), first = UINT64_MAX;
    if (d->count == 0) {
        timer_cancel(&d->timer);
        mem_free(&a->state_of[account_slot]);
        account_unpin(a);
        return;
    }
    for (const struct watcher *w = d->first; w != NULL; w = w->next)
        first = w->until_us < first ? w->until_us : first;
    timer_set(worker_loop(a->worker), &d->timer, first > now ? (first - now) / 1000 + 1 : 1);
}

static void watch_timed_out(struct timer *t, struct loop *loop)
{
    struct watched *d = CONTAINER_OF(t, struct watched, timer);
    uint64_t now = loop_now_us(loop);
    for (struct watcher **at = &d->first; *at != NULL;) {
        if ((*at)->until_us > now) {
            at = &(*at)->next;
            continue;
        }
        if ((*at)->shown)
            show_nothing(d->account, *at);
        watch_take_out(d, at);
    }
    settle(d);
}

static struct watched *watched_new(struct account *a)
{
    struct watched *d = watched_of(a);
    ensure(account_here(a));
    if (d != NULL)
        return d;
    d = mem_new(struct watched);
    d->account = a;
    d->timer.fn = watch_timed_out;
    a->state_of[account_slot] = d;
    account_pin(a);
    return d;
}

static struct watcher *watcher_new(struct watched *d, slice jid)
{
    struct watcher **at = watch_find(d, jid);
    if (*at != NULL)
        return *at;
    struct watcher *w = mem_zalloc(sizeof *w + jid.len);
    w->len = (uint16_t)jid.len;
    memcpy(w->jid, jid.ptr, jid.len);
    *at = w;
    d->count++;
    return w;
}

static bool watch_is_full(const struct account *a, slice jid)
{
    struct watched *d = watched_of(a);
    int64_t subscribers = a->roster == NULL ? 0 : (int64_t)a->roster->seen + a->roster->pending;
    if (d != NULL && *watch_find(d, jid) != NULL)
        return false;
    return subscribers + (d == NULL ? 0 : d->count) >= setting_int(&roster_watchers_max);
}

static void watch_answer(struct iq *iq, int64_t seconds, enum consent consent)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "watch", NS_WATCH);
    xml_attr_int(&x, "seconds", seconds);
    if (consent == CONSENT_ASKED)
        xml_attr(&x, "pending", SLICE("true"));
    iq_result_xml(iq, &x);
}

/* The question, as all clients know it (RFC 6121 §3.1.3). */
static struct stanza *question(const struct account *a, slice watcher)
{
    return stanza_make(STANZA_PRESENCE, TYPE_SUBSCRIBE, watcher, a->jid, (slice){ 0 },
                       SLICE("<watch xmlns='" NS_WATCH "'/>"));
}

static void put_question(struct session *s, void *st) { session_deliver(s, st, 0, 0); }

static void ask_user(struct account *a, slice watcher)
{
    struct stanza *st = question(a, watcher);
    sessions_each(a, SESSIONS_AVAILABLE, put_question, st);
    stanza_unref(&st);
}

/* The consent that the account has given to a user who watches it, with whichever session. */
static enum consent consent_of(const struct watched *d, slice bare)
{
    for (const struct watcher *w = d == NULL ? NULL : d->first; w != NULL; w = w->next)
        if (w->consent != CONSENT_RULES && slice_eq(watcher_bare(w), bare))
            return (enum consent)w->consent;
    return CONSENT_RULES;
}

/* Questions without an answer, at every initial presence (as RFC 6121 §3.1.3 has it of requests);
 * a user with several sessions asks once. */
static void ask_again(struct session *s)
{
    struct watched *d = watched_of(s->account);
    for (struct watcher *w = d == NULL ? NULL : d->first; w != NULL; w = w->next) {
        slice bare = watcher_bare(w);
        const struct watcher *first = d->first;
        while (!slice_eq(watcher_bare(first), bare))
            first = first->next;
        if (w->consent != CONSENT_ASKED || first != w)
            continue;
        struct stanza *st = question(s->account, bare);
        put_question(s, st);
        stanza_unref(&st);
    }
}

/* The user says yes or no. true: it answers this question alone, no request to subscribe. */
static bool watch_answered(struct account *a, slice bare, enum consent said)
{
    struct watched *d = watched_of(a);
    const struct roster_item *item = roster_find(a->roster, bare);
    bool any = false;
    if (said == CONSENT_GIVEN && consent_of(d, bare) == CONSENT_RULES)
        return false;
    for (struct watcher *w = d == NULL ? NULL : d->first; w != NULL; w = w->next) {
        if (!slice_eq(watcher_bare(w), bare))
            continue;
        any = true;
        w->consent = (uint8_t)said;
        if (said == CONSENT_GIVEN)
            show_all(a, w);
        else if (w->shown)
            show_nothing(a, w);
    }
    return any &&
           (item == NULL || (!sub_is_seen(item->state) && !sub_state_pending_in(item->state)));
}

/* As if the user were asked, and nobody is: strangers do not learn who has an account (RFC 6121
 * §11). */
static void watch_nobody(struct iq *iq, int64_t seconds)
{
    watch_answer(iq, seconds, CONSENT_ASKED);
    route_send(iq->worker, stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, stanza_to(iq->st),
                                       stanza_from(iq->st), (slice){ 0 }, (slice){ 0 }));
}

static void watch_begin(struct iq *iq, int64_t seconds)
{
    struct account *a = iq->account;
    slice from = stanza_from(iq->st), bare = stanza_from_bare(iq->st);
    enum consent consent = consent_of(watched_of(a), bare);
    bool sees = consent == CONSENT_GIVEN || watch_may_see(a, bare);
    bool ask = consent == CONSENT_RULES && !sees;
    if (watch_is_full(a, from)) {
        if (sees)
            iq_error(iq, SE_POLICY_VIOLATION, SLICE("the user has as many watchers as allowed"));
        else
            watch_nobody(iq, seconds);
        return;
    }
    struct watched *d = watched_new(a);
    struct watcher *w = watcher_new(d, from);
    w->consent = (uint8_t)(ask ? CONSENT_ASKED : consent);
    w->until_us = loop_now_us(worker_loop(a->worker)) + (uint64_t)seconds * 1000000;
    watch_answer(iq, seconds, (enum consent)w->consent);
    if (ask)
        ask_user(a, bare);
    show_all(a, w);
    if (!w->shown)
        show_nothing(a, w);
    settle(d);
}

static void watch_end(struct iq *iq)
{
    struct watched *d = iq->account == NULL ? NULL : watched_of(iq->account);
    struct watcher **at = d == NULL ? NULL : watch_find(d, stanza_from(iq->st));
    if (at != NULL && *at != NULL && (*at)->consent != CONSENT_REFUSED) {
        watch_take_out(d, at);
        settle(d);
    }
    watch_answer(iq, 0, CONSENT_RULES);
}

static bool watch_is_refused(const struct iq *iq)
{
    return iq->account != NULL &&
           consent_of(watched_of(iq->account), stanza_from_bare(iq->st)) == CONSENT_REFUSED;
}

/* At least by asking; not about those from whom the rules hide the user. */
static bool may_watch(const struct iq *iq)
{
    struct account *a = iq->account;
    slice bare = stanza_from_bare(iq->st);
    return a != NULL && (watch_may_see(a, bare) || stage_show(a, bare));
}

static void watch_set(struct iq *iq)
{
    slice text = elem_attr(&iq->payload, "seconds", iq->tmp);
    int64_t most = setting_int(&temporary_time) / 1000, seconds = most;
    if (!setting_bool(&temporary))
        iq_error(iq, SE_SERVICE_UNAVAILABLE, SLICE("nobody is watched for a while here"));
    else if ((text.ptr != NULL && !slice_int(text, &seconds)) || seconds < 0)
        iq_error(iq, SE_BAD_REQUEST, SLICE("seconds is a number; 0 ends it"));
    else if (iq->st->from_len == iq->st->from_bare_len)
        iq_error(iq, SE_BAD_REQUEST, SLICE("a session watches, not an account"));
    else if (seconds == 0)
        watch_end(iq);
    else if (watch_is_refused(iq))
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
    else if (may_watch(iq))
        watch_begin(iq, seconds < most ? seconds : most);
    else
        watch_nobody(iq, seconds < most ? seconds : most);
}

static void watched_presence(struct session *s, struct stanza *st)
{
    struct watched *d = watched_of(s->account);
    for (struct watcher *w = d == NULL ? NULL : d->first; w != NULL; w = w->next)
        watch_show(w, s, st);
}

/* Rules have changed: watchers that may no longer see the user get unavailable presence. */
static void watched_views(struct account *a)
{
    struct watched *d = watched_of(a);
    for (struct watcher *w = d == NULL ? NULL : d->first; w != NULL; w = w->next) {
        bool shown = w->shown;
        w->shown = false;
        show_all(a, w);
        if (shown && !w->shown)
            show_nothing(a, w);
    }
}

static void watched_by(const struct account *a, watched_by_fn *fn, void *arg)
{
    const struct watched *d = watched_of(a);
    for (const struct watcher *w = d == NULL ? NULL : d->first; w != NULL; w = w->next) {
        slice bare = watcher_bare(w);
        if (w->consent == CONSENT_GIVEN || watch_may_see(a, bare))
            fn(bare, arg);
    }
}

/* The account is deleted or disabled; or the process ends, and nobody holds it. */
static void watched_unload(struct account *a)
{
    struct watched *d = watched_of(a);
    bool held = a->actor.pins > 0;
    if (d == NULL)
        return;
    timer_cancel(&d->timer);
    while (d->first != NULL) {
        if (held && d->first->consent != CONSENT_ASKED && d->first->consent != CONSENT_REFUSED)
            show_nothing(a, d->first);
        watch_take_out(d, &d->first);
    }
    mem_free(&a->state_of[account_slot]);
    if (held)
        account_unpin(a);
}

/* The watching session. */

struct target {
    struct target *next;
    uint64_t until_us;
    uint64_t asked; /* hash of the request's id */
    uint16_t len;
    char jid[]; /* bare */
};

static slice target_jid(const struct target *t) { return (slice){ t->jid, t->len }; }

static struct target **targets_of(struct session *s)
{
    return (struct target **)(void *)&s->state_of[session_slot];
}

static void targets_drop(struct session *s, uint64_t until_us, slice jid)
{
    for (struct target **at = targets_of(s); *at != NULL;) {
        struct target *t = *at;
        if (t->until_us > until_us && !slice_eq(target_jid(t), jid)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        mem_free(&t);
    }
}

static unsigned targets_count(struct account *a)
{
    unsigned n = 0;
    ensure(account_here(a));
    SESSIONS_EACH (s, a) {
        targets_drop(s, loop_now_us(worker_loop(a->worker)), (slice){ 0 });
        for (const struct target *t = *targets_of(s); t != NULL; t = t->next)
            n++;
    }
    return n;
}

static uint64_t hash_of_id(const struct stanza *st)
{
    static const struct hash_key key = { 0x77617463682d6964ull, 0x72656675736564ull };
    return hash_with(&key, stanza_id(st));
}

/* The watch is counted as long as it can last, unless it is refused. */
static enum verdict watch_check(struct session *s, struct stanza **st, struct refusal *why)
{
    struct elem payload;
    struct worker *w = s->account->worker;
    slice to = stanza_to_bare(*st);
    int64_t seconds = 1;
    bool yes = (*st)->type == TYPE_SUBSCRIBED;
    if ((*st)->kind == STANZA_PRESENCE && (yes || (*st)->type == TYPE_UNSUBSCRIBED))
        return watch_answered(s->account, to, yes ? CONSENT_GIVEN : CONSENT_REFUSED) ? DROP : PASS;
    if ((*st)->kind != STANZA_IQ || (*st)->type != TYPE_SET || !stanza_payload(*st, &payload) ||
        !elem_is(&payload, "watch", NS_WATCH))
        return PASS;
    (void)slice_int(elem_attr(&payload, "seconds", loop_scratch(worker_loop(w))), &seconds);
    targets_drop(s, 0, to);
    if (seconds == 0 || !setting_bool(&temporary))
        return PASS;
    if (targets_count(s->account) >= setting_int(&temporary_max)) {
        why->error = SE_POLICY_VIOLATION;
        why->text = SLICE("presence.temporary-max is reached");
        return REFUSE;
    }
    struct target *t = mem_alloc(sizeof *t + to.len);
    t->until_us = loop_now_us(worker_loop(w)) + (uint64_t)setting_int(&temporary_time) * 1000;
    t->asked = hash_of_id(*st);
    t->len = (uint16_t)to.len;
    memcpy(t->jid, to.ptr, to.len);
    t->next = *targets_of(s);
    *targets_of(s) = t;
    return PASS;
}

static enum verdict watch_refused(struct account *a, const struct stanza *st, struct refusal *why)
{
    (void)why;
    if (st->kind != STANZA_IQ || stanza_to_is_bare(st))
        return PASS;
    if ((st->type == TYPE_RESULT || st->type == TYPE_ERROR) && slice_is(stanza_id(st), ENDED_ID))
        return DROP; /* the address may be that of another session by now */
    if (st->type != TYPE_ERROR)
        return PASS;
    struct session *s = account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u));
    for (const struct target *t = s == NULL ? NULL : *targets_of(s); t != NULL; t = t->next)
        if (slice_eq(target_jid(t), stanza_from_bare(st)) && t->asked == hash_of_id(st)) {
            targets_drop(s, 0, stanza_from_bare(st));
            break;
        }
    return PASS;
}

/* The session ended: nobody is left to get the answers. */
static void watch_ended(struct session *s)
{
    for (const struct target *t = *targets_of(s); t != NULL; t = t->next)
        route_send(s->account->worker,
                   stanza_make(STANZA_IQ, TYPE_SET, session_jid(s), target_jid(t), SLICE(ENDED_ID),
                               SLICE("<watch xmlns='" NS_WATCH "' seconds='0'/>")));
}

/* Switched off: all is over at once, on both sides. */
static void temporary_changed(struct worker *w, const struct setting *setting)
{
    struct account *a;
    struct session *s;
    if (setting_bool(setting))
        return;
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;) {
        struct watched *d = watched_of(a);
        if (d == NULL)
            continue;
        for (struct watcher *one = d->first; one != NULL; one = one->next)
            one->until_us = 0;
        settle(d);
    }
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        targets_drop(s, UINT64_MAX, (slice){ 0 });
}

static void watch_freed(struct session *s) { targets_drop(s, UINT64_MAX, (slice){ 0 }); }

static const struct iq_rule watch_rules[] = {
    { TYPE_SET, NS_WATCH, "watch", IQ_TO_ACCOUNT, watch_set },
    { 0 },
};
static const char *const watch_disco[] = { NS_WATCH, NULL };

const struct feature watch_feature = {
    .name = "watch",
    .disco = watch_disco,
    .iq = watch_rules,
    .settings = (struct setting *const[]){ &temporary, &temporary_max, &temporary_time, NULL },
    .account.slot = &account_slot,
    .session.slot = &session_slot,
    .account.unload = watched_unload,
    .session.available = ask_again,
    .session.presence = watched_presence,
    .session.ended = watch_ended,
    .session.freed = watch_freed,
    .stage.check = watch_check,
    .stage.block = watch_refused,
    .one.watch =
        &(const struct presence_watch){ .views_changed = watched_views, .watched_by = watched_by },
};
