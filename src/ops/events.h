/* events: what happens at the server that other programs may want to hear of (docs/webhooks.md).
 * Each kind is a row here. Whoever sees an event happen tells of it; it goes to the home of
 * DUTY_WEBHOOKS, if somebody wants its kind. If nobody does, that costs one load.
 *
 * Never a password, a token or the text of a message. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct asker;
struct feature;
struct worker;

enum event_kind {
    EVENT_USER_CREATED,
    EVENT_USER_CHANGED,
    EVENT_USER_DELETED,
    EVENT_SESSION_AVAILABLE,
    EVENT_SESSION_UNAVAILABLE,
    EVENT_ROOM_CREATED,
    EVENT_ROOM_DESTROYED,
    EVENT_ALARM_RAISED,
    EVENT_ALARM_CHANGED,
    EVENT_ALARM_CLEARED,
    EVENT_SETTING_CHANGED,
    EVENT_AUDIT_ENTRY,
    EVENT_USER_DISABLED,
    EVENT_USER_ENABLED,
    EVENT_KINDS
};
enum { EVENT_FIELDS_MAX = 16, EVENT_DATA_MAX = 48 << 10, EVENT_SUBJECT_MAX = 3071 };

struct event_field {
    const char *name;
    slice value;
};

struct event_row {
    const char *name; /* "user.created" */
    const char *subject;
    const char *fields; /* names, separated by spaces */
    const char *doc;
    const char *permission; /* of who sends it elsewhere: it reads what the event tells */
};
const struct event_row *event_row(enum event_kind kind);

/* An event that was told, at the home of the duty. The texts live during the call. */
struct event_told {
    uint8_t kind; /* enum event_kind */
    uint64_t at_us;
    slice subject; /* events of one subject are in order */
    slice data;    /* a JSON object of texts */
};
typedef void events_take_fn(struct worker *w, const struct event_told *event);

/* On any worker. `fields` are those of the row, ended by { 0 }; without those that are empty. */
void event_tell(struct worker *w, enum event_kind kind, slice subject,
                const struct event_field *fields);
bool event_is_wanted(enum event_kind kind); /* any thread */
/* The profile of an account has changed by something that is not at its home: tells of it there, in
 * order with its end. Calls by->gather (answer: nothing to read) if it cannot be told, then
 * by->done. */
void event_ask_changed(struct worker *w, slice bare, const struct asker *by);

/* Sets the taker of all events; at the start of the worker of the duty. */
void events_take(events_take_fn *take);
void events_want(uint32_t kinds); /* bits 1 << kind */

extern const struct feature events_feature;
