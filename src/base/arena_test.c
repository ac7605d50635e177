#include "base/arena.h"
#include <stdbool.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool is_zero(const unsigned char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] != 0)
            return false;
    }
    return true;
}

static void blocks_are_aligned_zeroed_and_apart(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct arena *arena = arena_create(1024);
    unsigned char *blocks[COUNT];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = arena_alloc(arena, 1, i); /* 0 to 299 bytes: many chunks */
            assert_int_equal((uintptr_t)blocks[i] % 16, 0);
            assert_true(is_zero(blocks[i], i));
            memset(blocks[i], (int)(i & 0xff), i);
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t at = 0; at < i; at++)
                assert_int_equal(blocks[i][at], i & 0xff);
        }
        arena_reset(arena);
    }
    arena_destroy(&arena);
    assert_null(arena);
}

static void large_requests_do_not_waste_the_chunk(void **state)
{
    (void)state;
    struct arena *arena = arena_create(0);
    char *before = arena_alloc(arena, 1, 16);
    char *large = arena_alloc(arena, 1, 100000);
    char *after = arena_alloc(arena, 1, 16);
    assert_ptr_equal(after, before + 16);
    memset(large, 'x', 100000);
    arena_destroy(&arena);
}

static void reset_gives_the_first_chunk_again(void **state)
{
    (void)state;
    struct arena *arena = arena_create(256);
    char *first = arena_alloc(arena, 1, 8);
    for (int i = 0; i < 100; i++)
        (void)arena_alloc(arena, 1, 64);
    arena_reset(arena);
    assert_ptr_equal(arena_alloc(arena, 1, 8), first);
    arena_destroy(&arena);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#include <sanitizer/asan_interface.h>
#endif
#endif

static void memory_of_a_reset_is_poisoned(void **state)
{
    (void)state;
#ifdef SANITIZED
    struct arena *arena = arena_create(256);
    char *text = arena_alloc(arena, 1, 13);
    assert_false(__asan_address_is_poisoned(text + 12));
    assert_true(__asan_address_is_poisoned(text + 13)); /* the padding too */
    arena_reset(arena);
    assert_true(__asan_address_is_poisoned(text));
    arena_destroy(&arena);
#else
    skip();
#endif
}

static void tiny_chunk_sizes_are_raised(void **state)
{
    (void)state;
    struct arena *arena = arena_create(1);
    for (size_t i = 0; i < 64; i++)
        memset(arena_alloc(arena, 3, i), 1, 3 * i);
    arena_destroy(&arena);
}

static void printf_takes_any_length(void **state)
{
    (void)state;
    struct arena *arena = arena_create(128);
    assert_string_equal(arena_printf(arena, "%s-%d", "a", 7), "a-7");
    assert_int_equal(strlen(arena_printf(arena, "%5000d", 1)), 5000);
    arena_destroy(&arena);
}

static void destroying_nothing_is_fine(void **state)
{
    (void)state;
    struct arena *arena = NULL;
    arena_destroy(&arena);
}

static void the_pointer_may_be_in_the_arena(void **state)
{
    (void)state;
    struct owner {
        struct arena *arena;
    };
    for (size_t count = 1; count <= 4096; count *= 4096) { /* in the first chunk, and in another */
        struct arena *arena = arena_create(0);
        struct owner *o = arena_new(arena, struct owner, count);
        o->arena = arena;
        arena_destroy(&o->arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pointer_may_be_in_the_arena),
        cmocka_unit_test(blocks_are_aligned_zeroed_and_apart),
        cmocka_unit_test(large_requests_do_not_waste_the_chunk),
        cmocka_unit_test(reset_gives_the_first_chunk_again),
        cmocka_unit_test(memory_of_a_reset_is_poisoned),
        cmocka_unit_test(tiny_chunk_sizes_are_raised),
        cmocka_unit_test(printf_takes_any_length),
        cmocka_unit_test(destroying_nothing_is_fine),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
