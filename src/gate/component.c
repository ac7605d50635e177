#include "gate/component.h"
#include "auth/auth.h"
#include "auth/seal.h"
#include "auth/throttle.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "component/component_rights.h"
#include "component/component_watch.h"
#include "gate/component_privilege.h"
#include "gate/component_rows.h"
#include "gate/stanza_limits.h"
#include "gate/xstream.h"
#include "home/host.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/router.h"
#include "home/trail.h"
#include "io/listen.h"
#include "remote/remote_domains.h"
#include "store/store.h"
#include "xmpp/ns.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

enum { HANDSHAKE_MS = 10000, HEX_SHA1 = 40, STREAM_ID_BYTES = 16 };
enum { PART_MS = 300 /* for the end of the stream, when this node stops */ };

struct component {
    struct xstream x; /* first: it is the owner of the connection */
    struct component_gate *gate;
    struct store_op *op;     /* its secret is being read */
    struct timer turn;       /* until that, when the secret is being guessed */
    struct throttle_try try; /* of its secret; its jid is `domain` */
    uint32_t wait_ms;        /* for its turn */
    bool announced;
    bool was_there; /* another connection had the domain when this one was announced */
    char stream_id[2 * STREAM_ID_BYTES + 1];
    char digest[HEX_SHA1 + 1]; /* as sent */
    uint16_t domain_len;
    char domain[JID_PART_MAX]; /* prepared */
};

