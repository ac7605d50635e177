#include "io/conn.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "io/conn_private.h"
#include "io/metrics.h"
#include "io/tls_private.h"
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <unistd.h>

#ifndef MUSTER_DEBUG
static_assert(sizeof(struct conn) <= 232, "an idle connection is small");
#endif

void conn_queue(struct conn *c)
{
    if (c->loop == NULL || c->state == CONN_CLOSED || list_linked(&c->todo))
        return;
    struct conn_local *l = conn_local(c->loop);
    list_append(&l->todo, &c->todo);
    loop_defer(c->loop, &l->settle);
}

void conn_poll(struct conn *c, uint32_t events)
{
    if (c->polled) {
        loop_change(c->loop, &c->source, events);
        return;
    }
    c->source.events = events;
    if (loop_add(c->loop, &c->source) == OK)
        c->polled = true;
    else
        conn_fail(c, "descriptor cannot be polled");
}

static void conn_unpoll(struct conn *c)
{
    if (c->polled)
        loop_remove(c->loop, &c->source);
    c->polled = false;
}

void conn_end(struct conn *c)
{
    if (c->state >= CONN_ENDING)
        return;
    c->state = CONN_ENDING;
    conn_queue(c);
}

void conn_fail(struct conn *c, const char *text)
{
    if (c->state >= CONN_ENDING)
        return;
    c->error = text;
    c->tell_failed = c->state <= CONN_OPEN; /* else the owner has closed it and waits for the end */
    conn_end(c);
}

void conn_tell(struct conn *c, enum conn_event ev)
{
    struct loop *loop = c->loop;

    c->ops->on_event(c, ev);
    arena_reset(loop->scratch);
}

static void conn_finish(struct conn *c)
{
    struct loop *loop = c->loop;
    struct conn_local *l = conn_local(loop);

    if (c->tell_failed)
        conn_tell(c, CONN_FAILED);
    conn_unpoll(c);
    timer_cancel(&c->timer);
    list_remove(&c->dirty);
    list_remove(&c->todo);
    conn_out_advance(c, c->out_bytes);
    conn_drop_kept(c);
    conn_tls_destroy(&c->tls);
    close(c->source.fd);
    c->state = CONN_CLOSED;
    metric_add(&io_closed, 1);
    list_append(&l->dead, &c->todo);
    loop_at_flush(loop, &l->flush);
    if (c->ops != NULL)
        c->ops->on_closed(c);
    arena_reset(loop->scratch);
}

static void conn_settle(struct conn *c)
{
    if (atomic_load_explicit(&c->lent, memory_order_acquire)) {
        conn_queue(c);
        return;
    }
    if (c->overflow) {
        c->overflow = false; /* room for the owner's last words */
        if (c->state <= CONN_OPEN)
            conn_tell(c, CONN_OVERFLOW);
        conn_close(c);
    }
    if (c->state == CONN_ENDING) {
        conn_finish(c);
        return;
    }
    if (c->offer && c->state != CONN_NEW)
        conn_poll(c, (c->eof ? 0 : EPOLLIN) | (c->blocked ? EPOLLOUT : 0));
    if (c->state != CONN_OPEN || c->hold != 0)
        return;
    if (c->offer) {
        c->offer = false;
        if (c->in_len > 0 && !conn_offer_kept(c))
            return;
    }
    if (c->tell_eof && c->state == CONN_OPEN && c->hold == 0) {
        c->tell_eof = false;
        if (c->mute)
            conn_fail(c, c->error);
        else
            conn_tell(c, CONN_EOF);
    }
}

static void conn_settle_all(struct loop_defer *d)
{
    struct conn_local *l = CONTAINER_OF(d, struct conn_local, settle);
    struct list now;
    list_take_all(&now, &l->todo);
    struct list *node;
    while ((node = list_pop(&now)) != NULL)
        conn_settle(CONTAINER_OF(node, struct conn, todo));
}

static void conn_flush_all(struct loop_defer *d)
{
    struct conn_local *l = CONTAINER_OF(d, struct conn_local, flush);
    struct list now;
    list_take_all(&now, &l->dirty);
    struct list *node;
    while ((node = list_pop(&now)) != NULL) {
        struct conn *c = CONTAINER_OF(node, struct conn, dirty);
        if (atomic_load_explicit(&c->lent, memory_order_acquire))
            conn_mark_dirty(c);
        else
            conn_flush_and_tell(c);
    }
    while ((node = list_pop(&l->dead)) != NULL) {
        struct conn *c = CONTAINER_OF(node, struct conn, todo);
        mem_free(&c);
    }
}

