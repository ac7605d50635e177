#include "codec/ws_frame.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BYTES(lit) ((slice){ lit, sizeof(lit) - 1 })

static void reads(void **state)
{
    /* RFC 6455 §5.7: a masked "Hello" */
    slice hello = BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    struct ws_frame f;
    char out[5];
    (void)state;
    for (size_t n = 0; n < hello.len; n++)
        assert_int_equal(ws_frame_read(&f, (slice){ hello.ptr, n }, 5), WS_MORE);
    assert_int_equal(ws_frame_read(&f, hello, 5), WS_READ);
    assert_true(f.fin && f.opcode == WS_TEXT && f.bytes == hello.len);
    ws_unmask(out, &f);
    assert_memory_equal(out, "Hello", 5);
    assert_int_equal(ws_frame_read(&f, hello, 4), WS_LONG);
    assert_int_equal(ws_frame_read(&f, BYTES("\x01\x80\1\2\3\4"), 5), WS_READ);
    assert_true(!f.fin && f.masked.len == 0);
}

static void refuses(void **state)
{
    static const slice table[] = {
        SLICE_INIT("\x81\x05Hello"),                        /* not masked */
        SLICE_INIT("\xc1\x80"),                             /* a reserved bit */
        SLICE_INIT("\x83\x80"),                             /* a reserved opcode */
        SLICE_INIT("\x8b\x80"),                             /* the same for control frames */
        SLICE_INIT("\x09\x80"),                             /* a ping in fragments */
        SLICE_INIT("\x89\xfe"),                             /* a long ping */
        SLICE_INIT("\x81\xfe\x00\x7d\1\2\3\4"),             /* 125 in two bytes */
        SLICE_INIT("\x81\xff\0\0\0\0\0\0\xff\xff\1\2\3\4"), /* 65535 in eight */
        SLICE_INIT("\x81\xff\x80\0\0\0\0\0\0\1\1\2\3\4"),   /* above 2^63 */
    };
    struct ws_frame f;
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_int_equal(ws_frame_read(&f, table[i], 1 << 20), WS_WRONG);
    assert_int_equal(ws_frame_read(&f, BYTES("\x81\xff\0\0\0\1\0\0\0\0\1\2\3\4"), 1 << 20),
                     WS_LONG);
}

static void writes(void **state)
{
    char head[WS_HEAD_MAX];
    (void)state;
    assert_int_equal(ws_head_write(head, WS_TEXT, 125), 2);
    assert_memory_equal(head, "\x81\x7d", 2);
    assert_int_equal(ws_head_write(head, WS_TEXT, 126), 4);
    assert_memory_equal(head, "\x81\x7e\x00\x7e", 4);
    assert_int_equal(ws_head_write(head, WS_CLOSE, 65535), 4);
    assert_memory_equal(head, "\x88\x7e\xff\xff", 4);
    assert_int_equal(ws_head_write(head, WS_TEXT, 65536), 10);
    assert_memory_equal(head, "\x81\x7f\0\0\0\0\0\1\0\0", 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses),
        cmocka_unit_test(writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
