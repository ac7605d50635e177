#include "base/mem.h"
#include "io/loop_private.h"
#include "io/test_bed.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct loop *loop;
static char trace[256];

static int set_up(void **state)
{
    (void)state;
    loop = loop_create(3);
    trace[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_destroy(&loop);
    return 0;
}

struct step {
    struct loop_defer defer;
    struct loop_post post;
    const char *name;
    struct step *then_defer, *then_flush;
    int rounds;
};

static void step_run(struct loop_defer *d)
{
    struct step *s = CONTAINER_OF(d, struct step, defer);
    size_t len = strlen(trace);

    snprintf(trace + len, sizeof(trace) - len, "%s", s->name);
    if (s->then_defer != NULL && s->rounds-- > 0)
        loop_defer(loop, &s->then_defer->defer);
    if (s->then_flush != NULL)
        loop_at_flush(loop, &s->then_flush->defer);
}

static void step_posted(struct loop_post *p, struct loop *l)
{
    struct step *s = CONTAINER_OF(p, struct step, post);

    assert_ptr_equal(l, loop);
    assert_ptr_equal(loop_here(), loop);
    step_run(&s->defer);
}

#define STEP(n)                                                                                    \
    {                                                                                              \
        .defer.fn = step_run, .post.fn = step_posted, .name = (n)                                  \
    }

static void test_order_within_a_tick(void **state)
{
    struct step post1 = STEP("p"), post2 = STEP("q"), defer = STEP("d"), flush = STEP("f");
    struct step later = STEP("e");

    (void)state;
    defer.then_defer = &later;
    defer.rounds = 1;
    flush.then_defer = &later; /* work that flushing causes is done in the same tick */
    flush.rounds = 1;
    loop_at_flush(loop, &flush.defer);
    loop_at_flush(loop, &flush.defer);
    loop_defer(loop, &defer.defer);
    loop_defer(loop, &defer.defer);
    loop_post(loop, &post1.post);
    loop_post(loop, &post2.post);
    bed_ticks(loop, 0);
    assert_string_equal(trace, "pqdefe");
    assert_null(loop_here());
}

static void test_endless_work_lets_the_loop_poll(void **state)
{
    struct step defer = STEP("d"), flush = STEP("f");

    (void)state;
    defer.then_defer = &defer;
    defer.rounds = 20;
    loop_defer(loop, &defer.defer);
    loop_at_flush(loop, &flush.defer);
    bed_ticks(loop, 1);
    /* 16 rounds, then the flush comes all the same, then the rest in the next tick */
    assert_string_equal(trace, "ddddddddddddddddfddddd");
}

static void test_cancelled_work_does_not_run(void **state)
{
    struct step a = STEP("a"), b = STEP("b");

    (void)state;
    loop_defer(loop, &a.defer);
    loop_defer(loop, &b.defer);
    loop_defer_cancel(&a.defer);
    loop_defer_cancel(&a.defer);
    bed_ticks(loop, 1);
    assert_string_equal(trace, "b");
}

struct reader {
    struct loop_source source;
    struct reader *victim;
    unsigned calls;
};

static void reader_ready(struct loop_source *s, uint32_t events)
{
    struct reader *r = CONTAINER_OF(s, struct reader, source);

    assert_true((events & EPOLLIN) != 0);
    r->calls++;
    if (r->victim != NULL) {
        loop_remove(loop, &r->victim->source);
        loop_remove(loop, s);
    }
}

static void test_removed_sources_hear_nothing_more(void **state)
{
    struct reader r[2] = { 0 };
    (void)state;
    int fd[2][2];
    for (int i = 0; i < 2; i++) {
        bed_pair(fd[i]);
        assert_int_equal(send(fd[i][1], "x", 1, 0), 1);
        r[i].source = (struct loop_source){ fd[i][0], EPOLLIN, reader_ready };
        r[i].victim = &r[1 - i];
        assert_int_equal(loop_add(loop, &r[i].source), OK);
    }
    bed_ticks(loop, 3);
    assert_int_equal(r[0].calls + r[1].calls, 1); /* both were ready in one poll */
    for (int i = 0; i < 2; i++) {
        close(fd[i][0]);
        close(fd[i][1]);
    }
}

static void test_events_can_be_changed(void **state)
{
    struct reader r = { .source = { .ready = reader_ready } };
    (void)state;
    int fd[2];
    bed_pair(fd);
    r.source.fd = fd[0];
    assert_int_equal(loop_add(loop, &r.source), OK);
    assert_int_equal(loop_add(loop, &r.source), E_IO);
    assert_int_equal(send(fd[1], "x", 1, 0), 1);
    bed_ticks(loop, 3);
    assert_int_equal(r.calls, 0);
    loop_change(loop, &r.source, EPOLLIN);
    bed_ticks(loop, 3);
    assert_int_equal(r.calls, 3);
    loop_remove(loop, &r.source);
    close(fd[0]);
    close(fd[1]);
}

enum { POSTERS = 3, POSTS = 20000 };

struct poster {
    struct loop_post posts[POSTS];
    pthread_t thread;
};

static struct poster *posters;
static unsigned received[POSTERS];
static unsigned received_all;

static void count_post(struct loop_post *p, struct loop *l)
{
    for (unsigned i = 0; i < POSTERS; i++) {
        if (p >= posters[i].posts && p < posters[i].posts + POSTS) {
            assert_ptr_equal(p, &posters[i].posts[received[i]]); /* in order */
            received[i]++;
        }
    }
    if (++received_all == POSTERS * POSTS)
        loop_stop(l);
}

static void *post_many(void *arg)
{
    struct poster *p = arg;

    for (unsigned i = 0; i < POSTS; i++) {
        p->posts[i].fn = count_post;
        loop_post(loop, &p->posts[i]);
        if (i % 64 == 0)
            sched_yield(); /* lets the loop fall asleep now and then */
    }
    return NULL;
}

static void test_posts_from_many_threads(void **state)
{
    (void)state;
    posters = mem_zalloc(POSTERS * sizeof(*posters));
    for (unsigned i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    loop_run(loop); /* would never end if a wake-up were lost */
    for (unsigned i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(received[i], POSTS);
    }
    mem_free(&posters);
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void test_idle_costs_nothing(void **state)
{
    uint64_t before = loop->tick;
    struct timespec half_second = { .tv_nsec = 500000000 };
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
    nanosleep(&half_second, NULL); /* the span that is measured, not a synchronisation */
    loop_stop(loop);
    pthread_join(thread, NULL);
    assert_in_range(loop->tick - before, 0, 1);
}

static void test_scratch_is_empty_in_each_callback(void **state)
{
    struct step a = STEP("a");

    (void)state;
    loop_post(loop, &a.post);
    memset(arena_alloc(loop_scratch(loop), 1, 100), 1, 100);
    bed_ticks(loop, 1);
    assert_int_equal(*(char *)arena_alloc(loop_scratch(loop), 1, 100), 0);
    assert_int_equal(loop_index(loop), 3);
    assert_true(loop_wall_us(loop) > loop_now_us(loop));
}

struct neighbour {
    struct loop_post post, there;
    struct loop *loop;
};

static void neighbour_stops(struct loop_post *p, struct loop *l)
{
    (void)p;
    loop_stop(l);
}

static void neighbour_posts(struct loop_post *p, struct loop *l)
{
    struct neighbour *n = CONTAINER_OF(p, struct neighbour, post);
    n->there.fn = neighbour_stops;
    loop_post(n->loop, &n->there);
    loop_stop(l);
}

static uint64_t bypasses_to(struct loop *to)
{
    struct neighbour n = { .post.fn = neighbour_posts, .loop = to };
    loop_post(loop, &n.post); /* by no loop: not counted */
    loop_run(loop);
    if (to != loop)
        loop_run(to); /* what was posted to it is in n */
    return loop_bypasses(to);
}

/* The thread of one loop posts to another one of the same owner, and only that is counted. */
static void test_posts_beside_the_owners_way(void **state)
{
    struct loop *other = loop_create(4);
    (void)state;
    assert_int_equal(bypasses_to(other), 0); /* neither has an owner */
    loop_set_owner(loop, &loop);
    assert_int_equal(bypasses_to(other), 0);
    loop_set_owner(other, &loop);
    assert_int_equal(bypasses_to(other), 1);
    assert_int_equal(bypasses_to(loop), 0);
    loop_destroy(&other);
}

/* As sched_getattr(2) has it, in its first size. */
struct turns {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

static struct turns turns_now(void)
{
    struct turns t = { .size = 0 };
    assert_int_equal(syscall(SYS_sched_getattr, 0, &t, sizeof t, 0), 0);
    return t;
}

static void *shorten_turns(void *arg)
{
    struct turns *t = arg;
    assert_int_equal(setpriority(PRIO_PROCESS, (id_t)gettid(), 3), 0);
    struct turns longer = { .size = sizeof longer, .nice = 3, .runtime_ns = 3000000 };
    assert_int_equal(syscall(SYS_sched_setattr, 0, &longer, 0), 0);
    t[0] = turns_now();
    loop_short_turns();
    t[1] = turns_now();
    return NULL;
}

/* Policy and niceness are those of the operator. */
static void test_turns_are_short(void **state)
{
    struct turns t[2];
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, shorten_turns, t), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(t[1].policy, SCHED_OTHER);
    assert_int_equal(t[1].nice, 3);
    if (t[0].runtime_ns == 3000000) /* the kernel knows turns */
        assert_int_equal(t[1].runtime_ns, 100 * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_within_a_tick, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_endless_work_lets_the_loop_poll, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancelled_work_does_not_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_removed_sources_hear_nothing_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_can_be_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_posts_from_many_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_idle_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scratch_is_empty_in_each_callback, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_posts_beside_the_owners_way, set_up, tear_down),
        cmocka_unit_test(test_turns_are_short),
    };
    return cmocka_run_group_tests_name("io/loop", tests, NULL, NULL);
}
