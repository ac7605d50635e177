/* The loops of all nodes run on the thread of the test, one after the other. */
#include "base/mem.h"
#include "bus/bus_local.h"
#include "io/test_bed.h"

enum { NODES = 2, WORKERS = 2, GOT_MAX = 4096 };

struct receiver {
    struct loop *loop;
    struct {
        uint32_t node, number;
        unsigned worker;
    } got[GOT_MAX];
    unsigned count;
    uint32_t gone; /* node */
    unsigned got_when_gone;
};

static struct receiver receivers[NODES][WORKERS];
static struct bus *buses[NODES];
static struct bus_local *local;

static void deliver(void *arg, const struct bus_from *from, slice bytes)
{
    struct receiver *r = arg;
    assert_int_equal(bytes.len % sizeof(uint32_t), 0);
    r->got[r->count].node = from->node;
    r->got[r->count].worker = from->worker;
    memcpy(&r->got[r->count].number, bytes.ptr, sizeof(uint32_t));
    r->count++;
}

static void gone(void *arg, uint32_t node)
{
    struct receiver *r = arg;
    r->gone = node;
    r->got_when_gone = r->count;
}

static bool apart; /* nodes that join have databases of their own */

static void join(unsigned n, uint32_t epoch)
{
    struct bus_local_member m = { .node = n + 1,
                                  .epoch = epoch,
                                  .workers = WORKERS,
                                  .database = apart ? &buses[n] : NULL,
                                  .deliver = deliver,
                                  .gone = gone };
    for (unsigned i = 0; i < WORKERS; i++) {
        m.worker[i].loop = receivers[n][i].loop;
        m.worker[i].arg = &receivers[n][i];
    }
    buses[n] = bus_local_join(local, &m);
}

static int start(void **state)
{
    (void)state;
    local = bus_local_create();
    memset(receivers, 0, sizeof receivers);
    for (unsigned n = 0; n < NODES; n++) {
        for (unsigned i = 0; i < WORKERS; i++)
            receivers[n][i].loop = loop_create(i);
        join(n, 1);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    bus_local_destroy(&local);
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned i = 0; i < WORKERS; i++)
            loop_destroy(&receivers[n][i].loop);
    return 0;
}

static void post(unsigned node, unsigned worker, unsigned to_worker, uint32_t number)
{
    buses[node]->ops->send(buses[node], worker, 2 - node, to_worker,
                           (slice){ (const char *)&number, sizeof number });
}

static void run(unsigned node)
{
    for (unsigned i = 0; i < WORKERS; i++)
        bed_ticks(receivers[node][i].loop, 1);
}

static void test_order_of_each_pair(void **state)
{
    uint32_t next[WORKERS][WORKERS] = { { 0 } };
    (void)state;
    for (uint32_t i = 0; i < 400; i++)
        post(0, i % 2, i / 2 % 2, i / 4);
    run(1);
    for (unsigned to = 0; to < WORKERS; to++) {
        const struct receiver *r = &receivers[1][to];
        assert_int_equal(r->count, 200);
        for (unsigned i = 0; i < r->count; i++) {
            assert_int_equal(r->got[i].node, 1);
            assert_int_equal(r->got[i].number, next[r->got[i].worker][to]++);
        }
    }
    assert_int_equal(receivers[0][0].count + receivers[0][1].count, 0);
    assert_int_equal(bus_local_count(local, 2).delivered, 400);
    assert_int_equal(bus_local_count(local, 1).delivered, 0);
}

