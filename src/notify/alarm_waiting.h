/* alarm_waiting: what waits for the next mail about alarms, and when the last one was sent, in the
 * database: a process that ends, also by a crash, tells the next one. A change is stored some
 * milliseconds after it was told of. While the database is away, it is not.
 *
 * At the home of DUTY_ALARMS. */
#pragma once
#include "notify/mail.h"
#include <stdint.h>

struct alarms_news;
struct worker;
struct store_schema;

void alarm_waiting_add(struct worker *w, const struct alarms_news *news);
/* These wait no longer. Tests, which have no alarm, are passed over. */
void alarm_waiting_drop(struct worker *w, const struct alarms_news *news, unsigned count);
void alarm_waiting_sent(struct worker *w, uint64_t at_us);
/* The mail about the oldest changes is sent, but not to these, whom the relay refused for the
 * moment. Tests do not count as changes. */
struct alarm_owed {
    char recipients[MAIL_RECIPIENTS_MAX * (MAIL_ADDRESS_MAX + 2)]; /* empty: none */
    unsigned changes, tries;
};
/* No recipients, or no changes: nobody is owed anything any more. */
void alarm_waiting_owe(struct worker *w, const struct alarm_owed *owed);
/* At the start of the worker: what the process before left, the oldest first. Returns how many;
 * sent_us: when the last mail was sent, or 0. */
unsigned alarm_waiting_read(struct worker *w, struct alarms_news *out, unsigned max,
                            uint64_t *sent_us, struct alarm_owed *owed);

extern const struct store_schema alarm_waiting_schema;
