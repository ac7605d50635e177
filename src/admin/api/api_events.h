/* api_events: GET /api/v1/events: a stream of what happens (server-sent events, HTML §9.2), for the
 * console and for programs. docs/api.md describes it.
 *
 * The events of a topic are in one ring for all streams (admin/event_ring.h); a stream has only the
 * number that it gets next. So a slow reader holds nobody up and costs no memory: it is told how
 * many events it missed. A stream stays on the worker of its connection, which looks each EVENTS_MS
 * whether there is something new and whether its principal may still have it. At the home of
 * DUTY_METRICS the rows of the topics' commands are asked for while somebody listens.
 *
 * Limits: api.event-streams; EVENTS_WAITING_MAX bytes of a stream that the socket does not take. */
#pragma once

struct feature;
struct worker;

enum { EVENTS_MS = 250, EVENTS_ALIVE_MS = 15000, EVENTS_WAITING_MAX = 64 << 10 };

#define API_EVENTS_TOPICS "Some of metrics, alarms, log, audit, settings, with commas between them."
#define API_EVENTS_DOC                                                                             \
    "Events have `event`: the topic, `id`, and `data`: a JSON object. `metrics` comes each 2 "     \
    "seconds: time, and values by the names of `metrics series`. alarms, log and audit are rows "  \
    "of `alarm list`, `log list` and `audit list` as they change, settings is the newest row of "  \
    "`config history`. `lost`: so many events of a "                                               \
    "topic were missed. `end`: why the server ends the stream. Each topic needs the permission "   \
    "of its command."

void api_events_stop(void *own, struct worker *w); /* ends all streams of the worker */

extern const struct feature api_events_feature;
