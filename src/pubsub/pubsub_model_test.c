#include "pubsub/pubsub_model.h"
#include <stdio.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static slice name_of(const void *item) { return ((const struct ps_node *)item)->name; }
static slice maker_jid(const void *item)
{
    const struct ps_maker *m = item;
    return (slice){ m->jid, m->len };
}

/* A service that nothing runs in, and its node. */
static struct ps_node *node_in(struct ps_service *s)
{
    struct ps_config c;
    *s = (struct ps_service){ 0 };
    map_init(&s->nodes, name_of);
    map_init(&s->makers, maker_jid);
    struct ps_node *n = ps_node_get(s, SLICE("n"));
    ps_config_default(&c, PS_HOST);
    ps_node_load(n, 1, SLICE("maker@d"), &c);
    return n;
}

static void end(struct ps_node *n)
{
    struct ps_service *s = n->service;
    ps_node_clear(n);
    assert_int_equal(s->bytes, 0);
    assert_int_equal(s->makers.count, 0);
    ps_node_release(n);
    map_fini(&s->nodes);
    map_fini(&s->makers);
}

static struct ps_item item(char id[16], unsigned i)
{
    snprintf(id, 16, "i%u", i);
    return (struct ps_item){ .at_us = i + 1, .id = slice_of(id), .publisher = SLICE("p@d") };
}

static bool has(const struct ps_node *n, unsigned i)
{
    char id[16];
    slice key = item(id, i).id;
    const struct ps_stub *s = ps_stub_find(n, key);
    assert_true(s == NULL || s->at_us == i + 1);
    return s != NULL;
}

/* Few items, and more than a node looks through one by one. */
static void items_are_found_in_nodes_of_each_size(void **state)
{
    (void)state;
    for (unsigned count = 1; count < 70; count += 3) {
        struct ps_service s;
        struct ps_node *n = node_in(&s);
        char id[16];
        for (unsigned i = 0; i < count; i++) {
            struct ps_item it = item(id, i);
            ps_stub_add(n, &it);
        }
        struct ps_item again = item(id, count / 2);
        ps_stub_add(n, &again);
        assert_int_equal(n->stub_count, count);
        assert_true(n->stubs[count - 1] == ps_stub_find(n, again.id));
        ps_stubs_drop(n, count / 3, SLICE("i0"));
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(has(n, i), i == 0 || i == count / 2 || i >= count / 3);
        for (unsigned i = 0; i < count; i++) {
            ps_stub_del(n, item(id, i).id);
            assert_false(has(n, i));
        }
        assert_int_equal(n->stub_count, 0);
        end(n);
    }
}

/* A request may name 1,000 ids, and a node may have 100,000 items. One by one this is 2.5 billion
 * steps. */
static void ids_cost_the_same_in_large_nodes(void **state)
{
    enum { ITEMS = 50000 };
    struct ps_service s;
    struct ps_node *n = node_in(&s);
    char id[16];
    (void)state;
    for (unsigned i = 0; i < ITEMS; i++) {
        struct ps_item it = item(id, i);
        ps_stub_add(n, &it);
    }
    clock_t began = clock();
    for (unsigned i = ITEMS; i < 2 * ITEMS; i++)
        assert_false(has(n, i));
    assert_true(clock() - began < 2 * CLOCKS_PER_SEC);
    end(n);
}

static unsigned subscribers_of(const struct ps_node *n, slice bare)
{
    unsigned count = 0;
    for (const struct ps_subscriber *s = ps_subscribers_of(n, bare); s != NULL; s = s->next)
        count++;
    return count;
}

/* In each order in which three addresses of one user may leave. */
static void addresses_of_one_user_are_together(void **state)
{
    static const char *const jids[] = { "u@d", "u@d/a", "u@d/b", "other@d/a" };
    static const unsigned orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                          { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    (void)state;
    for (unsigned o = 0; o < sizeof orders / sizeof orders[0]; o++) {
        struct ps_service s;
        struct ps_node *n = node_in(&s);
        for (unsigned twice = 0; twice < 2; twice++)
            for (unsigned i = 0; i < 4; i++)
                ps_subscriber_put(
                    n, ps_subscriber_make(slice_of(jids[i]), SLICE("id"), PS_SUBSCRIBED));
        assert_int_equal(n->subscriber_count, 4);
        unsigned all = 0;
        const struct ps_subscriber *one = NULL;
        for (uint32_t i = 0; (one = ps_subscriber_next(n, &i, one)) != NULL;)
            all++;
        assert_int_equal(all, 4);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(subscribers_of(n, SLICE("u@d")), 3 - i);
            assert_non_null(ps_subscriber(n, slice_of(jids[orders[o][i]])));
            ps_subscriber_del(n, slice_of(jids[orders[o][i]]));
            assert_null(ps_subscriber(n, slice_of(jids[orders[o][i]])));
        }
        ps_subscriber_del(n, SLICE("u@d"));
        assert_int_equal(n->subscriber_count, 1);
        assert_int_equal(n->listed, ps_address_bytes(slice_of(jids[3])));
        end(n);
    }
}

/* Rows that make no sense count when a service is loaded, and are no items. */
static void the_index_says_what_the_items_take(void **state)
{
    struct ps_service s;
    struct ps_node *n = node_in(&s);
    char id[16];
    (void)state;
    ps_node_grew(n, 1000);
    for (unsigned i = 0; i < 2; i++) {
        struct ps_item one = item(id, i);
        ps_stub_load(n, &one, 10);
    }
    ps_stubs_loaded(n);
    assert_int_equal(n->bytes, 20);
    assert_int_equal(s.bytes, 20);
    end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_says_what_the_items_take),
        cmocka_unit_test(items_are_found_in_nodes_of_each_size),
        cmocka_unit_test(ids_cost_the_same_in_large_nodes),
        cmocka_unit_test(addresses_of_one_user_are_together),
    };
    return cmocka_run_group_tests_name("pubsub_model", tests, NULL, NULL);
}
