/* The integrity check of a large file, which goes on in the background. */
#include "base/alarm.h"
#include "base/clock.h"
#include "store/store_fixture.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ROWS = 144, ROW_BYTES = 500000, WAIT_US = 60000000, TRIES = 8 };

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fix_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void set_unclean(void) { run_sql("UPDATE store_state SET value = 0 WHERE name = 'clean'"); }

static int64_t is_clean(void)
{
    return fix_int("SELECT value FROM store_state WHERE name = 'clean'");
}

/* Beyond 64 MiB, and the last end was not clean. */
static int begin(void **state)
{
    char sql[256];
    struct stat st;
    fix_begin();
    struct store *s = fix_store();
    store_close(&s);
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < %d) INSERT "
             "INTO note SELECT x, 'n', hex(zeroblob(%d)) FROM n",
             ROWS, ROW_BYTES / 2);
    run_sql(sql);
    set_unclean();
    assert_int_equal(stat(fix_path, &st), 0);
    assert_true(st.st_size > 64 << 20);
    *state = NULL;
    return 0;
}

static int end(void **state)
{
    (void)state;
    fix_end();
    return 0;
}

static int percent(const struct store *s)
{
    struct store_info info;
    store_info(s, &info);
    assert_non_null(strstr(info.database, fix_path));
    return info.check_percent;
}

static void wait_checked(const struct store *s)
{
    uint64_t until_us = clock_mono_us() + WAIT_US;
    while (percent(s) >= 0) {
        assert_true(percent(s) <= 99);
        assert_true(clock_mono_us() < until_us);
        usleep(1000);
    }
}

static enum store_result put(struct store *s)
{
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_put, 1, SV_I(1), SV_T(SLICE("m")), SV_T(SLICE("v")));
    return store_run(b, NULL, NULL);
}

static void test_whole(void **state)
{
    (void)state;
    struct store *s = fix_store();
    assert_int_equal(put(s), STORE_OK); /* it does not wait */
    wait_checked(s);
    assert_int_equal(put(s), STORE_OK);
    store_close(&s);
    assert_int_equal(is_clean(), 1);
    s = fix_store();
    assert_int_equal(percent(s), -1);
    store_close(&s);
}

/* A check that a stop has cut short goes on at the next start. */
static void test_cut_short(void **state)
{
    (void)state;
    int64_t clean = 1;
    for (int i = 0; i < TRIES && clean; i++) {
        set_unclean();
        struct store *s = fix_store();
        store_close(&s);
        clean = is_clean();
    }
    assert_int_equal(clean, 0);
    struct store *s = fix_store();
    wait_checked(s);
    store_close(&s);
    assert_int_equal(is_clean(), 1);
}

static void damage(void)
{
    char page[8192];
    struct stat st;
    memset(page, 0xff, sizeof page);
    assert_int_equal(stat(fix_path, &st), 0);
    int fd = open(fix_path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, page, sizeof page, st.st_size / 8192 / 2 * 8192), sizeof page);
    close(fd);
}

static void test_damaged(void **state)
{
    (void)state;
    damage();
    struct store *s = fix_store();
    wait_checked(s);
    assert_true(atomic_load(&store_down_alarm.active));
    char detail[160];
    alarm_detail(&store_down_alarm, detail, sizeof detail);
    assert_non_null(strstr(detail, "is damaged"));
    assert_int_equal(put(s), STORE_DOWN);
    store_close(&s);
    alarm_clear(&store_down_alarm);
}

/* A server that starts while somebody looks, and moves all pages. */
struct starting {
    unsigned times; /* that it does so */
    bool runs_on;
    sqlite3 *db;
};

static bool server_starts(void *arg, int percent_read)
{
    struct starting *server = arg;
    (void)percent_read;
    if (server->times == 0)
        return true;
    server->times--;
    assert_int_equal(sqlite3_open(fix_path, &server->db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(server->db,
                                  "PRAGMA journal_mode=WAL; DELETE FROM note WHERE owner IN "
                                  "(SELECT owner FROM note LIMIT 10);"
                                  "VACUUM; PRAGMA wal_checkpoint",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    if (!server->runs_on)
        sqlite3_close(server->db);
    return true;
}

static enum err look_while(struct starting *server, struct why *why)
{
    return store_look(fix_path, STORE_UNUSED, &(struct store_watch){ server_starts, server }, why);
}

/* Old and new pages together are no damage. */
static void test_look_while_a_server_starts(void **state)
{
    struct starting stays = { .times = 1, .runs_on = true }, ends = { .times = 1 };
    struct why why = { "" };
    (void)state;
    assert_int_equal(look_while(&ends, &why), OK);
    assert_int_equal(ends.times, 0);
    assert_int_equal(look_while(&stays, &why), OK);
    assert_int_equal(stays.times, 0);
    sqlite3_close(stays.db);
}

/* It is not taken for damage either. */
static void test_look_at_what_never_rests(void **state)
{
    struct starting server = { .times = 1000 };
    struct why why = { "" };
    (void)state;
    assert_int_equal(look_while(&server, &why), E_IO);
    assert_non_null(strstr(why.text, "is changed while it is read"));
}

static void test_look_at_damage(void **state)
{
    struct starting nobody = { .times = 0 };
    struct why why = { "" };
    (void)state;
    damage();
    assert_int_equal(look_while(&nobody, &why), E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, begin, end),
        cmocka_unit_test_setup_teardown(test_cut_short, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged, begin, end),
        cmocka_unit_test_setup_teardown(test_look_while_a_server_starts, begin, end),
        cmocka_unit_test_setup_teardown(test_look_at_what_never_rests, begin, end),
        cmocka_unit_test_setup_teardown(test_look_at_damage, begin, end),
    };
    return cmocka_run_group_tests_name("store check", tests, NULL, NULL);
}
