#include "base/host_port.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the three above */

static void forms_are_read(void **state)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } right[] = { { "relay.test", "relay.test", 25 },
                  { "relay.test:587", "relay.test", 587 },
                  { "relay.test.:1", "relay.test.", 1 },
                  { "h", "h", 25 },
                  { "4me.test", "4me.test", 25 },
                  { "a_b-c.test:65535", "a_b-c.test", 65535 },
                  { "192.0.2.1", "192.0.2.1", 25 },
                  { "192.0.2.1:25", "192.0.2.1", 25 },
                  { "[::1]", "::1", 25 },
                  { "[2001:db8::1]:587", "2001:db8::1", 587 } };
    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        slice host;
        uint16_t port = 25;
        if (!host_port_read(slice_of(right[i].text), &host, &port))
            fail_msg("%s", right[i].text);
        assert_true(slice_is(host, right[i].host));
        assert_int_equal(port, right[i].port);
    }
}

static void other_forms_are_refused(void **state)
{
    static const char *const wrong[] = {
        "",       " ",         "h:",        "h:x",         "h:0",        "h:05",     "h:65536",
        "h:-1",   "h:+1",      "h: 1",      "h:1 ",        ":1",         "[::1",     "::1]",
        "[::1]x", "[::1]:",    "[::1]:0",   "[::1]:05",    "::1",        "::1:5269", "[h]:1",
        "[]:1",   "[1.2.3.4]", "h h",       ".h",          "h..a",       "h..",      ".",
        "-h",     "a.-h",      "h/x",       "u@h",         "256.0.0.1",  "1.2.3:5",  "192.0.2.1.",
        "12",     "1.2.3.4:",  "1.2.3.4:0", "[fe80::1%1]", "1.2.3.4:5:6"
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        slice host;
        uint16_t port = 25;
        if (host_port_read(slice_of(wrong[i]), &host, &port))
            fail_msg("%s", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_read),
        cmocka_unit_test(other_forms_are_refused),
    };
    return cmocka_run_group_tests_name("host_port", tests, NULL, NULL);
}
