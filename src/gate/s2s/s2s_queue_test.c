#include "base/ensure.h"
#include "gate/s2s/s2s_queue.h"
#include "xmpp/stanza.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void push(struct s2s_queue *q, uint64_t entry)
{
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_CHAT, SLICE("a@one.test"),
                                    SLICE("b@other.test"), (slice){ 0 }, (slice){ 0 });
    s2s_queue_push(q, &(struct s2s_sent){ .st = st, .id = { .sender = 7, .entry = entry } });
}

static void write_all(struct s2s_queue *q, uint64_t first)
{
    const struct s2s_sent *s;
    while ((s = s2s_queue_write(q)) != NULL)
        assert_int_equal(s->id.entry, first++);
}

static void take(struct s2s_queue *q, uint64_t entry, bool confirmed)
{
    struct s2s_sent s = s2s_queue_take(q, confirmed);
    assert_int_equal(s.id.entry, entry);
    stanza_unref(&s.st);
}

static void counts_confirm_what_was_written(void **state)
{
    struct s2s_queue q = { .base = UINT32_MAX - 1 };
    uint32_t count;
    (void)state;
    for (uint64_t i = 1; i <= 3; i++)
        push(&q, i);
    assert_int_equal(s2s_queue_confirms(&q, q.base + 1, &count), E_PROTO); /* not written yet */
    write_all(&q, 1);
    assert_int_equal(s2s_queue_count(&q), 1); /* wrapped */
    assert_int_equal(s2s_queue_confirms(&q, UINT32_MAX - 2, &count), E_PROTO);
    assert_int_equal(s2s_queue_confirms(&q, 2, &count), E_PROTO);
    assert_int_equal(s2s_queue_confirms(&q, UINT32_MAX - 1, &count), OK);
    assert_int_equal(count, 0);
    assert_int_equal(s2s_queue_confirms(&q, 0, &count), OK);
    assert_int_equal(count, 2);
    take(&q, 1, true);
    take(&q, 2, true);
    assert_int_equal(s2s_queue_confirms(&q, UINT32_MAX, &count), E_PROTO); /* it goes back */
    assert_int_equal(s2s_queue_confirms(&q, 1, &count), OK);
    assert_int_equal(count, 1);
    assert_true(s2s_queue_has(&q, 7, 3));
    assert_false(s2s_queue_has(&q, 7, 2));
    assert_false(s2s_queue_has(&q, 8, 3));
    s2s_queue_fini(&q);
}

static void what_is_not_written_yet_can_be_taken_out(void **state)
{
    struct s2s_queue q = { 0 };
    (void)state;
    for (uint64_t i = 1; i <= 4; i++)
        push(&q, i);
    assert_int_equal(s2s_queue_write(&q)->id.entry, 1);
    uint64_t bytes = q.bytes;
    struct s2s_sent s = s2s_queue_cut(&q);
    assert_int_equal(s.id.entry, 2);
    assert_int_equal(q.bytes, bytes - s.st->bytes);
    stanza_unref(&s.st);
    assert_int_equal(s2s_queue_count(&q), 1);
    write_all(&q, 3);
    for (uint64_t i = 1; i <= 4; i++)
        if (i != 2)
            take(&q, i, true);
    assert_int_equal(q.bytes, 0);
    s2s_queue_fini(&q);
}

static void the_next_stream_gets_the_rest_in_order(void **state)
{
    struct s2s_queue q = { 0 };
    uint32_t count;
    (void)state;
    for (uint64_t i = 1; i <= 40; i++)
        push(&q, i);
    write_all(&q, 1);
    take(&q, 1, true);
    s2s_queue_rewind(&q, false);
    assert_int_equal(s2s_queue_count(&q), 1);
    push(&q, 41);
    write_all(&q, 2);
    assert_int_equal(s2s_queue_count(&q), 41);
    s2s_queue_rewind(&q, true);
    write_all(&q, 2);
    assert_int_equal(s2s_queue_count(&q), 40);
    assert_int_equal(s2s_queue_confirms(&q, 40, &count), OK);
    for (uint64_t i = 2; i <= 41; i++)
        take(&q, i, true);
    assert_int_equal(q.bytes, 0);
    s2s_queue_rewind(&q, false);
    assert_null(q.ring);
    s2s_queue_fini(&q);
}

static void what_is_given_up_does_not_count(void **state)
{
    struct s2s_queue q = { 0 };
    (void)state;
    push(&q, 1);
    push(&q, 2);
    take(&q, 1, false);
    assert_int_equal(q.base, 0);
    write_all(&q, 2);
    assert_int_equal(s2s_queue_count(&q), 1);
    s2s_queue_fini(&q);
    assert_int_equal(q.len, 0);
}

static void some_go_before_what_is_not_written(void **state)
{
    struct s2s_queue q = { 0 };
    (void)state;
    assert_null(s2s_queue_first(&q));
    for (uint64_t i = 1; i <= 16; i += i == 1 ? 2 : 1)
        push(&q, i);
    assert_int_equal(s2s_queue_write(&q)->id.entry, 1);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_CHAT, SLICE("a@one.test"),
                                    SLICE("b@other.test"), (slice){ 0 }, (slice){ 0 });
    s2s_queue_push_next(&q, &(struct s2s_sent){ .st = st, .id = { .sender = 7, .entry = 2 } });
    push(&q, 17);
    write_all(&q, 2);
    assert_int_equal(s2s_queue_count(&q), 17);
    assert_int_equal(s2s_queue_first(&q)->id.entry, 1);
    s2s_queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_confirm_what_was_written),
        cmocka_unit_test(what_is_not_written_yet_can_be_taken_out),
        cmocka_unit_test(the_next_stream_gets_the_rest_in_order),
        cmocka_unit_test(what_is_given_up_does_not_count),
        cmocka_unit_test(some_go_before_what_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
