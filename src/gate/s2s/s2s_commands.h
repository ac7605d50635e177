/* s2s_commands: commands of federation: what streams there are, and why one is not. */
#pragma once

struct command;

extern struct command *const s2s_commands[]; /* NULL-terminated */
