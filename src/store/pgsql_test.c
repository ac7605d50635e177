#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "store/store_fixture.h"
#include "store/store_rename.h"
#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int begin(void **state)
{
    (void)state;
    fix_begin();
    fix_late.run_rows = 64;
    return 0;
}

static int end(void **state)
{
    (void)state;
    alarm_clear(&store_down_alarm);
    alarm_clear(&store_full_alarm);
    alarm_clear(&store_refused_alarm);
    fix_end();
    return 0;
}

static enum store_result put_text(struct store *s, int64_t owner, slice value)
{
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_new, 1, SV_I(owner), SV_T(SLICE("n")), SV_T(value));
    return store_run(b, NULL, NULL);
}

static enum store_result put_note(struct store *s, int64_t owner)
{
    return put_text(s, owner, SLICE("v"));
}

static enum store_result read_notes(struct store *s)
{
    struct store_batch *b = store_read(s, 0);
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
    return store_run(b, NULL, NULL);
}

static void note_count(void *arg, enum store_result result, const struct store_batch *b)
{
    *(int *)arg = result == STORE_OK ? (int)store_row_count(b, 0) : -1;
}

static int read_count(struct store *s)
{
    int count;
    struct store_batch *b = store_read(s, 0);
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
    store_run(b, note_count, &count);
    return count;
}

static void wait_up(struct store *s)
{
    uint64_t until_us = clock_mono_us() + 20000000;
    for (;;) {
        struct store_batch *b = store_write(s, 1);
        STORE_ADD(b, &note_put, 1, SV_I(0), SV_T(SLICE("up")), SV_NULL);
        if (store_run(b, NULL, NULL) == STORE_OK)
            return;
        assert_true(clock_mono_us() < until_us);
        usleep(10000);
    }
}

static void wait_alarm_is(const struct alarm *alarm, bool active)
{
    uint64_t until_us = clock_mono_us() + 20000000;
    while ((atomic_load(&alarm->active) != 0) != active) {
        assert_true(clock_mono_us() < until_us);
        usleep(10000);
    }
}

static void wait_alarm(const struct alarm *alarm) { wait_alarm_is(alarm, true); }

/* --- what open() refuses --- */

static void refused(const char *url, enum err expected, const char *text)
{
    struct store *s;
    struct why why = { "" };
    struct store_conf conf = { .url = url, .schemas = fix_schemas };
    assert_int_equal(store_open(&s, &conf, &why), expected);
    assert_null(s);
    if (strstr(why.text, text) == NULL || strstr(why.text, "secret") != NULL)
        fail_msg("not clear enough, or too clear: %s", why.text);
}

