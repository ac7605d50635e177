#include "ext/privacy/privacy_stages.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "ext/privacy/privacy.h"
#include "ext/privacy/privacy_policy.h"
#include "ext/privacy/privacy_state.h"
#include "home/host.h"
#include "home/node.h"
#include "home/router.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "remote/remote_domains.h"
#include "session/session.h"
#include "session/session_queue.h"
#include "talk/inviter.h"
#include <stdio.h>

const struct rules *privacy_in_force(const struct privacy *p, const struct session *s)
{
    const struct privacy_session *ps = s == NULL ? NULL : privacy_session(s);
    if (ps != NULL && ps->active != NULL)
        return ps->active;
    return p == NULL ? NULL : p->standard;
}

struct rule_peer privacy_peer(const struct account *a, const struct rules *r, slice jid)
{
    struct rule_peer peer = { .jid = jid, .subscription = SLICE("none") };
    if (!rules_know_roster(r))
        return peer;
    struct jid parts = jid_split(jid);
    slice bare = jid_bare(&parts);
    peer.groups = roster_groups(a, bare, loop_scratch(worker_loop(a->worker)));
    peer.subscription = slice_of(sub_state_subscription(roster_state(a, bare)));
    return peer;
}

/* Stanzas between the account and the services that it uses are not blocked: stanzas without an
 * address, and requests to services of our domains and their answers. Messages of other users
 * through such services are blocked like those users. */
static bool is_own_server(const struct account *a, const struct stanza *st, slice jid)
{
    const struct node *n = account_node(a);
    if (jid.len == 0)
        return true;
    struct jid parts = jid_split(jid);
    return parts.local.len == 0 &&
           (node_serves(n, parts.domain) ||
            (st->kind == STANZA_IQ && host_find(n, parts.domain, &(slice){ 0 }) != NULL));
}

/* Answers to IQs nobody gets who did not ask: only a rule that is about everything stops them. */
static enum rule_kind kind_in(const struct stanza *st)
{
    if (st->kind == STANZA_MESSAGE)
        return RULE_MESSAGE;
    if (st->kind == STANZA_IQ)
        return stanza_is_request(st) ? RULE_IQ : RULE_REST;
    return st->type == TYPE_AVAILABLE || st->type == TYPE_UNAVAILABLE ? RULE_PRESENCE_IN
                                                                      : RULE_REST;
}

static enum rule_kind kind_out(const struct stanza *st)
{
    bool notification =
        st->kind == STANZA_PRESENCE && (st->type == TYPE_AVAILABLE || st->type == TYPE_UNAVAILABLE);
    return notification ? RULE_PRESENCE_OUT : RULE_REST;
}

static bool denies(const struct account *a, const struct rules *r, slice jid, enum rule_kind kind)
{
    if (rules_count(r) == 0)
        return false;
    struct rule_peer peer = privacy_peer(a, r, jid);
    return rules_deny(r, &peer, kind);
}

/* XEP-0016 §2.2: the list of the session that it is for; for the account, the default list unless
 * every session has one of its own. What only some sessions refuse is stage DELIVER's. */
static bool lists_deny(const struct account *a, const struct privacy *p, const struct stanza *st,
                       slice from)
{
    enum rule_kind kind = kind_in(st);
    if (p->actives == 0)
        return denies(a, p->standard, from, kind);
    if (!stanza_to_is_bare(st)) {
        const struct session *s =
            account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u));
        if (s != NULL)
            return denies(a, privacy_in_force(p, s), from, kind);
    }
    SESSIONS_EACH (s, a) {
        if (!denies(a, privacy_in_force(p, s), from, kind))
            return false;
    }
    return true; /* one session at least: it has an active list */
}

/* What an occupant of a room on another server says to a user in that room. An error would be that
 * of a user who is gone, who loses the seat; and the room would learn who blocks whom. */
static bool comes_of_a_room(const struct account *a, const struct stanza *st)
{
    struct jid by = jid_split(stanza_from(st));
    if (st->kind != STANZA_MESSAGE || st->type != TYPE_GROUPCHAT || by.resource.len == 0 ||
        node_serves(account_node(a), by.domain) || stanza_to_is_bare(st))
        return false;
    const struct session *s = account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u));
    return s != NULL && presence_is_sent(s, stanza_from(st));
}

/* XEP-0191 §3.3: presence is never answered, messages and requests as if nobody were there. That
 * the error of a request SHOULD be service-unavailable is left aside where an address without an
 * account says something else. */
static enum verdict privacy_stages_refused(const struct account *a, const struct stanza *st,
                                           struct refusal *why)
{
    why->error = SE_SERVICE_UNAVAILABLE;
    why->as_nobody = true; /* else the answer would tell that there is an account, and that it has
                            * blocked the sender */
    if (st->kind == STANZA_PRESENCE || st->type == TYPE_ERROR || st->type == TYPE_RESULT)
        return DROP;
    return comes_of_a_room(a, st) ? DROP : REFUSE;
}

