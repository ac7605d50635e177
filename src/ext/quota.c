#include "ext/quota.h"
#include "base/hash.h"
#include <arpa/inet.h>

enum { IPV6_PREFIX_BYTES = 8 };
static const uint64_t hour_us = 3600ull * 1000000;

static uint64_t address_id(slice address)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    slice key = address;
    if (address.len < sizeof text) {
        memcpy(text, address.ptr, address.len);
        text[address.len] = '\0';
        if (inet_pton(AF_INET6, text, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6))
            key = (slice){ (const char *)v6.s6_addr, IPV6_PREFIX_BYTES };
        else if (slice_starts(address, SLICE("::ffff:"))) /* the same peer as 1.2.3.4 */
            key = slice_from(address, strlen("::ffff:"));
    }
    uint64_t id = hash_keyed(key);
    return id != 0 ? id : 1;
}

/* Its slot, or the one that it takes: a free one, or the oldest. */
static struct quota_slot *quota_find(struct quota_slot set[QUOTA_WAYS], uint64_t id)
{
    struct quota_slot *oldest = &set[0];
    for (unsigned i = 0; i < QUOTA_WAYS; i++) {
        if (set[i].address == id)
            return &set[i];
        if (set[i].since_us < oldest->since_us)
            oldest = &set[i];
    }
    return oldest;
}

bool quota_take(struct quota *q, slice address, int64_t max, uint64_t now_us)
{
    uint64_t id = address_id(address);
    pthread_mutex_lock(&q->lock);
    struct quota_slot *s = quota_find(q->slot[id % QUOTA_SETS], id);
    if (s->address != id || now_us - s->since_us >= hour_us)
        *s = (struct quota_slot){ .address = id, .since_us = now_us };
    bool ok = s->count < max;
    if (ok)
        s->count++;
    pthread_mutex_unlock(&q->lock);
    return ok;
}
