#include "archive/recent.h"
#include "xmpp/stanza.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { NOW = 1000000000 };

static struct recents recents;

static int forget(void **state)
{
    (void)state;
    recent_free(&recents);
    return 0;
}

static bool said(const char *to, const char *id, int64_t origin, uint64_t now_us)
{
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_CHAT, SLICE("x@localhost/r"), slice_of(to),
                                    slice_of(id), (slice){ 0 });
    bool before = recent_said(&recents, st, origin, now_us);
    stanza_unref(&st);
    return before;
}

static void refused(const char *id)
{
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_ERROR, SLICE("y@localhost"),
                                    SLICE("x@localhost/r"), slice_of(id), (slice){ 0 });
    recent_refused(&recents, st);
    stanza_unref(&st);
}

static void a_repeat_is_known(void **state)
{
    (void)state;
    assert_false(said("y@localhost", "m1", 7, NOW));
    assert_true(said("y@localhost/r", "m1", 7, NOW));
    assert_false(said("z@localhost", "m1", 7, NOW)); /* to somebody else it is another message */
    assert_false(said("y@localhost", "m2", 9, NOW));
    assert_true(said("y@localhost", "m1", 7, NOW + RECENT_US - 1));
    assert_false(said("y@localhost", "m1", 7, NOW + RECENT_US));
}

static void what_came_back_was_not_sent(void **state)
{
    (void)state;
    refused("m1"); /* nothing was sent */
    assert_false(said("y@localhost", "m1", 7, NOW));
    assert_false(said("y@localhost", "m2", 9, NOW));
    refused("m1");
    assert_true(said("y@localhost", "m2", 9, NOW));
    assert_false(said("y@localhost", "m1", 7, NOW));
}

static void what_cannot_be_told_apart_is_not_remembered(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_false(said("y@localhost", "m1", 0, NOW));
        assert_false(said("y@localhost", "", 7, NOW));
    }
    assert_null(recents.sent);
}

static void the_last_ones_are_remembered(void **state)
{
    char id[16];
    (void)state;
    for (int64_t i = 0; i < 4 * RECENT_MAX; i++) {
        snprintf(id, sizeof id, "m%d", (int)i);
        assert_false(said("y@localhost", id, 2 * i + 1, NOW));
        recent_put(&recents, 2 * i + 1, (uint64_t)(NOW + i));
    }
    for (int64_t i = 3 * RECENT_MAX; i < 4 * RECENT_MAX; i++) {
        snprintf(id, sizeof id, "m%d", (int)i);
        assert_true(said("y@localhost", id, 2 * i + 1, NOW));
        assert_true(recent_find(&recents, 2 * i + 1, NOW) == (uint64_t)(NOW + i));
    }
    assert_false(said("y@localhost", "m1", 3, NOW)); /* so many at most */
    assert_true(recent_find(&recents, 3, NOW) == 0);
}

/* A dropped entry leaves its place to another. */
static void what_is_dropped_makes_room(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 8 * RECENT_MAX; i++) {
        recent_put(&recents, 2 * i + 1, NOW);
        recent_drop(&recents, 2 * i + 1);
        assert_true(recent_find(&recents, 2 * i + 1, NOW) == 0);
    }
    recent_put(&recents, 1, NOW);
    assert_true(recent_find(&recents, 1, NOW) == NOW);
}

/* The newer ones outlive the older ones' time. */
static void time_passes(void **state)
{
    (void)state;
    uint64_t now = NOW;
    for (int64_t i = 0; i < 100; i++, now += RECENT_US / 10) {
        assert_false(said("y@localhost", "m", 2 * i + 1, now));
        for (int64_t k = i > 9 ? i - 9 : 0; k <= i; k++)
            assert_true(said("y@localhost", "m", 2 * k + 1, now));
    }
}

static void what_came_is_remembered_apart(void **state)
{
    (void)state;
    recent_put(&recents, 7, NOW);
    assert_true(recent_find(&recents, 7, NOW + 1) == NOW && recent_find(&recents, 0, NOW) == 0);
    assert_false(said("y@localhost", "m1", 7, NOW));
    assert_true(recent_find(&recents, 7, (uint64_t)NOW + RECENT_US) == 0);
    recent_drop(&recents, 7);
    assert_true(recent_find(&recents, 7, NOW + 1) == 0);
}

static void a_repeat_learns_what_its_first_copy_waits_for(void **state)
{
    (void)state;
    recent_put(&recents, 7, NOW);
    assert_int_equal(recent_join_of(&recents, 7), 0);
    recent_join(&recents, 7, UINT64_MAX);
    assert_int_equal(recent_join_of(&recents, 7), UINT64_MAX);
    assert_int_equal(recent_join_of(&recents, 9), 0);
    assert_int_equal(recent_find(&recents, 7, NOW), NOW);
    recent_put(&recents, 7, NOW + RECENT_US); /* said anew */
    assert_int_equal(recent_join_of(&recents, 7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_repeat_is_known, forget),
        cmocka_unit_test_teardown(what_came_back_was_not_sent, forget),
        cmocka_unit_test_teardown(what_cannot_be_told_apart_is_not_remembered, forget),
        cmocka_unit_test_teardown(the_last_ones_are_remembered, forget),
        cmocka_unit_test_teardown(what_is_dropped_makes_room, forget),
        cmocka_unit_test_teardown(time_passes, forget),
        cmocka_unit_test_teardown(what_came_is_remembered_apart, forget),
        cmocka_unit_test_teardown(a_repeat_learns_what_its_first_copy_waits_for, forget),
    };
    return cmocka_run_group_tests_name("archive/recent", tests, NULL, NULL);
}