static enum verdict judged(struct account *a, const struct stanza *st, slice from,
                           struct refusal *why)
{
    const struct privacy *p = privacy_of(a);
    if (is_own_server(a, st, from))
        return PASS;
    if (p != NULL && lists_deny(a, p, st, from))
        return privacy_stages_refused(a, st, why);
    return policy_block(a, st, from, why);
}

enum verdict privacy_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    const struct privacy *p = privacy_of(a);
    if (p == NULL && policy_shares(NULL))
        return PASS;
    enum verdict v = judged(a, st, stanza_from(st), why);
    slice inviter = inviter_find(a->worker, st, a->jid);
    return v == PASS && inviter.len > 0 ? judged(a, st, inviter, why) : v;
}

/* All that tells what the user does, and with which client; not how it enters a room, nor the hash
 * of the image (XEP-0153), which is no availability. */
static bool is_detail(enum known_child known, const struct elem *e, void *unused)
{
    (void)unused;
    return known != KNOWN_MUC && !elem_is(e, "x", "vcard-temp:x:update");
}

enum verdict privacy_check(struct session *s, struct stanza **st, struct refusal *why)
{
    const struct account *a = s->account;
    const struct privacy *p = privacy_of(a);
    if (p == NULL && policy_shares(NULL))
        return PASS;
    slice to = stanza_to(*st), bare = stanza_to_bare(*st);
    if (slice_eq(bare, a->jid) || is_own_server(a, *st, to))
        return PASS;
    bool answers =
        (*st)->kind == STANZA_IQ && ((*st)->type == TYPE_RESULT || (*st)->type == TYPE_ERROR);
    if (denies(a, privacy_in_force(p, s), to, kind_out(*st))) {
        why->error = SE_NOT_ACCEPTABLE; /* XEP-0191 §3.3: of type cancel */
        why->type = "cancel";
        why->app_xml = SLICE("<blocked xmlns='" NS_BLOCKING_ERRORS "'/>");
        return answers ? DROP : REFUSE;
    }
    /* Availability is not shared, but rooms and services can be joined. */
    struct jid jid = jid_split(to);
    if (!policy_shares(p) && (*st)->kind == STANZA_PRESENCE && (*st)->type == TYPE_AVAILABLE &&
        jid.local.len > 0 && node_serves(account_node(a), jid.domain)) {
        why->error = SE_NOT_ALLOWED;
        why->text = SLICE("availability is not shared");
        return REFUSE;
    }
    if (!policy_shares(p) && (*st)->kind == STANZA_PRESENCE && (*st)->type == TYPE_AVAILABLE &&
        jid.domain.len > 0)
        *st = stanza_without(*st, (*st)->known & ~KNOWN(MUC), is_detail, NULL);
    return PASS;
}

bool privacy_sends(const struct account *a, const struct stanza *st)
{
    const struct privacy *p = privacy_of(a);
    return p == NULL || slice_eq(stanza_to_bare(st), a->jid) ||
           is_own_server(a, st, stanza_to(st)) ||
           !denies(a, privacy_in_force(p, NULL), stanza_to(st), kind_out(st));
}

bool privacy_takes(const struct session *s, const struct stanza *st)
{
    const struct account *a = s->account;
    const struct privacy *p = privacy_of(a);
    slice from = stanza_from(st);
    if (p == NULL || p->actives == 0 || slice_eq(stanza_from_bare(st), a->jid) ||
        is_own_server(a, st, from))
        return true; /* stage BLOCK has said all there is */
    if (denies(a, privacy_in_force(p, s), from, kind_in(st)))
        return false;
    slice inviter = inviter_find(a->worker, st, a->jid);
    return inviter.len == 0 || !denies(a, privacy_in_force(p, s), inviter, kind_in(st));
}

bool privacy_list_shows(const struct session *s, slice contact)
{
    const struct privacy *p = privacy_of(s->account);
    return !denies(s->account, privacy_in_force(p, s), contact, RULE_PRESENCE_OUT);
}

bool privacy_view(const struct session *s, slice contact)
{
    const struct privacy *p = privacy_of(s->account);
    if (p == NULL && policy_shares(NULL))
        return true;
    return privacy_list_shows(s, contact) && policy_view(s->account, p, contact);
}

/* The account as a whole: by its default list. */
bool privacy_show(const struct account *a, slice contact)
{
    const struct privacy *p = privacy_of(a);
    if (p == NULL && policy_shares(NULL))
        return true;
    return !denies(a, privacy_in_force(p, NULL), contact, RULE_PRESENCE_OUT) &&
           policy_view(a, p, contact);
}

static bool hears(const struct session *s, slice contact)
{
    const struct privacy *p = privacy_of(s->account);
    if (p == NULL && policy_shares(NULL))
        return true;
    return policy_shares(p) &&
           !denies(s->account, privacy_in_force(p, s), contact, RULE_PRESENCE_IN);
}

