#include "operate/doctor_net.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/list.h"
#include "codec/xml_write.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/tls_names.h"
#include "io/tls_trust.h"
#include "io/visit.h"
#include "operate/doctor_check.h"
#include "xmpp/ns.h"
#include "xmpp/precis.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Ways to a domain; the listener that serves it, and the port where there is no record. */
static const struct way {
    const char *check, *service, *xmlns, *alpn;
    size_t list; /* offset in struct node_file */
    uint16_t port;
    bool direct; /* TLS from the first byte: only by its record */
} ways[] = {
    { "dns client", "_xmpp-client._tcp", "jabber:client", "xmpp-client",
      offsetof(struct node_file, c2s), 5222, false },
    { "dns client", "_xmpps-client._tcp", "jabber:client", "xmpp-client",
      offsetof(struct node_file, c2s_tls), 5223, true },
    { "dns server", "_xmpp-server._tcp", "jabber:server", "xmpp-server",
      offsetof(struct node_file, s2s), 5269, false },
    { "dns server", "_xmpps-server._tcp", "jabber:server", "xmpp-server",
      offsetof(struct node_file, s2s_tls), 5270, true },
};
enum {
    WAYS = sizeof ways / sizeof ways[0],
    HEADER_BYTES_MAX = 4096,
    SAID_BYTES_MAX = 60,  /* of it, that a row shows */
    SAID_LEN_MAX = 16384, /* without the header of a stream */
    TLS_ALERT = 21,       /* RFC 8446 §5.1 */
    TLS_HANDSHAKE = 22,
    TLS_MAJOR = 3,
    DAY_S = 86400,
    SOON_DAYS = 14 /* a certificate that expires then is told of */
};
#define ERROR_TAG "<stream:error"
#define FEATURES  "features"
#define PROCEED   "<proceed"

struct question {
    struct doctor_net *net;
    const struct way *way;
    const char *name; /* that is asked for */
    struct resolve *asked;
};

/* Where a host is that answers. */
enum reach_place { REACH_ELSEWHERE, REACH_OTHER_PORT, REACH_HERE, REACH_FROM_OUTSIDE };

/* One host that is tried. */
struct reach {
    struct list node;
    struct doctor_net *net;
    const struct way *way;
    struct visit *visit;
    const char *record; /* that leads to it; NULL: there is none */
    const char *host;
    uint16_t port;
    bool open;
    enum reach_place place; /* if it is open */
    /* From outside it must speak XMPP, too. */
    bool secured, answered, closed; /* TLS stands; its stream has begun; we have ended it */
    bool starting, refused;         /* TLS was asked for in the stream; it ended with an error */
    const char *said;               /* what it said in place of that, or refused; NULL: nothing */
    enum doctor_state proven;       /* what its certificate is worth */
    const char *certificate;        /* the same in words; NULL: it was not seen */
};

struct doctor_net {
    struct doctor_net_options o;
    struct loop_defer next;
    size_t domain; /* that is looked at */
    const char *unicode, *ascii;
    struct question questions[WAYS];
    struct list reaches;
    unsigned left; /* questions and hosts */
};

static const struct node_listen_list *listens(const struct doctor_net *n, const struct way *way)
{
    return (const struct node_listen_list *)((const char *)n->o.file + way->list);
}

static void net_go_on(struct doctor_net *n)
{
    ensure(n->left > 0);
    if (--n->left == 0)
        loop_defer(n->o.loop, &n->next);
}

/* The port where we listen for it, or that of the standard. */
static unsigned way_port(const struct doctor_net *n, const struct way *way)
{
    union address a;
    const struct node_listen_list *l = listens(n, way);
    int port =
        l->count > 0 && address_parse(slice_of(l->item[0].address), &a) ? address_port(&a) : 0;
    return port > 0 ? (unsigned)port : way->port;
}

static const char *record_wanted(struct doctor_net *n, const struct way *way)
{
    return arena_printf(n->o.call->arena,
                        "add to the zone of the domain: %s.%s. 3600 IN SRV 0 5 %u HOST.",
                        way->service, n->ascii, way_port(n, way));
}

/* Hosts. */

