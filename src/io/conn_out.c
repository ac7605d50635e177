#include "base/ensure.h"
#include "base/latency.h"
#include "base/mem.h"
#include "base/pages.h"
#include "io/conn_private.h"
#include "io/metrics.h"
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static_assert((int)CONN_CHUNK_LARGE == (int)PAGES_BYTES, "a large chunk is a block of pages");

enum {
    SMALL_CAP = CONN_CHUNK_SMALL - sizeof(struct conn_chunk),
    LARGE_CAP = CONN_CHUNK_LARGE - sizeof(struct conn_chunk)
};

void conn_mark_dirty(struct conn *c)
{
    if (list_linked(&c->dirty) || c->loop == NULL || c->state >= CONN_ENDING)
        return;
    struct conn_local *l = conn_local(c->loop);
    list_append(&l->dirty, &c->dirty);
    loop_at_flush(c->loop, &l->flush);
}

static struct conn_free *free_list(struct conn_local *l, size_t cap)
{
    if (cap == SMALL_CAP)
        return &l->small;
    return cap == LARGE_CAP ? &l->large : NULL;
}

/* Large ones come in bursts, when clients do not keep up. */
static struct conn_chunk *chunk_alloc(size_t cap)
{
    return cap == LARGE_CAP ? pages_alloc() : mem_alloc(sizeof(struct conn_chunk) + cap);
}

void conn_chunk_free(struct conn_chunk *k)
{
    if (k->cap == LARGE_CAP)
        pages_free(k);
    else
        mem_free(&k);
}

static void append_chunk(struct conn *c, struct conn_chunk *k)
{
    k->next = NULL;
    k->at = 0;
    if (c->out == NULL)
        c->out = k;
    else
        c->out_last->next = k;
    c->out_last = k;
}

/* A new last chunk with that much room: small if it is the first and that is enough. */
static struct conn_chunk *add_chunk(struct conn *c, size_t room)
{
    size_t cap = c->out == NULL && room <= SMALL_CAP ? SMALL_CAP : LARGE_CAP;
    if (room > cap)
        cap = room;
    struct conn_free *f = free_list(conn_local(c->loop), cap);
    struct conn_chunk *k;
    if (f != NULL && f->first != NULL) {
        k = f->first;
        f->first = k->next;
        f->count--;
    } else {
        k = chunk_alloc(cap);
    }
    metric_add(&io_output_bytes, (int64_t)cap);
    k->bytes = k->data;
    k->len = 0;
    k->cap = (uint32_t)cap;
    append_chunk(c, k);
    return k;
}

static void drop_first_chunk(struct conn *c)
{
    struct conn_chunk *k = c->out;
    struct conn_free *f = free_list(conn_local(c->loop), k->cap);

    metric_add(&io_output_bytes, -(int64_t)k->cap);
    c->out = k->next;
    if (c->out == NULL)
        c->out_last = NULL;
    if (f == NULL || f->count == f->max) {
        conn_chunk_free(k);
        return;
    }
    k->next = f->first;
    f->first = k;
    f->count++;
}

void conn_out_advance(struct conn *c, size_t bytes)
{
    ensure(bytes <= c->out_bytes);
    c->out_bytes -= bytes;
    c->large_end -= bytes < c->large_end ? (uint32_t)bytes : c->large_end;
    if (c->large_len > c->large_end)
        c->large_len = c->large_end;
    while (c->out != NULL && bytes >= c->out->len - c->out->at) {
        bytes -= c->out->len - c->out->at;
        drop_first_chunk(c);
    }
    if (bytes > 0)
        c->out->at += (uint32_t)bytes;
}

size_t conn_output_bytes(const struct conn *c)
{
    return c->tls == NULL ? c->out_bytes : c->out_bytes + conn_tls_pending(c);
}

bool conn_has_arrived(const struct conn *c)
{
    int waits = 0;
    return conn_output_bytes(c) == 0 && c->state == CONN_OPEN &&
           ioctl(c->source.fd, SIOCOUTQ, &waits) == 0 && waits == 0;
}

