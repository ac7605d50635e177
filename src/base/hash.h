/* hash: SipHash-1-3 under a key drawn at process start, so that peers cannot cause collisions.
 * hash_with() takes the key from the caller, for hashes that all nodes must agree on. */
#pragma once
#include "base/slice.h"

struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_with(const struct hash_key *key, slice bytes);
uint64_t hash_keyed(slice bytes);           /* the process key */
uint64_t hash_keyed_pair(slice a, slice b); /* in this order, and as they are cut */
