#include "gate/web.h"
#include "http/server.h"
#include "im/budget.h"

enum { ANSWER_BYTES = 64 << 10 }; /* space for an answer over HTTP */

static bool web_crowded(void)
{
    struct worker *w = worker_here();
    budget_grew(w, ANSWER_BYTES);
    return w->over_budget;
}

static void web_start(void *own, struct worker *w)
{
    http_set_crowded(own, web_crowded);
    http_worker_start(own, w->loop);
}

static void web_open(void *own, struct worker *w) { http_worker_accept(own, w->loop); }
static void web_stop(void *own, struct worker *w) { http_worker_stop(own, w->loop); }
static bool web_idle(void *own, struct worker *w) { return http_worker_idle(own, w->loop); }

const struct edge web_edge = {
    .name = "http", .start = web_start, .open = web_open, .stop = web_stop, .idle = web_idle
};
