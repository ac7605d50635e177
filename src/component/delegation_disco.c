#include "component/delegation_disco.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_write.h"
#include "component/component_rights.h"
#include "component/delegation.h"
#include "home/here.h"
#include "xmpp/ns.h"

enum { NEST_MS = 5000 };

/* In the arena of its request. */
struct nest {
    struct iq *iq;           /* held */
    struct account *account; /* of `iq`, pinned: for whom is asked */
    struct disco_info *info;
    unsigned waiting; /* answers, and one while they are asked for */
};

/* "NAMESPACE", or "NAMESPACE#part": what the server shows under a "#" is a part of how it answers
 * requests in the namespace itself. */
static bool is_of(slice feature, slice ns)
{
    return slice_starts(feature, ns) && (feature.len == ns.len || feature.ptr[ns.len] == '#');
}

static void nest_leave_out(struct disco_info *d, slice ns)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < d->feature_count; i++)
        if (!is_of(d->feature[i], ns))
            d->feature[kept++] = d->feature[i];
    d->feature_count = kept;
}

static bool nest_has_identity(const struct disco_info *d, slice category, slice type)
{
    for (unsigned i = 0; i < d->identity_count; i++)
        if (slice_eq(d->identity[i].category, category) && slice_eq(d->identity[i].type, type))
            return true;
    return false;
}

/* Copies: the answer does not stay. What is too much is left out. */
static void nest_add(struct nest *n, const struct elem *e)
{
    struct disco_info *d = n->info;
    struct arena *tmp = n->iq->tmp;
    slice category = slice_dup(tmp, elem_attr(e, "category", tmp));
    slice type = slice_dup(tmp, elem_attr(e, "type", tmp));
    slice var = slice_dup(tmp, elem_attr(e, "var", tmp));
    if (elem_is(e, "feature", NS_DISCO_INFO) && var.len > 0 &&
        d->feature_count < DISCO_FEATURES_MAX)
        disco_add_feature(d, var);
    else if (elem_is(e, "identity", NS_DISCO_INFO) && category.len > 0 && type.len > 0 &&
             d->identity_count < DISCO_IDENTITIES_MAX && !nest_has_identity(d, category, type))
        disco_add_identity(d, category, type, slice_dup(tmp, elem_attr(e, "name", tmp)));
}

static void nest_end_one(struct nest *n)
{
    struct buf out;
    struct xml_write x;
    ensure(n->waiting > 0);
    if (--n->waiting > 0)
        return;
    xml_begin(&x, &out, XML_STANZA_MAX);
    disco_write_info(&x, n->info, (slice){ 0 });
    iq_result_buf(n->iq, &out);
}

static void nest_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct nest *n = arg;
    struct elem query, e;
    (void)w;
    delegation_ends(n->account, delegation_kind(n->iq));
    if (reply != NULL && reply->type == TYPE_RESULT &&
        stanza_find(reply, "query", NS_DISCO_INFO, &query))
        for (bool any = elem_first(&query, &e); any; any = elem_next(&e, &e))
            nest_add(n, &e);
    nest_end_one(n);
}

static void nest_drop(void *arg)
{
    struct nest *n = arg;
    if (--n->waiting == 0)
        iq_forget(&(struct iq *){ n->iq });
}

static void nest_ask(struct nest *n, slice host, slice home, const struct delegation *of)
{
    const char *mark = n->iq->target == IQ_TO_SERVER ? "::" : ":bare:";
    struct buf out;
    struct xml_write x;
    if (!remote_known(n->iq->worker, of->component) ||
        !delegation_begins(n->account, delegation_kind(n->iq)))
        return;
    slice node =
        slice_of(arena_printf(n->iq->tmp, NS_DELEGATION "%s%.*s", mark, SLICE_ARG(of->ns)));
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open_with(&x, "query", NS_DISCO_INFO, "node", node);
    xml_close(&x);
    const struct ask_request ask = { .type = TYPE_GET,
                                     .from = host,
                                     .to = of->component,
                                     .payload = buf_fit(&out),
                                     .timeout_ms = NEST_MS,
                                     .drop = nest_drop,
                                     .home = home };
    n->waiting++;
    if (ask_send(n->iq->worker, &ask, nest_answered, n) == NULL) {
        n->waiting--;
        delegation_ends(n->account, delegation_kind(n->iq));
    }
    buf_fini(&out);
}

bool delegation_nests(struct iq *iq, delegation_info_fn *make)
{
    if (!delegations_any())
        return false;
    struct account *a = iq->target == IQ_TO_SERVER ? iq->sender : iq->account;
    struct delegation d;
    if (a == NULL)
        return false;
    slice host = jid_split(a->jid).domain, list = delegations(host);
    if (list.len == 0 || !slice_eq(jid_split(stanza_to_bare(iq->st)).domain, host))
        return false;
    iq->origin = ORIGIN_NONE;
    struct iq *held = iq_hold(iq);
    struct nest *n = arena_new(held->tmp, struct nest, 1);
    *n = (struct nest){ .iq = held, .account = a, .info = make(held->tmp), .waiting = 1 };
    while (delegation_next(&list, &d)) {
        if (d.filters.len == 0) /* else the server still answers the other requests */
            nest_leave_out(n->info, d.ns);
        nest_ask(n, host, a->jid, &d);
    }
    nest_end_one(n);
    return true;
}
