#include "home/node.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/connection.h"
#include "home/worker.h"

_Thread_local struct worker *worker_of_thread;

const struct auth *worker_auth(const struct worker *w) { return &w->auth; }

/* The same on every node of a cluster, so that all agree on the slot of a JID; it protects nothing.
 */
static const struct hash_key slot_key = { 0x6d75737465722073ull, 0x6c6f747320763031ull };

uint64_t connection_new_id(struct worker *w)
{
    return ++w->next_id << CONNECTION_WORKER_BITS | w->index;
}

bool node_serves(const struct node *n, slice domain)
{
    for (unsigned i = 0; i < n->domain_count; i++)
        if (slice_eq(n->domains[i], domain))
            return true;
    return false;
}

unsigned node_slot(slice bare) { return (unsigned)(hash_with(&slot_key, bare) % NODE_SLOTS); }

unsigned node_home_registered(const struct node *n, unsigned slot, uint32_t *node)
{
    *node = n->bus->ops->registry(n->bus, slot);
    if (*node != n->id) /* it knows better if it has moved the slot, and passes on what comes */
        return slot % n->bus->ops->workers(n->bus, *node);
    return n->slot_worker[slot];
}

unsigned node_home(const struct node *n, slice bare, uint32_t *node)
{
    if (n->bus != NULL)
        return node_home_of_slot(n, node_slot(bare), node);
    *node = n->id;
    /* one worker needs no hash: every slot is its own */
    return n->worker_count == 1 ? 0 : n->slot_worker[node_slot(bare)];
}

void node_assign_slot(const struct node *n, unsigned slot, uint32_t node)
{
    ensure(slot < NODE_SLOTS && n->bus != NULL);
    n->bus->ops->assign(n->bus, slot, node);
}

bool node_is_there(const struct node *n, uint32_t node)
{
    uint32_t nodes[BUS_NODES_MAX];
    unsigned count = node == n->id ? 0 : node_all(n, nodes);
    for (unsigned i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return node == n->id;
}

bool node_is_home(const struct worker *w, slice bare)
{
    uint32_t node;
    return node_home(w->node, bare, &node) == w->index && node == w->node->id;
}

unsigned node_all(const struct node *n, uint32_t nodes[BUS_NODES_MAX])
{
    nodes[0] = n->id;
    if (n->bus == NULL)
        return 1;
    unsigned count = n->bus->ops->nodes(n->bus, nodes);
    ensure(count >= 1 && count <= BUS_NODES_MAX);
    for (unsigned i = 1; i < count; i++) {
        if (nodes[i] != n->id)
            continue;
        nodes[i] = nodes[0];
        nodes[0] = n->id;
    }
    return count;
}

unsigned node_workers(const struct node *n, uint32_t node)
{
    return node == n->id ? n->worker_count : n->bus->ops->workers(n->bus, node);
}

bool node_shares(const struct node *n, uint32_t node)
{
    if (node == n->id)
        return true;
    ensure(n->bus != NULL);
    return n->bus->ops->shares(n->bus, node);
}

/* Calls from outside. */

struct call {
    struct loop_post post;
    struct worker *worker;
    node_fn *fn;
    void *arg;
};

static void call_run(struct loop_post *p, struct loop *loop)
{
    struct call *c = CONTAINER_OF(p, struct call, post);
    (void)loop;
    c->fn(c->worker, c->arg);
    mem_free(&c);
}

void node_call(struct node *n, unsigned worker, node_fn *fn, void *arg)
{
    struct call *c = mem_new(struct call);
    ensure(worker < n->worker_count);
    *c = (struct call){
        .post = { .fn = call_run }, .worker = &n->workers[worker], .fn = fn, .arg = arg
    };
    loop_post(c->worker->loop, &c->post);
}

struct worker *node_worker(const struct node *n, unsigned index)
{
    ensure(index < n->worker_count);
    return &n->workers[index];
}
