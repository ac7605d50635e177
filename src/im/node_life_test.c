/* A start that fails: what has not begun is not waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "im/test_node.h"
#include <sqlite3.h>

enum { HANGS_S = 60 };

static const struct gate_ops gate;

static void test_a_start_without_the_database_ends(void **state)
{
    struct test_node t;
    struct why why;
    char path[64];
    sqlite3 *db;
    (void)state;
    test_node_open(&t, &gate);
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE reserved", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    alarm(HANGS_S);
    assert_int_equal(node_start(t.node, &why), E_DOWN);
    node_stop(t.node);
    alarm(0);
    test_node_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_start_without_the_database_ends),
    };
    return cmocka_run_group_tests_name("node_life", tests, NULL, NULL);
}
