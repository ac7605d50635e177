/* locate: which hosts offer a service of a domain, in the order in which they are to be tried: SRV
 * records of one or more service names (RFC 2782), together as XEP-0368 §3 wants it. Where there
 * are none, the domain itself with the fallback port (RFC 6120 §3.2.2). The addresses of a host are
 * looked up when its turn comes: resolve_host().
 *
 * Limits: LOCATE_TARGETS_MAX hosts, those of the lowest priorities; and of one name DNS_SRV_MAX
 * records, because a look-up has memory for all of them. Confined to its loop. */
#pragma once
#include "io/resolve.h"

enum { LOCATE_SERVICES_MAX = 2, LOCATE_TARGETS_MAX = DNS_SRV_MAX };

struct locate;

struct locate_service {
    const char *name; /* "_xmpp-server._tcp" */
    bool tls;         /* TLS begins at once */
};

struct locate_options {
    const struct locate_service *service; /* static; at most LOCATE_SERVICES_MAX */
    size_t count;
    uint16_t port; /* where there are no SRV records. 0: then there is no such service */
};

enum locate_end {
    LOCATE_FOUND,      /* at least one target */
    LOCATE_NO_SERVICE, /* the domain says that it does not offer it: "." (RFC 2782) */
    LOCATE_FAILED      /* no name server answers, and so on: `text` says what */
};

struct locate_target {
    char host[DNS_HOST_BYTES];
    uint16_t port, priority, weight;
    bool tls;
};

struct locate_result {
    enum locate_end end;
    const struct locate_target *target; /* valid during the callback */
    size_t count;
    /* For an operator: "_xmpps-server._tcp.a.test: no such name; _xmpp-server._tcp.a.test: 2
     * records". Valid during the callback. */
    const char *text;
};
typedef void locate_fn(void *arg, const struct locate_result *result);

/* domain: ASCII (A-labels); no address. The callback comes once, from the loop and never from
 * inside; the locate is gone then. */
struct locate *locate_start(struct resolver *r, struct loop *loop, slice domain,
                            const struct locate_options *options, locate_fn *done, void *arg);
void locate_cancel(struct locate **l); /* no callback comes afterwards; NULL is fine */
