#include "admin/api/api_events.h"
#include "admin/api/api_private.h"
#include "admin/control_json.h"
#include "admin/event_ring.h"
#include "admin/events_watch.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { EVENT_BYTES_MAX = 64 << 10, WRITTEN_BYTES_MAX = 2 * EVENT_BYTES_MAX, ID_BYTES_MAX = 128 };

static struct setting event_streams = {
    .name = "api.event-streams",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 100000,
    .unit = "streams",
    .doc = "Streams of events of the API at the same time (`/api/v1/events`); each page of the "
           "console that is open has one. More are answered with 503.",
};
static struct metric streams_now = { .name = "muster_api_event_streams",
                                     .kind = METRIC_GAUGE,
                                     .help = "Open streams of events of the API." };
static struct metric events_lost = { .name = "muster_api_events_lost",
                                     .kind = METRIC_COUNTER,
                                     .help = "Events that streams have missed because their "
                                             "readers were too slow." };

struct stream_of_events {
    struct list node; /* in `streams` of its worker */
    struct http_request *r;
    bool wants[EVENT_TOPICS];
    uint64_t at[EVENT_TOPICS]; /* numbers of the next ones */
    uint64_t said_us;          /* when something was written last */
};
/* Streams of one worker. */
struct events_worker {
    struct list streams;
    struct timer tick;
};

static unsigned events_slot;
static _Atomic int64_t stream_count;

static struct events_worker *events_of(const struct worker *w)
{
    return *worker_state(w, events_slot);
}

/* Writing. */

static void stream_end(struct stream_of_events *s)
{
    for (unsigned t = 0; t < EVENT_TOPICS; t++)
        event_topics[t].readers -= s->wants[t];
    ensure(stream_count > 0);
    stream_count--;
    metric_add(&streams_now, -1);
    list_remove(&s->node);
    mem_free(&s);
}

/* Where the stream is: of this run of the server, in each topic. */
static void put_place(struct buf *out, const struct stream_of_events *s)
{
    buf_printf(out, "id: %" PRIx64, events_epoch());
    for (unsigned t = 0; t < EVENT_TOPICS; t++)
        buf_printf(out, "-%" PRIu64, s->at[t]);
    buf_lit(out, "\n");
}

static void put_lost(struct buf *out, const struct stream_of_events *s, unsigned topic,
                     uint64_t lost)
{
    metric_add(&events_lost, (int64_t)lost);
    buf_lit(out, "event: lost\n");
    put_place(out, s);
    buf_printf(out, "data: {\"topic\":\"%s\",\"count\":%" PRIu64 "}\n\n", event_topics[topic].name,
               lost);
}

/* A line of the log, an object, with the node whose line it is. */
static void put_line(struct buf *out, slice line)
{
    ensure(line.len > 2 && line.ptr[line.len - 1] == '}');
    buf_append(out, line.ptr, line.len - 1);
    buf_lit(out, ",\"node\":");
    control_text(out, slice_of(worker_node(worker_here())->name));
    buf_lit(out, "}");
}

/* Sends what there is of a topic, until the socket has enough to do. */
static void send_topic(struct stream_of_events *s, unsigned topic)
{
    struct buf out, data;
    uint64_t lost = 0;
    buf_init(&data, EVENT_BYTES_MAX);
    while (http_waiting(s->r) < EVENTS_WAITING_MAX &&
           event_ring_read(event_topics[topic].ring, &s->at[topic], &data, &lost)) {
        buf_init(&out, WRITTEN_BYTES_MAX);
        if (lost > 0)
            put_lost(&out, s, topic, lost);
        buf_printf(&out, "event: %s\n", event_topics[topic].name);
        put_place(&out, s);
        buf_lit(&out, "data: ");
        if (topic == EVENT_LOG)
            put_line(&out, buf_fit(&data));
        else
            buf_add(&out, buf_fit(&data));
        buf_lit(&out, "\n\n");
        http_send(s->r, buf_fit(&out));
        s->said_us = clock_mono_us();
        lost = 0;
        buf_clear(&data);
        buf_fini(&out);
    }
    buf_fini(&data);
}

