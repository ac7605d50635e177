#include "home/node.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "home/worker.h"

static _Thread_local struct worker *here;

struct worker *worker_here(void) { return here; }
void worker_here_set(struct worker *w) { here = w; }

const struct auth *worker_auth(const struct worker *w) { return &w->auth; }

uint64_t worker_next_id(struct worker *w) { return ++w->next_id << 16 | w->index; }

/* The same on every node of a cluster, so that all agree on the slot of a JID; it protects nothing.
 */
static const struct hash_key slot_key = { 0x6d75737465722073ull, 0x6c6f747320763031ull };

bool node_serves(const struct node *n, slice domain)
{
    for (unsigned i = 0; i < n->domain_count; i++)
        if (slice_eq(n->domains[i], domain))
            return true;
    return false;
}

unsigned node_slot(slice bare) { return (unsigned)(hash_with(&slot_key, bare) % NODE_SLOTS); }

unsigned node_home(const struct node *n, slice bare, uint32_t *node)
{
    *node = n->bus == NULL ? n->id : n->bus->ops->registry(n->bus, bare);
    if (*node != n->id) /* it knows better if it has moved the slot, and passes on what comes */
        return node_slot(bare) % n->bus->ops->workers(n->bus, *node);
    /* one worker needs no hash: every slot is its own */
    return n->worker_count == 1 ? 0 : n->slot_worker[node_slot(bare)];
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
    if (here != NULL)
        atomic_fetch_add(&n->calls, 1);
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
