#include "base/base64.h"
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* RFC 4648 §10 */
static const struct {
    const char *plain, *coded;
} vectors[] = {
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
};

static void known_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        base64_encode(&b, slice_of(vectors[i].plain));
        assert_true(slice_is(buf_slice(&b), vectors[i].coded));
        buf_clear(&b);
        assert_int_equal(base64_decode(&b, slice_of(vectors[i].coded)), OK);
        assert_true(slice_is(buf_slice(&b), vectors[i].plain));
        buf_fini(&b);
    }
}

static void every_byte_survives(void **state)
{
    (void)state;
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)(i * 7);
    struct buf coded, plain;
    buf_init(&coded, 1000);
    buf_init(&plain, 1000);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        buf_clear(&coded);
        buf_clear(&plain);
        base64_encode(&coded, (slice){ bytes, len });
        assert_int_equal(base64_decode(&plain, buf_slice(&coded)), OK);
        assert_true(slice_eq(buf_slice(&plain), (slice){ bytes, len }));
    }
    buf_fini(&coded);
    buf_fini(&plain);
}

static void malformed_is_refused_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",        "Zg",    "Zg=",      "Zg===", "=",       "====",       "Z===",
        "Zg==Zg==", "Zm9v=", "Zm9v====", "Zm=v",  "Zm9 ",    "Zm9\n",      " Zm9v",
        "Zm9-",     "Zm9_",  "Zh==",     "Zm9=",  "Zm9vZm9", "Z\xc3\xa9g",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        buf_lit(&b, "kept");
        assert_int_equal(base64_decode(&b, slice_of(bad[i])), E_SYNTAX);
        assert_true(slice_is(buf_slice(&b), "kept"));
        buf_fini(&b);
    }
}

static void full_buffer_is_an_error(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 5);
    assert_int_equal(base64_decode(&b, SLICE("Zm9vYmFy")), E_LIMIT);
    assert_int_equal(b.len, 0);
    buf_clear(&b);
    base64_encode(&b, SLICE("foobar"));
    assert_true(b.overflow);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(every_byte_survives),
        cmocka_unit_test(malformed_is_refused_whole),
        cmocka_unit_test(full_buffer_is_an_error),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