static void test_losses_and_repeats(void **state)
{
    (void)state;
    post(0, 0, 0, 1);
    bus_local_fault(local, 1, 2, BUS_LOSE, 2);
    post(0, 0, 0, 2);
    post(0, 0, 0, 3);
    bus_local_fault(local, 1, 2, BUS_REPEAT, 1);
    post(0, 0, 0, 4);
    post(0, 0, 0, 5);
    post(0, 1, 0, 6); /* another link: no gap */
    run(1);
    static const uint32_t numbers[] = { 1, 4, 5, 6 };
    assert_int_equal(receivers[1][0].count, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(receivers[1][0].got[i].number, numbers[i]);
    struct bus_local_counters c = bus_local_count(local, 2);
    assert_int_equal(c.delivered, 4);
    assert_int_equal(c.lost, 2);
    assert_int_equal(c.gaps, 1);
    assert_int_equal(c.repeats, 1);
    post(1, 0, 0, 7); /* the other direction has no faults */
    run(0);
    assert_int_equal(receivers[0][0].count, 1);
}

static void test_a_node_that_leaves_and_comes_back(void **state)
{
    (void)state;
    post(0, 0, 0, 1);
    run(1);
    post(0, 0, 0, 2); /* queued, never received */
    bus_local_leave(local, 2);
    post(0, 0, 0, 3);
    loop_destroy(&receivers[1][0].loop);
    receivers[1][0].loop = loop_create(0);
    join(1, 2);
    post(0, 0, 0, 4);
    run(1);
    assert_int_equal(receivers[1][0].count, 2);
    assert_int_equal(receivers[1][0].got[1].number, 4);
    struct bus_local_counters c = bus_local_count(local, 2);
    assert_int_equal(c.lost, 2);
    assert_int_equal(c.gaps, 1);
    post(1, 0, 0, 5); /* its numbers begin again, in a new epoch */
    run(0);
    assert_int_equal(receivers[0][0].count, 1);
    assert_int_equal(bus_local_count(local, 1).gaps, 0);
}

static void test_shared_databases(void **state)
{
    (void)state;
    assert_true(buses[0]->ops->shares(buses[0], 2));
    assert_true(buses[1]->ops->shares(buses[1], 1));
    assert_false(buses[0]->ops->shares(buses[0], 77));
    bus_local_leave(local, 2);
    apart = true;
    join(1, 2);
    assert_false(buses[0]->ops->shares(buses[0], 2));
    assert_false(buses[1]->ops->shares(buses[1], 1));
    apart = false;
}

static void test_to_nobody(void **state)
{
    (void)state;
    buses[0]->ops->send(buses[0], 0, 77, 0, SLICE("lost"));
    buses[0]->ops->send(buses[0], 0, 2, WORKERS, SLICE("lost"));
    buses[0]->ops->send(buses[0], 0, 2, 70000, SLICE("lost"));
    run(1);
    assert_int_equal(bus_local_count(local, 2).delivered, 0);
    assert_int_equal(bus_local_count(local, 77).lost, 0);
    assert_int_equal(buses[0]->ops->workers(buses[0], 2), WORKERS);
    assert_int_equal(buses[0]->ops->workers(buses[0], 77), 1);
}

static void test_the_queue_has_an_end(void **state)
{
    enum { PIECE = 4 << 20 };
    char *piece = mem_zalloc(PIECE);
    (void)state;
    for (unsigned i = 0; i < BUS_LOCAL_QUEUE_MAX / PIECE + 3; i++)
        buses[0]->ops->send(buses[0], 0, 2, 1, (slice){ piece, PIECE });
    assert_int_equal(bus_local_count(local, 2).lost, 3);
    run(1);
    assert_int_equal(receivers[1][1].count, BUS_LOCAL_QUEUE_MAX / PIECE);
    post(0, 0, 1, 1); /* there is room again; what was lost is noticed */
    run(1);
    assert_int_equal(bus_local_count(local, 2).gaps, 1);
    mem_free(&piece);
}

static void test_registry(void **state)
{
    unsigned seen[NODES + 1] = { 0 };
    (void)state;
    for (unsigned slot = 0; slot < BUS_LOCAL_SLOTS; slot++) {
        uint32_t node = buses[0]->ops->registry(buses[0], slot);
        assert_int_equal(node, buses[1]->ops->registry(buses[1], slot));
        assert_true(node == 1 || node == 2);
        seen[node]++;
    }
    assert_true(seen[1] == seen[2]);
    for (uint32_t node = 1; node <= 2; node++) {
        bus_local_assign(local, 77, node);
        assert_int_equal(buses[1]->ops->registry(buses[1], 77), node);
    }
}

/* All agree on who is there and who does what one does for all; an end is told behind the last
 * frame. */
static void test_who_is_there(void **state)
{
    uint32_t nodes[BUS_NODES_MAX];
    (void)state;
    for (unsigned n = 0; n < NODES; n++) {
        assert_int_equal(buses[n]->ops->nodes(buses[n], nodes), NODES);
        assert_true(nodes[0] == 1 && nodes[1] == 2);
        assert_int_equal(buses[n]->ops->duties(buses[n]), 1);
    }
    post(1, 0, 1, 7);
    bus_local_leave(local, 2);
    run(0);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(receivers[0][i].gone, 2);
    assert_int_equal(receivers[0][1].count, 1);
    assert_int_equal(receivers[0][1].got_when_gone, 1);
    assert_int_equal(receivers[1][0].gone, 0);
    assert_int_equal(buses[0]->ops->nodes(buses[0], nodes), 1);
    assert_int_equal(nodes[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_of_each_pair, start, stop),
        cmocka_unit_test_setup_teardown(test_losses_and_repeats, start, stop),
        cmocka_unit_test_setup_teardown(test_a_node_that_leaves_and_comes_back, start, stop),
        cmocka_unit_test_setup_teardown(test_shared_databases, start, stop),
        cmocka_unit_test_setup_teardown(test_to_nobody, start, stop),
        cmocka_unit_test_setup_teardown(test_the_queue_has_an_end, start, stop),
        cmocka_unit_test_setup_teardown(test_registry, start, stop),
        cmocka_unit_test_setup_teardown(test_who_is_there, start, stop),
    };
    return cmocka_run_group_tests_name("bus/bus_local", tests, NULL, NULL);
}
