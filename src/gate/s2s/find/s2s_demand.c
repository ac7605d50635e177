#include "gate/s2s/find/s2s_demand.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/s2s_rows.h"

static void demand_by_row(struct s2s_demand *d, const struct s2s_listed *l)
{
    if (l->auth != S2S_AUTH_SETTINGS) {
        d->external = l->auth != S2S_AUTH_DIALBACK;
        d->dialback = l->auth != S2S_AUTH_CERTIFICATE;
    }
    d->tls_min = l->tls_min == 13 ? "TLSv1.3" : NULL;
    d->pins = l->pins;
    if (l->verify != S2S_VERIFY_SETTINGS)
        d->verify = l->verify == S2S_VERIFY_ON;
    if (l->auth == S2S_AUTH_CERTIFICATE)
        d->verify = true;
    d->firm = l->tls_min > 0 || l->pins.len > 0 || l->auth == S2S_AUTH_CERTIFICATE ||
              l->verify == S2S_VERIFY_ON;
    d->tls = d->tls || d->firm;
    d->plain = d->plain && !d->firm;
}

static bool demand_has_plain_route(const struct s2s_route *first)
{
    for (const struct s2s_route *r = first; r != NULL; r = r->next)
        if (r->in_service && r->tls == S2S_ROUTE_NONE)
            return true;
    return false;
}

struct s2s_demand s2s_demand_of(slice domain)
{
    struct s2s_demand d = { .tls = setting_bool(&s2s_require_tls),
                            .verify = setting_bool(&s2s_verify),
                            .external = true,
                            .dialback = setting_bool(&s2s_dialback) };
    struct s2s_levels at = s2s_levels_of(domain);
    const struct s2s_listed *l, *demand = NULL, *routes = NULL;
    bool ended = false;
    while ((l = s2s_levels_next(&at)) != NULL) {
        demand = demand == NULL && l->demands ? l : demand;
        routes = routes == NULL && !ended && l->serves ? l : routes;
        ended = ended || l->ends;
    }
    d.plain = routes != NULL && demand_has_plain_route(routes->routes);
    if (demand != NULL)
        demand_by_row(&d, demand);
    return d;
}

const char *s2s_demand_advice(slice domain, enum s2s_stage stage)
{
    bool pinned = stage == S2S_AT_CERTIFICATE && s2s_demand_of(domain).pins.len > 0;
    if (stage == S2S_AT_CERTIFICATE && !pinned && !setting_bool(&s2s_wildcards))
        return "If it names the server by a wildcard only, s2s.wildcards must be on here. Else the "
               "other operator must renew or correct the certificate, or replace it if it is "
               "revoked; or only its authority is not known here: `musterctl cert-trust add`.";
    if (!pinned)
        return s2s_stage_advice(stage);
    return "The server shows another certificate than the one that `musterctl s2s-demand list` "
           "has. Ask the other operator whether that is right; if so, change the pin: `musterctl "
           "s2s-demand set PATTERN --pin SHA-256`.";
}

bool s2s_may_be_plain(slice domain)
{
    struct s2s_demand d = s2s_demand_of(domain);
    return !d.tls || d.plain;
}
