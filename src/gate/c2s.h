/* c2s: the edge to clients: streams over TCP, STARTTLS and direct TLS (RFC 6120, XEP-0368). */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "home/edge.h"

struct c2s;
struct tls_ctx;
struct tls_trusted;
struct down;
struct feature;
struct node;
struct stream;

struct c2s_listen {
    const char *address; /* "[::]:5222" */
    bool tls;            /* direct TLS */
    bool proxy;          /* a PROXY header comes first */
};

/* Opens the listening sockets; accepting begins when the node starts with c2s_edge and this as its
 * own. Made and destroyed by main's thread. */
NODISCARD enum err c2s_create(struct c2s **out, const struct c2s_listen *listens, size_t count,
                              struct tls_ctx *tls, struct why *why);
void c2s_destroy(struct c2s **c);
/* New connections use it from now on; takes a reference. Any thread. */
/* Whose certificates of clients are trusted; it outlives c. Before workers run. */
void c2s_set_trusted(struct c2s *c, struct tls_trusted *trusted);
void c2s_set_tls(struct c2s *c, struct tls_ctx *tls);

/* The port of the first listener with STARTTLS, or, where there is none, with direct TLS; 0: none
 * that a client could use without a proxy. Any thread. */
uint16_t c2s_port(const struct node *n, bool *tls);

extern const struct edge c2s_edge; /* `own` is a struct c2s */
/* gate_ops.down and .output */
void c2s_down(struct stream *s, const struct down *d);
size_t c2s_output(const struct stream *s);

extern const struct feature c2s_feature;
