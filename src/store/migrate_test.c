#include "base/log.h"
#include "store/migrate.h"
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A database that only knows versions, and notes what is done to it. */
struct fake {
    struct {
        const char *feature;
        uint32_t version;
    } rows[2];
    char log[128];
    uint32_t fail_at; /* this version of any feature */
};

static enum err version(void *db, const char *feature, uint32_t *out, struct why *why)
{
    struct fake *f = db;
    (void)why;
    *out = 0;
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(f->rows[i].feature, feature) == 0)
            *out = f->rows[i].version;
    }
    return OK;
}

static enum err apply(void *db, const char *feature, const struct store_migration *m,
                      struct why *why)
{
    struct fake *f = db;
    size_t at = strlen(f->log);
    if (m->version == f->fail_at) {
        why_set(why, "as told");
        return E_IO;
    }
    snprintf(f->log + at, sizeof f->log - at, "%s%u ", feature, m->version);
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(f->rows[i].feature, feature) == 0)
            f->rows[i].version = m->version;
    }
    return OK;
}

static enum err migrate(struct fake *f)
{
    static const struct migrate_ops ops = { version, apply };
    static const struct store_migration three[] = {
        { 1, "", "" }, { 2, "", "" }, { 3, "", "" }, { 0, NULL, NULL }
    };
    static const struct store_schema a = { .feature = "a", .migrations = three };
    static const struct store_schema b = { .feature = "b", .migrations = three };
    static const struct store_schema none = { .feature = "none" };
    static const struct store_schema *const schemas[] = { &a, &none, &b, NULL };
    struct why why = { "" };
    enum err e = migrate_run(&ops, f, "the.db", schemas, &why);
    assert_true((e == OK) == (why.text[0] == '\0'));
    return e;
}

static void test_new(void **state)
{
    struct fake f = { .rows = { { "a", 0 }, { "b", 0 } } };
    (void)state;
    assert_int_equal(migrate(&f), OK);
    assert_string_equal(f.log, "a1 a2 a3 b1 b2 b3 ");
    assert_int_equal(migrate(&f), OK);
    assert_string_equal(f.log, "a1 a2 a3 b1 b2 b3 "); /* once */
}

static void test_partly(void **state)
{
    struct fake f = { .rows = { { "a", 3 }, { "b", 1 } } };
    (void)state;
    assert_int_equal(migrate(&f), OK);
    assert_string_equal(f.log, "b2 b3 ");
}

static void test_newer(void **state)
{
    struct fake f = { .rows = { { "a", 0 }, { "b", 4 } } };
    (void)state;
    assert_int_equal(migrate(&f), E_UNSUPPORTED);
    assert_string_equal(f.log, ""); /* a is not touched either */
}

static void test_failure(void **state)
{
    struct fake f = { .rows = { { "a", 0 }, { "b", 0 } }, .fail_at = 2 };
    (void)state;
    assert_int_equal(migrate(&f), E_IO);
    assert_string_equal(f.log, "a1 ");
    f.fail_at = 0;
    assert_int_equal(migrate(&f), OK);
    assert_string_equal(f.log, "a1 a2 a3 b1 b2 b3 ");
}

int main(void)
{
    log_set_level(&log_store, LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_partly),
        cmocka_unit_test(test_newer),
        cmocka_unit_test(test_failure),
    };
    return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
