#include "io/dns_channel.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/timer.h"
#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>

/* A server has 1.5 s, and twice that at the second try. */
enum { TRY_MS = 1500, TRIES = 2, LATE_MS = 100 };

struct dns_channel {
    struct loop *loop;
    ares_channel ares;
    struct list sockets; /* struct dns_socket: at most two for each server */
    struct timer timer;
};

struct dns_socket {
    struct loop_source source;
    struct dns_channel *channel;
    struct list node;
};

struct dns_question {
    enum dns_type type;
    dns_fn *fn;
    void *arg;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void library_start(void) { library_status = ares_library_init(ARES_LIB_INIT_ALL); }

/* The loop. */

/* c-ares looks at all questions to say when the next one has waited long enough. A tenth of the
 * time in the loop of a burst went there, so it is not asked each time: while there are questions,
 * it may give up those that are late each LATE_MS. */
static void channel_arm(struct dns_channel *ch)
{
    if (!timer_is_set(&ch->timer))
        timer_set(ch->loop, &ch->timer, LATE_MS);
}

static void channel_timer(struct timer *t, struct loop *loop)
{
    struct dns_channel *ch = CONTAINER_OF(t, struct dns_channel, timer);
    struct timeval tv;
    (void)loop;
    ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (ares_timeout(ch->ares, NULL, &tv) != NULL)
        channel_arm(ch);
}

/* c-ares may close the socket, and frees `source` with it. */
static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct dns_channel *ch = CONTAINER_OF(source, struct dns_socket, source)->channel;
    const int fd = source->fd;
    ares_process_fd(ch->ares, (events & ~(uint32_t)EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
}

static struct dns_socket *socket_find(struct dns_channel *ch, int fd)
{
    LIST_EACH (it, &ch->sockets) {
        struct dns_socket *s = CONTAINER_OF(it, struct dns_socket, node);
        if (s->source.fd == fd)
            return s;
    }
    return NULL;
}

static void socket_add(struct dns_channel *ch, int fd, uint32_t events)
{
    struct dns_socket *s = mem_new(struct dns_socket);
    s->channel = ch;
    s->source = (struct loop_source){ .fd = fd, .events = events, .ready = socket_ready };
    if (loop_add(ch->loop, &s->source) == OK) /* else the question ends by its time */
        list_append(&ch->sockets, &s->node);
    else
        mem_free(&s);
}

static void socket_remove(struct dns_socket *s)
{
    loop_remove(s->channel->loop, &s->source);
    list_remove(&s->node);
    mem_free(&s);
}

static void socket_changed(void *arg, int fd, int readable, int writable)
{
    struct dns_channel *ch = arg;
    struct dns_socket *s = socket_find(ch, fd);
    uint32_t events = (readable ? (uint32_t)EPOLLIN : 0u) | (writable ? (uint32_t)EPOLLOUT : 0u);
    if (s == NULL && events != 0)
        socket_add(ch, fd, events);
    else if (s != NULL && events == 0)
        socket_remove(s);
    else if (s != NULL)
        loop_change(ch->loop, &s->source, events);
}

/* Start and end. */

/* Of "192.0.2.1, [2001:db8::1]:5353, 2001:db8::2"; port 0: the usual one. */
static bool server_read(slice text, struct ares_addr_port_node *out)
{
    char with_port[ADDRESS_TEXT_BYTES + 8];
    union address a;
    while (text.len > 0 && text.ptr[0] == ' ')
        text = slice_from(text, 1);
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    if (text.len == 0 || text.len >= ADDRESS_TEXT_BYTES)
        return false;
    if (!address_parse(text, &a)) {
        bool v6 = memchr(text.ptr, ':', text.len) != NULL && text.ptr[0] != '[';
        int n = snprintf(with_port, sizeof with_port, v6 ? "[%.*s]:53" : "%.*s:53", (int)text.len,
                         text.ptr);
        if (!address_parse((slice){ with_port, (size_t)n }, &a))
            return false;
    }
    out->family = a.any.sa_family;
    out->udp_port = out->tcp_port = address_port(&a);
    if (out->family == AF_INET)
        out->addr.addr4 = a.v4.sin_addr;
    else if (out->family == AF_INET6)
        memcpy(&out->addr.addr6, &a.v6.sin6_addr, sizeof out->addr.addr6);
    return (out->family == AF_INET || out->family == AF_INET6) && out->udp_port != 0;
}

static enum err channel_servers(struct dns_channel *ch, const char *servers, struct why *why)
{
    struct ares_addr_port_node node[DNS_SERVERS_MAX] = { 0 };
    size_t count = 0;
    slice rest = slice_of(servers), one;
    for (bool more = true; more; count++) {
        more = slice_cut(rest, ',', &one, &rest);
        if (count == DNS_SERVERS_MAX || !server_read(one, &node[count])) {
            why_set(why,
                    "found '%s', allowed at most %d addresses of name servers with commas between "
                    "them, such as 192.0.2.1, [2001:db8::1]:5353",
                    servers, DNS_SERVERS_MAX);
            return E_SYNTAX;
        }
        if (count > 0)
            node[count - 1].next = &node[count];
    }
    int e = ares_set_servers_ports(ch->ares, node);
    if (e != ARES_SUCCESS)
        why_set(why, "the name servers %s cannot be used: %s", servers, ares_strerror(e));
    return e == ARES_SUCCESS ? OK : E_IO;
}

enum err dns_channel_create(struct dns_channel **out, struct loop *loop, const char *servers,
                            struct why *why)
{
    struct dns_channel *ch = mem_new(struct dns_channel);
    struct ares_options options = { .flags = ARES_FLAG_NOSEARCH,
                                    .timeout = TRY_MS,
                                    .tries = TRIES,
                                    .sock_state_cb = socket_changed,
                                    .sock_state_cb_data = ch };
    *out = NULL;
    ch->loop = loop;
    ch->timer.fn = channel_timer;
    list_init(&ch->sockets);
    pthread_once(&library_once, library_start);
    int status = library_status;
    if (status == ARES_SUCCESS)
        status = ares_init_options(&ch->ares, &options,
                                   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        why_set(why, "the name servers of the system cannot be read: %s", ares_strerror(status));
        mem_free(&ch);
        return E_IO;
    }
    enum err e = servers == NULL ? OK : channel_servers(ch, servers, why);
    if (e != OK)
        dns_channel_destroy(&ch);
    *out = ch;
    return e;
}

void dns_channel_destroy(struct dns_channel **pch)
{
    struct dns_channel *ch = *pch;
    *pch = NULL;
    if (ch == NULL)
        return;
    ares_destroy(ch->ares);
    ensure(list_empty(&ch->sockets));
    timer_cancel(&ch->timer);
    mem_free(&ch);
}

/* Questions. */

static enum dns_end dns_end_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return DNS_FOUND;
    case ARES_ENOTFOUND:
        return DNS_NO_NAME;
    case ARES_ENODATA:
        return DNS_NO_DATA;
    case ARES_ETIMEOUT:
        return DNS_TIMEOUT;
    case ARES_EDESTRUCTION:
    case ARES_ECANCELLED:
        return DNS_GIVEN_UP;
    default:
        return DNS_FAILED;
    }
}

