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

static struct metric stanzas = { .name = "muster_c_stanzas",
                                 .kind = METRIC_COUNTER,
                                 .label = "direction",
                                 .values = (const char *const[]){ "in", "out", NULL } };
static struct metric times = { .name = "muster_d_us",
                               .kind = METRIC_HISTOGRAM,
                               .label = "kind",
                               .values = (const char *const[]){ "read", "write", NULL },
                               .buckets = (const int64_t[]){ 10, 100, 1000, 0 } };
static struct metric after = { .name = "muster_e_after", .kind = METRIC_COUNTER };
static struct metric unregistered_times = { .name = "muster_f_us",
                                            .kind = METRIC_HISTOGRAM,
                                            .buckets = (const int64_t[]){ 10, 0 } };

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
    assert_ptr_equal(requests.next, &stanzas);
    assert_int_not_equal(streams.id, requests.id);
}

static void an_unregistered_row_counts_nowhere(void **state)
{
    (void)state;
    int64_t before = metric_read(&requests) + metric_read(&streams);
    metric_add(&unregistered, 3);
    metric_observe(&unregistered_times, 0, 3);
    assert_int_equal(metric_read(&unregistered_times), 0);
    assert_int_equal(metric_read(&unregistered), 0);
    assert_int_equal(metric_read(&requests) + metric_read(&streams), before);
}

static void each_value_of_a_label_counts_apart(void **state)
{
    (void)state;
    metric_add_to(&stanzas, 1, 5);
    metric_add_to(&stanzas, 0, 2);
    metric_add_to(&stanzas, 1, 1);
    assert_int_equal(metric_values(&stanzas), 2);
    assert_int_equal(metric_read_cell(&stanzas, 0, 0), 2);
    assert_int_equal(metric_read_cell(&stanzas, 1, 0), 6);
    assert_int_equal(metric_read(&stanzas), 8);
    assert_int_equal(metric_values(&streams), 1);
}

/* The end of a bucket belongs to it; what is above all has one, too. No cell is a neighbour's. */
static void a_histogram_counts_by_buckets(void **state)
{
    static const int64_t said[] = { 0, 10, 11, 100, 101, 1000, 1001, 5000000000 };
    static const int64_t counts[] = { 2, 2, 2, 2, 5000002223 };
    (void)state;
    int64_t beside = metric_read(&stanzas) + metric_read(&after);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        metric_observe(&times, 1, said[i]);
    metric_observe(&times, 0, 7);
    assert_int_equal(metric_buckets(&times), 3);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++)
        assert_int_equal(metric_read_cell(&times, 1, i), counts[i]);
    assert_int_equal(metric_read_cell(&times, 0, 0), 1);
    assert_int_equal(metric_read_cell(&times, 0, 4), 7);
    assert_int_equal(metric_read(&times), 9);
    assert_int_equal(metric_read(&stanzas) + metric_read(&after), beside);
}

int main(void)
{
    metric_register(&requests);
    metric_register(&streams);
    metric_register(&stanzas);
    metric_register(&times);
    metric_register(&after);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_are_summed_also_after_their_end),
        cmocka_unit_test(ended_threads_leave_their_shard_to_new_ones),
        cmocka_unit_test(rows_are_listed_by_name),
        cmocka_unit_test(an_unregistered_row_counts_nowhere),
        cmocka_unit_test(each_value_of_a_label_counts_apart),
        cmocka_unit_test(a_histogram_counts_by_buckets),
    };
    return cmocka_run_group_tests_name("metric", tests, NULL, NULL);
}
