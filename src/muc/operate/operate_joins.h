/* operate_joins: lists for operators who entered and left a room that archives this
 * (muc.archive-joins, or its owner). Clients do not get it, because XEP-0313 is about messages
 * only. */
#pragma once

struct command;
struct store_stmt;

extern struct store_stmt operate_joins_stmt;
extern struct command room_joins_command;
