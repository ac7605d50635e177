#include "archive/size.h"
#include "core/test_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct test_node t;
static struct account *a;

static void gate_down(struct stream *s, const struct down *d)
{
    fail_msg("%p %d", (void *)s, d->kind);
}
static const struct gate_ops gate = { .down = gate_down };

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

static int fresh(void **state)
{
    static unsigned used;
    char jid[32];
    (void)state;
    snprintf(jid, sizeof jid, "u%u@localhost", used++);
    a = test_node_account(&t, jid);
    return 0;
}

static void test_ids_rise_strictly(void **state)
{
    (void)state;
    uint64_t now = loop_wall_us(t.w->loop), last = 0;
    for (unsigned i = 0; i < 1000; i++) { /* all in one tick: the clock stands still */
        uint64_t id = mailbox_mint(a);
        assert_true(id > last);
        assert_true(id >= now);
        last = id;
    }
    assert_true(last <= now + 1000);
}

static void test_ids_rise_when_the_clock_steps_back(void **state)
{
    (void)state;
    a->mailbox.last_id = loop_wall_us(t.w->loop) + 3600ull * 1000000;
    uint64_t last = a->mailbox.last_id;
    assert_int_equal(mailbox_mint(a), last + 1);
    assert_int_equal(mailbox_mint(a), last + 2);
}

static bool is_reserved(void *arg)
{
    (void)arg;
    return !atomic_load(&t.node->ids_reserving);
}

/* None is above what is reserved on disk, none below what an earlier run had reserved. */
static void test_ids_keep_between_the_reservations(void **state)
{
    (void)state;
    (void)mailbox_mint(a);
    test_node_run(&t, is_reserved, NULL);
    uint64_t now = loop_wall_us(t.w->loop), reserved = atomic_load(&t.node->ids_reserved_us);
    assert_true(reserved > now + 5 * 1000000);
    atomic_store(&t.node->ids_reserved_us, now - 1000000);
    atomic_store(&t.node->ids_reserving, true); /* the write is under way */
    a->mailbox.last_id = 0;
    assert_int_equal(mailbox_mint(a), now - 1000000);
    assert_int_equal(mailbox_mint(a), now - 1000000 + 1);
    atomic_store(&t.node->ids_reserved_us, reserved);
    atomic_store(&t.node->ids_reserving, false);
    t.node->ids_floor_us = now + 7777777;
    assert_int_equal(mailbox_mint(a), now + 7777777);
    t.node->ids_floor_us = 0;
}

static void settle_all(const uint64_t *ids, size_t count, const uint64_t *cursors)
{
    for (size_t i = 0; i < count; i++) {
        mailbox_settle(a, ids[i]);
        assert_int_equal(a->mailbox.cursor, cursors[i]);
        assert_int_equal(mailbox_state(a, ids[i]), ENTRY_SETTLED);
    }
}

/* The cursor is the low-water mark, in whatever order entries are settled. */
static void test_cursor(void **state)
{
    static const uint64_t orders[][4] = {
        { 1, 2, 3, 4 }, { 4, 3, 2, 1 }, { 2, 1, 4, 3 }, { 1, 4, 2, 3 }
    };
    static const uint64_t cursors[][4] = {
        { 1, 2, 3, 4 }, { 0, 0, 0, 4 }, { 0, 2, 2, 4 }, { 1, 1, 2, 4 }
    };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint64_t base = 100 * i;
        uint64_t ids[4], want[4];
        a->mailbox.cursor = base;
        for (unsigned k = 0; k < 4; k++) {
            mailbox_open(a, base + k + 1, ENTRY_OPEN);
            ids[k] = base + orders[i][k];
            want[k] = base + cursors[i][k];
        }
        assert_int_equal(a->mailbox.open, 4);
        settle_all(ids, 4, want);
        assert_int_equal(a->mailbox.open, 0);
        assert_false(mailbox_has_open(a));
    }
}

