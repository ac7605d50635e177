#include "io/dns_srv.h"
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
    out->priority = get_16(data);
    out->weight = get_16(data + 2);
    out->port = get_16(data + 4);
    return host_from_name(out->host, name);
}

static void srv_shorten_ttl(struct dns_srvs *out, bool first, uint32_t ttl_s)
{
    if (first || ttl_s < out->ttl_s)
        out->ttl_s = ttl_s;
}

/* A name that cannot be read makes an answer useless, of whatever record it is. */
static enum err srv_answers_read(struct dns_srvs *out, ns_msg *m)
{
    bool first = true;
    ns_rr rr;
    for (int i = 0; i < ns_msg_count(*m, ns_s_an); i++) {
        if (ns_parserr(m, ns_s_an, i, &rr) != 0)
            return E_SYNTAX;
        if (ns_rr_class(rr) != ns_c_in ||
            (ns_rr_type(rr) != ns_t_srv && ns_rr_type(rr) != ns_t_cname))
            continue;
        srv_shorten_ttl(out, first, ns_rr_ttl(rr));
        first = false;
        if (ns_rr_type(rr) == ns_t_srv && out->count < DNS_SRV_MAX &&
            srv_record_read(&out->record[out->count], m, &rr))
            out->count++;
    }
    return OK;
}

/* RFC 2308 §5: the lesser of the TTL of the SOA record and its last number. */
static void srv_read_none(struct dns_srvs *out, ns_msg *m)
{
    ns_rr rr;
    for (int i = 0; i < ns_msg_count(*m, ns_s_ns); i++) {
        if (ns_parserr(m, ns_s_ns, i, &rr) != 0)
            return;
        if (ns_rr_type(rr) != ns_t_soa || ns_rr_rdlen(rr) < SOA_NUMBERS * 4)
            continue;
        const unsigned char *numbers = ns_rr_rdata(rr) + ns_rr_rdlen(rr) - SOA_NUMBERS * 4;
        uint32_t minimum = get_32(numbers + SOA_MINIMUM * 4ul);
        out->ttl_s = ns_rr_ttl(rr) < minimum ? ns_rr_ttl(rr) : minimum;
        return;
    }
}

enum err dns_srv_read(struct dns_srvs *out, slice answer)
{
    ns_msg m;
    ns_rr question;
    *out = (struct dns_srvs){ 0 };
    if (answer.len > NS_MAXMSG ||
        ns_initparse((const unsigned char *)answer.ptr, (int)answer.len, &m) != 0)
        return E_SYNTAX;
    if (!ns_msg_getflag(m, ns_f_qr) || ns_msg_count(m, ns_s_qd) != 1 ||
        ns_parserr(&m, ns_s_qd, 0, &question) != 0 || ns_rr_type(question) != ns_t_srv)
        return E_SYNTAX;
    int code = ns_msg_getflag(m, ns_f_rcode);
    if (code != ns_r_noerror && code != ns_r_nxdomain)
        return E_SYNTAX;
    if (srv_answers_read(out, &m) != OK) {
        *out = (struct dns_srvs){ 0 };
        return E_SYNTAX;
    }
    if (out->count == 0)
        srv_read_none(out, &m);
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
