#include "io/metrics.h"

struct log_area log_io = { .name = "io" };

struct metric io_accepted = { .name = "muster_io_accepted",
                              .kind = METRIC_COUNTER,
                              .help = "Connections accepted." };
struct metric io_accept_pauses = { .name = "muster_io_accept_pauses",
                                   .kind = METRIC_COUNTER,
                                   .help =
                                       "Times a loop stopped accepting for want of descriptors." };
struct metric io_connected = { .name = "muster_io_connected",
                               .kind = METRIC_COUNTER,
                               .help = "Connections made to other servers." };
struct metric io_connect_failures = {
    .name = "muster_io_connect_failures",
    .kind = METRIC_COUNTER,
    .help = "Attempts to connect to an address of another server that failed."
};
struct metric io_lookups = { .name = "muster_io_lookups",
                             .kind = METRIC_COUNTER,
                             .help = "Questions to name servers." };
struct metric io_lookup_failures = {
    .name = "muster_io_lookup_failures",
    .kind = METRIC_COUNTER,
    .help = "Questions to name servers that none has answered, or only with an error."
};
struct metric io_lookups_refused = {
    .name = "muster_io_lookups_refused",
    .kind = METRIC_COUNTER,
    .help = "Names that were not looked up because too many others were."
};
struct metric io_closed = { .name = "muster_io_closed",
                            .kind = METRIC_COUNTER,
                            .help = "Connections closed." };
struct metric io_bytes_in = { .name = "muster_io_bytes_in",
                              .kind = METRIC_COUNTER,
                              .history = true,
                              .help = "Bytes read from connections, as on the wire." };
struct metric io_bytes_out = { .name = "muster_io_bytes_out",
                               .kind = METRIC_COUNTER,
                               .history = true,
                               .help = "Bytes written to connections, as on the wire." };
struct metric io_tls_handshakes = { .name = "muster_io_tls_handshakes",
                                    .kind = METRIC_COUNTER,
                                    .help = "TLS handshakes finished." };
struct metric io_tls_failures = { .name = "muster_io_tls_failures",
                                  .kind = METRIC_COUNTER,
                                  .help = "TLS handshakes and sessions that failed." };

struct metric io_datagrams_in = { .name = "muster_io_datagrams_in",
                                  .kind = METRIC_COUNTER,
                                  .help = "UDP datagrams received." };
struct metric io_datagrams_out = { .name = "muster_io_datagrams_out",
                                   .kind = METRIC_COUNTER,
                                   .help = "UDP datagrams sent." };
struct metric io_datagrams_dropped = {
    .name = "muster_io_datagrams_dropped",
    .kind = METRIC_COUNTER,
    .help = "UDP datagrams dropped: too long, refused by the system, or too many waited."
};

struct metric io_output_bytes = { .name = "muster_io_output_bytes",
                                  .kind = METRIC_GAUGE,
                                  .help = "Buffers with output that is not written yet." };

struct metric *const io_metrics[] = {
    &io_accepted,
    &io_accept_pauses,
    &io_connected,
    &io_connect_failures,
    &io_lookups,
    &io_lookup_failures,
    &io_lookups_refused,
    &io_closed,
    &io_bytes_in,
    &io_bytes_out,
    &io_tls_handshakes,
    &io_tls_failures,
    &io_datagrams_in,
    &io_datagrams_out,
    &io_datagrams_dropped,
    &io_output_bytes,
    NULL,
};
