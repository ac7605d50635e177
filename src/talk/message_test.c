#include "account/account.h"
#include "account/account_actor.h"
#include "archive/archive.h"
#include "base/alarm.h"
#include "core/core.h"
#include "core/test_node.h"
#include "talk/message.h"
#include "talk/offline.h"
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

struct stream {
    uint64_t id;
    unsigned errors, old_words, new_words;
};

static struct test_node t;

static void gate_down(struct stream *s, const struct down *d)
{
    if (d->kind != DOWN_STANZA)
        return;
    s->errors += d->st->type == TYPE_ERROR;
    s->old_words += d->st->kind == STANZA_MESSAGE && stanza_has(d->st, KNOWN(BODY));
    s->new_words += d->st->kind == STANZA_MESSAGE && !stanza_has(d->st, KNOWN(BODY));
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
    assert_true(list_linked(&a->actor.idle));
    a->actor.idle_since_us = 0;
    account_receive(t.w, message("u1@localhost", "m1"), ORIGIN_NONE, 0, 0);
    assert_int_equal(a->actor.pins, 1);
    core_of(t.w)->accounts.sweep.fn(&core_of(t.w)->accounts.sweep, t.w->loop);
    assert_ptr_equal(account_find(t.w, SLICE("u1@localhost")), a);
    test_node_run(&t, test_node_is_idle, t.store);
}

/* A repeat counts as handled when the first copy is committed, not before (architecture §6). */
static void test_repeats_wait_for_the_commit(void **state)
{
    (void)state;
    test_node_account(&t, "u2@localhost");
    struct origin o = { 1, 1 };
    assert_int_equal(account_receive(t.w, message("u2@localhost", "m1"), o, 0, 0), ROUTE_PENDING);
    assert_int_equal(account_receive(t.w, message("u2@localhost", "m1"), o, 0, 0), ROUTE_PENDING);
    test_node_run(&t, test_node_is_idle, t.store);
}

/* A store that does not answer in time: another program holds the database, and so much waits for
 * it that a message is not tried before its deadline. */
static sqlite3 *stall(void)
{
    char path[64];
    sqlite3 *other;
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (unsigned i = 0; i < 1000; i++) {
        struct store_batch *b = store_write(t.store, 1);
        STORE_ADD(b, &archive_cursor_put, 1, SV_I(1000000), SV_I(i), SV_NULL);
        store_submit(b, t.w->loop, 60000, NULL, NULL);
    }
    return other;
}

static void go_on(sqlite3 *other, const char *sql)
{
    assert_int_equal(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    test_node_run(&t, test_node_is_idle, t.store);
}

static bool is_late(void *unused)
{
    (void)unused;
    return atomic_load(&store_slow_alarm.active);
}

struct sender {
    struct stream stream;
    struct session *session;
    uint32_t sent;
};

static struct sender sender;

static enum routed send(struct account *to, const char *id)
{
    char jid[32];
    struct origin o = { sender.session->id, ++sender.sent };
    snprintf(jid, sizeof jid, "%.*s", SLICE_ARG(to->jid));
    return account_receive(t.w, message(jid, id), o, 0, 0);
}

/* Its sender hears nothing until it is committed, and no error at all; a second copy is known for
 * what it is, also after a restart. */
static void test_committed_too_late(void **state)
{
    struct account *a = test_node_account(&t, "late1@localhost");
    (void)state;
    sqlite3 *other = stall();
    sender.stream.errors = 0;
    assert_int_equal(send(a, "m1"), ROUTE_PENDING);
    test_node_run(&t, is_late, NULL);
    assert_int_equal(a->mailbox.open, 1);
    assert_int_equal(a->storing, 1);
    assert_int_equal(sender.stream.errors, 0);
    go_on(other, "COMMIT");
    assert_int_equal(a->storing, 0);
    assert_int_equal(a->mailbox.open, 1);
    assert_int_equal(a->actor.pins, 1); /* of the test */
    assert_int_equal(send(a, "m1"), ROUTE_PENDING);
    test_node_run(&t, test_node_is_idle, t.store);
    assert_int_equal(a->mailbox.open, 1);
    assert_int_equal(sender.stream.errors, 0);
    account_unpin(a);
    actor_unload(&a->actor);
    assert_null(account_find(t.w, SLICE("late1@localhost")));
    struct test_node_account again = { 0 };
    account_with(t.w, SLICE("late1@localhost"), test_node_found, &again);
    test_node_run(&t, test_node_is_found, &again);
    assert_int_equal(again.account->mailbox.open, 1);
    assert_int_equal(send(again.account, "m1"), ROUTE_PENDING);
    test_node_run(&t, test_node_is_idle, t.store);
    assert_int_equal(again.account->mailbox.open, 1);
    assert_int_equal(sender.stream.errors, 0);
}

/* The first copy is not committed after all: then a second one is stored as new. A copy that came
 * in between is not acknowledged as if it had been stored. */
static void test_never_committed(void **state)
{
    struct account *a = test_node_account(&t, "late2@localhost");
    (void)state;
    sqlite3 *other = stall();
    sender.stream.errors = 0;
    assert_int_equal(send(a, "m1"), ROUTE_PENDING);
    test_node_run(&t, is_late, NULL);
    assert_int_equal(send(a, "m1"), ROUTE_PENDING);
    assert_int_equal(sender.stream.errors, 0);
    go_on(other, "CREATE TRIGGER no BEFORE INSERT ON message WHEN NEW.origin <> 0"
                 " BEGIN SELECT RAISE(ABORT, 'no'); END; COMMIT");
    assert_int_equal(sender.stream.errors, 2);
    assert_int_equal(a->mailbox.open, 0);
    char path[64];
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    go_on(other, "DROP TRIGGER no");
    assert_int_equal(send(a, "m1"), ROUTE_PENDING);
    test_node_run(&t, test_node_is_idle, t.store);
    assert_int_equal(a->mailbox.open, 1);
    assert_int_equal(sender.stream.errors, 2);
}

/* However many come while the store stands still, each is stored or refused, and counted once. */
static void test_more_than_the_store_takes(void **state)
{
    enum { MANY = 70000 }; /* more than 16 bits count */
    struct account *a = test_node_account(&t, "busy@localhost");
    struct why why;
    unsigned pending = 0, refused = 0;
    char id[16];
    (void)state;
    assert_int_equal(setting_set(&mailbox_unsettled_max, SLICE("none"), &why), OK);
    sender.stream.errors = 0;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "b%u", i);
        enum routed r = account_receive(t.w, message("busy@localhost", id), ORIGIN_NONE, 0, 0);
        assert_int_equal(r, ROUTED); /* nobody waits for it */
        pending = a->storing;
    }
    refused = sender.stream.errors;
    assert_int_equal(pending + refused, MANY);
    assert_true(refused > 0);
    assert_int_equal(a->actor.pins, pending + 1); /* that of the test */
    test_node_run(&t, test_node_is_idle, t.store);
    assert_int_equal(a->storing, 0);
    assert_int_equal(a->actor.pins, 1);
    assert_int_equal(a->mailbox.open, pending);
    assert_int_equal(setting_set(&mailbox_unsettled_max, SLICE("10000"), &why), OK);
    assert_int_equal(send(a, "refused"), ROUTED); /* the mailbox is full again */
}

