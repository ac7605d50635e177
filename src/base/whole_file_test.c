#include "base/whole_file.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { BYTES_MAX = 10 };

static char dir[] = "/tmp/muster-whole-XXXXXX";
static char path[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/file", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(dir);
}

static void assert_reads(const char *text, enum err expected)
{
    struct buf out;
    struct why why;
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    buf_init(&out, BYTES_MAX);
    assert_int_equal(whole_file_read(&out, path, &why), expected);
    if (expected == OK)
        assert_true(slice_is(buf_fit(&out), text));
    else
        assert_non_null(strstr(why.text, path));
    buf_fini(&out);
    unlink(path);
}

static void files_up_to_the_limit(void **state)
{
    (void)state;
    assert_reads("", OK);
    assert_reads("0123456789", OK);
    assert_reads("0123456789a", E_LIMIT);
}

static void what_does_not_end_is_refused_at_once(void **state)
{
    struct buf out;
    struct why why;
    (void)state;
    buf_init(&out, BYTES_MAX);
    assert_int_equal(whole_file_read(&out, path, &why), E_IO);
    assert_non_null(strstr(why.text, "file: No such file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(whole_file_read(&out, path, &why), E_SYNTAX);
    assert_non_null(strstr(why.text, "file: not a regular file"));
    assert_int_equal(whole_file_read(&out, dir, &why), E_SYNTAX);
    assert_int_equal(whole_file_read(&out, "/dev/zero", &why), E_SYNTAX);
    unlink(path);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_up_to_the_limit),
        cmocka_unit_test(what_does_not_end_is_refused_at_once),
    };
    return cmocka_run_group_tests_name("whole_file", tests, set_up, tear_down);
}