static void test_bad_urls(void **state)
{
    static const char *const urls[] = {
        "postgresql:x",
        "postgresql://u:secret%@h/d",
        "postgresql://u:sec/secret@h/d",
        "postgresql://u:s@secret@h/d",
        "postgresql://u:secret@h:many/d",
        "postgresql://u:secret@h:70000/d",
        "postgresql://u:p@h/d?secret",
        "postgresql://u:p@h/d?secret=1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        refused(urls[i], E_SYNTAX, "the URL of the database is malformed; write postgresql://");
}

static void test_unreachable(void **state)
{
    char url[200];
    (void)state;
    uint64_t began_us = clock_mono_us();
    refused("postgresql://u:secret@127.0.0.1:1,localhost:2/d", E_IO, "port 1 failed");
    refused("postgresql://u:secret@127.0.0.1:1,localhost:2/d", E_IO, "database d on 127.0.0.1,loc");
    refused("postgresql://u:secret@[::1]:1/d", E_IO, "database d on ::1 port 1 cannot be used");
    refused("postgresql://u:secret@127.0.0.1,127.0.0.2/d", E_IO, "127.0.0.2 cannot be used");
    assert_true(clock_mono_us() - began_us < 5000000);
    snprintf(url, sizeof url, "postgresql://muster:secret@/nothing?host=%s", pgfix.dir);
    refused(url, E_IO, "database \"nothing\" does not exist");
}

static void test_wrong_texts(void **state)
{
    char url[200];
    (void)state;
    pgfix_run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    snprintf(url, sizeof url, "postgresql://muster@/latin?host=%s", pgfix.dir);
    refused(url, E_UNSUPPORTED, "has encoding LATIN1 and collation C, it needs UTF8 and C");
    refused(url, E_UNSUPPORTED, "createdb -E UTF8 --locale=C");
    pgfix_run("DROP DATABASE latin");
}

static void test_in_use(void **state)
{
    (void)state;
    struct store *s = fix_store();
    refused(fix_url, E_EXISTS, "used by another process: only one musterd can have it");
    struct arena *arena = arena_create(0);
    struct renaming r = renaming_begin(arena, "a@x", "b@x", NULL);
    struct store_renamed done = { 0 };
    struct why why = { "" };
    assert_int_equal(store_rename(fix_url, fix_schemas, &r, &done, &why), E_EXISTS);
    assert_string_equal(why.text,
                        "the database is used by another process: stop that server first");
    arena_destroy(&arena);
    store_close(&s);
    s = fix_store();
    store_close(&s);
}

static void test_foreign(void **state)
{
    (void)state;
    pgfix_run("CREATE TABLE sms(text TEXT)");
    refused(fix_url, E_UNSUPPORTED, "tables of another program (sms in schema public)");
    pgfix_run("CREATE TABLE schema(feature TEXT, version TEXT)");
    refused(fix_url, E_UNSUPPORTED, "tables of another program (schema in schema public)");
    assert_int_equal(pgfix_int("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 2);
}

static void test_newer_schema(void **state)
{
    (void)state;
    struct store *s = fix_store();
    store_close(&s);
    pgfix_run("UPDATE schema SET version = 7 WHERE feature = 'fix'");
    refused(fix_url, E_UNSUPPORTED, "schema version 7 of feature fix is newer than this build (2)");
    pgfix_run("UPDATE schema SET version = 2 WHERE feature = 'fix'");
    s = fix_store();
    store_close(&s);
}

static enum err open_with(const struct store_migration *migrations, struct store_stmt *stmt,
                          struct why *why)
{
    struct store *s;
    struct store_stmt *const stmts[] = { stmt, NULL };
    const struct store_schema schema = { .feature = "other",
                                         .migrations = migrations,
                                         .stmts = stmts };
    const struct store_schema *const schemas[] = { &schema, NULL };
    enum err e = store_open(&s, &(struct store_conf){ fix_url, schemas, 2 }, why);
    store_close(&s);
    return e;
}

static void test_migrations(void **state)
{
    (void)state;
    struct why why = { "" };
    struct store_migration m[] = {
        { 1, NULL, "CREATE TABLE t(a BIGINT); INSERT INTO t VALUES(1)" },
        { 2, NULL, "CREATE TABLE u(a BIGINT); INSERT INTO missing VALUES(1)" },
        { 0, NULL, NULL },
    };
    assert_int_equal(open_with(m, NULL, &why), E_SYNTAX);
    assert_non_null(strstr(why.text, "migration 2 of feature other: relation \"missing\" does"));
    assert_int_equal(fix_int("SELECT version FROM schema WHERE feature = 'other'"), 1);
    assert_int_equal(fix_int("SELECT count(*) FROM pg_class WHERE relname = 'u'"), 0);
    m[1].pgsql = "CREATE TABLE u(a BIGINT)";
    for (int i = 0; i < 3; i++) /* applied once */
        assert_int_equal(open_with(m, NULL, &why), OK);
    assert_int_equal(fix_int("SELECT version FROM schema WHERE feature = 'other'"), 2);
    assert_int_equal(fix_int("SELECT count(*) FROM t"), 1);
}

static void test_bad_statements(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *params, *cols, *why;
    } bad[] = {
        { "SELECT a FROM nowhere", "", "i", "relation \"nowhere\" does not exist" },
        { "SELECT 1", "", "ii", "2 columns are declared, PostgreSQL sees 1" },
        { "SELECT $1", "ii", "i", "parameter $2 is declared but not used" },
        { "SELECT $1 + $3 + $2", "ii", "i", "parameter $3 is used but not declared" },
        { "SELECT '$2', \"$3\", $1", "ii", "i", "parameter $2 is declared but not used" },
        { "SELECT 1; SELECT 2", "", "i", "multiple commands" },
        { "SELECT sum(position) FROM reader", "", "i", "column 1 is declared as i, PostgreSQL" },
        { "SELECT 1", "", "t", "column 1 is declared as t" },
        { NULL, "", "i", "no text for PostgreSQL" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct why why = { "" };
        struct store_stmt stmt = {
            .name = "bad.one", .sql = bad[i].sql, .params = bad[i].params, .cols = bad[i].cols
        };
        if (open_with(NULL, &stmt, &why) != E_SYNTAX || strstr(why.text, bad[i].why) == NULL ||
            strstr(why.text, "bad.one") == NULL)
            fail_msg("not clear enough about %s: %s", bad[i].sql, why.text);
    }
}

static void test_rebuild(void **state)
{
    (void)state;
    struct store *s = fix_store();
    store_close(&s);
    pgfix_run("INSERT INTO message(sender, rcpt, stamp, body)"
              " SELECT x % 50, 1000, x, 'm' FROM generate_series(1, 5000) x");
    s = fix_store();
    store_close(&s);
    assert_int_equal(fix_int("SELECT count(*) FROM entry"), 10000);
    assert_int_equal(fix_int("SELECT position FROM reader"), 5000);
}

/* --- what a batch is refused for --- */

static void test_bad_texts(void **state)
{
    (void)state;
    struct store *s = fix_store();
    assert_int_equal(put_text(s, 1, SLICE("a\0b")), STORE_CONFLICT);
    assert_int_equal(put_text(s, 1, SLICE("\xff\xfe")), STORE_CONFLICT);
    assert_int_equal(put_text(s, 1, SLICE("\xed\xa0\x80")), STORE_CONFLICT); /* a surrogate */
    assert_int_equal(put_text(s, 1, SLICE("\xf0\x9f\x98\x80")), STORE_OK);
    assert_int_equal(fix_int("SELECT count(*) FROM note"), 1);
    store_close(&s);
}

/* More is sent and comes back than fits into all buffers between. */
static void test_much_both_ways(void **state)
{
    enum { COUNT = 1900, BYTES = 8 << 10 };
    (void)state;
    struct store *s = fix_store();
    static char bytes[BYTES];
    memset(bytes, 'x', BYTES);
    const slice text = { bytes, BYTES };
    struct store_batch *b = store_write(s, 1);
    for (int64_t i = 0; i < COUNT; i++)
        STORE_ADD(b, &note_put, 1, SV_I(i), SV_T(SLICE("n")), SV_T(text));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    b = store_write(s, 1);
    for (int64_t i = 0; i < COUNT; i++) {
        STORE_ADD(b, &note_take, STORE_ANY_ROWS, SV_I(i));
        STORE_ADD(b, &note_put, 1, SV_I(i), SV_T(SLICE("m")), SV_T(text));
    }
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    b = store_read(s, 0);
    for (int64_t i = 0; i < COUNT; i++)
        STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(i));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    b = store_read(s, 0);
    for (int64_t i = 0; i < 2 * COUNT; i++)
        STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(i / 2));
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(0));
    for (int64_t i = 0; i < 200; i++)
        STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(i));
    (void)store_run(b, NULL, NULL); /* around 32 MiB: too much or not, it ends */
    assert_int_equal(fix_int("SELECT sum(length(value)) FROM note WHERE name = 'm'"),
                     COUNT * BYTES);
    store_close(&s);
}

