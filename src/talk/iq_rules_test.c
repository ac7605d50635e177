#include "talk/iq_rules.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/feature.h"

static void nothing(struct iq *iq) { (void)iq; }

#define SAME "urn:x"
static const struct iq_rule gets[] = { { TYPE_GET, SAME, "query", IQ_TO_SELF, nothing },
                                       { TYPE_GET, SAME, "other", IQ_TO_SERVER, nothing },
                                       { 0 } };
static const struct iq_rule sets[] = { { TYPE_SET, SAME, "query", IQ_TO_SELF, nothing },
                                       { TYPE_GET, SAME, "query", IQ_TO_SERVER | IQ_TO_ACCOUNT,
                                         nothing },
                                       { TYPE_GET, SAME ":longer", "query", IQ_TO_SELF, nothing },
                                       { 0 } };
static const struct feature one = { .name = "one", .iq = gets };
static const struct feature two = { .name = "two", .iq = sets };
static const struct feature without = { .name = "without" };

static const struct iq_rule *find(enum stanza_type type, const char *ns, const char *name,
                                  enum iq_target target)
{
    return iq_rules_find(type, slice_of(ns), slice_of(name), target);
}

static void test_found(void **state)
{
    (void)state;
    features_set((const struct feature *const[]){ &one, &without, &two, NULL });
    assert_ptr_equal(find(TYPE_GET, SAME, "query", IQ_TO_SELF), &gets[0]);
    assert_ptr_equal(find(TYPE_GET, SAME, "other", IQ_TO_SERVER), &gets[1]);
    assert_ptr_equal(find(TYPE_SET, SAME, "query", IQ_TO_SELF), &sets[0]);
    assert_ptr_equal(find(TYPE_GET, SAME, "query", IQ_TO_SERVER), &sets[1]);
    assert_ptr_equal(find(TYPE_GET, SAME, "query", IQ_TO_ACCOUNT), &sets[1]);
    assert_ptr_equal(find(TYPE_GET, SAME ":longer", "query", IQ_TO_SELF), &sets[2]);
}

static void test_not_found(void **state)
{
    (void)state;
    features_set((const struct feature *const[]){ &one, &two, NULL });
    assert_null(find(TYPE_GET, SAME, "query", IQ_TO_ROOM));
    assert_null(find(TYPE_SET, SAME, "other", IQ_TO_SERVER));
    assert_null(find(TYPE_GET, SAME, "quer", IQ_TO_SELF));
    assert_null(find(TYPE_GET, SAME ":l", "query", IQ_TO_SELF));
    assert_null(find(TYPE_GET, "", "", IQ_TO_SELF));
    features_set((const struct feature *const[]){ NULL });
    assert_null(find(TYPE_GET, SAME, "query", IQ_TO_SELF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
