/* metrics: what this folder counts and logs. app/ registers the rows; until then they count
 * nowhere. */
#pragma once
#include "base/log.h"
#include "base/metric.h"

extern struct metric *const io_metrics[]; /* NULL-terminated */

extern struct metric io_accepted, io_accept_pauses, io_closed, io_bytes_in, io_bytes_out;
extern struct metric io_connected, io_connect_failures;
extern struct metric io_lookups, io_lookup_failures, io_lookups_refused;
extern struct metric io_tls_handshakes, io_tls_failures, io_output_bytes;
extern struct metric io_datagrams_in, io_datagrams_out, io_datagrams_dropped;
extern struct log_area log_io;