static void io_conn_free_chunks(struct conn_free *f)
{
    struct conn_chunk *next;
    for (; f->first != NULL; f->first = next) {
        next = f->first->next;
        conn_chunk_free(f->first);
    }
}

static void conn_local_destroy(struct loop_local *local)
{
    struct conn_local *l = CONTAINER_OF(local, struct conn_local, local);

    ensure(list_empty(&l->todo) && list_empty(&l->dirty) && list_empty(&l->dead));
    io_conn_free_chunks(&l->small);
    io_conn_free_chunks(&l->large);
    conn_tls_local_free(l);
    mem_free(&l->sink);
    mem_free(&l);
}

static void conn_local_make(struct loop *loop)
{
    if (loop->conns != NULL)
        return;
    struct conn_local *l = mem_new(struct conn_local);
    l->local.destroy = conn_local_destroy;
    l->settle.fn = conn_settle_all;
    l->flush.fn = conn_flush_all;
    l->loop = loop;
    list_init(&l->todo);
    list_init(&l->dirty);
    list_init(&l->dead);
    l->small.max = CONN_SMALL_FREE_MAX;
    l->large.max = CONN_LARGE_FREE_MAX;
    loop->conns = &l->local;
}

/* Nothing but a rate keeps it from being read: what has come is read up to the end of the peer. */
static bool conn_reads_on(const struct conn *c)
{
    return !c->ends_held && (c->hold & ~(unsigned)CONN_HOLD_RATE) == 0;
}

/* Something has happened while it is not read. Only now is polling changed: a short hold costs no
 * system call. What cannot be masked would be reported again and again. */
static void conn_ready_held(struct conn *c, uint32_t events)
{
    bool breaks = (events & (EPOLLHUP | EPOLLERR)) != 0,
         ends = breaks || (events & EPOLLRDHUP) != 0;
    bool tells = conn_reads_on(c) && !c->last && c->state == CONN_OPEN;
    if (ends && c->ends_held && c->state == CONN_OPEN) {
        conn_fail(c, "the peer has ended the connection while it was not read");
        return;
    }
    if (breaks)
        conn_unpoll(c);
    else
        conn_poll(c, (c->source.events & ~(uint32_t)(EPOLLIN | EPOLLRDHUP)) |
                         ((c->ends_held || tells) && !ends ? (uint32_t)EPOLLRDHUP : 0));
    if (ends && tells) {
        c->last = true;
        conn_tell(c, CONN_LAST);
    }
}

static void conn_timeout(struct timer *t, struct loop *loop)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);

    ensure(c->loop == loop);
    if (c->state < CONN_OPEN)
        conn_fail(c, "handshake timed out");
    else if (c->mute && conn_reads_on(c))
        timer_set(loop, t, CONN_LINGER_MS);
    else if (c->mute)
        conn_fail(c, c->error);
    else
        conn_end(c);
}

static void conn_ready(struct loop_source *s, uint32_t events)
{
    struct conn *c = CONTAINER_OF(s, struct conn, source);

    if (c->state >= CONN_ENDING)
        return;
    if ((events & EPOLLOUT) != 0 && !c->mute) {
        c->blocked = false;
        conn_mark_dirty(c);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) == 0)
        return;
    if ((c->state == CONN_OPEN && c->hold != 0) || conn_tls_is_shaking(c))
        conn_ready_held(c, events);
    else if (!c->eof)
        conn_readable(c);
    else if (!c->tell_eof) /* else what was read before is offered in this tick */
        conn_fail(c, "connection reset");
}

struct conn *conn_create(struct loop *loop, int fd, const struct sockaddr *peer, unsigned flags,
                         struct tls_ctx *tls, const struct conn_limits *limits)
{
    struct conn *c = mem_new(struct conn);

    ensure(fd >= 0 && limits != NULL && ((flags & CONN_TLS) == 0 || tls != NULL));
    ensure(limits->output_high < limits->output_max);
    conn_local_make(loop);
    c->source = (struct loop_source){ .fd = fd, .ready = conn_ready };
    c->loop = loop;
    c->limits = limits;
    c->timer.fn = conn_timeout;
    c->last_read_us = loop->now_us;
    c->proxied = (flags & CONN_PROXY) != 0;
    c->protocol = (flags & CONN_HTTP) != 0     ? TLS_HTTP
                  : (flags & CONN_SERVER) != 0 ? TLS_XMPP_SERVER
                                               : TLS_XMPP;
    if ((flags & CONN_TLS) != 0)
        c->tls = conn_tls_create(tls);
    conn_info_set(&c->info, peer);
    return c;
}