/* An address may be of another machine, or of a router that passes on to this one. */
static enum reach_place reach_where(const struct reach *r, const union address *a)
{
    const struct node_listen_list *l = listens(r->net, r->way);
    union address own;
    if (r->net->o.outside != NULL)
        return REACH_FROM_OUTSIDE;
    if (!address_is_own(a))
        return REACH_ELSEWHERE;
    for (size_t i = 0; i < l->count; i++)
        if (address_parse(slice_of(l->item[i].address), &own) && address_port(&own) == r->port)
            return REACH_HERE;
    return REACH_OTHER_PORT;
}

static void reach_speak(struct reach *r, struct visit *v)
{
    struct buf out;
    struct xml_write x = { 0 };
    buf_init(&out, HEADER_BYTES_MAX);
    buf_lit(&out, "<?xml version='1.0'?>");
    xml_write_to(&x, &out);
    xml_open_with(&x, "stream:stream", r->way->xmlns, "to", slice_of(r->net->ascii));
    xml_attr(&x, "version", SLICE("1.0"));
    xml_attr(&x, "xmlns:stream", SLICE(NS_STREAM));
    xml_text(&x, SLICE("")); /* it stays open */
    visit_write(v, buf_fit(&out));
    buf_fini(&out);
}

static void reach_opened(struct visit *v)
{
    struct reach *r = visit_arg(v);
    union address a;
    visit_peer(v, &a);
    r->open = true;
    r->place = reach_where(r, &a);
    if (r->place != REACH_FROM_OUTSIDE)
        visit_close(v);
    else if (r->way->direct)
        visit_start_tls_as(v, slice_of(r->net->ascii), slice_of(r->way->alpn), r->net->o.outside);
    else
        reach_speak(r, v);
}

/* As clients and other servers judge it (RFC 6120 §13.7.1.2). */
static void reach_judge(struct reach *r, const struct visit *v)
{
    const struct doctor_net *n = r->net;
    struct arena *arena = n->o.call->arena;
    const struct tls_wanted wanted = { .domain = slice_of(n->ascii),
                                       .unicode = slice_of(n->unicode),
                                       .service = slice_of(r->way->alpn),
                                       .xmpp = true,
                                       .wildcards = true };
    const struct tls_peer *peer = visit_tls_peer(v);
    ensure(peer != NULL);
    bool named = visit_is_named(v, &wanted), trusted = peer->verdict == TLS_VERIFIED;
    int64_t left = peer->not_after - (int64_t)(clock_wall_us() / 1000000);
    struct buf text;
    buf_init(&text, DOCTOR_TEXT_MAX);
    if (!named)
        buf_printf(&text, "the certificate does not name %s: ", n->ascii);
    tls_peer_explain(peer, &text);
    r->certificate = slice_cstr(arena, buf_fit(&text));
    buf_fini(&text);
    r->proven = !named || !trusted         ? DOCTOR_ERROR
                : left < SOON_DAYS * DAY_S ? DOCTOR_WARNING
                                           : DOCTOR_OK;
}

static void reach_secured(struct visit *v)
{
    struct reach *r = visit_arg(v);
    r->secured = true;
    reach_judge(r, v);
    if (r->way->direct) {
        reach_speak(r, v);
        return;
    }
    r->closed = true;
    visit_close(v);
}

/* The head of what is no XMPP, for a person. */
static const char *reach_words(const struct reach *r, slice data)
{
    char shown[SAID_BYTES_MAX + 1];
    size_t len = 0;
    if (data.len > 1 && (data.ptr[0] == TLS_ALERT || data.ptr[0] == TLS_HANDSHAKE) &&
        data.ptr[1] == TLS_MAJOR)
        return "it speaks TLS from the first byte";
    for (; len < data.len && len < SAID_BYTES_MAX && data.ptr[len] != '\n' && data.ptr[len] != '\r';
         len++)
        shown[len] = data.ptr[len] >= ' ' && data.ptr[len] <= '~' ? data.ptr[len] : '?';
    return arena_printf(r->net->o.call->arena, "it says \"%.*s\"", (int)len, shown);
}

