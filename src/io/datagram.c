#include "io/datagram.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "io/datagram_private.h"
#include "io/metrics.h"
#include <errno.h>
#include <unistd.h>

/* That waits for the socket. */
struct outgoing {
    struct list node;
    struct datagram_path path;
    size_t len;
    char data[];
};

/* Room for either kind, aligned as the system wants it. */
struct control {
    _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void *control_start(struct msghdr *m, struct control *c, int level, int type, size_t len)
{
    struct cmsghdr *head = (struct cmsghdr *)(void *)c->bytes;

    memset(c, 0, sizeof(*c));
    m->msg_control = c->bytes;
    m->msg_controllen = CMSG_SPACE(len);
    head->cmsg_level = level;
    head->cmsg_type = type;
    head->cmsg_len = CMSG_LEN(len);
    return CMSG_DATA(head);
}

/* A socket for both families knows IPv4 addresses as a part of IPv6. */
static void map_v4(union address *a)
{
    if (a->any.sa_family != AF_INET)
        return;
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = a->v4.sin_port };
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(v6.sin6_addr.s6_addr + 12, &a->v4.sin_addr, 4);
    a->v6 = v6;
}

static void send_from(struct msghdr *m, struct control *c, const union address *local)
{
    if (local->any.sa_family == AF_INET) {
        struct in_pktinfo info = { .ipi_spec_dst = local->v4.sin_addr };
        memcpy(control_start(m, c, IPPROTO_IP, IP_PKTINFO, sizeof(info)), &info, sizeof(info));
    } else if (local->any.sa_family == AF_INET6) {
        struct in6_pktinfo info = { .ipi6_addr = local->v6.sin6_addr,
                                    .ipi6_ifindex = local->v6.sin6_scope_id };
        memcpy(control_start(m, c, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(info)), &info, sizeof(info));
    }
}

static enum err send_now(const struct datagram *d, slice data, const struct datagram_path *path)
{
    union address peer = path->peer, local = path->local;
    struct iovec iov = { (char *)(uintptr_t)data.ptr, data.len };
    struct msghdr m = { .msg_name = &peer, .msg_iov = &iov, .msg_iovlen = 1 };
    if (d->family == AF_INET6) {
        map_v4(&peer);
        map_v4(&local);
    }
    m.msg_namelen = address_bytes(&peer);
    struct control control;
    send_from(&m, &control, &local);
    if (sendmsg(d->source.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        metric_add(&io_datagrams_out, 1);
        return OK;
    }
    if (errno == EAGAIN || errno == ENOBUFS)
        return E_AGAIN;
    return errno == EMSGSIZE ? E_LIMIT : E_IO;
}

void datagram_block(struct datagram *d)
{
    d->blocked = true;
    loop_change(d->loop, &d->source, EPOLLIN | EPOLLOUT);
}

static enum err wait_behind(struct datagram *d, slice data, const struct datagram_path *path)
{
    size_t bytes = sizeof(struct outgoing) + data.len;
    if (bytes > d->options.queue_max - d->waiting_bytes) {
        metric_add(&io_datagrams_dropped, 1);
        return E_AGAIN;
    }
    struct outgoing *o = mem_alloc(bytes);
    *o = (struct outgoing){ .path = *path, .len = data.len };
    if (data.len > 0)
        memcpy(o->data, data.ptr, data.len);
    list_append(&d->waiting, &o->node);
    d->waiting_bytes += bytes;
    return OK;
}

enum err datagram_send(struct datagram *d, slice data, const struct datagram_path *path)
{
    enum err e = E_AGAIN;

    ensure(!d->closed);
    if (!d->blocked)
        e = send_now(d, data, path);
    if (e == E_AGAIN) {
        if (!d->blocked)
            datagram_block(d);
        return wait_behind(d, data, path);
    }
    if (e != OK)
        metric_add(&io_datagrams_dropped, 1);
    return e;
}

static void datagram_drop_first(struct datagram *d)
{
    struct outgoing *o = CONTAINER_OF(list_pop(&d->waiting), struct outgoing, node);

    d->waiting_bytes -= sizeof(*o) + o->len;
    mem_free(&o);
}

static void send_waiting(struct datagram *d)
{
    while (!list_empty(&d->waiting)) {
        struct outgoing *o = CONTAINER_OF(d->waiting.next, struct outgoing, node);
        enum err e = send_now(d, (slice){ o->data, o->len }, &o->path);
        if (e == E_AGAIN)
            return;
        metric_add(&io_datagrams_dropped, e != OK);
        datagram_drop_first(d);
    }
    d->blocked = false;
    loop_change(d->loop, &d->source, EPOLLIN);
}

/* The address that it was sent to. */
static void note_local(union address *out, struct msghdr *m)
{
    *out = (union address){ .any.sa_family = AF_UNSPEC };
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            out->v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = info.ipi_spec_dst };
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            v6.sin6_addr = info.ipi6_addr;
            if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr))
                v6.sin6_scope_id = info.ipi6_ifindex;
            address_set(out, (const struct sockaddr *)&v6);
        }
    }
}

