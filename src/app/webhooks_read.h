/* webhooks_read: reads the webhooks and what waits for them, in pages, at the start. If the
 * database does not answer, it raises an alarm and tries again, from where it was, until
 * webhooks_read_end(). At the home of DUTY_WEBHOOKS. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct alarm;
struct webhook;
struct worker;

extern struct alarm webhook_unread_alarm;

typedef void webhooks_read_fn(void);
void webhooks_read_begin(struct worker *w, webhooks_read_fn *done);
void webhooks_read_end(void);
bool webhooks_read_now(void); /* the loop has ended: once more; whether all is read */

/* A row of the queue. app/webhooks.c gets them in the order of their ids. */
struct webhook_item {
    int64_t id;
    slice subject;
    uint64_t at_us; /* of the wall clock */
    unsigned attempts;
};
void webhook_waits(struct webhook *h, const struct webhook_item *row);
/* Their secrets are deleted, and they with them: feature.worker.secrets_dropped. */
void webhooks_secrets_dropped(struct worker *w);