static void test_states(void **state)
{
    (void)state;
    mailbox_open(a, 10, ENTRY_OPEN);
    mailbox_open(a, 20, ENTRY_TAKEN);
    assert_int_equal(mailbox_state(a, 10), ENTRY_OPEN);
    assert_int_equal(mailbox_state(a, 20), ENTRY_TAKEN);
    assert_int_equal(mailbox_state(a, 15), ENTRY_SETTLED);
    assert_true(mailbox_has_open(a));
    mailbox_set(a, 10, ENTRY_TAKEN);
    assert_false(mailbox_has_open(a));
    mailbox_settle(a, 20);
    mailbox_set(a, 20, ENTRY_OPEN); /* it stays settled */
    assert_int_equal(mailbox_state(a, 20), ENTRY_SETTLED);
    mailbox_settle(a, 20);
    mailbox_settle(a, 15);
    assert_int_equal(a->mailbox.open, 1);
    assert_int_equal(a->mailbox.cursor, 0);
    assert_int_equal(mailbox_newest(a), 20);
    mailbox_settle(a, 10);
    assert_int_equal(a->mailbox.cursor, 20);
    assert_int_equal(mailbox_newest(a), 0);
}

/* The ring grows while its head is anywhere. */
static void test_growth(void **state)
{
    uint64_t opened = 0, settled = 0;
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 7; i++)
            mailbox_open(a, ++opened, ENTRY_OPEN);
        for (unsigned i = 0; i < 3; i++) {
            mailbox_settle(a, ++settled);
            assert_int_equal(a->mailbox.cursor, settled);
        }
        assert_int_equal(a->mailbox.open, opened - settled);
        assert_int_equal(mailbox_state(a, settled), ENTRY_SETTLED);
        assert_int_equal(mailbox_state(a, settled + 1), ENTRY_OPEN);
        assert_int_equal(mailbox_state(a, opened), ENTRY_OPEN);
    }
    while (settled < opened)
        mailbox_settle(a, ++settled);
    assert_int_equal(a->mailbox.cursor, opened);
    assert_null(a->mailbox.ring); /* given back after a burst */
    mailbox_open(a, ++opened, ENTRY_OPEN);
    assert_int_equal(mailbox_state(a, opened), ENTRY_OPEN);
}

static void test_limit(void **state)
{
    struct why why;
    (void)state;
    struct setting *max = setting_find(SLICE("mailbox.unsettled-max"));
    assert_int_equal(setting_set(max, SLICE("3"), &why), OK);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_false(mailbox_full(a));
        mailbox_open(a, id, ENTRY_OPEN);
    }
    assert_true(mailbox_full(a));
    mailbox_settle(a, 2);
    assert_false(mailbox_full(a));
    assert_int_equal(setting_set(max, SLICE("10000"), &why), OK);
}

static bool is_clean(void *arg) { return mailbox_clean(arg); }

static void look(void *arg, enum store_result result, const struct store_batch *b)
{
    assert_int_equal(result, STORE_OK);
    mailbox_loaded(arg, b, 0);
}

/* It is written behind; what an account is loaded with begins there. */
/* Ids of what the owner sent need no settling: a load does not look at them again. */
static void test_the_cursor_passes_what_was_sent(void **state)
{
    (void)state;
    uint64_t received = mailbox_mint(a);
    mailbox_open(a, received, ENTRY_TAKEN);
    uint64_t sent = mailbox_mint(a);
    assert_true(a->mailbox.cursor < received);
    mailbox_settle(a, received);
    assert_int_equal(a->mailbox.cursor, sent);
}

static void test_the_cursor_is_stored(void **state)
{
    struct account again = { .worker = t.w, .id = a->id };
    (void)state;
    mailbox_open(a, 5, ENTRY_OPEN);
    mailbox_open(a, 6, ENTRY_OPEN);
    assert_true(mailbox_clean(a));
    mailbox_settle(a, 5);
    assert_false(mailbox_clean(a));
    test_node_run(&t, is_clean, a);
    struct store_batch *b = store_read(t.store, account_lane(a));
    mailbox_load(&again, b);
    assert_int_equal(store_run(b, look, &again), STORE_OK);
    assert_int_equal(again.mailbox.cursor, 5);
    assert_int_equal(again.mailbox.last_id, 5);
    assert_true(mailbox_clean(&again));
    mailbox_fini(&again);
}

/* What the account would be after a crash. */
static void load_again(struct account *again)
{
    *again = (struct account){ .worker = t.w, .id = a->id };
    struct store_batch *b = store_read(t.store, account_lane(a));
    mailbox_load(again, b);
    assert_int_equal(store_run(b, look, again), STORE_OK);
}

/* Messages of the account that must reach it, as they are on disk. */
static void keep_messages(uint64_t first, uint64_t count)
{
    struct store_batch *b = store_write(t.store, account_lane(a));
    for (uint64_t id = first; id < first + count; id++) {
        archive_add(b, &(struct archive_message){ .at_us = id,
                                                  .rcpt = a->id,
                                                  .rcpt_entry = id,
                                                  .flags = ENTRY_OFFLINE,
                                                  .stanza = SLICE("<message/>") });
        mailbox_open(a, id, ENTRY_TAKEN);
    }
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
}

