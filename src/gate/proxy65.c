#include "gate/proxy65.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/socks5.h"
#include "gate/proxy65_rows.h"
#include "home/node.h"
#include "home/question.h"
#include "io/conn.h"
#include "io/listen.h"
#include "io/peers.h"
#include "io/timer.h"
#include <unistd.h>

enum {
    GREETING_MS = 10000,
    RATE_MS = 100,
    INPUT_BYTES = 64 << 10,
    OUTPUT_HIGH = 128 << 10,
    OUTPUT_MAX = 1 << 20
};
enum side_state { GREETING, REQUEST, MOVING, WAITING, ACTIVE, ENDING, CLOSED };

struct bytestream;

/* One connection. */
struct side {
    struct conn *conn;
    struct proxy65 *proxy;
    struct worker *worker;
    struct list node;          /* in proxy65.sides of its worker; not while MOVING */
    struct bytestream *stream; /* while WAITING and behind it; NULL: it is refused */
    struct timer timer;        /* end of the greeting, of waiting, of idleness */
    struct timer refill;       /* while it is held by its rate */
    uint8_t state;             /* enum side_state */
    bool held;                 /* by its rate */
    bool last;                 /* it ends when what waits for it is written */
    int64_t tokens;            /* bytes that it may send now */
    uint64_t filled_us, active_us;
    uint16_t port; /* as asked for; told back */
    struct peer_key peer;
    char hash[PROXY65_HASH + 1];
};

/* Two connections with the same hash. */
struct bytestream {
    struct side *side[2];
    bool active;
    uint64_t bytes;
    char hash[PROXY65_HASH + 1];
};

struct proxy65_listener {
    struct listener *listener;
    struct proxy65 *proxy;
    unsigned flags; /* enum conn_flags */
};

struct proxy65 {
    struct proxy65_listener listen[PROXY65_LISTENERS_MAX];
    size_t count;
    _Atomic int64_t sides_open; /* on all workers, and between them */
    struct list sides[NODE_WORKERS_MAX];
    struct map streams[NODE_WORKERS_MAX]; /* struct bytestream by hash */
    bool stopped[NODE_WORKERS_MAX];
};

static const struct conn_limits limits = { .input_bytes = INPUT_BYTES,
                                           .output_high = OUTPUT_HIGH,
                                           .output_max = OUTPUT_MAX,
                                           .handshake_ms = GREETING_MS,
                                           .user_timeout_ms = 60000 };

/* Of the worker's node; NULL: it has no listener. */
static struct proxy65 *proxy65_of(const struct worker *w)
{
    return edge_own(worker_node(w), &proxy65_edge);
}

static struct side *other_side(const struct side *s)
{
    if (s->stream == NULL)
        return NULL;
    return s->stream->side[0] == s ? s->stream->side[1] : s->stream->side[0];
}

/* Ends. */

static void side_abort(struct side *s)
{
    if (s->state == CLOSED)
        return;
    s->state = CLOSED;
    conn_abort(s->conn);
}

/* When what waits for it is written. */
static void side_finish(struct side *s)
{
    if (s->state == CLOSED)
        return;
    s->state = ENDING;
    s->last = true;
    if (conn_output_bytes(s->conn) == 0) {
        s->state = CLOSED;
        conn_close(s->conn);
    }
}

static void side_reply(struct side *s, enum socks5_reply code)
{
    char out[SOCKS5_REPLY_MAX];
    conn_write(s->conn, (slice){ out, socks5_write_reply(out, code, slice_of(s->hash), s->port) });
}

static void side_refuse(struct side *s, enum socks5_reply code)
{
    metric_add(&proxy65_refused, 1);
    side_reply(s, code);
    s->state = CLOSED;
    conn_close(s->conn);
}

static void proxy65_stream_leave(struct side *s)
{
    struct bytestream *b = s->stream;
    struct side *other = other_side(s);
    if (b == NULL)
        return;
    s->stream = NULL;
    b->side[b->side[0] == s ? 0 : 1] = NULL;
    if (other != NULL && b->active)
        side_finish(other);
    if (other != NULL)
        return;
    if (b->active) {
        metric_add(&proxy65_streams, -1);
        log_info(&log_proxy65, LOG_EV("bytestream.ended"), LOG_C("hash", b->hash),
                 LOG_I("bytes", b->bytes));
    }
    map_del(&s->proxy->streams[worker_index(s->worker)], slice_of(b->hash));
    mem_free(&b);
}

