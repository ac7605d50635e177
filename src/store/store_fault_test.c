#include "base/alarm.h"
#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "store/store_fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
    alarm_clear(&store_refused_alarm);
    fix_end();
    return 0;
}

/* Runs `fn` in a process of its own; its status. */
static int in_child(void (*fn)(int fd), int fd)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fn(fd);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void refused(enum err expected, const char *text)
{
    struct store *s;
    struct why why = { "" };
    assert_int_equal(fix_open(&s, &why), expected);
    assert_null(s);
    if (strstr(why.text, text) == NULL || strstr(why.text, fix_path) == NULL)
        fail_msg("not clear enough: %s", why.text);
}

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fix_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static enum store_result put_note(struct store *s, int64_t owner, size_t bytes)
{
    char *value = mem_alloc(bytes);
    memset(value, 'v', bytes);
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_new, 1, SV_I(owner), SV_T(SLICE("n")), SV_T(((slice){ value, bytes })));
    enum store_result result = store_run(b, NULL, NULL);
    mem_free(&value);
    return result;
}

static void write_file(const char *text)
{
    FILE *f = fopen(fix_path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_garbage(void **state)
{
    (void)state;
    write_file("This is not what SQLite writes. This is not what SQLite writes. This is not what "
               "SQLite writes. This is not what SQLite writes.");
    refused(E_CORRUPT, "is not a database");
}

static void test_no_directory(void **state)
{
    (void)state;
    char url[128];
    struct store *s;
    struct why why = { "" };
    snprintf(url, sizeof url, "sqlite:%s/none/t.db", fix_dir);
    assert_int_equal(store_open(&s, &(struct store_conf){ url, fix_schemas, 0 }, &why), E_IO);
    assert_non_null(strstr(why.text, "No such file or directory"));
    assert_int_equal(store_open(&s, &(struct store_conf){ "mysql:x", fix_schemas, 0 }, &why),
                     E_SYNTAX);
    assert_non_null(strstr(why.text, "mysql"));
}

static void open_unprivileged(int fd)
{
    struct store *s;
    struct why why = { "" };
    (void)fd;
    if (setgid(65534) != 0 || setuid(65534) != 0)
        _exit(2);
    enum err e = fix_open(&s, &why);
    _exit(e == E_IO && strstr(why.text, "opened for writing: Permission denied") != NULL ? 0
          : e == E_IO && strstr(why.text, "and to its directory") != NULL                ? 3
                                                                                         : 1);
}

static void test_read_only(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct store *s = fix_store();
    store_close(&s);
    chmod(fix_dir, 0755);
    chmod(fix_path, 0444);
    assert_int_equal(in_child(open_unprivileged, 0), 0);
    chmod(fix_path, 0666); /* now the directory alone is in the way of the WAL */
    assert_int_equal(WEXITSTATUS(in_child(open_unprivileged, 0)), 3);
}

static void test_in_use(void **state)
{
    (void)state;
    struct store *s = fix_store();
    refused(E_EXISTS, "used by another process");
    store_close(&s);
    s = fix_store();
    store_close(&s);
}

static void test_foreign(void **state)
{
    (void)state;
    run_sql("CREATE TABLE sms(text)");
    refused(E_UNSUPPORTED, "another program");
    assert_int_equal(fix_int("SELECT count(*) FROM sqlite_schema"), 1); /* untouched */
}

static void test_newer_schema(void **state)
{
    (void)state;
    struct store *s = fix_store();
    store_close(&s);
    run_sql("UPDATE schema SET version = 7 WHERE feature = 'fix'");
    refused(E_UNSUPPORTED, "schema version 7 of feature fix is newer than this build (2)");
    run_sql("UPDATE schema SET version = 2 WHERE feature = 'fix'");
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
        { 1, "CREATE TABLE t(a); INSERT INTO t VALUES(1)", NULL },
        { 2, "CREATE TABLE u(a); INSERT INTO missing VALUES(1)", NULL },
        { 0, NULL, NULL },
    };
    assert_int_equal(open_with(m, NULL, &why), E_SYNTAX);
    assert_non_null(strstr(why.text, "migration 2 of feature other: no such table: missing"));
    assert_int_equal(fix_int("SELECT version FROM schema WHERE feature = 'other'"), 1);
    assert_int_equal(fix_int("SELECT count(*) FROM sqlite_schema WHERE name = 'u'"), 0);
    m[1].sqlite = "CREATE TABLE u(a)";
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
        { "SELECT a FROM nowhere", "", "i", "no such table: nowhere" },
        { "SELECT 1", "", "ii", "2 columns are declared, SQLite sees 0 and 1" },
        { "SELECT $1", "ii", "i", "2 parameters and 1 columns are declared" },
        { "SELECT $1 + $3", "ii", "i", "parameter $2 is declared but not used" },
        { "SELECT 1; SELECT 2", "", "i", "a second statement" },
        { NULL, "", "i", "no text for SQLite" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct why why = { "" };
        struct store_stmt stmt = {
            .name = "bad.one", .sql = bad[i].sql, .params = bad[i].params, .cols = bad[i].cols
        };
        assert_int_equal(open_with(NULL, &stmt, &why), E_SYNTAX);
        if (strstr(why.text, bad[i].why) == NULL || strstr(why.text, "bad.one") == NULL)
            fail_msg("not clear enough: %s", why.text);
    }
}

/* Statements are checked again as soon as one of them, or a table, has changed. */
static void test_changes_while_it_is_closed(void **state)
{
    static const struct {
        const char *change, *undo, *words;
    } changes[] = {
        { "DROP TABLE note", "CREATE TABLE note(owner, name, value, PRIMARY KEY(owner, name))",
          "statement note.put does not prepare: no such table: note" },
        { "ALTER TABLE note RENAME owner TO lost", "ALTER TABLE note RENAME lost TO owner",
          "statement note.put does not prepare: table note has no column named owner" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct store *s = fix_store();
        store_close(&s);
        run_sql(changes[i].change);
        refused(E_SYNTAX, changes[i].words);
        run_sql(changes[i].undo);
        s = fix_store();
        assert_int_equal(put_note(s, (int64_t)i, 1), STORE_OK);
        store_close(&s);
    }
    struct store_stmt stmt = { .name = "one", .sql = "SELECT 1", .params = "", .cols = "i" };
    struct why why = { "" };
    assert_int_equal(open_with(NULL, &stmt, &why), OK);
    stmt.sql = "SELECT a FROM nowhere";
    assert_int_equal(open_with(NULL, &stmt, &why), E_SYNTAX);
}

/* Writes messages until it is killed; the number of each acknowledged one goes to fd. */
static void write_until_killed(int fd)
{
    struct store *s = fix_store();
    for (uint32_t i = 1; i <= 100000; i++) {
        if (store_run(fix_message(s, i % 7, i % 5 + 100, i, SLICE("kill")), NULL, NULL) != STORE_OK)
            _exit(1);
        if (write(fd, &i, sizeof i) != sizeof i)
            _exit(1);
        if (i % 13 == 0) { /* some owners' rows are inserted before their turn */
            struct store_batch *b = store_read(s, 1);
            store_read_late(b, i % 7);
            STORE_ADD(b, &entry_list, STORE_ANY_ROWS, SV_I(i % 7));
            store_run(b, NULL, NULL);
        }
    }
}

static void kill_after(uint32_t messages)
{
    int fds[2], status;
    uint32_t last = 0, i;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        write_until_killed(fds[1]);
        _exit(0);
    }
    close(fds[1]);
    while (last < messages && read(fds[0], &i, sizeof i) == sizeof i)
        last = i;
    kill(pid, SIGKILL);
    while (read(fds[0], &i, sizeof i) == sizeof i)
        last = i;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(fds[0]);
    assert_true(last >= messages);
    struct store *s = fix_store(); /* checks, rebuilds the late rows */
    store_close(&s);               /* and inserts them */
    int64_t count = fix_int("SELECT count(*) FROM message WHERE stamp > 0");
    assert_true(count == last || count == last + 1); /* one may have had no time to be told */
    assert_int_equal(fix_int("SELECT count(*) FROM entry"), count * 2);
    assert_int_equal(fix_int("SELECT count(*) FROM entry e LEFT JOIN message m ON m.id = e.msg "
                             "WHERE m.id IS NULL OR m.stamp <> e.id"),
                     0);
    assert_int_equal(fix_int("SELECT position FROM reader"),
                     fix_int("SELECT max(id) FROM message"));
}

static void test_kill(void **state)
{
    (void)state;
    kill_after(300);
    unlink(fix_path);
    kill_after(1); /* nothing but late rows in memory */
}

/* Rows of the log from before there was an index: all come in, by several runs. */
static void test_rebuild_all(void **state)
{
    (void)state;
    struct store *s = fix_store();
    store_close(&s);
    run_sql("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000)"
            " INSERT INTO message(sender, rcpt, stamp, body) SELECT x % 50, 1000, x, 'm' FROM n");
    uint64_t began_us = clock_mono_us();
    s = fix_store();
    store_close(&s);
    print_message("rebuilding 200,000 rows took %d ms\n", (int)(clock_mono_us() - began_us) / 1000);
    assert_int_equal(fix_int("SELECT count(*) FROM entry"), 200000);
    assert_int_equal(fix_int("SELECT position FROM reader"), 100000);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = { bytes, RLIM_INFINITY };
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(2);
}

#define CHECK(c) ((c) ? (void)0 : (void)(fprintf(stderr, "line %d: %s\n", __LINE__, #c), _exit(1)))

/* What a full disk does, by a limit of file sizes. */
static void write_to_full_disk(int fd)
{
    (void)fd;
    signal(SIGXFSZ, SIG_IGN);
    struct store *s = fix_store();
    limit_files(512 << 10);
    int64_t owner = 0;
    enum store_result result;
    while ((result = put_note(s, ++owner, 20000)) == STORE_OK)
        CHECK(owner < 100);
    CHECK(result == STORE_FULL);
    CHECK(atomic_load(&store_full_alarm.active));
    CHECK(put_note(s, 1000, 20000) == STORE_FULL);
    CHECK(put_note(s, 1001, 300000) == STORE_FULL);
    limit_files(RLIM_INFINITY); /* space again: nothing has to be restarted */
    CHECK(put_note(s, 2000, 20000) == STORE_OK);
    uint64_t until_us = clock_mono_us() + 20000000;
    while (atomic_load(&store_full_alarm.active)) { /* also if nobody writes */
        CHECK(clock_mono_us() < until_us);
        usleep(10000);
    }
    CHECK(!atomic_load(&store_down_alarm.active));
    store_close(&s);
    CHECK(fix_int("SELECT count(*) FROM note") == owner); /* all that were OK, and 2000 */
    CHECK(fix_int("SELECT count(*) FROM note WHERE owner IN (1000, 1001)") == 0);
    CHECK(fix_int("SELECT count(*) FROM note WHERE length(value) <> 20000") == 0);
}

static void test_full_disk(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_to_full_disk, 0), 0);
}