/* One open entry holds the cursor back; what is settled behind it stays so. */
static void test_what_is_settled_above_the_cursor_is_stored(void **state)
{
    struct account again;
    (void)state;
    keep_messages(1, 9);
    static const uint64_t settled[] = { 1, 3, 4, 5, 8, 9 };
    for (size_t i = 0; i < 6; i++)
        mailbox_settle(a, settled[i]);
    assert_false(mailbox_clean(a));
    test_node_run(&t, is_clean, a);
    load_again(&again);
    assert_int_equal(again.mailbox.cursor, 1);
    assert_int_equal(again.mailbox.open, 3);
    static const uint64_t open[] = { 2, 6, 7 };
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(mailbox_state(&again, open[i]), ENTRY_OPEN);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(mailbox_state(&again, settled[i]), ENTRY_SETTLED);
    assert_true(mailbox_clean(&again));
    mailbox_settle(&again, 2);
    assert_int_equal(again.mailbox.cursor, 5);
    mailbox_fini(&again);
    for (size_t i = 0; i < 3; i++)
        mailbox_settle(a, open[i]);
    test_node_run(&t, is_clean, a);
    load_again(&again);
    assert_int_equal(again.mailbox.cursor, 9);
    assert_int_equal(again.mailbox.open, 0);
    assert_null(again.mailbox.ring);
    mailbox_fini(&again);
}

static uint64_t weighed(uint64_t len) { return len + ARCHIVE_ROW_BYTES; }

/* Strangers have their part of the bytes, too, whether they are known before the size or behind. */
static void test_limit_in_bytes(void **state)
{
    enum { MOST = 100000, LARGE = 10000 };
    struct why why;
    (void)state;
    struct setting *max = setting_find(SLICE("mailbox.unsettled-bytes"));
    struct setting *share = setting_find(SLICE("mailbox.stranger-share"));
    assert_int_equal(setting_set(max, SLICE("100000B"), &why), OK);
    assert_int_equal(setting_set(share, SLICE("20"), &why), OK);
    for (uint64_t id = 1; id <= 2; id++) {
        assert_false(mailbox_full_of_strangers(a));
        mailbox_open(a, id, ENTRY_OPEN);
        if (id == 1)
            mailbox_strange(a, id);
        mailbox_weigh(a, id, LARGE);
        mailbox_strange(a, id);
    }
    assert_int_equal(a->mailbox.stranger_bytes, 2 * weighed(LARGE));
    assert_true(mailbox_full_of_strangers(a) && !mailbox_full(a));
    for (uint64_t id = 3; id <= 10; id++) {
        assert_false(mailbox_full(a));
        mailbox_open(a, id, ENTRY_OPEN);
        mailbox_weigh(a, id, LARGE);
    }
    assert_true(mailbox_full(a));
    for (uint64_t id = 10; id >= 1; id--)
        mailbox_settle(a, id);
    assert_int_equal(a->mailbox.open_bytes, 0);
    assert_int_equal(a->mailbox.stranger_bytes, 0);
    assert_false(mailbox_full(a) || mailbox_full_of_strangers(a));
    setting_reset(max);
    setting_reset(share);
}

/* They weigh the same again when the account is loaded: what was settled nothing. */
static void test_bytes_of_a_loaded_mailbox(void **state)
{
    static const slice stanza = SLICE_INIT("<message><body>\xc3\xa4</body></message>");
    struct account again;
    (void)state;
    keep_messages(1, 3);
    struct store_batch *b = store_write(t.store, account_lane(a));
    archive_add(
        b,
        &(struct archive_message){
            .at_us = 4, .rcpt = a->id, .rcpt_entry = 4, .flags = ENTRY_OFFLINE, .stanza = stanza });
    mailbox_open(a, 4, ENTRY_OPEN);
    mailbox_settle(a, 2);
    mailbox_save(a, b);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    load_again(&again);
    assert_int_equal(again.mailbox.open, 3);
    assert_int_equal(again.mailbox.open_bytes,
                     2 * weighed(sizeof "<message/>" - 1) + weighed(stanza.len));
    mailbox_fini(&again);
    timer_cancel(&a->mailbox.timer);
}

/* What its owner would call messages is counted the same in the order in which it is settled, and
 * when the account is loaded anew at any point of that. */