/* A database that fails as told, from below. */
#define FAIL(when, state)                                                                          \
    "CREATE SEQUENCE fails;"                                                                       \
    "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF " when                 \
    " THEN RAISE EXCEPTION 'as told' USING ERRCODE = '" state "'; END IF; RETURN NEW; END $$;"     \
    "CREATE TRIGGER fail BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION fail()"

static void test_full(void **state)
{
    (void)state;
    struct store *s = fix_store();
    pgfix_run(FAIL("NEW.owner > 10", "53100"));
    assert_int_equal(put_note(s, 11), STORE_FULL);
    assert_true(atomic_load(&store_full_alarm.active));
    assert_int_equal(put_note(s, 12), STORE_FULL);
    uint64_t until_us = clock_mono_us() + 20000000;
    assert_int_equal(put_note(s, 1), STORE_OK);
    assert_true(atomic_load(&store_full_alarm.active)); /* a small write proves little */
    int64_t count = 1;
    while (atomic_load(&store_full_alarm.active)) {
        assert_true(clock_mono_us() < until_us);
        assert_int_equal(put_note(s, 1 - count++), STORE_OK);
        usleep(10000);
    }
    assert_int_equal(fix_int("SELECT count(*) FROM note"), count);
    store_close(&s);
}

static void test_repeated(void **state)
{
    (void)state;
    struct store *s = fix_store();
    pgfix_run(FAIL("nextval('fails') < 3", "40001"));
    assert_int_equal(put_note(s, 1), STORE_OK);
    assert_int_equal(fix_int("SELECT last_value FROM fails"), 3);
    pgfix_run("DROP TRIGGER fail ON note; DROP FUNCTION fail; DROP SEQUENCE fails;" FAIL("true",
                                                                                         "40P01"));
    assert_int_equal(put_note(s, 2), STORE_DOWN); /* it does not go on for ever */
    assert_int_equal(fix_int("SELECT count(*) FROM note"), 1);
    store_close(&s);
}

/* The database has refused a statement, and says why. */
static void assert_refused(const char *words)
{
    char detail[160];
    assert_true(atomic_load(&store_refused_alarm.active));
    alarm_detail(&store_refused_alarm, detail, sizeof detail);
    if (strstr(detail, words) == NULL)
        fail_msg("not \"%s\": %s", words, detail);
    assert_false(atomic_load(&store_down_alarm.active));
}

static enum store_result put_message(struct store *s, int64_t stamp)
{
    return store_run(fix_message(s, 1, 2, stamp, SLICE("m")), NULL, NULL);
}

/* Where a table or a part of one is gone, whether its statement was prepared or not: what needs it
 * is refused, all else is stored, and that does not end the alarm. */
