#include "base/rand.h"
#include "gate/s2s/find/s2s_route.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

static void targets_are_read(void **s)
{
    static const char *const right[] = { "192.0.2.1:5269",           "[2001:db8::1]:1",
                                         "xmpp.a.test:5270",         "a.test",
                                         "_xmpp-server._tcp.a.test", "_xmpps-server._tcp.a.test" };
    static const char *const wrong[] = { "",
                                         "192.0.2.1",
                                         "192.0.2.1:0",
                                         "[::1]",
                                         "::1",
                                         "unix:/x",
                                         "a.test:65536",
                                         "a.test:x",
                                         "A.test:1",
                                         "a b:1",
                                         "a@b.test",
                                         "[::1]:0",
                                         "_sip._tcp.a.test",
                                         ":5269",
                                         "a.test:-1",
                                         "a.test:0",
                                         "a.test:00",
                                         "a.test:05269",
                                         "a.test:",
                                         "a.test: 1",
                                         "127.0.0.1:05",
                                         "[::1]:05",
                                         "[::1",
                                         "::1:5269",
                                         "[a.test]:1",
                                         " ",
                                         "a b",
                                         "300.1.1.1",
                                         "256.0.0.1:1",
                                         "1.2.3:5",
                                         "_xmpp-server._tcp.a.test:5269",
                                         "_xmpp-server._tcp.a.test:0" };
    struct s2s_target t;
    (void)s;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        assert_true(s2s_target_ok(slice_of(right[i])));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (s2s_target_ok(slice_of(wrong[i])))
            fail_msg("%s", wrong[i]);
    assert_true(s2s_target_read(&t, SLICE("xmpp.a.test:5270")));
    assert_int_equal(t.kind, S2S_TARGET_HOST);
    assert_int_equal(t.port, 5270);
    assert_true(slice_is(t.host, "xmpp.a.test"));
    assert_true(s2s_target_read(&t, SLICE("_xmpps-server._tcp.a.test")));
    assert_int_equal(t.kind, S2S_TARGET_SERVICE);
    assert_true(t.one && t.tls && slice_is(t.host, "a.test"));
    assert_true(s2s_target_read(&t, SLICE("a.test")));
    assert_true(t.kind == S2S_TARGET_SERVICE && !t.one && slice_is(t.host, "a.test"));
}

static uint64_t draw(void *arg)
{
    (void)arg;
    return rand_u64();
}

/* Priority and weight (1,20), (1,10), (2,50): 2:1 between the first two, the third comes last. */
static void weights_share_within_a_priority(void **s)
{
    enum { TIMES = 30000 };
    struct s2s_route out_of = { .priority = 1, .weight = 65535 };
    struct s2s_route c = { &out_of, SLICE_INIT("c"), 2, 50, 0, true, false, true };
    struct s2s_route b = { &c, SLICE_INIT("b"), 1, 10, 0, true, false, true };
    const struct s2s_route a = { &b, SLICE_INIT("a"), 1, 20, 0, true, false, true };
    const struct s2s_route *order[S2S_ROUTES_OF_PATTERN];
    unsigned first = 0;
    (void)s;
    for (unsigned i = 0; i < TIMES; i++) {
        assert_int_equal(s2s_routes_order(order, &a, draw, NULL), 3);
        assert_ptr_equal(order[2], &c);
        assert_true(order[0] == &a || order[0] == &b);
        first += order[0] == &a;
    }
    assert_in_range(first, TIMES * 64 / 100, TIMES * 69 / 100);
}

static void none_is_in_service(void **s)
{
    const struct s2s_route out_of = { .priority = 1, .weight = 1 };
    const struct s2s_route *order[S2S_ROUTES_OF_PATTERN];
    (void)s;
    assert_int_equal(s2s_routes_order(order, &out_of, draw, NULL), 0);
    assert_int_equal(s2s_routes_order(order, NULL, draw, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_read),
        cmocka_unit_test(weights_share_within_a_priority),
        cmocka_unit_test(none_is_in_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
