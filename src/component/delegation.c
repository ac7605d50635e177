#include "component/delegation.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_write.h"
#include "component/component_rights.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "home/remote.h"
#include "presence/roster.h"
#include "talk/forwarded.h"
#include "xmpp/ns.h"

enum { DELEGATION_MS = 30000 };

/* Both hold two numbers, not an address: how many wait, of the account itself and of others. */
static unsigned worker_slot, account_slot;

static const uintptr_t one_more[] = { [DELEGATION_OWN] = 1, [DELEGATION_OF_OTHERS] = 1u << 16 };
static const uint16_t worker_max[] = {
    [DELEGATION_OWN] = DELEGATIONS_MAX, [DELEGATION_OF_OTHERS] = DELEGATIONS_OF_OTHERS_MAX
};

static unsigned waiting(const void *slot, enum delegation_kind kind)
{
    return (uint16_t)((uintptr_t)slot / one_more[kind]);
}

bool delegation_begins(struct account *a, enum delegation_kind kind)
{
    void **all = worker_state(a->worker, worker_slot), **own = &a->state_of[account_slot];
    ensure(account_here(a));
    if (waiting(*own, kind) >= DELEGATIONS_OF_ACCOUNT || waiting(*all, kind) >= worker_max[kind])
        return false;
    *own = (void *)((uintptr_t)*own + one_more[kind]);
    *all = (void *)((uintptr_t)*all + one_more[kind]);
    return true;
}

void delegation_ends(struct account *a, enum delegation_kind kind)
{
    void **all = worker_state(a->worker, worker_slot), **own = &a->state_of[account_slot];
    ensure(account_here(a) && account_is_pinned(a));
    ensure(waiting(*own, kind) > 0 && waiting(*all, kind) > 0);
    *own = (void *)((uintptr_t)*own - one_more[kind]);
    *all = (void *)((uintptr_t)*all - one_more[kind]);
}

enum delegation_kind delegation_kind(const struct iq *iq)
{
    return iq->target == IQ_TO_ACCOUNT ? DELEGATION_OF_OTHERS : DELEGATION_OWN;
}

static struct account *delegation_account(const struct iq *iq)
{
    return iq->target == IQ_TO_ACCOUNT ? iq->account : iq->sender;
}

/* A user may see what goes wrong; to others the account looks like one that is not there. */
static void delegation_error(struct iq *iq, enum stanza_error e, slice text)
{
    if (iq->target == IQ_TO_ACCOUNT)
        iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    else
        iq_error(iq, e, text);
}

/* An error of the component would tell strangers that the account exists (RFC 6121 §8.5.3.1). */
static bool tells_of_account(const struct iq *iq, const struct stanza *answer)
{
    return iq->target == IQ_TO_ACCOUNT && answer->type == TYPE_ERROR &&
           !roster_is_seen(iq->account, stanza_from_bare(iq->st));
}

/* Whether the stanza in the answer is one to this request (XEP-0355 §4.3). */
static bool answers(const struct stanza *inner, const struct stanza *st)
{
    return !inner->bad_from && inner->kind == STANZA_IQ &&
           (inner->type == TYPE_RESULT || inner->type == TYPE_ERROR) &&
           slice_eq(stanza_id(inner), stanza_id(st)) &&
           slice_eq(stanza_to(inner), stanza_from(st)) &&
           (inner->from_len == 0 || slice_eq(stanza_from(inner), stanza_to(st)));
}

static struct stanza *delegation_answer(struct worker *w, const struct stanza *reply)
{
    struct elem delegation;
    if (reply == NULL || reply->type != TYPE_RESULT ||
        !stanza_find(reply, "delegation", NS_DELEGATION, &delegation))
        return NULL;
    return forwarded_stanza(w, &delegation);
}

