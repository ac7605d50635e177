#include "admin/control.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/log.h"
#include "home/here.h"
#include "home/node.h"
#include "home/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS_MAX = 32, ROOT_CLIENTS_MAX = 4 };

/* A loop on a thread of its own with a control socket; the test speaks to it as a client. */
struct fixture {
    struct node node;
    struct worker worker;
    struct control *control;
    pthread_t thread;
    sem_t synced;
    char folder[64], path[96], address[104];
};

static struct fixture fx;
static struct command_call *waiting; /* the call that `wait` began */
static sem_t wait_begun;

static void run_echo(struct command_call *call)
{
    command_row(call);
    command_text(call, "said", command_arg(call, "text"));
    command_text(call, "actor", call->who.actor);
    command_done(call, "echo");
}

static void run_wait(struct command_call *call)
{
    waiting = call;
    sem_post(&wait_begun);
}

static struct command echo_command = {
    .name = "echo",
    .args =
        (const struct command_arg[]){
            { .name = "text", .kind = ARG_POSITIONAL, .doc = "what to say" },
            { .name = "secret",
              .kind = ARG_SECRET,
              .type = PARAM_SECRET,
              .doc = "not for the log" },
            { 0 },
        },
    .effect = COMMAND_READS,
    .area = "tests",
    .columns = (const struct command_column[]){ { .name = "said" }, { .name = "actor" }, { 0 } },
    .run = run_echo,
    .doc = "Says it again.",
};
static struct command wait_command = { .name = "wait",
                                       .effect = COMMAND_READS, /* the audit log is not here */
                                       .area = "tests",
                                       .run = run_wait,
                                       .doc = "Ends later." };

static void *loop_main(void *arg)
{
    (void)arg;
    worker_of_thread = &fx.worker;
    loop_run(fx.worker.loop);
    return NULL;
}

struct post {
    struct loop_post post;
    void (*fn)(void);
};

static void post_run(struct loop_post *p, struct loop *loop)
{
    (void)loop;
    CONTAINER_OF(p, struct post, post)->fn();
    sem_post(&fx.synced);
}

/* Runs fn on the loop and waits for it. */
static void on_loop(void (*fn)(void))
{
    struct post p = { .post = { .fn = post_run }, .fn = fn };
    loop_post(fx.worker.loop, &p.post);
    sem_wait(&fx.synced);
}

static void end_late(void) { command_done(waiting, "late"); }
static void close_control(void) { control_edge.stop(fx.control, &fx.worker); }
static void part_control(void) { control_edge.part(fx.control, &fx.worker); }

static void pass_by(void) {}

