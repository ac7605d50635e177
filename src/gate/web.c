#include "gate/web.h"
#include "core/budget.h"
#include "http/server.h"

enum { ANSWER_BYTES = 64 << 10 }; /* space for an answer over HTTP */

static bool web_crowded(void)
{
    struct worker *w = worker_here();
    budget_grew(w, ANSWER_BYTES);
    return budget_is_over(w);
}

static void web_start(void *own, struct worker *w)
{
    http_set_crowded(own, web_crowded);
    http_worker_start(own, worker_loop(w));
}

static void web_open(void *own, struct worker *w) { http_worker_accept(own, worker_loop(w)); }
static void web_stop(void *own, struct worker *w) { http_worker_stop(own, worker_loop(w)); }
static bool web_idle(void *own, struct worker *w) { return http_worker_idle(own, worker_loop(w)); }

const struct edge web_edge = {
    .name = "http", .start = web_start, .open = web_open, .stop = web_stop, .idle = web_idle
};
