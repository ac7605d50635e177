#include "io/dial.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "io/listen.h"
#include "io/loop_private.h"
#include "io/metrics.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* States of an attempt: WAITING ─▶ OPEN ─▶ CLOSED. The dial ends when one has connected, when all
 * are closed, or at the deadline; then only `finish` is left to run. */

struct attempt {
    struct loop_source source; /* fd -1: not open */
    struct dial *dial;
    uint64_t since_us;
};

struct dial {
    struct loop *loop;
    dial_fn *done;
    void *arg;
    struct dial_options options;
    union address source_v4, source_v6; /* AF_UNSPEC: any */
    struct timer next, deadline;
    struct loop_defer finish;
    size_t count, started, open;
    int winner; /* descriptor, or -1 */
    bool over;
    struct dial_try tries[DIAL_TRIES_MAX];
    struct attempt attempts[DIAL_TRIES_MAX];
};

/* RFC 8305 §4. The order within a family stays. */
static void interleave(struct dial *d, const union address *to, size_t count)
{
    sa_family_t turn = to[0].any.sa_family;
    size_t at[2] = { 0, 0 }; /* those of the first family, and all others */

    while (d->count < DIAL_TRIES_MAX && (at[0] < count || at[1] < count)) {
        for (int other = 0; other < 2 && d->count < DIAL_TRIES_MAX; other++) {
            size_t *i = &at[other];
            while (*i < count && (to[*i].any.sa_family == turn) == (other == 1))
                ++*i;
            if (*i < count)
                d->tries[d->count++].address = to[(*i)++];
        }
    }
}

static void attempt_close(struct attempt *a, int error)
{
    struct dial *d = a->dial;
    struct dial_try *t = &d->tries[a - d->attempts];

    t->error = error;
    t->took_us = (uint32_t)(clock_mono_us() - a->since_us);
    if (a->source.fd < 0)
        return;
    loop_remove(d->loop, &a->source);
    if (!t->won)
        close(a->source.fd);
    a->source.fd = -1;
    d->open--;
}

/* The callback comes from the loop. */
static void dial_over(struct dial *d)
{
    d->over = true;
    timer_cancel(&d->next);
    timer_cancel(&d->deadline);
    loop_defer(d->loop, &d->finish);
}

static void close_open(struct dial *d, int error)
{
    for (size_t i = 0; i < d->started; i++) {
        if (d->attempts[i].source.fd >= 0)
            attempt_close(&d->attempts[i], error);
    }
}

/* Of connect(), as errno. A socket may connect to itself if its own port happens to be the one that
 * it looks for (RFC 9293 §3.5, simultaneous open): then nobody listens there. */
static int dial_outcome(int fd)
{
    union address here = { .any.sa_family = AF_UNSPEC }, there = here;
    socklen_t here_len = sizeof(here), there_len = sizeof(there), len = sizeof(int);
    int error = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return errno;
    if (error != 0)
        return error;
    if (getsockname(fd, &here.any, &here_len) != 0 || getpeername(fd, &there.any, &there_len) != 0)
        return errno;
    return here_len == there_len && memcmp(&here, &there, here_len) == 0 ? ECONNREFUSED : 0;
}

static void attempt_failed(struct attempt *a, int error)
{
    attempt_close(a, error);
    metric_add(&io_connect_failures, 1);
}

static void attempt_won(struct attempt *a)
{
    struct dial *d = a->dial;

    d->tries[a - d->attempts].won = true;
    d->winner = a->source.fd;
    attempt_close(a, 0);
    close_open(d, 0);
    metric_add(&io_connected, 1);
    dial_over(d);
}

/* Output is gathered here, not in the kernel, as with accepted connections. With the port left to
 * connect(), one source address has enough ports for each destination. */
static bool dial_prepare(const struct dial *d, int fd, int family)
{
    const union address *source = family == AF_INET ? &d->source_v4 : &d->source_v6;
    int on = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return false;
    if (source->any.sa_family == AF_UNSPEC)
        return true;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return bind(fd, &source->any, address_bytes(source)) == 0;
}

