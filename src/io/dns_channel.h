/* dns_channel: questions to name servers by c-ares, on the loop. It remembers nothing: that is
 * io/resolve.h. Only whole names are asked for: no domain is appended. Confined to its loop.
 *
 * All questions that are under way leave from one port, which helps somebody who forges answers. So
 * the name server should be on the same machine or network. */
#pragma once
#include "base/err.h"
#include "io/dns_read.h"

enum { DNS_SERVERS_MAX = 8 };

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
    const struct dns_records *records; /* NULL: there was no answer that can be read */
    const char *reason;                /* for an operator; static */
};

/* Once for each question, perhaps from inside of the call that asks. */
typedef void dns_fn(void *arg, const struct dns_answer *answer);

/* servers: as in io/resolve.h. E_SYNTAX, E_IO. */
NODISCARD enum err dns_channel_create(struct dns_channel **out, struct loop *loop,
                                      const char *servers, struct why *why);
void dns_channel_destroy(struct dns_channel **ch); /* questions end with DNS_GIVEN_UP */

/* name: a host name in the sense of dns_read.h. */
void dns_ask(struct dns_channel *ch, const char *name, enum dns_type type, dns_fn *fn, void *arg);
/* What /etc/hosts says, which is read now: addresses of both families. false: nothing. */
struct dns_hosts {
    size_t count;
    union ip_address address[2 * DNS_ADDRESSES_MAX];
};
bool dns_hosts_read(struct dns_channel *ch, const char *name, struct dns_hosts *out);