static bool has_words(void *arg)
{
    const struct stream *s = arg;
    return s->old_words + s->new_words > 0;
}

static void read_again(void *unused, enum store_result result, const struct store_batch *b)
{
    (void)unused;
    assert_int_equal(result, STORE_OK);
    assert_int_equal(store_row_count(b, 0), 1);
}

/* A page was read, and a message in it is replaced before the page is delivered. */
static void test_a_page_from_before_a_replacement(void **state)
{
    static const char tombstone[] = "<message from='x@localhost/r' to='late@localhost' type='chat'>"
                                    "<retracted xmlns='urn:xmpp:message-retract:1'/></message>";
    struct account *a = test_node_account(&t, "late@localhost");
    struct stream stream = { 0 };
    char path[64], sql[300];
    sqlite3 *other;
    (void)state;
    account_receive(t.w, message("late@localhost", "m1"), ORIGIN_NONE, 0, 0);
    test_node_run(&t, test_node_is_idle, t.store);
    uint64_t id = mailbox_newest(a);
    struct session *s = test_node_bind(&t, a, &stream, "r");
    offline_flush(s);
    for (unsigned i = 0; i < 8; i++) { /* readers have had the page before, most likely */
        struct store_batch *b = store_read(t.store, account_lane(a));
        STORE_ADD(b, &archive_row, STORE_ANY_ROWS, SV_I(a->id), SV_I(id));
        assert_int_equal(store_run(b, read_again, NULL), STORE_OK);
    }
    snprintf(path, sizeof path, "%s/db", t.dir);
    snprintf(sql, sizeof sql, "UPDATE message SET stanza = \"%s\" WHERE rcpt = %lld", tombstone,
             (long long)a->id);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    struct stanza *st = test_node_stanza(&t, tombstone);
    message_replaced(a, id, st);
    stanza_unref(&st);
    test_node_run(&t, has_words, &stream);
    assert_int_equal(stream.old_words, 0);
    assert_int_equal(stream.new_words, 1);
    session_end(s, END_CLOSED);
    assert_int_equal(a->queue_bytes, 0);
}

static int start(void **state)
{
    (void)state;
    test_node_open(&t, &gate);
    sender.session = test_node_bind(&t, test_node_account(&t, "x@localhost"), &sender.stream, "r");
    return 0;
}
static int stop(void **state)
{
    (void)state;
    session_end(sender.session, END_CLOSED);
    test_node_close(&t);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeats_wait_for_the_commit),
        cmocka_unit_test(test_sweep_leaves_what_is_pinned),
        cmocka_unit_test(test_committed_too_late),
        cmocka_unit_test(test_never_committed),
        cmocka_unit_test(test_more_than_the_store_takes),
        cmocka_unit_test(test_a_page_from_before_a_replacement),
    };
    return cmocka_run_group_tests_name("message", tests, start, stop);
}
