#include "admin/settings/settings.h"
#include "auth/auth.h"
#include "base/log.h"
#include "core/feature.h"
#include "store/store.h"
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void on_changed(struct worker *w, const struct setting *s) { (void)w, (void)s; }

static struct setting limit = { .name = "t.limit",
                                .scope = SCOPE_CLUSTER,
                                .type = PARAM_INT,
                                .def = 5,
                                .min = 1,
                                .max = 64,
                                .doc = "A limit.",
                                .changed = on_changed };
static struct setting text = { .name = "t.text",
                               .scope = SCOPE_CLUSTER,
                               .type = PARAM_TEXT,
                               .def_text = "",
                               .max = 16,
                               .doc = "A text." };

static char folder[] = "/tmp/muster-settings-XXXXXX";
static char path[64], url[80];

/* Replaces the table's rows, as an older or newer version may have left them. */
static void write_rows(const char *values)
{
    sqlite3 *db;
    char sql[512];
    snprintf(sql, sizeof sql, "DELETE FROM setting; INSERT INTO setting (name, value) VALUES %s",
             values);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void load(void)
{
    const struct store_schema *const schemas[] = { &auth_schema, settings_feature.schema, NULL };
    const struct store_conf conf = { .url = url, .schemas = schemas };
    struct store *store = NULL;
    struct why why;
    assert_int_equal(store_open(&store, &conf, &why), OK);
    assert_int_equal(settings_load(store, &why), OK);
    store_close(&store);
}

static void stored_values_are_loaded(void **state)
{
    (void)state;
    write_rows("('t.limit', '9'), ('t.text', 'it''s')");
    load();
    assert_int_equal(setting_int(&limit), 9);
    assert_string_equal(setting_text(&text), "it's");
}

static void what_is_wrong_or_unknown_is_ignored(void **state)
{
    (void)state;
    setting_reset(&limit);
    write_rows("('t.limit', '65'), ('t.gone', '1'), ('t.text', 'fine')");
    load();
    assert_int_equal(setting_int(&limit), 5);
    assert_string_equal(setting_text(&text), "fine");
}

static void the_node_file_wins_and_gives_back(void **state)
{
    (void)state;
    const struct setting_fixed fixed[] = { { .setting = &limit, .value = SLICE("7") } };
    settings_fix(fixed, 1);
    assert_true(limit.locked);
    assert_false(text.locked);
    assert_int_equal(setting_int(&limit), 7);
    write_rows("('t.limit', '9')");
    load(); /* does not touch a locked value, and remembers */
    assert_int_equal(setting_int(&limit), 7);
    settings_fix(NULL, 0);
    assert_false(limit.locked);
    assert_int_equal(setting_int(&limit), 9);
}

static void fixing_again_changes_only_what_differs(void **state)
{
    (void)state;
    const struct setting_fixed seven[] = { { .setting = &limit, .value = SLICE("7") } };
    const struct setting_fixed eight[] = { { .setting = &limit, .value = SLICE("8") } };
    settings_fix(seven, 1);
    uint32_t changes = setting_changes();
    settings_fix(seven, 1);
    assert_int_equal(setting_changes(), changes);
    settings_fix(eight, 1);
    assert_int_equal(setting_changes(), changes + 1);
    assert_int_equal(setting_int(&limit), 8);
    settings_fix(NULL, 0);
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/muster.db", folder);
    snprintf(url, sizeof url, "sqlite:%s", path);
    log_set_default(LOG_ERROR);
    setting_register(&limit);
    setting_register(&text);
    load(); /* makes the table */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_values_are_loaded),
        cmocka_unit_test(what_is_wrong_or_unknown_is_ignored),
        cmocka_unit_test(the_node_file_wins_and_gives_back),
        cmocka_unit_test(fixing_again_changes_only_what_differs),
    };
    return cmocka_run_group_tests_name("settings", tests, setup, teardown);
}
