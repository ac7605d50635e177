#include "notify/syslog.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "cert/cert_trust.h"
#include "codec/syslog.h"
#include "core/feature.h"
#include "home/here.h"
#include "io/address.h"
#include "io/resolve.h"
#include "io/tls_trust.h"
#include "io/visit.h"
#include "notify/outbound.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEADLINE_MS = 15000, JOURNAL_BYTES_MAX = 128 << 10, MESSAGE_BYTES_MAX = 128 << 10 };

static bool syslog_setting_ok(slice text)
{
    struct syslog_server server;
    return text.len == 0 || syslog_server_read(text, &server);
}
static bool journal_setting_ok(slice text)
{
    union address to;
    char path[sizeof to.local.sun_path + 8];
    if (text.len == 0 || text.ptr[0] != '/' || text.len >= sizeof to.local.sun_path)
        return false;
    snprintf(path, sizeof path, "unix:%.*s", SLICE_ARG(text));
    return address_parse(slice_of(path), &to);
}

static void (*server_changed)(struct worker *w);

static void syslog_server_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (server_changed != NULL)
        server_changed(w);
}

static struct setting syslog_server = {
    .name = "syslog.server",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = SYSLOG_SERVER_MAX,
    .check = syslog_setting_ok,
    .changed = syslog_server_changed,
    .form = "udp:HOST, tcp:HOST or tls:HOST, with :PORT behind it or not, and an IPv6 address in "
            "brackets such as tcp:[::1]:601; or empty",
    .doc = "The syslog server for alarms (alarm.syslog) and the audit log (audit.syslog), for "
           "example tls:log.example.org:6514. Messages are those of RFC 5424. With tls, the "
           "certificate of the server must name it and be trusted as those of other servers are "
           "(`musterctl cert-trust add`). Empty: none. When it changes, the old server still gets "
           "the entry of the audit log about that.",
};
static struct setting journal_socket = {
    .name = "journald.socket",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "/run/systemd/journal/socket",
    .min = 1,
    .max = 107,
    .check = journal_setting_ok,
    .local = true, /* any program's socket would take what is sent there */
    .form = "an absolute path",
    .doc = "Path of the socket of systemd-journald, for alarms (alarm.journald), the audit log "
           "(audit.journald) and, if systemd has tied standard error to the journal, the lines of "
           "the log, all with their fields, such as MUSTER_EVENT.",
};

bool syslog_is_set(void) { return *setting_text(&syslog_server) != '\0'; }
const char *syslog_server_text(void) { return setting_text(&syslog_server); }
void syslog_on_change(void (*fn)(struct worker *w)) { server_changed = fn; }

static bool syslog_destination(const struct syslog_errand *e, struct syslog_server *out)
{
    const char *text = e->server[0] != '\0' ? e->server : setting_text(&syslog_server);
    return syslog_server_read(slice_of(text), out);
}

bool syslog_add(struct syslog_errand *e, const struct syslog_line *line)
{
    struct buf one;
    ensure(!e->busy);
    if (e->messages.max == 0)
        buf_init(&e->messages, SYSLOG_BYTES_MAX);
    buf_init(&one, MESSAGE_BYTES_MAX);
    syslog_write(&one, line);
    slice message = buf_fit(&one);
    bool fits = e->messages.len + message.len + 16 <= SYSLOG_BYTES_MAX;
    if (fits)
        syslog_frame(&e->messages, message);
    buf_fini(&one);
    return fits;
}

static void syslog_end(struct syslog_errand *e)
{
    ensure(e->busy && e->resolve == NULL);
    e->busy = false;
    e->visit = NULL;
    buf_fini(&e->messages);
    e->messages = (struct buf){ 0 };
    e->done(e, e->why[0] != '\0' ? e->why : NULL);
}

static void syslog_over(struct loop_defer *d)
{
    syslog_end(CONTAINER_OF(d, struct syslog_errand, over));
}

static void syslog_end_later(struct syslog_errand *e, const char *why)
{
    if (why != NULL)
        snprintf(e->why, sizeof e->why, "%s", why);
    e->over.fn = syslog_over;
    loop_defer(worker_loop(e->worker), &e->over);
}

/* TCP and TLS. */

static void syslog_say(struct visit *v)
{
    struct syslog_errand *e = visit_arg(v);
    e->opened = true;
    visit_write(v, buf_fit(&e->messages));
    visit_close(v);
}

static void syslog_opened(struct visit *v)
{
    const struct syslog_errand *e = visit_arg(v);
    struct syslog_server server;
    if (syslog_destination(e, &server) && server.way == SYSLOG_TLS) {
        struct tls_trust *trust = tls_trusted_get(cert_trusted(CERT_TRUST_FEDERATION));
        visit_start_tls(v, trust);
        tls_trust_unref(&trust);
    } else {
        syslog_say(v);
    }
}

