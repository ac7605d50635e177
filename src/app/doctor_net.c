#include "app/doctor_net.h"
#include "app/doctor_check.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/list.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/visit.h"
#include "xmpp/precis.h"
#include <stdio.h>

/* Ways to a domain; the listener that serves it, and the port where there is no record. */
static const struct way {
    const char *check, *service;
    size_t list; /* offset in struct node_file */
    uint16_t port;
    bool direct; /* TLS from the first byte: only by its record */
} ways[] = {
    { "dns client", "_xmpp-client._tcp", offsetof(struct node_file, c2s), 5222, false },
    { "dns client", "_xmpps-client._tcp", offsetof(struct node_file, c2s_tls), 5223, true },
    { "dns server", "_xmpp-server._tcp", offsetof(struct node_file, s2s), 5269, false },
    { "dns server", "_xmpps-server._tcp", offsetof(struct node_file, s2s_tls), 5270, true },
};
enum { WAYS = sizeof ways / sizeof ways[0] };

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
};

struct doctor_net {
    struct doctor_net_options o;
    struct loop_defer next;
    size_t domain; /* that is looked at */
    const char *ascii;
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
    if (r->net->o.outside)
        return REACH_FROM_OUTSIDE;
    if (!address_is_own(a))
        return REACH_ELSEWHERE;
    for (size_t i = 0; i < l->count; i++)
        if (address_parse(slice_of(l->item[i].address), &own) && address_port(&own) == r->port)
            return REACH_HERE;
    return REACH_OTHER_PORT;
}

static void reach_opened(struct visit *v)
{
    struct reach *r = visit_arg(v);
    union address a;
    visit_peer(v, &a);
    r->open = true;
    r->place = reach_where(r, &a);
    visit_close(v);
}

static size_t reach_input(struct visit *v, slice data)
{
    (void)v;
    return data.len;
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
    return r->open ? open[r->place] : why != NULL ? why : "it closes the connection";
}

static const char *reach_remedy(const struct reach *r)
{
    struct doctor_net *n = r->net;
    struct arena *arena = n->o.call->arena;
    if (r->record == NULL)
        return record_wanted(n, r->way);
    if (r->open)
        return arena_printf(arena,
                            "change the port of the record to %u, unless something here passes "
                            "port %u on to this server",
                            way_port(n, r->way), r->port);
    if (n->o.outside)
        return arena_printf(arena, "open port %u in the firewall, or correct the record", r->port);
    return arena_printf(
        arena,
        "open port %u in the firewall, or correct the record; behind NAT the "
        "address may answer from outside only: there, `musterctl doctor outside %s`",
        r->port, n->ascii);
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
    enum doctor_state state = !r->open                       ? DOCTOR_ERROR
                              : r->place == REACH_OTHER_PORT ? DOCTOR_WARNING
                                                             : DOCTOR_OK;
    ensure(list_linked(&r->node));
    r->visit = NULL;
    list_remove(&r->node);
    doctor_add(n->o.call, r->way->check, state, found, reach_remedy(r));
    net_go_on(n);
}

static const struct visit_ops reach_ops = { .opened = reach_opened,
                                            .input = reach_input,
                                            .ended = reach_ended };

static void reach_start(struct doctor_net *n, const struct way *way, const char *record,
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
        reach_start(n, q->way, NULL, n->ascii, q->way->port);
    else
        doctor_add(n->o.call, q->way->check, n->o.outside ? DOCTOR_UNKNOWN : DOCTOR_WARNING,
                   arena_printf(n->o.call->arena, "no record %s: %s is not found", q->name,
                                n->o.outside ? "direct TLS, if there is any,"
                                             : "the listener for direct TLS"),
                   record_wanted(n, q->way));
}

static void doctor_dns_found(struct question *q, const struct resolved *result)
{
    struct doctor_net *n = q->net;
    for (size_t i = 0; i < result->count && i < DOCTOR_TARGETS_MAX; i++) {
        const struct dns_srv *srv = &result->srv[i];
        if (*srv->host != '\0')
            reach_start(n, q->way, q->name, srv->host, srv->port);
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
        doctor_add(n->o.call, q->way->check, n->o.outside ? DOCTOR_ERROR : DOCTOR_WARNING,
                   arena_printf(n->o.call->arena, "%s: %s", q->name, result->reason),
                   n->o.outside ? "cat /etc/resolv.conf, or --dns ADDRESS"
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
