#include "app/node_file.h"
#include "base/err.h"
#include "operate/doctor_check.h"
#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GIB (INT64_C(1) << 30)

static const struct doctor_facts sound = {
    .runs = true,
    .in_server = true,
    .descriptors = 1 << 20,
    .planned = 37500,
    .nr_open = 1 << 20,
    .somaxconn = 4096,
    .disk_free = 50 * GIB,
    .disk_bytes = 100 * GIB,
    .inodes_free = 1000000,
    .inodes = 2000000,
    .memory_free = 4 * GIB,
    .memory_bytes = 8 * GIB,
    .data_mode = 0750,
    .database_mode = 0640,
    .database_owner = "root",
    .database_said = "what was said",
    .user = "nobody",
    .sqlite = true,
    .data = "/var/lib/muster",
    .config = "/etc/muster/muster.yaml",
};

static struct doctor_finding judged(const char *name, const struct doctor_facts *f)
{
    struct doctor_finding out = { DOCTOR_OK, "", "" };
    const struct doctor_check *c = doctor_checks;
    while (c->name != NULL && strcmp(c->name, name) != 0)
        c++;
    assert_non_null(c->name);
    c->judge(f, &out);
    return out;
}

static void a_sound_machine_has_nothing_to_mend(void **state)
{
    (void)state;
    for (const struct doctor_check *c = doctor_checks; c->name != NULL; c++) {
        struct doctor_finding found = judged(c->name, &sound);
        if (found.state != DOCTOR_OK || *found.found == '\0')
            fail_msg("%s: %s", c->name, found.found);
    }
}

#define BROKEN(check, state, text, member, value)                                                  \
    {                                                                                              \
        check, state, text, offsetof(struct doctor_facts, member),                                 \
            sizeof(((struct doctor_facts *)0)->member), value                                      \
    }
static const struct {
    const char *check;
    enum doctor_state state;
    const char *text; /* in what was found */
    size_t at, size;
    int64_t value;
} broken[] = {
    BROKEN("server", DOCTOR_ERROR, "no server runs", runs, 0),
    BROKEN("server", DOCTOR_ERROR, "does not answer", hangs, 1),
    BROKEN("permissions", DOCTOR_ERROR, "no such folder", data_mode, -1),
    BROKEN("permissions", DOCTOR_WARNING, "mode 755", data_mode, 0755),
    BROKEN("permissions", DOCTOR_ERROR, "may replace the files there", data_mode, 0757),
    BROKEN("permissions", DOCTOR_WARNING, "muster.db: every user may read", database_mode, 0644),
    BROKEN("database", DOCTOR_ERROR, "not there", database_mode, -1),
    BROKEN("database", DOCTOR_ERROR, "what was said", database_look, E_CORRUPT),
    BROKEN("database", DOCTOR_ERROR, "what was said", database_look, E_UNSUPPORTED),
    BROKEN("database", DOCTOR_WARNING, "not be looked at: what was said", database_look, E_IO),
    BROKEN("database", DOCTOR_ERROR, "belongs to user root (mode 640)", database_errno, EACCES),
    BROKEN("disk", DOCTOR_ERROR, "cannot be looked at", disk_free, -1),
    BROKEN("disk", DOCTOR_ERROR, "200 MiB of", disk_free, 200 << 20),
    BROKEN("disk", DOCTOR_WARNING, "4096 MiB of", disk_free, 4 * GIB),
    BROKEN("disk", DOCTOR_ERROR, "hardly any file", inodes_free, 10),
    BROKEN("memory", DOCTOR_ERROR, "10 MiB of", memory_free, 10 << 20),
    BROKEN("memory", DOCTOR_WARNING, "500 MiB of", memory_free, 500 << 20),
    BROKEN("memory", DOCTOR_WARNING, "/proc/meminfo", memory_free, -1),
    BROKEN("clock", DOCTOR_WARNING, "nobody keeps the clock right", clock_off, 1),
    BROKEN("clock", DOCTOR_WARNING, "does not say", clock_off, -1),
    BROKEN("descriptors", DOCTOR_ERROR, "1024 descriptors", descriptors, 1024),
    BROKEN("descriptors", DOCTOR_ERROR, "37500 sessions are planned for", descriptors, 37500),
    BROKEN("descriptors", DOCTOR_WARNING, "65535 descriptors", descriptors, 65535),
    BROKEN("kernel", DOCTOR_WARNING, "net.core.somaxconn is 128", somaxconn, 128),
    BROKEN("kernel", DOCTOR_WARNING, "fs.nr_open is 1024", nr_open, 1024),
};
enum { BROKEN_COUNT = sizeof broken / sizeof broken[0] };

static void what_is_broken_is_found_and_mended(void **state)
{
    (void)state;
    for (size_t i = 0; i < BROKEN_COUNT; i++) {
        struct doctor_facts f = sound;
        memcpy((char *)&f + broken[i].at, &broken[i].value, broken[i].size); /* little-endian */
        struct doctor_finding found = judged(broken[i].check, &f);
        if (found.state != broken[i].state || strstr(found.found, broken[i].text) == NULL ||
            *found.remedy == '\0')
            fail_msg("%s: %d %s: %s", broken[i].check, found.state, found.found, found.remedy);
    }
}

