#include "io/test_bed.h"
#include "io/work.h"
#include <pthread.h>
#include <semaphore.h>

enum { JOBS = 500, QUEUE_MAX = 600 };

struct job {
    struct work work;
    pthread_t ran_on;
    unsigned ran, done;
    sem_t *gate;
};

static struct loop *loop;
static unsigned done_count;

static void job_run(struct work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

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
    unsigned accepted = 0, count;
    sem_t gate;

    (void)state;
    sem_init(&gate, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        jobs[i].work = (struct work){ .run = job_run, .done = job_done };
        jobs[i].gate = &gate;
        if (work_submit(pool, loop, &jobs[i].work) == OK)
            accepted++;
    }
    assert_in_range(accepted, 2, 3); /* two in the queue, and one that may have left it */
    assert_int_equal(work_submit(pool, loop, &jobs[3].work), E_LIMIT);
    for (unsigned i = 0; i < accepted; i++)
        sem_post(&gate);
    count = accepted;
    bed_run(loop, all_done, &count);
    work_pool_destroy(&pool);
    sem_destroy(&gate);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_runs_elsewhere_and_ends_here, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_queue_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_destroy_finishes_what_is_queued, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("io/work", tests, NULL, NULL);
}
