/* groups_commands: the commands `group …` and `group-member …`. They run at the home of
 * DUTY_GROUPS. */
#pragma once

struct command;

extern struct command *const groups_commands[]; /* NULL-terminated */
