/* schema: what `musterctl schema` prints: all settings, commands with their arguments and results,
 * metrics and alarms, as JSON Schema (draft 2020-12), from the rows. What JSON Schema has no word
 * for stands behind "x-". */
#pragma once
#include <stdio.h>

void schema_print(FILE *out);
