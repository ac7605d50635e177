/* Rows of features that others of this folder read: no two features may have the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/feature.h"
#include "core/feature_check.h"
#include "ext/ext.h"
#include "pubsub/pubsub.h"

/* Two features with these rows, and the one that reads them: the reason why they are refused, or
 * NULL. */
static const char *said(const struct feature *one, const struct feature *two,
                        const struct feature *reader)
{
    static struct why why;
    return features_agree((const struct feature *const[]){ one, two, reader, NULL }, &why)
               ? NULL
               : why.text;
}

/* All are told of a change, and an item must pass the rules of all. */
static void test_nodes_of_accounts_may_have_several_followers(void **state)
{
    static const struct ps_watch rows[] = { { .node = "urn:x" }, { 0 } };
    static const struct feature one = { .name = "one", .watches = rows };
    static const struct feature two = { .name = "two", .watches = rows };
    (void)state;
    assert_null(said(&one, &two, &pep_feature));
}

static void test_identities_of_the_server_and_of_accounts(void **state)
{
    static const struct feature none = { .name = "none" };
    static const char *const of_server[] = { "server im Ours", NULL };
    static const char *const of_account[] = { "account registered", NULL };
    static const struct feature server = { .name = "one", .identities = of_server };
    static const struct feature account = { .name = "two", .identities_account = of_account };
    (void)state;
    assert_string_equal(said(&none, &server, &disco_feature),
                        "features one and disco both have the identity server/im of the server");
    assert_string_equal(said(&none, &account, &disco_feature),
                        "features two and disco both have the identity account/registered of "
                        "accounts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_of_accounts_may_have_several_followers),
        cmocka_unit_test(test_identities_of_the_server_and_of_accounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