static size_t syslog_input(struct visit *v, slice data)
{
    (void)v; /* a syslog server says nothing */
    return data.len;
}

static void syslog_ended(void *arg, const char *why)
{
    struct syslog_errand *e = arg;
    if (why == NULL && !e->opened)
        why = "the server closed the connection before it had the messages";
    if (why != NULL)
        snprintf(e->why, sizeof e->why, "%s", why);
    syslog_end(e);
}

static const struct visit_ops syslog_ops = {
    .opened = syslog_opened, .secured = syslog_say, .input = syslog_input, .ended = syslog_ended
};

/* UDP (RFC 5426): one message a datagram, the begin of a long one. */

static const char *syslog_datagrams(struct syslog_errand *e, const union address *to)
{
    slice one, frames = buf_fit(&e->messages);
    int fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const char *why = fd < 0 ? strerror(errno) : NULL;
    while (why == NULL && syslog_unframe(&frames, &one)) {
        one.len = one.len < SYSLOG_UDP_MAX ? one.len : SYSLOG_UDP_MAX;
        if (sendto(fd, one.ptr, one.len, 0, &to->any, address_bytes(to)) < 0)
            why = strerror(errno);
    }
    if (fd >= 0)
        close(fd);
    return why;
}

static void syslog_resolved(void *arg, const struct resolved *result)
{
    struct syslog_errand *e = arg;
    e->resolve = NULL;
    const char *why =
        result->end != RESOLVE_FOUND ? result->reason : syslog_datagrams(e, &result->address[0]);
    syslog_end_later(e, why);
}

static bool syslog_numbers(const struct syslog_server *server, union address *out)
{
    char text[VISIT_HOST_MAX + 16];
    bool six = memchr(server->host.ptr, ':', server->host.len) != NULL;
    snprintf(text, sizeof text, six ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(server->host),
             server->port);
    return address_parse(slice_of(text), out);
}

void syslog_send(struct syslog_errand *e, struct worker *w)
{
    struct syslog_server server;
    struct resolver *resolver = outbound_resolver(w);
    union address to;
    ensure(!e->busy);
    e->worker = w;
    e->busy = true;
    e->opened = e->ours = false;
    e->why[0] = '\0';
    if (!syslog_destination(e, &server)) {
        e->ours = true;
        syslog_end_later(e, "no syslog server is given (syslog.server)");
    } else if (resolver == NULL)
        syslog_end_later(e, "the syslog server cannot be looked up");
    else if (server.way == SYSLOG_UDP && syslog_numbers(&server, &to))
        syslog_end_later(e, syslog_datagrams(e, &to));
    else if (server.way == SYSLOG_UDP)
        e->resolve = resolve_host(resolver, server.host, server.port, syslog_resolved, e);
    else
        e->visit = visit_start(worker_loop(w),
                               &(struct visit_options){ .resolver = resolver,
                                                        .host = server.host,
                                                        .port = server.port,
                                                        .deadline_ms = DEADLINE_MS },
                               &syslog_ops, e);
}

void syslog_cancel(struct syslog_errand *e)
{
    if (!e->busy)
        return;
    visit_cancel(&e->visit);
    resolve_cancel(&e->resolve);
    loop_defer_cancel(&e->over);
    buf_fini(&e->messages);
    *e = (struct syslog_errand){ .done = e->done };
}

/* One for all threads, which never closes: each message names where it goes. -1: errno says why. */
static int journal_fd(void)
{
    static _Atomic int kept; /* its number and one more; 0: none yet */
    int none = 0, fd = atomic_load(&kept) - 1;
    if (fd >= 0)
        return fd;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || atomic_compare_exchange_strong(&kept, &none, fd + 1))
        return fd;
    close(fd);
    return none - 1;
}

const char *journal_send(const struct syslog_line *line)
{
    char path[128];
    union address to;
    struct buf out;
    const char *why = NULL;
    int fd = journal_fd();
    snprintf(path, sizeof path, "unix:%s", setting_text(&journal_socket));
    buf_init(&out, JOURNAL_BYTES_MAX);
    syslog_journal(&out, line);
    if (fd < 0)
        why = strerror(errno);
    else if (!address_parse(slice_of(path), &to) || out.overflow)
        why = "the socket of journald cannot be used";
    else if (sendto(fd, out.ptr, out.len, MSG_NOSIGNAL, &to.any, address_bytes(&to)) < 0)
        why = errno == ENOENT ? "journald is not there (journald.socket)" : strerror(errno);
    buf_fini(&out);
    return why;
}

const struct feature syslog_feature = {
    .name = "syslog",
    .settings = (struct setting *const[]){ &syslog_server, &journal_socket, NULL },
};
