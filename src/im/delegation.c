#include "im/delegation.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "home/remote.h"
#include "im/account.h"
#include "im/component_rights.h"
#include "im/feature.h"
#include "im/forwarded.h"
#include "xmpp/ns.h"

enum { DELEGATION_MS = 30000 };

/* Both hold a number, not an address: how many wait. */
static unsigned worker_slot, account_slot;

bool delegation_begins(struct account *a)
{
    void **all = worker_state(a->worker, worker_slot), **own = &a->state_of[account_slot];
    ensure(account_here(a));
    if ((uintptr_t)*own >= DELEGATIONS_OF_ACCOUNT || (uintptr_t)*all >= DELEGATIONS_MAX)
        return false;
    *own = (void *)((uintptr_t)*own + 1);
    *all = (void *)((uintptr_t)*all + 1);
    return true;
}

void delegation_ends(struct account *a)
{
    void **all = worker_state(a->worker, worker_slot), **own = &a->state_of[account_slot];
    ensure(account_here(a) && account_is_pinned(a) && *own != NULL && *all != NULL);
    *own = (void *)((uintptr_t)*own - 1);
    *all = (void *)((uintptr_t)*all - 1);
}

/* Whether the stanza in the answer is one to this request (XEP-0355 §4.3). */
static bool answers(const struct stanza *inner, const struct stanza *st)
{
    return inner->kind == STANZA_IQ && (inner->type == TYPE_RESULT || inner->type == TYPE_ERROR) &&
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
    delegation_ends(iq->sender);
    if (inner != NULL && answers(inner, iq->st))
        iq_relay(iq, inner);
    else
        iq_error(iq, SE_SERVICE_UNAVAILABLE,
                 reply == NULL ? SLICE("the component that answers this does not answer")
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
    ensure(iq->sender != NULL && account_here(iq->sender));
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
                               .home = stanza_from_bare(iq->st) };
    iq->origin = ORIGIN_NONE;
    if (out.overflow) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("the request is too long to be delegated"));
    } else if (!delegation_begins(iq->sender)) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("too many delegated requests wait"));
    } else {
        struct iq *held = iq_hold(iq);
        if (ask_send(iq->worker, &ask, delegation_answered, held) == NULL) {
            delegation_ends(held->sender);
            iq_error(held, SE_RESOURCE_CONSTRAINT, SLICE("too many requests wait"));
        }
    }
    buf_fini(&out);
}

bool delegation_takes(struct iq *iq)
{
    if (!delegations_any())
        return false;
    const struct stanza *st = iq->st;
    slice host = jid_split(stanza_from_bare(st)).domain, component;
    ensure(iq->target == IQ_TO_SERVER || iq->target == IQ_TO_SELF);
    if (iq->sender == NULL || st->from_len == st->from_bare_len ||
        !slice_eq(jid_split(stanza_to_bare(st)).domain, host) ||
        !delegation_find(host, &iq->payload, &component))
        return false;
    if (remote_known(iq->worker, component))
        delegation_send(iq, host, component);
    else
        iq_error(iq, SE_SERVICE_UNAVAILABLE,
                 SLICE("the component that answers this is not connected"));
    return true;
}

const struct feature delegation_feature = {
    .name = "delegation",
    .parts = PART_REQUEST,
    .xeps =
        (const struct xep[]){ { "0355", "0.5", "Namespace Delegation", "0.1.0", "test_delegation",
                                "admin mode only: no client mode, no requests of components or "
                                "other servers; users of ours see what components add to "
                                "discovery" },
                              { 0 } },
    .disco = (const char *const[]){ NS_DELEGATION, NULL },
    .account.slot = &account_slot,
    .worker.slot = &worker_slot,
};
