#include "io/visit.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "io/conn.h"
#include "io/dial.h"
#include "io/resolve.h"
#include "io/timer.h"
#include "io/tls_client.h"
#include "io/tls_names.h"
#include <stdatomic.h>
#include <stdio.h>

enum { WHY_BYTES = 256, TEXT_BYTES_MAX = 4096, HANDSHAKE_MS = 15000, OUTPUT_HIGH = 64 << 10 };

static const struct conn_limits visit_limits = { .input_bytes = VISIT_INPUT_MAX,
                                                 .output_high = OUTPUT_HIGH,
                                                 .output_max = VISIT_OUTPUT_MAX,
                                                 .handshake_ms = HANDSHAKE_MS };

/* RESOLVING ─▶ DIALLING ─▶ a connection. At most one of the three is there. */
struct visit {
    struct loop *loop;
    const struct visit_ops *ops; /* NULL: cancelled, only the connection has to end */
    void *arg;
    struct resolve *resolve;
    struct dial *dial;
    struct conn *conn;
    struct timer deadline;
    struct loop_defer begin; /* opened() comes later in the tick */
    bool failed, not_local, forbidden;
    bool named; /* the certificate must name the host */
    char why[WHY_BYTES];
    uint32_t deadline_ms;
    uint16_t port;
    char host[VISIT_HOST_MAX + 1];
};

static void visit_fail(struct visit *v, slice why)
{
    if (v->failed)
        return;
    v->failed = true;
    int len = snprintf(v->why, sizeof v->why, "%s: %.*s", v->host,
                       (int)(why.len < 200 ? why.len : 200), why.ptr);
    ensure(len > 0); /* it may be cut */
}

static _Atomic unsigned visits;

unsigned visit_count(void) { return atomic_load(&visits); }

static void visit_free(struct visit *v)
{
    atomic_fetch_sub(&visits, 1);
    timer_cancel(&v->deadline);
    loop_defer_cancel(&v->begin);
    mem_free(&v);
}

static void visit_over(struct visit *v)
{
    ensure(v->conn == NULL && v->dial == NULL && v->resolve == NULL);
    timer_cancel(&v->deadline);
    if (v->ops != NULL)
        v->ops->ended(v->arg, v->failed ? v->why : NULL);
    visit_free(v);
}

static size_t visit_on_input(struct conn *c, slice data)
{
    struct visit *v = conn_owner(c);
    return v->ops != NULL ? v->ops->input(v, data) : data.len;
}

const struct tls_peer *visit_tls_peer(const struct visit *v) { return conn_tls_peer(v->conn); }

bool visit_is_named(const struct visit *v, const struct tls_wanted *wanted)
{
    struct arena *tmp = loop_scratch(v->loop);
    struct tls_names names;
    slice *chain;
    ensure(v->conn != NULL);
    return conn_tls_chain(v->conn, tmp, &chain) > 0 &&
           tls_names_read(&names, chain[0], tmp) == OK && tls_names_find(&names, wanted) != NULL;
}

static bool visit_has_host(const struct visit *v)
{
    const struct tls_wanted wanted = { .domain = slice_of(v->host), .wildcards = true };
    slice *chain;
    return (conn_tls_chain(v->conn, loop_scratch(v->loop), &chain) > 0 &&
            tls_names_have_address(chain[0], v->host)) ||
           visit_is_named(v, &wanted);
}

static void visit_secured(struct visit *v)
{
    if (v->named && !visit_has_host(v)) {
        visit_fail(v, SLICE("its certificate is for another name"));
        conn_abort(v->conn);
    } else {
        v->ops->secured(v);
    }
}

static void visit_on_event(struct conn *c, enum conn_event ev)
{
    struct visit *v = conn_owner(c);
    if (ev == CONN_FAILED || ev == CONN_OVERFLOW)
        visit_fail(v, slice_of(conn_error(c) != NULL ? conn_error(c) : "the connection failed"));
    else if (ev == CONN_EOF)
        conn_close(c);
    else if (ev == CONN_SECURED && v->ops != NULL && v->ops->secured != NULL)
        visit_secured(v);
}

static void visit_on_closed(struct conn *c)
{
    struct visit *v = conn_owner(c);
    v->conn = NULL;
    visit_over(v);
}

static const struct conn_ops visit_conn_ops = { visit_on_input, visit_on_event, visit_on_closed };

static void visit_begin(struct loop_defer *d)
{
    struct visit *v = CONTAINER_OF(d, struct visit, begin);
    v->ops->opened(v);
}

static void visit_dialled(void *arg, const struct dial_result *result)
{
    struct visit *v = arg;
    struct buf text;
    v->dial = NULL;
    if (result->conn != NULL) {
        v->conn = result->conn;
        conn_start(v->conn, &visit_conn_ops, v);
        v->begin.fn = visit_begin;
        loop_defer(v->loop, &v->begin);
        return;
    }
    buf_init(&text, TEXT_BYTES_MAX);
    dial_explain(result, &text);
    visit_fail(v, buf_fit(&text));
    buf_fini(&text);
    visit_over(v);
}

static bool visit_is_here(const union address *a)
{
    return address_is_local(a) || address_is_own(a);
}

