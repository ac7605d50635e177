/* Rows of features that others of this folder read: no two features may have the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ext/ext.h"
#include "ext/pubsub/pubsub.h"
#include "im/feature.h"
#include "im/feature_check.h"
#include "ops/command_form.h"

/* What is wrong with two features that have these rows, beside their reader; NULL: nothing. */
static const char *said(const struct feature *one, const struct feature *two,
                        const struct feature *reader)
{
    static struct why why;
    return features_agree((const struct feature *const[]){ one, two, reader, NULL }, &why)
               ? NULL
               : why.text;
}

static void test_nodes_of_accounts(void **state)
{
    static const struct ps_watch rows[] = { { .node = "urn:x" }, { .node = "urn:y" }, { 0 } };
    static const struct feature one = { .name = "one", .watches = rows };
    static const struct feature two = { .name = "two", .watches = rows + 1 };
    static const struct feature none = { .name = "none" };
    (void)state;
    assert_null(said(&one, &none, &pep_feature));
    assert_string_equal(said(&one, &two, &pep_feature),
                        "features one and two both have the node urn:y of accounts");
}

static void test_commands(void **state)
{
    static const struct command_form rows[] = { { ADMIN_NODE("x") }, { ADMIN_NODE("y") }, { 0 } };
    static const struct feature one = { .name = "one", .command_forms = rows };
    static const struct feature two = { .name = "two", .command_forms = rows + 1 };
    static const struct feature none = { .name = "none" };
    (void)state;
    assert_null(said(&one, &none, &adhoc_feature));
    assert_string_equal(said(&one, &two, &adhoc_feature),
                        "features one and two both have the ad-hoc command " NS_ADMIN "#y");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_of_accounts),
        cmocka_unit_test(test_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
