#include "io/test_bed.h"
#include "io/work.h"
#include <pthread.h>
#include <semaphore.h>

enum { JOBS = 500, QUEUE_MAX = 600 };

struct job {
    struct work work;
    pthread_t ran_on;
    unsigned ran, done;
    sem_t *gate, *begun;
};

static struct loop *loop;
static unsigned done_count;

static void job_run(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    if (j->begun != NULL)
        sem_post(j->begun);
    if (j->gate != NULL)
        sem_wait(j->gate);
    j->ran_on = pthread_self();
    j->ran++;
}

static void job_done(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    assert_ptr_equal(loop_here(), loop);
    assert_int_equal(j->ran, 1);
    j->done++;
    done_count++;
}

static bool all_done(void *arg) { return done_count == *(unsigned *)arg; }

static int set_up(void **state)
{
    (void)state;
    loop = loop_create(0);
    done_count = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return 0;
}

static void test_runs_elsewhere_and_ends_here(void **state)
{
    struct work_pool *pool = work_pool_create(3, QUEUE_MAX);
    static struct job jobs[JOBS];
    unsigned count = JOBS;
    (void)state;
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i].work = (struct work){ .run = job_run, .done = job_done };
        assert_int_equal(work_submit(pool, loop, &jobs[i].work), OK);
    }
    bed_run(loop, all_done, &count);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].done, 1);
        assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
    }
    work_pool_destroy(&pool);
    assert_null(pool);
}

static void test_full_queue_refuses(void **state)
{
    struct work_pool *pool = work_pool_create(1, 2);
    struct job jobs[4] = { 0 };
    unsigned count = 3;
    (void)state;
    sem_t gate;
    sem_init(&gate, 0, 0);
    sem_t begun;
    sem_init(&begun, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        jobs[i].work = (struct work){ .run = job_run, .done = job_done };
        jobs[i].gate = &gate;
        jobs[i].begun = &begun;
        assert_int_equal(work_submit(pool, loop, &jobs[i].work), i < 3 ? OK : E_LIMIT);
        if (i == 0)
            sem_wait(&begun); /* it has left the queue, which has room for two */
    }
    for (unsigned i = 0; i < 3; i++)
        sem_post(&gate);
    bed_run(loop, all_done, &count);
    work_pool_destroy(&pool);
    sem_destroy(&gate);
    sem_destroy(&begun);
}

static void test_destroy_finishes_what_is_queued(void **state)
{
    struct work_pool *pool = work_pool_create(1, QUEUE_MAX);
    struct job jobs[50] = { 0 };
    unsigned count = 50;

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        jobs[i].work = (struct work){ .run = job_run, .done = job_done };
        assert_int_equal(work_submit(pool, loop, &jobs[i].work), OK);
    }
    work_pool_destroy(&pool);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(jobs[i].ran, 1);
    bed_run(loop, all_done, &count);
}

/* One thread, held by a job of its own until the others are queued. */
struct bench {
    struct work_pool *pool;
    struct job first;
    sem_t gate;
};

static void bench_begin(struct bench *b)
{
    *b = (struct bench){ .pool = work_pool_create(1, QUEUE_MAX) };
    sem_init(&b->gate, 0, 0);
    b->first = (struct job){ .work = { .run = job_run, .done = job_done }, .gate = &b->gate };
    assert_int_equal(work_submit(b->pool, loop, &b->first.work), OK);
    while (work_cancel(b->pool, &b->first.work)) /* until it has begun */
        assert_int_equal(work_submit(b->pool, loop, &b->first.work), OK);
}

static void bench_end(struct bench *b)
{
    work_pool_destroy(&b->pool);
    sem_destroy(&b->gate);
}

static int order[16];
static unsigned order_len;

static void note_done(struct work *w)
{
    order[order_len++] = (int)w->lane;
    job_done(w);
}

static struct job job_in(uint64_t lane)
{
    return (struct job){ .work = { .run = job_run, .done = note_done, .lane = lane } };
}

static void test_lanes_take_turns(void **state)
{
    static const int expected[] = { 1, 0, 2, 0, 1, 1, 1 };
    unsigned count = 8;
    (void)state;
    order_len = 0;
    struct bench b;
    bench_begin(&b);
    struct job jobs[7];
    for (unsigned i = 0; i < 7; i++) {
        jobs[i] = job_in(i < 4 ? 1 : i == 4 ? 2 : 0);
        assert_int_equal(work_submit(b.pool, loop, &jobs[i].work), OK);
    }
    sem_post(&b.gate);
    bed_run(loop, all_done, &count);
    assert_int_equal(order_len, 7);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(order[i], expected[i]);
    bench_end(&b);
}

static sem_t inside;
static _Atomic int running, most;

static void crowd_run(struct work *w)
{
    int now = ++running;

    if (now > most)
        most = now;
    sem_post(&inside);
    job_run(w);
    running--;
}

static void test_one_of_a_lane_at_a_time(void **state)
{
    struct work_pool *pool = work_pool_create(4, QUEUE_MAX);
    unsigned count = 40;
    (void)state;
    sem_init(&inside, 0, 0);
    running = most = 0;
    order_len = 0;
    struct job jobs[40];
    for (unsigned i = 0; i < 40; i++) {
        jobs[i] = (struct job){ .work = { .run = crowd_run, .done = job_done, .lane = 7 } };
        assert_int_equal(work_submit(pool, loop, &jobs[i].work), OK);
    }
    bed_run(loop, all_done, &count);
    assert_int_equal(most, 1);
    work_pool_destroy(&pool);
    sem_destroy(&inside);
}

