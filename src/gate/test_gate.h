/* test_gate: what tests of this folder share: a node of one worker with the edges for clients, BOSH
 * and components, whose loop runs on the calling thread while something is waited for, and peers
 * that connect to it over loopback. Included by one file of a test program. */
#pragma once
#include "auth/seal.h"
#include "base/mem.h"
#include "component/component_shown.h"
#include "core/test_node.h"
#include "gate/c2s.h"
#include "gate/c2s_bosh.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_stream.h"
#include "gate/component.h"
#include "gate/web.h"
#include "http/server.h"
#include "io/test_bed.h"
#include "presence/caps.h"
#include "remote/remote_domains.h"
#include "xmpp/ns.h"

enum { GATE_TEXT_MAX = 1 << 17 };

static const struct feature gate_http_feature = { .name = "http",
                                                  .settings = http_settings,
                                                  .metrics = http_metrics };
static const struct feature *const gate_features[] = {
    &test_auth_feature,
    &account_feature,
    &session_feature,
    &message_feature,
    &roster_feature,
    &presence_feature,
    &caps_feature,
    &remote_domains_feature,
    &component_shown_feature,
    &c2s_feature,
    &bosh_feature,
    &component_feature,
    &gate_http_feature,
    NULL,
};

static const struct gate_ops gate_ops = { .down = c2s_down, .output = c2s_output };

static struct {
    struct test_node t;
    struct c2s *c2s;
    struct component_gate *component;
    struct http_server *http;
    struct tls_ctx *tls;
    struct edge_made edges[5];
    uint16_t c2s_port, component_port, http_port;
} gate;

/* An address with a port of loopback that was free a moment ago; by now it may be another's. */
static inline const char *gate_address(uint16_t *port)
{
    static char address[32];
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    close(fd);
    *port = ntohs(sin.sin_port);
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)*port);
    return address;
}

/* Until the port is ours. */
#define GATE_LISTEN(create)                                                                        \
    do {                                                                                           \
        struct why why_ = { 0 }, *why = &why_;                                                     \
        enum err e_;                                                                               \
        while ((e_ = (create)) == E_EXISTS)                                                        \
            ;                                                                                      \
        if (e_ != OK)                                                                              \
            fail_msg("%s", why->text);                                                             \
    } while (0)

static inline void gate_edges_make(void)
{
    gate.tls = bed_tls();
    GATE_LISTEN(c2s_create(&gate.c2s,
                           &(struct c2s_listen){ .address = gate_address(&gate.c2s_port) }, 1,
                           gate.tls, why));
    GATE_LISTEN(component_create(
        &gate.component,
        &(struct component_listen){ .address = gate_address(&gate.component_port) }, 1, why));
    GATE_LISTEN(http_create(&gate.http,
                            &(struct http_listen){ .address = gate_address(&gate.http_port) }, 1,
                            NULL, why));
    http_add_routes(gate.http, bosh_feature.http);
    gate.edges[0] = (struct edge_made){ &c2s_edge, gate.c2s };
    gate.edges[1] = (struct edge_made){ &component_edge, gate.component };
    gate.edges[2] = (struct edge_made){ &bosh_edge, NULL };
    gate.edges[3] = (struct edge_made){ &web_edge, gate.http };
}

/* It serves the domains localhost and other.test. Logins without TLS are allowed. */
static inline int gate_open(void **state)
{
    static const unsigned char key[SEAL_KEY_BYTES] = "the key of these tests";
    static const char *const domains[] = { "localhost", "other.test", NULL };
    struct test_node *t = &gate.t;
    char url[64];
    struct why why = { 0 };
    (void)state;
    test_features_use(gate_features);
    seal_use(key);
    gate_edges_make();
    test_folder_make(t->dir);
    snprintf(url, sizeof url, "sqlite:%s/db", t->dir);
    ensure(store_open(&t->store, &(struct store_conf){ .url = url, .schemas = test_schemas },
                      &why) == OK);
    ensure(node_create(&t->node,
                       &(struct node_conf){ .id = 1,
                                            .name = "test",
                                            .domains = domains,
                                            .workers = 1,
                                            .store = t->store,
                                            .gate = &gate_ops,
                                            .edges = gate.edges },
                       &why) == OK);
    t->w = &t->node->workers[0];
    worker_of_thread = t->w;
    edges_start(t->node, t->w);
    remote_domains_feature.worker.start(t->w);
    edges_open(t->node, t->w);
    test_node_tick(t);
    atomic_store(&c2s_tls_required.value, 0);
    return 0;
}