static void test_messages_are_counted(void **state)
{
    static const unsigned more[] = { 0, MESSAGE_QUIET, ENTRY_HIDDEN, ENTRY_HIDDEN | MESSAGE_QUIET };
    static const uint64_t order[] = { 6, 3, 1, 8, 2, 7, 4, 5 };
    uint32_t expected = 4;
    (void)state;
    struct store_batch *b = store_write(t.store, account_lane(a));
    for (uint64_t id = 1; id <= 8; id++) {
        unsigned flags = ENTRY_OFFLINE | more[id % 4];
        archive_add(b, &(struct archive_message){ .at_us = id,
                                                  .rcpt = a->id,
                                                  .rcpt_entry = id,
                                                  .flags = flags,
                                                  .stanza = SLICE("<message/>") });
        mailbox_open(a, id, id % 3 == 0 ? ENTRY_TAKEN : ENTRY_OPEN);
        if ((flags & ENTRY_HIDDEN) != 0)
            mailbox_hide(a, id);
        for (int times = 0; times < 2 && (flags & MESSAGE_QUIET) != 0; times++)
            mailbox_quiet(a, id);
    }
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct account again;
        assert_int_equal(mailbox_messages(a), expected);
        load_again(&again);
        assert_int_equal(mailbox_messages(&again), expected);
        assert_int_equal(again.mailbox.open, 8 - i);
        mailbox_fini(&again);
        mailbox_settle(a, order[i]);
        mailbox_settle(a, order[i]);
        expected -= order[i] % 2 == 0;
        b = store_write(t.store, account_lane(a));
        mailbox_save(a, b);
        assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    }
    assert_int_equal(mailbox_messages(a), 0);
    assert_int_equal(a->mailbox.quiet, 0);
    mailbox_quiet(a, 1); /* of what is gone: nothing */
    assert_int_equal(a->mailbox.quiet, 0);
    timer_cancel(&a->mailbox.timer);
}

/* The record is bounded: its oldest ranges are kept. */
static void test_many_ranges(void **state)
{
    enum { RANGES = SETTLED_RANGES_MAX + 10 };
    struct account again;
    (void)state;
    for (uint64_t at = 0; at < 2 * RANGES; at += 1000)
        keep_messages(at + 1, 1000);
    for (uint64_t id = 2; id <= 2 * RANGES; id += 2)
        mailbox_settle(a, id);
    test_node_run(&t, is_clean, a);
    load_again(&again);
    assert_int_equal(mailbox_state(&again, 2 * SETTLED_RANGES_MAX), ENTRY_SETTLED);
    assert_int_equal(mailbox_state(&again, 2 * SETTLED_RANGES_MAX + 2), ENTRY_OPEN);
    mailbox_fini(&again);
}

/* What is no range settles nothing, nor does half a one. */
static void test_a_damaged_record(void **state)
{
    static const char *const records[] = {
        "", "short", "\377\377\377\377\377\377\377\377\0\0\0\0\0\0\0\0",
        "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0" /* one byte is missing */
    };
    static const size_t lengths[] = { 0, 5, 16, 15 };
    struct account again;
    (void)state;
    keep_messages(1, 2);
    for (size_t i = 0; i < 4; i++) {
        struct store_batch *b = store_write(t.store, account_lane(a));
        STORE_ADD(b, &archive_cursor_put, 1, SV_I(a->id), SV_I(0),
                  SV_B(((slice){ records[i], lengths[i] })));
        assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
        load_again(&again);
        assert_int_equal(again.mailbox.open, 2);
        mailbox_fini(&again);
    }
}

static void test_the_next_open(void **state)
{
    (void)state;
    assert_int_equal(mailbox_next_open(a, 0), 0);
    mailbox_open(a, 10, ENTRY_OPEN);
    mailbox_open(a, 20, ENTRY_TAKEN);
    mailbox_open(a, 30, ENTRY_OPEN);
    assert_int_equal(mailbox_next_open(a, 0), 10);
    assert_int_equal(mailbox_next_open(a, 9), 10);
    assert_int_equal(mailbox_next_open(a, 10), 30);
    assert_int_equal(mailbox_next_open(a, 30), 0);
    mailbox_settle(a, 30);
    assert_int_equal(mailbox_next_open(a, 10), 0);
}

static void count(void *arg, enum store_result result, const struct store_batch *b)
{
    assert_int_equal(result, STORE_OK);
    *(uint32_t *)arg = store_row_count(b, 0);
}

