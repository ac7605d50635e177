#include "admin/health.h"
#include "base/alarm.h"
#include "base/clock.h"
#include "core/feature.h"
#include "home/edge.h"
#include "home/here.h"
#include "http/server.h"
#include "io/timer.h"
#include "store/store.h"

enum { WORKERS_MAX = 64 }; /* loops of this process */

static struct pulse {
    struct timer timer;
    _Atomic uint64_t beat_us; /* monotonic; 0: no worker here */
    _Atomic bool open;        /* lets clients in */
} pulses[WORKERS_MAX];
static void (*on_beat)(void);

void health_on_beat(void (*beat)(void)) { on_beat = beat; }

bool health_turns(void)
{
    uint64_t now_us = clock_mono_us();
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        uint64_t beat_us = pulses[i].beat_us;
        if (beat_us != 0 && now_us > beat_us + HEALTH_STALL_MS * 1000ull)
            return false;
    }
    return true;
}

static struct pulse *pulse_of(const struct loop *loop)
{
    return &pulses[loop_index(loop) % WORKERS_MAX];
}

static void beat(struct timer *t, struct loop *loop)
{
    struct pulse *p = pulse_of(loop);
    p->beat_us = clock_mono_us();
    timer_set(loop, t, HEALTH_BEAT_MS);
    if (p == &pulses[0] && on_beat != NULL && health_turns())
        on_beat();
}

static void health_worker_start(struct worker *w)
{
    struct pulse *p = pulse_of(worker_loop(w));
    p->timer.fn = beat;
    p->beat_us = clock_mono_us();
    timer_set(worker_loop(w), &p->timer, HEALTH_BEAT_MS);
}

static void health_worker_stop(struct worker *w)
{
    struct pulse *p = pulse_of(worker_loop(w));
    p->beat_us = 0;
    timer_cancel(&p->timer);
}

static void health_open(void *own, struct worker *w)
{
    (void)own;
    pulse_of(worker_loop(w))->open = true;
}

static void health_stop(void *own, struct worker *w)
{
    (void)own;
    pulse_of(worker_loop(w))->open = false;
}

const struct edge health_edge = { .name = "health", .open = health_open, .stop = health_stop };

static const char *not_ready(void)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (pulses[i].beat_us != 0 && !pulses[i].open)
            return "it does not let clients in yet, or no longer\n";
    if (!health_turns())
        return "a worker stands still\n";
    if (store_down_alarm.active != 0)
        return "the database is away\n";
    struct store_info info;
    store_info(worker_store(worker_here()), &info);
    return info.silent ? "the database does not answer\n" : NULL;
}

static void say(struct http_request *r, const char *wrong)
{
    http_answer_text(r, wrong == NULL ? 200 : 503, slice_of(wrong == NULL ? "ok\n" : wrong));
}

static void healthz(struct http_request *r)
{
    say(r, health_turns() ? NULL : "a worker stands still\n");
}

static void readyz(struct http_request *r) { say(r, not_ready()); }

static const struct http_route routes[] = {
    { .path = "/healthz",
      .group = "admin",
      .methods = HTTP_M_GET,
      .flags = HTTP_OWN_LISTENER | HTTP_WHEN_CROWDED,
      .handle = healthz },
    { .path = "/readyz",
      .group = "admin",
      .methods = HTTP_M_GET,
      .flags = HTTP_OWN_LISTENER | HTTP_WHEN_CROWDED,
      .handle = readyz },
    { 0 },
};

const struct feature health_feature = {
    .name = "health",
    .http = routes,
    .worker.start = health_worker_start,
    .worker.stop = health_worker_stop,
};
