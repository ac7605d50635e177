#include "gate/s2s/find/s2s_route.h"
#include "base/arena.h"
#include "base/host_port.h"
#include "gate/s2s/find/s2s_policy.h"
#include "io/address.h"
#include "xmpp/jid.h"

static bool route_is_host(slice name)
{
    struct arena *tmp = arena_create(0);
    slice prepared;
    bool ok = name.len > 0 && name.len < DNS_HOST_BYTES && !jid_is_address(name) &&
              memchr(name.ptr, ':', name.len) == NULL && !host_port_is_number(name) &&
              jid_prep_domain(name, tmp, &prepared) == OK && slice_eq(prepared, name);
    arena_destroy(&tmp);
    return ok;
}

static bool target_is_service(struct s2s_target *out, slice name)
{
    static const slice one[] = { SLICE_INIT("_xmpp-server._tcp."),
                                 SLICE_INIT("_xmpps-server._tcp.") };
    *out = (struct s2s_target){ .kind = S2S_TARGET_SERVICE, .host = name };
    for (size_t i = 0; i < 2 && !out->one; i++) {
        if (!slice_starts(name, one[i]))
            continue;
        out->host = slice_from(name, one[i].len);
        out->one = true;
        out->tls = i == 1;
    }
    return route_is_host(out->host) && out->host.ptr[0] != '_';
}

bool s2s_target_read(struct s2s_target *out, slice text)
{
    union address address;
    slice name, digits;
    uint16_t port;
    if (text.len > 0 && text.ptr[0] != 'u' && address_parse(text, &address)) {
        *out = (struct s2s_target){ .kind = S2S_TARGET_ADDRESS,
                                    .host = text,
                                    .port = (uint16_t)address_port(&address) };
        return out->port > 0;
    }
    if (!slice_cut(text, ':', &name, &digits))
        return target_is_service(out, text);
    if (!host_port_number(digits, &port))
        return false;
    *out = (struct s2s_target){ .kind = S2S_TARGET_HOST, .host = name, .port = port };
    return route_is_host(name);
}

bool s2s_target_ok(slice text)
{
    struct s2s_target t;
    union address address;
    char printed[ADDRESS_TEXT_BYTES];
    if (!s2s_target_read(&t, text))
        return false;
    if (t.kind != S2S_TARGET_ADDRESS)
        return true;
    if (!address_parse(t.host, &address))
        return false;
    address_print(&address, printed);
    return !slice_starts(slice_of(printed), SLICE("0.0.0.0:")) &&
           !slice_starts(slice_of(printed), SLICE("[::]:"));
}

size_t s2s_routes_order(const struct s2s_route **out, const struct s2s_route *first,
                        dns_draw_fn *draw, void *arg)
{
    struct dns_srv record[S2S_ROUTES_OF_PATTERN];
    const struct s2s_route *route[S2S_ROUTES_OF_PATTERN];
    size_t count = 0;
    for (const struct s2s_route *r = first; r != NULL && count < S2S_ROUTES_OF_PATTERN;
         r = r->next) {
        if (!r->in_service)
            continue;
        route[count] = r;
        record[count].priority = r->priority;
        record[count].weight = r->weight;
        record[count].tag = (uint16_t)count;
        count++;
    }
    dns_srv_order(record, count, draw, arg);
    for (size_t i = 0; i < count; i++)
        out[i] = route[record[i].tag];
    return count;
}
