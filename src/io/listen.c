#include "io/listen.h"
#include "base/alarm.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "io/address.h"
#include "io/loop_private.h"
#include "io/metrics.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 4096, ACCEPTS_MAX = 16 /* a wake */, RETRY_MS = 1000, SPARE_MAX = 32 };

struct alarm io_descriptors_alarm = {
    .name = "io.descriptors",
    .severity = ALARM_CRITICAL,
    .text =
        "No file descriptors are left for clients. New connections wait; existing ones continue.",
    .action = "Raise LimitNOFILE of the service (ulimit -n) or lower the number of clients.",
    .explanation =
        "Each connection, and each open file, uses a descriptor. The system gives the process a "
        "limited number.",
    .raised_when =
        "A connection cannot be accepted because the process or the system has no descriptor "
        "left.",
    .cleared_when = "All listeners accept connections again.",
};

/* Of all listeners and loops: the alarm is cleared when none is paused. */
static _Atomic unsigned paused_count;

/* The listener on one loop. */
struct listener_seat {
    struct loop_source source;
    struct timer retry;
    struct loop *loop;
    listener_fn *accepted;
    void *arg;
    bool paused;
    bool local; /* a Unix socket */
    struct listener_seat *next;
};

struct listener {
    int fd;
    int port;
    struct sockaddr_un local; /* sun_path empty: not a Unix socket */
    pthread_mutex_t lock;     /* guards seats */
    struct listener_seat *seats;
};

/* A socket file on which nobody listens is left over from a crash. */
static void remove_stale(const struct sockaddr_un *local)
{
    struct stat st;
    if (lstat(local->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)local, sizeof(*local)) != 0 && errno == ECONNREFUSED)
        unlink(local->sun_path);
    close(fd);
}

static bool bind_and_listen(int fd, const union address *a)
{
    socklen_t len = address_bytes(a);
    int on = 1, off = 0;

    if (a->any.sa_family == AF_UNIX) {
        remove_stale(&a->local);
        return bind(fd, &a->any, len) == 0 && chmod(a->local.sun_path, 0660) == 0 &&
               listen(fd, BACKLOG) == 0;
    }
    /* what is accepted inherits TCP_NODELAY: output is gathered here, not in the kernel */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return false;
    if (a->any.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)
        return false;
    return bind(fd, &a->any, len) == 0 && listen(fd, BACKLOG) == 0;
}

static int bound_port(int fd)
{
    union address a = { .any.sa_family = AF_UNSPEC };
    socklen_t len = sizeof(a);

    return getsockname(fd, &a.any, &len) == 0 ? address_port(&a) : 0;
}

enum err listener_open(struct listener **out, slice address, struct why *why)
{
    union address a;
    if (!address_parse(address, &a)) {
        why_set(why, "listen address \"%.*s\": give [IPv6]:port, IPv4:port or unix:/path",
                SLICE_ARG(address));
        return E_SYNTAX;
    }
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !bind_and_listen(fd, &a)) {
        int code = errno;
        why_set(why, "cannot listen on %.*s: %s", SLICE_ARG(address), strerrordesc_np(code));
        if (fd >= 0)
            close(fd);
        return code == EADDRINUSE      ? E_EXISTS
               : code == EADDRNOTAVAIL ? E_NOTFOUND
               : code == EACCES        ? E_DENIED
                                       : E_IO;
    }
    struct listener *l = mem_new(struct listener);
    l->fd = fd;
    l->port = bound_port(fd);
    if (a.any.sa_family == AF_UNIX)
        l->local = a.local;
    pthread_mutex_init(&l->lock, NULL);
    *out = l;
    return OK;
}

int listener_port(const struct listener *l) { return l->port; }

static void seat_pause(struct listener_seat *s, int code)
{
    loop_remove(s->loop, &s->source);
    timer_set(s->loop, &s->retry, RETRY_MS);
    if (s->paused)
        return;
    s->paused = true;
    metric_add(&io_accept_pauses, 1);
    atomic_fetch_add(&paused_count, 1);
    alarm_raise(&io_descriptors_alarm, slice_of(strerrordesc_np(code)));
}

