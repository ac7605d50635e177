/* c2s: the edge to clients: streams over TCP, STARTTLS and direct TLS (RFC 6120, XEP-0368). */
#pragma once
#include "base/err.h"
#include "im/gate.h"

struct c2s;
struct component_gate;
struct component_listen;
struct proxy65_listen;
struct http_server;
struct tls_ctx;
struct worker;

struct c2s_listen {
    const char *address; /* "[::]:5222" */
    bool tls;            /* direct TLS */
    bool proxy;          /* a PROXY header comes first */
};

/* Opens the listening sockets; accepting begins when the node starts with c2s_gate and this as its
 * gate_state. Made and destroyed by main's thread. */
NODISCARD enum err c2s_create(struct c2s **out, const struct c2s_listen *listens, size_t count,
                              struct tls_ctx *tls, struct why *why);
/* Listeners of components (gate/component.h), before the node starts. */
NODISCARD enum err c2s_add_components(struct c2s *c, const struct component_listen *listens,
                                      size_t count, struct why *why);
/* Listeners of the proxy for bytestreams (gate/proxy65.h), the same. */
NODISCARD enum err c2s_add_proxy65(struct c2s *c, const struct proxy65_listen *listens,
                                   size_t count, struct why *why);
void c2s_destroy(struct c2s **c);
/* New connections use it from now on; takes a reference. Any thread. */
void c2s_set_tls(struct c2s *c, struct tls_ctx *tls);

/* Listens for HTTP wherever the gate does: its streams come over WebSocket and BOSH too. Before the
 * node starts; it stays the caller's. */
void c2s_serve_http(struct c2s *c, struct http_server *http);

/* The components of this node; NULL: there are no listeners for them. */
struct component_gate *component_gate_of(const struct worker *w);

extern const struct gate_ops c2s_gate;
extern const struct feature c2s_feature;
