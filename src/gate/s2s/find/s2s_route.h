/* s2s_route: static routes: where the servers of foreign domains are, as operators say it (commands
 * `s2s-route …`), and the order in which the routes of a pattern are tried. Pure; any thread. */
#pragma once
#include "io/dns_read.h"

enum {
    S2S_ROUTES_OF_PATTERN = 100,
    S2S_ROUTES_MAX = 10000,
    S2S_PATTERN_MAX = 255, /* bytes, as of a description */
};

enum s2s_route_tls {
    S2S_ROUTE_STARTTLS = 0,
    S2S_ROUTE_DIRECT = 1, /* TLS at once */
    S2S_ROUTE_NONE = 2    /* there may be none: STARTTLS where it is offered */
};

/* The next hop of a route. */
struct s2s_target {
    enum {
        S2S_TARGET_ADDRESS, /* of IP, with a port */
        S2S_TARGET_HOST,    /* a name with a port: its A and AAAA records */
        S2S_TARGET_SERVICE  /* SRV records, as of a domain */
    } kind;
    slice host; /* of the text. An address with its port */
    uint16_t port;
    /* Of a service: only `_xmpp-server` or only `_xmpps-server`, by `tls`; else both. */
    bool one, tls;
};
/* "192.0.2.1:5269", "[2001:db8::1]:5269", "xmpp.partner.test:5269", and as SRV names
 * "partner.test", "_xmpp-server._tcp.partner.test". false: none of these. */
bool s2s_target_read(struct s2s_target *out, slice text);
/* `check` of struct param, whose `form` is below. Not the address that stands for all. */
bool s2s_target_ok(slice text);
#define S2S_TARGET_FORM "HOST:PORT, ADDRESS:PORT, or the name of SRV records without a port"

/* One route, as it is in memory. */
struct s2s_route {
    struct s2s_route *next; /* of the same pattern */
    slice target;
    uint16_t priority, weight;
    uint8_t tls; /* enum s2s_route_tls */
    bool in_service, blocked;
    bool less_specific; /* when it fails, less specific patterns count, and then the DNS */
};

/* Those in service, in the order of one attempt: by priority, the lowest first, and within one each
 * with a chance that its weight gives (RFC 2782). At most S2S_ROUTES_OF_PATTERN; their number. */
size_t s2s_routes_order(const struct s2s_route **out, const struct s2s_route *first,
                        dns_draw_fn *draw, void *arg);