struct component_worker {
    struct xstreams streams;
    struct timer part;
    struct map by_id;
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

static struct component *component_of(const struct xstream *x)
{
    return (struct component *)(uintptr_t)x;
}
static slice component_domain(const struct component *c)
{
    return (slice){ c->domain, c->domain_len };
}

static slice component_id_of(const void *item)
{
    return (slice){ (const char *)&((const struct component *)item)->x.id, sizeof(uint64_t) };
}

/* Ends. */

/* All know it, in the same order: of connections that end together, the last one sees no other. */
static void component_left(struct worker *w, slice domain, uint64_t link, enum err e)
{
    (void)link, (void)e;
    if (!remote_known(w, domain))
        remote_domain_seen(w, domain, DOMAIN_FAILED);
}

static void component_leave(struct component *c)
{
    if (c->announced)
        remote_announce(c->x.worker, component_domain(c), &component_edge, c->x.id, REMOTE_DOWN,
                        component_left);
    c->announced = false;
}

static void component_gone(struct xstream *x, enum xstream_end why)
{
    (void)why;
    component_leave(component_of(x));
}

static void component_closing(struct xstream *x) { component_leave(component_of(x)); }

static void component_send_header(struct component *c, slice domain)
{
    rand_hex(c->stream_id, STREAM_ID_BYTES);
    xstream_open(&c->x, &(struct xstream_header){
                            .ns = NS_COMPONENT, .id = slice_of(c->stream_id), .from = domain });
}

static void component_greet(struct xstream *x)
{
    component_send_header(component_of(x), (slice){ 0 });
}

static void component_failed(struct xstream *x, enum stream_error e, slice text)
{
    log_info(&log_component, LOG_EV("component.error"), LOG_C("condition", stream_error_name(e)),
             LOG_S("text", text), LOG_S("domain", component_domain(component_of(x))),
             LOG_C("peer", conn_info_text(conn_info(x->conn)).text));
}

static void component_put(struct component *c, const struct stanza *st)
{
    xstream_tcp.stanza(&c->x, st, NULL);
    metric_add_to(&component_stanzas, COMPONENT_SENT, 1);
}

/* Joining. */

static void component_tell(struct worker *w, struct stanza *st, void *arg)
{
    (void)w;
    if (st != NULL)
        component_put(arg, st);
    stanza_unref(&st);
}

static void component_joined(struct worker *w, slice domain, uint64_t link, enum err e)
{
    (void)domain;
    struct component_gate *g = edge_own(worker_node(w), &component_edge);
    struct component *c =
        map_get(&g->worker[worker_index(w)].by_id, (slice){ (const char *)&link, sizeof link });
    if (c == NULL || c->x.state != STREAM_BINDING)
        return; /* it has disconnected meanwhile */
    if (e != OK) {
        c->announced = false;
        if (e == E_LIMIT)
            xstream_fail(&c->x, XE_RESOURCE_CONSTRAINT,
                         SLICE("too many connections serve this domain"));
        else
            xstream_fail(&c->x, XE_INTERNAL_SERVER_ERROR,
                         SLICE("the server could not tell all its parts of this connection"));
        return;
    }
    xstream_now(&c->x, STREAM_IS_BOUND);
    xstream_timer(&c->x);
    log_info(&log_component, LOG_EV("component.joined"), LOG_S("domain", component_domain(c)),
             LOG_C("peer", conn_info_text(conn_info(c->x.conn)).text));
    xstream_write(&c->x, SLICE("<handshake/>"));
    component_rights_tell(w, component_domain(c), component_tell, c);
    component_watch_begins(w, component_domain(c));
    if (!c->was_there)
        remote_domain_seen(w, component_domain(c), DOMAIN_UP);
    xstream_go(&c->x);
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

static void refuse_handshake(struct component *c)
{
    metric_add(&component_refused, 1);
    xstream_fail(&c->x, XE_NOT_AUTHORIZED, (slice){ 0 });
}

static bool is_right(struct component *c, bool known, const struct store_batch *b)
{
    char expected[HEX_SHA1 + 1];
    struct throttle *t = c->gate->throttle;
    uint64_t now = loop_now_us(worker_loop(c->x.worker));
    struct arena *tmp = loop_scratch(worker_loop(c->x.worker));
    slice secret = SLICE("");
    known = known && unseal(&secret, store_text(b, 0, 0, 0),
                            component_context(component_domain(c), tmp), tmp);
    expected_digest(c, secret, expected);
    bool right = CRYPTO_memcmp(expected, c->digest, HEX_SHA1) == 0 && known;
    if (right)
        throttle_passed(t, &c->try, now);
    else
        throttle_failed(t, &c->try, now);
    return right;
}

/* A domain without a secret is answered like a wrong secret, after the same work. */
static void secret_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct component *c = arg;
    ensure(c->op != NULL);
    c->op = NULL;
    if (c->x.state != STREAM_CHECKING)
        return;
    if (result != STORE_OK) {
        throttle_void(c->gate->throttle, &c->try);
        xstream_fail(&c->x, XE_INTERNAL_SERVER_ERROR, SLICE("the database does not answer"));
        return;
    }
    if (!is_right(c, store_row_count(b, 0) > 0, b)) {
        refuse_handshake(c);
        return;
    }
    xstream_now(&c->x, STREAM_PASSED);
    c->announced = true;
    c->was_there = remote_known(c->x.worker, component_domain(c));
    remote_announce(c->x.worker, component_domain(c), &component_edge, c->x.id, REMOTE_UP,
                    component_joined);
}

static void read_component_secret(struct component *c)
{
    struct store_batch *b = store_read(worker_store(c->x.worker), 0);
    STORE_ADD(b, &component_secret, STORE_ANY_ROWS, SV_T(component_domain(c)));
    c->op = store_submit(b, worker_loop(c->x.worker), 0, secret_read, c);
}

static void handshake_turn_came(struct timer *t, struct loop *loop)
{
    (void)loop;
    read_component_secret(CONTAINER_OF(t, struct component, turn));
}

/* A guess that is refused for now (auth/throttle.h) is answered like a wrong one. */
static void check_handshake(struct component *c)
{
    struct loop *loop = worker_loop(c->x.worker);
    ensure(c->op == NULL && !timer_is_set(&c->turn));
    throttle_try_init(&c->try, &conn_info(c->x.conn)->peer.any, component_domain(c), NULL);
    if (throttle_take(c->gate->throttle, &c->try, loop_now_us(loop), &c->wait_ms) != OK) {
        metric_add(&auth_throttled, 1);
        refuse_handshake(c);
    } else if (c->wait_ms > 0) {
        c->turn.fn = handshake_turn_came;
        timer_set(loop, &c->turn, c->wait_ms);
        xstream_timer(&c->x);
    } else {
        read_component_secret(c);
    }
}

static void component_handshake(struct component *c, const struct elem *e)
{
    slice digest = elem_text(e, loop_scratch(worker_loop(c->x.worker)));
    if (digest.len == HEX_SHA1)
        memcpy(c->digest, digest.ptr, HEX_SHA1);
    xstream_now(&c->x, STREAM_GOT_HANDSHAKE);
    xstream_wait(&c->x);
    check_handshake(c);
}

/* Input. */

static void component_element(struct xstream *x, const struct xstream_unit *u)
{
    ensure_debug(u->step.action == STREAM_DO_HANDSHAKE);
    component_handshake(component_of(x), &u->elem);
}

static void component_header(struct xstream *x, slice unit)
{
    struct component *c = component_of(x);
    const struct node *node = worker_node(x->worker);
    slice domain, to = xstream_attr(x, unit, SLICE("to"));
    if (!xstream_is_header(x, unit) || !slice_is(xml_stream_default_ns(&x->reader), NS_COMPONENT)) {
        xstream_fail(x, XE_INVALID_NAMESPACE, (slice){ 0 });
    } else if (jid_prep_domain(to, loop_scratch(worker_loop(x->worker)), &domain) != OK ||
               domain.len > sizeof c->domain || node_serves(node, domain) ||
               host_find(node, domain, &(slice){ 0 }) != NULL) {
        xstream_fail(x, XE_HOST_UNKNOWN, SLICE("not a domain that a component may serve"));
    } else {
        memcpy(c->domain, domain.ptr, domain.len);
        c->domain_len = (uint16_t)domain.len;
        component_send_header(c, domain);
        xstream_now(x, STREAM_GOT_HEADER);
    }
}

/* Whether `from` is of its domain. One without a domain that can be read is of no other. */
static bool component_may_say(const struct component *c, slice unit, const struct stanza *st)
{
    slice domain = st->bad_from ? xstream_attr_domain(&c->x, unit, SLICE("from"))
                                : jid_split(stanza_from(st)).domain;
    return slice_eq(domain, component_domain(c)) || (st->bad_from && domain.len == 0);
}

/* Names of users elsewhere have characters that no resource has (RFC 7622 §3.4), as many emoji have
 * U+FE0F: that costs the stanza alone, not the stream of all. The answer is for the domain, on the
 * same stream: what is before the resource may be a room, which would take an error from its
 * occupant for the end of it (XEP-0045 §18.1). */
static void component_misaddressed(struct component *c, slice unit, const struct stanza *st)
{
    slice from = st->bad_from ? component_domain(c) : stanza_from(st);
    struct stanza *whole = stanza_readdress(st, from, (slice){ 0 }),
                  *error = stanza_make_error(whole, SE_JID_MALFORMED, stanza_bad_address(st));
    metric_add(&component_misaddressed_stanzas, 1);
    log_info(&log_component, LOG_EV("component.misaddressed"), LOG_S("domain", component_domain(c)),
             LOG_S("from", xstream_attr(&c->x, unit, SLICE("from"))),
             LOG_S("to", xstream_attr(&c->x, unit, SLICE("to"))),
             LOG_C("hint", "one of these is no address (RFC 7622); this stanza was refused"));
    trail_note(whole, "refused", stanza_error_name(SE_JID_MALFORMED), (slice){ 0 });
    if (error != NULL)
        component_put(c, error);
    stanza_unref(&error);
    stanza_unref(&whole);
}

static void component_stanza(struct xstream *x, slice unit)
{
    struct component *c = component_of(x);
    struct worker *w = x->worker;
    struct stanza_source src = { .unit = unit, .work = worker_xml(w), .reader = &x->reader };
    struct stanza *st;
    if (stanza_read(&st, &src, loop_scratch(worker_loop(w))) != OK) {
        xstream_fail(&c->x, XE_UNSUPPORTED_STANZA_TYPE, (slice){ 0 });
        return;
    }
    if (!component_may_say(c, unit, st)) {
        xstream_fail(&c->x, XE_INVALID_FROM, SLICE("a component speaks for its own domain"));
    } else if (st->bad_from || st->bad_to) {
        component_misaddressed(c, unit, st);
    } else if (st->to_len == 0) {
        xstream_fail(&c->x, XE_IMPROPER_ADDRESSING, SLICE("a stanza of a component needs `to`"));
    } else {
        metric_add_to(&component_stanzas, COMPONENT_RECEIVED, 1);
        trail_answer(st);
        if (!component_privilege_takes(w, component_domain(c), st))
            route_send(w, st);
        return;
    }
    stanza_unref(&st);
}

static uint64_t component_due_ms(const struct xstream *x)
{
    return x->state == STREAM_BOUND
               ? UINT64_MAX
               : xstream_left_ms(x, HANDSHAKE_MS + (uint64_t)component_of(x)->wait_ms);
}

static void component_free(struct xstream *x)
{
    struct component *c = component_of(x);
    component_leave(c);
    store_cancel(&c->op);
    timer_cancel(&c->turn);
    if (c->try.taken)
        throttle_failed(c->gate->throttle, &c->try, loop_now_us(worker_loop(x->worker)));
    map_del(&c->gate->worker[worker_index(x->worker)].by_id, component_id_of(c));
    xstream_fini(x);
    metric_add(&component_streams, -1);
    mem_free(&c);
}

static void component_check(const struct xstream *x)
{
    const struct component *c = component_of(x);
    ensure(c->domain_len < sizeof c->domain && c->try.jid.len <= c->domain_len);
    ensure(!c->announced || c->domain_len > 0);
    ensure(c->announced || x->state != STREAM_BOUND);
}

static const struct xstream_ops component_ops = { .late = "no handshake in time",
                                                  .greet = component_greet,
                                                  .header = component_header,
                                                  .element = component_element,
                                                  .stanza = component_stanza,
                                                  .gone = component_gone,
                                                  .closing = component_closing,
                                                  .failed = component_failed,
                                                  .due_ms = component_due_ms,
                                                  .free = component_free,
                                                  .check = component_check };

static void component_accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct component_listener *l = arg;
    struct worker *w = worker_here();
    struct component_worker *cw = &l->gate->worker[worker_index(w)];
    struct conn *conn = conn_create(loop, fd, peer, l->flags, NULL, &l->gate->limits);
    ensure(w != NULL);
    if (conn == NULL)
        return;
    struct component *c = mem_new(struct component);
    c->gate = l->gate;
    c->x.ops = &component_ops;
    c->x.way = &xstream_tcp;
    c->x.role = STREAM_FROM_COMPONENT;
    c->x.conn = conn;
    const struct xml_limits limits = limits_of_peer(COMPONENT_STANZA_BYTES);
    xstream_init(&c->x, w, &limits);
    xstream_adopt(&c->x, w, &cw->streams);
    map_put(&cw->by_id, c);
    metric_add(&component_streams, 1);
    xstream_timer(&c->x);
    conn_start(conn, &xstream_conn_ops, c);
}