static bool refuses_output(const struct conn *c) { return c->state > CONN_OPEN || c->overflow; }

/* The last write is the large one if it is longer than what is left of the one before. */
static void note_large(struct conn *c, size_t bytes)
{
    if (bytes <= c->limits->output_high || bytes <= c->large_len || c->out_bytes > UINT32_MAX)
        return;
    c->large_len = (uint32_t)bytes;
    c->large_end = (uint32_t)c->out_bytes;
}

static void conn_out_added(struct conn *c, size_t bytes)
{
    c->out_bytes += bytes;
    if (!c->wrote && c->loop != NULL && c->state == CONN_OPEN)
        c->since_us = (uint32_t)c->loop->now_us;
    note_large(c, bytes);
    c->wrote = true;
    conn_mark_dirty(c);
    if (conn_output_bytes(c) <= c->limits->output_high)
        return;
    if (!atomic_load_explicit(&c->lent, memory_order_acquire) && c->loop != NULL)
        conn_flush(c); /* not at the end of the tick: memory stays bounded */
    if (conn_output_bytes(c) - c->large_len > c->limits->output_max && c->state <= CONN_OPEN) {
        c->overflow = true;
        conn_queue(c);
    }
}

void conn_write(struct conn *c, slice data)
{
    size_t left = data.len;

    if (refuses_output(c) || left == 0)
        return;
    while (left > 0) {
        struct conn_chunk *k = c->out_last;
        size_t n;
        if (k == NULL || k->len >= k->cap)
            k = add_chunk(c, left < LARGE_CAP ? left : LARGE_CAP);
        n = left < k->cap - k->len ? left : k->cap - k->len;
        memcpy(k->data + k->len, data.ptr + (data.len - left), n);
        k->len += (uint32_t)n;
        left -= n;
    }
    conn_out_added(c, data.len);
}

void conn_write_constant(struct conn *c, slice data)
{
    if (refuses_output(c) || data.len == 0)
        return;
    ensure(data.len <= UINT32_MAX / 2);
    struct conn_chunk *k = mem_alloc(sizeof *k);
    k->bytes = data.ptr;
    k->len = (uint32_t)data.len;
    k->cap = 0;
    append_chunk(c, k);
    conn_out_added(c, data.len);
}

static char *sink(struct conn_local *l, size_t bytes)
{
    if (bytes > l->sink_cap) {
        mem_free(&l->sink);
        l->sink = mem_alloc(bytes);
        l->sink_cap = bytes;
    }
    return l->sink;
}

char *conn_reserve(struct conn *c, size_t bytes)
{
    struct conn_chunk *k = c->out_last;

    ensure(bytes <= UINT32_MAX / 2);
    c->sinking = refuses_output(c);
    if (c->sinking)
        return sink(conn_local(c->loop), bytes);
    if (k == NULL || k->cap < k->len + bytes)
        k = add_chunk(c, bytes);
    return k->data + k->len;
}

void conn_commit(struct conn *c, size_t bytes)
{
    struct conn_chunk *k = c->out_last;

    if (c->sinking)
        return;
    if (bytes == 0) {
        conn_out_advance(c, 0); /* an empty chunk goes back */
        return;
    }
    ensure(k != NULL && bytes <= k->cap - k->len);
    k->len += (uint32_t)bytes;
    conn_out_added(c, bytes);
}

/* The next flush is that after EPOLLOUT. */
static void conn_out_block(struct conn *c)
{
    c->blocked = true;
    conn_poll(c, c->source.events | EPOLLOUT);
}

/* What the peer had sent before it reset the connection has arrived: its last stanza, or what it
 * says of ours. It is read first, up to the end, which follows at once unless the owner holds; if
 * it holds for a rate alone, that takes as long as it does. */
