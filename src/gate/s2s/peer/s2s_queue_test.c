#include "base/ensure.h"
#include "gate/s2s/peer/s2s_queue.h"
#include "xmpp/stanza.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct s2s_sent sent(uint64_t entry)
{
    return (struct s2s_sent){ .st = stanza_make(STANZA_MESSAGE, TYPE_CHAT, SLICE("a@one.test"),
                                                SLICE("b@other.test"), (slice){ 0 }, (slice){ 0 }),
                              .id = { .sender = 7, .entry = entry } };
}

static void push(struct s2s_queue *q, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        struct s2s_sent s = sent(i);
        s2s_queue_push(q, &s);
    }
}

static void writes(struct s2s_queue *q, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        assert_int_equal(s2s_queue_write(q)->id.entry, i);
}

static void takes(struct s2s_sent s, uint64_t entry)
{
    assert_int_equal(s.id.entry, entry);
    stanza_unref(&s.st);
}

static void counts_confirm_what_was_written(void **state)
{
    struct s2s_queue q = { .base = UINT32_MAX - 1 };
    uint32_t count;
    (void)state;
    push(&q, 1, 3);
    assert_int_equal(s2s_queue_confirms(&q, q.base + 1, &count), E_PROTO); /* not written yet */
    writes(&q, 1, 3);
    assert_null(s2s_queue_write(&q));
    assert_int_equal(s2s_queue_count(&q), 1); /* across the wrap */
    assert_int_equal(s2s_queue_confirms(&q, 0, &count), OK);
    assert_int_equal(count, 2);
    takes(s2s_queue_confirm(&q), 1);
    takes(s2s_queue_confirm(&q), 2);
    assert_int_equal(s2s_queue_confirms(&q, UINT32_MAX, &count), E_PROTO); /* it goes back */
    assert_int_equal(s2s_queue_confirms(&q, 2, &count), E_PROTO);          /* beyond */
    takes(s2s_queue_confirm(&q), 3);
    assert_int_equal(q.bytes, 0);
    assert_int_equal(q.written_bytes, 0);
    s2s_queue_fini(&q);
}

static void a_break_takes_nothing_out(void **state)
{
    struct s2s_queue q = { 0 };
    (void)state;
    push(&q, 1, 40);
    writes(&q, 1, 30);
    takes(s2s_queue_confirm(&q), 1);
    s2s_queue_rewind(&q, true);
    assert_int_equal(s2s_queue_count(&q), 0);
    assert_int_equal(q.again, 29);
    writes(&q, 2, 40);
    assert_int_equal(s2s_queue_waiting(&q), 0);
    s2s_queue_fini(&q);
}

/* What is cut out leaves the order of the others, from both ends of the ring. */
static void one_is_cut_out(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 9; n++) {
        struct s2s_queue q = { 0 };
        push(&q, 1, 20);
        writes(&q, 1, 20);
        for (uint64_t i = 1; i <= 12; i++) /* so that it wraps */
            takes(s2s_queue_confirm(&q), i);
        push(&q, 21, 21);
        takes(s2s_queue_cut(&q, n), 13 + n);
        assert_int_equal(q.written, 8 - (n < 8));
        assert_int_equal(q.again, q.written);
        for (uint32_t i = 0; i < q.len; i++)
            assert_int_equal(s2s_queue_at(&q, i)->id.entry, 13 + i + (i >= n));
        s2s_queue_fini(&q);
    }
}

/* Behind what was written to an earlier stream, in front of what never was. */
static void some_go_before_what_was_never_written(void **state)
{
    struct s2s_queue q = { 0 };
    struct s2s_sent next = sent(9);
    (void)state;
    push(&q, 1, 4);
    writes(&q, 1, 2);
    s2s_queue_rewind(&q, true);
    writes(&q, 1, 1);
    s2s_queue_push_next(&q, &next);
    assert_true(s2s_queue_has(&q, 7, 9));
    assert_false(s2s_queue_has(&q, 8, 9));
    writes(&q, 2, 2);
    writes(&q, 9, 9);
    writes(&q, 3, 4);
    s2s_queue_gone(&q, 0);
    assert_true(s2s_queue_at(&q, 0)->gone);
    s2s_queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_confirm_what_was_written),
        cmocka_unit_test(a_break_takes_nothing_out),
        cmocka_unit_test(one_is_cut_out),
        cmocka_unit_test(some_go_before_what_was_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
