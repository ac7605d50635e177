#include "home/edge.h"
#include "home/node.h"
#include "home/worker.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h> /* needs the three above */

/* The calls in order: a letter for the function, then the edge. */
static char calls[64];
static bool first_is_idle, second_is_idle;

static void called(char what, void *own)
{
    size_t len = strlen(calls);
    snprintf(calls + len, sizeof calls - len, "%c%s ", what, (const char *)own);
}

static void on_start(void *own, struct worker *w) { called('s', own), (void)w; }
static void on_open(void *own, struct worker *w) { called('o', own), (void)w; }
static void on_stop(void *own, struct worker *w) { called('t', own), (void)w; }
static void on_part(void *own, struct worker *w) { called('p', own), (void)w; }
static void on_relieve(void *own, struct worker *w) { called('r', own), (void)w; }
static void on_end(void *own, struct worker *w) { called('e', own), (void)w; }

static void on_node_gone(void *own, struct worker *w, uint32_t gone)
{
    assert_int_equal(gone, 3);
    called('g', own), (void)w;
}

static void on_remote(void *own, struct worker *w, uint64_t link, struct stanza *st)
{
    assert_int_equal(link, 77);
    assert_null(st);
    called('m', own), (void)w;
}

static bool on_idle(void *own, struct worker *w)
{
    (void)w;
    return *(const char *)own == '1' ? first_is_idle : second_is_idle;
}

static const struct edge first = { .name = "first",
                                   .start = on_start,
                                   .open = on_open,
                                   .stop = on_stop,
                                   .idle = on_idle,
                                   .relieve = on_relieve,
                                   .remote = on_remote,
                                   .node_gone = on_node_gone,
                                   .end = on_end };
static const struct edge second = { .name = "second",
                                    .start = on_start,
                                    .open = on_open,
                                    .stop = on_stop,
                                    .part = on_part,
                                    .idle = on_idle,
                                    .relieve = on_relieve,
                                    .remote = on_remote,
                                    .node_gone = on_node_gone,
                                    .end = on_end };
static const struct edge bare = { .name = "bare" }; /* nothing happens to it */
static const struct edge other = { .name = "other" };
static const struct edge_made made[] = {
    { &first, "1" }, { &bare, NULL }, { &second, "2" }, { 0 }
};
static struct node node = { .edges = made }, empty;
static struct worker worker, worker_of_empty;

static void were(const char *expected)
{
    assert_string_equal(calls, expected);
    calls[0] = '\0';
}

static void all_are_walked_and_the_last_ends_first(void **state)
{
    (void)state;
    edges_start(&node, &worker);
    were("s1 s2 ");
    edges_open(&node, &worker);
    were("o1 o2 ");
    edges_relieve(&node, &worker);
    were("r1 r2 ");
    edges_node_gone(&node, &worker, 3);
    were("g1 g2 ");
    edges_stop(&node, &worker);
    were("t1 t2 ");
    node.parts = true;
    edges_part(&node, &worker);
    node.parts = false;
    were("p2 ");
    edges_end(&node, &worker);
    were("e2 e1 ");
}

static void idle_is_when_all_are(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        first_is_idle = (i & 1) != 0;
        second_is_idle = (i & 2) != 0;
        node.parts = (i & 4) != 0; /* until then the second one waits for the first */
        assert_int_equal(edges_idle(&node, &worker), i == 1 || i == 3 || i == 7);
    }
    node.parts = false;
}

static void each_finds_what_it_was_made_with(void **state)
{
    (void)state;
    assert_string_equal(edge_own(&node, &second), "2");
    assert_null(edge_own(&node, &bare));
    assert_null(edge_own(&node, &other));
}

static void each_gets_what_is_for_its_own_links(void **state)
{
    (void)state;
    assert_int_equal(edge_number(&node, &first), 0);
    assert_int_equal(edge_number(&node, &second), 2);
    assert_true(edge_remote(&worker, 0, 77, NULL));
    were("m1 ");
    assert_true(edge_remote(&worker, 2, 77, NULL));
    were("m2 ");
    assert_false(edge_remote(&worker, 1, 77, NULL)); /* it has no links */
    assert_false(edge_remote(&worker, 3, 77, NULL)); /* there are not as many */
    assert_false(edge_remote(&worker, EDGES_MAX - 1, 77, NULL));
    were("");
}

static void a_node_may_have_none(void **state)
{
    (void)state;
    edges_start(&empty, &worker);
    edges_open(&empty, &worker);
    edges_relieve(&empty, &worker);
    edges_stop(&empty, &worker);
    empty.parts = true;
    edges_part(&empty, &worker);
    assert_true(edges_idle(&empty, &worker));
    edges_node_gone(&empty, &worker, 3);
    assert_false(edge_remote(&worker_of_empty, 0, 77, NULL));
    edges_end(&empty, &worker);
    were("");
    assert_null(edge_own(&empty, &first));
}

int main(void)
{
    worker.node = &node;
    worker_of_empty.node = &empty;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_walked_and_the_last_ends_first),
        cmocka_unit_test(idle_is_when_all_are),
        cmocka_unit_test(each_finds_what_it_was_made_with),
        cmocka_unit_test(each_gets_what_is_for_its_own_links),
        cmocka_unit_test(a_node_may_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
