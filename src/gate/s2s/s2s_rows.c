#include "gate/s2s/s2s_rows.h"
#include "base/command.h"
#include "core/feature.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/link/s2s_in_back.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/peer/s2s_keys.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/peer/s2s_peer_back.h"
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_home.h"
#include "remote/outgoing.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

static const char *const policies[] = { "off", "open", "allow", "deny", NULL };

struct setting s2s_policy = {
    .name = "s2s.policy",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_CHOICE,
    .def = S2S_OFF,
    .min = S2S_OFF,
    .max = S2S_DENY,
    .choices = policies,
    .changed = s2s_policy_changed,
    .doc = "With which other servers this one exchanges stanzas: with none, with all, only with "
           "those in s2s.domains, or with all others.",
};
struct setting s2s_domains = {
    .name = "s2s.domains",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 32 << 10,
    .many = true,
    .check = s2s_patterns_ok,
    .form = S2S_PATTERNS_FORM,
    .changed = s2s_policy_changed,
    .doc = "The domains that s2s.policy allows or denies. `*.example.org` is all below that "
           "domain, without itself.",
};
struct setting s2s_ip_literals = {
    .name = "s2s.ip-literals",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 0,
    .changed = s2s_policy_changed,
    .doc = "Whether a domain of another server may be an IP address, as in `alice@192.0.2.1` or "
           "`alice@[2001:db8::1]`. It is connected to there, at port 5269 and without the DNS. "
           "On, users can make this server connect to any address that it reaches.",
};
struct setting s2s_wildcards = {
    .name = "s2s.wildcards",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .max = 1,
    .doc = "Whether a certificate for `*.example.org` counts for `chat.example.org`, as RFC 9525 "
           "has it.",
};
struct setting s2s_connecting = {
    .name = "s2s.connecting",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 100000,
    .unit = "connections",
    .changed = s2s_connecting_changed,
    .doc = "How many connections to other servers a node tries to make at a time. Each worker has "
           "an equal part, at least 1. Others wait for their turn, at most s2s.retry-for or 15 "
           "seconds, whichever is longer. Those for stanzas come first: questions of strangers "
           "(dialback) use at most a quarter.",
};
struct setting s2s_dns_servers = {
    .name = "s2s.dns-servers",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 1000,
    .check = s2s_dns_servers_ok,
    .form = S2S_DNS_SERVERS_FORM,
    .changed = s2s_dns_servers_changed,
    .doc = "The name servers that are asked where other servers are. Empty: those of the system.",
};
struct setting s2s_require_tls = {
    .name = "s2s.require-tls",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .max = 1,
    .doc = "Whether streams with other servers must be encrypted, in both directions.",
};
struct setting s2s_verify = {
    .name = "s2s.verify-certificates",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .max = 1,
    .doc = "Whether a server that this one connects to must show a valid certificate for its "
           "domain.",
};
struct setting s2s_dialback = {
    .name = "s2s.dialback",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .max = 1,
    .doc = "Whether another server may prove its domain by dialback (XEP-0220) where its "
           "certificate does not, and this one to others. This server then asks the server of "
           "that domain.",
};
struct setting s2s_bidi = {
    .name = "s2s.bidi",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .max = 1,
    .doc = "Whether stanzas go both ways on one connection with a server that can do that "
           "(XEP-0288). Else, and with other servers, each direction has a connection of its own. "
           "It holds for new streams.",
};
struct setting s2s_idle = {
    .name = "s2s.idle",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 10 * 60 * 1000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .doc = "A stream with another server is closed when no stanza has gone over it for so long.",
};
struct setting s2s_queue_stanzas = {
    .name = "s2s.queue-stanzas",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 100000,
    .unit = "stanzas",
    .doc = "How many stanzas may wait for a connection to another server, for each pair of a "
           "domain of ours and one of theirs. Others are refused with resource-constraint.",
};
struct setting s2s_queue_bytes = {
    .name = "s2s.queue-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1 << 20,
    .min = 64 << 10,
    .max = 64 << 20,
    .doc = "The same in bytes.",
};
struct setting s2s_queue_total = {
    .name = "s2s.queue-total",
    .scope = SCOPE_NODE,
    .type = PARAM_BYTES,
    .def = 64 << 20,
    .min = 1 << 20,
    .max = 16ll << 30,
    .doc = "How many bytes of stanzas may wait for other servers on a node, all together.",
};
struct setting s2s_retry_for = {
    .name = "s2s.retry-for",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 30 * 1000,
    .min = 0,
    .max = 3600 * 1000,
    .doc = "How long a stanza waits for a server that cannot be reached or hangs before its sender "
           "is told; an attempt that is under way gets at least 15 seconds. When a server was not "
           "reached for so long, stanzas to it are refused at once, "
           "until the next attempt. For messages that are stored, see s2s.keep-for.",
};
struct setting s2s_keep_for = {
    .name = "s2s.keep-for",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 3600 * 1000,
    .min = 0,
    .max = 7ll * 24 * 3600 * 1000,
    .doc = "How long stored messages wait for a server that cannot be reached, also in the "
           "database and over a restart, before their senders are told. Where another attempt "
           "cannot help, such as for a domain that does not exist, they are told at once.",
};
struct setting s2s_unacked_max = {
    .name = "s2s.unacked-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 100000,
    .unit = "stanzas",
    .doc = "How many stanzas another server may be sent before it has confirmed earlier ones, for "
           "each pair of a domain of ours and one of theirs. Others wait.",
};
struct setting s2s_ack_timeout = {
    .name = "s2s.ack-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60 * 1000,
    .min = 1000,
    .max = 600 * 1000,
    .doc = "A stream to another server that does not confirm for so long what it was sent is taken "
           "for broken, and what was not confirmed is sent again.",
};
struct setting s2s_resume_for = {
    .name = "s2s.resume-for",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60 * 1000,
    .min = 1000,
    .max = 240 * 1000,
    .allow_none = true,
    .doc = "How long the stream of another server can be resumed after its connection broke "
           "(XEP-0198). `none`: not at all.",
};
struct setting s2s_stanza_bytes = {
    .name = "s2s.stanza-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 512 << 10,
    .min = 10000,
    .max = S2S_STANZA_BYTES_MAX,
    .doc = "The largest stanza that another server may send.",
};
struct setting s2s_per_address = {
    .name = "s2s.connections-per-address",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 500,
    .min = 1,
    .max = 1000000,
    .unit = "connections",
    .doc = "How many connections other servers may have from one address (IPv6: one /64).",
};
struct setting s2s_stanza_rate = {
    .name = "s2s.stanza-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 5000,
    .min = 10,
    .max = 1000000,
    .allow_none = true,
    .unit = "stanzas",
    .doc = "How many stanzas a second are read from a stream of another server.",
};
struct setting s2s_byte_rate = {
    .name = "s2s.byte-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 8 << 20,
    .min = 10000,
    .max = 1 << 30,
    .allow_none = true,
    .doc = "How many bytes a second are read from a stream of another server.",
};

