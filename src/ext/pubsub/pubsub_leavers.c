#include "ext/pubsub/pubsub_leavers.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "ext/pubsub/pubsub_model.h"
#include "ext/pubsub/pubsub_op.h"
#include "ext/pubsub/pubsub_private.h"
#include "ext/pubsub/pubsub_request.h"
#include "im/account.h"

/* Nodes of hosts (their owner is negative) whose only owner (affiliation 1 or 6) is $1. */
#define ORPHANS                                                                                    \
    " WHERE (owner, nid) IN (SELECT a.owner, a.nid FROM pubsub_affiliation a WHERE a.jid = $1 "    \
    "AND a.affiliation IN (1, 6) AND a.owner < 0 AND NOT EXISTS (SELECT 1 FROM "                   \
    "pubsub_affiliation o WHERE o.owner = a.owner AND o.nid = a.nid "                              \
    "AND o.affiliation IN (1, 6) AND o.jid <> $1))"
#define STMT(var, stmt_name, text)                                                                 \
    struct store_stmt var = { .name = stmt_name, .sql = text, .params = "t", .cols = "" }

STMT(ps_leaver_items, "pubsub.leaver-items", "DELETE FROM pubsub_item" ORPHANS);
STMT(ps_leaver_subscriptions, "pubsub.leaver-subscriptions",
     "DELETE FROM pubsub_subscription" ORPHANS);
STMT(ps_leaver_nodes, "pubsub.leaver-nodes", "DELETE FROM pubsub_node" ORPHANS);
STMT(ps_leaver_lists, "pubsub.leaver-lists", "DELETE FROM pubsub_affiliation" ORPHANS);
STMT(ps_leaver_affiliations, "pubsub.leaver-affiliations",
     "DELETE FROM pubsub_affiliation WHERE jid = $1");
/* '0' is the character after '/': these are the full addresses. */
STMT(ps_leaver_subscribed, "pubsub.leaver-subscribed",
     "DELETE FROM pubsub_subscription WHERE jid = $1 OR (jid > $1 || '/' AND jid < $1 || '0')");

/* In this order: the lists tell which nodes are orphans. */
void ps_leaver_remove(struct account *a, struct store_batch *b)
{
    struct store_stmt *const all[] = { &ps_leaver_items,        &ps_leaver_subscriptions,
                                       &ps_leaver_nodes,        &ps_leaver_lists,
                                       &ps_leaver_affiliations, &ps_leaver_subscribed };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        STORE_ADD(b, all[i], STORE_ANY_ROWS, SV_T(a->jid));
}

/* Its last owner was deleted between two reads of a service that was being loaded. */
static bool is_orphan(const struct ps_node *n)
{
    const struct ps_affiliate *a;
    if (n->nid == 0 || n->service->account != NULL)
        return false;
    for (uint32_t i = 0; (a = map_next(&n->affiliates, &i)) != NULL;)
        if (a->affiliation == PS_OWNER)
            return false;
    return true;
}

static bool pubsub_leavers_concerns(const struct ps_node *n, slice bare)
{
    if (n->ops != NULL) /* one of them may add the address yet */
        return true;
    if (is_orphan(n))
        return true;
    if (n->nid != 0 && ps_affiliate(n, bare) != NULL)
        return true;
    return ps_subscribers_of(n, bare) != NULL;
}

static void pubsub_leavers_forget_ready(struct ps_service *s, slice bare)
{
    const struct ps_node *n;
    for (uint32_t i = 0; (n = map_next(&s->nodes, &i)) != NULL;)
        if (pubsub_leavers_concerns(n, bare))
            ps_node_request(s, PS_FORGET, n->name, bare);
}

/* It may have read the rows before they went. */
static void pubsub_leavers_loaded(struct ps_op *op, enum stanza_error e)
{
    slice *bare = op->arg;
    if (e == SE_NONE)
        pubsub_leavers_forget_ready(op->service, *bare);
    mem_free(&bare);
}

void ps_leaver_forget(struct ps_service *s, slice bare)
{
    ensure(worker_is_here(s->worker));
    if (s->state == ACTOR_READY)
        pubsub_leavers_forget_ready(s, bare);
    else if (s->state == ACTOR_LOADING)
        ps_when_ready(s, pubsub_leavers_loaded, slice_box(bare));
}
