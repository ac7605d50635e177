/* test_dice: chance for tests that is the same in every run. */
#pragma once
#include <stdint.h>

/* One of 0 to sides - 1 (xorshift64: Marsaglia 2003). */
static inline uint32_t test_dice(uint32_t sides)
{
    static uint64_t x = 0x9e3779b97f4a7c15u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 33) % sides;
}
