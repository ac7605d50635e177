#include "gate/component.h"
#include "auth/auth.h"
#include "auth/seal.h"
#include "auth/throttle.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "gate/c2s.h"
#include "gate/component_rows.h"
#include "im/host.h"
#include "im/remote.h"
#include "im/router.h"
#include "io/conn.h"
#include "io/listen.h"
#include "io/timer.h"
#include "store/store.h"
#include "xmpp/ns.h"
#include "xmpp/stanza_error.h"
#include "xmpp/stream.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

enum { HANDSHAKE_MS = 10000, HEX_SHA1 = 40, STREAM_ID_BYTES = 16 };

struct component {
    struct conn *conn;
    struct component_gate *gate;
    struct worker *worker;
    struct list node; /* in component_worker.streams */
    uint64_t id;      /* worker in the low 16 bits */
    struct xml_reader reader;
    struct store_op *op; /* its secret is being read */
    struct timer timer;  /* until it is BOUND */
    uint8_t state;       /* enum stream_state */
    bool header_sent, announced;
    char stream_id[2 * STREAM_ID_BYTES + 1];
    char digest[HEX_SHA1 + 1]; /* as sent */
    uint16_t domain_len;
    char domain[JID_PART_MAX]; /* prepared */
};

struct component_worker {
    struct list streams;
    struct map by_id;
    _Atomic uint32_t count;
    bool stopped;
};

struct component_listener {
    struct listener *listener;
    struct component_gate *gate;
    unsigned flags; /* enum conn_flags */
};

struct component_gate {
    struct component_listener listen[COMPONENT_LISTENERS_MAX];
    size_t count;
    struct component_worker worker[NODE_WORKERS_MAX];
    struct conn_limits limits;
    struct throttle *throttle; /* separate, so that components cannot block clients */
};

static struct component_worker *here(const struct component *c)
{
    return &c->gate->worker[c->worker->index];
}
static slice component_domain(const struct component *c)
{
    return (slice){ c->domain, c->domain_len };
}

static struct stream_step component_meets(const struct component *c, enum stream_input input)
{
    return stream_step(STREAM_FROM_COMPONENT, (enum stream_state)c->state, input);
}

static void component_now(struct component *c, enum stream_input input)
{
    struct stream_step step = component_meets(c, input);
    ensure_debug(step.action != STREAM_NEVER);
    c->state = (uint8_t)step.state;
}

/* Ends. */

static void leave(struct component *c)
{
    if (c->announced)
        remote_announce(c->worker, component_domain(c), c->id, REMOTE_DOWN, NULL);
    c->announced = false;
}

static void close_with(struct component *c, slice last)
{
    if (c->state == STREAM_CLOSED)
        return;
    leave(c);
    conn_write(c->conn, last);
    component_now(c, STREAM_CLOSE);
    conn_close(c->conn);
}

static void send_header(struct component *c, slice domain)
{
    struct buf b;
    rand_hex(c->stream_id, STREAM_ID_BYTES);
    buf_init(&b, 16384);
    buf_printf(&b,
               "<?xml version='1.0'?><stream:stream xmlns='" NS_COMPONENT
               "' xmlns:stream='" NS_STREAM "' id='%s'",
               c->stream_id);
    if (domain.len > 0) {
        buf_lit(&b, " from='");
        xml_escape(&b, domain);
        buf_lit(&b, "'");
    }
    buf_lit(&b, ">");
    conn_write(c->conn, buf_slice(&b));
    buf_fini(&b);
    c->header_sent = true;
}

static void fail(struct component *c, enum stream_error e, slice text)
{
    struct buf b;
    if (c->state == STREAM_CLOSED)
        return;
    if (!c->header_sent)
        send_header(c, (slice){ 0 });
    buf_init(&b, 16384);
    stream_error_write(&b, e, text);
    buf_lit(&b, "</stream:stream>");
    log_info(&log_component, LOG_EV("component.error"), LOG_C("condition", stream_error_name(e)),
             LOG_S("text", text), LOG_S("domain", component_domain(c)),
             LOG_C("peer", conn_info(c->conn)->peer_text));
    close_with(c, buf_slice(&b));
    buf_fini(&b);
}

/* Joining. */

static void joined(struct worker *w, uint64_t link, enum err e)
{
    struct component_gate *g = component_gate_of(w);
    struct component *c =
        map_get(&g->worker[w->index].by_id, (slice){ (const char *)&link, sizeof link });
    if (c == NULL || c->state != STREAM_BINDING)
        return; /* it has disconnected meanwhile */
    if (e != OK) {
        c->announced = false;
        fail(c, XE_RESOURCE_CONSTRAINT, SLICE("too many connections serve this domain"));
        return;
    }
    component_now(c, STREAM_IS_BOUND);
    timer_cancel(&c->timer);
    log_info(&log_component, LOG_EV("component.joined"), LOG_S("domain", component_domain(c)),
             LOG_C("peer", conn_info(c->conn)->peer_text));
    conn_write(c->conn, SLICE("<handshake/>"));
    conn_release(c->conn, CONN_HOLD_STREAM);
}

