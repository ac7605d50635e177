/* proxy: requests that come through a reverse proxy. One that is named in http.trusted-proxies says
 * who the client is (X-Forwarded-For) and whether it uses TLS (X-Forwarded-Proto).
 *
 * The alarm http.proxy tells the operator of a proxy about the two settings that it needs. Anybody
 * can send these fields, so only trusted proxies and peers with a private address raise the alarm.
 * Changing one of the settings clears it; the next request raises it again if it still applies. */
#include "base/alarm.h"
#include "http/http_private.h"
#include "http/parse.h"
#include <arpa/inet.h>
#include <netinet/in.h>

enum { DETAIL_MAX = 160, DOMAIN_SHOWN = 50 }; /* what an alarm shows */

struct alarm http_proxy_alarm = {
    .name = "http.proxy",
    .severity = ALARM_WARNING,
    .text = "Requests come through a reverse proxy, but a setting that this needs is empty.",
    .action = "See the detail. Set http.trusted-proxies to the address of the proxy, and "
              "http.base-url to the address that clients use, such as https://chat.example.org.",
    .explanation =
        "Without these settings the server sees the address of the proxy in place of the "
        "client's, and gives out addresses that clients cannot reach.",
    .raised_when = "A request with the headers of a proxy arrives while a needed setting is empty.",
    .cleared_when = "The settings are complete.",
    .settings = "http.trusted-proxies http.base-url",
};

void http_proxy_setting_changed(struct worker *w, const struct setting *s)
{
    (void)w, (void)s;
    alarm_clear(&http_proxy_alarm);
}

/* The last item of a list: a proxy adds its own behind any that the client sent. */
static slice last_item(slice list)
{
    slice last = { 0 };
    while (list.len > 0)
        slice_cut(list, ',', &last, &list);
    return http_trim(last);
}

/* Takes the client's address and the use of TLS from the fields. */
static void believe(struct exchange *x, slice addresses, slice scheme)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    slice last = last_item(addresses);
    if (last.len > 0 && last.len < sizeof text) {
        memcpy(text, last.ptr, last.len);
        text[last.len] = '\0';
        if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
            x->r.peer = last;
    }
    if (slice_eq_nocase(last_item(scheme), SLICE("https")))
        x->r.secure = true;
}

/* Loopback, private (RFC 1918), unique local (RFC 4193) and link-local addresses. */
static bool proxy_is_private(const char *peer)
{
    unsigned char a[16];
    if (inet_pton(AF_INET, peer, a) == 1)
        return a[0] == 127 || a[0] == 10 || (a[0] == 172 && (a[1] & 0xf0) == 16) ||
               (a[0] == 192 && a[1] == 168) || (a[0] == 169 && a[1] == 254);
    struct in6_addr six;
    if (inet_pton(AF_INET6, peer, &six) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_LINKLOCAL(&six) ||
           (six.s6_addr[0] & 0xfe) == 0xfc;
}

/* A domain for which http.base-url is empty; empty: there is none. */
static slice domain_without_base(void)
{
    const struct setting *s = http_base.domains;
    while (s != NULL && *setting_text(setting_is_open(s) ? &http_base : s) != '\0')
        s = s->domains;
    return s != NULL ? s->domain : (slice){ 0 };
}

static void advise(const char *peer, bool trusted)
{
    slice domain = trusted ? domain_without_base() : (slice){ 0 };
    struct buf detail;
    if (trusted ? domain.len == 0 : !proxy_is_private(peer))
        return;
    buf_init(&detail, DETAIL_MAX);
    if (trusted)
        buf_printf(&detail, "http.base-url for the proxy at %s: links of %.*s are wrong without it",
                   peer, domain.len > DOMAIN_SHOWN ? DOMAIN_SHOWN : (int)domain.len, domain.ptr);
    else
        buf_printf(&detail,
                   "http.trusted-proxies for the proxy at %s: all its users share the limits of "
                   "one address without it",
                   peer);
    alarm_raise(&http_proxy_alarm, buf_fit(&detail));
    buf_fini(&detail);
}

void http_proxy_apply(struct exchange *x, const char *peer)
{
    slice addresses = http_header(&x->r, "X-Forwarded-For");
    slice scheme = http_header(&x->r, "X-Forwarded-Proto");
    if (addresses.len == 0 && scheme.len == 0)
        return;
    bool trusted = http_has_token(slice_of(setting_text(&http_trusted_proxies)), peer);
    if (trusted)
        believe(x, addresses, scheme);
    advise(peer, trusted);
}