static inline bool gate_is_idle(void *arg)
{
    const struct test_node *t = arg;
    return edges_idle(t->node, t->w) && !store_busy(t->store);
}

static inline int gate_close(void **state)
{
    struct test_node *t = &gate.t;
    (void)state;
    edges_stop(t->node, t->w);
    bed_run(t->w->loop, gate_is_idle, t);
    t->node->parts = true;
    edges_part(t->node, t->w);
    bed_run(t->w->loop, gate_is_idle, t);
    component_shown_feature.worker.stop(t->w);
    component_shown_feature.worker.ended(t->w);
    remote_domains_feature.worker.stop(t->w);
    remote_domains_feature.worker.ended(t->w);
    edges_end(t->node, t->w);
    store_close(&t->store);
    node_destroy(&t->node);
    worker_of_thread = NULL;
    http_destroy(&gate.http);
    component_destroy(&gate.component);
    c2s_destroy(&gate.c2s);
    tls_ctx_unref(&gate.tls);
    test_folder_remove(t->dir);
    return 0;
}

/* A peer: what it has received since it connected. */
struct peer {
    int fd;
    size_t len;
    bool ended;
    const char *awaited;
    char text[GATE_TEXT_MAX];
};

static inline struct peer *peer_connect(uint16_t port)
{
    struct sockaddr_in sin = { .sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons(port) };
    struct peer *p = mem_new(struct peer);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&sin, sizeof sin), 0);
    return p;
}

static inline void peer_close(struct peer *p)
{
    close(p->fd);
    mem_free(&p);
}

static inline void peer_send(struct peer *p, const char *text)
{
    assert_int_equal(send(p->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void peer_read(struct peer *p)
{
    ssize_t n = 1;
    while (!p->ended && n > 0) {
        assert_true(p->len < sizeof p->text - 1);
        n = recv(p->fd, p->text + p->len, sizeof p->text - 1 - p->len, MSG_DONTWAIT);
        p->ended = n == 0 || (n < 0 && errno == ECONNRESET);
        p->len += n > 0 ? (size_t)n : 0;
        p->text[p->len] = '\0';
    }
}

static inline bool peer_has(void *arg)
{
    struct peer *p = arg;
    peer_read(p);
    return p->ended || (p->awaited != NULL && strstr(p->text, p->awaited) != NULL);
}

/* Runs until it has received that text, and forgets all up to there. It fails if the connection
 * ends before. */
static inline void peer_await(struct peer *p, const char *text)
{
    p->awaited = text;
    bed_run(gate.t.w->loop, peer_has, p);
    char *at = strstr(p->text, text);
    if (at == NULL)
        fail_msg("expected %s, got %s", text, p->text);
    at += strlen(text);
    p->len -= (size_t)(at - p->text);
    memmove(p->text, at, p->len + 1);
}

/* Runs until the connection ends: all that came before. */
static inline const char *peer_end(struct peer *p)
{
    p->awaited = NULL;
    bed_run(gate.t.w->loop, peer_has, p);
    return p->text;
}

/* Nothing comes within some ticks, in which each request that was sent is read. */
static inline bool peer_is_silent(struct peer *p)
{
    bed_ticks(gate.t.w->loop, 50);
    peer_read(p);
    return p->len == 0 && !p->ended;
}
