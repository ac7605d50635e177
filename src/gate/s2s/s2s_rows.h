/* s2s_rows: the rows of federation: settings, metrics, commands. */
#pragma once
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"

enum s2s_policy { S2S_OFF, S2S_OPEN, S2S_ALLOW, S2S_DENY };
enum { S2S_STANZA_BYTES_MAX = 16 << 20 };

extern struct setting s2s_policy, s2s_domains, s2s_dns_servers, s2s_require_tls, s2s_verify,
    s2s_dialback, s2s_idle, s2s_queue_stanzas, s2s_queue_bytes, s2s_queue_total, s2s_retry_for,
    s2s_resume_for, s2s_stanza_bytes, s2s_stanza_rate, s2s_byte_rate, s2s_wildcards, s2s_connecting,
    s2s_per_address, s2s_keep_for, s2s_unacked_max, s2s_ack_timeout, s2s_bidi, s2s_ip_literals;

enum { S2S_RECEIVED, S2S_SENT }; /* directions */
extern struct metric s2s_streams, s2s_stanzas, s2s_failures, s2s_refused, s2s_partners,
    s2s_given_up, s2s_held, s2s_overflows;
extern struct log_area log_s2s;
struct command;
extern struct command *const s2s_commands[]; /* of s2s_commands.c; NULL-terminated */

/* Stanzas for other servers that are lost without anybody being told: an error is never answered by
 * an error, nor is the answer to a request (RFC 6120 §8.3.1). Any thread. */
enum s2s_drop {
    S2S_DROP_POLICY,     /* rules do not let it leave */
    S2S_DROP_QUEUE,      /* too much waits for its server */
    S2S_DROP_UNREACHABLE /* its server is not reached, or this one is being stopped */
};
struct stanza;
/* It is given up. Others than those are ignored: their senders get an error. Borrows. */
void s2s_dropped(const struct stanza *st, enum s2s_drop reason);
