/* The queue between those who submit batches and the writer of a driver. */
#include "base/clock.h"
#include "store/queue.h"
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { PATIENCE_US = 3000000 };

static struct group_queue queue;

static void *nap(void *woke)
{
    *(enum group_woke *)woke = group_nap(&queue, GROUP_IDLE, clock_mono_us() + PATIENCE_US, -1);
    return NULL;
}

static void await_mode(enum group_mode mode)
{
    for (int i = 0; i < 1000 && atomic_load(&queue.mode) != (int)mode; i++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

/* A thread saw the writer go to sleep, and lost the processor before it woke it. Meanwhile the
 * writer has found its batch and sleeps again: it is woken for nothing, and must be woken for the
 * next batch, too. */
static void test_a_late_wake_up(void **state)
{
    const uint64_t one = 1;
    struct store_batch batch = { 0 };
    enum group_woke woke = GROUP_FD;
    pthread_t writer;
    (void)state;
    group_init(&queue);
    assert_int_equal(pthread_create(&writer, NULL, nap, &woke), 0);
    await_mode(GROUP_IDLE);
    assert_int_equal(atomic_exchange(&queue.mode, GROUP_AWAKE), GROUP_IDLE);
    assert_int_equal(write(queue.wake_fd, &one, sizeof one), sizeof one);
    await_mode(GROUP_IDLE);
    group_submit(&queue, &batch);
    pthread_join(writer, NULL);
    assert_int_equal(woke, GROUP_WORK);
    assert_ptr_equal(group_steal(&queue), &batch);
    group_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_late_wake_up),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
