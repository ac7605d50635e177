/* A connection: its input, its phases, its deadlines, its end. */
#include "base/mem.h"
#include "http/http_private.h"
#include <assert.h>

/* An idle connection, or one that waits for its first request, is closed without an answer. */
static void http_conn_arm(struct http_conn *h)
{
    uint64_t ms = (uint64_t)setting_int(&http_request_timeout);
    if (h->phase == PHASE_WORK) {
        timer_cancel(&h->timer); /* the handler's time */
        return;
    }
    if (h->phase == PHASE_IDLE && h->served > 0)
        ms = (uint64_t)setting_int(&http_idle_timeout);
    timer_set(h->local->loop, &h->timer, ms);
}

void http_phase_set(struct http_conn *h, enum http_phase phase)
{
    h->phase = (uint8_t)phase;
    h->since_us = loop_now_us(h->local->loop);
    http_conn_arm(h);
}

/* A millisecond a byte: 1,000 bytes a second at least, and a large body that stalls ends too. */
void http_body_credit(struct http_conn *h, size_t bytes)
{
    uint64_t most = loop_now_us(h->local->loop) + HTTP_CREDIT_MS * 1000ull;
    h->since_us += (uint64_t)bytes * 1000;
    if (h->since_us > most)
        h->since_us = most;
}

void http_exchange_done(struct http_conn *h)
{
    exchange_free(h);
    h->served++;
    http_phase_set(h, PHASE_IDLE);
    if (h->last)
        conn_close(h->conn);
    else
        conn_release(h->conn, CONN_HOLD_STREAM);
}

static void http_conn_on_timer(struct timer *t, struct loop *loop)
{
    struct http_conn *h = CONTAINER_OF(t, struct http_conn, timer);
    uint64_t limit_ms = (uint64_t)setting_int(&http_request_timeout);
    uint64_t now_us = loop_now_us(loop), due_us = h->since_us + limit_ms * 1000;
    if (h->x == NULL || h->x->answered) {
        conn_close(h->conn);
        return;
    }
    if (h->phase == PHASE_WORK) { /* the server ends; nobody knows what the handler has done */
        http_refuse(h, 504);
        return;
    }
    if (h->phase == PHASE_BODY && (h->x->held || now_us < due_us)) {
        timer_set(loop, t, h->x->held ? limit_ms : (due_us - now_us) / 1000 + 1);
        return;
    }
    http_refuse(h, 408);
}

void http_hold(struct http_request *r)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    x->held = true;
    conn_hold(x->h->conn, CONN_HOLD_STREAM);
}

void http_release(struct http_request *r)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    if (!x->held)
        return;
    x->held = false;
    if (x->h->since_us < loop_now_us(x->h->local->loop))
        x->h->since_us = loop_now_us(x->h->local->loop);
    conn_release(x->h->conn, CONN_HOLD_STREAM);
}

bool http_client_ended(const struct http_request *r)
{
    return CONTAINER_OF(r, const struct exchange, r)->h->ended;
}

/* Input. */

static void http_conn_handle(struct exchange *x)
{
    x->complete = true;
    http_phase_set(x->h, PHASE_WORK);
    x->r.body = buf_slice(&x->body);
    x->engaged = true;
    x->r.route->handle(&x->r);
}

/* A request begins. */
static unsigned http_conn_begin(struct http_conn *h)
{
    exchange_make(h);
    http_phase_set(h, PHASE_HEAD);
    if (h->key.len == 0)
        (void)http_address_enter(h);
    return h->key.beyond ? 429 : 0;
}

static void http_conn_refuse(struct http_conn *h, unsigned status)
{
    if (h->x == NULL) /* not even a method */
        exchange_make(h);
    http_refuse(h, status);
}

/* Handles an event of the reader. */
static void http_conn_take(struct http_conn *h, enum http_read event, const struct http_step *step)
{
    unsigned status = 0;
    h->reading = true;
    switch (event) {
    case HTTP_READ_BEGIN:
        status = http_conn_begin(h);
        break;
    case HTTP_READ_HEAD:
        status = http_on_head(h);
        break;
    case HTTP_READ_BODY:
        status = http_on_body(h, step->body);
        break;
    case HTTP_READ_BAD:
        status = step->status;
        h->last = true;
        break;
    case HTTP_READ_MORE:
    case HTTP_READ_END:
        break;
    }
    h->reading = false;
    if (status != 0)
        http_conn_refuse(h, status);
    else if (h->x != NULL && h->x->answered)
        http_exchange_done(h);
    else if (event == HTTP_READ_END && h->x != NULL) /* NULL: it was answered before its end */
        http_conn_handle(h->x);
}

static bool takes_input(const struct http_conn *h)
{
    return h->phase != PHASE_WORK && (h->x == NULL || !h->x->held);
}

static size_t http_conn_on_input(struct conn *c, slice data)
{
    struct http_conn *h = conn_owner(c);
    struct http_step step;
    size_t done = 0;
    while (done < data.len && !h->given && takes_input(h)) {
        if (h->x == NULL && h->last) /* the connection closes: further input is ignored */
            return data.len;
        if (h->x == NULL && conn_waits_for_reader(c))
            return done;
        enum http_read event =
            http_read(&h->reader, h->x != NULL ? &h->x->head : NULL, slice_from(data, done), &step);
        done += step.used;
        http_conn_take(h, event, &step);
    }
    if (h->given)
        mem_free(&h);
    else if (done < data.len) { /* pipelined: read on when this one is answered */
        conn_hold(c, CONN_HOLD_STREAM);
        if (h->phase == PHASE_WORK && h->x->r.route->followed != NULL)
            h->x->r.route->followed(&h->x->r);
    }
    return done;
}

