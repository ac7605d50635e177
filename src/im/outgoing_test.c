/* Which pairs of domains have messages that wait, where the database does not answer at first. */
#include "archive/archive.h"
#include "im/outgoing.h"
#include "im/test_node.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct gate_ops gate;
static struct test_node t;
static unsigned found;

static void pair_found(const struct outgoing_pair *pair)
{
    assert_true(slice_is(pair->local, "localhost"));
    assert_true(slice_is(pair->remote, found % 2 == 0 ? "a.test" : "b.test"));
    found++;
}

static void keep(const struct account *sender, uint64_t id, const char *remote)
{
    struct store_batch *b = store_write(t.store, 1);
    archive_add(b, &(struct archive_message){ .at_us = id,
                                              .sender = sender->id,
                                              .sender_entry = id,
                                              .pending_out = id,
                                              .remote = slice_of(remote),
                                              .stanza = SLICE("<message/>") });
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
}

static void rename_table(const char *sql)
{
    char path[64];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static bool has_failed(void *find) { return ((const struct outgoing_find *)find)->pause_ms > 0; }
static bool has_ended(void *find) { return ((const struct outgoing_find *)find)->op == NULL; }
static bool are_found(void *count) { return found == *(const unsigned *)count; }

static int start(void **state)
{
    (void)state;
    found = 0;
    test_node_open(&t, &gate);
    struct account *alice = test_node_account(&t, "alice@localhost");
    keep(alice, 1, "bob@a.test");
    keep(alice, 2, "bob@a.test");
    keep(alice, 3, "b.test");
    account_unpin(alice);
    return 0;
}
static int stop(void **state)
{
    (void)state;
    test_node_close(&t);
    return 0;
}

static void test_pairs_are_found_when_the_database_answers_again(void **state)
{
    struct outgoing_find find = { 0 };
    (void)state;
    rename_table("ALTER TABLE message RENAME TO gone");
    outgoing_find(&find, t.w, pair_found);
    test_node_run(&t, has_failed, &find);
    assert_int_equal(found, 0);
    rename_table("ALTER TABLE gone RENAME TO message");
    test_node_run(&t, are_found, &(unsigned){ 2 });
    test_node_run(&t, has_ended, &find);
    assert_int_equal(find.pause_ms, 0);
    outgoing_find_stop(&find);
}

/* As another node ends while the first look is under way: what it left is seen, too. */
static void test_a_second_question_is_not_lost(void **state)
{
    struct outgoing_find find = { 0 };
    (void)state;
    outgoing_find(&find, t.w, pair_found);
    outgoing_find(&find, t.w, pair_found);
    assert_true(find.again);
    test_node_run(&t, are_found, &(unsigned){ 4 });
    assert_false(find.again);
    outgoing_find(&find, t.w, pair_found);
    outgoing_find_stop(&find); /* also while it is read */
    assert_null(find.op);
    test_node_tick(&t);
    assert_int_equal(found, 4);
}

static unsigned share_of(unsigned from, unsigned to, const char *resource, unsigned shares)
{
    char sender[64], receiver[64];
    snprintf(sender, sizeof sender, "a%u@one.test%s", from, resource);
    snprintf(receiver, sizeof receiver, "b%u@other.test%s", to, resource);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_CHAT, slice_of(sender), slice_of(receiver),
                                    SLICE("m"), SLICE(""));
    unsigned share = outgoing_share_of(st, shares);
    stanza_unref(&st);
    return share;
}

static void test_two_bare_addresses_have_one_share(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(share_of(i, 7, "", 16), share_of(i, 7, "/phone", 16));
    assert_int_equal(share_of(1, 2, "", 1), 0);
    assert_int_equal(outgoing_share_of(NULL, 16), 0);
}

/* Few users of each side have many pairs, which do not fall on a few shares. */
static void test_shares_are_alike(void **state)
{
    unsigned count[OUTGOING_SHARES_MAX] = { 0 };
    (void)state;
    for (unsigned from = 0; from < 100; from++)
        for (unsigned to = 0; to < 100; to++)
            count[share_of(from, to, "", OUTGOING_SHARES_MAX)]++;
    for (unsigned i = 0; i < OUTGOING_SHARES_MAX; i++)
        assert_in_range(count[i], 400, 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_bare_addresses_have_one_share),
        cmocka_unit_test(test_shares_are_alike),
        cmocka_unit_test_setup_teardown(test_pairs_are_found_when_the_database_answers_again, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_second_question_is_not_lost, start, stop),
    };
    return cmocka_run_group_tests_name("outgoing", tests, NULL, NULL);
}