static uint32_t stored_entries(void)
{
    uint32_t rows = 0;
    struct store_batch *b = store_read(t.store, account_lane(a));
    store_read_late(b, a->id);
    STORE_ADD(b, &archive_page, STORE_ANY_ROWS, SV_I(a->id), SV_I(0), SV_I(100));
    assert_int_equal(store_run(b, count, &rows), STORE_OK);
    return rows;
}

/* They leave with the cursor, although they were late rows; others stay. */
static void test_hidden_entries(void **state)
{
    (void)state;
    struct store_batch *b = store_write(t.store, account_lane(a));
    for (uint64_t id = 10; id <= 40; id += 10) {
        archive_add(b, &(struct archive_message){
                           .at_us = id,
                           .rcpt = a->id,
                           .rcpt_entry = id,
                           .flags = id % 20 == 0 ? ENTRY_OFFLINE | ENTRY_HIDDEN : ENTRY_OFFLINE,
                           .stanza = SLICE("<message/>") });
        mailbox_open(a, id, ENTRY_OPEN);
        if (id % 20 == 0)
            mailbox_hide(a, id);
    }
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    assert_true(mailbox_hides(a, 20) && !mailbox_hides(a, 10) && !mailbox_hides(a, 15));

    struct account again;
    load_again(&again);
    assert_true(mailbox_hides(&again, 40) && !mailbox_hides(&again, 30));
    mailbox_fini(&again);

    for (uint64_t id = 10; id <= 30; id += 10)
        mailbox_settle(a, id);
    b = store_write(t.store, account_lane(a));
    mailbox_save(a, b);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    assert_int_equal(stored_entries(), 3); /* 10, 30, and 40 that waits */
    mailbox_settle(a, 40);
    b = store_write(t.store, account_lane(a));
    mailbox_save(a, b);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    assert_int_equal(stored_entries(), 2);
    assert_false(a->mailbox.hidden);
    timer_cancel(&a->mailbox.timer);
}

/* An open entry holds the cursor back, but takes no memory for those behind it: they are kept as
 * one range. */
static void test_settled_ones_behind_an_open_one(void **state)
{
    (void)state;
    mailbox_open(a, 1, ENTRY_OPEN);
    for (uint64_t id = 2; id <= 100000; id++) {
        mailbox_open(a, id, ENTRY_TAKEN);
        if (id != 50000)
            mailbox_settle(a, id);
    }
    assert_true(a->mailbox.cap <= 1024);
    assert_int_equal(a->mailbox.open, 2);
    assert_int_equal(a->mailbox.cursor, 0);
    assert_int_equal(mailbox_state(a, 50000), ENTRY_TAKEN);
    assert_int_equal(mailbox_state(a, 49999), ENTRY_SETTLED);
    assert_int_equal(mailbox_next_open(a, 0), 1);
    mailbox_settle(a, 1);
    assert_int_equal(a->mailbox.cursor, 49999);
    mailbox_settle(a, 50000);
    assert_int_equal(a->mailbox.cursor, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ids_rise_strictly, fresh),
        cmocka_unit_test_setup(test_ids_rise_when_the_clock_steps_back, fresh),
        cmocka_unit_test_setup(test_ids_keep_between_the_reservations, fresh),
        cmocka_unit_test_setup(test_cursor, fresh),
        cmocka_unit_test_setup(test_states, fresh),
        cmocka_unit_test_setup(test_growth, fresh),
        cmocka_unit_test_setup(test_limit, fresh),
        cmocka_unit_test_setup(test_limit_in_bytes, fresh),
        cmocka_unit_test_setup(test_bytes_of_a_loaded_mailbox, fresh),
        cmocka_unit_test_setup(test_the_cursor_passes_what_was_sent, fresh),
        cmocka_unit_test_setup(test_the_cursor_is_stored, fresh),
        cmocka_unit_test_setup(test_what_is_settled_above_the_cursor_is_stored, fresh),
        cmocka_unit_test_setup(test_messages_are_counted, fresh),
        cmocka_unit_test_setup(test_many_ranges, fresh),
        cmocka_unit_test_setup(test_a_damaged_record, fresh),
        cmocka_unit_test_setup(test_the_next_open, fresh),
        cmocka_unit_test_setup(test_hidden_entries, fresh),
        cmocka_unit_test_setup(test_settled_ones_behind_an_open_one, fresh),
    };
    return cmocka_run_group_tests_name("talk/mailbox", tests, start, stop);
}
