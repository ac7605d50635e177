#include "home/edge.h"
#include "base/ensure.h"
#include "home/node.h"
#include <stddef.h>

static const struct edge_made no_edges[] = { { 0 } };

static const struct edge_made *edges_of(const struct node *n)
{
    return n->edges != NULL ? n->edges : no_edges;
}

void *edge_own(const struct node *n, const struct edge *edge)
{
    ensure(edge != NULL); /* that is the end of the list */
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge == edge)
            return e->own;
    return NULL;
}

void edges_start(const struct node *n, struct worker *w)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++) {
        ensure(edge_own(n, e->edge) == e->own); /* it is in the list once */
        if (e->edge->start != NULL)
            e->edge->start(e->own, w);
    }
}

void edges_open(const struct node *n, struct worker *w)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge->open != NULL)
            e->edge->open(e->own, w);
}

void edges_stop(const struct node *n, struct worker *w)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge->stop != NULL)
            e->edge->stop(e->own, w);
}

bool edges_idle(const struct node *n, struct worker *w)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge->idle != NULL && !e->edge->idle(e->own, w))
            return false;
    return true;
}

void edges_relieve(const struct node *n, struct worker *w)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge->relieve != NULL)
            e->edge->relieve(e->own, w);
}

void edges_end(const struct node *n, struct worker *w)
{
    const struct edge_made *first = edges_of(n), *e = first;
    while (e->edge != NULL)
        e++;
    while (e-- > first)
        if (e->edge->end != NULL)
            e->edge->end(e->own, w);
}
