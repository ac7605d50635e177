/* test_bed: what the tests of this folder share: a loop that runs on the calling thread until
 * something is true, and connected sockets. A test that waits in vain fails after 20 s. */
#pragma once
#include "io/loop.h"
#include "io/timer.h"
#include "io/tls.h"
#include "io/tls_cert_make.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

typedef bool bed_fn(void *arg);

struct bed_watch {
    struct loop_post post;
    struct timer limit;
    bed_fn *is_true;
    void *arg;
    bool expired;
};

static inline void bed_look(struct loop_post *p, struct loop *loop)
{
    struct bed_watch *w = CONTAINER_OF(p, struct bed_watch, post);

    if (w->is_true(w->arg) || w->expired)
        loop_stop(loop);
    else
        loop_post(loop, p); /* again in the next tick */
}

static inline void bed_expire(struct timer *t, struct loop *loop)
{
    (void)loop;
    CONTAINER_OF(t, struct bed_watch, limit)->expired = true;
}

static inline void bed_run(struct loop *loop, bed_fn *is_true, void *arg)
{
    struct bed_watch w = {
        .post.fn = bed_look, .limit.fn = bed_expire, .is_true = is_true, .arg = arg
    };

    timer_set(loop, &w.limit, 20000);
    loop_post(loop, &w.post);
    loop_run(loop);
    timer_cancel(&w.limit);
    assert_false(w.expired);
}

static inline bool bed_count_down(void *arg)
{
    int *n = arg;

    return (*n)-- == 0;
}

/* For what must not happen. */
static inline void bed_ticks(struct loop *loop, int n) { bed_run(loop, bed_count_down, &n); }

static inline bool bed_readable(void *arg)
{
    struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

/* TCP over loopback: fd[0] the server's, fd[1] the client's. */
static inline void bed_pair(int fd[2])
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(sin);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
    fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd[1], (struct sockaddr *)&sin, sizeof(sin)), 0);
    fd[0] = accept(listener, NULL, NULL);
    assert_true(fd[0] >= 0);
    close(listener);
}

/* Closes it with a reset; what was sent before has arrived. *fd is -1 then. */
static inline void bed_reset(int *fd)
{
    struct linger now = { .l_onoff = 1 };
    int on = 1;
    assert_int_equal(setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    assert_int_equal(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(*fd);
    *fd = -1;
}

/* Two self-signed certificates in a directory that is gone again: the default one, for first.test,
 * and one for second.test. */
static inline struct tls_ctx *bed_tls(void)
{
    char dir[] = "/tmp/muster-test-XXXXXX", path[4][64];
    const char *const names[] = { "first.test", "second.test" };
    struct tls_cert certs[] = { { NULL, path[0], path[1] }, { "second.test", path[2], path[3] } };
    struct tls_ctx *ctx = NULL;
    struct why why = { "" };
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 4; i++)
        snprintf(path[i], sizeof(path[i]), "%s/%d.pem", dir, i);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tls_self_signed(path[2 * i], path[2 * i + 1], &names[i], 1, &why), OK);
    assert_int_equal(tls_ctx_create(&ctx, certs, 2, &why), OK);
    for (int i = 0; i < 4; i++)
        unlink(path[i]);
    rmdir(dir);
    return ctx;
}
