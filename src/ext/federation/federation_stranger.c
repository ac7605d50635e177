#include "ext/federation/federation_stranger.h"
#include "account/account.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "core/stage.h"
#include "ext/federation/federation_rate.h"
#include "home/here.h"
#include "home/node.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "remote/foreign.h"
#include "remote/outgoing_answer.h"
#include "talk/inviter.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

struct setting federation_stranger_rate = {
    .name = "federation.stranger-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 500,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "strangers",
    .doc = "How many strangers of one foreign domain an hour may write to users of a node for the "
           "first time. A stranger is an address that is not in the contact list and that the user "
           "has not written to. Messages of more strangers are refused with resource-constraint. "
           "Requests (IQ) to the full address of a client are not counted: see "
           "presence.stranger-requests.",
};
static const char *const ways[] = { "deliver", "approval", NULL };
enum { WAY_DELIVER, WAY_APPROVAL };
struct setting federation_stranger_messages = {
    .name = "federation.stranger-messages",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_CHOICE,
    .def = WAY_DELIVER,
    .choices = ways,
    .doc = "What happens to messages of strangers on other servers to users of the domain. "
           "`deliver`: the user gets them. `approval`: they are subject to the rules for "
           "subscription requests (presence.approval and the user's own policy). If these grant a "
           "request of the stranger, the message is delivered. Else it is refused with "
           "subscription-required until the user accepts the stranger as a contact, or writes to "
           "them.",
};

/* Everything with content that its client shows unasked. An error has more than its condition, as
 * far as it says what it answers. */
static bool has_words(const struct stanza *st)
{
    struct elem e;
    bool presence = st->kind == STANZA_PRESENCE;
    if (st->kind == STANZA_IQ)
        return false;
    if (st->type == TYPE_ERROR)
        return st->child_count > (stanza_find(st, "error", NS_CLIENT, &e) ? 1 : 0);
    return !presence ||
           (st->child_count > 0 && (st->type == TYPE_AVAILABLE || st->type == TYPE_UNAVAILABLE));
}

/* A request that waits for the user makes no acquaintance. */
static bool is_known(const struct account *a, slice jid)
{
    slice bare = jid_bare_of(jid);
    const struct roster_item *item = roster_find(a->roster, bare);
    return roster_is_contact(a, bare) ||
           (item != NULL && (item->flags & ROSTER_PREAPPROVED) != 0) ||
           presence_is_directed(a, jid);
}

static struct federation_pair stranger_pair(const struct account *a, const struct stanza *st,
                                            slice speaker)
{
    return (struct federation_pair){ a == NULL ? stanza_to_bare(st) : a->jid,
                                     jid_bare_of(speaker) };
}

static bool is_accepted(struct federation_rates *r, const struct account *a,
                        const struct federation_pair *pair)
{
    return a != NULL && (is_known(a, pair->theirs) || stage_permit(a, pair->theirs) ||
                         federation_rate_is_met(r, pair));
}

/* Whether this is of a room at a service of the inviter's own server, which could use that name
 * anyway. What its users send has a resource (RFC 6120 §8.1.2.1). */
static bool is_vouched_for(const struct stanza *st, slice inviter)
{
    struct jid room = jid_split(stanza_from(st));
    slice by = jid_split(inviter).domain;
    size_t above = room.domain.len - by.len;
    return by.len > 0 && room.local.len > 0 && room.resource.len == 0 && room.domain.len > by.len &&
           room.domain.ptr[above - 1] == '.' && slice_eq(slice_from(room.domain, above), by);
}

/* A service has no user who could be asked for, and comes with its domain. */
static bool must_be_accepted(const struct federation_pair *pair)
{
    return jid_split(pair->theirs).local.len > 0 &&
           setting_int_of(&federation_stranger_messages, jid_split(pair->ours).domain) ==
               WAY_APPROVAL;
}

/* Who says it: the sender, or who invites by way of a room here; empty: nobody of another server.
 * What users here say of an inviter is made up. */
