/* Echo over loopback, 250-byte messages: CPU of the server's thread for a message, in the clear and
 * under TLS, beside a bare epoll loop that reads and writes the same bytes; 1, 4 and 64 messages a
 * read. */
#include "base/ensure.h"
#include "io/conn.h"
#include "io/tls.h"
#include "io/tls_cert_make.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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
    struct tls_ctx *tls; /* NULL: in the clear */
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
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    int rc = bind(listener, (struct sockaddr *)&sin, sizeof(sin));
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

    conn_start(conn_create(loop, s->fd, NULL, s->tls == NULL ? 0 : CONN_TLS, s->tls, &limits), &ops,
               NULL);
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

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl; /* NULL: in the clear */
};

static void client_open(struct client *cl, int fd, const struct tls_ctx *tls)
{
    *cl = (struct client){ .fd = fd };
    if (tls == NULL)
        return;
    cl->ctx = SSL_CTX_new(TLS_client_method());
    cl->ssl = SSL_new(cl->ctx);
    SSL_set_fd(cl->ssl, fd);
    ensure(SSL_connect(cl->ssl) == 1);
}

static void client_close(struct client *cl)
{
    SSL_free(cl->ssl);
    SSL_CTX_free(cl->ctx);
    close(cl->fd);
}

/* There and back. */
static void client_turn(struct client *cl, const char *out, size_t bytes)
{
    static char in[BATCH_MAX * MESSAGE_BYTES];
    ssize_t n = cl->ssl != NULL ? SSL_write(cl->ssl, out, (int)bytes) : send(cl->fd, out, bytes, 0);
    ensure(n == (ssize_t)bytes);
    for (size_t got = 0; got < bytes; got += (size_t)n) {
        if (cl->ssl != NULL)
            n = SSL_read(cl->ssl, in, (int)(bytes - got));
        else
            n = recv(cl->fd, in, bytes - got, 0);
        ensure(n > 0);
    }
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run(const char *name, void *(*serve)(void *), unsigned batch, struct tls_ctx *tls)
{
    static char out[BATCH_MAX * MESSAGE_BYTES];
    struct server s = { .tls = tls };
    unsigned long count = 0;
    int fd[2];
    make_pair(fd);
    s.fd = fd[0];
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, serve, &s);
    ensure(rc == 0);
    struct client client;
    client_open(&client, fd[1], tls);
    double start = now_us();
    do {
        client_turn(&client, out, (size_t)batch * MESSAGE_BYTES);
        count += batch;
    } while (now_us() - start < SECONDS_US);
    client_close(&client);
    pthread_join(thread, NULL);
    printf("%s_%u %.3f us_cpu/message\n", name, batch, s.cpu_us / (double)count);
}

static struct tls_ctx *make_tls(void)
{
    char dir[] = "/tmp/muster-bench-XXXXXX", cert[64], key[64];
    const char *const domain = "bench.test";
    struct tls_cert certs[] = { { NULL, cert, key } };
    struct tls_ctx *ctx = NULL;
    bool ok = mkdtemp(dir) != NULL;
    struct why why;
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    ok = ok && tls_self_signed(cert, key, &domain, 1, &why) == OK &&
         tls_ctx_create(&ctx, certs, 1, &why) == OK;
    ensure(ok);
    unlink(cert);
    unlink(key);
    rmdir(dir);
    return ctx;
}

int main(void)
{
    static const unsigned batches[] = { 1, 4, BATCH_MAX };
    struct tls_ctx *tls = make_tls();

    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        run("echo_bare", serve_bare, batches[i], NULL);
        run("echo_conn", serve_conn, batches[i], NULL);
        run("echo_tls", serve_conn, batches[i], tls);
    }
    tls_ctx_unref(&tls);
    return 0;
}
