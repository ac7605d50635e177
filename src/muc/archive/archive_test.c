/* What becomes of a message of a room whose write did not end in time, and tombstones. */
#include "archive/archive.h"
#include "core/feature.h"
#include "core/test_node.h"
#include "home/ticket.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/archive/recorder.h"
#include "muc/muc.h"
#include "store/store.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct test_node t;
static struct room_archive room;
static struct recorder *recorder;

static void gate_down(struct stream *s, const struct down *d)
{
    fail_msg("%p %d", (void *)s, d->kind);
}
static const struct gate_ops gate = { .down = gate_down };

static int start(void **state)
{
    static const struct feature *features[sizeof test_features / sizeof *test_features + 1];
    (void)state;
    memcpy(features + 1, test_features, sizeof test_features);
    features[0] = &room_archive_feature;
    test_features_use(features);
    test_node_open(&t, &gate);
    recorder = recorder_of(t.w);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    test_node_close(&t);
    return 0;
}

/* Each test has a room of its own. */
static int enter(void **state)
{
    static int64_t id = ROOM_ID_MIN;
    (void)state;
    room_archive_init(&room, t.w, id++, SLICE("cave@conference.localhost"));
    return 0;
}

static uint64_t say(const char *body)
{
    char text[400];
    snprintf(text, sizeof text,
             "<message from='cave@conference.localhost/nick' type='groupchat'><body>%s</body>"
             "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/></message>",
             body);
    struct stanza *st = test_node_stanza(&t, text);
    struct room_post p = {
        .st = st, .sender = SLICE("x@localhost/r"), .id = room_archive_mint(&room), .at_us = 1000000
    };
    (void)room_archive_put(&room, &p, ORIGIN_NONE);
    stanza_unref(&st);
    return p.id;
}

/* Waiting. */

static bool nothing_is_under_way(void *unused)
{
    (void)unused;
    return !store_busy(t.store) && list_empty(&recorder->waiting);
}
static void settle(void) { test_node_run(&t, nothing_is_under_way, NULL); }

/* A write that is taken, and answered when its deadline has passed: another program holds the
 * database, and so much waits in front that it is not tried before. */
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

static bool gave_up(void *unused)
{
    (void)unused;
    return !list_empty(&recorder->waiting);
}