static void test_wide_lanes_take_turns(void **state)
{
    static const int expected[] = { 1, 2, 1, 1 };
    unsigned count = 5;
    (void)state;
    order_len = 0;
    struct bench b;
    bench_begin(&b);
    work_pool_set_wide(b.pool);
    struct job jobs[4];
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = job_in(i < 3 ? 1 : 2);
        assert_int_equal(work_submit(b.pool, loop, &jobs[i].work), OK);
    }
    sem_post(&b.gate);
    bed_run(loop, all_done, &count);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(order[i], expected[i]);
    bench_end(&b);
}

static void test_several_of_a_wide_lane_at_a_time(void **state)
{
    static struct job jobs[WORK_LANE_MAX + 10];
    struct work_pool *pool = work_pool_create(2, 1);
    unsigned count = WORK_LANE_MAX + 10;
    sem_t gate, begun;
    (void)state;
    work_pool_set_wide(pool);
    sem_init(&gate, 0, 0);
    sem_init(&begun, 0, 0);
    for (unsigned i = 0; i < count; i++) { /* more than other lanes take */
        jobs[i] = (struct job){ .work = { .run = job_run, .done = job_done, .lane = 7 } };
        if (i < 2) {
            jobs[i].gate = &gate;
            jobs[i].begun = &begun;
        }
        assert_int_equal(work_submit(pool, loop, &jobs[i].work), OK);
    }
    for (unsigned i = 0; i < 2; i++)
        sem_wait(&begun);
    for (unsigned i = 0; i < 2; i++)
        sem_post(&gate);
    bed_run(loop, all_done, &count);
    work_pool_destroy(&pool);
    sem_destroy(&begun);
    sem_destroy(&gate);
}

static void test_a_lane_has_a_limit(void **state)
{
    static struct job jobs[WORK_LANE_MAX + 1], other;
    unsigned count = WORK_LANE_MAX + 2;
    (void)state;
    struct bench b;
    bench_begin(&b);
    for (unsigned i = 0; i <= WORK_LANE_MAX; i++) {
        jobs[i] = (struct job){ .work = { .run = job_run, .done = job_done, .lane = 7 } };
        assert_int_equal(work_submit(b.pool, loop, &jobs[i].work),
                         i < WORK_LANE_MAX ? OK : E_LIMIT);
    }
    other = (struct job){ .work = { .run = job_run, .done = job_done, .lane = 8 } };
    assert_int_equal(work_submit(b.pool, loop, &other.work), OK);
    sem_post(&b.gate);
    bed_run(loop, all_done, &count);
    bench_end(&b);
}

static void test_canceled_work_does_not_run(void **state)
{
    unsigned count = 4;
    (void)state;
    order_len = 0;
    struct bench b;
    bench_begin(&b);
    struct job jobs[6];
    for (unsigned i = 0; i < 6; i++) {
        jobs[i] = job_in(i % 2);
        assert_int_equal(work_submit(b.pool, loop, &jobs[i].work), OK);
    }
    assert_false(work_cancel(b.pool, &b.first.work)); /* it runs */
    for (unsigned i = 0; i < 3; i++)
        assert_true(work_cancel(b.pool, &jobs[i].work));
    sem_post(&b.gate);
    bed_run(loop, all_done, &count);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(jobs[i].ran, i >= 3);
    assert_false(work_cancel(b.pool, &jobs[5].work));
    bench_end(&b);
}

static unsigned skipped_count;

static void skip_done(struct work *w)
{
    skipped_count += w->skipped;
    done_count++;
}

static void test_a_stop_skips_what_may_be_skipped(void **state)
{
    unsigned count = 21;
    (void)state;
    skipped_count = 0;
    struct bench b;
    bench_begin(&b);
    struct job jobs[20];
    for (unsigned i = 0; i < 20; i++) {
        jobs[i] = (struct job){
            .work = { .run = job_run, .done = skip_done, .lane = i % 4, .may_skip = i < 10 }
        };
        assert_int_equal(work_submit(b.pool, loop, &jobs[i].work), OK);
    }
    work_pool_skip(b.pool);
    struct job late = { .work = { .run = job_run, .done = skip_done, .may_skip = true } };
    assert_int_equal(work_submit(b.pool, loop, &late.work), E_LIMIT);
    sem_post(&b.gate);
    bed_run(loop, all_done, &count);
    assert_int_equal(skipped_count, 10);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(jobs[i].ran, i >= 10);
    bench_end(&b);
}

static void test_an_end_gives_back_what_ran(void **state)
{
    unsigned count = 4;
    (void)state;
    struct bench b;
    bench_begin(&b);
    struct job jobs[3];
    for (unsigned i = 0; i < 3; i++) {
        jobs[i] = (struct job){ .work = { .run = job_run, .done = job_done, .lane = i } };
        assert_int_equal(work_submit(b.pool, loop, &jobs[i].work), OK);
    }
    sem_post(&b.gate);
    work_pool_end(b.pool);
    for (unsigned i = 0; i < 3; i++)
        assert_true(jobs[i].ran);
    struct job late = { .work = { .run = job_run, .done = job_done } };
    assert_int_equal(work_submit(b.pool, loop, &late.work), E_LIMIT);
    bed_run(loop, all_done, &count);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lanes_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_of_a_lane_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wide_lanes_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_several_of_a_wide_lane_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lane_has_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_canceled_work_does_not_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stop_skips_what_may_be_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_end_gives_back_what_ran, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_runs_elsewhere_and_ends_here, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_queue_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_destroy_finishes_what_is_queued, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("io/work", tests, NULL, NULL);
}
