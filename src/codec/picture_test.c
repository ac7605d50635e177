#include "codec/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PNG(size)  "\x89PNG\r\n\x1a\n\0\0\0\rIHDR" size
#define JPEG(rest) "\xff\xd8\xff\xe0\0\4ab" rest

static void is(slice bytes, const char *type, uint32_t width, uint32_t height)
{
    struct picture p = { 0 };
    assert_true(picture_read(&p, bytes));
    assert_string_equal(p.type, type);
    assert_int_equal(p.width, width);
    assert_int_equal(p.height, height);
    /* Cut anywhere before the end, it does not say how large it is. */
    for (size_t len = 0; len < bytes.len; len++)
        assert_false(picture_read(&p, (slice){ bytes.ptr, len }));
}

static void is_none(slice bytes)
{
    struct picture p;
    assert_false(picture_read(&p, bytes));
}

static void test_types(void **state)
{
    (void)state;
    is(SLICE(PNG("\0\0\1\0\0\0\0\x20")), "image/png", 256, 32);
    is(SLICE(PNG("\x7f\xff\xff\xff\0\1\0\0")), "image/png", 0x7fffffff, 0x10000);
    is(SLICE("GIF89a\x40\1\x10\0"), "image/gif", 320, 16);
    is(SLICE("GIF87a\1\0\2\0"), "image/gif", 1, 2);
    is(SLICE(JPEG("\xff\xc0\0\x11\x08\1\0\2\0")), "image/jpeg", 512, 256);
    is(SLICE(JPEG("\xff\xff\xff\xc2\0\x11\x08\0\7\0\x09")), "image/jpeg", 9, 7); /* filled */
}

static void test_none(void **state)
{
    (void)state;
    is_none(SLICE(""));
    is_none(SLICE("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"));
    is_none(SLICE("RIFF\x1a\0\0\0WEBPVP8 "));
    is_none(SLICE(JPEG("no marker here")));
    is_none(SLICE("\xff\xd8\xff\xc4\0\x11\x08\1\0\2\0"));             /* tables; no frame follows */
    is_none(SLICE("\xff\xd8\xff\xe0\xff\xff\x08\1\0\2\0"));           /* longer than all of it */
    is_none(SLICE("\xff\xd8\xff\xe0\0\0\xff\xe0\0\0\xff\xe0\0\0\0")); /* lengths below 2 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