void conn_breaks(struct conn *c, int why)
{
    ensure(why > 0);
    const char *text = strerrordesc_np(why);
    bool by_peer = why == EPIPE || why == ECONNRESET;
    if (!by_peer || c->state != CONN_OPEN || (c->eof && !c->tell_eof)) {
        conn_fail(c, text);
        return;
    }
    c->error = text;
    c->mute = c->blocked = true;
    timer_set(c->loop, &c->timer, CONN_LINGER_MS);
}

size_t conn_send(struct conn *c, const struct iovec *iov, size_t count, size_t bytes)
{
    struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count };
    ssize_t n;
    if (count == 1)
        n = send(c->source.fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        n = sendmsg(c->source.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conn_breaks(c, errno);
        return 0;
    }
    if (n < (ssize_t)bytes)
        conn_out_block(c);
    if (n <= 0)
        return 0;
    metric_add(&io_bytes_out, n);
    return (size_t)n;
}

static void flush_clear(struct conn *c)
{
    struct iovec iov[CONN_IOV_MAX];
    while (c->out_bytes > 0 && !c->blocked && c->state < CONN_ENDING) {
        size_t count = 0, bytes = 0;
        for (struct conn_chunk *k = c->out; k != NULL && count < CONN_IOV_MAX; k = k->next) {
            iov[count].iov_base = (char *)(uintptr_t)k->bytes + k->at;
            iov[count].iov_len = k->len - k->at;
            bytes += iov[count++].iov_len;
        }
        conn_out_advance(c, conn_send(c, iov, count, bytes));
    }
}

void conn_flush(struct conn *c)
{
    if (c->blocked || c->state == CONN_NEW || c->state == CONN_HEADER || c->state > CONN_FLUSHING)
        return;
    if (c->tls != NULL)
        conn_tls_flush(c);
    else
        flush_clear(c);
    if (!c->blocked && c->state < CONN_ENDING && (c->source.events & EPOLLOUT) != 0)
        conn_poll(c, c->source.events & ~(uint32_t)EPOLLOUT);
}

/* All is written after conn_close(). */
static void flushed(struct conn *c)
{
    if (c->tls != NULL)
        conn_tls_shut(c);
    if (conn_output_bytes(c) > 0 || c->state != CONN_FLUSHING)
        return; /* the close_notify did not fit: here again after EPOLLOUT */
    shutdown(c->source.fd, SHUT_WR);
    if (c->eof) {
        conn_end(c);
        return;
    }
    c->state = CONN_LINGERING;
    timer_set(c->loop, &c->timer, CONN_LINGER_MS);
}

bool conn_is_high(struct conn *c)
{
    if (!c->high && c->loop != NULL && c->state == CONN_OPEN)
        c->high = conn_output_bytes(c) > c->limits->output_high;
    return c->high;
}

bool conn_waits_for_reader(struct conn *c)
{
    if (!conn_is_high(c))
        return false;
    conn_hold(c, CONN_HOLD_OUTPUT);
    return true;
}

static void conn_out_tell_level(struct conn *c)
{
    size_t left = conn_output_bytes(c);

    if (!c->high && left > c->limits->output_high) {
        c->high = true;
        conn_tell(c, CONN_HIGH);
    } else if (c->high && left <= c->limits->output_high / 2) {
        c->high = false;
        conn_tell(c, CONN_LOW);
    }
}

void conn_flush_and_tell(struct conn *c)
{
    conn_flush(c);
    if (c->state <= CONN_OPEN && c->state != CONN_NEW)
        conn_out_tell_level(c);
    if (c->wrote && c->state <= CONN_FLUSHING && conn_output_bytes(c) == 0) {
        c->wrote = false;
        latency_observe_cut(LATENCY_DELIVER, c->since_us, c->loop->worked_us);
        conn_tell(c, CONN_DRAINED);
    }
    if (c->state == CONN_FLUSHING && conn_output_bytes(c) == 0)
        flushed(c);
}
