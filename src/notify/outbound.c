#include "notify/outbound.h"
#include "app/features.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/setting.h"
#include "gate/s2s/s2s_rows.h"
#include "home/duty.h"
#include "home/edge.h"
#include "home/here.h"
#include "home/node.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/visit.h"
#include <stdio.h>
#include <string.h>

enum { SERVERS_BYTES = 1001 };

static void (*ends[OUTBOUND_ENDS_MAX])(void);
static size_t end_count;
/* Of each worker, with the servers that it asks. */
static struct {
    struct resolver *resolver;
    char servers[SERVERS_BYTES];
} asking[2 * NODE_WORKERS_MAX]; /* by loop: a process may have two nodes */

void outbound_at_stop(void (*end)(void))
{
    ensure(end_count < OUTBOUND_ENDS_MAX);
    ends[end_count++] = end;
}

struct resolver *outbound_resolver(struct worker *w)
{
    const char *wanted = setting_text(&s2s_dns_servers);
    struct resolver **resolver = &asking[loop_index(worker_loop(w))].resolver;
    char *servers = asking[loop_index(worker_loop(w))].servers;
    const char *given = *wanted != '\0' ? wanted : NULL;
    struct why why;
    enum err e = OK;
    if (*resolver == NULL)
        e = resolver_create(resolver, worker_loop(w), given, &why);
    else if (strcmp(servers, wanted) != 0)
        e = resolver_servers(*resolver, given, &why);
    if (e != OK)
        log_error(&log_server, LOG_EV("outbound.dns"), LOG_C("why", why.text));
    snprintf(servers, SERVERS_BYTES, "%s", wanted);
    return *resolver;
}

static void outbound_stop(void *own, struct worker *w)
{
    (void)own;
    if (!duty_is_here(w, DUTY_CERTS))
        return;
    for (size_t i = 0; i < end_count; i++)
        ends[i]();
}

static bool outbound_idle(void *own, struct worker *w)
{
    (void)own;
    return !duty_is_here(w, DUTY_CERTS) || visit_count() == 0;
}

static void outbound_end(void *own, struct worker *w)
{
    (void)own;
    resolver_destroy(&asking[loop_index(worker_loop(w))].resolver);
}

const struct edge outbound_edge = {
    .name = "outbound", .stop = outbound_stop, .idle = outbound_idle, .end = outbound_end
};
