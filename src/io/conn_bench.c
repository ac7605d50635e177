/* Echo over loopback, 250-byte messages: CPU of the server thread for a message, beside a bare
 * epoll loop that reads and writes the same bytes. One message a read, and 64 a read. */
#include "base/ensure.h"
#include "io/conn.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 250, BATCH_MAX = 64, SECONDS_US = 1000000 };

static const struct conn_limits limits = { .input_bytes = 262144,
                                           .output_high = 262144,
                                           .output_max = 1048576 };

struct server {
    int fd;
    struct loop *loop;
    double cpu_us;
};

static double thread_cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void make_pair(int fd[2])
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(sin);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, rc;

    rc = bind(listener, (struct sockaddr *)&sin, sizeof(sin));
    rc |= listen(listener, 1);
    rc |= getsockname(listener, (struct sockaddr *)&sin, &len);
    fd[1] = socket(AF_INET, SOCK_STREAM, 0);
    rc |= connect(fd[1], (struct sockaddr *)&sin, sizeof(sin));
    fd[0] = accept(listener, NULL, NULL);
    rc |= setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    rc |= setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ensure(rc == 0 && fd[0] >= 0);
    close(listener);
}

/* Message by message, as a server would answer. */
static size_t echo_input(struct conn *c, slice data)
{
    size_t taken = 0;

    for (; data.len - taken >= MESSAGE_BYTES; taken += MESSAGE_BYTES)
        conn_write(c, (slice){ data.ptr + taken, MESSAGE_BYTES });
    return taken;
}

static void echo_event(struct conn *c, enum conn_event ev)
{
    if (ev == CONN_EOF)
        conn_abort(c);
}

static void echo_closed(struct conn *c) { loop_stop(conn_loop(c)); }

static void *serve_conn(void *arg)
{
    static const struct conn_ops ops = { echo_input, echo_event, echo_closed };
    struct server *s = arg;
    struct loop *loop = loop_create(0);
    double start = thread_cpu_us();

    conn_start(conn_create(loop, s->fd, NULL, 0, NULL, &limits), &ops, NULL);
    loop_run(loop);
    s->cpu_us = thread_cpu_us() - start;
    loop_destroy(&loop);
    return NULL;
}

static void *serve_bare(void *arg)
{
    struct server *s = arg;
    static char buf[65536];
    int ep = epoll_create1(0);
    struct epoll_event ev = { .events = EPOLLIN };
    double start = thread_cpu_us();
    ssize_t n = 1;

    epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &ev);
    while (n > 0) {
        epoll_wait(ep, &ev, 1, -1);
        n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0)
            n = send(s->fd, buf, (size_t)n, MSG_DONTWAIT);
    }
    s->cpu_us = thread_cpu_us() - start;
    close(s->fd);
    close(ep);
    return NULL;
}

static void run(const char *name, void *(*serve)(void *), unsigned batch)
{
    static char out[BATCH_MAX * MESSAGE_BYTES], in[sizeof(out)];
    size_t bytes = (size_t)batch * MESSAGE_BYTES;
    struct server s = { 0 };
    struct timespec t;
    long start_us, now_us;
    unsigned long count = 0;
    pthread_t thread;
    int fd[2], rc;

    make_pair(fd);
    s.fd = fd[0];
    rc = pthread_create(&thread, NULL, serve, &s);
    ensure(rc == 0);
    clock_gettime(CLOCK_MONOTONIC, &t);
    start_us = t.tv_sec * 1000000 + t.tv_nsec / 1000;
    do {
        size_t got = 0;
        ssize_t n = send(fd[1], out, bytes, 0);
        ensure(n == (ssize_t)bytes);
        while (got < bytes) {
            n = recv(fd[1], in, bytes - got, 0);
            ensure(n > 0);
            got += (size_t)n;
        }
        count += batch;
        clock_gettime(CLOCK_MONOTONIC, &t);
        now_us = t.tv_sec * 1000000 + t.tv_nsec / 1000;
    } while (now_us - start_us < SECONDS_US);
    close(fd[1]);
    pthread_join(thread, NULL);
    printf("%s_%u %.3f us_cpu/message\n", name, batch, s.cpu_us / (double)count);
}

int main(void)
{
    static const unsigned batches[] = { 1, 4, BATCH_MAX };

    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        run("echo_bare", serve_bare, batches[i]);
        run("echo_conn", serve_conn, batches[i]);
    }
    return 0;
}
