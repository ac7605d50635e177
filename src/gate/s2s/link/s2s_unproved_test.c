#include "gate/s2s/link/s2s_unproved.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define EVIL SLICE("evil.test")

static void keep(slice domain, const char *why, uint64_t now_us)
{
    s2s_unproved_keep(&(struct s2s_unproved_news){ domain, SLICE("one.test"), SLICE("::1"),
                                                   slice_of(why), S2S_AT_POLICY },
                      now_us);
}

static void count(slice domain, const struct s2s_unproved *last, void *arg)
{
    (void)last;
    assert_true(domain.len > 0);
    ++*(unsigned *)arg;
}

static unsigned counted(uint64_t now_us)
{
    unsigned found = 0;
    s2s_unproved_each(now_us, count, &found);
    return found;
}

static void test_the_last_one_is_known_for_a_day(void **state)
{
    struct s2s_unproved last;
    (void)state;
    keep(EVIL, "first", 1);
    keep(EVIL, "second", 2);
    assert_true(s2s_unproved_of(EVIL, 2 + S2S_UNPROVED_US, &last));
    assert_string_equal(last.why, "second");
    assert_string_equal(last.local, "one.test");
    assert_string_equal(last.peer, "::1");
    assert_int_equal(last.stage, S2S_AT_POLICY);
    assert_int_equal(counted(2 + S2S_UNPROVED_US), 1);
    assert_false(s2s_unproved_of(EVIL, 3 + S2S_UNPROVED_US, &last));
    assert_int_equal(counted(3 + S2S_UNPROVED_US), 0);
    keep(EVIL, "again", 3 + S2S_UNPROVED_US);
    assert_true(s2s_unproved_of(EVIL, 3 + S2S_UNPROVED_US, &last));
    s2s_unproved_forget(EVIL);
    assert_false(s2s_unproved_of(EVIL, 3 + S2S_UNPROVED_US, &last));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_one_is_known_for_a_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
