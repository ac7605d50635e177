/* What an account leaves behind when it is removed, while rows of the index are still late; and
 * readers of the log. */
#include "archive/archive.h"
#include "archive/reader.h"
#include "base/mem.h"
#include "component/component_shown.h"
#include "core/test_node.h"
#include "presence/caps.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct test_node t;

static void gate_down(struct stream *s, const struct down *d)
{
    fail_msg("%p %d", (void *)s, d->kind);
}
static const struct gate_ops gate = { .down = gate_down };

/* Readers of the log: each step takes one message. */

static struct store_stmt stmt_from = {
    .name = "test.from",
    .sql = "SELECT id, stanza FROM message WHERE" LOG_BEHIND("test") " ORDER BY id LIMIT $1",
    .params = "i",
    .cols = "it",
};
static struct store_stmt *const stmts[] = { &stmt_from, NULL };
static const struct store_migration none[] = { { 0 } };
static const struct store_schema schema = { .feature = "test", .migrations = none, .stmts = stmts };
static const struct feature follower_feature = { .name = "follower", .schema = &schema };
static const struct feature *const features[] = {
    &test_auth_feature, &account_feature,
    &session_feature,   &message_feature,
    &roster_feature,    &presence_feature,
    &caps_feature,      &component_shown_feature,
    &follower_feature,  NULL,
};

struct follower {
    struct log_reading log; /* first */
    bool leaves, ended;
    enum log_step how;
    char seen[16];
};

static uint32_t follow_step(struct log_reading *l, const struct store_batch *rows,
                            struct store_batch *b)
{
    struct follower *f = (struct follower *)l;
    (void)b;
    assert_in_range(store_row_count(rows, LOG_ROWS), 1, 2);
    snprintf(f->seen, sizeof f->seen, "%.*s", SLICE_ARG(store_text(rows, LOG_ROWS, 0, 1)));
    return f->leaves ? 0 : 1;
}

static void follow_done(struct log_reading *l, enum log_step how)
{
    struct follower *f = (struct follower *)l;
    assert_false(f->ended);
    f->how = how;
    f->ended = true;
}

static const struct log_reader follower = {
    .name = "test", .from = &stmt_from, .rows = 2, .step = follow_step, .done = follow_done
};

enum { HEAVY_BYTES = 1 << 20, HEAVY_COUNT = 20, HEAVY_READ_MAX = 9 << 20 };

static uint32_t heavy_step(struct log_reading *l, const struct store_batch *rows,
                           struct store_batch *b)
{
    (void)l;
    (void)b;
    assert_in_range(store_result_bytes(rows), 1, HEAVY_READ_MAX);
    return store_row_count(rows, LOG_ROWS);
}

static const struct log_reader heavy = {
    .name = "test", .from = &stmt_from, .rows = 64, .step = heavy_step, .done = follow_done
};

static bool has_ended(void *f) { return ((const struct follower *)f)->ended; }

static bool have_ended(void *two)
{
    const struct follower *f = two;
    return f[0].ended && f[1].ended;
}

/* Both at the same time. */
static void follow(struct follower f[2], bool leaves)
{
    for (unsigned i = 0; i < 2; i++) {
        f[i] = (struct follower){ .log = { .reader = &follower, .worker = t.w }, .leaves = leaves };
        log_read(&f[i].log);
    }
    test_node_run(&t, have_ended, f);
}

static int start(void **state)
{
    (void)state;
    test_features_use(features);
    test_node_open(&t, &gate);
    return 0;
}
static int stop(void **state)
{
    (void)state;
    test_node_close(&t);
    return 0;
}

static void keep(const struct account *sender, const struct account *rcpt, const char *stanza)
{
    static uint64_t id;
    struct store_batch *b = store_write(t.store, 1);
    id++;
    archive_add(b, &(struct archive_message){ .at_us = id,
                                              .sender = sender->id,
                                              .rcpt = rcpt->id,
                                              .sender_entry = sender == rcpt ? 0 : id,
                                              .rcpt_entry = id,
                                              .flags = ENTRY_OFFLINE,
                                              .stanza = slice_of(stanza) });
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
}

struct page {
    uint32_t rows;
    char first[16];
};

static void see(void *arg, enum store_result result, const struct store_batch *b)
{
    struct page *p = arg;
    assert_int_equal(result, STORE_OK);
    p->rows = store_row_count(b, 0);
    if (p->rows > 0)
        snprintf(p->first, sizeof p->first, "%.*s", SLICE_ARG(store_text(b, 0, 0, 2)));
}