/* XEP-0114 §3: hexadecimal SHA-1 of stream id and secret, in lower case. */
static void expected_digest(const struct component *c, slice secret, char out[HEX_SHA1 + 1])
{
    unsigned char sha[SHA_DIGEST_LENGTH];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestInit_ex(ctx, EVP_sha1(), NULL);
    EVP_DigestUpdate(ctx, c->stream_id, strlen(c->stream_id));
    EVP_DigestUpdate(ctx, secret.ptr, secret.len);
    EVP_DigestFinal_ex(ctx, sha, NULL);
    EVP_MD_CTX_free(ctx);
    hex_encode(out, (slice){ (const char *)sha, sizeof sha });
}

/* A guess that is refused for now (auth/throttle.h) is answered like a wrong one. */
static bool is_right(struct component *c, bool known, const struct store_batch *b)
{
    char expected[HEX_SHA1 + 1];
    struct throttle *t = c->gate->throttle;
    struct throttle_try try;
    uint64_t now = loop_now_us(c->worker->loop);
    throttle_try_init(&try, (const struct sockaddr *)(const void *)&conn_info(c->conn)->peer,
                      component_domain(c), NULL);
    if (throttle_take(t, &try, now) != OK) {
        metric_add(&auth_throttled, 1);
        return false;
    }
    struct arena *tmp = loop_scratch(c->worker->loop);
    slice secret = SLICE("");
    known = known && unseal(&secret, store_text(b, 0, 0, 0),
                            component_context(component_domain(c), tmp), tmp);
    expected_digest(c, secret, expected);
    bool right = CRYPTO_memcmp(expected, c->digest, HEX_SHA1) == 0 && known;
    if (right)
        throttle_passed(t, &try, now);
    else
        throttle_failed(t, &try, now);
    return right;
}

/* A domain without a secret is answered like a wrong secret, after the same work. */
static void secret_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct component *c = arg;
    c->op = NULL;
    if (c->state != STREAM_CHECKING)
        return;
    if (result != STORE_OK) {
        fail(c, XE_INTERNAL_SERVER_ERROR, SLICE("the database does not answer"));
        return;
    }
    if (!is_right(c, store_row_count(b, 0) > 0, b)) {
        metric_add(&component_refused, 1);
        fail(c, XE_NOT_AUTHORIZED, (slice){ 0 });
        return;
    }
    component_now(c, STREAM_PASSED);
    c->announced = true;
    remote_announce(c->worker, component_domain(c), c->id, REMOTE_UP, joined);
}

static void handshake(struct component *c, slice unit)
{
    struct elem e;
    struct arena *tmp = loop_scratch(c->worker->loop);
    bool read = elem_parse(&e, unit, SLICE(NS_COMPONENT));
    enum stream_input input =
        read ? stream_input_of(e.ns_uri, e.name, false) : STREAM_GOT_UNREADABLE;
    struct stream_step step = component_meets(c, input);
    if (step.action == STREAM_FAIL) {
        fail(c, step.error, slice_of(step.text));
        return;
    }
    slice digest = elem_text(&e, tmp);
    if (digest.len == HEX_SHA1)
        memcpy(c->digest, digest.ptr, HEX_SHA1);
    component_now(c, input);
    conn_hold(c->conn, CONN_HOLD_STREAM);
    struct store_batch *b = store_read(c->worker->store, 0);
    STORE_ADD(b, &component_secret, STORE_ANY_ROWS, SV_T(component_domain(c)));
    c->op = store_submit(b, c->worker->loop, 0, secret_read, c);
}

/* Input. */

static slice root_attr(const struct component *c, slice unit, const char *name)
{
    const struct xml_work *w = c->worker->xml;
    for (unsigned i = 0; i < w->root.attr_count; i++)
        if (slice_is(xml_at(unit, w->attr[i].name), name))
            return xml_unescape_attr(xml_at(unit, w->attr[i].value), loop_scratch(c->worker->loop));
    return (slice){ 0 };
}

