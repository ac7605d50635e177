#include "base/latency.h"

struct metric latency_us = {
    .name = "muster_latency_us",
    .kind = METRIC_HISTOGRAM,
    .history = true,
    .label = "stage",
    .values =
        (const char *const[]){ "read", "route", "commit", "deliver", "tls", "login", "http", NULL },
    .buckets = (const int64_t[]){ 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000,
                                  250000, 1000000, 5000000, 0 },
    .help = "How long the stages of the work took: handling what came in a tick, waiting for "
            "another worker, storing, writing output, TLS handshakes, logins, HTTP requests.",
};
