#include "base/durable.h"
#include "base/secret_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LEN = 32 };
static char dir[64], path[96];
static const unsigned char zeros[LEN];

static int begin(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/muster-secret-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/some.key", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char temp[128];
    snprintf(temp, sizeof temp, "%s.new", path);
    assert_int_not_equal(unlink(temp), 0); /* nothing is left beside the file */
    unlink(path);
    rmdir(path);
    return rmdir(dir);
}

static void put(const char *bytes, size_t len, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* It is refused by all that reads it, with a sentence that names it; nothing of it comes out, and
 * it is left as it was. */
static void refused(enum err expected, const char *text)
{
    unsigned char out[LEN];
    struct why why = { "" };
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    memset(out, 0x55, sizeof out);
    assert_int_equal(secret_file_read(path, out, LEN, &why), expected);
    assert_memory_equal(out, zeros, LEN);
    assert_non_null(strstr(why.text, path));
    assert_non_null(strstr(why.text, text));
    memset(out, 0x55, sizeof out);
    assert_int_equal(secret_file_obtain(path, out, LEN, &why), expected);
    assert_memory_equal(out, zeros, LEN);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_size, before.st_size);
    assert_int_equal(after.st_mode, before.st_mode);
}

static void test_made_and_read(void **state)
{
    (void)state;
    unsigned char made[LEN], again[LEN];
    struct why why;
    struct stat st;
    umask(0);
    assert_int_equal(secret_file_read(path, made, LEN, &why), E_NOTFOUND);
    assert_int_equal(secret_file_obtain(path, made, LEN, &why), OK);
    assert_memory_not_equal(made, zeros, LEN);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, LEN);
    assert_int_equal(secret_file_obtain(path, again, LEN, &why), OK);
    assert_memory_equal(made, again, LEN);
    assert_int_equal(secret_file_check(path, &why), OK);
    unlink(path);
    assert_int_equal(secret_file_obtain(path, again, LEN, &why), OK);
    assert_memory_not_equal(made, again, LEN);
}

static void test_lengths(void **state)
{
    (void)state;
    char bytes[LEN + 1];
    struct why why;
    memset(bytes, 'k', sizeof bytes);
    put(bytes, 0, 0600);
    refused(E_CORRUPT, "empty");
    assert_int_equal(secret_file_check(path, &why), E_CORRUPT);
    put(bytes, LEN - 1, 0600);
    refused(E_CORRUPT, "31 bytes, expected 32");
    assert_int_equal(secret_file_check(path, &why), OK);
    put(bytes, LEN + 1, 0600);
    refused(E_CORRUPT, "33 bytes, expected 32");
}

static void test_rights(void **state)
{
    (void)state;
    char bytes[LEN];
    struct why why;
    memset(bytes, 'k', sizeof bytes);
    static const mode_t others[] = { 0640, 0604, 0620, 0601, 0666 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        put(bytes, LEN, others[i]);
        refused(E_DENIED, "expected 0600");
        assert_int_equal(secret_file_check(path, &why), E_DENIED);
    }
    put(bytes, LEN, 0400);
    assert_int_equal(secret_file_read(path, bytes, LEN, &why), OK);
    if (geteuid() != 0) { /* to root every file is readable */
        put(bytes, LEN, 0);
        refused(E_DENIED, "ermission");
    }
}

static void test_owner(void **state)
{
    (void)state;
    char bytes[LEN];
    struct why why;
    if (geteuid() != 0)
        skip();
    memset(bytes, 'k', sizeof bytes);
    put(bytes, LEN, 0600);
    assert_int_equal(chown(path, 1, 1), 0);
    refused(E_DENIED, "belongs to user id 1, expected 0");
    assert_int_equal(secret_file_check(path, &why), E_DENIED);
}

static void test_folder(void **state)
{
    (void)state;
    struct why why;
    assert_int_equal(mkdir(path, 0700), 0);
    refused(E_CORRUPT, "not a file");
    assert_int_equal(secret_file_check(path, &why), E_CORRUPT);
    assert_int_not_equal(secret_file_write(path, SLICE("x"), &why), OK);
}

/* Opening a FIFO would wait for a writer; it is refused instead. */
static void test_fifo(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    refused(E_CORRUPT, "not a file");
}

static void test_no_place(void **state)
{
    (void)state;
    unsigned char out[LEN];
    struct why why;
    char below[128];
    snprintf(below, sizeof below, "%s/no/such.key", dir);
    assert_int_equal(secret_file_obtain(below, out, LEN, &why), E_NOTFOUND);
    assert_memory_equal(out, zeros, LEN);
    assert_non_null(strstr(why.text, below));
}

static void test_replaced(void **state)
{
    (void)state;
    struct why why;
    char temp[128], out[3];
    snprintf(temp, sizeof temp, "%s.new", path); /* left by a crash, readable by all */
    int fd = open(temp, O_WRONLY | O_CREAT, 0666);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(secret_file_write(path, SLICE("one"), &why), OK);
    assert_int_equal(secret_file_write(path, SLICE("two"), &why), OK);
    assert_int_equal(secret_file_read(path, out, sizeof out, &why), OK);
    assert_memory_equal(out, "two", 3);
}

static void test_folders(void **state)
{
    (void)state;
    struct why why;
    char below[128];
    assert_int_equal(durable_folder(path, 0700, &why), OK);
    assert_int_equal(durable_folder(path, 0700, &why), OK);
    snprintf(below, sizeof below, "%s/no/folder", dir);
    assert_int_equal(durable_folder(below, 0700, &why), E_NOTFOUND);
    assert_int_equal(durable_sync_parent("/", &why), OK);
    assert_int_equal(durable_sync_parent("relative", &why), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_and_read, begin, end),
        cmocka_unit_test_setup_teardown(test_lengths, begin, end),
        cmocka_unit_test_setup_teardown(test_rights, begin, end),
        cmocka_unit_test_setup_teardown(test_owner, begin, end),
        cmocka_unit_test_setup_teardown(test_folder, begin, end),
        cmocka_unit_test_setup_teardown(test_fifo, begin, end),
        cmocka_unit_test_setup_teardown(test_no_place, begin, end),
        cmocka_unit_test_setup_teardown(test_replaced, begin, end),
        cmocka_unit_test_setup_teardown(test_folders, begin, end),
    };
    return cmocka_run_group_tests_name("secret_file", tests, NULL, NULL);
}