/* A socket that connects or has connected; -1: errno tells why not. */
static int open_socket(const struct dial *d, const union address *to)
{
    int family = to->any.sa_family;
    if (family != AF_INET && family != AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (descriptor_is_spare(fd))
        errno = EMFILE;
    else if (dial_prepare(d, fd, family) && (connect(fd, &to->any, address_bytes(to)) == 0 ||
                                             errno == EINPROGRESS || errno == EINTR))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool attempt_start(struct attempt *a)
{
    struct dial *d = a->dial;
    a->since_us = clock_mono_us();
    a->source.fd = open_socket(d, &d->tries[a - d->attempts].address);
    if (a->source.fd >= 0 && loop_add(d->loop, &a->source) == OK) {
        d->open++;
        return true;
    }
    int error = errno;
    if (a->source.fd >= 0)
        close(a->source.fd);
    a->source.fd = -1;
    attempt_failed(a, error);
    return false;
}

/* The next one that does not fail at once. */
static void start_next(struct dial *d)
{
    while (d->started < d->count) {
        if (!attempt_start(&d->attempts[d->started++]))
            continue;
        if (d->started < d->count)
            timer_set(d->loop, &d->next, DIAL_DELAY_MS);
        return;
    }
    timer_cancel(&d->next);
    if (d->open == 0)
        dial_over(d);
}

static void attempt_ready(struct loop_source *s, uint32_t events)
{
    struct attempt *a = CONTAINER_OF(s, struct attempt, source);
    int error = dial_outcome(s->fd);

    (void)events;
    if (error == 0) {
        attempt_won(a);
        return;
    }
    attempt_failed(a, error);
    start_next(a->dial);
}

static void on_next(struct timer *t, struct loop *loop)
{
    (void)loop;
    start_next(CONTAINER_OF(t, struct dial, next));
}

static void on_deadline(struct timer *t, struct loop *loop)
{
    struct dial *d = CONTAINER_OF(t, struct dial, deadline);

    (void)loop;
    metric_add(&io_connect_failures, (int64_t)d->open);
    close_open(d, ETIMEDOUT);
    dial_over(d);
}

static void on_finish(struct loop_defer *defer)
{
    struct dial *d = CONTAINER_OF(defer, struct dial, finish);
    struct dial_result result = { .tried = d->tries, .count = d->started };

    ensure(d->over && d->open == 0);
    for (size_t i = 0; i < d->started && d->winner >= 0; i++) {
        if (d->tries[i].won)
            result.conn = conn_create(d->loop, d->winner, &d->tries[i].address.any, 0, NULL,
                                      d->options.limits);
    }
    d->done(d->arg, &result);
    mem_free(&d);
}

struct dial *dial_start(struct loop *loop, const union address *to, size_t count,
                        const struct dial_options *options, dial_fn *done, void *arg)
{
    struct dial *d = mem_new(struct dial);

    ensure(count > 0 && options->limits != NULL && options->deadline_ms > 0);
    d->loop = loop;
    d->done = done;
    d->arg = arg;
    d->options = *options;
    d->winner = -1;
    d->next.fn = on_next;
    d->deadline.fn = on_deadline;
    d->finish.fn = on_finish;
    if (options->source_v4 != NULL)
        address_set(&d->source_v4, options->source_v4);
    if (options->source_v6 != NULL)
        address_set(&d->source_v6, options->source_v6);
    interleave(d, to, count);
    for (size_t i = 0; i < d->count; i++) {
        d->attempts[i].dial = d;
        d->attempts[i].source =
            (struct loop_source){ .fd = -1, .events = EPOLLOUT, .ready = attempt_ready };
    }
    timer_set(loop, &d->deadline, options->deadline_ms);
    start_next(d);
    return d;
}

void dial_cancel(struct dial **dial)
{
    struct dial *d = *dial;

    if (d == NULL)
        return;
    close_open(d, ECANCELED);
    timer_cancel(&d->next);
    timer_cancel(&d->deadline);
    loop_defer_cancel(&d->finish);
    if (d->winner >= 0)
        close(d->winner);
    mem_free(dial);
}

void dial_explain(const struct dial_result *result, struct buf *out)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct dial_try *t = &result->tried[i];
        char text[ADDRESS_TEXT_BYTES];
        address_print(&t->address, text);
        buf_printf(out, "%s%s: %s", i > 0 ? "; " : "", text,
                   t->won          ? "connected"
                   : t->error == 0 ? "another address was first"
                                   : strerrordesc_np(t->error));
    }
}
