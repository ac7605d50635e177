/* settings_restart: which changed settings apply only after a restart: those whose value differs
 * from the one that their part has read at its start. At the home of DUTY_SETTINGS. */
#pragma once
#include "base/setting.h"

void settings_restart_begin(void); /* the values are those that run */
void settings_restart_end(void);
void settings_restart_look(void);                     /* values have changed */
bool settings_restart_waits(const struct setting *s); /* its value is not the one that runs */
