/* A start that fails, and what becomes of joins when another node goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/test_node.h"
#include "home/ticket.h"
#include <sqlite3.h>

enum { HANGS_S = 60 };

static const struct gate_ops gate;

static void test_a_start_without_the_database_ends(void **state)
{
    struct test_node t;
    struct why why;
    char path[64];
    sqlite3 *db;
    (void)state;
    test_node_open(&t, &gate);
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE reserved", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    alarm(HANGS_S);
    assert_int_equal(node_start(t.node, &why), E_DOWN);
    node_stop(t.node); /* what has not begun is not waited for */
    alarm(0);
    test_node_close(&t);
}

struct joined {
    struct origin part;
    bool done;
    enum err end;
};

static void join_done(struct worker *w, enum err e, uint32_t refused, void *arg)
{
    struct joined *j = arg;
    (void)w, (void)refused;
    assert_false(j->done);
    j->done = true;
    j->end = e;
}

static struct joined *join_one(struct worker *w, struct joined *j)
{
    *j = (struct joined){ .part = ticket_join_for(w, SLICE(""), join_done, j) };
    ticket_join_more(w, j->part);
    return j;
}

static void test_joins_end_when_a_node_is_gone(void **state)
{
    struct test_node t;
    struct joined waits, is_open, has_all;
    (void)state;
    test_node_open(&t, &gate);
    ticket_join_close(t.w, join_one(t.w, &waits)->part);
    join_one(t.w, &is_open);
    ticket_done(t.w, join_one(t.w, &has_all)->part);
    worker_of_thread = t.w;
    node_gone(t.w, 2);
    worker_of_thread = NULL;
    assert_true(waits.done && waits.end == E_DOWN);
    assert_false(is_open.done || has_all.done); /* their makers go on */
    ticket_join_close(t.w, is_open.part);
    assert_true(is_open.done && is_open.end == E_DOWN);
    ticket_join_close(t.w, has_all.part);
    assert_true(has_all.done && has_all.end == OK);
    ticket_done(t.w, waits.part); /* it comes yet: nobody waits any more */
    test_node_close(&t);
}

/* Its reports would go where nobody knows it. */
static void test_a_join_where_nobody_is_at_home(void **state)
{
    struct test_node t;
    struct joined waits, empty;
    uint8_t slots[NODE_SLOTS];
    (void)state;
    test_node_open(&t, &gate);
    memcpy(slots, t.node->slot_worker, sizeof slots);
    memset(t.node->slot_worker, 1, sizeof slots);
    ticket_join_close(t.w, join_one(t.w, &waits)->part);
    empty = (struct joined){ .part = ticket_join_for(t.w, SLICE(""), join_done, &empty) };
    ticket_join_close(t.w, empty.part);
    memcpy(t.node->slot_worker, slots, sizeof slots);
    assert_true(waits.done && waits.end == E_DOWN);
    assert_true(empty.done && empty.end == OK);
    test_node_close(&t);
}

/* A room that still has work when its slot has gone: its reports come by a slot that is here. */
static void test_a_join_of_a_maker_whose_slot_has_gone(void **state)
{
    struct test_node t;
    struct joined of_room;
    const slice room = SLICE("cave@conference.test");
    const unsigned workers = 2;
    (void)state;
    test_node_open(&t, &gate);
    const unsigned before = t.node->worker_count, slot = node_slot(room);
    const uint8_t home = t.node->slot_worker[slot];
    t.node->worker_count = workers;
    t.node->slot_worker[slot] = 1;
    assert_false(node_is_home(t.w, room));
    of_room = (struct joined){ .part = ticket_join_for(t.w, room, join_done, &of_room) };
    ticket_join_more(t.w, of_room.part);
    ticket_join_close(t.w, of_room.part);
    assert_false(of_room.done);
    ticket_done(t.w, of_room.part);
    t.node->slot_worker[slot] = home;
    t.node->worker_count = before;
    assert_true(of_room.done && of_room.end == OK);
    test_node_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_join_of_a_maker_whose_slot_has_gone),
        cmocka_unit_test(test_a_start_without_the_database_ends),
        cmocka_unit_test(test_joins_end_when_a_node_is_gone),
        cmocka_unit_test(test_a_join_where_nobody_is_at_home),
    };
    return cmocka_run_group_tests_name("node_life", tests, NULL, NULL);
}
