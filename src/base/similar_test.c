#include "base/similar.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const names[] = {
    "user add",          "user del",     "status",     "upload.quota-bytes", "upload.file-bytes",
    "sm.hibernate-time", "muc.new-name", "listen.c2s", "listen.c2s_tls",     NULL
};

static void expect(const char *wanted, const char *text)
{
    struct similar s;
    similar_init(&s, slice_of(wanted));
    for (const char *const *n = names; *n != NULL; n++)
        similar_try(&s, slice_of(*n));
    assert_string_equal(similar_text(&s).text, text);
}

static void what_was_meant(void **state)
{
    (void)state;
    expect("usr add", "; did you mean user add?");
    expect("user dle", "; did you mean user del?");
    expect("user delete", "; did you mean user del?");
    expect("stauts", "; did you mean status?");
    expect("upload.quota", "; did you mean upload.quota-bytes?");
    expect("hibernate-time", "; did you mean sm.hibernate-time?");
    expect("sm.hibernat-tyme", "; did you mean sm.hibernate-time?");
    expect("listen.c2stls", "; did you mean listen.c2s_tls?"); /* and not listen.c2s */
    expect("listen.c2", "; did you mean listen.c2s?");
}

static void nothing_is_near(void **state)
{
    (void)state;
    char longest[200];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    expect("", "");
    expect("x", "");
    expect("colour", "");
    expect(longest, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_meant),
        cmocka_unit_test(nothing_is_near),
    };
    return cmocka_run_group_tests_name("similar", tests, NULL, NULL);
}