/* Output. */

static void component_send(void *own, struct worker *w, uint64_t link, struct stanza *st)
{
    struct component_gate *g = own; /* NULL: another node told of a link that is not here */
    const slice id = { (const char *)&link, sizeof link };
    struct component *c = g == NULL ? NULL : map_get(&g->worker[worker_index(w)].by_id, id);
    if (c == NULL || c->x.state != STREAM_BOUND) {
        route_error(w, st, SE_REMOTE_SERVER_TIMEOUT, SLICE("the connection to this domain broke"));
        stanza_unref(&st);
        return;
    }
    component_put(c, st);
    stanza_unref(&st);
}

/* Start and stop. */

static void component_start(void *own, struct worker *w)
{
    struct component_worker *cw = &((struct component_gate *)own)->worker[worker_index(w)];
    xstreams_init(&cw->streams);
    map_init(&cw->by_id, component_id_of);
}

static void component_open(void *own, struct worker *w)
{
    struct component_gate *g = own;
    for (size_t i = 0; i < g->count; i++)
        if (listener_attach(g->listen[i].listener, worker_loop(w), component_accepted,
                            &g->listen[i]) != OK)
            log_error(&log_component, LOG_EV("listen.failed"), LOG_I("worker", worker_index(w)),
                      LOG_C("hint", "this worker cannot accept connections; restart the server"));
}

