#include "io/dns_channel.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/timer.h"
#include <ares.h>
#include <arpa/nameser.h>
#include <pthread.h>
#include <sys/epoll.h>

/* A server has 1.5 s, and twice that at the second try. */
enum { TRY_MS = 1500, TRIES = 2, UDP_BYTES = 1232 /* RFC 9715 §3.1 */ };

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
    dns_fn *fn;
    void *arg;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void library_start(void) { library_status = ares_library_init(ARES_LIB_INIT_ALL); }

/* The loop. */

static void channel_arm(struct dns_channel *ch)
{
    struct timeval tv;
    if (ares_timeout(ch->ares, NULL, &tv) == NULL)
        timer_cancel(&ch->timer);
    else
        timer_set(ch->loop, &ch->timer,
                  (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1);
}

static void channel_timer(struct timer *t, struct loop *loop)
{
    struct dns_channel *ch = CONTAINER_OF(t, struct dns_channel, timer);
    (void)loop;
    ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    channel_arm(ch);
}

/* c-ares may close the socket, and frees `s` with it. */
static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct dns_channel *ch = CONTAINER_OF(source, struct dns_socket, source)->channel;
    const int fd = source->fd;
    ares_process_fd(ch->ares, (events & ~(uint32_t)EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
    channel_arm(ch);
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

enum err dns_channel_create(struct dns_channel **out, struct loop *loop, const char *servers,
                            struct why *why)
{
    struct dns_channel *ch = mem_new(struct dns_channel);
    struct ares_options options = { .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_EDNS,
                                    .timeout = TRY_MS,
                                    .tries = TRIES,
                                    .ednspsz = UDP_BYTES,
                                    .sock_state_cb = socket_changed,
                                    .sock_state_cb_data = ch };
    *out = NULL;
    ch->loop = loop;
    ch->timer.fn = channel_timer;
    list_init(&ch->sockets);
    pthread_once(&library_once, library_start);
    int e = library_status;
    if (e == ARES_SUCCESS)
        e = ares_init_options(&ch->ares, &options,
                              ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                  ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB);
    if (e != ARES_SUCCESS) {
        why_set(why, "the name servers of the system cannot be read: %s", ares_strerror(e));
        mem_free(&ch);
        return E_IO;
    }
    if (servers != NULL && ares_set_servers_ports_csv(ch->ares, servers) != ARES_SUCCESS) {
        why_set(why,
                "found '%s', allowed addresses of name servers with commas between them, "
                "such as 192.0.2.1,[2001:db8::1]:5353",
                servers);
        dns_channel_destroy(&ch);
        return E_SYNTAX;
    }
    *out = ch;
    return OK;
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

/* Servers that all refuse or fail end as ARES_ECONNREFUSED. */
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

static struct dns_question *question_new(dns_fn *fn, void *arg)
{
    struct dns_question *q = mem_new(struct dns_question);
    *q = (struct dns_question){ fn, arg };
    return q;
}

static void question_ends(struct dns_question *q, const struct dns_answer *answer)
{
    q->fn(q->arg, answer);
    mem_free(&q);
}

static void srv_answered(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct dns_srvs srv;
    struct dns_answer answer = { .end = dns_end_of(status) };
    bool read = bytes != NULL && len > 0 &&
                dns_srv_read(&srv, (slice){ (const char *)bytes, (size_t)len }) == OK;
    (void)timeouts;
    if (read) {
        answer.srv = &srv;
        answer.ttl_s = srv.ttl_s;
    }
    if (answer.end == DNS_FOUND && !read)
        answer.end = DNS_FAILED;
    else if (answer.end == DNS_FOUND && srv.count == 0)
        answer.end = DNS_NO_DATA;
    question_ends(arg, &answer);
}

void dns_ask_srv(struct dns_channel *ch, const char *name, dns_fn *fn, void *arg)
{
    ares_query(ch->ares, name, ns_c_in, ns_t_srv, srv_answered, question_new(fn, arg));
    channel_arm(ch);
}

static void host_answered(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    union address address[DNS_ADDRESSES_MAX];
    struct dns_answer answer = { .end = dns_end_of(status), .address = address };
    (void)timeouts;
    for (const struct ares_addrinfo_node *n = info == NULL ? NULL : info->nodes;
         n != NULL && answer.count < DNS_ADDRESSES_MAX; n = n->ai_next) {
        uint32_t ttl = n->ai_ttl > 0 ? (uint32_t)n->ai_ttl : 0;
        if (answer.count == 0 || ttl < answer.ttl_s)
            answer.ttl_s = ttl;
        address_set(&address[answer.count++], n->ai_addr);
    }
    ares_freeaddrinfo(info);
    if (answer.end == DNS_FOUND && answer.count == 0)
        answer.end = DNS_NO_DATA;
    question_ends(arg, &answer);
}

void dns_ask_host(struct dns_channel *ch, const char *name, int family, dns_fn *fn, void *arg)
{
    const struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT,
                                               .ai_family = family,
                                               .ai_socktype = SOCK_STREAM };
    ares_getaddrinfo(ch->ares, name, NULL, &hints, host_answered, question_new(fn, arg));
    channel_arm(ch);
}
