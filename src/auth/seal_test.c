#include "auth/seal.h"
#include "base/arena.h"
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const unsigned char one[SEAL_KEY_BYTES] = { 1 }, two[SEAL_KEY_BYTES] = { 2 };
static struct arena *arena;

static int begin(void **state)
{
    (void)state;
    arena = arena_create(0);
    seal_use(one);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static void test_round(void **state)
{
    (void)state;
    static char large[SEAL_PLAIN_MAX];
    memset(large, 'x', sizeof large);
    const slice plains[] = { SLICE(""), SLICE("a secret"), { large, sizeof large } };
    for (size_t i = 0; i < 3; i++) {
        slice plain, sealed = seal(plains[i], SLICE("row 1"), arena);
        assert_true(unseal(&plain, sealed, SLICE("row 1"), arena));
        assert_true(slice_eq(plain, plains[i]));
        assert_true(slice_eq(sealed, seal(plains[i], SLICE("row 1"), arena)));
        assert_false(slice_eq(sealed, seal(plains[i], SLICE("row 2"), arena)));
        assert_null(memmem(sealed.ptr, sealed.len, "secret", 6));
    }
}

static void test_refused(void **state)
{
    (void)state;
    slice plain, sealed = seal(SLICE("a secret"), SLICE("row 1"), arena);
    assert_false(unseal(&plain, sealed, SLICE("row 2"), arena)); /* moved */
    assert_null(plain.ptr);
    assert_false(unseal(&plain, SLICE("a secret"), SLICE("row 1"), arena)); /* not sealed */
    assert_false(unseal(&plain, SLICE("sealed:"), SLICE("row 1"), arena));
    assert_false(unseal(&plain, SLICE("sealed:AAAA"), SLICE("row 1"), arena));
    assert_false(unseal(&plain, SLICE("sealed:*"), SLICE("row 1"), arena));
    assert_false(unseal(&plain, (slice){ 0 }, SLICE("row 1"), arena));
    for (size_t i = 0; i + 2 < sealed.len; i++) { /* any change; the last digit has unused bits */
        char *bad = arena_alloc(arena, 1, sealed.len);
        memcpy(bad, sealed.ptr, sealed.len);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_false(unseal(&plain, (slice){ bad, sealed.len }, SLICE("row 1"), arena));
        assert_false(unseal(&plain, (slice){ sealed.ptr, i }, SLICE("row 1"), arena));
    }
    seal_use(two);
    assert_false(unseal(&plain, sealed, SLICE("row 1"), arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round, begin, end),
        cmocka_unit_test_setup_teardown(test_refused, begin, end),
    };
    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
