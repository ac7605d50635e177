#include "base/hash.h"
#include "base/map.h"
#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ITEMS = 2000 };

struct item {
    char key[24];
    bool present, seen;
};

static struct item items[ITEMS];

static slice item_key(const void *item) { return slice_of(((const struct item *)item)->key); }

static void name_items(void)
{
    for (int i = 0; i < ITEMS; i++) {
        snprintf(items[i].key, sizeof items[i].key, "user%d@example.test", i);
        items[i].present = false;
    }
}

static uint32_t next_random(uint32_t *seed) { return *seed = *seed * 1664525 + 1013904223; }

static void check_all(const struct map *m)
{
    uint32_t count = 0;
    for (int i = 0; i < ITEMS; i++) {
        void *found = map_get(m, item_key(&items[i]));
        assert_ptr_equal(found, items[i].present ? &items[i] : NULL);
        count += items[i].present ? 1 : 0;
    }
    assert_int_equal(m->count, count);
    assert_true((m->slots == NULL) == (count == 0));
    assert_true(count == 0 || m->count + m->dead < m->cap);
    uint32_t used = 0;
    for (uint32_t i = 0; i < m->cap; i++)
        used += m->slots[i].item != NULL ? 1 : 0;
    assert_int_equal(m->count + m->dead, used);
}

/* Each iteration meets every item that is there, once. */
static void check_iteration(const struct map *m)
{
    for (int i = 0; i < ITEMS; i++)
        items[i].seen = false;
    struct item *item;
    uint32_t count = 0;
    for (uint32_t at = 0; (item = map_next(m, &at)) != NULL; count++) {
        assert_true(item->present && !item->seen);
        item->seen = true;
    }
    assert_int_equal(count, m->count);
}

static void behaves_like_a_table(void **state)
{
    (void)state;
    struct map m;
    map_init(&m, item_key);
    name_items();
    uint32_t seed = 42;
    for (uint32_t step = 0; step < 100000; step++) {
        /* puts prevail in one phase, deletions in the next: the map grows and shrinks */
        bool growing = step / 10000 % 2 == 0;
        struct item *it = &items[next_random(&seed) / 7 % ITEMS];
        bool put = next_random(&seed) / 7 % 4 < (growing ? 3 : 1);
        if (put && !it->present)
            map_put(&m, it);
        else if (!put)
            assert_ptr_equal(map_del(&m, item_key(it)), it->present ? it : NULL);
        it->present = put;
        if (step % 5000 == 0) {
            check_all(&m);
            check_iteration(&m);
        }
    }
    map_fini(&m);
}

static void iteration_may_delete_anything(void **state)
{
    (void)state;
    struct map m;
    map_init(&m, item_key);
    name_items();
    for (int i = 0; i < ITEMS; i++) {
        map_put(&m, &items[i]);
        items[i].present = true;
    }
    struct item *item;
    uint32_t met = 0, seed = 7;
    for (uint32_t at = 0; (item = map_next(&m, &at)) != NULL; met++) {
        assert_true(item->present);
        struct item *other = &items[next_random(&seed) / 7 % ITEMS];
        assert_ptr_equal(map_del(&m, item_key(item)), item);
        item->present = false;
        assert_ptr_equal(map_del(&m, item_key(other)), other->present ? other : NULL);
        other->present = false;
    }
    assert_true(met > ITEMS / 2 - 1 && met < ITEMS);
    check_all(&m);
    assert_null(m.slots);
}

static void shrinks_when_mostly_empty(void **state)
{
    (void)state;
    struct map m;
    map_init(&m, item_key);
    name_items();
    for (int i = 0; i < ITEMS; i++)
        map_put(&m, &items[i]);
    assert_true(m.cap >= ITEMS && m.cap <= 4 * ITEMS);
    for (int i = 10; i < ITEMS; i++)
        map_del(&m, item_key(&items[i]));
    map_put(&m, &items[10]);
    assert_true(m.cap <= 64);
    for (int i = 0; i <= 10; i++)
        assert_ptr_equal(map_get(&m, item_key(&items[i])), &items[i]);
    map_fini(&m);
    assert_null(m.slots);
}

/* One item coming and going for ever must not grow anything. */
static void churn_needs_no_room(void **state)
{
    (void)state;
    struct map m;
    map_init(&m, item_key);
    name_items();
    map_put(&m, &items[0]);
    for (int i = 0; i < 100000; i++) {
        struct item *it = &items[1 + i % (ITEMS - 1)];
        map_put(&m, it);
        map_del(&m, item_key(it));
        assert_true(m.cap == 8);
    }
    map_fini(&m);
}

static void hashed_lookup_is_the_same(void **state)
{
    (void)state;
    struct map m;
    map_init(&m, item_key);
    name_items();
    slice key = item_key(&items[3]);
    assert_null(map_get_hashed(&m, key, hash_keyed(key)));
    map_put(&m, &items[3]);
    assert_ptr_equal(map_get_hashed(&m, key, hash_keyed(key)), &items[3]);
    map_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_a_table),
        cmocka_unit_test(iteration_may_delete_anything),
        cmocka_unit_test(shrinks_when_mostly_empty),
        cmocka_unit_test(churn_needs_no_room),
        cmocka_unit_test(hashed_lookup_is_the_same),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
