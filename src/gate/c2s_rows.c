#include "gate/c2s_rows.h"
#include "base/log.h"
#include "core/feature.h"
#include "gate/c2s.h"
#include "gate/c2s_hashes.h"
#include "gate/c2s_stream.h"
#include "gate/stanza_limits.h"
#include "xmpp/ns.h"

struct setting c2s_tls_required = {
    .name = "c2s.tls-required",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Clients must use TLS before they log in. Off: logins without TLS are possible; for use "
           "behind a proxy that does TLS, and for benchmarks.",
};
struct setting c2s_migration = {
    .name = "c2s.migration",
    .scope = SCOPE_NODE,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "After login, a connection moves to the worker that holds its account. Turn it off only "
           "for tests.",
};
struct setting c2s_stanza_rate = {
    .name = "c2s.stanza-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "stanzas a second",
    .doc =
        "Stanzas a second that one client may send. A client that sends more is read more slowly.",
};
struct setting c2s_byte_rate = {
    .name = "c2s.byte-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1 << 20,
    .min = 1024,
    .max = 1 << 30,
    .allow_none = true,
    .unit = "bytes a second",
    .doc = "Bytes a second that one client may send. A client that sends more is read more slowly.",
};
struct setting c2s_connections = {
    .name = "c2s.connections-per-address",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "connections",
    .doc = "Connections from one address (IPv6: from one /64), whether or not they have sent "
           "anything. A few further ones are refused with policy-violation, all others closed at "
           "once.",
};
struct setting c2s_idle = {
    .name = "c2s.idle-ping",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 180000,
    .min = 1000,
    .max = 86400000,
    .allow_none = true,
    .doc = "A client that has sent nothing for this long is pinged (XEP-0199).",
};
struct setting c2s_ping_timeout = {
    .name = "c2s.ping-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60000,
    .min = 1000,
    .max = 3600000,
    .doc = "A connection is closed if the client does not answer a ping within this time, or does "
           "not acknowledge sent data by TCP.",
};
struct setting c2s_auth_timeout = {
    .name = "c2s.auth-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60000,
    .min = 1000,
    .max = 600000,
    .doc = "Time limit for the TLS handshake, and for the login as a whole.",
};
struct setting c2s_bytes_before = {
    .name = "c2s.stanza-bytes-before-auth",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 65536,
    .min = 10000,
    .max = 1 << 20,
    .doc = "The largest unit of a stream before authentication (RFC 6120 §13.12 asks for 10,000 at "
           "least).",
};
struct setting c2s_bytes = {
    .name = "c2s.stanza-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 262144,
    .min = 10000,
    .max = 16 << 20,
    .doc = "The largest stanza of a logged-in client; a larger one ends its stream with "
           "policy-violation.",
};
struct setting c2s_depth = {
    .name = "c2s.stanza-depth",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 64,
    .min = 16,
    .max = CLIENT_DEPTH_MAX,
    .unit = "elements",
    .doc = "The deepest nesting of a stanza.",
};
struct setting c2s_output_max = {
    .name = "c2s.output-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 4 << 20,
    .min = 1 << 16,
    .max = 1 << 30,
    .doc = "Output that may be queued for a client that reads too slowly. With more, its stream is "
           "closed with policy-violation; its messages stay in its mailbox. The longest stanza in "
           "the queue, such as a large contact list, does not count. While more than 256 KiB wait, "
           "or half of it if that is less, the client's next requests are not read.",
};
struct setting c2s_auth_attempts = {
    .name = "c2s.auth-attempts",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 4,
    .min = 3,
    .max = 6,
    .unit = "attempts",
    .doc = "Failed logins after which a stream is closed (RFC 6120 §6.4.5).",
};
struct setting c2s_channel_binding = {
    .name = "c2s.channel-binding",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Offers channel binding, the -PLUS mechanisms (XEP-0440). Turn it off if TLS ends at a "
           "proxy in front of the server, or for clients that announce channel binding but fail.",
};
struct setting c2s_downgrade_protection = {
    .name = "c2s.downgrade-protection",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "SCRAM sends the client a hash of the offered mechanisms and channel bindings "
           "(XEP-0474), so that an attacker in between cannot remove the strong ones unnoticed.",
};
static const char *const upgrade_choices[] = { "none", "SCRAM-SHA-256", "SCRAM-SHA-512", "all",
                                               NULL };