static int dial(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    memcpy(addr.sun_path, fx.path, strlen(fx.path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = { .tv_sec = 10 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* One line without its end; "" at the end of the stream. */
static const char *get(int fd)
{
    static char line[4096];
    size_t len = 0;
    errno = 0;
    while (len + 1 < sizeof line && recv(fd, line + len, 1, 0) == 1 && line[len] != '\n')
        len++;
    line[len] = '\0';
    return line;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("expected %s in: %s", part, text);
}

static int setup(void **state)
{
    (void)state;
    struct why why;
    fx = (struct fixture){ .folder = "/tmp/muster-control-XXXXXX" };
    assert_non_null(mkdtemp(fx.folder));
    snprintf(fx.path, sizeof fx.path, "%s/c.sock", fx.folder);
    snprintf(fx.address, sizeof fx.address, "unix:%s", fx.path);
    sem_init(&fx.synced, 0, 0);
    fx.node.worker_count = 1;
    fx.worker.node = &fx.node;
    fx.worker.loop = loop_create(0);
    assert_int_equal(control_create(&fx.control, fx.address, &why), OK);
    control_edge.open(fx.control, &fx.worker);
    assert_int_equal(pthread_create(&fx.thread, NULL, loop_main, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (access(fx.path, F_OK) == 0) /* a test may have stopped it */
        on_loop(close_control);
    assert_int_not_equal(access(fx.path, F_OK), 0); /* the socket file is gone */
    for (int i = 0; i < 2; i++)
        on_loop(pass_by); /* until it has read the ends of its connections */
    loop_stop(fx.worker.loop);
    pthread_join(fx.thread, NULL);
    control_edge.end(fx.control, &fx.worker);
    control_destroy(&fx.control);
    loop_destroy(&fx.worker.loop);
    sem_destroy(&fx.synced);
    rmdir(fx.folder);
    return 0;
}

static int register_rows(void **state)
{
    (void)state;
    sem_init(&wait_begun, 0, 0);
    log_register(&log_admin);
    log_set_default(LOG_ERROR);
    command_register(&echo_command);
    command_register(&wait_command);
    return 0;
}

static void a_command_is_answered(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "{\"command\":\"echo\",\"args\":{\"text\":\"hi\",\"secret\":\"s\"}}\n");
    const char *line = get(fd);
    assert_has(line,
               "{\"ok\":true,\"text\":\"echo\",\"rows\":[{\"said\":\"hi\",\"actor\":\"control:");
    close(fd);
}

static void the_socket_is_for_owner_and_group(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(fx.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
}

#define ECHO "{\"command\":\"echo\",\"args\":{\"text\":\"hi\"}}\n"

/* Runs `echo` as this user and group; what it is answered, to `out`. */
static void ask_as(uid_t uid, gid_t gid, const gid_t *also, size_t also_count, char out[4096])
{
    int back[2];
    assert_int_equal(pipe(back), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (setgroups(also_count, also) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
            _exit(2);
        int fd = dial();
        (void)send(fd, ECHO, strlen(ECHO), MSG_NOSIGNAL);
        const char *line = get(fd);
        _exit(write(back[1], line, strlen(line)) < 0);
    }
    close(back[1]);
    ssize_t n = read(back[0], out, 4095);
    out[n > 0 ? n : 0] = '\0';
    close(back[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void open_to_all(void)
{
    if (geteuid() != 0)
        skip(); /* only root can be somebody else */
    assert_int_equal(chmod(fx.folder, 0711), 0);
    assert_int_equal(chmod(fx.path, 0666), 0);
}

/* Whatever the mode of the socket file is. */
static void who_is_not_of_the_group_is_refused(void **state)
{
    (void)state;
    enum { STRANGER = 65534, OTHER = 65533 };
    char said[4096];
    struct stat st;
    open_to_all();
    assert_int_equal(stat(fx.path, &st), 0);
    ask_as(STRANGER, STRANGER, NULL, 0, said);
    assert_has(said, "\"error\":\"denied\"");
    assert_has(said, "group of the socket file");
    ask_as(STRANGER, st.st_gid, NULL, 0, said);
    assert_has(said, "\"actor\":\"control:uid=65534\"");
    ask_as(STRANGER, STRANGER, &st.st_gid, 1, said);
    assert_has(said, "\"actor\":\"control:uid=65534\"");
    assert_int_equal(chown(fx.path, (uid_t)-1, OTHER), 0);
    ask_as(STRANGER, STRANGER, &st.st_gid, 1, said);
    assert_has(said, "\"error\":\"denied\"");
    ask_as(0, 0, NULL, 0, said);
    assert_has(said, "\"actor\":\"control:root\"");
}

/* Another user, who has connected so often, sends nothing and stays. */
static pid_t stay_as(uid_t uid, gid_t gid, int connections)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
            _exit(2);
        for (int i = 0; i < connections; i++)
            (void)dial();
        (void)!write(ready[1], "x", 1);
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    for (int i = 0; i < 2; i++)
        on_loop(pass_by); /* until they are accepted */
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void end_stay(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void strangers_take_no_place(void **state)
{
    (void)state;
    enum { STRANGER = 65534 };
    open_to_all();
    pid_t child = stay_as(STRANGER, STRANGER, CLIENTS_MAX + ROOT_CLIENTS_MAX);
    int fd = dial();
    put(fd, ECHO);
    assert_has(get(fd), "\"said\":\"hi\"");
    close(fd);
    end_stay(child);
}

/* Operators who take all places that they may have, and stay. */
static void root_has_places_of_its_own(void **state)
{
    (void)state;
    enum { OPERATOR = 65534 };
    int fds[ROOT_CLIENTS_MAX];
    char said[4096];
    struct stat st;
    open_to_all();
    assert_int_equal(stat(fx.path, &st), 0);
    pid_t child = stay_as(OPERATOR, st.st_gid, CLIENTS_MAX + ROOT_CLIENTS_MAX);
    ask_as(OPERATOR, st.st_gid, NULL, 0, said);
    assert_has(said, "\"error\":\"again\"");
    assert_has(said, "allowed 32, and 4 more for root");
    for (int i = 0; i < ROOT_CLIENTS_MAX; i++) {
        fds[i] = dial();
        put(fds[i], ECHO);
        assert_has(get(fds[i]), "\"said\":\"hi\"");
    }
    int more = dial(); /* root has no other places to be pointed to */
    const char *full = get(more);
    assert_has(full, "end programs that hold them, or try again in a minute");
    assert_null(strstr(full, "as root"));
    close(more);
    for (int i = 0; i < ROOT_CLIENTS_MAX; i++)
        close(fds[i]);
    end_stay(child);
}

/* One sends nothing, one a part of a request; a command may take its time. */
static void who_asks_nothing_loses_the_place(void **state)
{
    (void)state;
    struct timeval patience = { .tv_sec = 30 };
    int idle = dial(), slow = dial(), busy = dial();
    put(slow, "{\"command\":");
    put(busy, "{\"command\":\"wait\"}\n");
    sem_wait(&wait_begun);
    for (int i = 0; i < 2; i++) {
        int fd = i == 0 ? idle : slow;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        assert_has(get(fd), "no request has come");
        assert_string_equal(get(fd), "");
        assert_int_equal(errno, 0); /* the end of the stream, and not of patience */
        close(fd);
    }
    on_loop(end_late);
    assert_has(get(busy), "\"late\"");
    put(busy, ECHO);
    assert_has(get(busy), "\"said\":\"hi\"");
    close(busy);
}

static void answers_come_in_order(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "{\"command\":\"wait\"}\n{\"command\":\"echo\",\"args\":{\"text\":\"2\"}}\nnonsense\n"
            "{\"command\":\"echo\",\"args\":{\"text\":\"4\"}}\n");
    sem_wait(&wait_begun);
    on_loop(end_late);
    assert_has(get(fd), "\"late\"");
    assert_has(get(fd), "\"said\":\"2\"");
    assert_has(get(fd), "\"error\":\"syntax\"");
    assert_has(get(fd), "\"said\":\"4\"");
    close(fd);
}

static void a_half_closed_client_is_answered(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "{\"command\":\"wait\"}\n");
    sem_wait(&wait_begun);
    shutdown(fd, SHUT_WR);
    on_loop(end_late);
    assert_has(get(fd), "\"late\"");
    assert_string_equal(get(fd), "");
    close(fd);
}

static void nothing(void) {}

static void a_client_may_leave_while_its_command_runs(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "{\"command\":\"wait\"}\n");
    sem_wait(&wait_begun);
    close(fd);
    on_loop(nothing);
    on_loop(end_late);
    fd = dial();
    put(fd, "{\"command\":\"echo\",\"args\":{\"text\":\"on\"}}\n");
    assert_has(get(fd), "\"said\":\"on\"");
    close(fd);
}

/* Teardown finds no connection that is left, though nobody ends the command. */
static void a_command_that_never_ends_does_not_keep_its_connection(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "{\"command\":\"wait\"}\n");
    sem_wait(&wait_begun);
    on_loop(close_control);
    on_loop(part_control);
    assert_string_equal(get(fd), "");
    assert_int_equal(errno, 0); /* the end of the stream, and not of patience */
    close(fd);
}

static void a_command_that_ends_late_is_answered_while_the_node_parts(void **state)
{
    (void)state;
    int fd = dial();
    put(fd, "{\"command\":\"wait\"}\n");
    sem_wait(&wait_begun);
    on_loop(close_control);
    on_loop(part_control);
    on_loop(end_late);
    assert_has(get(fd), "\"late\"");
    assert_string_equal(get(fd), "");
    close(fd);
}

static void a_long_request_is_refused(void **state)
{
    (void)state;
    static char text[70000];
    memset(text, ' ', sizeof text);
    int fd = dial();
    /* the server may close before it has read all: then the rest cannot be sent */
    assert_true(send(fd, text, sizeof text, MSG_NOSIGNAL) > 0);
    assert_has(get(fd), "\"error\":\"limit\"");
    assert_string_equal(get(fd), "");
    close(fd);
}

static void one_connection_too_many_is_refused(void **state)
{
    (void)state;
    const int places = CLIENTS_MAX + (geteuid() == 0 ? ROOT_CLIENTS_MAX : 0);
    int fds[CLIENTS_MAX + ROOT_CLIENTS_MAX + 1];
    for (int i = 0; i < places; i++) {
        fds[i] = dial();
        put(fds[i], "{\"command\":\"echo\",\"args\":{\"text\":\"x\"}}\n");
        assert_has(get(fds[i]), "\"said\":\"x\"");
    }
    fds[places] = dial();
    assert_has(get(fds[places]), "found too many connections");
    assert_string_equal(get(fds[places]), "");
    for (int i = 0; i <= places; i++)
        close(fds[i]);
}

static void a_socket_in_use_is_not_taken(void **state)
{
    (void)state;
    struct why why;
    struct control *second = NULL;
    assert_int_equal(control_create(&second, fx.address, &why), E_EXISTS);
    assert_has(why.text, "another server runs");
    close(dial()); /* the first still listens */
}

static void what_is_no_socket_is_named_and_stays(void **state)
{
    (void)state;
    static const char *const found[] = { "a file", "a folder", "a symbolic link" };
    char path[64], address[80];
    struct stat st;
    snprintf(path, sizeof path, "/tmp/control_test.%d", (int)getpid());
    snprintf(address, sizeof address, "unix:%s", path);
    for (unsigned i = 0; i < 3; i++) {
        struct why why;
        struct control *second = NULL;
        if (i == 0)
            close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        else
            assert_int_equal(i == 1 ? mkdir(path, 0700) : symlink("/nowhere/at/all", path), 0);
        assert_int_equal(control_create(&second, address, &why), E_EXISTS);
        assert_has(why.text, found[i]);
        assert_has(why.text, path);
        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(remove(path), 0);
    }
}

int main(void)
{
#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(a_command_is_answered),
        ROW(the_socket_is_for_owner_and_group),
        ROW(what_is_no_socket_is_named_and_stays),
        ROW(who_is_not_of_the_group_is_refused),
        ROW(strangers_take_no_place),
        ROW(root_has_places_of_its_own),
        ROW(who_asks_nothing_loses_the_place),
        ROW(answers_come_in_order),
        ROW(a_half_closed_client_is_answered),
        ROW(a_client_may_leave_while_its_command_runs),
        ROW(a_command_that_never_ends_does_not_keep_its_connection),
        ROW(a_command_that_ends_late_is_answered_while_the_node_parts),
        ROW(a_long_request_is_refused),
        ROW(one_connection_too_many_is_refused),
        ROW(a_socket_in_use_is_not_taken),
    };
    return cmocka_run_group_tests_name("control", tests, register_rows, NULL);
}
