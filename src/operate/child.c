#include "operate/child.h"
#include "base/ensure.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void child_read(struct child *c)
{
    char rest[256];
    ssize_t n;
    size_t room = sizeof c->text - 1 - c->len;
    while (room > 0 && (n = read(c->output.fd, c->text + c->len, room)) > 0) {
        c->len += (size_t)n;
        room -= (size_t)n;
    }
    while (room == 0 && read(c->output.fd, rest, sizeof rest) > 0) {
    } /* it may go on */
    c->text[c->len] = '\0';
}

/* All but the process, which has ended or ends now. Returns its exit status, -1: killed. */
static int child_reap(struct child *c)
{
    int status = 0;
    timer_cancel(&c->due);
    loop_remove(c->loop, &c->process);
    loop_remove(c->loop, &c->output);
    child_read(c);
    close(c->process.fd);
    close(c->output.fd);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    c->loop = NULL;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void child_ended(struct loop_source *s, uint32_t events)
{
    struct child *c = CONTAINER_OF(s, struct child, process);
    (void)events;
    int code = child_reap(c);
    while (c->len > 0 && (unsigned char)c->text[c->len - 1] <= ' ')
        c->text[--c->len] = '\0';
    c->done(c, code, c->late ? "it took too long" : c->text);
}

static void child_said(struct loop_source *s, uint32_t events)
{
    struct child *c = CONTAINER_OF(s, struct child, output);
    child_read(c);
    if ((events & EPOLLIN) == 0)
        loop_change(c->loop, s, 0); /* closed; its end follows */
}

static void child_is_late(struct timer *t, struct loop *loop)
{
    struct child *c = CONTAINER_OF(t, struct child, due);
    (void)loop;
    c->late = true;
    (void)kill(c->pid, SIGKILL);
}

static int child_spawn(pid_t *pid, char *const *argv, char *const *env, int output)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none;
    sigemptyset(&none);
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&how);
    ensure(rc == 0);
    rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, output, 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, output, 2);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&how, &none);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
    if (rc == 0)
        rc = posix_spawnp(pid, argv[0], &files, &how, argv, env);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

/* The loop listens to it. false: it cannot. */
static bool child_watch(struct child *c)
{
    if (c->process.fd < 0 || loop_add(c->loop, &c->process) != OK)
        return false;
    if (loop_add(c->loop, &c->output) == OK)
        return true;
    loop_remove(c->loop, &c->process);
    return false;
}

const char *child_start(struct child *c, struct loop *loop, char *const *argv, char *const *env,
                        uint32_t deadline_ms)
{
    int ends[2], status;
    ensure(c->loop == NULL);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return "no descriptors are left";
    int rc = child_spawn(&c->pid, argv, env, ends[1]);
    close(ends[1]);
    if (rc != 0) {
        close(ends[0]);
        return rc == ENOENT ? "not found" : "it cannot be started";
    }
    *c = (struct child){ .loop = loop, .pid = c->pid, .done = c->done, .due.fn = child_is_late };
    c->process = (struct loop_source){ pidfd_open(c->pid, 0), EPOLLIN, child_ended };
    c->output = (struct loop_source){ ends[0], EPOLLIN, child_said };
    if (child_watch(c)) {
        timer_set(loop, &c->due, deadline_ms);
        return NULL;
    }
    (void)kill(c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (c->process.fd >= 0)
        close(c->process.fd);
    close(ends[0]);
    c->loop = NULL;
    return "no descriptors are left";
}

void child_cancel(struct child *c)
{
    if (c->loop == NULL)
        return;
    (void)kill(c->pid, SIGKILL);
    (void)child_reap(c);
}
