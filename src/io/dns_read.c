#include "io/dns_read.h"
#include <arpa/nameser.h>
#include <string.h>
#include <strings.h>

enum { SRV_HEAD = 6 /* priority, weight, port */, SOA_NUMBERS = 5, SOA_MINIMUM = 4 };

static uint16_t get_16(const unsigned char *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static uint32_t get_32(const unsigned char *p) { return (uint32_t)get_16(p) << 16 | get_16(p + 2); }

/* Underscores are not of RFC 1123, and found in names of hosts all the same. */
static bool is_host_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* "." becomes "". */
static bool host_from_name(char host[DNS_HOST_BYTES], const char *name)
{
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] == '.')
        len--;
    if (len >= DNS_HOST_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        host[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        if (!is_host_character(host[i]))
            return false;
    }
    host[len] = '\0';
    return true;
}

static bool srv_record_read(struct dns_srv *out, const ns_msg *m, const ns_rr *rr)
{
    char name[NS_MAXDNAME];
    const unsigned char *data = ns_rr_rdata(*rr);
    if (ns_rr_rdlen(*rr) <= SRV_HEAD ||
        ns_name_uncompress(ns_msg_base(*m), ns_msg_end(*m), data + SRV_HEAD, name, sizeof name) < 0)
        return false;
    *out = (struct dns_srv){ .priority = get_16(data),
                             .weight = get_16(data + 2),
                             .port = get_16(data + 4) };
    return host_from_name(out->host, name);
}

/* Nobody can be connected to there; 0.0.0.0 and :: would be this machine itself. */
static bool address_is_of_use(const union ip_address *a)
{
    if (a->any.sa_family == AF_INET) {
        uint32_t v4 = ntohl(a->v4.sin_addr.s_addr);
        return v4 >> 24 != 0 && v4 >> 28 < 14; /* from 224.0.0.0: multicast, reserved, broadcast */
    }
    const struct in6_addr *v6 = &a->v6.sin6_addr;
    return !IN6_IS_ADDR_UNSPECIFIED(v6) && !IN6_IS_ADDR_MULTICAST(v6) && !IN6_IS_ADDR_V4MAPPED(v6);
}

static bool address_record_read(union ip_address *out, const ns_rr *rr)
{
    const unsigned type = ns_rr_type(*rr); /* of another enum than ours */
    *out = (union ip_address){ .any.sa_family = AF_UNSPEC };
    if (type == DNS_A && ns_rr_rdlen(*rr) == sizeof out->v4.sin_addr) {
        out->v4.sin_family = AF_INET;
        memcpy(&out->v4.sin_addr, ns_rr_rdata(*rr), sizeof out->v4.sin_addr);
    } else if (type == DNS_AAAA && ns_rr_rdlen(*rr) == sizeof out->v6.sin6_addr) {
        out->v6.sin6_family = AF_INET6;
        memcpy(&out->v6.sin6_addr, ns_rr_rdata(*rr), sizeof out->v6.sin6_addr);
    }
    return out->any.sa_family != AF_UNSPEC && address_is_of_use(out);
}

/* Where there is room, or in the place of one of a higher priority number: the lowest are tried
 * first (RFC 2782). The others keep their order. */
static void srv_keep(struct dns_records *out, const struct dns_srv *found)
{
    size_t last = 0;
    if (out->count < DNS_SRV_MAX) {
        out->srv[out->count++] = *found;
        return;
    }
    for (size_t i = 1; i < out->count; i++)
        if (out->srv[i].priority >= out->srv[last].priority)
            last = i;
    if (out->srv[last].priority <= found->priority)
        return;
    memmove(&out->srv[last], &out->srv[last + 1], (out->count - last - 1) * sizeof out->srv[0]);
    out->srv[out->count - 1] = *found;
}

static void record_read(struct dns_records *out, const ns_msg *m, const ns_rr *rr)
{
    struct dns_srv srv;
    if (out->type == DNS_SRV && srv_record_read(&srv, m, rr))
        srv_keep(out, &srv);
    if (out->type != DNS_SRV && out->count < DNS_ADDRESSES_MAX &&
        address_record_read(&out->address[out->count], rr))
        out->count++;
}

