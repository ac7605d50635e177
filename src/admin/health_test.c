#include "admin/health.h"
#include "base/clock.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/worker.h"
#include "io/loop.h"
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

/* The clock of this program, in place of base/clock.c: ten seconds pass at once. */
static _Atomic uint64_t ahead_us;

static uint64_t now_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000 + atomic_load(&ahead_us);
}
uint64_t clock_mono_us(void) { return now_us(CLOCK_MONOTONIC); }
uint64_t clock_wall_us(void) { return now_us(CLOCK_REALTIME); }
void clock_stamp(char out[CLOCK_STAMP_LEN], uint64_t wall_us)
{
    snprintf(out, CLOCK_STAMP_LEN, "%llu", (unsigned long long)wall_us);
}

static struct worker worker;
static pthread_t thread;
static sem_t stands, goes_on, beaten;

static void on_beat(void) { sem_post(&beaten); }

static void *loop_main(void *arg)
{
    (void)arg;
    worker_of_thread = &worker;
    health_feature.worker.start(&worker);
    loop_run(worker.loop);
    health_feature.worker.stop(&worker);
    return NULL;
}

static void stand_still(struct loop_post *p, struct loop *loop)
{
    (void)p, (void)loop;
    sem_post(&stands);
    sem_wait(&goes_on);
}

static void wait_for_beats(unsigned count)
{
    while (sem_trywait(&beaten) == 0)
        continue; /* those of before */
    for (unsigned i = 0; i < count; i++)
        sem_wait(&beaten);
}

/* Nobody beats the watchdog while it stands, and all is well when it goes on. */
static void a_worker_that_stands_still_is_seen(void **state)
{
    (void)state;
    struct loop_post post = { .fn = stand_still };
    wait_for_beats(2);
    assert_true(health_turns());
    loop_post(worker.loop, &post);
    sem_wait(&stands);
    assert_true(health_turns()); /* for a moment */
    atomic_fetch_add(&ahead_us, (HEALTH_STALL_MS + 2 * HEALTH_BEAT_MS) * 1000ull);
    assert_false(health_turns());
    while (sem_trywait(&beaten) == 0)
        continue;
    assert_int_equal(sem_trywait(&beaten), -1);
    sem_post(&goes_on);
    wait_for_beats(2);
    assert_true(health_turns());
}

/* The end of a worker is not a worker that stands still. */
static void a_worker_that_has_ended_is_not_missed(void **state)
{
    (void)state;
    loop_stop(worker.loop);
    pthread_join(thread, NULL);
    atomic_fetch_add(&ahead_us, 2 * HEALTH_STALL_MS * 1000ull);
    assert_true(health_turns());
    loop_destroy(&worker.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_stands_still_is_seen),
        cmocka_unit_test(a_worker_that_has_ended_is_not_missed),
    };
    sem_init(&stands, 0, 0);
    sem_init(&goes_on, 0, 0);
    sem_init(&beaten, 0, 0);
    health_on_beat(on_beat);
    worker.loop = loop_create(0);
    pthread_create(&thread, NULL, loop_main, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