/* Why the principal may not have it any more; false: it may. */
static bool is_over(struct stream_of_events *s, struct why *why)
{
    struct principal who;
    if (api_who(s->r, &who, why) != OK)
        return true;
    for (unsigned t = 0; t < EVENT_TOPICS; t++)
        if (s->wants[t] && command_allowed(event_command(t), &who, why) != OK)
            return true;
    return false;
}

static void say_end(struct stream_of_events *s, slice reason)
{
    struct buf out;
    buf_init(&out, EVENT_BYTES_MAX);
    buf_lit(&out, "event: end\ndata: {\"reason\":");
    control_text(&out, reason);
    buf_lit(&out, "}\n\n");
    http_send(s->r, buf_fit(&out));
    buf_fini(&out);
}

static void finish_stream(struct stream_of_events *s, slice reason)
{
    struct http_request *r = s->r;
    say_end(s, reason);
    stream_end(s);
    http_finish(r);
}

static void look_at_stream(struct stream_of_events *s)
{
    struct why why;
    if (is_over(s, &why)) {
        finish_stream(s, slice_of(why.text));
        return;
    }
    for (unsigned t = 0; t < EVENT_TOPICS; t++)
        if (s->wants[t])
            send_topic(s, t);
    if (clock_mono_us() - s->said_us > EVENTS_ALIVE_MS * 1000ull &&
        http_waiting(s->r) < EVENTS_WAITING_MAX) {
        http_send(s->r, SLICE(":\n\n"));
        s->said_us = clock_mono_us();
    }
}

static void events_tick(struct timer *t, struct loop *loop)
{
    struct events_worker *own = CONTAINER_OF(t, struct events_worker, tick);
    LIST_EACH (it, &own->streams)
        look_at_stream(CONTAINER_OF(it, struct stream_of_events, node));
    if (!list_empty(&own->streams))
        timer_set(loop, t, EVENTS_MS);
}

void api_events_stop(void *own, struct worker *w)
{
    struct events_worker *mine = events_of(w);
    (void)own;
    LIST_EACH (it, &mine->streams)
        finish_stream(CONTAINER_OF(it, struct stream_of_events, node),
                      SLICE("the server stops or restarts"));
}

/* Requests. */

static void refuse(struct http_request *r, unsigned status, enum err e, slice detail)
{
    api_problem(r, &(struct api_problem){ .status = status,
                                          .detail = detail,
                                          .error = err_name(e),
                                          .argument = status == 422 ? "topics" : NULL,
                                          .retry_s = status == 503 ? 10 : 0 });
}

/* false: there is a word that is no topic, or none at all. */
static bool topics_parse(slice text, bool wants[EVENT_TOPICS])
{
    bool any = false;
    slice one;
    while (text.len > 0) {
        unsigned t = 0;
        slice_cut(text, ',', &one, &text);
        while (t < EVENT_TOPICS && !slice_is(one, event_topics[t].name))
            t++;
        if (t == EVENT_TOPICS)
            return false;
        wants[t] = any = true;
    }
    return any;
}

/* The topics of the query; false: it was answered. */
static bool take_topics(struct http_request *r, bool wants[EVENT_TOPICS])
{
    slice names[2], values[2];
    size_t count = 2;
    enum err e = api_query(r->query, http_scratch(r), names, values, &count);
    if (e == OK && count == 1 && slice_is(names[0], "topics") && topics_parse(values[0], wants))
        return true;
    if (e == E_SYNTAX)
        refuse(r, 400, E_SYNTAX, SLICE("found a query that is wrongly encoded"));
    else
        refuse(r, 422, E_SYNTAX, SLICE("topics=… is needed, and nothing else: " API_EVENTS_TOPICS));
    return false;
}

