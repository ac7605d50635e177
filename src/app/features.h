/* features: the only list of what this server is made of (features.c). Musterctl and the tests that
 * need every row use it too. */
#pragma once
#include "base/log.h"

/* Registers the rows of all features: settings, commands, metrics, alarms, log areas. Once, at
 * start. */
void features_register(void);

extern struct log_area log_server; /* of server.c; here, so that musterctl knows all areas */
