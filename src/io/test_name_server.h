/* test_name_server: a name server on the loop of a test, for io/resolve and io/locate. */
#pragma once
#include "base/mem.h"
#include "io/datagram.h"
#include "io/test_bed.h"
#include "io/test_dns.h"

/* What is said of a name. Rows of one name and type are one answer. */
struct zone_row {
    const char *name;
    unsigned type;
    unsigned code; /* an error: with a SOA record if `ttl` is not 0 */
    uint32_t ttl;
    unsigned numbers[3];
    const char *data; /* of SRV: the host; of A and AAAA: the address */
    bool silent;      /* nothing is said */
};

struct name_server {
    struct loop *loop;
    struct datagram *d;
    const struct zone_row *zone; /* ended by a row without a name. Other names: NXDOMAIN */
    unsigned asked;
    bool silent;      /* to all */
    char address[32]; /* as resolver_create() wants it */
};

static inline void zone_put(struct dns_message *m, const struct zone_row *r)
{
    struct dns_message data = { 0 };
    union address a;
    if (r->type == DNS_TYPE_SRV) {
        dns_put_srv(m, r->ttl, r->numbers, r->data);
        return;
    }
    assert_true(address_parse(slice_of(r->data), &a));
    if (r->type == DNS_TYPE_A)
        dns_put(&data, &a.v4.sin_addr, 4);
    else
        dns_put(&data, &a.v6.sin6_addr, 16);
    dns_put_record(m, r->type, r->ttl, &data);
}

static inline bool zone_row_fits(const struct zone_row *r, const char *name, unsigned type)
{
    return r->type == type && strcasecmp(r->name, name) == 0;
}

/* false: nothing is said. */
static inline bool zone_answer(const struct zone_row *zone, struct dns_message *m, unsigned id,
                               const char *name, unsigned type)
{
    unsigned count = 0, code = DNS_NXDOMAIN;
    for (const struct zone_row *r = zone; r->name != NULL; r++) {
        if (strcasecmp(r->name, name) == 0)
            code = 0;
        if (!zone_row_fits(r, name, type))
            continue;
        if (r->silent)
            return false;
        count += r->data != NULL;
        if (r->data == NULL) {
            *m = dns_begin(id, name, type, r->code, (unsigned[]){ 0, r->ttl > 0 });
            if (r->ttl > 0)
                dns_put_soa(m, r->ttl, r->ttl);
            return true;
        }
    }
    *m = dns_begin(id, name, type, code, (unsigned[]){ count, 0 });
    for (const struct zone_row *r = zone; r->name != NULL; r++)
        if (zone_row_fits(r, name, type))
            zone_put(m, r);
    return true;
}

static inline void name_server_asked(struct datagram *d, slice data,
                                     const struct datagram_path *path)
{
    struct name_server *s = datagram_owner(d);
    const unsigned char *p = (const unsigned char *)data.ptr;
    char name[256];
    size_t at = 12, len = 0;
    s->asked++;
    while (p[at] != 0) {
        memcpy(name + len, p + at + 1, p[at]);
        len += p[at];
        name[len++] = '.';
        at += p[at] + 1u;
    }
    name[len - 1] = '\0';
    struct dns_message m;
    if (!s->silent && zone_answer(s->zone, &m, (unsigned)(p[0] << 8 | p[1]), name,
                                  (unsigned)(p[at + 1] << 8 | p[at + 2])))
        assert_int_equal(datagram_send(d, (slice){ (const char *)m.bytes, m.len }, path), OK);
}

static inline struct name_server *name_server_start(struct loop *loop, const struct zone_row *zone)
{
    struct name_server *s = mem_new(struct name_server);
    struct why why;
    s->loop = loop;
    s->zone = zone;
    assert_int_equal(datagram_open(&s->d, loop,
                                   &(struct datagram_options){ .address = SLICE("127.0.0.1:0"),
                                                               .bytes_max = 1500,
                                                               .queue_max = 1 << 20,
                                                               .received = name_server_asked,
                                                               .owner = s },
                                   &why),
                     OK);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%d", datagram_port(s->d));
    return s;
}

static inline void name_server_stop(struct name_server **s)
{
    datagram_close(&(*s)->d);
    mem_free(s);
}