/* The condition of a stream error; empty: more of it comes. */
static slice reach_condition(slice data)
{
    const char *tag = memmem(data.ptr, data.len, ERROR_TAG, sizeof ERROR_TAG - 1);
    slice rest;
    size_t len = 0;
    if (tag == NULL)
        return SLICE("");
    data = slice_from(data, (size_t)(tag - data.ptr) + sizeof ERROR_TAG - 1);
    if (!slice_cut(data, '<', &rest, &data))
        return SLICE("");
    while (len < data.len && (islower((unsigned char)data.ptr[len]) || data.ptr[len] == '-'))
        len++;
    return len < data.len ? (slice){ data.ptr, len } : SLICE("");
}

/* A server that lets no stranger in speaks XMPP, too; but one of these says that it is not the
 * right one. */
static bool reach_is_wrong(slice condition)
{
    return slice_is(condition, "host-unknown") || slice_is(condition, "host-gone") ||
           slice_is(condition, "invalid-namespace");
}

/* Whether it speaks XMPP. */
static bool reach_speaks(const struct reach *r) { return r->answered && r->said == NULL; }

static void reach_close(struct reach *r, struct visit *v)
{
    r->closed = true;
    visit_write(v, SLICE("</stream:stream>"));
    visit_close(v);
}

/* They are whole, so that TLS is among them or not. */
static bool reach_has_features(slice data)
{
    static const char name[] = FEATURES, end[] = FEATURES ">";
    const char *at = memmem(data.ptr, data.len, name, sizeof name - 1);
    if (at == NULL)
        return false;
    slice rest = slice_from(data, (size_t)(at - data.ptr) + sizeof name - 1);
    return slice_starts(rest, SLICE("/>")) ||
           memmem(rest.ptr, rest.len, end, sizeof end - 1) != NULL;
}

/* What follows our wish for TLS. */
static size_t reach_start(struct reach *r, struct visit *v, slice data)
{
    bool over = memchr(data.ptr, '>', data.len) != NULL;
    if (memmem(data.ptr, data.len, PROCEED, sizeof PROCEED - 1) != NULL && over)
        visit_start_tls_as(v, slice_of(r->net->ascii), SLICE(""), r->net->o.outside);
    else if (over || data.len > SAID_LEN_MAX)
        reach_close(r, v);
    else
        return 0;
    return data.len;
}

/* It is known when the features or an error follow the header of the stream. */
static size_t reach_input(struct visit *v, slice data)
{
    struct reach *r = visit_arg(v);
    slice condition = reach_condition(data);
    if (r->closed)
        return data.len;
    if (r->starting)
        return reach_start(r, v, data);
    r->answered = memmem(data.ptr, data.len, NS_STREAM, sizeof NS_STREAM - 1) != NULL;
    r->said = !r->answered ? reach_words(r, data)
              : reach_is_wrong(condition)
                  ? arena_printf(r->net->o.call->arena, "it refuses the stream: %.*s",
                                 SLICE_ARG(condition))
                  : NULL;
    bool over = r->answered ? condition.len > 0 || reach_has_features(data)
                            : data.ptr[0] != '<' || data.len > SAID_LEN_MAX;
    if (!over)
        return 0; /* more comes with it */
    r->refused = condition.len > 0;
    r->starting = !r->secured && !r->refused && reach_speaks(r) &&
                  memmem(data.ptr, data.len, NS_TLS, sizeof NS_TLS - 1) != NULL;
    if (r->starting)
        visit_write(v, SLICE("<starttls xmlns='" NS_TLS "'/>"));
    else
        reach_close(r, v);
    return data.len;
}

/* What it does in place of that. */
static const char *reach_other(const struct reach *r, const char *why)
{
    return r->said != NULL                                ? r->said
           : r->way->direct && !r->secured && why == NULL ? "it closes the connection in TLS"
           : why != NULL                                  ? why
                                                          : "it closes the connection";
}

