#include "gate/s2s/s2s_unacked.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "xmpp/stanza.h"

enum { RING_FIRST = 16 };

static struct s2s_sent *slot(const struct s2s_unacked *q, uint32_t n)
{
    return &q->ring[(q->head + n) & (q->cap - 1)];
}

static void ring_grow(struct s2s_unacked *q)
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

void s2s_unacked_push(struct s2s_unacked *q, const struct s2s_sent *s)
{
    if (q->len == q->cap)
        ring_grow(q);
    *slot(q, q->len++) = *s;
    q->bytes += s->st->bytes;
}

void s2s_unacked_push_next(struct s2s_unacked *q, const struct s2s_sent *s)
{
    s2s_unacked_push(q, s);
    for (uint32_t i = q->len - 1; i > q->written; i--)
        *slot(q, i) = *slot(q, i - 1);
    *slot(q, q->written) = *s;
}

const struct s2s_sent *s2s_unacked_first(const struct s2s_unacked *q)
{
    return q->len == 0 ? NULL : slot(q, 0);
}

const struct s2s_sent *s2s_unacked_at(const struct s2s_unacked *q, uint32_t n)
{
    ensure(n < q->len);
    return slot(q, n);
}

const struct s2s_sent *s2s_unacked_write(struct s2s_unacked *q)
{
    return q->written == q->len ? NULL : slot(q, q->written++);
}

enum err s2s_unacked_confirms(const struct s2s_unacked *q, uint32_t h, uint32_t *count)
{
    *count = h - q->base; /* unsigned: right across the wrap */
    return *count > q->written ? E_PROTO : OK;
}

struct s2s_sent s2s_unacked_take(struct s2s_unacked *q, bool confirmed)
{
    ensure(q->len > 0 && (!confirmed || q->written > 0));
    struct s2s_sent s = *slot(q, 0);
    q->head = (q->head + 1) & (q->cap - 1);
    q->len--;
    q->written -= q->written > 0;
    q->base += confirmed;
    ensure(q->bytes >= s.st->bytes);
    q->bytes -= s.st->bytes;
    return s;
}

struct s2s_sent s2s_unacked_cut(struct s2s_unacked *q)
{
    ensure(q->written < q->len);
    struct s2s_sent s = *slot(q, q->written);
    for (uint32_t i = q->written; i + 1 < q->len; i++)
        *slot(q, i) = *slot(q, i + 1);
    q->len--;
    ensure(q->bytes >= s.st->bytes);
    q->bytes -= s.st->bytes;
    return s;
}

void s2s_unacked_rewind(struct s2s_unacked *q, bool anew)
{
    q->written = 0;
    if (anew)
        q->base = 0;
    if (q->len == 0) { /* an idle partner has no buffers */
        mem_free(&q->ring);
        q->cap = q->head = 0;
    }
}

void s2s_unacked_gone(struct s2s_unacked *q, s2s_unacked_fn *pick, void *arg)
{
    ensure(q->written <= q->len);
    for (uint32_t i = 0; i < q->len; i++)
        slot(q, i)->gone = slot(q, i)->gone || pick(slot(q, i), arg);
}

bool s2s_unacked_has(const struct s2s_unacked *q, int64_t sender, uint64_t entry)
{
    for (uint32_t i = 0; i < q->len; i++)
        if (slot(q, i)->id.entry == entry && slot(q, i)->id.sender == sender)
            return true;
    return false;
}

void s2s_unacked_fini(struct s2s_unacked *q)
{
    while (q->len > 0) {
        struct s2s_sent s = s2s_unacked_take(q, false);
        stanza_unref(&s.st);
    }
    mem_free(&q->ring);
    *q = (struct s2s_unacked){ 0 };
}
