/* dns_srv: SRV records (RFC 2782) of an answer of a name server (RFC 1035 §4.1), and the order in
 * which their hosts are to be tried. A record whose target is no host name (RFC 1123 §2.1) is left
 * out. Pure; any thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdint.h>

/* DNS_HOST_BYTES: the longest name as text with its NUL. */
enum { DNS_SRV_MAX = 16, DNS_HOST_BYTES = 254 };

struct dns_srv {
    uint16_t priority, weight, port;
    uint16_t tag;              /* the caller's; 0 when it is read */
    char host[DNS_HOST_BYTES]; /* in lower case, without a dot at its end; "": the target is ".",
                                  there is no such service */
};

struct dns_srvs {
    struct dns_srv record[DNS_SRV_MAX]; /* those beyond are left out */
    size_t count;
    uint32_t ttl_s; /* of the shortest; without records what RFC 2308 §5 says; 0: it is not said */
};

/* E_SYNTAX: it is no answer to such a question. An answer that says that there is no such name, or
 * no such record, is OK, and has none. */
NODISCARD enum err dns_srv_read(struct dns_srvs *out, slice answer);

/* Puts them into the order of RFC 2782: by priority, and within one each with a chance that its
 * weight gives. draw() is a random number. */
typedef uint64_t dns_draw_fn(void *arg);
void dns_srv_order(struct dns_srv *record, size_t count, dns_draw_fn *draw, void *arg);
