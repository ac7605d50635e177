#include "base/param.h"
#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const modes[] = { "one", "two", NULL };

/* A row of each type with limits, and what it is called. */
static const struct param rows[PARAM_TYPES] = {
    [PARAM_TEXT] = { .name = "string", .max = 5 },
    [PARAM_BOOL] = { .name = "bool" },
    [PARAM_INT] = { .name = "int", .min = -2, .max = 7 },
    [PARAM_BYTES] = { .name = "bytes", .max = 2048 },
    [PARAM_MS] = { .name = "time", .min = 1000, .max = 60000 },
    [PARAM_CHOICE] = { .name = "choice", .choices = modes },
    [PARAM_SECRET] = { .name = "secret", .min = 3, .max = 5 },
    [PARAM_PATH] = { .name = "path", .max = 5 },
    [PARAM_STAMP] = { .name = "timestamp", .max = 5 },
    [PARAM_DOMAIN] = { .name = "domain", .max = 5 },
    [PARAM_HOME_DOMAIN] = { .name = "served-domain", .max = 5 },
    [PARAM_JID] = { .name = "jid", .max = 5 },
    [PARAM_BARE] = { .name = "bare-jid", .max = 5 },
    [PARAM_USER] = { .name = "user", .max = 5 },
    [PARAM_SESSION] = { .name = "session", .max = 5 },
    [PARAM_ROOM] = { .name = "room", .max = 5 },
};

static struct param row_of(enum param_type type)
{
    struct param p = rows[type];
    p.type = type;
    return p;
}

static void each_type_has_its_name(void **state)
{
    (void)state;
    for (int type = 0; type < PARAM_TYPES; type++)
        assert_string_equal(param_type_name((enum param_type)type), rows[type].name);
}

static void each_type_refuses_what_is_out_of_range(void **state)
{
    (void)state;
    for (int type = 0; type < PARAM_TYPES; type++) {
        struct param p = row_of((enum param_type)type);
        struct why why = { "" };
        char range[128], named[64];
        int64_t value;
        assert_int_not_equal(param_check(&p, SLICE("1234567"), &value, &why), OK);
        assert_true(param_range(&p, range, sizeof range) > 0);
        assert_non_null(strstr(why.text, range)); /* a refusal says what is allowed */
        snprintf(named, sizeof named, "%s: found %s", p.name, param_is_text(&p) ? "7 bytes" : "\"");
        assert_memory_equal(why.text, named, strlen(named));
        if (type == PARAM_SECRET)
            assert_null(strstr(why.text, "1234567"));
    }
}

/* A value that is cut says so, or it would be taken for what was given. */
static void a_refusal_shows_that_it_does_not_show_all(void **state)
{
    struct param p = row_of(PARAM_INT);
    struct why why = { "" };
    char digits[80];
    int64_t value;
    (void)state;
    memset(digits, 'a', sizeof digits);
    assert_int_not_equal(param_check(&p, (slice){ digits, 64 }, &value, &why), OK);
    assert_null(strstr(why.text, "…"));
    assert_int_not_equal(param_check(&p, (slice){ digits, 65 }, &value, &why), OK);
    assert_non_null(strstr(why.text, "aaa…\""));
}

static void text_without_a_maximum_is_text(void **state)
{
    struct param p = { .name = "reason" };
    struct why why = { "" };
    char range[32];
    int64_t value;
    (void)state;
    assert_int_equal(param_check(&p, SLICE("any length"), &value, &why), OK);
    assert_int_equal(value, 10);
    assert_int_equal(param_check(&p, SLICE("\xff"), &value, &why), E_SYNTAX);
    assert_int_equal(param_check(&p, SLICE("a\xef\xbf\xbe"), &value, &why), E_SYNTAX);
    assert_int_equal(param_check(&p, SLICE("a\xef\xbf\xbf"), &value, &why), E_SYNTAX);
    assert_int_equal(param_check(&p, SLICE("a\xef\xbf\xbd"), &value, &why), OK);
    param_range(&p, range, sizeof range);
    assert_string_equal(range, "text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_has_its_name),
        cmocka_unit_test(each_type_refuses_what_is_out_of_range),
        cmocka_unit_test(a_refusal_shows_that_it_does_not_show_all),
        cmocka_unit_test(text_without_a_maximum_is_text),
    };
    return cmocka_run_group_tests_name("param", tests, NULL, NULL);
}
