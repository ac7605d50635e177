/* Nanoseconds of a lookup, and of a put with its deletion, in a map whose items fit the cache and
 * in one of a full server. */
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include <inttypes.h>
#include <stdio.h>

enum { ROUNDS = 4000000 };

struct item {
    char key[40];
};

static slice item_key(const void *item) { return slice_of(((const struct item *)item)->key); }

static void report(const char *what, uint32_t count, uint64_t took_us)
{
    printf("map_%s_%" PRIu32 " %.1f ns\n", what, count, (double)took_us * 1000 / ROUNDS);
}

static void measure(uint32_t count)
{
    struct map m;
    map_init(&m, item_key);
    struct item *items = mem_zalloc(count * sizeof *items);
    slice *keys = mem_zalloc(count * sizeof *keys);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(items[i].key, sizeof items[i].key, "someone.%06" PRIu32 "@im.example.test", i);
        keys[i] = item_key(&items[i]);
        map_put(&m, &items[i]);
    }

    uint64_t start = clock_mono_us();
    for (uint32_t i = 0, at = 0; i < ROUNDS; i++, at = (at + 7919) % count)
        ensure(map_get(&m, keys[at]) == &items[at]);
    report("get", count, clock_mono_us() - start);

    uint64_t sum = 0;
    start = clock_mono_us();
    for (uint32_t i = 0, at = 0; i < ROUNDS; i++, at = (at + 7919) % count)
        sum += hash_keyed(keys[at]);
    report("hash", count, clock_mono_us() - start);
    ensure(sum != 0);

    start = clock_mono_us();
    for (uint32_t i = 0, at = 0; i < ROUNDS; i++, at = (at + 7919) % count) {
        ensure(map_del(&m, keys[at]) == &items[at]);
        map_put(&m, &items[at]);
    }
    report("del_put", count, clock_mono_us() - start);

    map_fini(&m);
    mem_free(&keys);
    mem_free(&items);
}

int main(void)
{
    measure(1000);
    measure(100000);
    return 0;
}
