/* c2s_rows: the rows of the gate: settings and metrics. */
#pragma once
#include "base/metric.h"
#include "base/setting.h"

extern struct setting c2s_tls_required, c2s_migration, c2s_stanza_rate, c2s_byte_rate,
    c2s_connections, c2s_idle, c2s_ping_timeout, c2s_auth_timeout, c2s_bytes_before, c2s_bytes,
    c2s_depth, c2s_output_max, c2s_auth_attempts, c2s_channel_binding;
extern struct setting c2s_downgrade_protection, c2s_upgrades, c2s_scram_hashes,
    c2s_certificate_login, fast_enabled, fast_lifetime, fast_rotation;
extern struct metric c2s_streams, c2s_stanzas_in, c2s_stanzas_out, c2s_messages_out,
    c2s_stream_errors, c2s_refused;
