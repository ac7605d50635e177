/* operate_list: which rooms there are: those in memory of all workers, and the rows of the
 * database. Rows are read in pages. What the report adds to them is read in small parts, so that
 * nobody waits for it. */
#pragma once

struct command;
struct store_stmt;

extern struct store_stmt operate_page_stmt, operate_people_stmt;
extern struct command room_list_command, room_report_command;
