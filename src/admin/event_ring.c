#include "admin/event_ring.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"

static struct event_slot *event_ring_slot(const struct event_ring *r, uint64_t number)
{
    return &r->slot[number % r->slots];
}

static void event_ring_drop(struct event_ring *r)
{
    struct event_slot *slot = event_ring_slot(r, r->first++);
    r->bytes -= slot->len;
    slot->len = 0;
    mem_free(&slot->text);
}

void event_ring_add(struct event_ring *r, slice text)
{
    pthread_mutex_lock(&r->lock);
    ensure(r->first <= r->next && r->next - r->first <= r->slots);
    while (r->first < r->next &&
           (r->next - r->first >= r->slots || r->bytes + text.len > r->bytes_max))
        event_ring_drop(r);
    struct event_slot *slot = event_ring_slot(r, r->next++);
    slot->len = text.len < r->bytes_max ? text.len : 0; /* longer than all may be: it is empty */
    slot->text = slot->len > 0 ? mem_alloc(slot->len) : NULL;
    if (slot->len > 0)
        memcpy(slot->text, text.ptr, slot->len);
    r->bytes += slot->len;
    pthread_mutex_unlock(&r->lock);
}

void event_ring_skip(struct event_ring *r, uint64_t count)
{
    pthread_mutex_lock(&r->lock);
    while (count > 0 && r->first < r->next)
        event_ring_drop(r);
    r->next += count;
    r->first = r->first < r->next && count > 0 ? r->next : r->first;
    pthread_mutex_unlock(&r->lock);
}

uint64_t event_ring_next(struct event_ring *r)
{
    pthread_mutex_lock(&r->lock);
    uint64_t next = r->next;
    pthread_mutex_unlock(&r->lock);
    return next;
}

bool event_ring_read(struct event_ring *r, uint64_t *at, struct buf *out, uint64_t *lost)
{
    pthread_mutex_lock(&r->lock);
    if (*at < r->first) {
        *lost += r->first - *at;
        *at = r->first;
    }
    bool there = *at < r->next;
    if (there) {
        const struct event_slot *slot = event_ring_slot(r, (*at)++);
        buf_add(out, (slice){ slot->text, slot->len });
    }
    pthread_mutex_unlock(&r->lock);
    return there;
}

void event_ring_clear(struct event_ring *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->first < r->next)
        event_ring_drop(r);
    pthread_mutex_unlock(&r->lock);
}
