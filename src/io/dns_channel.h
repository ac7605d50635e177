/* dns_channel: questions to name servers by c-ares, on the loop. It remembers nothing: that is
 * io/resolve.h. Confined to its loop. */
#pragma once
#include "base/err.h"
#include "io/address.h"
#include "io/dns_srv.h"

struct dns_channel;
struct loop;

enum dns_end {
    DNS_FOUND,
    DNS_NO_NAME,
    DNS_NO_DATA,
    DNS_TIMEOUT,
    DNS_FAILED,
    DNS_GIVEN_UP /* the channel was destroyed */
};

struct dns_answer {
    enum dns_end end;
    const struct dns_srvs *srv; /* of dns_ask_srv(): NULL if the answer was none */
    const union address *address;
    size_t count;
    uint32_t ttl_s; /* 0: it is not said */
};
enum { DNS_ADDRESSES_MAX = 16 }; /* the rest is left out */

/* Once for each question, perhaps from inside of the call that asks. */
typedef void dns_fn(void *arg, const struct dns_answer *answer);

/* servers: as in io/resolve.h. E_SYNTAX, E_IO. */
NODISCARD enum err dns_channel_create(struct dns_channel **out, struct loop *loop,
                                      const char *servers, struct why *why);
void dns_channel_destroy(struct dns_channel **ch); /* questions end with DNS_GIVEN_UP */

/* name: a host name in the sense of dns_srv.h. */
void dns_ask_srv(struct dns_channel *ch, const char *name, dns_fn *fn, void *arg);
/* family: AF_INET6, AF_INET. /etc/hosts is asked, too. */
void dns_ask_host(struct dns_channel *ch, const char *name, int family, dns_fn *fn, void *arg);
