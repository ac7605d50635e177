#include "cert/cert_domains.h"
#include "base/arena.h"
#include "base/command.h"
#include "cert/cert_watch.h"
#include "cert/certs.h"
#include "home/command_run.h"
#include "home/here.h"
#include "home/node.h"
#include "home/remote.h"
#include <stdlib.h>

struct components_call {
    const struct node *node;
    struct arena *arena;
    struct cert_components *out; /* item NULL: they are only counted */
};

static slice component_parent(const struct node *n, slice domain)
{
    slice label, above = domain;
    while (slice_cut(above, '.', &label, &above))
        if (node_serves(n, above))
            return above;
    return (slice){ "", 0 };
}

static void component_take(slice domain, void *arg)
{
    const struct components_call *c = arg;
    if (c->out->item != NULL) {
        slice copy = slice_dup(c->arena, domain);
        c->out->item[c->out->count] =
            (struct cert_component){ copy, component_parent(c->node, copy) };
    }
    c->out->count++;
}

static int component_order(const void *a, const void *b)
{
    return slice_compare(((const struct cert_component *)a)->domain,
                         ((const struct cert_component *)b)->domain);
}

void cert_components(struct cert_components *out, const struct worker *w, struct arena *arena)
{
    struct components_call c = { worker_node(w), arena, out };
    *out = (struct cert_components){ NULL, 0 };
    remote_each_expected(w, component_take, &c);
    if (out->count == 0)
        return;
    out->item = arena_new(arena, struct cert_component, out->count);
    out->count = 0;
    remote_each_expected(w, component_take, &c);
    qsort(out->item, out->count, sizeof *out->item, component_order);
}

static bool cert_domains_has(const struct cert_uses *uses, slice domain)
{
    for (size_t i = 0; uses != NULL && i < uses->count; i++)
        for (size_t d = 0; d < uses->item[i].domain_count; d++)
            if (slice_is(domain, uses->item[i].domain[d]))
                return true;
    return false;
}

bool cert_domain_ok(struct command_call *call, slice domain)
{
    return remote_expected(call->worker, domain) || cert_domains_has(cert_watch_uses(), domain) ||
           command_address_ok(call, PARAM_HOME_DOMAIN, domain, &(slice){ 0 });
}
