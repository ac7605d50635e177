#include "im/test_node.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

static struct test_node t;

static void gate_down(struct stream *s, const struct down *d)
{
    fail_msg("nothing is connected: %p %d", (void *)s, d->kind);
}
static const struct gate_ops gate = { .down = gate_down };

static struct stanza *message(const char *to, const char *id)
{
    char text[400];
    struct stanza *st;
    snprintf(text, sizeof text,
             "<message from='x@localhost/r' to='%s' type='chat' id='%s'><body>hi</body>"
             "<origin-id xmlns='urn:xmpp:sid:0' id='%s'/></message>",
             to, id, id);
    assert_int_equal(stanza_load(&st, slice_of(text), t.w->xml, loop_scratch(t.w->loop)), OK);
    return st;
}

/* An account whose message is being committed is not idle, however long nobody was there. */
static void test_sweep_leaves_what_is_pinned(void **state)
{
    (void)state;
    struct account *a = test_node_account(&t, "u1@localhost");
    account_unpin(a);
    assert_true(list_linked(&a->idle));
    a->idle_since_us = 0;
    account_receive(t.w, message("u1@localhost", "m1"), ORIGIN_NONE, 0, 0);
    assert_int_equal(a->pins, 1);
    t.w->sweep.fn(&t.w->sweep, t.w->loop);
    assert_ptr_equal(account_find(t.w, SLICE("u1@localhost")), a);
    test_node_run(&t, test_node_is_idle, t.store);
}

/* A repeat counts as handled when the first copy is committed, not before (design §6). */
static void test_repeats_wait_for_the_commit(void **state)
{
    (void)state;
    test_node_account(&t, "u2@localhost");
    struct origin o = { 1 << 16, 1, 1 };
    assert_int_equal(account_receive(t.w, message("u2@localhost", "m1"), o, 0, 0), ROUTE_PENDING);
    assert_int_equal(account_receive(t.w, message("u2@localhost", "m1"), o, 0, 0), ROUTE_PENDING);
    test_node_run(&t, test_node_is_idle, t.store);
}

static int start(void **state)
{
    (void)state;
    test_node_open(&t, &gate);
    return 0;
}
static int stop(void **state)
{
    (void)state;
    test_node_close(&t);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeats_wait_for_the_commit),
        cmocka_unit_test(test_sweep_leaves_what_is_pinned),
    };
    return cmocka_run_group_tests_name("message", tests, start, stop);
}