struct tally {
    unsigned left, ok, full, other;
};

static void count_result(void *arg, enum store_result result, const struct store_batch *b)
{
    struct tally *t = arg;
    (void)b;
    t->ok += result == STORE_OK;
    t->full += result == STORE_FULL;
    t->other += result != STORE_OK && result != STORE_FULL;
    if (--t->left == 0)
        loop_stop(loop_here());
}

/* One batch of the group that does not fit does not take the others with it. */
static void write_large_among_small(int fd)
{
    (void)fd;
    signal(SIGXFSZ, SIG_IGN);
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct tally t = { .left = 101 };
    char *large = mem_alloc(8 << 20);
    memset(large, 'v', 8 << 20);
    limit_files(6 << 20);
    for (int i = 0; i < 101; i++) {
        slice value = { large, i == 50 ? 8 << 20 : 100 };
        struct store_batch *b = store_write(s, 1);
        STORE_ADD(b, &note_new, 1, SV_I(i), SV_T(SLICE("n")), SV_T(value));
        store_submit(b, loop, 0, count_result, &t);
    }
    loop_run(loop);
    CHECK(t.ok == 100 && t.full == 1);
    store_close(&s);
    loop_destroy(&loop);
    mem_free(&large);
    CHECK(fix_int("SELECT count(*) FROM note") == 100);
}

