/* s2s_trace: tries to reach the server of a domain as a peer would, on a connection of its own, and
 * tells each step with its time. The DNS is asked anew: its answers count for the peer, too. It
 * changes nothing else for the peer. Confined to its worker.
 *
 * Limits: TRACES_MAX at once on a worker; the time that is given. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_stage.h"

enum { TRACES_MAX = 8 };

struct command;
struct s2s_trace;

struct s2s_trace_step {
    enum s2s_stage stage;
    bool fine;
    uint64_t at_ms; /* since the start */
    slice text;
};

/* The result of a trace. stage: where it failed; S2S_AT_NONE: it has reached the end. */
struct s2s_trace_end {
    enum s2s_stage stage;
    slice why;
    bool connected; /* a TCP connection was made */
    uint64_t took_us;
    const char *advice; /* what an operator can do about a failure; static */
};

struct s2s_trace_want {
    slice local, remote;
    slice host; /* in place of what routes and the DNS say: gate/s2s/find/s2s_find.h; empty: none */
    uint32_t timeout_ms;
    void (*step)(void *arg, const struct s2s_trace_step *step);
    void (*ended)(void *arg, const struct s2s_trace_end *end); /* it is gone then */
    void *arg;
};

/* NULL: TRACES_MAX are under way. The callbacks come later. */
struct s2s_trace *s2s_trace_start(struct worker *w, const struct s2s_trace_want *want);

extern struct command s2s_trace_command;
