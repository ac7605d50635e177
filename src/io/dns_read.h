/* dns_read: what a name server says (RFC 1035 §4.1): SRV records (RFC 2782) and addresses, and the
 * order in which hosts of SRV records are to be tried. A record that is of no use is left out: one
 * whose target is no host name (RFC 1123 §2.1), an address of another length, or one that nobody
 * can be connected to: 0.0.0.0/8, ::, multicast, broadcast, IPv4 in IPv6. Records are not compared
 * with the name of the question: a server that lies can lie about that name as well. Pure; any
 * thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "io/address.h"
#include <stdint.h>

/* DNS_HOST_BYTES: the longest name as text with its NUL. */
enum { DNS_SRV_MAX = 32, DNS_ADDRESSES_MAX = 16, DNS_HOST_BYTES = 254 };
enum dns_type { DNS_A = 1, DNS_AAAA = 28, DNS_SRV = 33 };
#define DNS_TTL_UNSAID UINT32_MAX

struct dns_srv {
    uint16_t priority, weight, port;
    uint16_t tag;              /* the caller's; 0 when it is read */
    char host[DNS_HOST_BYTES]; /* in lower case, without a dot at its end; "": the target is ".",
                                  there is no such service */
};

struct dns_records {
    enum dns_type type;
    size_t count;   /* of more than DNS_SRV_MAX, those of the lowest priority numbers; of more than
                       DNS_ADDRESSES_MAX, the first */
    bool useless;   /* there are records of this type, and none of use */
    uint32_t ttl_s; /* of the shortest, aliases (CNAME) among them; without records what RFC 2308 §5
                       says. Or DNS_TTL_UNSAID */
    union {
        struct dns_srv srv[DNS_SRV_MAX];
        union ip_address address[DNS_ADDRESSES_MAX]; /* without a port */
    };
};

/* The answer to a question of this type. E_SYNTAX: it is none. An answer that says that there is no
 * such name, or no such record, is OK, and has none. */
NODISCARD enum err dns_read(struct dns_records *out, slice answer, enum dns_type type);

/* Puts them into the order of RFC 2782: by priority, and within one each with a chance that its
 * weight gives. draw() is a random number. */
typedef uint64_t dns_draw_fn(void *arg);
void dns_srv_order(struct dns_srv *record, size_t count, dns_draw_fn *draw, void *arg);