static void test_full_for_one(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_large_among_small, 0), 0);
}

struct late_answer {
    unsigned calls;
    enum store_result result;
    uint64_t at_us;
};

static void note_answer(void *arg, enum store_result result, const struct store_batch *b)
{
    struct late_answer *a = arg;
    assert_true((b != NULL) == (result == STORE_OK));
    a->calls++;
    a->result = result;
    a->at_us = clock_mono_us();
    loop_stop(loop_here());
}

/* Another program holds the database: the answer comes in time, the write is done in the end. */
static void test_stalled(void **state)
{
    (void)state;
    sqlite3 *other;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct late_answer a = { 0 };
    assert_int_equal(sqlite3_open(fix_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_new, 1, SV_I(1), SV_T(SLICE("n")), SV_NULL);
    uint64_t began_us = clock_mono_us();
    store_submit(b, loop, 300, note_answer, &a);
    loop_run(loop);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.result, STORE_UNKNOWN);
    assert_true(a.at_us - began_us >= 300000);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    b = store_write(s, 1);
    STORE_ADD(b, &note_append, 1, SV_I(1), SV_T(SLICE("behind it")));
    store_submit(b, loop, 0, note_answer, &a);
    loop_run(loop);
    assert_int_equal(a.calls, 2); /* the late result of the first told nobody */
    assert_int_equal(a.result, STORE_OK);
    sqlite3_close(other);
    store_close(&s);
    loop_destroy(&loop);
}