static void go_on(sqlite3 *other, const char *sql)
{
    assert_int_equal(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
}

static const char *bodies(const char *sql)
{
    static char out[1024];
    char text[256];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    size_t len = 0;
    snprintf(text, sizeof text, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(text, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    out[0] = '\0';
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *body = strstr((const char *)sqlite3_column_text(stmt, 0), "<body>");
        len += (size_t)snprintf(out + len, sizeof out - len, "%.*s ",
                                body == NULL ? 1 : (int)strcspn(body + 6, "<"),
                                body == NULL ? "-" : body + 6);
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return out;
}

/* The bodies that are stored of the room, in the order of their ids, each with a space behind. */
static const char *stored(void)
{
    char sql[256];
    struct store_batch *b = store_read(t.store, (uint64_t)room.owner);
    store_read_late(b, room.owner); /* the rows of the index are written */
    STORE_ADD(b, &archive_has, STORE_ANY_ROWS, SV_I(room.owner), SV_I(0));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    snprintf(sql, sizeof sql,
             "SELECT m.stanza FROM entry e JOIN message m ON m.id = e.msg WHERE e.owner = %lld"
             " AND m.rcpt = e.owner AND m.rcpt_entry = e.id ORDER BY e.id",
             (long long)room.owner);
    return bodies(sql);
}

/* The same of what readers of the log are told of this room's tombstones, with who buried it. */
static const char *events(void)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT m.stanza || coalesce(m.remote, '') FROM archive_event v JOIN message m"
             " ON m.id = v.id JOIN message o ON o.id = v.about WHERE o.rcpt = %lld AND v.id >"
             " v.about AND (o.flags & 32) <> 0 ORDER BY m.id",
             (long long)room.owner);
    return bodies(sql);
}

static int64_t rows(void)
{
    char text[128];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    snprintf(text, sizeof text, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(text, &db), SQLITE_OK);
    snprintf(text, sizeof text, "SELECT count(*) FROM message WHERE rcpt = %lld",
             (long long)room.owner);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void test_messages_are_stored_in_order(void **state)
{
    (void)state;
    say("a");
    say("b");
    say("c");
    settle();
    assert_string_equal(stored(), "a b c ");
}

/* Nobody knew what became of the first write; it was committed all the same, and is found. */
static void test_what_was_committed_too_late_is_there_once(void **state)
{
    (void)state;
    sqlite3 *other = stall();
    say("a");
    say("b");
    test_node_run(&t, gave_up, NULL);
    say("c");
    go_on(other, "COMMIT");
    settle();
    assert_string_equal(stored(), "a b c ");
    assert_int_equal(rows(), 3);
}

/* One that the database does not take is lost alone. */
static void test_one_that_cannot_be_stored_holds_nobody_up(void **state)
{
    char path[64];
    (void)state;
    sqlite3 *other = stall();
    say("a");
    test_node_run(&t, gave_up, NULL);
    say("poison");
    say("c");
    go_on(other, "CREATE TRIGGER no BEFORE INSERT ON message WHEN NEW.stanza LIKE '%poison%'"
                 " BEGIN SELECT RAISE(ABORT, 'no'); END; COMMIT");
    settle();
    assert_string_equal(stored(), "a c ");
    assert_int_equal(rows(), 2);
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    go_on(other, "DROP TRIGGER no");
}

/* Repeats. */

static void report(struct worker *w, enum err e, uint32_t refused, void *arg)
{
    assert_ptr_equal(w, t.w);
    assert_int_equal(e, OK);
    assert_int_equal(refused, 0);
    ++*(unsigned *)arg;
}

static bool has_two(void *reports) { return *(const unsigned *)reports == 2; }

static enum routed say_again(uint64_t id, unsigned *reports)
{
    struct origin part = ticket_join_for(t.w, SLICE(""), report, reports);
    enum routed routed = room_archive_also(&room, id, part);
    if (routed == ROUTE_PENDING)
        ticket_join_more(t.w, part);
    ticket_join_close(t.w, part);
    return routed;
}

/* Whether its first copy is with the store, waits, or is there. */
static void test_a_repeat_is_reported_when_the_first_copy_is_stored(void **state)
{
    unsigned reports = 0;
    (void)state;
    sqlite3 *other = stall();
    uint64_t id = say("a");
    assert_int_equal(say_again(id, &reports), ROUTE_PENDING);
    test_node_run(&t, gave_up, NULL);
    assert_int_equal(say_again(id, &reports), ROUTE_PENDING);
    assert_int_equal(reports, 0);
    go_on(other, "COMMIT");
    test_node_run(&t, has_two, &reports);
    settle();
    assert_int_equal(say_again(id, &reports), ROUTED);
    assert_int_equal(reports, 3);
    assert_string_equal(stored(), "a ");
}

/* Tombstones. */

static void buried(void *arg, enum err e) { *(int *)arg = (int)e; }
static bool has_result(void *arg) { return *(int *)arg >= 0; }

static enum err bury(uint64_t id, const char *author)
{
    int result = -1;
    room_archive_bury(
        &room,
        &(struct room_burial){
            .id = id,
            .author = slice_of(author),
            .tombstone = SLICE("<retracted xmlns='urn:xmpp:message-retract:1' stamp='x'/>") },
        buried, &result);
    test_node_run(&t, has_result, &result);
    return (enum err)result;
}

static void test_tombstones(void **state)
{
    (void)state;
    uint64_t id = say("a");
    say("b");
    assert_int_equal(bury(id, "y@localhost"), E_DENIED);
    assert_int_equal(bury(id + 1000, "x@localhost"), E_NOTFOUND);
    assert_string_equal(stored(), "a b ");
    assert_int_equal(bury(id, "x@localhost"), OK);
    assert_int_equal(bury(id, ""), OK);
    assert_string_equal(stored(), "- b ");
    assert_string_equal(events(), "a ");
}

static void test_tombstones_of_what_waits(void **state)
{
    (void)state;
    sqlite3 *other = stall();
    say("a");
    test_node_run(&t, gave_up, NULL);
    uint64_t id = say("b");
    assert_int_equal(bury(id, "y@localhost"), E_DENIED);
    assert_int_equal(bury(id, "x@localhost"), OK);
    assert_int_equal(bury(id, ""), OK);
    go_on(other, "COMMIT");
    settle();
    assert_string_equal(stored(), "a - ");
    assert_string_equal(events(), "b ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_messages_are_stored_in_order, enter),
        cmocka_unit_test_setup(test_what_was_committed_too_late_is_there_once, enter),
        cmocka_unit_test_setup(test_one_that_cannot_be_stored_holds_nobody_up, enter),
        cmocka_unit_test_setup(test_a_repeat_is_reported_when_the_first_copy_is_stored, enter),
        cmocka_unit_test_setup(test_tombstones, enter),
        cmocka_unit_test_setup(test_tombstones_of_what_waits, enter),
    };
    return cmocka_run_group_tests_name("muc/archive", tests, start, stop);
}
