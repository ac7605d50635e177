#include "gate/s2s/s2s_partner_private.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { DRAWS = 200, FAILURES_MAX = 20, PAUSE_MAX_MS = 300000, RESUME_MS = 50 };

/* Many pauses: each within a quarter of what it is about, and spread over most of that. */
static void assert_spread(const struct partner *p, uint64_t (*pause_ms)(const struct partner *),
                          uint64_t about_ms)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t ms = pause_ms(p);
        assert_in_range(ms, about_ms - about_ms / 4, about_ms + about_ms / 4);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_true(most - least > about_ms / 4);
}

static void pauses_double_up_to_the_longest_and_differ(void **state)
{
    struct partner p = { 0 };
    (void)state;
    uint64_t about_ms = BACKOFF_MS;
    for (p.failures = 1; p.failures <= FAILURES_MAX; p.failures++) {
        assert_spread(&p, partner_pause_ms, about_ms);
        about_ms = about_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : about_ms * 2;
    }
}

static void pauses_before_a_session_is_resumed_differ(void **state)
{
    struct partner one = { .resumptions = 1 }, two = { .resumptions = 2 };
    (void)state;
    assert_spread(&one, partner_resume_pause_ms, RESUME_MS);
    assert_spread(&two, partner_resume_pause_ms, 2 * RESUME_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_double_up_to_the_longest_and_differ),
        cmocka_unit_test(pauses_before_a_session_is_resumed_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
