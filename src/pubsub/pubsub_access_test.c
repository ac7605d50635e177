#include "pubsub/pubsub_access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct ps_config config(enum ps_access_model access)
{
    struct ps_config c;
    ps_config_default(&c, PS_PEP);
    c.access = (uint8_t)access;
    return c;
}

/* Access models × who somebody is: may read. '1' yes, '0' no (XEP-0060 §4.5). */
static void test_reading(void **state)
{
    static const struct {
        struct ps_actor who;
        const char *may; /* open, presence, roster, authorize, whitelist */
    } rows[] = {
        { { .affiliation = PS_NONE }, "10000" },
        { { .presence = true }, "11000" },
        { { .in_group = true }, "10100" },
        { { .state = PS_SUBSCRIBED }, "10010" },
        { { .state = PS_PENDING }, "10000" },
        { { .affiliation = PS_OWNER }, "11111" },
        { { .affiliation = PS_PUBLISHER }, "11111" },
        { { .affiliation = PS_MEMBER }, "11111" },
        { { .affiliation = PS_PUBLISH_ONLY, .presence = true }, "00000" },
        { { .affiliation = PS_OUTCAST, .presence = true, .state = PS_SUBSCRIBED }, "00000" },
        { { .may_configure = true }, "11111" },
        { { .affiliation = PS_OUTCAST, .may_configure = true }, "11111" },
    };
    (void)state;
    for (unsigned r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (unsigned m = PS_OPEN; m <= PS_WHITELIST; m++) {
            struct ps_config c = config((enum ps_access_model)m);
            bool may = ps_may_read(&c, &rows[r].who).error == SE_NONE;
            if (may != (rows[r].may[m] == '1'))
                fail_msg("row %u, model %s: %d", r, ps_access_name((enum ps_access_model)m), may);
        }
    }
}

static void assert_error(struct ps_error e, enum stanza_error error, const char *condition)
{
    assert_int_equal(e.error, error);
    if (condition == NULL)
        assert_null(e.condition);
    else
        assert_string_equal(e.condition, condition);
}

/* §6.5.9 and §6.1.3 */
static void test_reasons(void **state)
{
    struct ps_actor nobody = { 0 }, outcast = { .affiliation = PS_OUTCAST };
    struct ps_config c = config(PS_PRESENCE);
    (void)state;
    assert_error(ps_may_read(&c, &nobody), SE_NOT_AUTHORIZED, "presence-subscription-required");
    assert_error(ps_may_read(&c, &outcast), SE_FORBIDDEN, NULL);
    c = config(PS_ROSTER);
    assert_error(ps_may_subscribe(&c, &nobody), SE_NOT_AUTHORIZED, "not-in-roster-group");
    c = config(PS_WHITELIST);
    assert_error(ps_may_subscribe(&c, &nobody), SE_NOT_ALLOWED, "closed-node");
    c = config(PS_AUTHORIZE);
    assert_error(ps_may_read(&c, &nobody), SE_NOT_AUTHORIZED, "not-subscribed");
    assert_error(ps_may_subscribe(&c, &nobody), SE_NONE, NULL);
    c.subscribe = false;
    assert_error(ps_may_subscribe(&c, &nobody), SE_FEATURE_NOT_IMPLEMENTED, "unsupported");
    assert_error(ps_may_subscribe(&c, &outcast), SE_FORBIDDEN, NULL);
}

static void test_publishing(void **state)
{
    static const struct {
        struct ps_actor who;
        const char *may; /* publishers, subscribers, open */
    } rows[] = {
        { { .affiliation = PS_NONE }, "001" },
        { { .state = PS_SUBSCRIBED }, "011" },
        { { .state = PS_PENDING }, "001" },
        { { .affiliation = PS_MEMBER }, "001" },
        { { .affiliation = PS_OWNER }, "111" },
        { { .affiliation = PS_PUBLISHER }, "111" },
        { { .affiliation = PS_PUBLISH_ONLY }, "111" },
        { { .affiliation = PS_OUTCAST, .state = PS_SUBSCRIBED }, "000" },
        { { .may_configure = true }, "111" },
    };
    struct ps_config c = config(PS_OPEN);
    (void)state;
    for (unsigned r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (unsigned m = PS_PUBLISHERS; m <= PS_ANYBODY; m++) {
            c.publish = (uint8_t)m;
            assert_int_equal(ps_may_publish(&c, &rows[r].who).error == SE_NONE,
                             rows[r].may[m] == '1');
        }
    }
}

static void test_removing_and_owning(void **state)
{
    struct ps_config c = config(PS_OPEN);
    struct ps_actor owner = { .affiliation = PS_OWNER },
                    publisher = { .affiliation = PS_PUBLISHER };
    struct ps_actor nobody = { 0 }, self = { .may_configure = true };
    (void)state;
    assert_int_equal(ps_may_retract(&c, &owner, false).error, SE_NONE);
    assert_int_equal(ps_may_retract(&c, &publisher, true).error, SE_NONE);
    assert_int_equal(ps_may_retract(&c, &publisher, false).error, SE_FORBIDDEN);
    assert_int_equal(ps_may_retract(&c, &nobody, true).error, SE_FORBIDDEN);
    assert_int_equal(ps_may_own(&owner).error, SE_NONE);
    assert_int_equal(ps_may_own(&self).error, SE_NONE);
    assert_int_equal(ps_may_own(&publisher).error, SE_FORBIDDEN);
}

static void test_names(void **state)
{
    enum ps_affiliation a;
    enum ps_state s;
    (void)state;
    for (unsigned i = 0; i < PS_AFFILIATIONS; i++) {
        assert_true(ps_affiliation_find(slice_of(ps_affiliation_name((enum ps_affiliation)i)), &a));
        assert_int_equal(a, i);
    }
    for (unsigned i = 0; i < PS_STATES; i++) {
        assert_true(ps_state_find(slice_of(ps_state_name((enum ps_state)i)), &s));
        assert_int_equal(s, i == PS_OFFERED ? PS_PENDING : i); /* one word for both */
    }
    assert_false(ps_affiliation_find(SLICE("king"), &a));
    assert_false(ps_state_find(SLICE(""), &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),    cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_publishing), cmocka_unit_test(test_removing_and_owning),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
