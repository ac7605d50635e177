#include "app/cert_domains.h"
#include "base/arena.h"
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
