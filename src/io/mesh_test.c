#include "base/ensure.h"
#include "base/mem.h"
#include "io/mesh.h"
#include "io/test_bed.h"
#include <pthread.h>

/* Workers that flood each other: each sends COUNT numbered frames to every worker, itself included,
 * a few in each tick, and stops when all of the others' have come. */
enum { WORKERS_MAX = 4, COUNT = 50000, BURST = 700 };

struct worker {
    unsigned index, workers;
    struct loop *loop;
    struct mesh_port *port;
    struct loop_post again;
    unsigned sent, got[WORKERS_MAX], got_all;
    int pressure;
    unsigned pressure_calls;
    unsigned *waiting; /* of all workers; guarded by lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct worker workers[WORKERS_MAX];

static struct frame *frame_numbered(unsigned number)
{
    static const char text[] = "a@b";
    struct frame *f = frame_create(1, sizeof text);

    f->num = number;
    memcpy(f->bytes, text, sizeof text);
    return f;
}

static void stop_all(struct worker *w)
{
    pthread_mutex_lock(&lock);
    if (--*w->waiting == 0) {
        for (unsigned i = 0; i < w->workers; i++)
            loop_stop(workers[i].loop);
    }
    pthread_mutex_unlock(&lock);
}

static void deliver(struct frame *f, void *arg)
{
    struct worker *w = arg;

    ensure(loop_here() == w->loop);
    ensure(f->num == w->got[f->worker]); /* none lost, none overtaken */
    ensure(strcmp(f->bytes, "a@b") == 0);
    w->got[f->worker]++;
    if (++w->got_all == w->workers * COUNT)
        stop_all(w);
    frame_free(&f);
}

static void pressure(void *arg, int on)
{
    struct worker *w = arg;

    ensure(on != w->pressure);
    w->pressure = on;
    w->pressure_calls++;
}

static void send_some(struct loop_post *p, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(p, struct worker, again);

    for (unsigned n = 0; n < BURST && w->sent < COUNT; n++, w->sent++) {
        for (unsigned to = 0; to < w->workers; to++)
            mesh_send(w->port, to, frame_numbered(w->sent));
    }
    if (w->sent < COUNT)
        loop_post(loop, p);
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;

    loop_run(w->loop);
    return NULL;
}

static void flood(unsigned count)
{
    struct mesh *m = mesh_create(count, 77);
    unsigned waiting = count;
    for (unsigned i = 0; i < count; i++) {
        workers[i] = (struct worker){
            .index = i, .workers = count, .again.fn = send_some, .waiting = &waiting
        };
        workers[i].loop = loop_create(i);
        workers[i].port = mesh_attach(m, i, workers[i].loop, deliver, pressure, &workers[i]);
    }
    pthread_t threads[WORKERS_MAX];
    for (unsigned i = 0; i < count; i++) {
        loop_post(workers[i].loop, &workers[i].again);
        assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &workers[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned from = 0; from < count; from++)
            assert_int_equal(workers[i].got[from], COUNT);
        assert_int_equal(mesh_queued(workers[i].port), 0);
        assert_int_equal(workers[i].pressure, 0);
        loop_destroy(&workers[i].loop);
    }
    mesh_destroy(&m, NULL);
}

static void test_flood_of_two(void **state)
{
    (void)state;
    flood(2);
}

static void test_flood_of_four(void **state)
{
    (void)state;
    flood(4);
}

/* Two workers on one thread: exact. */
struct pair {
    struct mesh *mesh;
    struct loop *loop[2];
    struct mesh_port *port[2];
    struct worker end[2];
    unsigned waiting;
};

static void pair_init(struct pair *p)
{
    p->mesh = mesh_create(2, 1);
    p->waiting = 1000;
    for (unsigned i = 0; i < 2; i++) {
        p->loop[i] = loop_create(i);
        p->end[i] = (struct worker){ .workers = 2, .loop = p->loop[i], .waiting = &p->waiting };
        p->port[i] = mesh_attach(p->mesh, i, p->loop[i], deliver, pressure, &p->end[i]);
    }
}

static void pair_fini(struct pair *p)
{
    loop_destroy(&p->loop[0]);
    loop_destroy(&p->loop[1]);
    mesh_destroy(&p->mesh, NULL);
}

static void send_numbered(struct mesh_port *from, unsigned to, unsigned number)
{
    mesh_send(from, to, frame_numbered(number));
}

static void test_full_ring_makes_pressure(void **state)
{
    enum { FRAMES = 3000, RING = 1024 };
    struct pair p = { 0 };

    (void)state;
    pair_init(&p);
    for (unsigned i = 0; i < FRAMES; i++)
        send_numbered(p.port[0], 1, i);
    assert_int_equal(p.end[0].pressure, 1);
    assert_int_equal(mesh_queued(p.port[0]), FRAMES - RING);
    bed_ticks(p.loop[1], 0);
    assert_int_equal(p.end[1].got[0], RING);
    bed_ticks(p.loop[0], 0);
    assert_int_equal(mesh_queued(p.port[0]), FRAMES - 2 * RING);
    send_numbered(p.port[0], 1, FRAMES); /* though the ring has room by then */
    bed_ticks(p.loop[1], 0);
    bed_ticks(p.loop[0], 0);
    bed_ticks(p.loop[1], 0);
    assert_int_equal(p.end[1].got[0], FRAMES + 1);
    assert_int_equal(p.end[0].pressure, 0);
    assert_int_equal(p.end[0].pressure_calls, 2);
    pair_fini(&p);
}

static void send_to_itself(struct loop_post *post, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(post, struct worker, again);

    (void)loop;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(w->got[0], i);
        send_numbered(w->port, 0, i);
        assert_int_equal(w->got[0], i + 1); /* at once */
    }
}

static void test_frames_to_oneself_are_calls(void **state)
{
    struct pair p = { 0 };

    (void)state;
    pair_init(&p);
    p.end[0].port = p.port[0];
    p.end[0].again.fn = send_to_itself;
    loop_post(p.loop[0], &p.end[0].again);
    bed_ticks(p.loop[0], 1);
    assert_int_equal(p.end[0].got[0], 10);
    pair_fini(&p);
}

static void test_destroy_frees_what_is_queued(void **state)
{
    struct pair p = { 0 };

    (void)state;
    pair_init(&p);
    for (unsigned i = 0; i < 2000; i++)
        send_numbered(p.port[0], 1, i);
    pair_fini(&p); /* the leak checker looks */
}

static void test_frame_has_room(void **state)
{
    struct frame *f = frame_create(9, 100);

    (void)state;
    assert_int_equal(f->kind, 9);
    assert_int_equal(f->num, 0);
    assert_int_equal((uintptr_t)f->bytes % _Alignof(max_align_t), 0);
    memset(f->bytes, 1, 100); /* the address sanitizer looks */
    frame_free(&f);
    assert_null(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_of_two),
        cmocka_unit_test(test_flood_of_four),
        cmocka_unit_test(test_full_ring_makes_pressure),
        cmocka_unit_test(test_frames_to_oneself_are_calls),
        cmocka_unit_test(test_destroy_frees_what_is_queued),
        cmocka_unit_test(test_frame_has_room),
    };
    return cmocka_run_group_tests_name("io/mesh", tests, NULL, NULL);
}