static void test_tables_that_changed(void **state)
{
    static const struct {
        const char *change, *undo, *words;
    } changes[] = {
        { "ALTER TABLE note RENAME TO lost", "ALTER TABLE lost RENAME TO note",
          "relation \"note\" does not exist" },
        { "ALTER TABLE note RENAME owner TO lost", "ALTER TABLE note RENAME lost TO owner",
          "column \"owner\"" },
        { "ALTER TABLE note ALTER owner TYPE date USING DATE '2000-01-01' + owner::integer",
          "ALTER TABLE note ALTER owner TYPE bigint USING owner - DATE '2000-01-01'",
          "column \"owner\" is of type date" },
    };
    int64_t stamp = 0;
    (void)state;
    for (size_t i = 0; i < 2 * sizeof changes / sizeof changes[0]; i++) {
        bool prepared = i % 2 == 0;
        struct store *s = fix_store();
        if (prepared)
            assert_int_equal(put_note(s, (int64_t)i), STORE_OK);
        pgfix_run(changes[i / 2].change);
        assert_int_equal(put_note(s, 100 + (int64_t)i), STORE_DOWN);
        assert_refused(changes[i / 2].words);
        assert_int_equal(put_message(s, ++stamp), STORE_OK);
        assert_refused(changes[i / 2].words);
        pgfix_run(changes[i / 2].undo);
        assert_int_equal(put_note(s, 200 + (int64_t)i), STORE_OK);
        assert_false(atomic_load(&store_refused_alarm.active));
        store_close(&s);
    }
    assert_int_equal(fix_int("SELECT count(*) FROM note WHERE owner BETWEEN 100 AND 199"), 0);
}

/* The index rows of a message are statements like others, and so is the note of their position. */
static void test_tables_of_late_rows_that_changed(void **state)
{
    static const char *const tables[] = { "entry", "reader" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char sql[80], words[80];
        struct store *s = fix_store();
        assert_int_equal(put_message(s, 10 * (int64_t)i + 1), STORE_OK);
        snprintf(sql, sizeof sql, "ALTER TABLE %s RENAME TO lost", tables[i]);
        snprintf(words, sizeof words, "relation \"%s\" does not exist", tables[i]);
        pgfix_run(sql);
        assert_int_equal(put_message(s, 10 * (int64_t)i + 2), STORE_DOWN);
        assert_refused(words);
        assert_int_equal(put_note(s, (int64_t)i), STORE_OK);
        assert_refused(words);
        snprintf(sql, sizeof sql, "ALTER TABLE lost RENAME TO %s", tables[i]);
        pgfix_run(sql);
        assert_int_equal(put_message(s, 10 * (int64_t)i + 3), STORE_OK);
        assert_false(atomic_load(&store_refused_alarm.active));
        store_close(&s);
    }
}

/* Nothing can be stored without the driver's own table. */
static void test_the_own_table_that_changed(void **state)
{
    (void)state;
    struct store *s = fix_store();
    assert_int_equal(put_note(s, 1), STORE_OK);
    pgfix_run("ALTER TABLE opened RENAME TO lost");
    assert_int_equal(put_note(s, 2), STORE_DOWN);
    assert_refused("relation \"opened\" does not exist");
    pgfix_run("ALTER TABLE lost RENAME TO opened");
    assert_int_equal(put_note(s, 3), STORE_OK);
    assert_false(atomic_load(&store_refused_alarm.active));
    store_close(&s);
}

/* The alarm ends although nobody stores the like, and not before it should. */
static void test_refused_and_not_asked_again(void **state)
{
    (void)state;
    struct store *s = fix_store();
    pgfix_run("CREATE ROLE visitor NOSUPERUSER LOGIN; GRANT ALL ON SCHEMA public TO visitor;"
              " GRANT ALL ON ALL TABLES IN SCHEMA public TO visitor;"
              " GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO visitor");
    store_close(&s);
    snprintf(fix_url, sizeof fix_url, "postgresql://visitor@/muster?host=%s", pgfix.dir);
    s = fix_store();
    assert_int_equal(put_note(s, 1), STORE_OK);
    pgfix_run("REVOKE INSERT ON note FROM visitor");
    assert_int_equal(put_note(s, 2), STORE_DOWN);
    assert_refused("permission denied for table note");
    uint64_t until_us = clock_mono_us() + 20000000;
    while (fix_int("SELECT count(*) FROM pg_stat_activity WHERE usename = 'visitor' AND query LIKE"
                   " 'EXPLAIN INSERT INTO note%'") == 0) {
        assert_true(clock_mono_us() < until_us);
        usleep(10000);
    }
    assert_refused("permission denied for table note");
    pgfix_run("GRANT INSERT ON note TO visitor");
    wait_alarm_is(&store_refused_alarm, false);
    assert_int_equal(put_note(s, 3), STORE_OK);
    store_close(&s);
    pgfix_run("DROP OWNED BY visitor; DROP ROLE visitor");
}

