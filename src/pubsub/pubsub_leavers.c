#include "pubsub/pubsub_leavers.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_request.h"

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
