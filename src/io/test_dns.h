/* test_dns: answers as a name server writes them (RFC 1035 §4.1), for the tests of this folder. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3
};

struct dns_message {
    unsigned char bytes[4096];
    size_t len;
};

static inline void dns_put(struct dns_message *m, const void *bytes, size_t len)
{
    assert_true(m->len + len <= sizeof m->bytes);
    if (len > 0)
        memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}
static inline void dns_put_16(struct dns_message *m, unsigned v)
{
    dns_put(m, (unsigned char[]){ (unsigned char)(v >> 8), (unsigned char)v }, 2);
}
static inline void dns_put_32(struct dns_message *m, uint32_t v)
{
    dns_put_16(m, v >> 16);
    dns_put_16(m, v & 0xffff);
}

static inline void dns_put_name(struct dns_message *m, const char *name)
{
    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        dns_put(m, (unsigned char[]){ (unsigned char)len }, 1);
        dns_put(m, name, len);
        name += len;
        if (*name == '.')
            name++;
    }
    dns_put(m, "", 1);
}

static inline struct dns_message dns_begin(unsigned id, const char *name, unsigned type,
                                           unsigned code, const unsigned counts[2])
{
    struct dns_message m = { 0 };
    dns_put_16(&m, id);
    dns_put_16(&m, 0x8180 | code);
    dns_put_16(&m, 1);
    dns_put_16(&m, counts[0]); /* answers */
    dns_put_16(&m, counts[1]); /* authorities */
    dns_put_16(&m, 0);
    dns_put_name(&m, name);
    dns_put_16(&m, type);
    dns_put_16(&m, 1);
    return m;
}

/* Its name is that of the question. */
static inline void dns_put_record(struct dns_message *m, unsigned type, uint32_t ttl,
                                  const struct dns_message *data)
{
    dns_put_16(m, 0xc00c);
    dns_put_16(m, type);
    dns_put_16(m, 1);
    dns_put_32(m, ttl);
    dns_put_16(m, (unsigned)data->len);
    dns_put(m, data->bytes, data->len);
}

static inline void dns_put_srv(struct dns_message *m, uint32_t ttl, const unsigned numbers[3],
                               const char *host)
{
    struct dns_message data = { 0 };
    for (int i = 0; i < 3; i++)
        dns_put_16(&data, numbers[i]);
    dns_put_name(&data, host);
    dns_put_record(m, DNS_TYPE_SRV, ttl, &data);
}

static inline void dns_put_soa(struct dns_message *m, uint32_t ttl, uint32_t minimum)
{
    struct dns_message soa = { 0 };
    dns_put_name(&soa, "ns.a.test");
    dns_put_name(&soa, "admin.a.test");
    for (int i = 0; i < 5; i++)
        dns_put_32(&soa, i < 4 ? 7200 : minimum);
    dns_put_record(m, DNS_TYPE_SOA, ttl, &soa);
}
