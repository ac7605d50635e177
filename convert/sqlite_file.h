/* sqlite_file: reads a file of SQLite that another program has written. Nothing in it is changed,
 * and what its schema says is not trusted. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct sqlite_file;

/* E_IO: it cannot be opened; `why` says the reason. That it is no database shows in the
 * first query. */
NODISCARD enum err sqlite_file_open(struct sqlite_file **out, const char *path, struct why *why);
void sqlite_file_close(struct sqlite_file **file); /* NULL is fine */

/* Columns of a row as texts, valid during the call. false: no more rows are wanted. */
typedef bool sqlite_file_row_fn(void *arg, const slice *column);
struct sqlite_query {
    const char *sql;
    const slice *param; /* texts */
    int count;          /* of them */
    sqlite_file_row_fn *fn;
    void *arg;
};
/* The rows of a query. E_CORRUPT: `why` has the words of SQLite. */
NODISCARD enum err sqlite_file_rows(struct sqlite_file *file, const struct sqlite_query *query,
                                    struct why *why);
