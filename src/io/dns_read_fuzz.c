/* Any bytes as the answer of a name server to each type of question: what is read are host names
 * and addresses, and the order of hosts has all of them. */
#include "base/ensure.h"
#include "io/dns_read.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t draw_zero(void *arg)
{
    (void)arg;
    return 0;
}

static void check_hosts(struct dns_records *r)
{
    uint64_t ports = 0, ordered = 0;
    ensure(r->count <= DNS_SRV_MAX);
    for (size_t i = 0; i < r->count; i++) {
        ensure(strlen(r->srv[i].host) < DNS_HOST_BYTES && r->srv[i].tag == 0);
        ensure(strpbrk(r->srv[i].host, " \\\"<>&'\n") == NULL);
        ports += r->srv[i].port;
    }
    dns_srv_order(r->srv, r->count, draw_zero, NULL);
    for (size_t i = 0; i < r->count; i++) {
        ensure(i == 0 || r->srv[i - 1].priority <= r->srv[i].priority);
        ordered += r->srv[i].port;
    }
    ensure(ports == ordered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum dns_type types[] = { DNS_SRV, DNS_A, DNS_AAAA };
    struct dns_records r;
    for (size_t t = 0; t < 3; t++) {
        if (dns_read(&r, (slice){ (const char *)data, size }, types[t]) != OK) {
            ensure(r.count == 0);
            continue;
        }
        ensure(r.ttl_s == DNS_TTL_UNSAID || r.ttl_s <= INT32_MAX);
        if (types[t] == DNS_SRV)
            check_hosts(&r);
        for (size_t i = 0; types[t] != DNS_SRV && i < r.count; i++)
            ensure(r.address[i].any.sa_family == (types[t] == DNS_A ? AF_INET : AF_INET6));
    }
    return 0;
}
