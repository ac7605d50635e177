#include "admin/event_ring.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { SLOTS = 4, BYTES = 40 };

static void add(struct event_ring *r, unsigned from, unsigned to)
{
    char text[16];
    for (unsigned i = from; i <= to; i++) {
        snprintf(text, sizeof text, "e%u", i);
        event_ring_add(r, slice_of(text));
    }
}

/* All that a reader gets, as "e1 e2". */
static void check(struct event_ring *r, uint64_t *at, const char *events, uint64_t missed)
{
    struct buf all;
    uint64_t lost = 0;
    buf_init(&all, 1000);
    while (event_ring_read(r, at, &all, &lost))
        buf_lit(&all, " ");
    assert_true(slice_is(buf_slice(&all), events));
    assert_int_equal(lost, missed);
    buf_fini(&all);
}

static void readers_each_go_their_way(void **state)
{
    struct event_ring r = EVENT_RING(SLOTS, BYTES);
    uint64_t one = event_ring_next(&r), other = one;
    (void)state;
    check(&r, &one, "", 0);
    add(&r, 1, 3);
    check(&r, &one, "e1 e2 e3 ", 0);
    add(&r, 4, 4);
    check(&r, &one, "e4 ", 0);
    check(&r, &other, "e1 e2 e3 e4 ", 0);
    check(&r, &other, "", 0);
    event_ring_clear(&r);
    check(&r, &one, "", 0);
}

static void who_is_late_hears_how_much_it_missed(void **state)
{
    struct event_ring r = EVENT_RING(SLOTS, BYTES);
    uint64_t at = event_ring_next(&r);
    (void)state;
    add(&r, 1, 11);
    check(&r, &at, "e8 e9 e10 e11 ", 7);
    add(&r, 12, 12);
    check(&r, &at, "e12 ", 0);
    event_ring_skip(&r, 5);
    add(&r, 18, 18);
    check(&r, &at, "e18 ", 5);
    event_ring_skip(&r, 0);
    check(&r, &at, "", 0);
    event_ring_clear(&r);
}

static void bytes_are_limited_too(void **state)
{
    struct event_ring r = EVENT_RING(SLOTS, BYTES);
    uint64_t at = event_ring_next(&r);
    (void)state;
    add(&r, 1, 1);
    event_ring_add(&r, SLICE("twenty bytes of text"));
    event_ring_add(&r, SLICE("nineteen bytes here"));
    assert_true(r.bytes <= BYTES);
    check(&r, &at, "twenty bytes of text nineteen bytes here ", 1);
    event_ring_add(&r, SLICE("this is longer than all that may be in the ring"));
    check(&r, &at, " ", 0);
    event_ring_clear(&r);
    assert_int_equal(r.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_each_go_their_way),
        cmocka_unit_test(who_is_late_hears_how_much_it_missed),
        cmocka_unit_test(bytes_are_limited_too),
    };
    return cmocka_run_group_tests_name("event_ring", tests, NULL, NULL);
}