static slice stranger_speaker(struct worker *w, const struct stanza *st, slice inviter)
{
    slice from = stanza_from(st), domain = jid_split(from).domain;
    if (foreign_is(w, domain)) /* a service of ours may be switched off, and say so */
        return st->arrived ? from : (slice){ 0 };
    bool invited = !node_serves(worker_node(w), domain) && inviter.len > 0 &&
                   foreign_is(w, jid_split(inviter).domain);
    return invited ? inviter : (slice){ 0 };
}

enum stranger_word federation_stranger(struct federation_rates *r, struct worker *w,
                                       const struct account *a, const struct stanza *st)
{
    if (!has_words(st))
        return STRANGER_HEARD;
    slice inviter = inviter_find(w, st, stanza_to_bare(st));
    slice speaker = stranger_speaker(w, st, inviter);
    if (speaker.len == 0 || (a != NULL && is_known(a, speaker)))
        return STRANGER_HEARD;
    const struct federation_pair pair = stranger_pair(a, st, speaker),
                                 friend = stranger_pair(a, st, inviter);
    bool by_friend = is_vouched_for(st, inviter) && is_accepted(r, a, &friend);
    bool refused = must_be_accepted(&pair) && !by_friend && !is_accepted(r, a, &pair);
    if (st->type == TYPE_ERROR) /* to what the user sent before a restart, perhaps */
        return refused && !(a != NULL && outgoing_is_answer(a, st)) ? STRANGER_UNAPPROVED
                                                                    : STRANGER_HEARD;
    if (refused)
        return STRANGER_UNAPPROVED;
    return federation_rate_stranger(r, &pair, setting_int(&federation_stranger_rate),
                                    loop_now_us(worker_loop(w)))
               ? STRANGER_HEARD
               : STRANGER_TOO_MANY;
}

static void stranger_note(struct federation_rates *r, const struct account *a, slice ours,
                          slice theirs)
{
    federation_rate_met(r, &(struct federation_pair){ ours, theirs },
                        loop_now_us(worker_loop(a->worker)));
}

/* Of an invitation by way of a room (XEP-0045 §7.8.2), here or there: who is invited may decline,
 * and hears of it from the room. */
static void stranger_invited(struct federation_rates *r, const struct account *a,
                             const struct stanza *st)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    struct elem x, e;
    if (st->kind != STANZA_MESSAGE || !stanza_child(st, KNOWN_MUC_USER, &x))
        return;
    bool room_is_foreign = foreign_is(a->worker, jid_split(stanza_to(st)).domain);
    for (bool more = elem_first(&x, &e); more; more = elem_next(&e, &e)) {
        struct jid to;
        if (!elem_is(&e, "invite", NS_MUC_USER) ||
            jid_parse(&to, elem_attr(&e, "to", tmp), tmp) != OK)
            continue;
        if (foreign_is(a->worker, to.domain))
            stranger_note(r, a, a->jid, jid_bare(&to));
        else if (room_is_foreign)
            stranger_note(r, a, jid_bare(&to), stanza_to_bare(st));
    }
}

/* Requests are none of these: clients make many unasked, to answer a stranger's as well. What a
 * user leaves, such as a room, still says goodbye. */
static bool is_for_answers(const struct stanza *st)
{
    bool shown = st->type == TYPE_AVAILABLE || st->type == TYPE_UNAVAILABLE;
    return (st->kind == STANZA_MESSAGE && st->type != TYPE_ERROR) ||
           (st->kind == STANZA_PRESENCE && shown);
}

void federation_stranger_met(struct federation_rates *r, const struct account *a,
                             const struct stanza *st)
{
    slice to = stanza_to_bare(st);
    if (!is_for_answers(st))
        return;
    stranger_invited(r, a, st);
    if (foreign_is(a->worker, jid_split(to).domain))
        stranger_note(r, a, a->jid, to);
}