static struct page offline(const struct account *a)
{
    struct page p = { 0 };
    struct store_batch *b = store_read(t.store, 1);
    store_read_late(b, a->id);
    STORE_ADD(b, &archive_page, STORE_ANY_ROWS, SV_I(a->id), SV_I(0), SV_I(10));
    assert_int_equal(store_run(b, see, &p), STORE_OK);
    return p;
}

static int count(const char *of)
{
    char text[128];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    snprintf(text, sizeof text, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(text, &db), SQLITE_OK);
    snprintf(text, sizeof text, "SELECT count(*) FROM %s", of);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int rows = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return rows;
}

static void remove_all_of(const struct account *a)
{
    struct store_batch *b = store_write(t.store, 1);
    archive_disown(b, a->id, a->jid);
    archive_remove(b, a->id);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
}

/* The message belongs to its addressee, too, whose row of the index nobody has written yet. */
static void test_messages_to_others_stay(void **state)
{
    (void)state;
    struct account *x = test_node_account(&t, "x1@localhost");
    struct account *y = test_node_account(&t, "y1@localhost");
    keep(x, y, "to y");
    keep(y, y, "the newest");
    remove_all_of(x);
    struct page p = offline(y);
    assert_int_equal(p.rows, 2);
    assert_string_equal(p.first, "to y");
}

static void test_what_nobody_has_goes(void **state)
{
    (void)state;
    struct account *x = test_node_account(&t, "x2@localhost");
    struct account *y = test_node_account(&t, "y2@localhost");
    struct account *z = test_node_account(&t, "z2@localhost");
    keep(x, y, "to y2");
    keep(x, x, "to x");
    keep(z, z, "the newest");
    remove_all_of(x);
    remove_all_of(y);
    assert_int_equal(offline(x).rows, 0);
    assert_int_equal(offline(y).rows, 0);
    assert_int_equal(offline(z).rows, 1);
    assert_int_equal(count("message WHERE stanza IN ('to x', 'to y2')"), 0);
    assert_int_equal(count("entry WHERE msg NOT IN (SELECT id FROM message)"), 0);
}

/* Of two that read the same, one takes a step and the other learns that it was taken. */
static void test_a_message_is_followed_once(void **state)
{
    (void)state;
    struct follower f[2];
    struct account *x = test_node_account(&t, "x3@localhost");
    do
        follow(f, false); /* what the tests above have left */
    while (f[0].how != LOG_CURRENT || f[1].how != LOG_CURRENT);
    keep(x, x, "one");
    keep(x, x, "two");
    follow(f, true);
    assert_int_equal(f[0].how, LOG_LEFT);
    assert_string_equal(f[0].seen, "one");
    assert_true(f[0].log.position < f[0].log.horizon);
    follow(f, false);
    assert_int_equal(f[0].how + f[1].how, LOG_STEPPED + LOG_AGAIN);
    assert_string_equal(f[1].seen, "one");
    follow(f, false);
    assert_string_equal(f[0].seen, "two");
    follow(f, false);
    assert_int_equal(f[0].how, LOG_CURRENT);
    assert_true(f[0].log.position == f[0].log.horizon);
}

/* However long they are, a read in the line of the short ones is short. */
static void test_long_messages_are_read_in_parts(void **state)
{
    (void)state;
    struct follower f = { .log = { .reader = &heavy, .worker = t.w } };
    const struct account *x = test_node_account(&t, "x4@localhost");
    char *text = mem_alloc(HEAVY_BYTES);
    memset(text, 'x', HEAVY_BYTES);
    text[HEAVY_BYTES - 1] = '\0';
    for (unsigned i = 0; i < HEAVY_COUNT; i++)
        keep(x, x, text);
    mem_free(&text);
    for (unsigned i = 0; i <= HEAVY_COUNT && (i == 0 || f.how != LOG_CURRENT); i++) {
        f.ended = false;
        log_read(&f.log);
        test_node_run(&t, has_ended, &f);
        assert_true(f.how == LOG_STEPPED || f.how == LOG_CURRENT);
    }
    assert_int_equal(f.how, LOG_CURRENT);
    assert_true(f.log.position == f.log.horizon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_to_others_stay),
        cmocka_unit_test(test_what_nobody_has_goes),
        cmocka_unit_test(test_a_message_is_followed_once),
        cmocka_unit_test(test_long_messages_are_read_in_parts),
    };
    return cmocka_run_group_tests_name("account/archive", tests, start, stop);
}
