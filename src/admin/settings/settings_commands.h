/* settings_commands: set, get, config show, config reset. At the home of DUTY_SETTINGS. */
#pragma once
#include "admin/settings/settings_private.h"

extern struct command settings_set_command, settings_get_command, settings_show_command,
    settings_reset_command;