void conn_opened(struct conn *c)
{
    timer_cancel(&c->timer);
    c->state = CONN_OPEN;
    c->since_us = (uint32_t)c->loop->now_us; /* of what was written before */
    if (c->out_bytes > 0)
        conn_mark_dirty(c);
}

void conn_start(struct conn *c, const struct conn_ops *ops, void *owner)
{
    unsigned ms = c->limits->user_timeout_ms;

    ensure(c->state == CONN_NEW || c->state == CONN_ENDING);
    c->ops = ops;
    c->owner = owner;
    if (c->state == CONN_ENDING)
        return;
    if (ms > 0) /* fails on what is not TCP, and does no harm there */
        (void)setsockopt(c->source.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    c->state = c->proxied ? CONN_HEADER : CONN_HANDSHAKE;
    if (c->proxied || c->tls != NULL)
        timer_set(c->loop, &c->timer, c->limits->handshake_ms);
    else
        conn_opened(c);
    conn_poll(c, EPOLLIN);
    if (conn_tls_speaks_first(c))
        conn_mark_dirty(c);
}

void conn_hand_over(struct conn *c, const struct conn_ops *ops, void *owner)
{
    c->ops = ops;
    c->owner = owner;
    c->hold &= CONN_HOLD_REVOCATION;
    c->high = false; /* the new owner is told itself */
    c->offer = true;
    conn_queue(c);
}

void *conn_owner(const struct conn *c) { return c->owner; }
struct loop *conn_loop(const struct conn *c) { return c->loop; }
const struct conn_info *conn_info(const struct conn *c) { return &c->info; }
void conn_info_parse(struct conn_info *out, const char *address)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        conn_info_set(out, (const struct sockaddr *)&v4);
    else if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1)
        conn_info_set(out, (const struct sockaddr *)&v6);
    else
        conn_info_set(out, NULL);
}

void conn_set_peer(struct conn *c, const char *address)
{
    struct conn_info info;
    conn_info_parse(&info, address);
    if (info.peer.any.sa_family != AF_UNSPEC && strcmp(address, conn_info_text(&c->info).text) != 0)
        c->info = info;
}

void conn_set_limits(struct conn *c, const struct conn_limits *limits)
{
    ensure(limits->output_high < limits->output_max);
    c->limits = limits;
}
uint64_t conn_last_read_us(const struct conn *c) { return c->last_read_us; }
const char *conn_error(const struct conn *c) { return c->error; }

bool conn_is_secure(const struct conn *c) { return c->secured; }

void conn_hold(struct conn *c, unsigned reason) { c->hold |= (uint8_t)reason; }

void conn_ends_held(struct conn *c) { c->ends_held = true; }

void conn_release(struct conn *c, unsigned reason)
{
    if ((c->hold & reason) == 0)
        return;
    c->hold &= (uint8_t)~reason;
    if (c->hold == 0) {
        c->offer = true;
        conn_queue(c);
    }
}

void conn_close(struct conn *c)
{
    if (c->state >= CONN_FLUSHING)
        return;
    if (c->state < CONN_OPEN || c->mute) { /* nothing can be said yet, or any more */
        conn_end(c);
        return;
    }
    c->state = CONN_FLUSHING;
    c->offer = true; /* reads again if held, to see the peer's FIN */
    timer_set(c->loop, &c->timer, CONN_CLOSE_MS);
    conn_queue(c);
    conn_mark_dirty(c);
}

void conn_abort(struct conn *c) { conn_end(c); }

void conn_detach(struct conn *c)
{
    ensure(c->loop != NULL && c->state != CONN_CLOSED && !conn_tls_is_shaking(c));
    conn_unpoll(c);
    list_remove(&c->todo);
    list_remove(&c->dirty);
    c->timed = timer_is_set(&c->timer);
    timer_cancel(&c->timer);
    c->blocked = false;
    c->loop = NULL;
    if (c->running)
        atomic_store_explicit(&c->lent, true, memory_order_relaxed);
}

void conn_attach(struct conn *c, struct loop *loop)
{
    ensure(c->loop == NULL);
    conn_local_make(loop);
    c->loop = loop;
    if (c->timed)
        timer_set_tick(loop, &c->timer, c->timer.due_tick);
    c->offer = true;
    conn_queue(c);
    conn_mark_dirty(c);
}
