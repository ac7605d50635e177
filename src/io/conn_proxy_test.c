#include "io/conn_private.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define LIT(s)    ((slice){ s, sizeof(s) - 1 })

static struct conn_info info;
static size_t taken;

static enum err parse(slice in)
{
    taken = 0;
    return conn_proxy_parse(in, &taken, &info);
}

static int set_up(void **state)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    (void)state;
    conn_info_set(&info, (struct sockaddr *)&sin);
    return 0;
}

static void test_tcp4(void **state)
{
    slice in = LIT(SIGNATURE "\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\1\x30\x39\x14\x66<stream");

    (void)state;
    assert_int_equal(parse(in), OK);
    assert_int_equal(taken, 28);
    assert_string_equal(conn_info_text(&info).text, "10.1.2.3");
    assert_int_equal(ntohs(info.peer.v4.sin_port), 12345);
}

static void test_tcp6_with_extensions(void **state)
{
    slice in = LIT(SIGNATURE "\x21\x21\0\x28"
                             "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09"
                             "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x0a"
                             "\0\x50\0\x51\x04\0\x01\0");

    (void)state;
    assert_int_equal(parse(in), OK);
    assert_int_equal(taken, in.len);
    assert_string_equal(conn_info_text(&info).text, "2001:db8::9");
    assert_int_equal(ntohs(info.peer.v4.sin_port), 80);
}

static void test_local_and_unspecified_keep_the_peer(void **state)
{
    (void)state;
    assert_int_equal(parse(LIT(SIGNATURE "\x20\0\0\0")), OK);
    assert_int_equal(taken, 16);
    assert_int_equal(parse(LIT(SIGNATURE "\x21\0\0\x02xy")), OK);
    assert_int_equal(taken, 18);
    assert_string_equal(conn_info_text(&info).text, "127.0.0.1");
}

static void test_every_prefix_asks_for_more(void **state)
{
    slice in = LIT(SIGNATURE "\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\1\x30\x39\x14\x66");

    (void)state;
    for (size_t len = 0; len < in.len; len++)
        assert_int_equal(parse((slice){ in.ptr, len }), E_AGAIN);
    assert_string_equal(conn_info_text(&info).text, "127.0.0.1");
    assert_int_equal(parse(in), OK);
}

static void test_wrong_headers(void **state)
{
    static const slice wrong[] = {
        { "<?xml", 5 },
        { "\r\n\r\n\1", 5 },
        { SIGNATURE "\x11\x11\0\x0c", 16 }, /* another version */
        { SIGNATURE "\x22\x11\0\x0c", 16 }, /* an unknown command */
        { SIGNATURE "\x21\x12\0\x0c", 16 }, /* UDP */
        { SIGNATURE "\x21\x31\0\xd8", 16 }, /* Unix */
        { SIGNATURE "\x21\x11\0\x0b", 16 }, /* too short for its family */
        { SIGNATURE "\x21\x21\0\x23", 16 },
        { SIGNATURE "\x21\x11\x02\x19", 16 }, /* 537 bytes */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(parse(wrong[i]), E_PROTO);
    assert_int_equal(parse(LIT(SIGNATURE "\x21\x11\x02\x18")), E_AGAIN); /* 536 are allowed */
    assert_string_equal(conn_info_text(&info).text, "127.0.0.1");
}

static void test_text(void **state)
{
    slice in = LIT("PROXY TCP4 10.1.2.3 127.0.0.1 12345 5222\r\n<stream");

    (void)state;
    assert_int_equal(parse(in), OK);
    assert_int_equal(taken, 42);
    assert_string_equal(conn_info_text(&info).text, "10.1.2.3");
    assert_int_equal(ntohs(info.peer.v4.sin_port), 12345);
    for (size_t len = 0; len < 42; len++)
        assert_int_equal(parse((slice){ in.ptr, len }), E_AGAIN);
    assert_int_equal(parse(LIT("PROXY TCP6 2001:db8::9 ::1 80 5222\r\n")), OK);
    assert_string_equal(conn_info_text(&info).text, "2001:db8::9");
    assert_int_equal(parse(LIT("PROXY UNKNOWN\r\n")), OK);
    assert_int_equal(taken, 15);
    assert_int_equal(parse(LIT("PROXY UNKNOWN ffff::1 what ever 1 2 3\r\n")), OK);
    assert_string_equal(conn_info_text(&info).text, "2001:db8::9");
}

static void test_wrong_text(void **state)
{
    static const char *const wrong[] = {
        "PROXX",
        "P\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n",
        "PROXY UNKNOWN "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaa",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (parse((slice){ wrong[i], strlen(wrong[i]) }) != E_PROTO)
            fail_msg("%s was taken", wrong[i]);
    assert_string_equal(conn_info_text(&info).text, "127.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_tcp4, set_up),
        cmocka_unit_test_setup(test_tcp6_with_extensions, set_up),
        cmocka_unit_test_setup(test_local_and_unspecified_keep_the_peer, set_up),
        cmocka_unit_test_setup(test_every_prefix_asks_for_more, set_up),
        cmocka_unit_test_setup(test_wrong_headers, set_up),
        cmocka_unit_test_setup(test_text, set_up),
        cmocka_unit_test_setup(test_wrong_text, set_up),
    };
    return cmocka_run_group_tests_name("io/conn_proxy", tests, NULL, NULL);
}
