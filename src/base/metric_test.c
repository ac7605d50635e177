#include "base/metric.h"
#include <pthread.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct metric requests = { .name = "muster_b_requests", .kind = METRIC_COUNTER };
static struct metric streams = { .name = "muster_a_streams", .kind = METRIC_GAUGE };
static struct metric unregistered = { .name = "muster_unregistered", .kind = METRIC_COUNTER };

enum { THREADS = 4, ADDS = 10000 };

static void *count(void *arg)
{
    struct metric_shard **shard = arg;
    for (int i = 0; i < ADDS; i++) {
        metric_add(&requests, 2);
        metric_add(&streams, i % 2 == 0 ? 1 : -1);
    }
    *shard = metric_mine;
    return NULL;
}

static void threads_are_summed_also_after_their_end(void **state)
{
    (void)state;
    struct metric_shard *shards[THREADS];
    pthread_t threads[THREADS];
    int64_t before = metric_read(&requests);
    metric_add(&streams, 5);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, &shards[i]), 0);
    for (int i = 0; i < 1000; i++)
        assert_true(metric_read(&requests) >= before);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_read(&requests) - before, 2 * THREADS * ADDS);
    assert_int_equal(metric_read(&streams), 5);
}

static void ended_threads_leave_their_shard_to_new_ones(void **state)
{
    (void)state;
    struct metric_shard *first = NULL, *shard = NULL;
    pthread_t thread;
    int64_t before = metric_read(&requests);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(pthread_create(&thread, NULL, count, &shard), 0);
        pthread_join(thread, NULL);
        first = first != NULL ? first : shard;
        assert_ptr_equal(shard, first);
    }
    assert_ptr_not_equal(first, metric_mine);
    assert_int_equal(metric_read(&requests) - before, 50 * 2 * ADDS);
}

static void rows_are_listed_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(metric_first(), &streams);
    assert_ptr_equal(streams.next, &requests);
    assert_null(requests.next);
    assert_int_not_equal(streams.id, requests.id);
}

static void an_unregistered_row_counts_nowhere(void **state)
{
    (void)state;
    int64_t before = metric_read(&requests) + metric_read(&streams);
    metric_add(&unregistered, 3);
    assert_int_equal(metric_read(&unregistered), 0);
    assert_int_equal(metric_read(&requests) + metric_read(&streams), before);
}

int main(void)
{
    metric_register(&requests);
    metric_register(&streams);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_are_summed_also_after_their_end),
        cmocka_unit_test(ended_threads_leave_their_shard_to_new_ones),
        cmocka_unit_test(rows_are_listed_by_name),
        cmocka_unit_test(an_unregistered_row_counts_nowhere),
    };
    return cmocka_run_group_tests_name("metric", tests, NULL, NULL);
}
