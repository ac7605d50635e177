/* A server of PostgreSQL that takes a read and does not answer, or not in time. */
#include "base/alarm.h"
#include "io/loop.h"
#include "store/store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int begin(void **state)
{
    (void)state;
    fix_begin();
    return 0;
}

static int end(void **state)
{
    (void)state;
    fix_end();
    return 0;
}

static void read_answer(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    *(enum store_result *)arg = result;
    loop_stop(loop_here());
}

static enum store_result read_notes(struct store *s, struct loop *loop)
{
    enum store_result result = STORE_OK;
    struct store_batch *b = store_read(s, 0);
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
    store_submit(b, loop, 300, read_answer, &result);
    loop_run(loop);
    return result;
}

static bool is_silent(const struct store *s)
{
    struct store_info info;
    store_info(s, &info);
    return info.silent;
}

static bool is_down(void) { return atomic_load(&store_down_alarm.active) != 0; }

static void wait_down_is(bool down)
{
    for (int i = 0; i < 2000 && is_down() != down; i++)
        usleep(10000);
    assert_int_equal(is_down(), down);
}

static pid_t pid_of(const PGresult *all, int row)
{
    return (pid_t)strtol(PQgetvalue(all, row, 0), NULL, 10);
}

/* Nobody writes: a read finds it, and it is known at once and until the database is back. */
static void test_frozen(void **state)
{
    (void)state;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    PGresult *all = pgfix_ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'muster'");
    for (int i = 0; i < PQntuples(all); i++)
        assert_int_equal(kill(pid_of(all, i), SIGSTOP), 0);
    assert_false(is_silent(s));
    assert_int_equal(read_notes(s, loop), STORE_DOWN);
    assert_true(is_silent(s));
    wait_down_is(true);
    for (int i = 0; i < PQntuples(all); i++)
        assert_int_equal(kill(pid_of(all, i), SIGCONT), 0);
    wait_down_is(false);
    assert_false(is_silent(s));
    PQclear(all);
    store_close(&s);
    loop_destroy(&loop);
}

/* A read that is slow is not one that nobody answers: the server is asked. */
static void test_slow(void **state)
{
    (void)state;
    struct store *s = fix_store();
    struct loop *loop = loop_create(0);
    PGconn *other = PQconnectdb(pgfix.url);
    PQclear(PQexec(other, "BEGIN; LOCK TABLE note"));
    assert_int_equal(read_notes(s, loop), STORE_DOWN);
    for (int i = 0; i < 1000 && is_silent(s); i++)
        usleep(1000);
    assert_false(is_silent(s));
    assert_false(is_down());
    PQfinish(other);
    store_close(&s);
    loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frozen, begin, end),
        cmocka_unit_test_setup_teardown(test_slow, begin, end),
    };
    if (!pgfix_start())
        return 0;
    fix_driver = FIX_PGSQL;
    int failed = cmocka_run_group_tests_name("pgsql_silent", tests, NULL, NULL);
    pgfix_end();
    return failed;
}
