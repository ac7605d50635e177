/* settings_history_read: config history, config version, config compare: which versions of the
 * settings there are, what one has changed, and how two differ. At the home of DUTY_SETTINGS. */
#pragma once

struct command;

extern struct command settings_history_command, settings_version_command, settings_compare_command;