static void seat_unpaused(struct listener_seat *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    if (atomic_fetch_sub(&paused_count, 1) == 1)
        alarm_clear(&io_descriptors_alarm);
}

/* It works because a new descriptor is the lowest free number. */
bool descriptor_is_spare(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return false;
    rlim_t few = limit.rlim_cur / 8;
    return (rlim_t)fd >= limit.rlim_cur - (few < SPARE_MAX ? few : SPARE_MAX);
}

static void seat_ready(struct loop_source *source, uint32_t events)
{
    struct listener_seat *s = CONTAINER_OF(source, struct listener_seat, source);

    (void)events;
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        union address peer = { .any.sa_family = AF_UNSPEC };
        socklen_t len = sizeof(peer);
        int fd = accept4(source->fd, &peer.any, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            bool spare = !s->local && descriptor_is_spare(fd);
            metric_add(&io_accepted, 1);
            s->accepted(s->loop, fd, &peer.any, s->arg);
            if (spare) {
                seat_pause(s, EMFILE);
                return;
            }
            seat_unpaused(s);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            seat_pause(s, errno);
            return;
        } else if (errno == EAGAIN) {
            seat_unpaused(s); /* a descriptor is looked for before a connection is */
            return;
        } /* else: of that one connection, accept(2) */
    }
}

static void seat_retry(struct timer *t, struct loop *loop)
{
    struct listener_seat *s = CONTAINER_OF(t, struct listener_seat, retry);

    int fd = fcntl(s->source.fd, F_DUPFD_CLOEXEC, 0);
    bool spare = fd < 0 || (!s->local && descriptor_is_spare(fd));
    if (fd >= 0)
        close(fd);
    if (!spare && loop_add(loop, &s->source) == OK)
        seat_ready(&s->source, EPOLLIN);
    else
        timer_set(loop, t, RETRY_MS);
}

enum err listener_attach(struct listener *l, struct loop *loop, listener_fn *accepted, void *arg)
{
    struct listener_seat *s = mem_new(struct listener_seat);

    s->source = (struct loop_source){ .fd = l->fd,
                                      .events = EPOLLIN | EPOLLEXCLUSIVE,
                                      .ready = seat_ready };
    s->retry.fn = seat_retry;
    s->loop = loop;
    s->accepted = accepted;
    s->arg = arg;
    s->local = l->local.sun_path[0] != '\0';
    if (loop_add(loop, &s->source) != OK) {
        mem_free(&s);
        return E_IO;
    }
    pthread_mutex_lock(&l->lock);
    s->next = l->seats;
    l->seats = s;
    pthread_mutex_unlock(&l->lock);
    return OK;
}

static struct listener_seat *listen_take_seat(struct listener *l, const struct loop *loop)
{
    struct listener_seat **at = &l->seats;
    pthread_mutex_lock(&l->lock);
    while (*at != NULL && (*at)->loop != loop)
        at = &(*at)->next;
    struct listener_seat *s = *at;
    if (s != NULL)
        *at = s->next;
    pthread_mutex_unlock(&l->lock);
    return s;
}

void listener_detach(struct listener *l, struct loop *loop)
{
    struct listener_seat *s = listen_take_seat(l, loop);

    if (s == NULL)
        return;
    if (timer_is_set(&s->retry)) /* paused: not in the loop */
        timer_cancel(&s->retry);
    else
        loop_remove(loop, &s->source);
    seat_unpaused(s);
    mem_free(&s);
}

void listener_close(struct listener **l)
{
    struct listener *old = *l;

    if (old == NULL)
        return;
    ensure(old->seats == NULL);
    close(old->fd);
    if (old->local.sun_path[0] != '\0')
        unlink(old->local.sun_path);
    pthread_mutex_destroy(&old->lock);
    mem_free(l);
}
