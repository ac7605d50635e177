/* What app/webhooks.c and its commands share. */
#pragma once

struct command;
struct store_stmt;

extern struct store_stmt webhook_put_stmt, webhook_drop_stmt, webhook_forget_stmt;
extern struct command webhook_add_command, webhook_list_command, webhook_show_command,
    webhook_del_command, webhook_test_command, webhook_events_command;
