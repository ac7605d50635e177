#include "base/hash.h"
#include "base/rand.h"
#include <endian.h>

static struct hash_key process_key;

/* Before main(): hash_keyed() then needs neither a lock nor a branch. */
__attribute__((constructor)) static void draw_key(void)
{
    rand_bytes(&process_key, sizeof process_key);
}

static inline uint64_t load64(const char *ptr)
{
    uint64_t word;
    memcpy(&word, ptr, sizeof word);
    return le64toh(word);
}

/* The bytes after the last whole word, and the length modulo 256 in the top byte. */
static inline uint64_t last_word(slice s)
{
    uint64_t word = (uint64_t)s.len << 56;
    size_t left = s.len & 7;
    if (left > 0 && s.len >= 8)
        return word | load64(s.ptr + s.len - 8) >> (8 * (8 - left));
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)(unsigned char)s.ptr[i] << (8 * i);
    return word;
}

static inline uint64_t rotl(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static inline void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* SipHash by Aumasson and Bernstein, one round a word and three at the end. */
static inline uint64_t siphash13(const struct hash_key *key, slice s)
{
    uint64_t v[4] = {
        key->k0 ^ 0x736f6d6570736575,
        key->k1 ^ 0x646f72616e646f6d,
        key->k0 ^ 0x6c7967656e657261,
        key->k1 ^ 0x7465646279746573,
    };
    for (size_t at = 0; at + 8 <= s.len; at += 8)
        absorb(v, load64(s.ptr + at));
    absorb(v, last_word(s));
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_with(const struct hash_key *key, slice bytes) { return siphash13(key, bytes); }
uint64_t hash_keyed(slice bytes) { return siphash13(&process_key, bytes); }

uint64_t hash_keyed_pair(slice a, slice b)
{
    uint64_t both[] = { hash_keyed(a), hash_keyed(b) };
    return hash_keyed((slice){ (const char *)both, sizeof both });
}
