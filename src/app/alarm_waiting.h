/* alarm_waiting: what waits for the next mail about alarms, and when the last one was sent, in the
 * database: a process that ends, also by a crash, tells the next one. A change is stored some
 * milliseconds after it was told of. While the database is away, it is not.
 *
 * At the home of DUTY_ALARMS. */
#pragma once
#include <stdint.h>

struct alarms_news;
struct worker;
struct store_schema;

void alarm_waiting_add(struct worker *w, const struct alarms_news *news);
/* These wait no longer. Tests, which have no alarm, are passed over. */
void alarm_waiting_drop(struct worker *w, const struct alarms_news *news, unsigned count);
void alarm_waiting_sent(struct worker *w, uint64_t at_us);
/* At the start of the worker: what the process before left, the oldest first. Returns how many;
 * sent_us: when the last mail was sent, or 0. */
unsigned alarm_waiting_read(struct worker *w, struct alarms_news *out, unsigned max,
                            uint64_t *sent_us);

extern const struct store_schema alarm_waiting_schema;
