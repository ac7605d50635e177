/* features: the list of all features (features.c). musterctl and tests that need every row use it
 * too. */
#pragma once
#include "base/log.h"

struct arena;
struct feature;
struct store_schema;

extern const struct feature *const features_all[]; /* ended by NULL */
/* Registers the rows of all features: settings, commands, metrics, alarms, log areas. Once, at
 * start; a server calls features_set() next, musterctl does not. */
void features_register(void);
/* Ends the process if a row is not as rows must be. For tests, and for who writes documents of
 * them: it takes longer than to register them, and rows are the same at each start. */
void features_check(void);
/* The schemas of all features for store_open(); NULL-terminated. */
const struct store_schema *const *features_schemas(struct arena *arena);

extern struct log_area log_server; /* of server.c; here because musterctl needs it */