struct setting c2s_upgrades = {
    .name = "c2s.password-upgrades",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .def = 3,
    .choices = upgrade_choices,
    .doc = "Hashes that a client may add to an account whose password is stored with weaker hashes "
           "only (XEP-0480). Accounts that were made here have all hashes.",
};
static const char *const scram_choices[] = { "all", "SCRAM-SHA-1", "SCRAM-SHA-256", NULL };
struct setting c2s_scram_hashes = {
    .name = "c2s.scram-hashes",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_CHOICE,
    .def = 0,
    .max = 2,
    .choices = scram_choices,
    .doc = "SCRAM mechanisms that clients may be offered. Of these, a domain offers those for "
           "which all its accounts have keys, since clients choose the strongest and do not try "
           "another: imported accounts may have keys of one hash. If there is none, clients are "
           "left with PLAIN (alarm auth.no-scram).",
};
struct setting c2s_certificate_login = {
    .name = "c2s.certificate-login",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 0,
    .max = 1,
    .doc = "Clients may log in with a certificate instead of a password (SASL EXTERNAL, XEP-0178). "
           "It must be trusted by `musterctl cert-trust add FILE --for clients` and have the "
           "user's address as id-on-xmppAddr. Not for WebSocket and BOSH.",
};
struct setting fast_enabled = {
    .name = "fast.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Clients may request a token, with which later logins need one round trip and no "
           "password (XEP-0484). Off: existing tokens do not work either.",
};
struct setting fast_lifetime = {
    .name = "fast.token-lifetime",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 21LL * 86400000,
    .min = 1000,
    .max = 365LL * 86400000,
    .doc = "How long a token works. A device that stays away for longer needs the password again.",
};
struct setting fast_rotation = {
    .name = "fast.token-rotation",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 86400000,
    .min = 1000,
    .max = 365LL * 86400000,
    .doc = "A device that logs in with a token older than this gets a new one.",
};
static struct setting *const settings[] = { &c2s_tls_required,
                                            &c2s_migration,
                                            &c2s_stanza_rate,
                                            &c2s_byte_rate,
                                            &c2s_connections,
                                            &c2s_idle,
                                            &c2s_ping_timeout,
                                            &c2s_auth_timeout,
                                            &c2s_bytes_before,
                                            &c2s_bytes,
                                            &c2s_depth,
                                            &c2s_output_max,
                                            &c2s_auth_attempts,
                                            &c2s_channel_binding,
                                            &c2s_downgrade_protection,
                                            &c2s_upgrades,
                                            &c2s_scram_hashes,
                                            &c2s_certificate_login,
                                            &fast_enabled,
                                            &fast_lifetime,
                                            &fast_rotation,
                                            NULL };

struct metric c2s_streams = { .name = "muster_c2s_streams",
                              .kind = METRIC_GAUGE,
                              .history = true,
                              .help = "Open client streams." };
struct metric c2s_stanzas_in = { .name = "muster_c2s_stanzas_received",
                                 .kind = METRIC_COUNTER,
                                 .history = true,
                                 .help = "Stanzas read from logged-in clients." };
struct metric c2s_stanzas_out = { .name = "muster_c2s_stanzas_sent",
                                  .kind = METRIC_COUNTER,
                                  .history = true,
                                  .help = "Stanzas written to clients." };
struct metric c2s_messages_out = { .name = "muster_c2s_messages_sent",
                                   .kind = METRIC_COUNTER,
                                   .history = true,
                                   .help = "Messages written to clients; each client of a user "
                                           "that gets a message counts." };
struct metric c2s_stream_errors = { .name = "muster_c2s_stream_errors",
                                    .kind = METRIC_COUNTER,
                                    .help = "Streams ended by an error that was sent." };
struct metric c2s_refused = { .name = "muster_c2s_refused",
                              .kind = METRIC_COUNTER,
                              .help = "Connections refused by c2s.connections-per-address." };
static struct metric *const metrics[] = { &c2s_streams,
                                          &c2s_stanzas_in,
                                          &c2s_stanzas_out,
                                          &c2s_messages_out,
                                          &c2s_stream_errors,
                                          &c2s_refused,
                                          NULL };
static struct log_area *const logs[] = { &log_c2s, NULL };

/* The session request of RFC 3921, which old clients still send. It does nothing (RFC 6120
 * §1.5). */
static void old_session(struct iq *iq) { iq_result(iq, (slice){ 0 }); }

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_SESSION, "session", IQ_TO_SERVER | IQ_TO_SELF, old_session },
    { 0 },
};

const struct feature c2s_feature = {
    .name = "c2s",
    .parts = PART_ALL,
    .xeps =
        (const struct xep[]){
            { "0106", "1.1.1", "JID Escaping", "0.1.0", "jid_test", NULL },
            { "0170", "1.0", "Recommended Order of Stream Feature Negotiation", "0.1.0",
              "stream/test_stream", NULL },
            { "0368", "1.1.0", "SRV records for XMPP over TLS", "0.1.0", "stream/test_stream",
              NULL },
            { "0386", "1.0.0", "Bind 2", "0.1.0", "stream/test_sasl2", NULL },
            { "0388", "0.4.0", "Extensible SASL Profile", "0.1.0", "stream/test_sasl2",
              "upgrades are those of XEP-0480" },
            { "0440", "0.4.2", "SASL Channel-Binding Type Capability", "0.1.0", "stream/test_sasl",
              NULL },
            { "0474", "0.5.0", "SASL SCRAM Downgrade Protection", "0.1.0", "stream/test_sasl2",
              NULL },
            { "0480", "0.1.0", "SASL Upgrade Tasks", "0.1.0", "stream/test_sasl2", NULL },
            { "0484", "0.1.0", "Fast Authentication Streamlining Tokens", "0.1.0",
              "stream/test_fast", "TLS 0-RTT is not accepted" },
            { 0 },
        },
    .settings = settings,
    .metrics = metrics,
    .alarms = (struct alarm *const[]){ &c2s_hashes_alarm, NULL },
    .logs = logs,
    .account = { .deleted = c2s_hashes_account, .enabled = c2s_hashes_account },
    .worker = { .start = c2s_hashes_start, .stop = c2s_hashes_stop },
    .iq = rules,
    .messages = (const struct message_row *const[]){ &arrive_message, NULL },
};