static void header(struct component *c, slice unit)
{
    const struct xml_root *root = &c->worker->xml->root;
    struct arena *tmp = loop_scratch(c->worker->loop);
    slice domain, to = root_attr(c, unit, "to");
    if (!slice_is(xml_ns(&c->reader, unit, root->ns_stream, root->ns), NS_STREAM) ||
        !slice_is(xml_stream_default_ns(&c->reader), NS_COMPONENT)) {
        fail(c, XE_INVALID_NAMESPACE, (slice){ 0 });
    } else if (jid_prep_domain(to, tmp, &domain) != OK || domain.len > sizeof c->domain ||
               node_serves(c->worker->node, domain) ||
               host_find(c->worker->node, domain, &(slice){ 0 }) != NULL) {
        fail(c, XE_HOST_UNKNOWN, SLICE("not a domain that a component may serve"));
    } else {
        memcpy(c->domain, domain.ptr, domain.len);
        c->domain_len = (uint16_t)domain.len;
        send_header(c, domain);
        component_now(c, STREAM_GOT_HEADER);
    }
}

static slice domain_of_jid(slice full) { return jid_split(full).domain; }

static void stanza_in(struct component *c, slice unit)
{
    struct worker *w = c->worker;
    struct stanza_source src = { .unit = unit, .work = w->xml, .reader = &c->reader };
    struct stanza *st;
    enum err e = stanza_read(&st, &src, loop_scratch(w->loop));
    if (e != OK) {
        fail(c, e == E_SYNTAX ? XE_INVALID_FROM : XE_UNSUPPORTED_STANZA_TYPE, (slice){ 0 });
        return;
    }
    if (st->from_len == 0 || !slice_eq(domain_of_jid(stanza_from(st)), component_domain(c))) {
        fail(c, XE_INVALID_FROM, SLICE("a component speaks for its own domain"));
    } else if (st->bad_to) {
        route_error(w, st, SE_JID_MALFORMED, (slice){ 0 });
    } else if (st->to_len == 0) {
        fail(c, XE_IMPROPER_ADDRESSING, SLICE("a stanza of a component needs `to`"));
    } else {
        metric_add(&component_stanzas_in, 1);
        route_send(w, st);
        return;
    }
    stanza_unref(&st);
}

static size_t on_input(struct conn *conn, slice data)
{
    struct component *c = conn_owner(conn);
    size_t done = 0;
    if (c->worker->pressure) {
        conn_hold(conn, CONN_HOLD_PRESSURE);
        return 0;
    }
    while (done < data.len && stream_reads(STREAM_FROM_COMPONENT, c->state)) {
        slice rest = slice_from(data, done);
        size_t used = 0;
        enum xml_unit u = xml_read(&c->reader, c->worker->xml, rest, &used);
        slice unit = { rest.ptr, used };
        done += used;
        if (u == XML_MORE)
            break;
        if (u == XML_ERROR) {
            fail(c, stream_error_of_xml((int)c->reader.error), slice_of(c->reader.what));
        } else if (u == XML_STREAM) {
            struct stream_step step = component_meets(c, STREAM_GOT_HEADER);
            if (step.action == STREAM_DO_HEADER)
                header(c, unit);
            else
                fail(c, step.error, slice_of(step.text));
        } else if (u == XML_STANZA && c->state == STREAM_BOUND) {
            stanza_in(c, unit);
        } else if (u == XML_STANZA) {
            handshake(c, unit);
        } else if (u == XML_END) {
            close_with(c, c->header_sent ? SLICE("</stream:stream>") : (slice){ "", 0 });
        }
    }
    return done;
}

static void on_event(struct conn *conn, enum conn_event ev)
{
    struct component *c = conn_owner(conn);
    switch (ev) {
    case CONN_HIGH:
        conn_hold(conn, CONN_HOLD_OUTPUT);
        break;
    case CONN_LOW:
        conn_release(conn, CONN_HOLD_OUTPUT);
        break;
    case CONN_OVERFLOW:
        fail(c, XE_POLICY_VIOLATION, SLICE("too much output waits: read faster"));
        break;
    case CONN_EOF:
        close_with(c, c->header_sent ? SLICE("</stream:stream>") : (slice){ "", 0 });
        break;
    case CONN_FAILED:
        leave(c);
        component_now(c, STREAM_LOST);
        conn_abort(conn);
        break;
    default:
        break;
    }
}

static void on_closed(struct conn *conn)
{
    struct component *c = conn_owner(conn);
    struct component_worker *cw = here(c);
    leave(c);
    store_cancel(&c->op);
    timer_cancel(&c->timer);
    xml_reader_fini(&c->reader);
    list_remove(&c->node);
    map_del(&cw->by_id, (slice){ (const char *)&c->id, sizeof c->id });
    cw->count--;
    metric_add(&component_streams, -1);
    mem_free(&c);
}

static const struct conn_ops ops = { on_input, on_event, on_closed };

static void on_timer(struct timer *t, struct loop *loop)
{
    (void)loop;
    fail(CONTAINER_OF(t, struct component, timer), XE_CONNECTION_TIMEOUT,
         SLICE("no handshake in time"));
}