/* What one batch asks for is no reason for an alarm, nor where the like is accepted. */
static void test_one_batch_is_refused(void **state)
{
    static const char *const states[] = { "22003", "23514", "42601", "44000", "54000", "P0001" };
    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        char sql[400];
        struct store *s = fix_store();
        snprintf(sql, sizeof sql, FAIL("NEW.owner > 10", "%s"), states[i]);
        pgfix_run(sql);
        assert_int_equal(put_note(s, 11), STORE_CONFLICT);
        assert_false(atomic_load(&store_refused_alarm.active));
        assert_false(atomic_load(&store_down_alarm.active));
        pgfix_run("DROP TRIGGER fail ON note; DROP FUNCTION fail; DROP SEQUENCE fails");
        store_close(&s);
    }
}

/* A damaged page: only a write of the same kind can tell that it was mended. */
static void test_damaged_pages(void **state)
{
    (void)state;
    struct store *s = fix_store();
    pgfix_run(FAIL("true", "XX001"));
    assert_int_equal(put_note(s, 1), STORE_DOWN);
    assert_refused("as told");
    assert_int_equal(put_message(s, 1), STORE_OK);
    assert_refused("as told");
    pgfix_run("DROP TRIGGER fail ON note");
    assert_int_equal(put_note(s, 2), STORE_OK);
    assert_false(atomic_load(&store_refused_alarm.active));
    store_close(&s);
}

struct answer {
    unsigned left, ok, conflict, other;
    enum store_result result;
    uint64_t at_us;
};

static void note_answer(void *arg, enum store_result result, const struct store_batch *b)
{
    struct answer *a = arg;
    assert_true((b != NULL) == (result == STORE_OK));
    a->ok += result == STORE_OK;
    a->conflict += result == STORE_CONFLICT;
    a->other += result != STORE_OK && result != STORE_CONFLICT;
    a->result = result;
    a->at_us = clock_mono_us();
    if (--a->left == 0)
        loop_stop(loop_here());
}

static void submit_note(struct store *s, struct loop *loop, int64_t owner, uint32_t deadline_ms,
                        struct answer *a)
{
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_new, 1, SV_I(owner), SV_T(SLICE("n")), SV_NULL);
    store_submit(b, loop, deadline_ms, note_answer, a);
}

/* The server fails one batch of a group, in the middle of it. */
static void test_one_of_many(void **state)
{
    (void)state;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct answer a = { .left = 200 };
    pgfix_run(FAIL("NEW.owner % 50 = 7", "XX000"));
    for (int i = 0; i < 200; i++)
        submit_note(s, loop, i, 0, &a);
    loop_run(loop);
    assert_int_equal(a.ok, 196);
    assert_int_equal(a.other, 4);
    assert_int_equal(fix_int("SELECT count(*) FROM note"), 196);
    store_close(&s);
    loop_destroy(&loop);
}

/* --- a server that goes --- */

#define WRITER                                                                                     \
    "application_name = 'muster' AND pid IN (SELECT pid FROM pg_locks WHERE locktype = "           \
    "'advisory')"

static void test_restart(void **state)
{
    static const int signals[] = { SIGQUIT, SIGINT };
    (void)state;
    struct store *s = fix_store();
    for (int i = 0; i < 2; i++) {
        pgfix_down(signals[i]);
        wait_alarm(&store_down_alarm); /* noticed without anybody asking */
        uint64_t began_us = clock_mono_us();
        assert_int_equal(put_note(s, 10 + i), STORE_DOWN);
        assert_int_equal(read_notes(s), STORE_DOWN);
        assert_true(clock_mono_us() - began_us < 1000000);
        pgfix_up();
        wait_up(s);
        assert_false(atomic_load(&store_down_alarm.active));
        assert_int_equal(read_notes(s), STORE_OK);
        assert_int_equal(put_note(s, i), STORE_OK);
    }
    assert_int_equal(fix_int("SELECT count(*) FROM note WHERE name = 'n'"), 2);
    store_close(&s);
}

