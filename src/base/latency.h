/* latency: how long each stage of the work took, as one histogram. Times are those of ticks: what
 * is measured reads no clock of its own. Any thread. */
#pragma once
#include "base/metric.h"

enum latency {
    LATENCY_READ,    /* each 8th tick that writes: what had come was read and handled */
    LATENCY_ROUTE,   /* what was sent to another worker waited until that took it */
    LATENCY_COMMIT,  /* from the submission of a change until it is stored */
    LATENCY_DELIVER, /* from the first output of a connection until all of it is written */
    LATENCY_TLS,     /* from the first bytes of a handshake to its end */
    LATENCY_LOGIN,   /* from the choice of a mechanism to success */
    LATENCY_HTTP     /* from the first byte of a request until its answer is handed over */
};

extern struct metric latency_us;

/* A time of another thread's tick may be a little later than one's own. */
static inline void latency_observe(enum latency stage, uint64_t from_us, uint64_t to_us)
{
    metric_observe(&latency_us, stage, to_us > from_us ? (int64_t)(to_us - from_us) : 0);
}
/* Between two times of one loop that are kept in 32 bits: 71 minutes. */
static inline void latency_observe_cut(enum latency stage, uint32_t from_us, uint64_t to_us)
{
    latency_observe(stage, 0, (uint32_t)to_us - from_us);
}