static void each_check_can_fail(void **state)
{
    (void)state;
    for (const struct doctor_check *c = doctor_checks; c->name != NULL; c++) {
        size_t i = 0;
        while (i < BROKEN_COUNT && strcmp(broken[i].check, c->name) != 0)
            i++;
        if (i == BROKEN_COUNT)
            fail_msg("%s: no row of this test breaks it", c->name);
    }
}

static void whether_postgresql_takes_the_server_in(void **state)
{
    (void)state;
    struct doctor_facts f = sound;
    f.sqlite = false;
    assert_int_equal(judged("database", &f).state, DOCTOR_OK);
    f.in_server = false;
    assert_string_equal(judged("database", &f).found,
                        "PostgreSQL: what was said takes the server in");
    f.database_look = E_DOWN;
    assert_int_equal(judged("database", &f).state, DOCTOR_ERROR);
    assert_non_null(strstr(judged("database", &f).remedy, "/etc/muster/muster.yaml"));
    f.stranger = true;
    assert_int_equal(judged("database", &f).state, DOCTOR_WARNING);
}

/* Nobody is told to make a new one: the data would be gone. */
static void a_database_that_cannot_be_read_is_given_back(void **state)
{
    (void)state;
    struct doctor_facts f = sound;
    f.database_errno = EACCES;
    assert_string_equal(judged("database", &f).remedy,
                        "chown nobody: /var/lib/muster/muster.db && chmod u+rw "
                        "/var/lib/muster/muster.db");
    snprintf(f.database_owner, sizeof f.database_owner, "nobody");
    f.database_mode = 0;
    assert_string_equal(judged("database", &f).remedy, "chmod u+rw /var/lib/muster/muster.db");
    f.database_mode = -1; /* the folder hides it */
    assert_null(strstr(judged("database", &f).found, "not there"));
    assert_non_null(strstr(judged("database", &f).remedy, "chown -R nobody: /var/lib/muster"));
    f.stranger = true;
    assert_string_equal(judged("database", &f).remedy, "run the doctor as root, or as user nobody");
    f.stranger = false;
    f.database_errno = EIO;
    assert_null(strstr(judged("database", &f).remedy, "chown"));
}

static void what_is_not_known_is_neither_ok_nor_an_error(void **state)
{
    (void)state;
    struct doctor_facts f = sound;
    f.descriptors = f.planned = f.nr_open = f.somaxconn = -1;
    assert_int_equal(judged("descriptors", &f).state, DOCTOR_UNKNOWN);
    assert_int_equal(judged("kernel", &f).state, DOCTOR_UNKNOWN);
    f.database_look = E_CANCELED;
    assert_int_equal(judged("database", &f).state, DOCTOR_OK);
    assert_non_null(strstr(judged("database", &f).found, "no damage in what was read in 500 ms"));
    f.in_server = false; /* there nobody waits for it */
    assert_non_null(strstr(judged("database", &f).found, "no damage in what was read in 3000 ms"));
    f.in_server = true;
    f.sqlite = false;
    f.database_mode = -1;
    assert_int_equal(judged("database", &f).state, DOCTOR_OK);
}

/* A database that takes some reading: all of it is read unless the server stops. */
static void a_stop_ends_the_look_at_the_database(void **state)
{
    (void)state;
    char folder[] = "/tmp/doctor_check_test_XXXXXX", path[64];
    atomic_bool stop = false;
    sqlite3 *db;
    struct doctor_facts f;
    struct doctor_look look = { .place = DOCTOR_AS_SERVER, .stop = &stop };
    assert_non_null(mkdtemp(folder));
    struct node_file file = { .data = folder, .database = "sqlite", .path = "muster.yaml" };
    snprintf(path, sizeof path, "%s/muster.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "PRAGMA application_id = 0x4d757374; CREATE TABLE t(b); WITH "
                                  "RECURSIVE n(x) AS (SELECT 1 UNION ALL "
                                  "SELECT x + 1 FROM n WHERE x < 3000) INSERT INTO t SELECT "
                                  "hex(zeroblob(2000)) FROM n",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    doctor_read_facts(&f, &file, &look);
    assert_int_equal(f.database_look, OK);
    atomic_store(&stop, true);
    doctor_read_facts(&f, &file, &look);
    assert_int_equal(f.database_look, E_CANCELED);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_machine_has_nothing_to_mend),
        cmocka_unit_test(what_is_broken_is_found_and_mended),
        cmocka_unit_test(each_check_can_fail),
        cmocka_unit_test(whether_postgresql_takes_the_server_in),
        cmocka_unit_test(a_database_that_cannot_be_read_is_given_back),
        cmocka_unit_test(what_is_not_known_is_neither_ok_nor_an_error),
        cmocka_unit_test(a_stop_ends_the_look_at_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