static void proxy65_on_closed(struct conn *conn)
{
    struct side *s = conn_owner(conn);
    timer_cancel(&s->timer);
    timer_cancel(&s->refill);
    list_remove(&s->node);
    proxy65_stream_leave(s);
    peers_leave(&s->peer);
    ensure(s->proxy->sides_open > 0);
    s->proxy->sides_open--;
    metric_add(&proxy65_connections, -1);
    mem_free(&s);
}

/* Time. */

static void proxy65_on_timer(struct timer *t, struct loop *loop)
{
    struct side *s = CONTAINER_OF(t, struct side, timer);
    const struct side *other = other_side(s);
    uint64_t now_us = loop_now_us(loop), idle_ms = (uint64_t)setting_int(&proxy65_idle_time);
    if (s->state != ACTIVE && s->state != ENDING) {
        side_abort(s); /* no request, or no activation, in time */
        return;
    }
    uint64_t last_us =
        other != NULL && other->active_us > s->active_us ? other->active_us : s->active_us;
    uint64_t quiet_ms = (now_us - last_us) / 1000;
    if (quiet_ms >= idle_ms)
        side_abort(s);
    else
        timer_set(loop, &s->timer, idle_ms - quiet_ms);
}

/* One second's worth may go at once. Time that makes no whole byte yet counts the next time. */
static void proxy65_refill(struct side *s)
{
    int64_t rate = setting_int(&proxy65_rate);
    uint64_t now_us = loop_now_us(worker_loop(s->worker)), passed_us = now_us - s->filled_us;
    if (rate >= SETTING_NONE) {
        s->tokens = INT64_MAX;
        return;
    }
    int64_t more = (int64_t)(passed_us < 1000000 ? passed_us : 1000000) * rate / 1000000;
    if (more == 0)
        return;
    s->filled_us = now_us;
    s->tokens = s->tokens < rate - more ? s->tokens + more : rate;
}

static void on_refill(struct timer *t, struct loop *loop)
{
    struct side *s = CONTAINER_OF(t, struct side, refill);
    (void)loop;
    s->held = false;
    conn_release(s->conn, CONN_HOLD_RATE);
}

/* Relaying. */

static size_t relay(struct side *s, slice data)
{
    struct side *other = other_side(s);
    if (other == NULL || other->state != ACTIVE)
        return data.len; /* nobody reads it any more */
    proxy65_refill(s);
    size_t len = s->tokens <= 0 ? 0 : (uint64_t)s->tokens < data.len ? (size_t)s->tokens : data.len;
    if (len > 0) {
        conn_write(other->conn, (slice){ data.ptr, len });
        s->tokens -= (int64_t)len;
        s->active_us = loop_now_us(worker_loop(s->worker));
        s->stream->bytes += len;
        metric_add(&proxy65_bytes, (int64_t)len);
    }
    if (len < data.len && !s->held) {
        s->held = true;
        conn_hold(s->conn, CONN_HOLD_RATE);
        s->refill.fn = on_refill;
        timer_set(worker_loop(s->worker), &s->refill, RATE_MS);
    }
    return len;
}

static void activate_side(struct side *s)
{
    ensure(s->state == WAITING && s->stream != NULL);
    s->state = ACTIVE;
    s->active_us = s->filled_us = loop_now_us(worker_loop(s->worker));
    s->tokens = setting_int(&proxy65_rate);
    timer_set(worker_loop(s->worker), &s->timer, (uint64_t)setting_int(&proxy65_idle_time));
    conn_release(s->conn, CONN_HOLD_STREAM);
}

static enum err activate(struct proxy65 *p, const struct worker *w, slice hash)
{
    struct bytestream *b = map_get(&p->streams[worker_index(w)], hash);
    if (b == NULL)
        return E_NOTFOUND;
    if (b->active)
        return E_EXISTS;
    if (b->side[0] == NULL || b->side[1] == NULL || b->side[0]->state != WAITING ||
        b->side[1]->state != WAITING)
        return E_AGAIN;
    b->active = true;
    metric_add(&proxy65_streams, 1);
    activate_side(b->side[0]);
    activate_side(b->side[1]);
    return OK;
}

/* An activation, at the worker of its hash. */
struct activate {
    slice hash;
};

