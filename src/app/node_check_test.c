#include "app/node_check.h"
#include "app/node_file.h"
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* libpq reads ~/.pgpass: the commands of root find the password that the server finds. */
static void root_has_the_home_of_the_service(void **state)
{
    (void)state;
    const struct passwd *user = getpwnam("nobody");
    char folder[] = "/tmp/muster-node-check.XXXXXX";
    if (geteuid() != 0 || user == NULL)
        skip(); /* only root can take the rights of another user */
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chown(folder, user->pw_uid, user->pw_gid), 0);
    pid_t child = fork();
    if (child == 0) {
        const struct node_file file = { .data = folder };
        const char *name = node_check_as_service(&file);
        const char *home = getenv("HOME");
        _exit(name != NULL && strcmp(name, "nobody") == 0 && home != NULL &&
                      strcmp(home, getpwnam("nobody")->pw_dir) == 0
                  ? 0
                  : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(root_has_the_home_of_the_service) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
