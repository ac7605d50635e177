/* events_watch: the topics of the streams of events (admin/api/api_events.h), and who fills them
 * while somebody listens: metrics each 2 seconds; alarms, audit and settings by the commands that
 * list them, so that an event is always a row of these. */
#pragma once
#include <stdint.h>

struct command;
struct event_ring;
struct worker;

enum event_topic {
    EVENT_METRICS,
    EVENT_ALARMS,
    EVENT_LOG,
    EVENT_AUDIT,
    EVENT_SETTINGS,
    EVENT_TOPICS
};

struct event_topic_row {
    const char *name;
    const char *command; /* whose permission it needs */
    struct event_ring *ring;
    _Atomic unsigned readers;   /* streams */
    _Atomic uint64_t wanted_us; /* wall clock, when the first reader came; 0: none has */
};
extern struct event_topic_row event_topics[EVENT_TOPICS];
const struct command *event_command(unsigned topic);
void event_reader_add(unsigned topic);
uint64_t events_epoch(void); /* another one after each start of the process */

/* At the home of DUTY_METRICS: asks each second while there are readers. */
void events_watch_start(struct worker *w);
void events_watch_stop(struct worker *w);