/* "EPOCH-1-2-3-4" of put_place(). Another run of the server, or anything else: from now on. */
static void take_last_id(struct stream_of_events *s, slice id)
{
    slice one, rest;
    char epoch[ID_BYTES_MAX];
    int64_t number[EVENT_TOPICS];
    snprintf(epoch, sizeof epoch, "%" PRIx64, events_epoch());
    if (!slice_cut(id, '-', &one, &rest) || !slice_is(one, epoch))
        return;
    for (unsigned t = 0; t < EVENT_TOPICS; t++) {
        slice_cut(rest, '-', &one, &rest);
        if (!slice_int(one, &number[t]) || number[t] < 1 || (uint64_t)number[t] > s->at[t])
            return;
    }
    for (unsigned t = 0; t < EVENT_TOPICS; t++)
        s->at[t] = (uint64_t)number[t];
}

static void stream_begin(struct http_request *r, const bool wants[EVENT_TOPICS])
{
    struct events_worker *own = events_of(worker_here());
    struct stream_of_events *s = mem_new(struct stream_of_events);
    s->r = r;
    s->said_us = clock_mono_us();
    for (unsigned t = 0; t < EVENT_TOPICS; t++) {
        s->wants[t] = wants[t];
        s->at[t] = event_ring_next(event_topics[t].ring);
        if (wants[t])
            event_reader_add(t);
    }
    take_last_id(s, http_header(r, "Last-Event-ID"));
    stream_count++;
    metric_add(&streams_now, 1);
    if (list_empty(&own->streams))
        timer_set(worker_loop(worker_here()), &own->tick, EVENTS_MS);
    list_append(&own->streams, &s->node);
    r->data = s;
    http_send(r, SLICE(":\n\n"));
}

static void events_handle(struct http_request *r)
{
    struct principal who;
    struct why why;
    bool wants[EVENT_TOPICS] = { false };
    r->data = NULL;
    if (!api_admit(r, &who) || !api_without_etag(r) || !take_topics(r, wants))
        return;
    for (unsigned t = 0; t < EVENT_TOPICS; t++) {
        if (wants[t] && command_allowed(event_command(t), &who, &why) != OK) {
            refuse(r, 403, E_DENIED, slice_of(why.text));
            return;
        }
    }
    if (stream_count >= setting_int(&event_streams) || worker_stopping(worker_here())) {
        refuse(r, 503, E_LIMIT, SLICE("there are as many streams as api.event-streams allows"));
        return;
    }
    http_start(r, &(struct http_answer){ .status = 200, .type = "text/event-stream" }, -1);
    if (r->head)
        http_finish(r);
    else
        stream_begin(r, wants);
}

static void events_gone(struct http_request *r)
{
    struct stream_of_events *s = r->data;
    if (s != NULL)
        stream_end(s);
}

static const struct http_route routes[] = {
    { .path = "/api/v1/events",
      .group = "admin",
      .methods = HTTP_M_GET,
      .flags = HTTP_OWN_LISTENER | HTTP_PROBLEMS | HTTP_LONG_POLL,
      .handle = events_handle,
      .gone = events_gone },
    { 0 },
};

static void events_start(struct worker *w)
{
    struct events_worker *own = mem_new(struct events_worker);
    list_init(&own->streams);
    own->tick.fn = events_tick;
    *worker_state(w, events_slot) = own;
    events_watch_start(w);
}

static void events_stop(struct worker *w)
{
    timer_cancel(&events_of(w)->tick);
    events_watch_stop(w);
}

static void events_ended(struct worker *w)
{
    struct events_worker *own = events_of(w);
    mem_free(&own);
}

const struct feature api_events_feature = {
    .name = "api_events",
    .settings = (struct setting *const[]){ &event_streams, NULL },
    .metrics = (struct metric *const[]){ &streams_now, &events_lost, NULL },
    .http = routes,
    .worker.slot = &events_slot,
    .worker.start = events_start,
    .worker.stop = events_stop,
    .worker.ended = events_ended,
};