static void component_stop(void *own, struct worker *w)
{
    struct component_gate *g = own;
    struct component_worker *cw = &g->worker[worker_index(w)];
    for (size_t i = 0; i < g->count; i++)
        listener_detach(g->listen[i].listener, worker_loop(w));
    cw->streams.stopped = true;
    LIST_EACH (it, &cw->streams.all) {
        struct xstream *x = CONTAINER_OF(it, struct xstream, node);
        if (x->state == STREAM_BOUND)
            xstream_wait(x); /* nothing that it says is stored: it is told what comes back */
        else
            xstream_fail(x, XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    }
}

/* One that does not read keeps its stream longer than the loop lives. */
static void component_parted(struct timer *t, struct loop *loop)
{
    struct component_worker *cw = CONTAINER_OF(t, struct component_worker, part);
    (void)loop;
    LIST_EACH (it, &cw->streams.all)
        conn_abort(CONTAINER_OF(it, struct xstream, node)->conn);
}

static void component_part(void *own, struct worker *w)
{
    struct component_worker *cw = &((struct component_gate *)own)->worker[worker_index(w)];
    LIST_EACH (it, &cw->streams.all)
        xstream_fail(CONTAINER_OF(it, struct xstream, node), XE_SYSTEM_SHUTDOWN, (slice){ 0 });
    cw->part.fn = component_parted;
    timer_set(worker_loop(w), &cw->part, PART_MS);
}

static void component_part_ends(void *own, struct worker *w)
{
    timer_cancel(&((struct component_gate *)own)->worker[worker_index(w)].part);
}

static void component_relieve(void *own, struct worker *w)
{
    struct component_gate *g = own;
    xstreams_release(&g->worker[worker_index(w)].streams);
}

static bool component_idle(void *own, struct worker *w)
{
    return ((struct component_gate *)own)->worker[worker_index(w)].streams.count == 0;
}

const struct edge component_edge = { .name = "component",
                                     .start = component_start,
                                     .open = component_open,
                                     .stop = component_stop,
                                     .part = component_part,
                                     .idle = component_idle,
                                     .relieve = component_relieve,
                                     .end = component_part_ends,
                                     .remote = component_send };

void component_end(struct worker *w, slice domain, slice why)
{
    struct component_gate *g = edge_own(worker_node(w), &component_edge);
    if (g == NULL)
        return;
    ensure(worker_is_here(w));
    LIST_EACH (it, &g->worker[worker_index(w)].streams.all) {
        struct component *c = component_of(CONTAINER_OF(it, struct xstream, node));
        if (slice_eq(component_domain(c), domain))
            xstream_fail(&c->x, XE_NOT_AUTHORIZED, why);
    }
}

enum err component_create(struct component_gate **out, const struct component_listen *listens,
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
        component_destroy(out);
    return e;
}

void component_destroy(struct component_gate **pg)
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
