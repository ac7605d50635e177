#include "base/ensure.h"
#include "base/mem.h"
#include "io/conn_private.h"
#include "io/metrics.h"
#include <assert.h>
#include <errno.h>

enum { KEPT_BYTES_MIN = 512 };

void conn_drop_kept(struct conn *c)
{
    mem_free(&c->in);
    c->in_len = c->in_cap = 0;
}

/* Size classes are powers of two. */
static uint32_t kept_class(size_t bytes)
{
    uint32_t cap = KEPT_BYTES_MIN;

    while (cap < bytes)
        cap *= 2;
    return cap;
}

/* Keeps bytes that may lie inside the kept ones: these are replaced. */
static void conn_in_keep(struct conn *c, const char *ptr, size_t len)
{
    uint32_t cap = kept_class(len);
    char *before = c->in;

    if (len == 0) {
        conn_drop_kept(c);
        return;
    }
    ensure(len <= UINT32_MAX / 2);
    if (cap > c->in_cap || cap < c->in_cap / 4) {
        c->in = mem_alloc(cap);
        c->in_cap = cap;
        memcpy(c->in, ptr, len);
        mem_free(&before);
    } else if (ptr != c->in) {
        memmove(c->in, ptr, len);
    }
    c->in_len = (uint32_t)len;
}

static void keep_more(struct conn *c, const char *ptr, size_t len)
{
    size_t sum = c->in_len + len;

    ensure(sum <= UINT32_MAX / 2);
    if (sum > c->in_cap) {
        c->in_cap = kept_class(sum);
        c->in = mem_realloc(c->in, c->in_cap);
    }
    memcpy(c->in + c->in_len, ptr, len);
    c->in_len = (uint32_t)sum;
}

/* Calls the owner with bytes that are not kept, or are the kept ones themselves. */
static bool offer(struct conn *c, const char *ptr, size_t len)
{
    struct loop *loop = c->loop;
    c->running = true;
    size_t taken = c->ops->on_input(c, (slice){ ptr, len });
    c->running = false;
    arena_reset(loop->scratch);
    ensure(taken <= len);
    if (atomic_load_explicit(&c->lent, memory_order_relaxed)) {
        conn_in_keep(c, ptr + taken, c->drop ? 0 : len - taken);
        c->drop = false;
        atomic_store_explicit(&c->lent, false, memory_order_release); /* the new loop may go on */
        return false;
    }
    conn_in_keep(c, ptr + taken, c->drop || c->state != CONN_OPEN ? 0 : len - taken);
    c->drop = false;
    return true;
}

bool conn_offer_kept(struct conn *c) { return offer(c, c->in, c->in_len); }

bool conn_input(struct conn *c, char *ptr, size_t len)
{
    if (c->hold == 0 && c->in_len <= CONN_HEADROOM) {
        if (c->in_len > 0)
            memcpy(ptr - c->in_len, c->in, c->in_len);
        return offer(c, ptr - c->in_len, len + c->in_len);
    }
    keep_more(c, ptr, len);
    return c->hold != 0 || conn_offer_kept(c);
}

void conn_got_eof(struct conn *c)
{
    c->eof = true;
    if (c->state < CONN_OPEN) {
        conn_fail(c, "connection closed during the handshake");
        return;
    }
    if (c->polled)
        conn_poll(c, c->source.events & ~(uint32_t)EPOLLIN);
    if (c->state == CONN_LINGERING)
        conn_end(c);
    c->tell_eof = c->state == CONN_OPEN;
    conn_queue(c);
}

/* The PROXY header comes first of all; its bytes are few, so they always fit into the headroom. */
static bool header_input(struct conn *c, char *ptr, size_t len)
{
    size_t taken = 0;
    static_assert((int)PROXY_HEADER_BYTES + (int)PROXY_BODY_MAX <= (int)CONN_HEADROOM, "fits");
    ptr -= c->in_len;
    len += c->in_len;
    if (c->in_len > 0)
        memcpy(ptr, c->in, c->in_len);
    enum err e = conn_proxy_parse((slice){ ptr, len }, &taken, &c->info);
    if (e == E_AGAIN) {
        conn_in_keep(c, ptr, len);
        return true;
    }
    conn_drop_kept(c);
    if (e != OK) {
        log_warn(&log_io, LOG_EV("proxy.refused"), LOG_C("peer", conn_info_text(&c->info).text),
                 LOG_C("why", "no valid PROXY header (version 1 or 2) came first; is this listener "
                              "meant for a load balancer?"));
        conn_fail(c, "no valid PROXY header");
        return true;
    }
    ptr += taken;
    len -= taken;
    if (c->tls != NULL) {
        c->state = CONN_HANDSHAKE;
        return len == 0 || conn_tls_input(c, ptr, len);
    }
    conn_opened(c);
    return len == 0 || conn_input(c, ptr, len);
}

void conn_in_resume(struct conn *c)
{
    if (c->polled && (c->source.events & EPOLLIN) != 0)
        return;
    c->offer = true;
    conn_queue(c);
}

static size_t conn_in_read_room(const struct conn *c)
{
    if (c->tls != NULL || c->state != CONN_OPEN)
        return CONN_READ_BYTES;
    size_t left = c->limits->input_bytes - c->in_len; /* more than in_len: see conn_readable() */
    return left < CONN_READ_BYTES ? left : CONN_READ_BYTES;
}

static void received(struct conn *c, char *ptr, size_t len)
{
    c->last_read_us = c->loop->now_us;
    metric_add(&io_bytes_in, (int64_t)len);
    bool here;
    if (c->state >= CONN_FLUSHING) /* dropped */
        here = true;
    else if (c->state == CONN_HEADER)
        here = header_input(c, ptr, len);
    else if (c->tls != NULL)
        here = conn_tls_input(c, ptr, len);
    else
        here = conn_input(c, ptr, len);
    (void)here; /* nothing more to do either way */
}

void conn_in_discard(struct conn *c)
{
    enum { AT_MOST = 4 };
    struct conn_local *l = conn_local(c->loop);
    for (unsigned i = 0; i < AT_MOST; i++)
        if (recv(c->source.fd, l->read, sizeof l->read, MSG_DONTWAIT) <= 0)
            return;
}

/* Bytes that were read before are offered first. */
static void conn_read_fails(struct conn *c, int why)
{
    conn_breaks(c, why);
    if (c->mute)
        conn_got_eof(c);
}

void conn_readable(struct conn *c)
{
    struct conn_local *l = conn_local(c->loop);
    char *ptr = l->read + CONN_HEADROOM;
    if (c->state == CONN_OPEN && c->in_len >= c->limits->input_bytes) {
        conn_fail(c, "input limit reached"); /* the owner saw it all and can use none of it */
        return;
    }
    ssize_t n = recv(c->source.fd, ptr, conn_in_read_room(c), MSG_DONTWAIT);
    if (n > 0)
        received(c, ptr, (size_t)n);
    else if (n == 0)
        conn_got_eof(c);
    else if (errno != EAGAIN && errno != EINTR)
        conn_read_fails(c, errno);
}