struct activated {
    uint8_t err; /* enum err */
};
static const struct message_field activated_fields[] = {
    F_ERR(struct activated, err),
    { 0 },
};
static const struct message_row activated_message = {
    .id = 64,
    .scope = MESSAGE_PROCESS,
    .name = "bytestream-activated",
    .size = sizeof(struct activated),
    .fields = activated_fields,
};

static void activate_run(struct worker *w, void *message, const struct message_from *from)
{
    struct proxy65 *p = proxy65_of(w);
    ensure(p != NULL); /* it was there when this was asked */
    enum err e = activate(p, w, ((const struct activate *)message)->hash);
    question_answer(w, from, &activated_message, &(struct activated){ (uint8_t)e });
}

static const struct message_field activate_fields[] = {
    F_BYTES(struct activate, hash, PROXY65_HASH),
    { 0 },
};
static const struct message_row activate_message = {
    .id = 63,
    .scope = MESSAGE_PROCESS,
    .name = "bytestream-activate",
    .size = sizeof(struct activate),
    .fields = activate_fields,
    .run = activate_run,
    .answer = &activated_message,
};

/* Who asked for it. */
struct activation {
    proxy65_fn *done;
    void *arg;
    enum err err;
};

static void activation_heard(struct worker *w, void *arg, void *answer,
                             const struct message_from *from)
{
    (void)w, (void)from;
    ((struct activation *)arg)->err = ((const struct activated *)answer)->err;
}

static void activation_over(struct worker *w, void *arg)
{
    struct activation *a = arg;
    (void)w;
    a->done(a->arg, a->err);
    mem_free(&a);
}

static unsigned proxy65_worker_of(const struct node *n, slice hash)
{
    return (unsigned)(hash_keyed(hash) % n->worker_count);
}

void proxy65_activate(struct worker *w, const char hash[PROXY65_HASH + 1], proxy65_fn *done,
                      void *arg)
{
    if (proxy65_of(w) == NULL) {
        done(arg, E_DOWN);
        return;
    }
    struct activation *a = mem_new(struct activation);
    *a = (struct activation){ .done = done, .arg = arg };
    home_ask_at(w, 0, proxy65_worker_of(worker_node(w), slice_of(hash)), &activate_message,
                &(struct activate){ slice_of(hash) },
                &(struct asker){ .gather = activation_heard, .done = activation_over, .arg = a });
}

int proxy65_port(const struct worker *w)
{
    const struct proxy65 *p = proxy65_of(w);
    return p == NULL ? -1 : listener_port(p->listen[0].listener);
}

/* The handshake. */

static slice proxy65_key_of(const void *item)
{
    return slice_of(((const struct bytestream *)item)->hash);
}

/* At the worker of its hash. A third one is not let in (XEP-0065 §8.1). */
static void side_join(struct side *s)
{
    struct map *streams = &s->proxy->streams[worker_index(s->worker)];
    struct bytestream *b = map_get(streams, slice_of(s->hash));
    if (b != NULL && (b->active || (b->side[0] != NULL && b->side[1] != NULL))) {
        side_refuse(s, SOCKS5_NOT_ALLOWED);
        return;
    }
    if (b == NULL) {
        b = mem_new(struct bytestream);
        memcpy(b->hash, s->hash, sizeof b->hash);
        map_put(streams, b);
    }
    b->side[b->side[0] == NULL ? 0 : 1] = s;
    s->stream = b;
    s->state = WAITING;
    conn_hold(s->conn, CONN_HOLD_STREAM); /* §8.1: what it sends now is for later */
    side_reply(s, SOCKS5_OK);
    timer_set(worker_loop(s->worker), &s->timer, (uint64_t)setting_int(&proxy65_wait_time));
}

static void side_adopt(struct worker *w, struct side *s)
{
    ensure(!list_linked(&s->node));
    s->worker = w;
    list_append(&s->proxy->sides[worker_index(w)], &s->node);
}

struct side_moved {
    void *side; /* struct side */
};

static void side_moved_run(struct worker *w, void *message, const struct message_from *from)
{
    struct side *s = ((const struct side_moved *)message)->side;
    (void)from;
    ensure(s->state == MOVING && s->stream == NULL);
    side_adopt(w, s);
    conn_attach(s->conn, worker_loop(w));
    if (s->proxy->stopped[worker_index(w)])
        side_abort(s);
    else
        side_join(s);
}

