/* Pages of stored messages for another server, while one of their senders is deleted, and while the
 * partner takes over from another connection; and what the database is to know, while it does not
 * answer. */
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_confirm.h"
#include "gate/s2s/s2s_judge.h"
#include "gate/s2s/s2s_partner_private.h"
#include "im/abroad.h"
#include "im/test_node.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct feature *const features[] = {
    &test_auth_feature, &account_feature, &session_feature,
    &message_feature,   &roster_feature,  &presence_feature,
    &abroad_feature,    &s2s_feature,     NULL,
};
static const struct gate_ops gate;
static const struct edge_made edges[] = { { &s2s_edge, &(struct s2s_gate){ .count = 0 } }, { 0 } };
static struct test_node t;
static struct partner *partner;

/* The partner of a.test has a stream that takes what the database has. */
static int start(void **state)
{
    (void)state;
    test_features_use(features);
    test_node_open(&t, &gate);
    t.node->edges = edges;
    edges_start(t.node, t.w);
    abroad_feature.worker.start(t.w);
    account_unpin(test_node_account(&t, "carol@localhost"));
    partner =
        partner_find(t.w, &(struct partner_name){ SLICE("localhost"), SLICE("a.test"), 0 }, true);
    partner->back.on = true;
    partner->state = ACTOR_READY;
    partner->mail.backlog = true;
    partner_hold(partner, HOLD_MAIL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    s2s_mail_fini(&partner->mail);
    partner->back.on = false;
    abroad_feature.worker.stop(t.w);
    abroad_feature.worker.ended(t.w);
    edges_end(t.node, t.w);
    test_node_close(&t);
    return 0;
}

static void judged(void *arg, const struct outgoing_page *page, const struct edge_word *words)
{
    (void)page, (void)words;
    ++*(unsigned *)arg;
}

static struct stanza *message_of(const char *from)
{
    return stanza_make(STANZA_MESSAGE, TYPE_CHAT, slice_of(from), SLICE("a@a.test"), SLICE("m"),
                       SLICE("<body>x</body>"));
}

static bool is_read(void *mail) { return ((const struct s2s_mail *)mail)->page == NULL; }

static void a_page_goes_on_without_them(void **state)
{
    struct s2s_mail *m = &partner->mail;
    unsigned count = 0;
    struct stanza *st[] = { message_of("alice@localhost/1"), message_of("carol@localhost/1") };
    const struct outgoing_line lines[] = { { .id = { .sender = 1, .entry = 1 }, .st = st[0] },
                                           { .id = { .sender = 2, .entry = 2 }, .st = st[1] } };
    const struct outgoing_page page = { .error = OK, .lines = lines, .count = 2 };
    (void)state;
    m->judge = s2s_judge_page(t.w, &page, judged, &count);
    assert_non_null(m->judge);
    partners_sender_gone(t.w, SLICE("dora@localhost")); /* it has none there */
    assert_int_equal(m->gone_len, 0);
    for (unsigned i = 0; i < MAIL_GONE_MAX; i++)
        partners_sender_gone(t.w, SLICE("carol@localhost"));
    assert_true(m->judge != NULL && m->page == NULL);
    partners_sender_gone(t.w, SLICE("carol@localhost")); /* too many: it is read again */
    assert_true(m->judge == NULL && m->page != NULL);
    const struct outgoing_read *read = m->page;
    assert_int_equal(m->gone_len, 0);
    partners_sender_gone(t.w, SLICE("dora@localhost")); /* it may have some there */
    assert_int_equal(m->gone_len, 1);
    for (unsigned i = 0; i < 3000; i++) { /* so many others are deleted at once */
        char jid[32];
        snprintf(jid, sizeof jid, "u%u@localhost", i);
        partners_sender_gone(t.w, slice_of(jid));
    }
    assert_ptr_equal(m->page, read);
    test_node_run(&t, is_read, m);
    assert_int_equal(count, 0);
    stanza_unref(&st[0]);
    stanza_unref(&st[1]);
}

/* Else the next page had newer messages of a pair of addresses whose older ones were passed over.
 */
static void pages_begin_anew_with_more_shares(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    m->behind = (struct outgoing_id){ .sender = 2, .entry = 2 };
    s2s_mail_go(m);
    assert_non_null(m->page);
    s2s_mail_widened(m);
    assert_non_null(m->page);
    assert_int_equal(m->behind.entry, 0);
    test_node_run(&t, is_read, m);
}

/* Another connection, whose shares this one carries, has left a message to the database: what comes
 * behind it goes there, too, and the last pass is none. Else it was taken for one that is on its
 * way to the inbox, and waited there. */
static void what_others_left_ends_the_last_pass(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    m->closing = m->kept = true;
    assert_false(s2s_mail_leaves(m));
    s2s_mail_found(m);
    assert_true(s2s_mail_leaves(m));
}

static void wait_in_memory(uint64_t entry)
{
    struct stanza *st = message_of("alice@localhost/1");
    actor_wait_anyhow(&partner->actor,
                      &(struct actor_item){ .st = st, .sender_entry = entry, .sender_id = 1 });
}

static void forget_inbox(void)
{
    while (partner->actor.inbox != NULL) {
        struct actor_item *it = partner->actor.inbox;
        partner->actor.inbox = it->next;
        stanza_unref(&it->st);
        mem_free(&it);
    }
    partner->actor.inbox_tail = &partner->actor.inbox;
    partner->actor.inbox_stanzas = partner->actor.inbox_bytes = 0;
}

/* After any change of a rule or a route, the database is looked through, and has what waits in
 * memory. New messages still wait there: else stanzas that are not stored overtook them. */
static void a_hint_leaves_the_order_as_it_is(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    m->backlog = false;
    wait_in_memory(1);
    partner_has_mail(partner, 0);
    assert_true(m->backlog && m->kept && !s2s_mail_leaves(m));
    partner_has_mail(partner, 0);
    assert_false(s2s_mail_leaves(m));
    partner_has_mail(partner, 1); /* another connection has left some */
    assert_true(s2s_mail_leaves(m));
    forget_inbox();
}

/* What another connection hands over can be older than what was left of the same sender. That is
 * to others, so it does not wait for the inbox: it was taken for one that is on its way there, and
 * waited until the next start. */
static void the_inbox_goes_first_for_the_same_addresses_alone(void **state)
{
    struct stanza *same = message_of("alice@localhost/1"),
                  *other = stanza_make(STANZA_MESSAGE, TYPE_CHAT, SLICE("alice@localhost/1"),
                                       SLICE("b@a.test"), SLICE("m"), SLICE("<body>x</body>"));
    const struct outgoing_id newer = { .sender = 1, .entry = 5 },
                             older = { .sender = 1, .entry = 1 };
    (void)state;
    wait_in_memory(2);
    assert_true(partner_keeps_older(partner, &newer, same));
    assert_false(partner_keeps_older(partner, &newer, other));
    assert_false(partner_keeps_older(partner, &older, same));
    forget_inbox();
    stanza_unref(&same);
    stanza_unref(&other);
}

/* Messages that are judged again are counted from the front. Where one of these goes, the next one
 * was taken for judged. */
static void those_behind_a_message_that_goes_are_judged(void **state)
{
    (void)state;
    wait_in_memory(1);
    wait_in_memory(2);
    partner->forbid.judged = 1;
    partners_sender_gone(t.w, SLICE("alice@localhost"));
    assert_null(partner->actor.inbox);
    assert_int_equal(partner->forbid.judged, 0);
}

/* Another hold ends: what the database has is next, and not the inbox that began behind it. */
static void the_inbox_waits_for_the_database_whatever_else_ends(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    partner_hold(partner, HOLD_OUTPUT);
    partner_release(partner, HOLD_MAIL);
    assert_int_equal(partner->holds, HOLD_OUTPUT);
    wait_in_memory(0);
    s2s_mail_keeps(m);
    assert_true(m->kept && m->closing);
    partner_room(partner);
    assert_int_equal(partner->holds, HOLD_MAIL);
    assert_non_null(m->page);
    assert_non_null(partner->actor.inbox);
    forget_inbox();
}

/* What rules may have changed for is judged before it is written, and newer ones of the same sender
 * wait in the database for that. */
static void one_that_is_judged_goes_before_newer_ones(void **state)
{
    struct s2s_unacked *q = &partner->unacked;
    (void)state;
    for (uint64_t entry = 1; entry <= 2; entry++)
        s2s_unacked_push(q, &(struct s2s_sent){ .st = message_of("alice@localhost/1"),
                                                .id = { .sender = 1, .entry = 2 * entry } });
    assert_non_null(s2s_unacked_write(q)); /* 2 is written, and 4 is judged */
    assert_true(partner_judges_older(partner, &(struct outgoing_id){ .sender = 1, .entry = 5 }));
    assert_false(partner_judges_older(partner, &(struct outgoing_id){ .sender = 1, .entry = 4 }));
    assert_false(partner_judges_older(partner, &(struct outgoing_id){ .sender = 1, .entry = 3 }));
    assert_false(partner_judges_older(partner, &(struct outgoing_id){ .sender = 2, .entry = 5 }));
    s2s_unacked_fini(q);
}

enum { CAROL = 1 };

static int database(const char *sql)
{
    char path[64];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    int number = 0;
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        number = sqlite3_column_int(stmt, 0);
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    sqlite3_close(db);
    return number;
}

/* A row of a message that waits. */
static void keep(int entry)
{
    char sql[256];
    snprintf(
        sql, sizeof sql,
        "INSERT INTO message(at_us, sender, rcpt, sender_entry, rcpt_entry, flags, origin, remote,"
        " pending_out, stanza) VALUES(1, %d, 0, %d, 0, 0, 0, 'a@a.test', %d, '<message/>')",
        CAROL, entry, entry);
    database(sql);
}

static const char fails[] = "ALTER TABLE message RENAME TO gone",
                  works[] = "ALTER TABLE gone RENAME TO message",
                  pending[] = "SELECT count(*) FROM message WHERE pending_out <> 0";

static bool none_is_told(void *mail) { return ((const struct s2s_mail *)mail)->tells == 0; }
static bool none_is_settled(void *mail)
{
    return ((const struct s2s_mail *)mail)->settled_len == 0;
}
static bool none_is_asked(void *mail) { return ((const struct s2s_mail *)mail)->asked == 0; }
static bool some_are_found(void *mail) { return ((const struct s2s_mail *)mail)->backlog; }

/* However many that are; and no more go out meanwhile. Else they were sent again by the next start,
 * or returned when that server failed. */
static void what_is_confirmed_is_written_when_it_works_again(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    m->backlog = false;
    keep(1);
    keep(MAIL_SETTLED_MAX);
    keep(MAIL_SETTLED_MAX + 1);
    database(fails);
    for (uint64_t entry = 1; entry <= MAIL_SETTLED_MAX; entry++) {
        assert_false(s2s_mail_leaves(m));
        s2s_mail_confirmed(m, &(struct outgoing_id){ .sender = CAROL, .entry = entry });
    }
    assert_true(s2s_mail_leaves(m));
    s2s_mail_confirmed(m, &(struct outgoing_id){ CAROL, .entry = MAIL_SETTLED_MAX + 1 });
    test_node_run(&t, none_is_told, m);
    assert_int_equal(m->settled_len, MAIL_SETTLED_MAX + 1);
    m->backlog = true;
    s2s_mail_go(m);
    assert_null(m->page);
    m->backlog = false;
    database(works);
    assert_int_equal(database(pending), 3);
    test_node_run(&t, none_is_settled, m);
    assert_int_equal(database(pending), 0);
    assert_false(s2s_mail_leaves(m));
}

static bool older_ones_are_settled(void *mail)
{
    return ((const struct s2s_mail *)mail)->settled_len <= OUTGOING_MANY + 1;
}

/* Else a second passes between two writes, and after some seconds of a flood what is confirmed and
 * not known to the database is at its limit. */
static void what_is_confirmed_during_a_write_is_written_behind_it(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    m->backlog = false;
    for (uint64_t entry = 1; entry <= 2 * OUTGOING_MANY + 1; entry++)
        s2s_mail_confirmed(m, &(struct outgoing_id){ .sender = CAROL, .entry = entry });
    assert_int_equal(m->telling, OUTGOING_MANY);
    test_node_run(&t, older_ones_are_settled, m);
    assert_false(timer_is_set(&m->settle)); /* the newer ones are being written, or that is done */
    test_node_run(&t, none_is_settled, m);
}

/* Else the backlog ended before the row was there, and the message waited for the next start. */
static void what_is_left_is_asked_for_until_it_is_known(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    m->backlog = false;
    partner->fresh = false;
    partner_hold(partner, HOLD_OUTPUT); /* nothing is read */
    keep(7);
    database(fails);
    s2s_mail_leave(m,
                   &(struct s2s_sent){ .st = message_of("carol@localhost/1"),
                                       .id = { .sender = CAROL, .entry = 7 } },
                   true);
    test_node_run(&t, some_are_found, m);
    assert_int_equal(m->asked, 1);
    m->backlog = false;
    database(works);
    test_node_run(&t, none_is_asked, m);
    assert_true(m->backlog);
}

/* Else what is not stored, such as presence, waited until that stream ended. */
static void the_inbox_goes_on_when_none_was_stored(void **state)
{
    struct s2s_mail *m = &partner->mail;
    (void)state;
    partner->fresh = false;
    m->backlog = false;
    s2s_mail_leave(m,
                   &(struct s2s_sent){ .st = message_of("carol@localhost/1"),
                                       .id = { .sender = CAROL, .entry = 9 } },
                   true);
    assert_int_equal(partner->holds, HOLD_MAIL);
    test_node_run(&t, none_is_asked, m);
    assert_int_equal(partner->holds, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_page_goes_on_without_them, start, stop),
        cmocka_unit_test_setup_teardown(pages_begin_anew_with_more_shares, start, stop),
        cmocka_unit_test_setup_teardown(what_others_left_ends_the_last_pass, start, stop),
        cmocka_unit_test_setup_teardown(a_hint_leaves_the_order_as_it_is, start, stop),
        cmocka_unit_test_setup_teardown(those_behind_a_message_that_goes_are_judged, start, stop),
        cmocka_unit_test_setup_teardown(the_inbox_goes_first_for_the_same_addresses_alone, start,
                                        stop),
        cmocka_unit_test_setup_teardown(the_inbox_waits_for_the_database_whatever_else_ends, start,
                                        stop),
        cmocka_unit_test_setup_teardown(one_that_is_judged_goes_before_newer_ones, start, stop),
        cmocka_unit_test_setup_teardown(what_is_confirmed_is_written_when_it_works_again, start,
                                        stop),
        cmocka_unit_test_setup_teardown(what_is_confirmed_during_a_write_is_written_behind_it,
                                        start, stop),
        cmocka_unit_test_setup_teardown(what_is_left_is_asked_for_until_it_is_known, start, stop),
        cmocka_unit_test_setup_teardown(the_inbox_goes_on_when_none_was_stored, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