static void datagram_give(struct datagram *d, struct mmsghdr *m)
{
    const struct sockaddr *from = m->msg_hdr.msg_name;
    metric_add(&io_datagrams_in, 1);
    if ((m->msg_hdr.msg_flags & MSG_TRUNC) != 0) {
        metric_add(&io_datagrams_dropped, 1);
        return;
    }
    struct datagram_path path;
    address_set(&path.peer, from);
    note_local(&path.local, &m->msg_hdr);
    d->options.received(d, (slice){ m->msg_hdr.msg_iov->iov_base, m->msg_len }, &path);
    arena_reset(d->loop->scratch);
}

static void datagram_free(struct datagram *d)
{
    while (!list_empty(&d->waiting))
        datagram_drop_first(d);
    mem_free(&d->buffer);
    mem_free(&d);
}

static void datagram_receive(struct datagram *d)
{
    struct mmsghdr m[DATAGRAM_BATCH];
    struct iovec iov[DATAGRAM_BATCH];
    union address from[DATAGRAM_BATCH];
    struct control control[DATAGRAM_BATCH];
    for (size_t i = 0; i < DATAGRAM_BATCH; i++) {
        iov[i] = (struct iovec){ d->buffer + i * d->options.bytes_max, d->options.bytes_max };
        m[i].msg_hdr = (struct msghdr){ .msg_name = &from[i],
                                        .msg_namelen = sizeof(from[i]),
                                        .msg_iov = &iov[i],
                                        .msg_iovlen = 1,
                                        .msg_control = &control[i],
                                        .msg_controllen = sizeof(control[i]) };
    }
    /* an error is of one that was sent, and gone when it was told */
    int count = recvmmsg(d->source.fd, m, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
    d->running = true;
    for (int i = 0; i < count && !d->closed; i++)
        datagram_give(d, &m[i]);
    d->running = false;
}

static void datagram_ready(struct loop_source *s, uint32_t events)
{
    struct datagram *d = CONTAINER_OF(s, struct datagram, source);

    if ((events & EPOLLOUT) != 0)
        send_waiting(d);
    if ((events & (EPOLLIN | EPOLLERR)) != 0)
        datagram_receive(d);
    if (d->closed)
        datagram_free(d);
}

/* The descriptor; -1: errno tells why not. */
static int open_bound(const union address *a)
{
    int on = 1, off = 0;
    bool v6 = a->any.sa_family == AF_INET6;
    int fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if ((v6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0 &&
                  setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) == 0
            : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0) &&
        bind(fd, &a->any, address_bytes(a)) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static enum err refuse_open(struct why *why, slice address)
{
    int code = errno;

    why_set(why, "cannot receive datagrams on %.*s: %s", SLICE_ARG(address), strerrordesc_np(code));
    return code == EADDRINUSE ? E_EXISTS : E_IO;
}

enum err datagram_open(struct datagram **out, struct loop *loop,
                       const struct datagram_options *options, struct why *why)
{
    union address a;
    socklen_t len = sizeof(a);
    ensure(options->bytes_max > 0 && options->bytes_max <= DATAGRAM_BYTES_MAX);
    if (!address_parse(options->address, &a) || a.any.sa_family == AF_UNIX) {
        why_set(why, "address \"%.*s\": give [IPv6]:port or IPv4:port",
                SLICE_ARG(options->address));
        return E_SYNTAX;
    }
    int fd = open_bound(&a);
    if (fd < 0)
        return refuse_open(why, options->address);
    struct datagram *d = mem_new(struct datagram);
    d->source = (struct loop_source){ .fd = fd, .events = EPOLLIN, .ready = datagram_ready };
    d->loop = loop;
    d->options = *options;
    d->family = a.any.sa_family;
    list_init(&d->waiting);
    d->buffer = mem_alloc((size_t)DATAGRAM_BATCH * options->bytes_max);
    d->port = getsockname(fd, &a.any, &len) == 0 ? address_port(&a) : 0;
    if (loop_add(loop, &d->source) != OK) {
        enum err e = refuse_open(why, options->address);
        close(fd);
        datagram_free(d);
        return e;
    }
    *out = d;
    return OK;
}

void datagram_close(struct datagram **datagram)
{
    struct datagram *d = *datagram;

    *datagram = NULL;
    if (d == NULL || d->closed)
        return;
    loop_remove(d->loop, &d->source);
    close(d->source.fd);
    d->closed = true;
    if (!d->running)
        datagram_free(d);
}

void *datagram_owner(const struct datagram *d) { return d->options.owner; }
int datagram_port(const struct datagram *d) { return d->port; }