static const char *reach_result(const struct reach *r, const char *why)
{
    static const char *const open[] = {
        [REACH_HERE] = "it answers",
        [REACH_OTHER_PORT] = "it answers, but this server does not listen for it at that port",
        [REACH_ELSEWHERE] = "it answers; it cannot be proven that it leads to this machine",
        [REACH_FROM_OUTSIDE] = "it answers",
    };
    ensure(r->place <= REACH_FROM_OUTSIDE);
    if (r->open && r->place == REACH_FROM_OUTSIDE && !reach_speaks(r))
        return arena_printf(r->net->o.call->arena, "it is open, but does not speak XMPP%s: %s",
                            r->way->direct ? " with direct TLS" : "", reach_other(r, why));
    return r->open ? open[r->place] : why != NULL ? why : "it closes the connection";
}

static const char *reach_remedy(const struct reach *r)
{
    struct doctor_net *n = r->net;
    struct arena *arena = n->o.call->arena;
    if (r->record == NULL)
        return record_wanted(n, r->way);
    if (r->open && n->o.outside != NULL)
        return arena_printf(arena,
                            "change the record to a port where the server speaks XMPP%s for %s",
                            r->way->direct ? " with direct TLS" : "", n->ascii);
    if (r->open)
        return arena_printf(arena,
                            "change the port of the record to %u, unless something here passes "
                            "port %u on to this server",
                            way_port(n, r->way), r->port);
    if (n->o.outside != NULL)
        return arena_printf(arena, "open port %u in the firewall, or correct the record", r->port);
    return arena_printf(
        arena,
        "open port %u in the firewall, or correct the record; behind NAT the "
        "address may answer from outside only: there, `musterctl doctor outside %s`",
        r->port, n->ascii);
}

/* A row of its own: the records can be right where the certificate is not. */
static void reach_tell_certificate(const struct reach *r, const char *why)
{
    const struct doctor_net *n = r->net;
    struct arena *arena = n->o.call->arena;
    enum doctor_state state = r->certificate != NULL ? r->proven
                              : r->refused           ? DOCTOR_UNKNOWN
                                                     : DOCTOR_ERROR;
    const char *found = r->certificate != NULL ? r->certificate
                        : r->refused   ? "it refuses the stream, so its certificate was not seen"
                        : why != NULL  ? arena_printf(arena, "TLS fails: %s", why)
                        : !r->starting ? "it offers no TLS"
                                       : "it refuses TLS";
    doctor_add(n->o.call, "certificates", state,
               arena_printf(arena, "%s port %u: %s", r->host, r->port, found),
               arena_printf(arena,
                            "give the server a certificate that names %s, from an authority that "
                            "clients and other servers trust; where Muster runs: musterctl cert "
                            "check",
                            n->ascii));
}

static void reach_ended(void *arg, const char *why)
{
    struct reach *r = arg;
    struct doctor_net *n = r->net;
    struct arena *arena = n->o.call->arena;
    const char *how = r->record != NULL
                          ? arena_printf(arena, "%s leads to ", r->record)
                          : arena_printf(arena, "no record %s.%s, so ", r->way->service, n->ascii);
    const char *found =
        arena_printf(arena, "%s%s port %u: %s", how, r->host, r->port, reach_result(r, why));
    bool fails = !r->open || (r->place == REACH_FROM_OUTSIDE && !reach_speaks(r));
    enum doctor_state state = fails                          ? DOCTOR_ERROR
                              : r->place == REACH_OTHER_PORT ? DOCTOR_WARNING
                                                             : DOCTOR_OK;
    ensure(list_linked(&r->node));
    r->visit = NULL;
    list_remove(&r->node);
    doctor_add(n->o.call, r->way->check, state, found, reach_remedy(r));
    if (r->place == REACH_FROM_OUTSIDE && !fails)
        reach_tell_certificate(r, why);
    net_go_on(n);
}

static const struct visit_ops reach_ops = {
    .opened = reach_opened, .secured = reach_secured, .input = reach_input, .ended = reach_ended
};

static void reach_begin(struct doctor_net *n, const struct way *way, const char *record,
                        const char *host, uint16_t port)
{
    struct arena *arena = n->o.call->arena;
    struct reach *r = arena_new(arena, struct reach, 1);
    *r = (struct reach){ .net = n, .way = way, .record = record, .port = port };
    r->host = arena_printf(arena, "%s", host);
    n->left++;
    list_append(&n->reaches, &r->node);
    r->visit = visit_start(n->o.loop,
                           &(struct visit_options){ .resolver = n->o.resolver,
                                                    .host = slice_of(r->host),
                                                    .port = port,
                                                    .deadline_ms = DOCTOR_REACH_MS },
                           &reach_ops, r);
    if (r->visit == NULL)
        reach_ended(r, "it is no host");
}