struct metric s2s_streams = { .name = "muster_s2s_streams",
                              .kind = METRIC_GAUGE,
                              .history = true,
                              .label = "direction",
                              .values = (const char *const[]){ "received", "sent", NULL },
                              .help = "Open streams of other servers, and to them." };
struct metric s2s_stanzas = { .name = "muster_s2s_stanzas",
                              .kind = METRIC_COUNTER,
                              .history = true,
                              .label = "direction",
                              .values = (const char *const[]){ "received", "sent", NULL },
                              .help = "Stanzas read from other servers, or written to them." };
struct metric s2s_failures = { .name = "muster_s2s_failures",
                               .kind = METRIC_COUNTER,
                               .history = true,
                               .help = "Attempts to reach another server that have failed." };
struct metric s2s_refused = { .name = "muster_s2s_refused",
                              .kind = METRIC_COUNTER,
                              .help = "Streams of other servers that were ended with an error, and "
                                      "single stanzas of theirs that were refused." };
static const char *const given_up_senders[] = { "told", "unserved", NULL };
struct metric s2s_given_up = { .name = "muster_s2s_given_up",
                               .kind = METRIC_COUNTER,
                               .label = "sender",
                               .values = given_up_senders,
                               .help = "Stored messages that were given up because they had waited "
                                       "for another server for too long. Their senders are told; "
                                       "`unserved`: not before this server serves their domain "
                                       "again." };
struct metric s2s_partners = { .name = "muster_s2s_partners",
                               .kind = METRIC_GAUGE,
                               .help = "Pairs of a domain of this server and a foreign one that "
                                       "this server has a connection for, or stanzas." };