/* An address in numbers needs no look-up. */
static bool visit_address(slice host, uint16_t port, union address *out)
{
    char text[VISIT_HOST_MAX + 16];
    if (host.len == 0 || host.len > VISIT_HOST_MAX)
        return false;
    bool six = memchr(host.ptr, ':', host.len) != NULL;
    snprintf(text, sizeof text, six ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(host), port);
    return address_parse(slice_of(text), out) && out->any.sa_family != AF_UNIX;
}

bool visit_is_forbidden(slice host)
{
    enum { ANY_PORT = 1 };
    union address a;
    return visit_address(host, ANY_PORT, &a) && visit_is_here(&a);
}

static void visit_refuse(struct loop_defer *d) { visit_over(CONTAINER_OF(d, struct visit, begin)); }

static void visit_dial(struct visit *v, const union address *to, size_t count)
{
    const struct dial_options options = { .limits = &visit_limits, .deadline_ms = v->deadline_ms };
    union address allowed[DIAL_TRIES_MAX];
    size_t left = 0;
    for (size_t i = 0; i < count && left < DIAL_TRIES_MAX; i++)
        if (!v->not_local || !visit_is_here(&to[i]))
            allowed[left++] = to[i];
    if (left > 0) {
        v->dial = dial_start(v->loop, allowed, left, &options, visit_dialled, v);
        return;
    }
    v->forbidden = true;
    visit_fail(v, SLICE("its address is of this machine or its link, which is not allowed"));
    v->begin.fn = visit_refuse;
    loop_defer(v->loop, &v->begin);
}

static void visit_resolved(void *arg, const struct resolved *result)
{
    struct visit *v = arg;
    v->resolve = NULL;
    if (result->end == RESOLVE_FOUND) {
        visit_dial(v, result->address, result->count);
        return;
    }
    visit_fail(v, slice_of(result->reason));
    visit_over(v);
}

static void visit_late(struct timer *t, struct loop *loop)
{
    struct visit *v = CONTAINER_OF(t, struct visit, deadline);
    (void)loop;
    visit_fail(v, SLICE("no answer in time"));
    resolve_cancel(&v->resolve);
    dial_cancel(&v->dial);
    if (v->conn != NULL)
        conn_abort(v->conn);
    else
        visit_over(v);
}

struct visit *visit_start(struct loop *loop, const struct visit_options *options,
                          const struct visit_ops *ops, void *arg)
{
    union address to;
    if (options->host.len == 0 || options->host.len > VISIT_HOST_MAX)
        return NULL;
    struct visit *v = mem_new(struct visit);
    *v = (struct visit){ .loop = loop,
                         .ops = ops,
                         .arg = arg,
                         .deadline = { .fn = visit_late },
                         .deadline_ms = options->deadline_ms,
                         .not_local = options->not_local,
                         .port = options->port };
    atomic_fetch_add(&visits, 1);
    memcpy(v->host, options->host.ptr, options->host.len);
    timer_set(loop, &v->deadline, options->deadline_ms);
    if (visit_address(slice_of(v->host), v->port, &to))
        visit_dial(v, &to, 1);
    else
        v->resolve = resolve_host(options->resolver, slice_of(v->host), v->port, visit_resolved, v);
    return v;
}

bool visit_was_forbidden(const struct visit *v) { return v->forbidden; }

void *visit_arg(const struct visit *v) { return v->arg; }

void visit_peer(const struct visit *v, union address *out)
{
    ensure(v->conn != NULL);
    address_set(out, &conn_info(v->conn)->peer.any);
}

void visit_write(struct visit *v, slice data)
{
    ensure(v->conn != NULL);
    conn_write(v->conn, data);
}

void visit_start_tls(struct visit *v, struct tls_trust *trust)
{
    union address ignored;
    ensure(v->conn != NULL && v->ops->secured != NULL);
    struct tls_call call = { .trust = trust, .demand = TLS_REQUIRE, .relay = true };
    v->named = trust != NULL;
    if (!visit_address(slice_of(v->host), v->port, &ignored))
        call.server_name = slice_of(v->host);
    conn_start_tls_client(v->conn, &call);
}

void visit_start_tls_as(struct visit *v, slice server_name, slice protocol, struct tls_trust *trust)
{
    ensure(v->conn != NULL && v->ops->secured != NULL);
    struct tls_call call = { .server_name = server_name,
                             .alpn = &protocol,
                             .alpn_count = protocol.len > 0 ? 1 : 0,
                             .trust = trust,
                             .demand = TLS_REPORT,
                             .relay = true };
    conn_start_tls_client(v->conn, &call);
}

void visit_close(struct visit *v)
{
    ensure(v->conn != NULL);
    conn_close(v->conn);
}

void visit_cancel(struct visit **pv)
{
    struct visit *v = *pv;
    *pv = NULL;
    if (v == NULL)
        return;
    resolve_cancel(&v->resolve);
    dial_cancel(&v->dial);
    v->ops = NULL;
    timer_cancel(&v->deadline);
    loop_defer_cancel(&v->begin);
    if (v->conn != NULL)
        conn_abort(v->conn); /* visit_on_closed() frees it */
    else
        visit_free(v);
}
