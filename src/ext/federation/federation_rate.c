#include "ext/federation/federation_rate.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/param.h"
#include "xmpp/jid.h"
#include <pthread.h>

enum { WAYS = 4 }; /* places that an entry may have */
enum { SECOND_US = 1000000 };
static const uint64_t minute_us = 60ull * SECOND_US, hour_us = 3600ull * SECOND_US;

/* Tokens: `limit` of them at most, as many come back in a period. Below 0: a debt. */
struct bucket {
    double tokens;
    uint64_t filled_us; /* 0: full */
    int64_t limit;      /* then */
};
enum { OF_STANZAS, OF_REQUESTS, OF_STRANGERS, BUCKETS };
struct rated {
    uint64_t hash; /* of the domain; 0: unused */
    uint64_t seen_us;
    struct bucket bucket[BUCKETS];
};
struct known_pair {
    uint64_t hash;                  /* 0: unused */
    uint64_t seen_us : 63, met : 1; /* met: the user has written, too */
};
struct federation_rates {
    pthread_mutex_t lock; /* guards all below */
    struct rated domain[FEDERATION_DOMAINS_MAX];
    struct known_pair known[FEDERATION_KNOWN_MAX];
};

struct federation_rates *federation_rates_create(void)
{
    struct federation_rates *r = mem_new(struct federation_rates);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void federation_rates_destroy(struct federation_rates **r)
{
    if (*r != NULL)
        pthread_mutex_destroy(&(*r)->lock);
    mem_free(r);
}

static struct rated *rated_domain(struct federation_rates *r, slice domain, uint64_t now_us)
{
    uint64_t hash = hash_keyed(domain) | 1;
    struct rated *set = &r->domain[(hash >> 32) % (FEDERATION_DOMAINS_MAX / WAYS) * WAYS],
                 *oldest = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].hash == hash) {
            oldest = &set[i];
            break;
        }
        oldest = set[i].seen_us < oldest->seen_us ? &set[i] : oldest;
    }
    if (oldest->hash != hash)
        *oldest = (struct rated){ .hash = hash };
    oldest->seen_us = now_us;
    return oldest;
}

/* A new limit applies at once: a higher one adds the difference, a lower one caps what is left. */
static double bucket_fill(struct bucket *b, int64_t limit, uint64_t period_us, uint64_t now_us)
{
    uint64_t us = now_us > b->filled_us ? now_us - b->filled_us : 0;
    double tokens = b->tokens + (double)limit * (double)us / (double)period_us;
    if (limit > b->limit)
        tokens += (double)(limit - b->limit);
    if (b->filled_us == 0 || tokens > (double)limit)
        tokens = (double)limit;
    ensure(limit > 0);
    b->filled_us = now_us;
    b->limit = limit;
    b->tokens = tokens;
    return tokens;
}

static bool bucket_take(struct bucket *b, int64_t limit, uint64_t period_us, uint64_t now_us)
{
    bool taken = bucket_fill(b, limit, period_us, now_us) >= 1;
    b->tokens -= taken ? 1 : 0;
    return taken;
}

static bool rate_take(struct federation_rates *r, slice domain, unsigned which, int64_t limit,
                      uint64_t period_us, uint64_t now_us)
{
    ensure(which < BUCKETS);
    if (limit == PARAM_NONE)
        return true;
    pthread_mutex_lock(&r->lock);
    bool taken =
        bucket_take(&rated_domain(r, domain, now_us)->bucket[which], limit, period_us, now_us);
    pthread_mutex_unlock(&r->lock);
    return taken;
}

uint64_t federation_rate_stanza(struct federation_rates *r, slice domain, int64_t per_second,
                                uint64_t now_us)
{
    if (per_second == PARAM_NONE)
        return 0;
    pthread_mutex_lock(&r->lock);
    struct bucket *b = &rated_domain(r, domain, now_us)->bucket[OF_STANZAS];
    double left = bucket_fill(b, per_second, SECOND_US, now_us) - 1;
    double floor = -(double)per_second * FEDERATION_DEBT_S;
    b->tokens = left < floor ? floor : left;
    uint64_t us = b->tokens >= 0 ? 0 : (uint64_t)(-b->tokens * SECOND_US / (double)per_second);
    pthread_mutex_unlock(&r->lock);
    return us;
}

bool federation_rate_request(struct federation_rates *r, slice domain, int64_t per_minute,
                             uint64_t now_us)
{
    return rate_take(r, domain, OF_REQUESTS, per_minute, minute_us, now_us);
}

static uint64_t pair_hash(const struct federation_pair *p)
{
    ensure(p->ours.len > 0 && p->theirs.len > 0);
    return hash_keyed_pair(p->ours, p->theirs) | 1;
}

/* The place of the pair, or the one that it is to have. */
static struct known_pair *pair_place(struct federation_rates *r, uint64_t hash)
{
    struct known_pair *set = &r->known[(hash >> 32) % (FEDERATION_KNOWN_MAX / WAYS) * WAYS],
                      *oldest = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        oldest = set[i].seen_us < oldest->seen_us ? &set[i] : oldest;
    }
    return oldest;
}

static void pair_note(struct federation_rates *r, uint64_t hash, bool met, uint64_t now_us)
{
    struct known_pair *p = pair_place(r, hash);
    met = met || (p->hash == hash && p->met);
    *p = (struct known_pair){ hash, now_us & (UINT64_MAX >> 1), met };
}

void federation_rate_met(struct federation_rates *r, const struct federation_pair *p,
                         uint64_t now_us)
{
    pthread_mutex_lock(&r->lock);
    pair_note(r, pair_hash(p), true, now_us);
    pthread_mutex_unlock(&r->lock);
}

bool federation_rate_is_met(struct federation_rates *r, const struct federation_pair *p)
{
    uint64_t hash = pair_hash(p);
    pthread_mutex_lock(&r->lock);
    const struct known_pair *k = pair_place(r, hash);
    bool met = k->hash == hash && k->met;
    pthread_mutex_unlock(&r->lock);
    return met;
}

bool federation_rate_stranger(struct federation_rates *r, const struct federation_pair *p,
                              int64_t per_hour, uint64_t now_us)
{
    uint64_t hash = pair_hash(p);
    slice domain = jid_split(p->theirs).domain;
    if (per_hour == PARAM_NONE)
        return true;
    pthread_mutex_lock(&r->lock);
    bool admitted = pair_place(r, hash)->hash == hash ||
                    bucket_take(&rated_domain(r, domain, now_us)->bucket[OF_STRANGERS], per_hour,
                                hour_us, now_us);
    if (admitted)
        pair_note(r, hash, false, now_us);
    pthread_mutex_unlock(&r->lock);
    return admitted;
}