static void delegation_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct iq *iq = arg;
    struct stanza *inner = delegation_answer(w, reply);
    delegation_ends(delegation_account(iq), delegation_kind(iq));
    if (inner != NULL && answers(inner, iq->st) && !tells_of_account(iq, inner))
        iq_relay(iq, inner);
    else
        delegation_error(iq, SE_SERVICE_UNAVAILABLE,
                         reply == NULL
                             ? SLICE("the component that answers this does not answer")
                             : SLICE("the component that answers this gave no valid answer"));
    stanza_unref(&inner);
}

static void delegation_drop(void *arg)
{
    struct iq *iq = arg;
    iq_forget(&iq);
}

static void delegation_send(struct iq *iq, slice host, slice component)
{
    struct buf out;
    struct xml_write x;
    struct account *a = delegation_account(iq);
    ensure(a != NULL && account_here(a));
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "delegation", NS_DELEGATION);
    xml_open(&x, "forwarded", NS_FORWARD);
    stanza_forward(xml_content(&x), iq->st, NULL);
    xml_close_all(&x);
    struct ask_request ask = { .type = TYPE_SET,
                               .from = host,
                               .to = component,
                               .payload = buf_fit(&out),
                               .timeout_ms = DELEGATION_MS,
                               .drop = delegation_drop,
                               .home = a->jid };
    iq->origin = ORIGIN_NONE;
    if (out.overflow) {
        delegation_error(iq, SE_RESOURCE_CONSTRAINT,
                         SLICE("the request is too long to be delegated"));
    } else if (!delegation_begins(a, delegation_kind(iq))) {
        delegation_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("too many delegated requests wait"));
    } else {
        struct iq *held = iq_hold(iq);
        if (ask_send(iq->worker, &ask, delegation_answered, held) == NULL) {
            delegation_ends(a, delegation_kind(held));
            delegation_error(held, SE_RESOURCE_CONSTRAINT, SLICE("too many requests wait"));
        }
    }
    buf_fini(&out);
}

/* A user of ours to the server or to itself. */
static bool is_of_user(const struct iq *iq, slice host)
{
    const struct stanza *st = iq->st;
    return iq->sender != NULL && st->from_len > st->from_bare_len &&
           slice_eq(jid_split(stanza_from_bare(st)).domain, host);
}

/* Somebody else to an account; not the component itself (XEP-0355 §4.3.1), nor a component that
 * speaks for a user of ours. */
static bool is_of_other(const struct iq *iq, slice component)
{
    const struct stanza *st = iq->st;
    slice domain = jid_split(stanza_from_bare(st)).domain;
    return !slice_eq(domain, component) &&
           (st->from_len > st->from_bare_len || !node_serves(worker_node(iq->worker), domain));
}

bool delegation_takes(struct iq *iq)
{
    if (!delegations_any())
        return false;
    slice host = jid_split(stanza_to_bare(iq->st)).domain, component;
    ensure((iq->target & (IQ_TO_SERVER | IQ_TO_SELF | IQ_TO_ACCOUNT)) != 0);
    if (!delegation_find(host, &iq->payload, &component) ||
        !(iq->target == IQ_TO_ACCOUNT ? is_of_other(iq, component) : is_of_user(iq, host)))
        return false;
    if (delegation_account(iq) != NULL && remote_known(iq->worker, component))
        delegation_send(iq, host, component);
    else
        delegation_error(iq, SE_SERVICE_UNAVAILABLE,
                         SLICE("the component that answers this is not connected"));
    return true;
}

const struct feature delegation_feature = {
    .name = "delegation",
    .parts = PART_REQUEST,
    .xeps =
        (const struct xep[]){ { "0355", "0.5", "Namespace Delegation", "0.1.0",
                                "services/test_delegation",
                                "admin mode only: no client mode; requests of other servers and "
                                "of components to accounts, not to the domain; users of ours see "
                                "what components add to discovery" },
                              { 0 } },
    .disco = (const char *const[]){ NS_DELEGATION, NULL },
    .account.slot = &account_slot,
    .worker.slot = &worker_slot,
};
