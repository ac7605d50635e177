#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pages.h"
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

enum { MANY = 1000, THREADS = 4, ROUNDS = 200 };

static bool is_all(const unsigned char *block, unsigned char c)
{
    for (size_t i = 0; i < PAGES_BYTES; i++)
        if (block[i] != c)
            return false;
    return true;
}

static void test_blocks_are_apart(void **state)
{
    static unsigned char *block[MANY];
    (void)state;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++) {
            block[i] = pages_alloc();
            assert_int_equal((uintptr_t)block[i] % 4096, 0);
            assert_true(is_all(block[i], 0));
            memset(block[i], (int)(i % 251) + 1, PAGES_BYTES);
        }
        for (size_t i = 0; i < MANY; i++)
            assert_true(is_all(block[i], (unsigned char)(i % 251 + 1)));
        for (size_t i = 0; i < MANY; i++) /* every third first, so that there are holes */
            if (i % 3 == round)
                pages_free(block[i]);
        for (size_t i = 0; i < MANY; i++)
            if (i % 3 != round)
                pages_free(block[i]);
        assert_true(pages_reserved() <= 1 << 20);
    }
}

/* Memory of one that is freed amid others is no longer there. */
static void test_memory_goes_back(void **state)
{
    unsigned char *block[10], there[PAGES_BYTES / 4096];
    (void)state;
    for (size_t i = 0; i < 10; i++)
        memset(block[i] = pages_alloc(), 1, PAGES_BYTES);
    assert_int_equal(mincore(block[4], PAGES_BYTES, there), 0);
    assert_int_equal(there[0] & there[3] & 1, 1);
    pages_free(block[4]);
    assert_int_equal(mincore(block[4], PAGES_BYTES, there), 0);
    assert_int_equal((there[0] | there[1] | there[2] | there[3]) & 1, 0);
    for (size_t i = 0; i < 10; i++)
        if (i != 4)
            pages_free(block[i]);
}

static void *many(void *arg)
{
    unsigned char *block[50], mark = *(unsigned char *)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < 50; i++)
            memset(block[i] = pages_alloc(), mark, PAGES_BYTES);
        for (size_t i = 0; i < 50; i++) {
            assert_true(is_all(block[i], mark));
            pages_free(block[i]);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t thread[THREADS];
    unsigned char mark[THREADS] = { 1, 2, 3, 4 };
    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, many, &mark[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_true(pages_reserved() <= 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_apart),
        cmocka_unit_test(test_memory_goes_back),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