static const char *dns_reason_of(int status, enum dns_end end)
{
    switch (end) {
    case DNS_FOUND:
        return "found";
    case DNS_NO_NAME:
        return "no such name";
    case DNS_NO_DATA:
        return "the name has no such record";
    case DNS_TIMEOUT:
        return "no name server has answered";
    default: /* c-ares says of servers that refuse or fail that they cannot be reached */
        return status == ARES_ECONNREFUSED ? "no name server answers without an error"
                                           : ares_strerror(status);
    }
}

static void dns_answered(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct dns_question *q = arg;
    struct dns_records records;
    struct dns_answer answer = { .end = dns_end_of(status) };
    (void)timeouts;
    answer.reason = dns_reason_of(status, answer.end);
    if (bytes != NULL && len > 0 &&
        dns_read(&records, (slice){ (const char *)bytes, (size_t)len }, q->type) == OK)
        answer.records = &records;
    if (answer.end == DNS_FOUND && (answer.records == NULL || records.useless)) {
        answer.end = DNS_FAILED;
        answer.reason = answer.records == NULL ? "the answer of the name server cannot be read"
                                               : "the records are of no use";
    } else if (answer.end == DNS_FOUND && records.count == 0) {
        answer.end = DNS_NO_DATA;
        answer.reason = dns_reason_of(status, DNS_NO_DATA);
    }
    q->fn(q->arg, &answer);
    mem_free(&q);
}

void dns_ask(struct dns_channel *ch, const char *name, enum dns_type type, dns_fn *fn, void *arg)
{
    struct dns_question *q = mem_new(struct dns_question);
    ensure(name[0] != '\0');
    *q = (struct dns_question){ type, fn, arg };
    ares_query(ch->ares, name, ns_c_in, (int)type, dns_answered, q);
    channel_arm(ch);
}

static void hosts_add(struct dns_hosts *out, const struct hostent *h)
{
    size_t limit = out->count + DNS_ADDRESSES_MAX;
    for (char **at = h->h_addr_list; *at != NULL && out->count < limit; at++) {
        union ip_address *a = &out->address[out->count];
        *a = (union ip_address){ .any.sa_family = (sa_family_t)h->h_addrtype };
        if (h->h_addrtype == AF_INET)
            memcpy(&a->v4.sin_addr, *at, sizeof a->v4.sin_addr);
        else if (h->h_addrtype == AF_INET6)
            memcpy(&a->v6.sin6_addr, *at, sizeof a->v6.sin6_addr);
        else
            continue;
        out->count++;
    }
}

bool dns_hosts_read(struct dns_channel *ch, const char *name, struct dns_hosts *out)
{
    static const int families[] = { AF_INET6, AF_INET };
    out->count = 0;
    for (size_t i = 0; i < 2; i++) {
        struct hostent *h = NULL;
        if (ares_gethostbyname_file(ch->ares, name, families[i], &h) != ARES_SUCCESS)
            continue;
        hosts_add(out, h);
        ares_free_hostent(h);
    }
    return out->count > 0;
}