/* Who is told of a change: two bits for each session and contact, in the order of the account's
 * sessions and roster, which do not change in between. */

/* For each session and each contact that is subscribed: whether it may see the session; then, for
 * each that the account is subscribed to, whether the session hears it. */
struct privacy_sight {
    uint32_t contacts; /* of both kinds */
    bool shared;
    uint8_t bits[];
};

static uint32_t sight_contacts(const struct account *a)
{
    slice contact;
    uint32_t n = 0;
    for (struct roster_at at = { 0 }; roster_next(a, ROSTER_IS_SEEN, &at, &contact);)
        n++;
    for (struct roster_at at = { 0 }; roster_next(a, ROSTER_SEES, &at, &contact);)
        n++;
    return n;
}

struct privacy_sight *privacy_look(struct account *a)
{
    uint32_t sessions = account_available(a), n = 0, contacts = sight_contacts(a);
    slice contact;
    if (session_next(a, NULL) == NULL)
        return NULL;
    struct privacy_sight *sight = mem_alloc(sizeof *sight + (size_t)sessions * contacts);
    sight->contacts = contacts;
    sight->shared = policy_shares(privacy_of(a));
    SESSIONS_EACH (s, a) {
        if (!session_is_available(s))
            continue;
        for (struct roster_at at = { 0 }; roster_next(a, ROSTER_IS_SEEN, &at, &contact);)
            sight->bits[n++] = stage_view(s, contact);
        for (struct roster_at at = { 0 }; roster_next(a, ROSTER_SEES, &at, &contact);)
            sight->bits[n++] = hears(s, contact);
    }
    ensure(n == sessions * contacts);
    return sight;
}

/* XEP-0191 §3.3, §3.4 and XEP-0016 §2.11: a contact that may see it no more is told that it went;
 * one that may again gets its presence. */
static void tell_contact(struct session *s, slice contact, bool saw)
{
    bool sees = stage_view(s, contact);
    if (saw != sees)
        presence_tell(s, contact, sees ? TYPE_AVAILABLE : TYPE_UNAVAILABLE);
}

/* XEP-0016 §2.10: the contact went, as far as this session is concerned; or it is asked again. */
static void tell_session_now(struct session *s, slice contact, bool hears)
{
    if (hears) {
        presence_tell(s, contact, TYPE_PROBE);
        return;
    }
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, contact, session_bare(s),
                                    (slice){ 0 }, (slice){ 0 });
    session_deliver(s, st, 0, 0);
    stanza_unref(&st);
}

static void tell_session(struct session *s, slice contact, bool heard)
{
    bool now = hears(s, contact);
    if (heard != now)
        tell_session_now(s, contact, now);
}

bool privacy_hears_remote(const struct session *s, struct roster_at *at, slice *contact)
{
    const struct account *a = s->account;
    const struct privacy *p = privacy_of(a);
    while ((p == NULL || p->share != SHARE_OFF) && roster_next(a, ROSTER_SEES, at, contact))
        if (remote_domain_is_other(a->worker, jid_split(*contact).domain) &&
            !denies(a, privacy_in_force(p, s), *contact, RULE_PRESENCE_IN))
            return true;
    return false;
}

void privacy_sharing_told(struct session *s)
{
    slice contact;
    bool hears = policy_shares(privacy_of(s->account));
    ensure(session_here(s));
    for (struct roster_at at = { 0 }; privacy_hears_remote(s, &at, &contact);)
        tell_session_now(s, contact, hears);
}

static bool hidden_now(const struct session *s, slice jid) { return !privacy_list_shows(s, jid); }

void privacy_told(struct account *a, struct privacy_sight *before)
{
    uint32_t n = 0;
    slice contact;
    bool shares = policy_shares(privacy_of(a));
    SESSIONS_EACH (s, a) {
        presence_directed_drop(s, hidden_now);
        if (before != NULL && before->shared != shares)
            presence_in_rooms(s, shares);
        session_queue_review(s);
        if (before == NULL || !session_is_available(s))
            continue;
        for (struct roster_at at = { 0 }; roster_next(a, ROSTER_IS_SEEN, &at, &contact);)
            tell_contact(s, contact, before->bits[n++] != 0);
        for (struct roster_at at = { 0 }; roster_next(a, ROSTER_SEES, &at, &contact);)
            tell_session(s, contact, before->bits[n++] != 0);
    }
    mem_free(&before);
    presence_views_changed(a);
}

void privacy_push(struct session *s, const struct buf *payload)
{
    static _Atomic unsigned pushes;
    char id[32];
    slice content = buf_fit(payload);
    ensure(session_here(s));
    if (payload->overflow)
        return;
    int len = snprintf(id, sizeof id, "privacy-%u", ++pushes);
    struct stanza *st = stanza_make(STANZA_IQ, TYPE_SET, (slice){ 0 }, session_jid(s),
                                    (slice){ id, (size_t)len }, content);
    session_deliver(s, st, 0, 0);
    stanza_unref(&st);
}