struct metric s2s_overflows = {
    .name = "muster_s2s_overflows",
    .kind = METRIC_COUNTER,
    .help = "Stanzas for other servers that went back to their senders or were dropped, since too "
            "many waited (s2s.queue-stanzas, s2s.queue-bytes, s2s.queue-total).",
};
struct metric s2s_held = { .name = "muster_s2s_held",
                           .kind = METRIC_COUNTER,
                           .help = "Pauses in reading from other servers, since their domains send "
                                   "more than federation.stanza-rate." };
struct log_area log_s2s = { .name = "s2s" };
static const char *const drop_reasons[] = { [S2S_DROP_POLICY] = "policy",
                                            [S2S_DROP_QUEUE] = "queue",
                                            [S2S_DROP_UNREACHABLE] = "unreachable",
                                            NULL };
static struct metric s2s_drops = {
    .name = "muster_s2s_dropped",
    .kind = METRIC_COUNTER,
    .label = "reason",
    .values = drop_reasons,
    .help = "Errors, and answers to requests, that other servers did not "
            "get. Nobody is told of them."
};

void s2s_dropped(const struct stanza *st, enum s2s_drop reason)
{
    bool answers = st->kind == STANZA_IQ && st->type == TYPE_RESULT;
    if (st->type != TYPE_ERROR && !answers)
        return;
    metric_add_to(&s2s_drops, reason, 1);
    log_info(&log_s2s, LOG_EV("s2s.dropped"), LOG_S("domain", jid_split(stanza_to(st)).domain),
             LOG_S("local", jid_split(stanza_from(st)).domain),
             LOG_C("stanza", answers ? "result" : "error"), LOG_C("reason", drop_reasons[reason]));
}

static struct setting *const settings[] = { &s2s_policy,       &s2s_domains,
                                            &s2s_dns_servers,  &s2s_require_tls,
                                            &s2s_verify,       &s2s_dialback,
                                            &s2s_idle,         &s2s_queue_stanzas,
                                            &s2s_queue_bytes,  &s2s_queue_total,
                                            &s2s_retry_for,    &s2s_resume_for,
                                            &s2s_stanza_bytes, &s2s_stanza_rate,
                                            &s2s_byte_rate,    &s2s_per_address,
                                            &s2s_wildcards,    &s2s_connecting,
                                            &s2s_keep_for,     &s2s_unacked_max,
                                            &s2s_ack_timeout,  &s2s_bidi,
                                            &s2s_ip_literals,  &s2s_metrics_domains,
                                            &s2s_alarm_after,  NULL };

const struct feature s2s_feature = {
    .name = "s2s",
    .parts = PART_MESSAGE | PART_PRESENCE,
    .xeps =
        (const struct xep[]){
            { "0178", "1.2", "Best Practices for Use of SASL EXTERNAL with Certificates", "0.1.0",
              "federation/test_s2s", "between servers" },
            { "0185", "1.0", "Dialback Key Generation and Validation", "0.1.0", "dialback_test",
              NULL },
            { "0220", "1.1.1", "Server Dialback", "0.1.0", "federation/test_s2s",
              "our own stream has one pair of domains; several on streams of other servers are "
              "taken" },
            { "0288", "0.4", "Bidirectional Server-to-Server Connections", "0.1.0",
              "federation/test_s2s_bidi", "under TLS" },
            { "0478", "0.1.0", "Stream Limits Advertisement", "0.1.0", "federation/test_s2s",
              "a larger stanza for another server goes back to its sender" },
            { 0 },
        },
    .settings = settings,
    .commands = s2s_commands,
    .metrics = (struct metric *const[]){ &s2s_streams, &s2s_stanzas, &s2s_failures, &s2s_refused,
                                         &s2s_partners, &s2s_drops, &s2s_overflows, &s2s_held,
                                         &s2s_given_up, &s2s_stored, NULL },
    .families = s2s_domain_families,
    .alarms = (struct alarm *const[]){ &s2s_failing_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_s2s, NULL },
    .messages =
        (const struct message_row *const[]){
            &s2s_foreign_message, &s2s_news_message, &s2s_verify_message, &s2s_verified_message,
            &outgoing_message, &outgoing_answer, &s2s_resume_message, &s2s_resumed_message,
            &s2s_way_back_message, &s2s_to_back_message, NULL },
    .stage.check = s2s_check,
    .account.deleted = s2s_peers_sender_gone,
    .foreign.pair = s2s_policy_bans,
    .foreign.changed = s2s_pairs_changed,
};
