/* webhook_incoming: events that webhooks want, from when they happen until they are rows of the
 * database, one in the queue of each webhook that wants it. Before the webhooks are read, nobody
 * knows who that is, so they wait here. They are written again until the database takes them.
 *
 * At the home of DUTY_WEBHOOKS. Limits: webhook.queue-max events, with those that wait for their
 * receivers; 64 MiB here. Beyond them, new ones are dropped. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct setting;
struct worker;

extern struct setting webhook_queue_max;

struct webhook_incoming_ops {
    void (*stored)(void); /* some are in the queues now */
    void (*dropped)(unsigned count, const char *why);
};

void webhook_incoming_start(struct worker *w, const struct webhook_incoming_ops *ops);
unsigned webhook_incoming_count(void);
/* The webhooks are read: now it is known who wants the events that came meanwhile. */
void webhook_incoming_share_out(void);
void webhook_incoming_write(void); /* ... and they can be written, as those that follow are */
/* The loop has ended. Events that were under way are written again, which changes nothing; write:
 * false: the database does not answer. */
void webhook_incoming_stop(bool write);
/* That webhook is deleted: so are the rows of its queue. */
void webhook_forget_rows(int64_t id);
