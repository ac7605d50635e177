/* Parts that admin/alarms.c and its commands share. */
#pragma once

struct command;
struct setting;
struct store_stmt;

extern struct store_stmt alarms_history_stmt, alarms_rule_put_stmt;
extern struct command alarm_list_command, alarm_show_command, alarm_history_command,
    alarm_acknowledge_command, alarm_set_command;
