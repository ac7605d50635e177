/* proxy65_rows: what the proxy for bytestreams says at proxy.<domain>, and its rows. */
#pragma once
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"

extern struct setting proxy65_connections_max, proxy65_per_address, proxy65_wait_time,
    proxy65_idle_time, proxy65_rate;
/* No row: whether something listens. */
extern struct setting proxy65_listening;
extern struct metric proxy65_connections, proxy65_streams, proxy65_bytes, proxy65_refused;
extern struct log_area log_proxy65;
