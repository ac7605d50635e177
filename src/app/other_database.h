/* other_database: a server that was moved to PostgreSQL without its data says so. */
#pragma once

struct alarm;
struct store;
struct store_schema;

/* At the start: PostgreSQL has no account, but the data folder has an SQLite database with some:
 * raises the alarm, which tells how to copy them. */
void other_database_look(struct store *store, const char *data);

extern struct alarm other_database_alarm;
extern const struct store_schema other_database_schema;
