/* webhooks_read: reads the webhooks and what waits for them, in pages, at the start. If the
 * database does not answer, it raises an alarm and tries again, from where it was, until
 * webhooks_read_end(). At the home of DUTY_WEBHOOKS. */
#pragma once
#include <stdbool.h>

struct alarm;
struct worker;

extern struct alarm webhook_unread_alarm;

typedef void webhooks_read_fn(void);
void webhooks_read_begin(struct worker *w, webhooks_read_fn *done);
void webhooks_read_end(void);
bool webhooks_read_now(void); /* the loop has ended: once more; whether all is read */

/* Their secrets are deleted, and they with them: at the home of DUTY_WEBHOOKS. */
void webhooks_secrets_dropped(struct worker *w);