/* Records. */

static void doctor_dns_none(struct question *q)
{
    struct doctor_net *n = q->net;
    if (!q->way->direct)
        reach_begin(n, q->way, NULL, n->ascii, q->way->port);
    else
        doctor_add(n->o.call, q->way->check, n->o.outside != NULL ? DOCTOR_UNKNOWN : DOCTOR_WARNING,
                   arena_printf(n->o.call->arena, "no record %s: %s is not found", q->name,
                                n->o.outside != NULL ? "direct TLS, if there is any,"
                                                     : "the listener for direct TLS"),
                   record_wanted(n, q->way));
}

static void doctor_dns_found(struct question *q, const struct resolved *result)
{
    struct doctor_net *n = q->net;
    for (size_t i = 0; i < result->count && i < DOCTOR_TARGETS_MAX; i++) {
        const struct dns_srv *srv = &result->srv[i];
        if (*srv->host != '\0')
            reach_begin(n, q->way, q->name, srv->host, srv->port);
        else
            doctor_add(
                n->o.call, q->way->check, DOCTOR_ERROR,
                arena_printf(n->o.call->arena, "%s says that there is no such service", q->name),
                record_wanted(n, q->way));
    }
}

static void doctor_dns_answered(void *arg, const struct resolved *result)
{
    struct question *q = arg;
    struct doctor_net *n = q->net;
    q->asked = NULL;
    ensure(result->end != RESOLVE_FOUND || result->count > 0);
    if (result->end == RESOLVE_FOUND)
        doctor_dns_found(q, result);
    else if (result->end == RESOLVE_NO_NAME || result->end == RESOLVE_NO_DATA)
        doctor_dns_none(q);
    else
        doctor_add(n->o.call, q->way->check, n->o.outside != NULL ? DOCTOR_ERROR : DOCTOR_WARNING,
                   arena_printf(n->o.call->arena, "%s: %s", q->name, result->reason),
                   n->o.outside != NULL ? "cat /etc/resolv.conf, or --dns ADDRESS"
                                        : "cat /etc/resolv.conf; musterctl get s2s.dns-servers");
    net_go_on(n);
}

/* The next domain, or the end. */
static void net_next(struct loop_defer *d)
{
    struct doctor_net *n = CONTAINER_OF(d, struct doctor_net, next);
    struct arena *arena = n->o.call->arena;
    if (n->domain == n->o.file->domains.count) {
        n->o.done(n->o.arg);
        return;
    }
    slice domain = slice_of(n->o.file->domains.name[n->domain++]), ascii;
    n->unicode = slice_cstr(arena, domain);
    n->ascii = slice_cstr(arena, precis_domain_ascii(domain, arena, &ascii) == OK ? ascii : domain);
    n->left = 1;
    for (size_t i = 0; i < WAYS; i++) {
        struct question *q = &n->questions[i];
        if (listens(n, &ways[i])->count == 0)
            continue;
        *q = (struct question){ .net = n, .way = &ways[i] };
        q->name = arena_printf(arena, "%s.%s", ways[i].service, n->ascii);
        n->left++;
        q->asked = resolve_srv(n->o.resolver, slice_of(q->name), doctor_dns_answered, q);
    }
    net_go_on(n);
}

struct doctor_net *doctor_net_start(const struct doctor_net_options *options)
{
    struct doctor_net *n = arena_new(options->call->arena, struct doctor_net, 1);
    *n = (struct doctor_net){ .o = *options, .next = { .fn = net_next } };
    list_init(&n->reaches);
    loop_defer(n->o.loop, &n->next);
    return n;
}

void doctor_net_cancel(struct doctor_net *n)
{
    loop_defer_cancel(&n->next);
    for (size_t i = 0; i < WAYS; i++)
        resolve_cancel(&n->questions[i].asked);
    LIST_EACH (it, &n->reaches)
        visit_cancel(&CONTAINER_OF(it, struct reach, node)->visit);
}
