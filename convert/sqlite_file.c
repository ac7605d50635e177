#include "convert/sqlite_file.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <limits.h>
#include <sqlite3.h>

enum { COLUMNS_MAX = 8 };

struct sqlite_file {
    sqlite3 *db;
};

enum err sqlite_file_open(struct sqlite_file **out, const char *path, struct why *why)
{
    struct sqlite_file *f = mem_zalloc(sizeof *f);
    int rc = sqlite3_open_v2(path, &f->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    *out = f;
    if (rc != SQLITE_OK) {
        why_set(why, "%s: %s", path, f->db != NULL ? sqlite3_errmsg(f->db) : sqlite3_errstr(rc));
        sqlite_file_close(out);
        return E_IO;
    }
    sqlite3_db_config(f->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_busy_timeout(f->db, 2000);
    return OK;
}

void sqlite_file_close(struct sqlite_file **file)
{
    if (*file == NULL)
        return;
    sqlite3_close((*file)->db);
    mem_free(file);
}

static int sqlite_file_step(sqlite3_stmt *st, const struct sqlite_query *query)
{
    slice column[COLUMNS_MAX];
    int rc, count = sqlite3_column_count(st);
    ensure(count <= COLUMNS_MAX);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        for (int i = 0; i < count; i++) {
            const unsigned char *text = sqlite3_column_text(st, i);
            column[i] = (slice){ text == NULL ? "" : (const char *)text,
                                 (size_t)sqlite3_column_bytes(st, i) };
        }
        if (!query->fn(query->arg, column))
            return SQLITE_DONE;
    }
    return rc;
}

enum err sqlite_file_rows(struct sqlite_file *file, const struct sqlite_query *query,
                          struct why *why)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(file->db, query->sql, -1, &st, NULL);
    for (int i = 0; rc == SQLITE_OK && i < query->count; i++) {
        slice text = query->param[i];
        ensure(text.len < INT_MAX);
        rc = sqlite3_bind_text(st, i + 1, text.len == 0 ? "" : text.ptr, (int)text.len,
                               SQLITE_STATIC);
    }
    if (rc == SQLITE_OK)
        rc = sqlite_file_step(st, query);
    if (rc != SQLITE_DONE)
        why_set(why, "%s", sqlite3_errmsg(file->db));
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? OK : E_CORRUPT;
}