static void accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct component_listener *l = arg;
    struct worker *w = worker_here();
    struct component_worker *cw = &l->gate->worker[w->index];
    struct conn *conn = conn_create(loop, fd, peer, l->flags, NULL, &l->gate->limits);
    if (conn == NULL)
        return;
    struct component *c = mem_new(struct component);
    c->conn = conn;
    c->gate = l->gate;
    c->worker = w;
    c->id = ++w->next_id << 16 | w->index;
    c->timer.fn = on_timer;
    list_append(&cw->streams, &c->node);
    map_put(&cw->by_id, c);
    cw->count++;
    xml_reader_init(&c->reader, &(struct xml_limits){ .unit_bytes = COMPONENT_STANZA_BYTES,
                                                      .depth = 128,
                                                      .attrs = 64,
                                                      .name_bytes = 256 });
    metric_add(&component_streams, 1);
    timer_set(loop, &c->timer, HANDSHAKE_MS);
    conn_start(conn, &ops, c);
}

/* Output. */

void component_send(struct component_gate *g, struct worker *w, uint64_t link, struct stanza *st)
{
    struct component *c =
        map_get(&g->worker[w->index].by_id, (slice){ (const char *)&link, sizeof link });
    if (c == NULL || c->state != STREAM_BOUND) {
        remote_bounce(w, st);
        return;
    }
    char *at = conn_reserve(c->conn, stanza_write_max(st, NULL));
    conn_commit(c->conn, stanza_write(at, st, NULL));
    metric_add(&component_stanzas_out, 1);
    stanza_unref(&st);
}

/* Start and stop. */

static slice id_of(const void *item)
{
    return (slice){ (const char *)&((const struct component *)item)->id, sizeof(uint64_t) };
}

void component_start(struct component_gate *g, struct worker *w)
{
    struct component_worker *cw = &g->worker[w->index];
    list_init(&cw->streams);
    map_init(&cw->by_id, id_of);
}

void component_accept(struct component_gate *g, struct worker *w)
{
    for (size_t i = 0; i < g->count; i++)
        if (listener_attach(g->listen[i].listener, w->loop, accepted, &g->listen[i]) != OK)
            log_error(&log_component, LOG_EV("listen.failed"), LOG_I("worker", w->index),
                      LOG_C("hint", "this worker cannot accept connections; restart the server"));
}

void component_stop(struct component_gate *g, struct worker *w)
{
    struct component_worker *cw = &g->worker[w->index];
    for (size_t i = 0; i < g->count; i++)
        listener_detach(g->listen[i].listener, w->loop);
    cw->stopped = true;
    LIST_EACH (it, &cw->streams)
        fail(CONTAINER_OF(it, struct component, node), XE_SYSTEM_SHUTDOWN, (slice){ 0 });
}

void component_end(struct component_gate *g, struct worker *w, slice domain)
{
    LIST_EACH (it, &g->worker[w->index].streams) {
        struct component *c = CONTAINER_OF(it, struct component, node);
        if (slice_eq(component_domain(c), domain))
            fail(c, XE_NOT_AUTHORIZED, SLICE("this component was deleted"));
    }
}

void component_release(struct component_gate *g, struct worker *w)
{
    LIST_EACH (it, &g->worker[w->index].streams)
        conn_release(CONTAINER_OF(it, struct component, node)->conn, CONN_HOLD_PRESSURE);
}

bool component_idle(const struct component_gate *g, unsigned worker)
{
    return g->worker[worker].count == 0;
}

enum err component_open(struct component_gate **out, const struct component_listen *listens,
                        size_t count, struct why *why)
{
    struct component_gate *g = mem_new(struct component_gate);
    enum err e = OK;
    g->throttle = throttle_create();
    g->limits = (struct conn_limits){ .input_bytes = COMPONENT_STANZA_BYTES + 4096,
                                      .output_high = 1 << 20,
                                      .output_max = COMPONENT_OUTPUT_MAX,
                                      .handshake_ms = HANDSHAKE_MS,
                                      .user_timeout_ms = 60000 };
    for (size_t i = 0; i < count && e == OK; i++) {
        struct component_listener *l = &g->listen[i];
        if (i == COMPONENT_LISTENERS_MAX) {
            why_set(why, "listen.component: %zu addresses, allowed at most %d", count,
                    COMPONENT_LISTENERS_MAX);
            e = E_LIMIT;
            break;
        }
        e = listener_open(&l->listener, slice_of(listens[i].address), why);
        l->gate = g;
        l->flags = listens[i].proxy ? CONN_PROXY : 0u;
        g->count += e == OK;
    }
    *out = g;
    if (e != OK)
        component_close(out);
    return e;
}

void component_close(struct component_gate **pg)
{
    struct component_gate *g = *pg;
    *pg = NULL;
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->count; i++)
        listener_close(&g->listen[i].listener);
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++)
        map_fini(&g->worker[i].by_id);
    throttle_destroy(&g->throttle);
    mem_free(&g);
}
