#include "gate/proxy65_rows.h"
#include "base/buf.h"
#include "base/hex.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "gate/proxy65.h"
#include "home/host.h"
#include "home/node.h"
#include "talk/iq.h"
#include <openssl/evp.h>
#include <openssl/sha.h>

#define NS_BYTESTREAMS "http://jabber.org/protocol/bytestreams"

enum { SID_BYTES_MAX = 128 };

struct setting proxy65_connections_max = {
    .name = "proxy65.connections-max",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 1000,
    .min = 2,
    .max = 1000000,
    .unit = "connections",
    .doc = "How many connections the proxy for bytestreams (XEP-0065) takes on this node; a "
           "bytestream has two.",
};
struct setting proxy65_per_address = {
    .name = "proxy65.connections-per-address",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 50,
    .min = 1,
    .max = 1000000,
    .unit = "connections",
    .doc = "How many connections the proxy takes from one address (IPv6: one /64).",
};
struct setting proxy65_wait_time = {
    .name = "proxy65.wait-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60 * 1000,
    .min = 1000,
    .max = 3600 * 1000,
    .doc = "How long a connection to the proxy may wait for its partner and the activation.",
};
struct setting proxy65_idle_time = {
    .name = "proxy65.idle-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 5 * 60 * 1000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .doc = "A bytestream through the proxy ends when no byte has gone either way for so long.",
};
struct setting proxy65_rate = {
    .name = "proxy65.rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = SETTING_NONE,
    .min = 1024,
    .max = 1ll << 40,
    .allow_none = true,
    .doc = "Bytes a second that each side of a bytestream may send through the proxy.",
};
struct setting proxy65_listening = { .name = "proxy65.listening",
                                     .scope = SCOPE_NODE,
                                     .type = PARAM_BOOL };

static struct setting proxy65_host = {
    .name = "proxy65.host",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .max = 255,
    .def_text = "",
    .doc = "The name or address that clients are told to connect to for bytestreams. Empty: the "
           "XMPP domain itself.",
};
static struct setting proxy65_announced = {
    .name = "proxy65.port",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 0,
    .min = 0,
    .max = 65535,
    .doc = "The port that clients are told to connect to for bytestreams. 0: that of the first "
           "address in listen.proxy65.",
};

struct metric proxy65_connections = {
    .name = "muster_proxy65_connections",
    .kind = METRIC_GAUGE,
    .help = "Connections to the proxy for bytestreams (XEP-0065)",
};
struct metric proxy65_streams = {
    .name = "muster_proxy65_bytestreams",
    .kind = METRIC_GAUGE,
    .help = "Bytestreams that are active in the proxy",
};
struct metric proxy65_bytes = {
    .name = "muster_proxy65_bytes",
    .kind = METRIC_COUNTER,
    .help = "Bytes that went through the proxy for bytestreams",
};
struct metric proxy65_refused = {
    .name = "muster_proxy65_refused",
    .kind = METRIC_COUNTER,
    .help = "Connections that the proxy for bytestreams refused",
};
struct log_area log_proxy65 = { .name = "proxy65" };

/* Only users of this server. */
static bool may_use(const struct iq *iq)
{
    struct jid from = jid_split(stanza_from(iq->st));
    return from.local.len > 0 && node_serves(worker_node(iq->worker), from.domain);
}

/* §5.4 */
static void address_get(struct iq *iq)
{
    struct buf out;
    struct xml_write x;
    slice domain = stanza_to(iq->st), parent = domain;
    slice address = slice_of(setting_text(&proxy65_host));
    const int64_t own = proxy65_port(iq->worker), announced = setting_int(&proxy65_announced);
    const int64_t port = announced != 0 ? announced : own;
    if (!may_use(iq)) {
        iq_error(iq, SE_FORBIDDEN, SLICE("only users of this server may use the proxy"));
        return;
    }
    if (own < 0 ||
        port == 0) { /* proxy65.listening is of the process, whose other node has the proxy */
        iq_error(iq, SE_SERVICE_UNAVAILABLE, SLICE("this node has no proxy"));
        return;
    }
    host_find(worker_node(iq->worker), domain, &parent);
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_BYTESTREAMS);
    xml_open_with(&x, "streamhost", NULL, "jid", domain);
    xml_attr(&x, "host", address.len > 0 ? address : parent);
    xml_attr_int(&x, "port", port);
    iq_result_xml(iq, &x);
}