static const struct message_field side_moved_fields[] = { F_LOCAL(struct side_moved, side), { 0 } };
static const struct message_row side_moved_message = {
    .id = 65,
    .scope = MESSAGE_PROCESS,
    .name = "bytestream-side",
    .size = sizeof(struct side_moved),
    .fields = side_moved_fields,
    .run = side_moved_run,
};
const struct message_row *const proxy65_messages[] = { &activate_message, &activated_message,
                                                       &side_moved_message, NULL };

static void side_move(struct side *s)
{
    struct worker *w = s->worker;
    unsigned home = proxy65_worker_of(worker_node(w), slice_of(s->hash));
    ensure(s->stream == NULL && s->hash[0] != '\0');
    if (home == worker_index(w)) {
        side_join(s);
        return;
    }
    s->state = MOVING;
    timer_cancel(&s->timer);
    list_remove(&s->node);
    conn_detach(s->conn);
    home_send_to(w, 0, home, &side_moved_message, &(struct side_moved){ s });
}

/* For a connection through a PROXY header, which tells the address; others are counted when they
 * are accepted. */
static bool count_address(struct side *s)
{
    const struct sockaddr *peer = &conn_info(s->conn)->peer.any;
    return peers_enter(PEERS_PROXY65, peer, setting_int(&proxy65_per_address), &s->peer) ==
           PEERS_ROOM;
}

static size_t greeting(struct side *s, slice data)
{
    struct socks5_greeting g;
    enum socks5_result r = socks5_read_greeting(&g, data);
    if (r == SOCKS5_BAD) {
        metric_add(&proxy65_refused, 1);
        side_abort(s);
    }
    if (r != SOCKS5_READ)
        return 0;
    if (g.no_auth && s->peer.len == 0 && !count_address(s)) {
        metric_add(&proxy65_refused, 1);
        side_abort(s);
    } else if (g.no_auth) {
        conn_write(s->conn, (slice){ "\5\0", 2 });
        s->state = REQUEST;
    } else {
        metric_add(&proxy65_refused, 1);
        conn_write(s->conn, (slice){ "\5\xff", 2 });
        s->state = CLOSED;
        conn_close(s->conn);
    }
    return g.bytes;
}

static size_t proxy65_request(struct side *s, slice data)
{
    struct socks5_request q;
    enum socks5_result r = socks5_read_request(&q, data);
    if (r == SOCKS5_BAD) {
        metric_add(&proxy65_refused, 1);
        side_abort(s);
    }
    if (r != SOCKS5_READ)
        return 0;
    char sha[PROXY65_HASH / 2];
    bool named = q.kind == SOCKS5_NAME && hex_decode(sha, sizeof sha, q.address);
    s->port = q.port;
    if (named)
        memcpy(s->hash, q.address.ptr, PROXY65_HASH);
    if (q.command != SOCKS5_CONNECT)
        side_refuse(s, SOCKS5_NO_COMMAND);
    else if (q.kind != SOCKS5_NAME)
        side_refuse(s, SOCKS5_NO_ADDRESS);
    else if (!named)
        side_refuse(s, SOCKS5_NOT_ALLOWED);
    else
        side_move(s);
    return q.bytes;
}

static size_t proxy65_on_input(struct conn *conn, slice data)
{
    struct side *s = conn_owner(conn);
    size_t used = 0;
    if (s->state == GREETING)
        used = greeting(s, data);
    if (s->state == REQUEST && used < data.len) /* do not use it afterwards: it may have moved */
        return used + proxy65_request(s, slice_from(data, used));
    if (s->state == ACTIVE)
        return relay(s, data);
    return s->state == CLOSED || s->state == ENDING ? data.len : used;
}

/* If the output of one side is full, the other side is not read. */
static void proxy65_on_event(struct conn *conn, enum conn_event ev)
{
    struct side *s = conn_owner(conn), *other = other_side(s);
    switch (ev) {
    case CONN_HIGH:
        if (other != NULL)
            conn_hold(other->conn, CONN_HOLD_OUTPUT);
        break;
    case CONN_LOW:
        if (other != NULL)
            conn_release(other->conn, CONN_HOLD_OUTPUT);
        break;
    case CONN_DRAINED:
        s->active_us = loop_now_us(worker_loop(s->worker));
        if (s->last)
            side_finish(s);
        break;
    case CONN_EOF:
        side_finish(s); /* of what it was sent, too, all is written; then its partner ends */
        if (other != NULL && other->stream->active)
            side_finish(other);
        break;
    case CONN_OVERFLOW:
    case CONN_FAILED:
        s->state = CLOSED;
        conn_abort(conn);
        break;
    default:
        break;
    }
}

