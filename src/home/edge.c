#include "home/edge.h"
#include "base/ensure.h"
#include "home/here.h"
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

uint8_t edge_number(const struct node *n, const struct edge *edge)
{
    const struct edge_made *e = edges_of(n);
    while (e->edge != edge) {
        ensure(e->edge != NULL); /* the edge is in the list */
        e++;
    }
    ensure(e - edges_of(n) < EDGES_MAX);
    return (uint8_t)(e - edges_of(n));
}

bool edge_remote(struct worker *w, uint8_t number, uint64_t link, struct stanza *st)
{
    const struct edge_made *e = edges_of(worker_node(w));
    for (unsigned i = 0; i < number && e->edge != NULL; i++)
        e++;
    if (e->edge == NULL || e->edge->remote == NULL)
        return false;
    e->edge->remote(e->own, w, link, st);
    return true;
}

/* The one that reaches foreign domains; edge NULL: none. */
static const struct edge_made *edge_of_foreign(struct worker *w)
{
    const struct edge_made *e = edges_of(worker_node(w));
    while (e->edge != NULL && e->edge->foreign == NULL)
        e++;
    return e;
}

struct edge_word edge_foreign_word(struct worker *w, slice domain, const struct stanza *st)
{
    const struct edge_made *e = edge_of_foreign(w);
    return e->edge == NULL ? (struct edge_word){ .error = SE_REMOTE_SERVER_NOT_FOUND }
                           : e->edge->foreign_word(e->own, w, domain, st);
}

void edge_foreign(struct worker *w, slice domain, struct stanza *st, const struct edge_kept *kept)
{
    const struct edge_made *e = edge_of_foreign(w);
    e->edge->foreign(e->own, w, domain, st, kept);
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

void edges_part(const struct node *n, struct worker *w)
{
    ensure(n->parts); /* or nobody would wait for their end */
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge->part != NULL)
            e->edge->part(e->own, w);
}

bool edges_idle(const struct node *n, struct worker *w)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++) {
        bool ends = e->edge->part == NULL || n->parts;
        if (ends && e->edge->idle != NULL && !e->edge->idle(e->own, w))
            return false;
    }
    return true;
}

void edges_relieve(const struct node *n, struct worker *w)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge->relieve != NULL)
            e->edge->relieve(e->own, w);
}

void edges_node_gone(const struct node *n, struct worker *w, uint32_t node)
{
    for (const struct edge_made *e = edges_of(n); e->edge != NULL; e++)
        if (e->edge->node_gone != NULL)
            e->edge->node_gone(e->own, w, node);
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