static void fill_group(struct store *s, struct loop *loop)
{
    for (int i = 0; i < 512; i++) {
        struct store_batch *b = store_write(s, 1);
        STORE_ADD(b, &note_append, STORE_ANY_ROWS, SV_I(2), SV_T(SLICE("x")));
        store_submit(b, loop, STORE_COMMIT_MS, NULL, NULL);
    }
}

/* The same for one that is waited for: that it is late is known, and its real result is told. What
 * is in front of it ends without one. */
static void test_stalled_until_done(void **state)
{
    (void)state;
    sqlite3 *other;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct late_answer a = { 0 }, later = { 0 };
    assert_int_equal(sqlite3_open(fix_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    fill_group(s, loop);
    for (int i = 1; i <= 2; i++) { /* the second one is refused in the end */
        struct store_batch *b = store_write(s, 1);
        STORE_ADD(b, &note_new, i, SV_I(1), SV_T(SLICE("n")), SV_NULL);
        store_submit(b, loop, STORE_UNTIL_DONE, note_answer, &a);
    }
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_append, 1, SV_I(1), SV_T(SLICE("behind it")));
    store_submit(b, loop, STORE_DEADLINE_MS + 200, note_answer, &later);
    loop_run(loop);
    assert_int_equal(later.result, STORE_UNKNOWN);
    assert_int_equal(a.calls, 0);
    assert_true(atomic_load(&store_slow_alarm.active));
    assert_true(store_busy(s));
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    while (a.calls == 0)
        loop_run(loop);
    assert_int_equal(a.result, a.calls == 1 ? STORE_OK : STORE_CONFLICT);
    while (a.calls < 2)
        loop_run(loop);
    assert_int_equal(a.result, STORE_CONFLICT);
    assert_false(atomic_load(&store_slow_alarm.active));
    sqlite3_close(other);
    store_close(&s);
    loop_destroy(&loop);
}

/* While the disk does not answer, memory is bounded: what would go beyond is refused at once. The
 * writer gives a locked database up after 2 s, which makes room: so nothing slow is between the
 * first batch that waits and the one that is refused. */
static void test_queue_limit(void **state)
{
    enum { BATCHES = 20, BYTES = 15 << 20 };
    (void)state;
    sqlite3 *other;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    struct late_answer a = { 0 };
    struct store_batch *batches[BATCHES];
    char *large = mem_zalloc(BYTES);
    for (int i = 0; i < BATCHES; i++) {
        batches[i] = store_write(s, 1);
        STORE_ADD(batches[i], &note_new, 1, SV_I(i), SV_T(SLICE("n")),
                  SV_T(((slice){ large, BYTES })));
    }
    assert_int_equal(sqlite3_open(fix_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < BATCHES; i++)
        store_submit(batches[i], loop, 0, i == BATCHES - 1 ? note_answer : NULL, &a);
    loop_run(loop);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.result, STORE_DOWN);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    store_close(&s);
    loop_destroy(&loop);
    mem_free(&large);
    assert_in_range(fix_int("SELECT count(*) FROM note"), 8, 17); /* a block has room to grow */
}

static void assert_refused(const char *words)
{
    char detail[160];
    assert_true(atomic_load(&store_refused_alarm.active));
    alarm_detail(&store_refused_alarm, detail, sizeof detail);
    if (strstr(detail, words) == NULL)
        fail_msg("not \"%s\": %s", words, detail);
    assert_false(atomic_load(&store_down_alarm.active));
}

static void wait_accepted(void)
{
    uint64_t until_us = clock_mono_us() + 20000000;
    while (atomic_load(&store_refused_alarm.active)) {
        assert_true(clock_mono_us() < until_us);
        usleep(10000);
    }
}

/* Where a table or a column is gone, whether its statement was prepared or not: what needs it is
 * refused, all else is stored, and that does not end the alarm. */
static void test_tables_that_changed(void **state)
{
    static const struct {
        const char *change, *undo, *words;
    } changes[] = {
        { "ALTER TABLE note RENAME TO lost", "ALTER TABLE lost RENAME TO note",
          "no such table: note" },
        { "ALTER TABLE note RENAME owner TO lost", "ALTER TABLE note RENAME lost TO owner",
          "no column named owner" },
    };
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct store *s = fix_store();
        if (i % 2 == 0)
            assert_int_equal(put_note(s, i, 1), STORE_OK);
        run_sql(changes[i / 2].change);
        assert_int_equal(put_note(s, 100 + i, 1), STORE_DOWN);
        assert_refused(changes[i / 2].words);
        assert_int_equal(store_run(fix_message(s, 1, 2, i + 1, SLICE("m")), NULL, NULL), STORE_OK);
        assert_refused(changes[i / 2].words);
        run_sql(changes[i / 2].undo);
        assert_int_equal(put_note(s, 200 + i, 1), STORE_OK);
        assert_false(atomic_load(&store_refused_alarm.active));
        store_close(&s);
    }
    assert_int_equal(fix_int("SELECT count(*) FROM note WHERE owner BETWEEN 100 AND 199"), 0);
}