/* The end. */

static void http_conn_leave(struct http_conn *h)
{
    struct http_local *l = h->local;
    exchange_free(h);
    http_address_leave(h);
    timer_cancel(&h->timer);
    list_remove(&h->node);
    l->count--;
    metric_add(&http_conns, -1);
}

static void http_conn_on_event(struct conn *c, enum conn_event ev)
{
    struct http_conn *h = conn_owner(c);
    switch (ev) {
    case CONN_DRAINED:
        if (h->x != NULL && h->x->started && !h->x->answered && h->x->r.route->drained != NULL)
            h->x->r.route->drained(&h->x->r);
        break;
    case CONN_HIGH: /* a client that does not read its answers must wait with further requests */
        (void)conn_waits_for_reader(c);
        break;
    case CONN_LOW:
        conn_release(c, CONN_HOLD_OUTPUT);
        break;
    case CONN_EOF: /* half-closed clients still get their answer */
        h->last = h->ended = true;
        if (h->phase != PHASE_WORK)
            conn_close(c);
        break;
    case CONN_FAILED:
        conn_abort(c);
        break;
    case CONN_SECURED:
    case CONN_LAST:
    case CONN_OVERFLOW:
        break;
    }
}

static void http_conn_on_closed(struct conn *c)
{
    struct http_conn *h = conn_owner(c);
    http_conn_leave(h);
    mem_free(&h);
}

static_assert(sizeof(struct http_conn) <= 256, "an idle connection is small");

static const struct conn_ops ops = { http_conn_on_input, http_conn_on_event, http_conn_on_closed };

struct conn *http_upgrade(struct http_request *r, slice headers)
{
    struct exchange *x = CONTAINER_OF(r, struct exchange, r);
    struct http_conn *h = x->h;
    struct conn *c = h->conn;
    conn_write(c, SLICE("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"));
    conn_write(c, headers);
    conn_write(c, SLICE("\r\n"));
    x->answered = true;
    http_conn_leave(h);
    h->given = true; /* freed when http_conn_on_input() returns, which called the handler */
    h->conn = NULL;
    return c;
}

static const struct conn_limits limits = { .input_bytes = 128 * 1024,
                                           .output_high = 256 * 1024,
                                           .output_max = 4 * 1024 * 1024,
                                           .handshake_ms = 15000,
                                           .user_timeout_ms = 60000 };

static void http_conn_accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct http_listener *l = arg;
    struct http_server *s = l->server;
    pthread_mutex_lock(&s->lock);
    struct tls_ctx *tls = s->tls != NULL ? tls_ctx_ref(s->tls) : NULL;
    pthread_mutex_unlock(&s->lock);
    struct conn *c = conn_create(loop, fd, peer, l->flags, tls, &limits);
    tls_ctx_unref(&tls);
    if (c == NULL)
        return;
    struct http_conn *h = mem_new(struct http_conn);
    h->conn = c;
    h->local = &s->local[loop_index(loop)];
    h->listener = l;
    h->timer.fn = http_conn_on_timer;
    http_reader_init(&h->reader);
    list_append(&h->local->conns, &h->node);
    h->local->count++;
    metric_add(&http_conns, 1);
    http_phase_set(h, PHASE_IDLE);
    conn_start(c, &ops, h);
    /* a PROXY header tells the address only later */
    if ((l->flags & CONN_PROXY) == 0 && http_address_enter(h) == PEERS_CLOSE) {
        metric_add(&http_refused, 1);
        conn_abort(c);
    }
}

void http_worker_start(struct http_server *s, struct loop *loop)
{
    struct http_local *l = &s->local[loop_index(loop)];
    l->server = s;
    l->loop = loop;
    list_init(&l->conns);
}

void http_worker_accept(struct http_server *s, struct loop *loop)
{
    for (size_t i = 0; i < s->listen_count; i++)
        if (listener_attach(s->listen[i].listener, loop, http_conn_accepted, &s->listen[i]) != OK)
            log_error(&log_http, LOG_EV("listen.failed"), LOG_I("worker", loop_index(loop)),
                      LOG_C("hint", "this worker cannot accept connections; restart the server"));
}

void http_worker_stop(struct http_server *s, struct loop *loop)
{
    struct http_local *l = &s->local[loop_index(loop)];
    for (size_t i = 0; i < s->listen_count; i++)
        listener_detach(s->listen[i].listener, loop);
    LIST_EACH (it, &l->conns) {
        struct http_conn *h = CONTAINER_OF(it, struct http_conn, node);
        h->last = true;
        if (h->phase == PHASE_WORK) /* the handler may still answer */
            timer_set(loop, &h->timer, HTTP_STOP_MS);
        else if (h->x != NULL && !h->x->answered)
            http_refuse(h, 503);
        else
            conn_close(h->conn);
    }
}

bool http_worker_idle(const struct http_server *s, const struct loop *loop)
{
    return s->local[loop_index(loop)].count == 0;
}
