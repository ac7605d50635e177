/* A long acknowledgement queue, which has an index of its archive ids; and what sessions were given
 * of the messages of others. */
#include "core/test_node.h"
#include "session/given.h"
#include "session/session_queue.h"
#include "session/session_struct.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MANY = 200, STEP = 10 };

struct stream {
    uint64_t id;
};

static struct test_node t;
static struct account *a;
static struct session *s;
static struct stream stream;
static struct stanza *message;

static void gate_down(struct stream *c, const struct down *d) { (void)c, (void)d; }
static const struct gate_ops gate = { .down = gate_down };

static int start(void **state)
{
    (void)state;
    test_node_open(&t, &gate);
    a = test_node_account(&t, "a@localhost");
    message = test_node_stanza(&t, "<message from='b@localhost' type='chat'><body/></message>");
    s = test_node_bind(&t, a, &stream, "r");
    session_up(s, &(struct up){ .kind = UP_ENABLE, .num = 1 });
    return 0;
}

static int stop(void **state)
{
    (void)state;
    session_end(s, END_CLOSED);
    stanza_unref(&message);
    account_unpin(a);
    test_node_close(&t);
    return 0;
}

static void acknowledge(uint32_t h) { session_up(s, &(struct up){ .kind = UP_ACK, .num = h }); }

static void fill(unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        mailbox_open(a, (uint64_t)i * STEP, ENTRY_TAKEN);
        session_deliver(s, message, (uint64_t)i * STEP, 0);
    }
}

static void test_it_knows_its_messages(void **state)
{
    (void)state;
    fill(1, MANY);
    assert_true(session_queued(s, MANY * STEP));
    assert_non_null(s->queue_index);
    session_deliver(s, message, STEP, 0); /* it has that one twice */
    session_deliver(s, message, 0, 0);    /* is not stored */
    fill(MANY + 1, MANY + 1);
    acknowledge(MANY / 2);
    for (unsigned i = 1; i <= MANY + 1; i++) {
        assert_int_equal(session_queued(s, (uint64_t)i * STEP), i == 1 || i > MANY / 2);
        assert_false(session_queued(s, (uint64_t)i * STEP + 1));
    }
    acknowledge(MANY + 1);
    assert_false(session_queued(s, STEP));
    assert_true(session_queued(s, (MANY + 1) * STEP));
    acknowledge(MANY + 3);
    assert_int_equal(s->queue_len, 0);
    assert_null(s->queue_index);
    assert_false(session_queued(s, (MANY + 1) * STEP));
}

static void test_a_copy_is_not_its_own(void **state)
{
    (void)state;
    fill(1, MANY);
    for (uint64_t id = 1; id <= MANY; id++) {
        mailbox_open(a, MANY * STEP + id, ENTRY_TAKEN);
        session_deliver_carbon(s, message, s->jid, MANY * STEP + id);
    }
    uint64_t last = MANY * STEP + MANY;
    assert_true(session_queued_elsewhere(a, NULL, last, false));
    assert_false(session_queued_elsewhere(a, NULL, last, true));
    assert_false(session_queued_elsewhere(a, s, last, false));
    session_deliver(s, message, last, 0);
    assert_true(session_queued_elsewhere(a, NULL, last, true));
    acknowledge(2 * MANY); /* the copy of it */
    assert_true(session_queued_elsewhere(a, NULL, last, true));
    acknowledge(2 * MANY + 1);
    assert_false(session_queued_elsewhere(a, NULL, last, false));
}

/* Old presence is dropped from the middle of it. */
static void test_it_is_right_after_a_drop(void **state)
{
    struct stanza *presence = test_node_stanza(&t, "<presence from='b@localhost/r'/>");
    (void)state;
    session_hibernate(s, 60000);
    fill(1, MANY / 4);
    for (unsigned i = 0; i < 3; i++) {
        session_deliver(s, presence, 0, 0);
        fill(MANY / 4 * (i + 1) + 1, MANY / 4 * (i + 2));
        for (unsigned k = 1; k <= MANY; k++)
            assert_int_equal(session_queued(s, (uint64_t)k * STEP), k <= MANY / 4 * (i + 2));
    }
    assert_int_equal(s->queue_len, MANY + 1);
    stanza_unref(&presence);
}

static void test_what_was_given_is_known(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= MANY; id++) {
        mailbox_open(a, id, ENTRY_TAKEN);
        given_put(a, id, 7 + id % 2);
        given_put(a, id, 7 + id % 2);
    }
    for (uint64_t id = 1; id <= MANY; id++) {
        assert_int_equal(given_to(a, id, 7), id % 2 == 0);
        assert_int_equal(given_to(a, id, 8), id % 2 == 1);
    }
    for (uint64_t id = 1; id < MANY; id++)
        mailbox_settle(a, id);
    for (uint64_t id = MANY + 1; id <= 2 * MANY; id++) { /* settled ones are forgotten */
        mailbox_open(a, id, ENTRY_TAKEN);
        given_put(a, id, 9);
        mailbox_settle(a, id);
    }
    assert_true(given_to(a, MANY, 7));
    assert_false(given_to(a, 1, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_knows_its_messages, start, stop),
        cmocka_unit_test_setup_teardown(test_a_copy_is_not_its_own, start, stop),
        cmocka_unit_test_setup_teardown(test_it_is_right_after_a_drop, start, stop),
        cmocka_unit_test_setup_teardown(test_what_was_given_is_known, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