/* The alarm ends although nobody stores the like. */
static void test_refused_and_not_asked_again(void **state)
{
    (void)state;
    struct store *s = fix_store();
    run_sql("ALTER TABLE note RENAME TO lost");
    assert_int_equal(put_note(s, 1, 1), STORE_DOWN);
    assert_refused("no such table: note");
    run_sql("ALTER TABLE lost RENAME TO note");
    wait_accepted();
    store_close(&s);
}

/* Index rows wait in memory where they cannot be inserted, and the operator is told. */
static void test_a_table_of_late_rows_that_changed(void **state)
{
    int64_t stamp = 0;
    (void)state;
    struct store *s = fix_store();
    run_sql("ALTER TABLE entry RENAME TO lost");
    while (!atomic_load(&store_refused_alarm.active)) {
        assert_true(stamp < 1000);
        store_run(fix_message(s, 1, 2, ++stamp, SLICE("m")), NULL, NULL);
    }
    assert_refused("no such table");
    run_sql("ALTER TABLE lost RENAME TO entry");
    wait_accepted();
    store_close(&s);
    assert_int_equal(fix_int("SELECT count(*) FROM entry"), 2 * stamp);
}

/* What one batch asks for is no reason for an alarm. */
static void test_one_batch_is_refused(void **state)
{
    (void)state;
    struct store *s = fix_store();
    run_sql("CREATE TRIGGER fail BEFORE INSERT ON note WHEN NEW.owner = 7"
            " BEGIN SELECT abs(-9223372036854775800 - NEW.owner - 1); END;"
            "CREATE TRIGGER abort BEFORE INSERT ON note WHEN NEW.owner = 8"
            " BEGIN SELECT raise(ABORT, 'as told'); END");
    assert_int_equal(put_note(s, 7, 1), STORE_CONFLICT);
    assert_int_equal(put_note(s, 8, 1), STORE_CONFLICT);
    assert_int_equal(put_note(s, 9, 1), STORE_OK);
    assert_int_equal(put_note(s, 9, 1), STORE_CONFLICT);
    assert_false(atomic_load(&store_refused_alarm.active));
    assert_false(atomic_load(&store_down_alarm.active));
    store_close(&s);
}

