#include "gate/s2s/peer/s2s_queue.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "xmpp/stanza.h"

enum { RING_FIRST = 16 };

static struct s2s_sent *slot(const struct s2s_queue *q, uint32_t n)
{
    return &q->ring[(q->head + n) & (q->cap - 1)];
}

static void ring_grow(struct s2s_queue *q)
{
    uint32_t cap = q->cap == 0 ? RING_FIRST : 2 * q->cap;
    struct s2s_sent *ring = mem_alloc(cap * sizeof *ring);
    for (uint32_t i = 0; i < q->len; i++)
        ring[i] = *slot(q, i);
    mem_free(&q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
}

void s2s_queue_push(struct s2s_queue *q, const struct s2s_sent *s)
{
    if (q->len == q->cap)
        ring_grow(q);
    *slot(q, q->len++) = *s;
    q->bytes += s->st->bytes;
}

void s2s_queue_push_next(struct s2s_queue *q, const struct s2s_sent *s)
{
    uint32_t at = q->again > q->written ? q->again : q->written;
    s2s_queue_push(q, s);
    for (uint32_t i = q->len - 1; i > at; i--)
        *slot(q, i) = *slot(q, i - 1);
    *slot(q, at) = *s;
}

const struct s2s_sent *s2s_queue_at(const struct s2s_queue *q, uint32_t n)
{
    ensure(n < q->len);
    return slot(q, n);
}

const struct s2s_sent *s2s_queue_write(struct s2s_queue *q)
{
    if (q->written == q->len)
        return NULL;
    const struct s2s_sent *s = slot(q, q->written++);
    q->written_bytes += s->st->bytes;
    q->again = q->again > q->written ? q->again : q->written;
    return s;
}

enum err s2s_queue_confirms(const struct s2s_queue *q, uint32_t h, uint32_t *count)
{
    *count = h - q->base; /* unsigned: right across the wrap */
    return *count > q->written ? E_PROTO : OK;
}

struct s2s_sent s2s_queue_confirm(struct s2s_queue *q)
{
    ensure(q->written > 0);
    struct s2s_sent s = *slot(q, 0);
    q->head = (q->head + 1) & (q->cap - 1);
    q->len--;
    q->written--;
    q->again--;
    q->base++;
    ensure(q->bytes >= s.st->bytes && q->written_bytes >= s.st->bytes);
    q->bytes -= s.st->bytes;
    q->written_bytes -= s.st->bytes;
    return s;
}

struct s2s_sent s2s_queue_cut(struct s2s_queue *q, uint32_t n)
{
    ensure(n < q->len);
    struct s2s_sent s = *slot(q, n);
    for (uint32_t i = n; i > 0 && n < q->len / 2; i--) /* the shorter way */
        *slot(q, i) = *slot(q, i - 1);
    for (uint32_t i = n; i + 1 < q->len && n >= q->len / 2; i++)
        *slot(q, i) = *slot(q, i + 1);
    q->head = n < q->len / 2 ? (q->head + 1) & (q->cap - 1) : q->head;
    q->len--;
    ensure(q->bytes >= s.st->bytes);
    q->bytes -= s.st->bytes;
    if (n < q->written) {
        q->written--;
        q->written_bytes -= s.st->bytes;
    }
    q->again -= n < q->again;
    return s;
}

void s2s_queue_rewind(struct s2s_queue *q, bool anew)
{
    q->written = 0;
    q->written_bytes = 0;
    if (anew)
        q->base = 0;
    if (q->len == 0) { /* an idle peer has no buffers */
        mem_free(&q->ring);
        q->cap = q->head = 0;
    }
}

void s2s_queue_gone(struct s2s_queue *q, uint32_t n)
{
    ensure(n < q->len);
    slot(q, n)->gone = true;
}

bool s2s_queue_has(const struct s2s_queue *q, int64_t sender, uint64_t entry)
{
    for (uint32_t i = 0; i < q->len; i++)
        if (slot(q, i)->id.entry == entry && slot(q, i)->id.sender == sender)
            return true;
    return false;
}

void s2s_queue_fini(struct s2s_queue *q)
{
    while (q->len > 0) {
        struct s2s_sent s = s2s_queue_cut(q, 0);
        stanza_unref(&s.st);
    }
    mem_free(&q->ring);
    *q = (struct s2s_queue){ 0 };
}
