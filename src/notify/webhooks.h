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

struct command_call;
struct feature;
struct webhook;

enum { WEBHOOK_FLIGHTS = 4 };

/* It is stored that it is gone. Its receiver still gets the entries of the audit log of the next
 * seconds, among them that of its own end. */
void webhook_leave(struct webhook *h);
/* Sends a test event at once, and ends the call. */
void webhook_test(struct webhook *h, struct command_call *call);

extern const struct feature webhooks_feature;