static void damage(int64_t page)
{
    char junk[8192];
    memset(junk, 0xa5, sizeof junk);
    int fd = open(fix_path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, junk, sizeof junk, (page - 1) * (off_t)sizeof junk), sizeof junk);
    close(fd);
}

static void test_damaged_at_open(void **state)
{
    (void)state;
    struct store *s = fix_store();
    assert_int_equal(put_note(s, 1, 100), STORE_OK);
    store_close(&s);
    damage(fix_int("SELECT rootpage FROM sqlite_schema WHERE name = 'note'"));
    s = fix_store(); /* after a clean end nothing is looked at */
    store_close(&s);
    run_sql("UPDATE store_state SET value = 0 WHERE name = 'clean'");
    refused(E_CORRUPT, "is damaged");
}

static void test_damaged_meanwhile(void **state)
{
    (void)state;
    struct store *s = fix_store();
    assert_int_equal(put_note(s, 1, 100), STORE_OK);
    store_close(&s);
    damage(fix_int("SELECT rootpage FROM sqlite_schema WHERE name = 'note'"));
    s = fix_store();
    assert_int_equal(put_note(s, 2, 100), STORE_DOWN);
    assert_true(atomic_load(&store_down_alarm.active));
    /* from now on also in tables that are sound */
    assert_int_equal(store_run(fix_message(s, 1, 2, 3, SLICE("m")), NULL, NULL), STORE_DOWN);
    struct store_batch *b = store_read(s, 0); /* what can be read, is read */
    store_add(b, &message_count, STORE_ANY_ROWS, NULL, 0);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    store_close(&s);
    alarm_clear(&store_down_alarm);
    refused(E_CORRUPT, "is damaged"); /* the end was not clean */
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_garbage),
        TEST(test_no_directory),
        TEST(test_read_only),
        TEST(test_in_use),
        TEST(test_foreign),
        TEST(test_newer_schema),
        TEST(test_migrations),
        TEST(test_bad_statements),
        TEST(test_changes_while_it_is_closed),
        TEST(test_kill),
        TEST(test_rebuild_all),
        TEST(test_full_disk),
        TEST(test_full_for_one),
        TEST(test_stalled),
        TEST(test_stalled_until_done),
        TEST(test_queue_limit),
        TEST(test_tables_that_changed),
        TEST(test_refused_and_not_asked_again),
        TEST(test_a_table_of_late_rows_that_changed),
        TEST(test_one_batch_is_refused),
        TEST(test_damaged_at_open),
        TEST(test_damaged_meanwhile),
    };
    return cmocka_run_group_tests_name("store_fault", tests, NULL, NULL);
}
