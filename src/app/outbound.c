#include "app/outbound.h"
#include "app/features.h"
#include "base/log.h"
#include "base/setting.h"
#include "gate/s2s/s2s_rows.h"
#include "home/here.h"
#include "io/resolve.h"
#include <stdio.h>
#include <string.h>

enum { SERVERS_BYTES = 1001 };

static struct resolver *resolver;
static char servers[SERVERS_BYTES]; /* that it asks */

struct resolver *outbound_resolver(struct worker *w)
{
    const char *wanted = setting_text(&s2s_dns_servers);
    const char *given = *wanted != '\0' ? wanted : NULL;
    struct why why;
    enum err e = OK;
    if (resolver == NULL)
        e = resolver_create(&resolver, worker_loop(w), given, &why);
    else if (strcmp(servers, wanted) != 0)
        e = resolver_servers(resolver, given, &why);
    if (e != OK)
        log_error(&log_server, LOG_EV("outbound.dns"), LOG_C("why", why.text));
    snprintf(servers, sizeof servers, "%s", wanted);
    return resolver;
}

void outbound_end(void) { resolver_destroy(&resolver); }
