#include "base/alarm.h"
#include "io/listen.h"
#include "io/loop_private.h"
#include "io/metrics.h"
#include "io/test_bed.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

struct taker {
    struct loop *loop;
    struct listener *listener;
    unsigned count;
    int last_fd;
    int family;
};

static void accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct taker *t = arg;

    assert_ptr_equal(loop, t->loop);
    assert_ptr_equal(loop_here(), loop);
    t->count++;
    t->last_fd = fd;
    t->family = peer->sa_family;
}

static void taker_open(struct taker *t, slice address)
{
    struct why why = { "" };

    *t = (struct taker){ .loop = loop_create(0), .last_fd = -1 };
    if (listener_open(&t->listener, address, &why) != OK)
        fail_msg("%s", why.text);
    assert_int_equal(listener_attach(t->listener, t->loop, accepted, t), OK);
}

static void taker_close(struct taker *t)
{
    listener_detach(t->listener, t->loop);
    listener_close(&t->listener);
    loop_destroy(&t->loop);
}

static bool has_taken(void *arg) { return ((struct taker *)arg)->count > 0; }

static int client_connect(int port)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sin.sin_port = htons((uint16_t)port);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    return fd;
}

static void test_accepts_on_ipv4(void **state)
{
    (void)state;
    struct taker t;
    taker_open(&t, SLICE("127.0.0.1:0"));
    int fd = client_connect(listener_port(t.listener));
    bed_run(t.loop, has_taken, &t);
    assert_int_equal(t.family, AF_INET);
    close(fd);
    close(t.last_fd);
    taker_close(&t);
}

static void test_accepts_both_families_on_ipv6_any(void **state)
{
    (void)state;
    struct taker t;
    taker_open(&t, SLICE("[::]:0"));
    int fd = client_connect(listener_port(t.listener)); /* from IPv4 */
    bed_run(t.loop, has_taken, &t);
    assert_int_equal(t.family, AF_INET6);
    close(fd);
    close(t.last_fd);
    taker_close(&t);
}

static void test_unix_socket(void **state)
{
    static const char path[] = "/tmp/muster-listen-test.sock";
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    struct listener *second = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)state;
    memcpy(sun.sun_path, path, sizeof(path));
    unlink(path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd); /* left over, as after a crash */
    struct taker t;
    taker_open(&t, SLICE("unix:/tmp/muster-listen-test.sock"));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    bed_run(t.loop, has_taken, &t);
    assert_int_equal(t.family, AF_UNIX);
    struct why why;
    assert_int_equal(listener_open(&second, SLICE("unix:/tmp/muster-listen-test.sock"), &why),
                     E_EXISTS); /* in use: not taken away */
    close(fd);
    close(t.last_fd);
    taker_close(&t);
    assert_int_equal(stat(path, &st), -1);
}

static void test_wrong_addresses(void **state)
{
    static const char *const wrong[] = { "",           ":5222",      "localhost:5222", "127.0.0.1",
                                         "1.2.3.4:",   "[::1]",      "[::1:5",         "[::1]5",
                                         "1.2.3.4:-1", "[::]:70000", "unix:",          "]:1",
                                         "[]:1" };
    struct listener *l = NULL;
    (void)state;
    struct why why;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        why.text[0] = '\0';
        assert_int_equal(listener_open(&l, slice_of(wrong[i]), &why), E_SYNTAX);
        assert_non_null(strstr(why.text, wrong[i]));
    }
}

static void test_port_in_use(void **state)
{
    struct listener *second = NULL;
    (void)state;
    struct taker t;
    taker_open(&t, SLICE("127.0.0.1:0"));
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%d", listener_port(t.listener));
    struct why why;
    assert_int_equal(listener_open(&second, slice_of(address), &why), E_EXISTS);
    assert_non_null(strstr(why.text, address));
    taker_close(&t);
}

static bool is_paused(void *arg)
{
    (void)arg;
    return atomic_load(&io_descriptors_alarm.active) != 0;
}

static bool is_over(void *arg)
{
    const struct taker *t = arg;

    return t->count == 3 && atomic_load(&io_descriptors_alarm.active) == 0;
}

/* In a process of its own: the limit stays lowered. */
static void run_out_of_descriptors(void)
{
    alarm_register(&io_descriptors_alarm);
    metric_register(&io_accept_pauses);
    struct taker t;
    taker_open(&t, SLICE("127.0.0.1:0"));
    int client[3];
    for (int i = 0; i < 3; i++)
        client[i] = client_connect(listener_port(t.listener));
    int hog = fcntl(0, F_DUPFD, 0);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)hog + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    bed_run(t.loop, is_paused, NULL);
    assert_int_equal(t.count, 0);
    int64_t pauses = metric_read(&io_accept_pauses);
    assert_int_equal(pauses, 1);
    bed_ticks(t.loop, 50);
    assert_int_equal(metric_read(&io_accept_pauses), pauses);   /* it does not spin */
    assert_int_equal(send(client[0], "x", 1, MSG_NOSIGNAL), 1); /* nobody was thrown out */
    limit.rlim_cur = limit.rlim_cur + 10;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    bed_run(t.loop, is_over, &t); /* by itself, within about a second */
    close(hog);
    taker_close(&t);
}

static void test_recovers_from_lack_of_descriptors(void **state)
{
    int status = -1;
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run_out_of_descriptors();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_on_ipv4),
        cmocka_unit_test(test_accepts_both_families_on_ipv6_any),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_wrong_addresses),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_recovers_from_lack_of_descriptors),
    };
    return cmocka_run_group_tests_name("io/listen", tests, NULL, NULL);
}
