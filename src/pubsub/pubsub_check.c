#include "pubsub/pubsub_check.h"
#include "account/account.h"
#include "base/ensure.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"

enum { LOOKED_AT_MAX = 64 }; /* of each list: this runs at the end of each tick */

/* The first request is under way, the others wait for it. */
static void queue_check(const struct ps_node *n)
{
    struct ps_op *const *at = &n->ops;
    ensure(n->busy == (n->ops != NULL) && n->contacts == NULL);
    ensure(!n->busy || n->service->actor.pins > 0);
    for (unsigned i = 0; i < LOOKED_AT_MAX && *at != NULL; i++, at = &(*at)->next)
        ensure((*at)->node == n && (*at)->service == n->service);
    ensure(*at != NULL || n->ops_tail == at);
}

/* Returns what the list of affiliations takes. */
static uint64_t ps_affiliates_check(const struct ps_node *n)
{
    const struct ps_affiliate *a;
    uint64_t bytes = 0;
    for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;) {
        ensure(a->affiliation > PS_NONE && a->affiliation < PS_AFFILIATIONS);
        ensure(!a->shares || (a->affiliation == PS_OWNER && n->service->account == NULL));
        bytes += ps_address_bytes((slice){ a->jid, a->len });
    }
    return bytes;
}

/* The same of subscriptions. Those of one bare JID are in one chain. */
static uint64_t subscribers_check(const struct ps_node *n)
{
    const struct ps_subscriber *s = NULL;
    uint64_t bytes = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; (s = ps_subscriber_next(n, &i, s)) != NULL;) {
        slice jid = { s->jid, s->len };
        ensure(s->state > PS_UNSUBSCRIBED && s->state < PS_STATES);
        ensure(s->bare_len == jid_bare_of(jid).len && ps_subscriber(n, jid) == s);
        bytes += ps_address_bytes(jid);
        count++;
    }
    ensure(count == n->subscriber_count);
    return bytes;
}

static void items_check(const struct ps_node *n)
{
    uint64_t bytes = 0;
    ensure(n->stub_count <= n->stub_cap);
    ensure(n->by_id.count == 0 || n->by_id.count == n->stub_count);
    ensure(n->last == NULL || n->last_known);
    if (!n->indexed || n->stub_count > LOOKED_AT_MAX)
        return;
    for (uint32_t i = 0; i < n->stub_count; i++) {
        const struct ps_stub *s = n->stubs[i];
        ensure(s->id_len > 0 && ps_stub_find(n, (slice){ s->id, s->id_len }) == s);
        bytes += s->bytes;
    }
    ensure(bytes == n->bytes);
}

static void node_check(const struct ps_service *s, const struct ps_node *n)
{
    ensure(n->service == s && map_get(&s->nodes, n->name) == n);
    ensure((n->nid == 0) == (n->maker == NULL));
    queue_check(n);
    items_check(n);
    if (n->nid == 0) { /* it is only asked for */
        ensure(n->ops != NULL && n->bytes == 0 && n->listed == 0);
        ensure(n->affiliates.count == 0 && n->subscribers.count == 0 && n->subscriber_count == 0);
        ensure(!n->indexed && n->last == NULL);
        return;
    }
    ensure(n->nid > 0 && n->nid <= s->last_nid);
    ensure(ps_maker(s, ps_creator(n)) == n->maker);
    if (n->affiliates.count <= LOOKED_AT_MAX && n->subscriber_count <= LOOKED_AT_MAX)
        ensure(n->listed ==
               ps_config_bytes(&n->config) + ps_affiliates_check(n) + subscribers_check(n));
}

/* The counts of the service are the sums over its nodes; of many nodes only the first are looked
 * at. */
static void nodes_check(const struct ps_service *s)
{
    const struct ps_node *n;
    const struct ps_maker *m;
    uint32_t count = 0, made = 0;
    uint64_t bytes = 0, made_bytes = 0;
    unsigned looked_at = 0;
    for (uint32_t i = 0; (n = map_next(&s->nodes, &i)) != NULL;) {
        if (looked_at++ == LOOKED_AT_MAX)
            return;
        node_check(s, n);
        count += n->nid != 0;
        bytes += n->bytes;
        made_bytes += n->bytes + n->listed;
    }
    ensure(count == s->node_count && bytes == s->bytes);
    for (uint32_t i = 0; (m = map_next(&s->makers, &i)) != NULL;) {
        ensure(m->nodes > 0);
        made += m->nodes;
        made_bytes -= m->bytes;
    }
    ensure(made == s->node_count && made_bytes == 0);
}

void ps_service_check(const struct actor *a)
{
    const struct ps_service *s = CONTAINER_OF(a, const struct ps_service, actor);
    ensure(s->node_count <= s->nodes.count);
    ensure((s->node_count == 0) == (s->makers.count == 0));
    ensure((s->kind->kind == PS_HOST) == (s->account == NULL));
    ensure(a->state != ACTOR_ABSENT || s->node_count == 0 || a->ended);
    ensure(a->pins == 0 || s->account == NULL || account_is_pinned(s->account));
    nodes_check(s);
}