/* §5.3.3: SHA-1 of stream id, initiator and target, in hexadecimal. */
static void proxy65_rows_hash_of(char out[PROXY65_HASH + 1], slice sid, slice initiator,
                                 slice target)
{
    unsigned char sha[SHA_DIGEST_LENGTH];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestInit_ex(ctx, EVP_sha1(), NULL);
    EVP_DigestUpdate(ctx, sid.ptr, sid.len);
    EVP_DigestUpdate(ctx, initiator.ptr, initiator.len);
    EVP_DigestUpdate(ctx, target.ptr, target.len);
    EVP_DigestFinal_ex(ctx, sha, NULL);
    EVP_MD_CTX_free(ctx);
    hex_encode(out, (slice){ (const char *)sha, sizeof sha });
}

/* §5.6 */
static void activated(void *arg, enum err e)
{
    struct iq *iq = arg;
    switch (e) {
    case OK:
        log_info(&log_proxy65, LOG_EV("bytestream.activated"), LOG_S("jid", stanza_from(iq->st)));
        iq_result(iq, (slice){ "", 0 });
        break;
    case E_NOTFOUND:
        iq_error(iq, SE_ITEM_NOT_FOUND, SLICE("nobody is connected for this bytestream"));
        break;
    case E_AGAIN:
        iq_error(iq, SE_NOT_ALLOWED, SLICE("only one side is connected"));
        break;
    case E_EXISTS:
        iq_error(iq, SE_NOT_ALLOWED, SLICE("the bytestream is active already"));
        break;
    default:
        iq_error(iq, SE_INTERNAL_SERVER_ERROR, (slice){ 0 });
        break;
    }
}

static void activate_set(struct iq *iq)
{
    struct elem e;
    struct jid target;
    char hash[PROXY65_HASH + 1];
    slice sid = elem_attr(&iq->payload, "sid", iq->tmp);
    if (!may_use(iq)) {
        iq_error(iq, SE_FORBIDDEN, SLICE("only users of this server may use the proxy"));
    } else if (!elem_child(&iq->payload, "activate", NS_BYTESTREAMS, &e) || sid.len == 0 ||
               sid.len >= SID_BYTES_MAX) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("a stream id below 128 characters and <activate/>"));
    } else if (jid_parse(&target, elem_text(&e, iq->tmp), iq->tmp) != OK) {
        iq_error(iq, SE_JID_MALFORMED, (slice){ 0 });
    } else {
        proxy65_rows_hash_of(hash, sid, stanza_from(iq->st), target.full);
        struct iq *held = iq_hold(iq);
        proxy65_activate(held->worker, hash, activated, held);
    }
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_BYTESTREAMS, "query", IQ_TO_HOST, address_get },
    { TYPE_SET, NS_BYTESTREAMS, "query", IQ_TO_HOST, activate_set },
    { 0 },
};
static const struct host hosts[] = {
    { .label = "proxy",
      .category = "proxy",
      .type = "bytestreams",
      .name = "SOCKS5 Bytestreams",
      .disco = (const char *const[]){ NS_BYTESTREAMS, NULL },
      .enabled = &proxy65_listening,
      .iq = rules },
    { 0 },
};

const struct feature proxy65_feature = {
    .name = "proxy65",
    .hosts = hosts,
    .settings = (struct setting *const[]){ &proxy65_connections_max, &proxy65_per_address,
                                           &proxy65_wait_time, &proxy65_idle_time, &proxy65_rate,
                                           &proxy65_host, &proxy65_announced, NULL },
    .metrics = (struct metric *const[]){ &proxy65_connections, &proxy65_streams, &proxy65_bytes,
                                         &proxy65_refused, NULL },
    .logs = (struct log_area *const[]){ &log_proxy65, NULL },
    .xeps =
        (const struct xep[]){
            { "0065", "1.7", "SOCKS5 Bytestreams", "0.1.0", "services/test_proxy65",
              "the proxy; without UDP and zeroconf" },
            { 0 },
        },
    .messages = proxy65_messages,
};
