/* What features give to the store, on PostgreSQL: their tables can be made, twice opened nothing is
 * made again, and each statement prepares with the types that it declares (the driver looks at all
 * of them at open). And what FTS5's words become there. */
#include "app/features.h"
#include "base/arena.h"
#include "base/log.h"
#include "core/feature.h"
#include "store/pgsql_fixture.h"
#include "store/store.h"
#include "store/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void open_and_close(void **state)
{
    struct arena *arena = arena_create(0);
    struct store *store;
    struct why why = { "" };
    struct store_conf conf = { .url = pgfix.url, .schemas = features_schemas(arena) };
    (void)state;
    if (store_open(&store, &conf, &why) != OK)
        fail_msg("%s", why.text);
    assert_true(store_is_pgsql(store));
    store_close(&store);
    arena_destroy(&arena);
}

static void the_tables_are_there(void **state)
{
    (void)state;
    assert_true(pgfix_int("SELECT count(*) FROM schema") > 20);
    /* ids and numbers are of one type, as the letters of statements say */
    assert_int_equal(pgfix_int("SELECT count(*) FROM information_schema.columns WHERE table_schema"
                               " = 'public' AND data_type NOT IN ('bigint', 'text', 'bytea',"
                               " 'tsvector')"),
                     0);
}

static bool finds(const char *text, const char *search)
{
    struct buf sql;
    buf_init(&sql, 4096);
    buf_lit(&sql, "SELECT CASE WHEN CAST($$");
    words_vector(&sql, slice_of(text));
    buf_lit(&sql, "$$ AS tsvector) @@ CAST($$");
    struct buf query;
    buf_init(&query, 4096);
    words_phrase(&query, slice_of(search));
    buf_add(&sql, buf_slice(&query));
    buf_lit(&sql, "$$ AS tsquery) THEN 1 ELSE 0 END");
    buf_append(&sql, "", 1);
    bool found = pgfix_int(sql.ptr) == 1;
    buf_fini(&query);
    buf_fini(&sql);
    return found;
}

static void words_are_found(void **state)
{
    (void)state;
    assert_true(finds("The blue-green Caf\xc3\xa9", "CAFE"));
    assert_true(finds("The blue-green Caf\xc3\xa9", "Blue Green"));
    assert_false(finds("The blue-green Caf\xc3\xa9", "green-blue"));
    assert_false(finds("The blue-green Caf\xc3\xa9", "gree"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_and_close),
        cmocka_unit_test(open_and_close),
        cmocka_unit_test(the_tables_are_there),
        cmocka_unit_test(words_are_found),
    };
    if (!pgfix_start())
        return 0;
    features_register();
    features_set(features_all);
    log_set_level(&log_store, LOG_ERROR);
    int failed = cmocka_run_group_tests_name("database", tests, NULL, NULL);
    pgfix_end();
    return failed;
}