/* One with the highest bit set counts as 0 (RFC 2181 §8). */
static void shorten_ttl(struct dns_records *out, uint32_t ttl_s)
{
    if (ttl_s > INT32_MAX)
        ttl_s = 0;
    if (ttl_s < out->ttl_s) /* DNS_TTL_UNSAID is the longest */
        out->ttl_s = ttl_s;
}

/* A name that cannot be read makes an answer useless, of whatever record it is. */
static enum err records_read(struct dns_records *out, ns_msg *m)
{
    ns_rr rr;
    for (int i = 0; i < ns_msg_count(*m, ns_s_an); i++) {
        if (ns_parserr(m, ns_s_an, i, &rr) != 0)
            return E_SYNTAX;
        bool asked = (int)ns_rr_type(rr) == (int)out->type;
        if (ns_rr_class(rr) != ns_c_in || (!asked && ns_rr_type(rr) != ns_t_cname))
            continue;
        shorten_ttl(out, ns_rr_ttl(rr));
        out->useless = out->useless || asked;
        if (asked)
            record_read(out, m, &rr);
    }
    out->useless = out->useless && out->count == 0;
    return OK;
}

/* RFC 2308 §5: the lesser of the TTL of the SOA record and its last number. */
static void none_read(struct dns_records *out, ns_msg *m)
{
    ns_rr rr;
    for (int i = 0; i < ns_msg_count(*m, ns_s_ns); i++) {
        if (ns_parserr(m, ns_s_ns, i, &rr) != 0)
            return;
        if (ns_rr_type(rr) != ns_t_soa || ns_rr_rdlen(rr) < SOA_NUMBERS * 4)
            continue;
        const unsigned char *numbers = ns_rr_rdata(rr) + ns_rr_rdlen(rr) - SOA_NUMBERS * 4;
        shorten_ttl(out, ns_rr_ttl(rr));
        shorten_ttl(out, get_32(numbers + SOA_MINIMUM * 4ul));
        return;
    }
}

static bool is_answer(ns_msg *m, enum dns_type type)
{
    ns_rr question;
    if (!ns_msg_getflag(*m, ns_f_qr) || ns_msg_count(*m, ns_s_qd) != 1 ||
        ns_parserr(m, ns_s_qd, 0, &question) != 0 || (int)ns_rr_type(question) != (int)type)
        return false;
    int code = ns_msg_getflag(*m, ns_f_rcode);
    return code == ns_r_noerror || code == ns_r_nxdomain;
}

enum err dns_read(struct dns_records *out, slice answer, enum dns_type type)
{
    ns_msg m;
    out->type = type;
    out->count = 0;
    out->useless = false;
    out->ttl_s = DNS_TTL_UNSAID;
    if (answer.len > NS_MAXMSG ||
        ns_initparse((const unsigned char *)answer.ptr, (int)answer.len, &m) != 0 ||
        !is_answer(&m, type))
        return E_SYNTAX;
    if (records_read(out, &m) != OK) {
        out->count = 0;
        return E_SYNTAX;
    }
    if (out->count == 0 && !out->useless)
        none_read(out, &m);
    return OK;
}

/* Order. */

static void srv_swap(struct dns_srv *a, struct dns_srv *b)
{
    struct dns_srv t = *a;
    *a = *b;
    *b = t;
}

static void srv_sort(struct dns_srv *record, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && record[k].priority < record[k - 1].priority; k--)
            srv_swap(&record[k], &record[k - 1]);
}

/* The next of those of one priority. A weight of 0 has a small chance beside others: as each record
 * counts one more than a thousand times its weight. */
static size_t srv_draw(const struct dns_srv *record, size_t count, dns_draw_fn *draw, void *arg)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += record[i].weight * 1000ull + 1;
    uint64_t at = draw(arg) % sum;
    for (size_t i = 0; i < count; i++) {
        uint64_t share = record[i].weight * 1000ull + 1;
        if (at < share)
            return i;
        at -= share;
    }
    return 0;
}

void dns_srv_order(struct dns_srv *record, size_t count, dns_draw_fn *draw, void *arg)
{
    srv_sort(record, count);
    for (size_t i = 0; i < count; i++) {
        size_t same = 1;
        while (i + same < count && record[i + same].priority == record[i].priority)
            same++;
        srv_swap(&record[i], &record[i + srv_draw(record + i, same, draw, arg)]);
    }
}
