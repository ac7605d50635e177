#include "app/second_node.h"
#include "app/node_file.h"
#include "app/server.h"
#include "base/buf.h"
#include "base/mem.h"
#include "bus/bus_local.h"
#include "core/node_life.h"
#include "home/node.h"
#include <stdlib.h>

enum { ERRORS_BYTES_MAX = 4096 };

struct second_node {
    struct node_file *file;
    struct edges edges;
    struct node *first, *node;
    struct bus_local *bus;
};

static const char *second_node_path(void)
{
#ifdef MUSTER_DEBUG
    return getenv("MUSTER_SECOND_NODE");
#else
    return NULL;
#endif
}

static enum err second_node_read(struct second_node *s, const char *path, struct why *why)
{
    struct buf errors;
    buf_init(&errors, ERRORS_BYTES_MAX);
    enum err e = node_file_load(&s->file, path, &errors);
    if (e != OK)
        why_set(why, "%.*s", SLICE_ARG(buf_slice(&errors))); /* fits, or is cut */
    buf_fini(&errors);
    return e;
}

enum err second_node_make(struct second_node **out, const struct server *first, struct why *why)
{
    const char *path = second_node_path();
    *out = NULL;
    if (path == NULL)
        return OK;
    struct second_node *s = *out = mem_new(struct second_node);
    s->first = first->node;
    enum err e = second_node_read(s, path, why);
    if (e == OK)
        e = edges_make(&s->edges, s->file, first->tls, why);
    if (e == OK)
        e = server_make_node(&s->node, s->file, first->store, s->edges.made,
                             first->node->worker_count, why);
    if (e != OK)
        return e;
    s->bus = bus_local_create();
    node_join(first->node, s->bus);
    node_join(s->node, s->bus);
    return OK;
}

unsigned second_node_all(const struct second_node *s, struct node *first,
                         struct node *nodes[SECOND_NODE_ALL])
{
    nodes[0] = first;
    if (s == NULL || s->node == NULL)
        return 1;
    nodes[1] = s->node;
    return 2;
}

void second_node_cut(struct second_node *s)
{
    if (s != NULL)
        bus_local_cut(s->bus, s->node->id);
}

void second_node_part(struct second_node *s)
{
    struct node *nodes[SECOND_NODE_ALL];
    if (s == NULL || s->bus == NULL)
        return;
    for (unsigned i = second_node_all(s, s->first, nodes); i-- > 0;)
        bus_local_leave(s->bus, nodes[i]->id);
}

void second_node_destroy(struct second_node **ps)
{
    struct second_node *s = *ps;
    *ps = NULL;
    if (s == NULL)
        return;
    node_destroy(&s->node);
    bus_local_destroy(&s->bus);
    edges_destroy(&s->edges);
    node_file_free(&s->file);
    mem_free(&s);
}
