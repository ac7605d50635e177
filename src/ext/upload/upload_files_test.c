#include "base/arena.h"
#include "base/buf.h"
#include "base/hex.h"
#include "ext/upload/upload_files.h"
#include "ext/upload/upload_private.h"
#include "ext/upload/upload_rows.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char dir[64], temp[UPLOAD_PATH_MAX];
static struct upload_page page;

static const char *hash_of(unsigned n)
{
    static char hash[UPLOAD_HASH_LEN + 1];
    snprintf(hash, sizeof hash, "%02x%062u", n % 256, n);
    return hash;
}

static bool is_there(unsigned n)
{
    char path[UPLOAD_PATH_MAX];
    upload_blob_path(path, hash_of(n));
    return access(path, F_OK) == 0;
}

static int place(unsigned n)
{
    snprintf(temp, sizeof temp, "%s/uploads/tmp/one", dir);
    int fd = open(temp, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    return upload_place(temp, hash_of(n));
}

static void condemn(unsigned first, unsigned count)
{
    page.count = count;
    for (unsigned i = 0; i < count; i++)
        snprintf(page.hash[i], sizeof page.hash[i], "%s", hash_of(first + i));
    upload_condemn(&page);
}

static int begin(void **state)
{
    (void)state;
    struct why why = { "" };
    snprintf(dir, sizeof dir, "/tmp/muster-uploads-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(upload_files_open(dir, &why), OK);
    return 0;
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    upload_acquit();
    return nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_removed(void **state)
{
    (void)state;
    for (unsigned n = 0; n < UPLOAD_PAGE; n++)
        assert_int_equal(place(n), 0);
    assert_string_equal(temp, "");
    condemn(0, UPLOAD_PAGE);
    upload_remove(&page);
    for (unsigned n = 0; n < UPLOAD_PAGE; n++) {
        assert_false(is_there(n));
        assert_false(page.spared[n]);
    }
    upload_remove(&page); /* a crash came before their rows were forgotten */
    assert_false(page.spared[0]);
}

/* The one that comes while its hash is condemned has a reference that the sweep has not seen. */
static void test_spared(void **state)
{
    (void)state;
    assert_int_equal(place(1), 0);
    assert_int_equal(place(2), 0);
    condemn(1, 3);
    assert_int_equal(place(2), 0);
    assert_int_equal(place(3), 0);
    upload_spare(0);
    upload_remove(&page);
    for (unsigned n = 1; n <= 3; n++) {
        assert_true(is_there(n));
        assert_true(page.spared[n - 1]);
    }
    condemn(1, 1);
    upload_acquit();
    assert_int_equal(place(1), 0);
    assert_false(page.spared[0]);
}

/* What cannot be removed keeps its row, and is tried again. */
static void test_stuck(void **state)
{
    (void)state;
    char path[UPLOAD_PATH_MAX];
    assert_int_equal(place(1), 0);
    upload_blob_path(path, hash_of(2 * 256));
    *strrchr(path, '/') = '\0';
    assert_int_equal(mkdir(path, 0700), 0);
    upload_blob_path(path, hash_of(2 * 256));
    assert_int_equal(mkdir(path, 0700), 0);
    page.count = 2;
    snprintf(page.hash[0], sizeof page.hash[0], "%s", hash_of(1));
    snprintf(page.hash[1], sizeof page.hash[1], "%s", hash_of(2 * 256));
    upload_condemn(&page);
    upload_remove(&page);
    assert_false(page.spared[0]);
    assert_true(page.spared[1]);
}

static void test_no_place(void **state)
{
    (void)state;
    char path[UPLOAD_PATH_MAX];
    upload_blob_path(path, hash_of(7));
    *strrchr(path, '/') = '\0';
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(place(7), ENOTDIR);
    assert_string_not_equal(temp, ""); /* its owner removes it */
}

static void test_rests(void **state)
{
    (void)state;
    struct why why;
    assert_int_equal(place(1), 0);
    snprintf(temp, sizeof temp, "%s/uploads/tmp/rest", dir);
    int fd = open(temp, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(upload_files_open(dir, &why), OK);
    assert_int_equal(access(temp, F_OK), -1);
    assert_true(is_there(1));
}

static bool verifies(void)
{
    struct arena *arena = arena_create(0);
    struct buf query;
    struct upload_slot slot = { .name = SLICE("a"), .owner = 1, .size = 2, .until_us = 3 };
    struct upload_slot read = slot;
    snprintf(slot.id, sizeof slot.id, "%032d", 1);
    memcpy(read.id, slot.id, sizeof slot.id);
    buf_init(&query, 4096);
    upload_sign(&query, &slot);
    bool same = upload_verify(&read, buf_slice(&query), arena) && read.owner == 1 && read.size == 2;
    buf_fini(&query);
    arena_destroy(&arena);
    return same;
}

/* No key: nothing is verified, not even what is signed with zeros, which a key that was not read
 * would be. */
static void test_key(void **state)
{
    (void)state;
    static const char key[32], text[] = "\n1\n2\n3\n\na";
    unsigned char mac[32];
    char path[UPLOAD_PATH_MAX], query[128], hex[2 * 20 + 1];
    struct why why;
    struct upload_slot slot = { .name = SLICE("a") };
    HMAC(EVP_sha256(), key, sizeof key, (const unsigned char *)text, sizeof text - 1, mac, NULL);
    hex_encode(hex, (slice){ (const char *)mac, 20 });
    snprintf(query, sizeof query, "o=1&s=2&u=3&t=&m=%s", hex);
    struct arena *arena = arena_create(0);
    assert_true(verifies());
    snprintf(path, sizeof path, "%s/uploads/upload.key", dir);
    for (int len = 0; len < 32; len += 31) {
        assert_int_equal(truncate(path, len), 0);
        assert_int_equal(upload_files_open(dir, &why), E_CORRUPT);
        assert_false(upload_has_key());
        assert_false(upload_verify(&slot, slice_of(query), arena));
    }
    unlink(path);
    assert_int_equal(upload_files_open(dir, &why), OK);
    assert_true(upload_has_key());
    assert_true(verifies());
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_removed, begin, end),
        cmocka_unit_test_setup_teardown(test_spared, begin, end),
        cmocka_unit_test_setup_teardown(test_stuck, begin, end),
        cmocka_unit_test_setup_teardown(test_no_place, begin, end),
        cmocka_unit_test_setup_teardown(test_rests, begin, end),
        cmocka_unit_test_setup_teardown(test_key, begin, end),
    };
    return cmocka_run_group_tests_name("upload_files", tests, NULL, NULL);
}
