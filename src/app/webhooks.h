/* webhooks: tells receivers of events (ops/events.h) by HTTP. Each event that a webhook wants is a
 * row of its queue, in the database, until the receiver has taken it: at least once, also over a
 * restart or kill. Events of one subject are in order: while one waits, those behind it wait, too.
 * One that is not taken is tried again after a time that doubles, with jitter.
 *
 * An event is in the queue when its transaction is committed, some milliseconds after it happened.
 *
 * At the home of DUTY_WEBHOOKS. Limits: WEBHOOKS_MAX webhooks, webhook.queue-max events that wait,
 * for webhook.keep, and 64 MiB of them that the database has yet to take; WEBHOOK_FLIGHTS requests
 * at once to one receiver: there is always room for one, and for FLIGHTS_MORE_MAX more of all
 * receivers. A dropped event raises the alarm webhook.dropped. */
#pragma once
#include "app/webhook_post.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct arena;
struct command_call;
struct feature;
struct worker;

enum { WEBHOOKS_MAX = 32, WEBHOOK_FLIGHTS = 4, WEBHOOK_URL_MAX = 1000, WEBHOOK_SECRET_MAX = 1000 };

struct webhook {
    struct list node;
    struct arena *arena;
    int64_t id;
    slice url, events, secret; /* in the arena; secret empty: it cannot be read */
    uint32_t kinds;
    struct list items;             /* all that wait, by id */
    struct list first;             /* of those, the first one of each subject */
    struct map last;               /* and the last one */
    uint64_t created_us, taken_us; /* of the wall clock */
    uint64_t due_us;
    uint64_t taken;     /* since the start */
    unsigned waiting;   /* items */
    unsigned unstored;  /* events for it that are not in the database yet */
    unsigned flights;   /* under way */
    unsigned failures;  /* connections that failed, since one succeeded */
    unsigned refusals;  /* requests that were not taken, since one was */
    uint64_t leaves_us; /* it was deleted: until then it hears of that; 0: it was not */
    bool deleted;       /* freed when nothing is under way */
    char why[WEBHOOK_WHY_BYTES];
};

/* "user.*; alarm.raised", "*": as bits; 0: it is no such list. */
uint32_t webhook_kinds(slice events);
bool webhook_url_ok(slice url);
bool webhook_events_ok(slice events);

extern struct list webhooks_all; /* struct webhook, by id; at the home of the duty */
/* The webhooks, and what waits for them. false: nothing can be said or changed yet. */
bool webhooks_are_read(void);
struct webhook *webhook_find(int64_t id);
int64_t webhook_new_id(void); /* 0: there are WEBHOOKS_MAX */
/* It is stored. */
void webhook_put(int64_t id, slice url, slice events, slice secret, uint64_t created_us);
/* It is stored that it is gone. Its receiver still gets the entries of the audit log of the next
 * seconds, among them that of its own end. */
void webhook_leave(struct webhook *h);
/* Sends a test event at once, and ends the call. */
void webhook_test(struct webhook *h, struct command_call *call);
const char *webhook_context(int64_t id, struct arena *arena); /* that its secret is sealed in */

extern const struct feature webhooks_feature;
