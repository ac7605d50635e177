#include "codec/socks5.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

#define BYTES(text) ((slice){ text, sizeof text - 1 })

static void reads_greetings(void **state)
{
    struct socks5_greeting g;
    (void)state;
    assert_int_equal(socks5_read_greeting(&g, BYTES("\5\2\2\0x")), SOCKS5_READ);
    assert_true(g.no_auth);
    assert_int_equal(g.bytes, 4);
    assert_int_equal(socks5_read_greeting(&g, BYTES("\5\1\2")), SOCKS5_READ);
    assert_false(g.no_auth);
    assert_int_equal(socks5_read_greeting(&g, BYTES("\5\0")), SOCKS5_READ);
    assert_int_equal(socks5_read_greeting(&g, BYTES("\5\2\0")), SOCKS5_MORE);
    assert_int_equal(socks5_read_greeting(&g, BYTES("")), SOCKS5_MORE);
    assert_int_equal(socks5_read_greeting(&g, BYTES("\4")), SOCKS5_BAD);
}

static void reads_requests(void **state)
{
    struct socks5_request q;
    (void)state;
    assert_int_equal(socks5_read_request(&q, BYTES("\5\1\0\3\3abc\1\2rest")), SOCKS5_READ);
    assert_true(slice_is(q.address, "abc"));
    assert_int_equal(q.port, 0x102);
    assert_int_equal(q.bytes, 10);
    assert_int_equal(socks5_read_request(&q, BYTES("\5\3\0\1\1\2\3\4\0\0")), SOCKS5_READ);
    assert_int_equal(q.command, SOCKS5_UDP);
    assert_int_equal(q.address.len, 4);
    assert_int_equal(socks5_read_request(&q, BYTES("\5\1\0\4abcdefghabcdefgh\0\0")), SOCKS5_READ);
    assert_int_equal(socks5_read_request(&q, BYTES("\5\1\0\3\3abc\1")), SOCKS5_MORE);
    assert_int_equal(socks5_read_request(&q, BYTES("\5\1\1")), SOCKS5_BAD);
    assert_int_equal(socks5_read_request(&q, BYTES("\5\1\0\2\0")), SOCKS5_BAD);
}

static void writes_replies(void **state)
{
    char out[SOCKS5_REPLY_MAX];
    (void)state;
    assert_int_equal(socks5_write_reply(out, SOCKS5_NOT_ALLOWED, SLICE("ab"), 258), 9);
    assert_memory_equal(out, "\5\2\0\3\2ab\1\2", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_greetings),
        cmocka_unit_test(reads_requests),
        cmocka_unit_test(writes_replies),
    };
    return cmocka_run_group_tests_name("socks5", tests, NULL, NULL);
}
