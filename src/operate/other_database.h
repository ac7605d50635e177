/* other_database: the alarm for a server that was changed to PostgreSQL without copying its
 * data. */
#pragma once

struct alarm;
struct store;
struct store_schema;

/* At start: raises the alarm if PostgreSQL has no accounts, but the SQLite database in the data
 * folder has some. */
void other_database_look(struct store *store, const char *data);

extern struct alarm other_database_alarm;
extern const struct store_schema other_database_schema;
