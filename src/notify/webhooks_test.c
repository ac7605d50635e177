#include "codec/http_reply.h"
#include "notify/webhook_queue.h"
#include "ops/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* printf '1795191233.{"id":"x"}' | openssl dgst -sha256 -hmac 'a secret of sixteen' */
static void the_signature_is_that_of_other_programs(void **state)
{
    (void)state;
    char made[65];
    webhook_sign(made, SLICE("a secret of sixteen"), 1795191233, SLICE("{\"id\":\"x\"}"));
    assert_string_equal(made, "0075f5335db4dddccb87c57afff1e0a22af3f75294045702c95df7c270cc8842");
}

static uint32_t bit(enum event_kind kind) { return UINT32_C(1) << kind; }

static void lists_of_events_are_read(void **state)
{
    (void)state;
    assert_int_equal(webhook_kinds(SLICE("*")), (UINT32_C(1) << EVENT_KINDS) - 1);
    assert_int_equal(webhook_kinds(SLICE("user.created")), bit(EVENT_USER_CREATED));
    assert_int_equal(webhook_kinds(SLICE(" alarm.raised  user.*")),
                     bit(EVENT_ALARM_RAISED) | bit(EVENT_USER_CREATED) | bit(EVENT_USER_CHANGED) |
                         bit(EVENT_USER_DELETED) | bit(EVENT_USER_DISABLED) |
                         bit(EVENT_USER_ENABLED));
    static const char *const bad[] = { "",
                                       " ",
                                       "user",
                                       "user.",
                                       ".*",
                                       "use.*",
                                       "user.**",
                                       "user.c*",
                                       "nobody.*",
                                       "*.created",
                                       "**",
                                       "USER.*",
                                       "user.* born",
                                       "user.created,user.deleted" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (webhook_kinds(slice_of(bad[i])) != 0)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void addresses_are_of_http(void **state)
{
    (void)state;
    struct http_uri uri;
    bool secure;
    assert_true(webhook_uri(&uri, SLICE("https://a.test/b?c"), &secure) && secure);
    assert_int_equal(uri.port, 443);
    assert_true(webhook_uri(&uri, SLICE("http://a.test:81"), &secure) && !secure);
    assert_int_equal(uri.port, 81);
    assert_false(webhook_url_ok(SLICE("ftp://a.test/")));
    assert_false(webhook_url_ok(SLICE("https://u:p@a.test/")));
    assert_false(webhook_url_ok(SLICE("http://a.test/\r\nX: y")));
    static char text[WEBHOOK_URL_MAX + 2] = "http://a.test/";
    memset(text + 14, 'x', sizeof text - 15);
    assert_false(webhook_url_ok(slice_of(text)));
    text[WEBHOOK_URL_MAX] = '\0';
    assert_true(webhook_url_ok(slice_of(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_signature_is_that_of_other_programs),
        cmocka_unit_test(lists_of_events_are_read),
        cmocka_unit_test(addresses_are_of_http),
    };
    return cmocka_run_group_tests_name("webhooks", tests, NULL, NULL);
}
