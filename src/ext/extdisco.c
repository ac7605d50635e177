/* extdisco: External Service Discovery (XEP-0215): where clients find STUN and TURN servers for
 * calls, with credentials that are good for a time. Credentials are made from a secret shared with
 * the TURN server (its `use-auth-secret`): the name is the time of expiry and who asked, the
 * password an HMAC-SHA-1 over it. Nothing is kept.
 *
 * Limit: SERVICES_MAX services. */
#include "account/guest.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/host_port.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "xmpp/ns.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NS_EXTDISCO "urn:xmpp:extdisco:2"

enum { SERVICES_MAX = 32 };

struct service {
    slice type, host, port, transport;
    bool restricted; /* needs credentials */
};

static bool is_type(slice type, bool *restricted)
{
    *restricted = slice_is(type, "turn") || slice_is(type, "turns");
    return *restricted || slice_is(type, "stun") || slice_is(type, "stuns");
}

/* type:host:port/transport; an IPv6 address stands in brackets. */
static bool service_parse(slice text, struct service *s)
{
    slice rest, host_and;
    uint16_t port = 0;
    if (!slice_cut(text, ':', &s->type, &rest) || !is_type(s->type, &s->restricted) ||
        !slice_cut(rest, '/', &host_and, &s->transport) ||
        !host_port_read(host_and, &s->host, &port) || port == 0)
        return false;
    size_t at = host_and.len;
    while (host_and.ptr[at - 1] != ':')
        at--;
    s->port = slice_from(host_and, at);
    return slice_is(s->transport, "udp") || slice_is(s->transport, "tcp");
}

static bool services_are_right(slice text)
{
    struct service s;
    unsigned n = 0;
    slice one;
    while (slice_word(&text, &one))
        if (++n > SERVICES_MAX || !service_parse(one, &s))
            return false;
    return true;
}

static struct setting extdisco_services = {
    .name = "extdisco.services",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .max = 4096,
    .def_text = "",
    .check = services_are_right,
    .form = "TYPE:HOST:PORT/TRANSPORT …, with stun, stuns, turn or turns, and udp or tcp",
    .doc = "STUN and TURN servers that clients are told about (XEP-0215), separated by spaces: "
           "turn:turn.example.test:3478/udp.",
};
static struct setting extdisco_secret = {
    .name = "extdisco.turn-secret",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_SECRET,
    .max = 1000,
    .def_text = "",
    .doc = "The secret shared with the TURN servers (`static-auth-secret` of coturn), from which "
           "credentials are made. Empty: clients get none.",
};
static struct setting extdisco_ttl = {
    .name = "extdisco.credentials-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 12 * 3600 * 1000,
    .min = 60 * 1000,
    .max = 7 * 86400ll * 1000,
    .doc = "How long TURN credentials are valid.",
};

static void add_credentials(struct xml_write *x, const struct iq *iq, slice secret)
{
    char stamp[CLOCK_STAMP_LEN];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char password[4 * ((EVP_MAX_MD_SIZE + 2) / 3) + 1];
    uint64_t expires =
        loop_wall_us(worker_loop(iq->worker)) + (uint64_t)setting_int(&extdisco_ttl) * 1000;
    slice who = stanza_from_bare(iq->st);
    slice name = slice_of(arena_printf(iq->tmp, "%llu:%.*s",
                                       (unsigned long long)(expires / 1000000), SLICE_ARG(who)));
    HMAC(EVP_sha1(), secret.ptr, (int)secret.len, (const unsigned char *)name.ptr, name.len, mac,
         &len);
    EVP_EncodeBlock((unsigned char *)password, mac, (int)len);
    clock_stamp(stamp, expires / 1000000 * 1000000);
    xml_attr(x, "username", name);
    xml_attr(x, "password", slice_of(password));
    xml_attr(x, "expires", slice_of(stamp));
}

static void add_service(struct xml_write *x, const struct iq *iq, const struct service *s)
{
    slice secret = slice_of(setting_text(&extdisco_secret));
    xml_open(x, "service", NULL);
    xml_attr_some(x, "type", s->type);
    xml_attr_some(x, "host", s->host);
    xml_attr_some(x, "port", s->port);
    xml_attr_some(x, "transport", s->transport);
    if (s->restricted)
        xml_attr(x, "restricted", SLICE("true"));
    if (s->restricted && secret.len > 0)
        add_credentials(x, iq, secret);
    xml_close(x);
}

/* What is asked for; empty: anything. */
static bool extdisco_fits(const struct service *s, const struct service *wanted)
{
    return (wanted->type.len == 0 || slice_eq(wanted->type, s->type)) &&
           (wanted->host.len == 0 || slice_eq(wanted->host, s->host)) &&
           (wanted->port.len == 0 || slice_eq(wanted->port, s->port)) &&
           (wanted->transport.len == 0 || slice_eq(wanted->transport, s->transport));
}

static unsigned add_services(struct xml_write *x, const struct iq *iq, const struct service *wanted)
{
    slice one, rest = slice_of(setting_text(&extdisco_services));
    unsigned n = 0;
    while (slice_word(&rest, &one)) {
        struct service s;
        if (!service_parse(one, &s) || !extdisco_fits(&s, wanted))
            continue;
        add_service(x, iq, &s);
        n++;
    }
    return n;
}

/* Credentials are for users of this server: others would make it an open relay's key. */
static bool is_user(const struct iq *iq)
{
    return iq->sender != NULL && !account_is_guest(iq->sender);
}

static void answer_services(struct iq *iq)
{
    struct service wanted = { .type = elem_attr(&iq->payload, "type", iq->tmp) };
    struct buf out;
    struct xml_write x;
    if (!is_user(iq)) {
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
        return;
    }
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "services", NS_EXTDISCO);
    xml_attr_some(&x, "type", wanted.type);
    add_services(&x, iq, &wanted);
    iq_result_xml(iq, &x);
}

/* §3.3 */
static void answer_credentials(struct iq *iq)
{
    struct elem e;
    struct buf out;
    struct xml_write x;
    if (!is_user(iq)) {
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
        return;
    }
    if (!elem_child(&iq->payload, "service", NS_EXTDISCO, &e)) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("there is no service in it"));
        return;
    }
    struct service wanted = { .type = elem_attr(&e, "type", iq->tmp),
                              .host = elem_attr(&e, "host", iq->tmp),
                              .port = elem_attr(&e, "port", iq->tmp),
                              .transport = elem_attr(&e, "transport", iq->tmp) };
    if (wanted.type.len == 0 || wanted.host.len == 0) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("a service is named by its host and type"));
        return;
    }
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "credentials", NS_EXTDISCO);
    unsigned n = add_services(&x, iq, &wanted);
    xml_close(&x);
    if (n == 0) {
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("there is no such service"));
        buf_fini(&out);
    } else {
        iq_result_buf(iq, &out);
    }
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_EXTDISCO, "services", IQ_TO_SERVER, answer_services },
    { TYPE_GET, NS_EXTDISCO, "credentials", IQ_TO_SERVER, answer_credentials },
    { 0 },
};

const struct feature extdisco_feature = {
    .name = "extdisco",
    .disco = (const char *const[]){ NS_EXTDISCO, NULL },
    .iq = rules,
    .xeps = (const struct xep[]){ { "0215", "0.7", "External Service Discovery", "0.1.0",
                                    "services/test_extdisco",
                                    "updates are not sent: clients ask again" },
                                  { 0 } },
    .settings =
        (struct setting *const[]){ &extdisco_services, &extdisco_secret, &extdisco_ttl, NULL },
};
