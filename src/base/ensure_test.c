#include "base/ensure.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void fail_in_child(int fd)
{
    signal(SIGABRT, SIG_DFL);
    dup2(fd, STDERR_FILENO);
    ensure(1 + 1 == 3);
    _exit(0);
}

static void failure_says_what_and_where_and_aborts(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        fail_in_child(ends[1]);
    close(ends[1]);

    char text[8192];
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "ensure failed: 1 + 1 == 3 at src/base/ensure_test.c:"));
    assert_non_null(strstr(text, "_test")); /* the backtrace names the program */
}

static void success_evaluates_once(void **state)
{
    (void)state;
    int count = 0;
    ensure(++count == 1);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failure_says_what_and_where_and_aborts),
        cmocka_unit_test(success_evaluates_once),
    };
    return cmocka_run_group_tests_name("ensure", tests, NULL, NULL);
}
