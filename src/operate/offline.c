#include "operate/offline.h"
#include "app/node_check.h"
#include "base/log.h"
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

enum { ERRORS_BYTES_MAX = 64 * 1024 };

void print_mistakes(const struct buf *mistakes)
{
    slice line, rest = buf_slice(mistakes);
    while (rest.len > 0) {
        slice_cut(rest, '\n', &line, &rest);
        fprintf(stderr, "%s%.*s\n", log_mark(LOG_ERROR), SLICE_ARG(line));
    }
    if (mistakes->overflow)
        fprintf(stderr, "%sThere are more mistakes, which are not shown.\n", log_mark(LOG_ERROR));
}

struct node_file *offline_read(const char *path)
{
    struct node_file *file = NULL;
    struct buf errors;
    buf_init(&errors, ERRORS_BYTES_MAX);
    if (node_file_load(&file, path, &errors) != OK)
        print_mistakes(&errors);
    if (file == NULL && access(path, F_OK) != 0)
        fprintf(stderr, "Name the node file with --config FILE.\n");
    buf_fini(&errors);
    return file;
}

struct node_file *offline_as_service(struct node_file *file)
{
    const char *user = node_check_as_service(file);
    if (user == NULL)
        return file;
    printf("using the rights of user %s, which runs the server\n", user);
    struct node_file *again = offline_read(file->path);
    node_file_free(&file);
    return again;
}

static char actor[128];

slice offline_actor(void) { return slice_of(actor); }

static void remember_actor(const char *program)
{
    const struct passwd *user = getpwuid(getuid());
    if (user != NULL)
        snprintf(actor, sizeof actor, "%s:%s", program, user->pw_name);
    else
        snprintf(actor, sizeof actor, "%s:%u", program, (unsigned)getuid());
}

int offline(const char *program, const char *path, offline_fn *fn, const char *arg)
{
    struct why why;
    remember_actor(program);
    struct node_file *file = offline_read(path);
    if (file != NULL)
        file = offline_as_service(file);
    if (file == NULL)
        return EXIT_USAGE;
    enum err e = fn(file, arg, &why);
    if (e != OK)
        fprintf(stderr, "%s: %s\n", program, why.text);
    node_file_free(&file);
    return e == OK ? EXIT_DONE : EXIT_FAILED;
}
