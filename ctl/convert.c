#include "ctl/convert.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "ctl/words.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* IS_PIE: what muster-convert says of a file of XEP-0227. */
enum { FDS = 8, LINE_MAX_BYTES = 8192, ARGS_MAX = 10, IS_PIE = 3 };

static int convert_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void convert_remove(const char *made)
{
    if (made != NULL)
        nftw(made, convert_remove_one, FDS, FTW_DEPTH | FTW_PHYS);
}

static struct stat new_owner; /* nftw() takes no argument */

static int give_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return lchown(path, new_owner.st_uid, new_owner.st_gid);
}

/* To the user of the server, if this is root. */
static bool convert_give(const char *made, const char *where)
{
    return geteuid() != 0 ||
           (stat(where, &new_owner) == 0 && nftw(made, give_one, FDS, FTW_DEPTH | FTW_PHYS) == 0);
}

/* Beside musterctl, else where the shell would find it. */
static void convert_exec(char *const *argv)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "muster-convert");
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (slash != NULL) {
        memcpy(slash + 1, "muster-convert", sizeof "muster-convert");
        execv(path, argv);
    }
    execvp(argv[0], argv);
    fprintf(stderr, "muster-convert: %s\n", strerror(errno));
    _exit(127);
}

/* Lines of a number are how far it is; the others, an error, go to `said`. */
static void convert_listen(int fd, struct buf *said, void (*progress)(int percent))
{
    char line[LINE_MAX_BYTES];
    FILE *in = fdopen(fd, "r");
    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        char *end;
        long percent = strtol(line, &end, 10);
        if (end > line && *end == '\n')
            progress((int)percent);
        else
            buf_add(said, slice_of(line));
    }
    if (in != NULL)
        fclose(in);
}

/* The exit code; -1: it has none. */
static int convert_run(char *const *argv, struct buf *said, void (*progress)(int percent))
{
    int fd[2], status;
    if (pipe2(fd, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        umask(077);
        dup2(fd[1], STDOUT_FILENO);
        dup2(fd[1], STDERR_FILENO);
        convert_exec(argv);
    }
    close(fd[1]);
    signal(SIGINT, SIG_IGN); /* which ends muster-convert; then its folder is removed */
    convert_listen(fd[0], said, progress);
    bool ended = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status);
    signal(SIGINT, SIG_DFL);
    return ended ? WEXITSTATUS(status) : -1;
}

enum err convert_source(struct words *w, const char *where, struct arena *arena,
                        void (*progress)(int percent), const char **made, struct why *why)
{
    static char name[] = "muster-convert", flag[] = "--progress";
    const char *kind = w->command->converts;
    char *argv[ARGS_MAX] = { name, slice_cstr(arena, slice_of(kind)) };
    size_t path = 0, count = 4;
    struct buf said;
    while (path < w->count && !slice_is(w->names[path], w->command->args[0].name))
        path++;
    ensure(path < w->count);
    char *folder = arena_printf(arena, "%s/import-XXXXXX", where);
    if (mkdtemp(folder) == NULL) {
        why_set(why, "%s: %s; run it as root", folder, strerror(errno));
        return E_IO;
    }
    *made = folder;
    argv[2] = slice_cstr(arena, w->values[path]);
    argv[3] = folder;
    argv[count++] = flag;
    for (size_t i = 0; i < w->count; i++)
        if (slice_is(w->names[i], "groups_file") || slice_is(w->names[i], "domain")) {
            bool groups = slice_is(w->names[i], "groups_file");
            argv[count++] = slice_cstr(arena, slice_of(groups ? "--groups-file" : "--domain"));
            argv[count++] = slice_cstr(arena, w->values[i]);
        }
    buf_init(&said, LINE_MAX_BYTES);
    int code = convert_run(argv, &said, progress);
    slice text = said.overflow ? SLICE("") : buf_slice(&said);
    if (code == EXIT_SUCCESS && convert_give(folder, where)) {
        w->values[path] = slice_of(folder);
    } else if (code != IS_PIE) {
        text.len -= text.len > 0;
        why_set(why, "%.*s", SLICE_ARG(text.len > 0 ? text : SLICE("muster-convert has failed")));
    }
    buf_fini(&said);
    return code == EXIT_SUCCESS || code == IS_PIE ? OK : E_IO;
}
