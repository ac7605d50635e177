/* quota: how often one address may do a thing within an hour. IPv6 addresses count by /64, what a
 * customer usually has.
 *
 * A fixed table of QUOTA_SETS × QUOTA_WAYS addresses: in a full set the oldest is replaced. Any
 * thread. Time is a parameter: monotonic, µs. */
#pragma once
#include "base/slice.h"
#include <pthread.h>

enum { QUOTA_SETS = 1024, QUOTA_WAYS = 4 };

struct quota_slot {
    uint64_t address; /* keyed hash; 0: free */
    uint64_t since_us;
    int64_t count;
};
struct quota {
    pthread_mutex_t lock; /* guards what follows */
    struct quota_slot slot[QUOTA_SETS][QUOTA_WAYS];
};
#define QUOTA_INIT                                                                                 \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* Counts one more. false: it is over `max` within the hour. `address` is numeric. */
bool quota_take(struct quota *q, slice address, int64_t max, uint64_t now_us);
