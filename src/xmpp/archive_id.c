#include "xmpp/archive_id.h"
#include <stdatomic.h>

enum { ROUNDS = 4 };

static _Atomic uint64_t key[2]; /* nodes of one process may share it; else it is set once */

void archive_id_key_set(const struct hash_key *k)
{
    atomic_store_explicit(&key[0], k->k0, memory_order_relaxed);
    atomic_store_explicit(&key[1], k->k1, memory_order_relaxed);
}

static uint32_t scramble(uint32_t half, unsigned round)
{
    struct hash_key k = { atomic_load_explicit(&key[0], memory_order_relaxed),
                          atomic_load_explicit(&key[1], memory_order_relaxed) };
    char text[5] = { (char)half, (char)(half >> 8), (char)(half >> 16), (char)(half >> 24),
                     (char)round };
    return (uint32_t)hash_with(&k, (slice){ text, sizeof text });
}

void archive_id_write(char out[ARCHIVE_ID_LEN], uint64_t id)
{
    uint32_t left = (uint32_t)(id >> 32), right = (uint32_t)id;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t next = left ^ scramble(right, i);
        left = right;
        right = next;
    }
    uint64_t v = (uint64_t)left << 32 | right;
    for (unsigned i = 0; i < ARCHIVE_ID_LEN; i++)
        out[i] = "0123456789abcdef"[v >> (60 - 4 * i) & 15];
}

bool archive_id_read(slice text, uint64_t *id)
{
    uint64_t v = 0;
    for (size_t i = 0; i < text.len && text.len == ARCHIVE_ID_LEN; i++) {
        char c = text.ptr[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'f'))
            return false;
        v = v << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    uint32_t left = (uint32_t)(v >> 32), right = (uint32_t)v;
    for (unsigned i = ROUNDS; i-- > 0;) {
        uint32_t before = right ^ scramble(left, i);
        right = left;
        left = before;
    }
    *id = (uint64_t)left << 32 | right;
    return text.len == ARCHIVE_ID_LEN && *id != 0 && *id <= INT64_MAX;
}