/* A reader gets a new connection, and nobody notices. */
static void test_readers_lost(void **state)
{
    (void)state;
    struct store *s = fix_store();
    for (int i = 0; i < 4; i++) {
        assert_int_equal(read_notes(s), STORE_OK);
        pgfix_run("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                  " WHERE application_name = 'muster' AND NOT (" WRITER ")");
        assert_int_equal(read_notes(s), STORE_OK);
    }
    store_close(&s);
}

static void test_close_while_down(void **state)
{
    (void)state;
    struct store *s = fix_store();
    pgfix_down(SIGQUIT);
    wait_alarm(&store_down_alarm);
    store_close(&s);
    struct why why = { "" };
    assert_int_equal(fix_open(&s, &why), E_IO);
    pgfix_up();
}

struct churn {
    struct store *store;
    int64_t next;
    bool ok[20000], down[20000];
};

static void *write_on(void *arg)
{
    struct churn *c = arg;
    uint64_t until_us = clock_mono_us() + 3000000;
    for (; clock_mono_us() < until_us && c->next < 20000; c->next++) {
        enum store_result result = put_note(c->store, c->next);
        c->ok[c->next] = result == STORE_OK;
        c->down[c->next] = result == STORE_DOWN;
        if (result != STORE_OK)
            usleep(2000);
    }
    return NULL;
}

/* Whenever the connection goes: what was acknowledged is there, what was refused is not. */
static void test_churn(void **state)
{
    (void)state;
    pthread_t thread;
    struct churn *c = mem_new(struct churn);
    c->store = fix_store();
    assert_int_equal(pthread_create(&thread, NULL, write_on, c), 0);
    for (int i = 0; i < 12; i++) {
        usleep(200000);
        pgfix_run("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE " WRITER);
    }
    pthread_join(thread, NULL);
    store_close(&c->store);
    unsigned ok = 0, down = 0;
    PGresult *res = pgfix_ask("SELECT owner FROM note");
    bool *kept = mem_zalloc(20000);
    for (int i = 0; i < PQntuples(res); i++)
        kept[strtol(PQgetvalue(res, i, 0), NULL, 10)] = true;
    for (int64_t i = 0; i < c->next; i++) {
        assert_true(c->ok[i] || c->down[i]); /* it is known */
        assert_false(c->ok[i] && !kept[i]);
        assert_false(c->down[i] && kept[i]);
        ok += c->ok[i];
        down += c->down[i];
    }
    print_message("%u were kept, %u refused\n", ok, down);
    assert_true(ok > 20);
    PQclear(res);
    mem_free(&kept);
    mem_free(&c);
}

/* Whether commits wait for a standby: the checkpointer turns that on, some time behind the reload.
 * The one that is tried is let go. */
static bool pgsql_commits_wait(void)
{
    PGconn *other = PQconnectdb(pgfix.url);
    PQclear(PQexec(other, "SET synchronous_commit = 'on'"));
    assert_int_equal(PQsendQueryParams(other, "SELECT pg_logical_emit_message(true, 'try', '')", 0,
                                       NULL, NULL, NULL, NULL, 0),
                     1);
    while (pgfix_int("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 0 &&
           PQconsumeInput(other) == 1 && PQisBusy(other) == 1)
        continue;
    bool waits = PQisBusy(other) == 1;
    pgfix_run("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = "
              "'SyncRep'");
    for (PGresult *r = PQgetResult(other); r != NULL; r = PQgetResult(other))
        PQclear(r);
    PQfinish(other);
    return waits;
}

/* The connection is lost between COMMIT and its answer. */
static void test_told_later(void **state)
{
    (void)state;
    struct store *s = fix_store();
    pgfix_run("CREATE FUNCTION quit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
              " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
              "CREATE CONSTRAINT TRIGGER quit AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED"
              " FOR EACH ROW EXECUTE FUNCTION quit()");
    assert_int_equal(put_note(s, 1), STORE_DOWN);
    pgfix_run("DROP TRIGGER quit ON note; DROP FUNCTION quit");
    wait_up(s);
    uint64_t until_us = clock_mono_us() + 60000000;
    pgfix_run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    pgfix_run("SELECT pg_reload_conf()");
    /* a session that begins behind the reload knows it; the others have been told before */
    while (pgfix_int("SELECT (current_setting('synchronous_standby_names') = 'nobody')::int") == 0)
        assert_true(clock_mono_us() < until_us);
    while (!pgsql_commits_wait())
        assert_true(clock_mono_us() < until_us);
    struct loop *loop = loop_create(0);
    struct answer a = { .left = 1 };
    submit_note(s, loop, 2, 20000, &a);
    while (pgfix_int("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 0)
        assert_true(clock_mono_us() < until_us);
    pgfix_run("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE " WRITER);
    pgfix_run("ALTER SYSTEM RESET synchronous_standby_names");
    pgfix_run("SELECT pg_reload_conf()");
    loop_run(loop);
    assert_int_equal(a.result, STORE_OK);
    assert_int_equal(pgfix_int("SELECT sum(owner) FROM note WHERE name = 'n'"), 2);
    store_close(&s);
    loop_destroy(&loop);
}

/* Another session has a lock: the answer comes in time, the write is done in the end. */
static void test_stalled(void **state)
{
    (void)state;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct answer a = { .left = 1 }, until_done = { .left = 1 };
    PGconn *other = PQconnectdb(pgfix.url);
    PQclear(PQexec(other, "BEGIN; LOCK TABLE note IN EXCLUSIVE MODE"));
    uint64_t began_us = clock_mono_us();
    submit_note(s, loop, 1, 300, &a);
    submit_note(s, loop, 2, STORE_UNTIL_DONE, &until_done);
    loop_run(loop);
    assert_int_equal(a.result, STORE_UNKNOWN);
    assert_in_range(a.at_us - began_us, 300000, 10000000);
    assert_int_equal(until_done.left, 1);
    PQclear(PQexec(other, "ROLLBACK"));
    loop_run(loop);
    assert_int_equal(until_done.left, 0);
    assert_int_equal(until_done.result, STORE_OK);
    assert_int_equal(fix_int("SELECT count(*) FROM note"), 2);
    PQclear(PQexec(other, "BEGIN; LOCK TABLE note IN EXCLUSIVE MODE"));
    assert_int_equal(put_note(s, 3), STORE_DOWN); /* by lock_timeout */
    assert_true(atomic_load(&store_down_alarm.active));
    PQfinish(other);
    assert_int_equal(put_note(s, 4), STORE_OK);
    assert_false(atomic_load(&store_down_alarm.active));
    store_close(&s);
    loop_destroy(&loop);
}

/* A table is locked before its statements were prepared: that is no conflict. */
static void test_locked_out(void **state)
{
    (void)state;
    struct store *s = fix_store();
    PGconn *other = PQconnectdb(pgfix.url);
    PQclear(PQexec(other, "BEGIN; LOCK TABLE note"));
    assert_int_equal(put_note(s, 1), STORE_DOWN);
    assert_int_equal(read_notes(s), STORE_DOWN);
    PQfinish(other);
    assert_int_equal(put_note(s, 1), STORE_OK);
    assert_int_equal(read_notes(s), STORE_OK);
    store_close(&s);
}

/* The server's process that serves the writer is stopped: it lives, and does not answer. */
static void test_frozen(void **state)
{
    (void)state;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct answer a = { .left = 1 };
    pid_t pid = (pid_t)pgfix_int("SELECT pid FROM pg_stat_activity WHERE " WRITER);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    submit_note(s, loop, 1, 300, &a);
    loop_run(loop);
    assert_int_equal(a.result, STORE_UNKNOWN);
    wait_alarm(&store_down_alarm);                /* it is given up */
    assert_int_equal(put_note(s, 2), STORE_DOWN); /* and still has the lock */
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_up(s);
    assert_int_equal(put_note(s, 3), STORE_OK);
    assert_int_equal(fix_int("SELECT count(*) FROM note WHERE name = 'n'"), 1);
    store_close(&s);
    loop_destroy(&loop);
}

/* A write without a deadline does not keep the store waiting for a server that does not answer. */
static void test_frozen_for_the_patient(void **state)
{
    (void)state;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct answer a = { .left = 1 };
    pid_t pid = (pid_t)pgfix_int("SELECT pid FROM pg_stat_activity WHERE " WRITER);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    uint64_t began_us = clock_mono_us();
    submit_note(s, loop, 1, 30000, &a);
    loop_run(loop);
    assert_int_equal(a.result, STORE_DOWN);
    assert_in_range(a.at_us - began_us, 5000000, 20000000);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_up(s);
    assert_int_equal(fix_int("SELECT count(*) FROM note WHERE name = 'n'"), 0);
    store_close(&s);
    loop_destroy(&loop);
}

/* The primary is gone for good. Of two hosts the one is found that can be written to. */
static void test_failover(void **state)
{
    (void)state;
    struct pgfix primary = pgfix;
    pgfix_standby();
    snprintf(fix_url, sizeof fix_url, "postgresql://muster@/muster?host=%s,%s", pgfix.dir,
             primary.dir);
    struct store *s = fix_store();
    assert_int_equal(put_note(s, 1), STORE_OK);
    uint64_t until_us = clock_mono_us() + 20000000;
    while (pgfix_int("SELECT count(*) FROM pg_tables WHERE tablename = 'note'") == 0 ||
           pgfix_int("SELECT count(*) FROM note") == 0) {
        assert_true(clock_mono_us() < until_us);
        usleep(20000);
    }
    struct pgfix standby = pgfix;
    pgfix = primary;
    pgfix_down(SIGQUIT);
    wait_alarm(&store_down_alarm);
    assert_int_equal(put_note(s, 2), STORE_DOWN);
    pgfix = standby;
    assert_int_equal(pgfix_int("SELECT pg_promote()::int"), 1);
    wait_up(s);
    assert_int_equal(put_note(s, 3), STORE_OK);
    assert_int_equal(read_notes(s), STORE_OK);
    assert_int_equal(pgfix_int("SELECT count(*) FROM note WHERE name = 'n'"), 2);
    store_close(&s);
    pgfix_end();
    pgfix = primary;
    pgfix_up();
}

/* Two servers say that they may be written to. Where the writer goes, readers go. */
static void test_readers_follow(void **state)
{
    (void)state;
    struct pgfix primary = pgfix;
    pgfix_standby();
    struct pgfix standby = pgfix;
    snprintf(fix_url, sizeof fix_url, "postgresql://muster@/muster?host=%s,%s", standby.dir,
             primary.dir);
    struct store *s = fix_store();
    for (int i = 0; i < 8; i++)
        assert_int_equal(read_notes(s), STORE_OK);
    uint64_t until_us = clock_mono_us() + 20000000;
    while (pgfix_int("SELECT count(*) FROM pg_tables WHERE tablename = 'entry'") == 0) {
        assert_true(clock_mono_us() < until_us);
        usleep(20000);
    }
    assert_int_equal(pgfix_int("SELECT pg_promote()::int"), 1);
    pgfix = primary;
    pgfix_run("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE " WRITER);
    wait_up(s);
    assert_int_equal(put_note(s, 1), STORE_OK);
    assert_int_equal(pgfix_int("SELECT count(*) FROM note"), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(read_count(s), 1);
    store_close(&s);
    pgfix = standby;
    pgfix_end();
    pgfix = primary;
}

/* What this one has in memory is old when another process has had the database. */
static void test_used_by_another(void **state)
{
    (void)state;
    struct store *s, *other;
    struct why why = { "" };
    struct store_conf conf = { .url = pgfix.url, .schemas = fix_schemas };
    pgfix_run("CREATE ROLE one SUPERUSER LOGIN");
    snprintf(fix_url, sizeof fix_url, "postgresql://one@/muster?host=%s", pgfix.dir);
    s = fix_store();
    assert_int_equal(put_note(s, 1), STORE_OK);
    pgfix_run("ALTER ROLE one NOLOGIN");
    pgfix_run("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE " WRITER);
    wait_alarm(&store_down_alarm);
    pgfix_run("ALTER ROLE one LOGIN");
    wait_up(s);
    pgfix_run("ALTER ROLE one NOLOGIN");
    pgfix_run("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE " WRITER);
    wait_alarm(&store_down_alarm);
    assert_int_equal(store_open(&other, &conf, &why), OK);
    store_close(&other);
    pgfix_run("ALTER ROLE one LOGIN");
    for (int i = 0; i < 30; i++) {
        assert_int_equal(put_note(s, 100 + i), STORE_DOWN);
        usleep(100000);
    }
    assert_true(atomic_load(&store_down_alarm.active));
    store_close(&s);
    pgfix_run("REASSIGN OWNED BY one TO muster; DROP ROLE one");
}

/* --- a process that goes --- */

static void write_until_killed(int fd)
{
    struct store *s = fix_store();
    for (uint32_t i = 1; i <= 100000; i++) {
        if (store_run(fix_message(s, i % 7, i % 5 + 100, i, SLICE("kill")), NULL, NULL) !=
                STORE_OK ||
            write(fd, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

static void test_kill(void **state)
{
    int fds[2], status;
    uint32_t last = 0, i;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        write_until_killed(fds[1]);
        _exit(0);
    }
    close(fds[1]);
    while (last < 200 && read(fds[0], &i, sizeof i) == sizeof i)
        last = i;
    kill(pid, SIGKILL);
    while (read(fds[0], &i, sizeof i) == sizeof i)
        last = i;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(fds[0]);
    assert_true(last >= 200);
    struct store *s = fix_store(); /* the lock of the dead process goes by itself */
    store_close(&s);
    int64_t count = fix_int("SELECT count(*) FROM message");
    assert_true(count == last || count == last + 1); /* one may have had no time to be told */
    assert_int_equal(fix_int("SELECT count(*) FROM entry"), count * 2);
    assert_int_equal(fix_int("SELECT count(*) FROM entry e LEFT JOIN message m ON m.id = e.msg "
                             "WHERE m.id IS NULL OR m.stamp <> e.id"),
                     0);
    assert_int_equal(fix_int("SELECT position FROM reader"),
                     fix_int("SELECT max(id) FROM message"));
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_bad_urls),
        TEST(test_unreachable),
        TEST(test_wrong_texts),
        TEST(test_in_use),
        TEST(test_foreign),
        TEST(test_newer_schema),
        TEST(test_migrations),
        TEST(test_bad_statements),
        TEST(test_rebuild),
        TEST(test_bad_texts),
        TEST(test_much_both_ways),
        TEST(test_full),
        TEST(test_repeated),
        TEST(test_one_of_many),
        TEST(test_tables_that_changed),
        TEST(test_tables_of_late_rows_that_changed),
        TEST(test_the_own_table_that_changed),
        TEST(test_refused_and_not_asked_again),
        TEST(test_one_batch_is_refused),
        TEST(test_damaged_pages),
        TEST(test_restart),
        TEST(test_readers_lost),
        TEST(test_close_while_down),
        TEST(test_churn),
        TEST(test_told_later),
        TEST(test_stalled),
        TEST(test_frozen),
        TEST(test_locked_out),
        TEST(test_readers_follow),
        TEST(test_used_by_another),
        TEST(test_frozen_for_the_patient),
        TEST(test_failover),
        TEST(test_kill),
    };
    if (!pgfix_start())
        return 0;
    fix_driver = FIX_PGSQL;
    int failed = cmocka_run_group_tests_name("pgsql", tests, NULL, NULL);
    pgfix_end();
    return failed;
}
