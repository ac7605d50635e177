/* Any bytes as the answer of a name server: what is read are host names, and their order has all of
 * them. */
#include "base/ensure.h"
#include "io/dns_srv.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t draw_zero(void *arg)
{
    (void)arg;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_srvs got;
    if (dns_srv_read(&got, (slice){ (const char *)data, size }) != OK) {
        ensure(got.count == 0);
        return 0;
    }
    uint64_t ports = 0, ordered = 0;
    ensure(got.count <= DNS_SRV_MAX);
    for (size_t i = 0; i < got.count; i++) {
        ensure(strlen(got.record[i].host) < DNS_HOST_BYTES);
        ensure(strpbrk(got.record[i].host, " \\\"<>&'\n") == NULL);
        ports += got.record[i].port;
    }
    dns_srv_order(got.record, got.count, draw_zero, NULL);
    for (size_t i = 0; i < got.count; i++) {
        ensure(i == 0 || got.record[i - 1].priority <= got.record[i].priority);
        ordered += got.record[i].port;
    }
    ensure(ports == ordered);
    return 0;
}
