/* What notify/webhooks.c, its rows in the database and its commands share. */
#pragma once
#include "base/hash.h"

struct command;
struct log_area;
struct store_schema;
struct store_stmt;

enum { WEBHOOK_EVENT_ID_BYTES = 16 };
/* The database does the writes of webhooks in order: all have this lane. */
static inline uint64_t webhook_lane(void) { return hash_keyed(SLICE("webhook")); }

extern const struct store_schema webhook_schema;
extern struct store_stmt webhook_all_stmt, webhook_put_stmt, webhook_drop_stmt;
/* Of the queue: of those that are left from webhooks that were deleted, of one webhook, or of one
 * event. */
extern struct store_stmt webhook_left_stmt, webhook_forget_stmt, webhook_waiting_stmt;
extern struct store_stmt webhook_queue_stmt, webhook_one_stmt, webhook_tried_stmt;
extern struct store_stmt webhook_taken_stmt, webhook_before_stmt, webhook_older_stmt;
extern struct command webhook_add_command, webhook_list_command, webhook_show_command,
    webhook_del_command, webhook_test_command, webhook_events_command;
extern struct log_area log_webhook;

/* What waits for such a webhook waits until it can be read. */
#define SECRET_UNREAD "its secret cannot be read: see the alarm secrets.key"