static const struct conn_ops ops = { proxy65_on_input, proxy65_on_event, proxy65_on_closed };

static void proxy65_accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct proxy65_listener *l = arg;
    struct proxy65 *p = l->proxy;
    struct peer_key key = { 0 };
    if ((l->flags & CONN_PROXY) == 0 &&
        peers_enter(PEERS_PROXY65, peer, setting_int(&proxy65_per_address), &key) != PEERS_ROOM) {
        metric_add(&proxy65_refused, 1);
        peers_leave(&key);
        close(fd);
        return;
    }
    struct conn *conn = conn_create(loop, fd, peer, l->flags, NULL, &limits);
    if (conn == NULL) {
        peers_leave(&key);
        return;
    }
    struct side *s = mem_new(struct side);
    *s = (struct side){ .conn = conn, .proxy = p, .timer.fn = proxy65_on_timer, .peer = key };
    side_adopt(worker_here(), s);
    metric_add(&proxy65_connections, 1);
    int64_t open = ++p->sides_open;
    timer_set(loop, &s->timer, GREETING_MS);
    conn_start(conn, &ops, s);
    if (open > setting_int(&proxy65_connections_max)) {
        metric_add(&proxy65_refused, 1);
        side_abort(s);
    }
}

/* Start and stop. */

static void proxy65_start(void *own, struct worker *w)
{
    struct proxy65 *p = own;
    list_init(&p->sides[worker_index(w)]);
    map_init(&p->streams[worker_index(w)], proxy65_key_of);
}

static void proxy65_open(void *own, struct worker *w)
{
    struct proxy65 *p = own;
    for (size_t i = 0; i < p->count; i++)
        if (listener_attach(p->listen[i].listener, worker_loop(w), proxy65_accepted,
                            &p->listen[i]) != OK)
            log_error(&log_proxy65, LOG_EV("listen.failed"), LOG_I("worker", worker_index(w)),
                      LOG_C("hint", "this worker cannot accept connections; restart the server"));
}

static void proxy65_stop(void *own, struct worker *w)
{
    struct proxy65 *p = own;
    for (size_t i = 0; i < p->count; i++)
        listener_detach(p->listen[i].listener, worker_loop(w));
    p->stopped[worker_index(w)] = true;
    LIST_EACH (it, &p->sides[worker_index(w)])
        side_abort(CONTAINER_OF(it, struct side, node));
}

/* All connections are gone, those between two workers too. */
static bool proxy65_idle(void *own, struct worker *w)
{
    (void)w;
    return ((struct proxy65 *)own)->sides_open == 0;
}

const struct edge proxy65_edge = { .name = "proxy65",
                                   .start = proxy65_start,
                                   .open = proxy65_open,
                                   .stop = proxy65_stop,
                                   .idle = proxy65_idle };

enum err proxy65_create(struct proxy65 **out, const struct proxy65_listen *listens, size_t count,
                        struct why *why)
{
    struct proxy65 *p = mem_new(struct proxy65);
    enum err e = OK;
    for (size_t i = 0; i < count && e == OK; i++) {
        struct proxy65_listener *l = &p->listen[i];
        if (i == PROXY65_LISTENERS_MAX) {
            why_set(why, "listen.proxy65: %zu addresses, allowed at most %d", count,
                    PROXY65_LISTENERS_MAX);
            e = E_LIMIT;
            break;
        }
        e = listener_open(&l->listener, slice_of(listens[i].address), why);
        l->proxy = p;
        l->flags = listens[i].proxy ? CONN_PROXY : 0u;
        p->count += e == OK;
    }
    *out = p;
    if (e != OK) {
        proxy65_destroy(out);
    } else if (count > 0) {
        atomic_store(&proxy65_listening.value, 1);
    }
    return e;
}

void proxy65_destroy(struct proxy65 **pp)
{
    struct proxy65 *p = *pp;
    *pp = NULL;
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++)
        listener_close(&p->listen[i].listener);
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++)
        map_fini(&p->streams[i]);
    mem_free(&p);
}
