#include "base/hash.h"
#include "base/log.h"
#include "store/store_sqlite.h"
#include <stdio.h>

/* SQLite takes $1 for a name, and numbers names as they come. Returns how many there are. */
static int find_slots(const char *sql, uint8_t slot[STORE_PARAMS_MAX])
{
    const char *begin;
    unsigned number;
    int count = 0;
    while ((sql = store_param_next(sql, &begin, &number)) != NULL)
        if (number <= STORE_PARAMS_MAX && slot[number - 1] == 0)
            slot[number - 1] = (uint8_t)++count;
    return count;
}

static bool slots_agree(sqlite3_stmt *st, const struct store_stmt *stmt,
                        const struct sqlite_info *info, struct why *why)
{
    for (size_t i = 0; i < strlen(stmt->params); i++) {
        char name[24];
        snprintf(name, sizeof name, "$%zu", i + 1);
        int slot = sqlite3_bind_parameter_index(st, name);
        if (slot != 0 && slot == info->slot[i])
            continue;
        why_set(why, "statement %s: parameter %s is declared but not used", stmt->name, name);
        return false;
    }
    return true;
}

static enum err statement_prepares(struct sqlite_conn *c, const struct store_stmt *stmt,
                                   const struct sqlite_info *info, struct why *why)
{
    sqlite3_stmt *st = NULL;
    const char *rest = "";
    if (sqlite_conn_text_of(stmt) == NULL ||
        sqlite3_prepare_v3(c->db, sqlite_conn_text_of(stmt), -1, 0, &st, &rest) != SQLITE_OK ||
        st == NULL) {
        why_set(why,
                "database %s: statement %s does not prepare: %s; if the tables were changed by "
                "hand, undo that or restore a backup",
                c->owner->path, stmt->name,
                sqlite_conn_text_of(stmt) == NULL ? "no text for SQLite" : sqlite3_errmsg(c->db));
        return E_SYNTAX;
    }
    bool fine = false;
    if (sqlite3_bind_parameter_count(st) != (int)strlen(stmt->params) ||
        sqlite3_column_count(st) != (int)strlen(stmt->cols) || rest[0] != '\0')
        why_set(why,
                "statement %s: %zu parameters and %zu columns are declared, SQLite sees %d and "
                "%d%s",
                stmt->name, strlen(stmt->params), strlen(stmt->cols),
                sqlite3_bind_parameter_count(st), sqlite3_column_count(st),
                rest[0] != '\0' ? " and a second statement" : "");
    else
        fine = slots_agree(st, stmt, info, why);
    sqlite3_finalize(st);
    return fine ? OK : E_SYNTAX;
}

/* A number for these statements on the tables of this database: it is another one as soon as one of
 * either changes. */
static int64_t number_of_all(const struct sqlite_db *db, int64_t schema)
{
    struct hash_key key = { (uint64_t)schema, (uint64_t)sqlite3_libversion_number() };
    for (uint32_t i = 0; i < db->store->stmt_count; i++) {
        const struct store_stmt *stmt = db->store->stmts[i];
        const char *const texts[] = { sqlite_conn_text_of(stmt), stmt->params, stmt->cols };
        for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++)
            if (texts[n] != NULL)
                key.k0 = hash_with(&key, slice_of(texts[n])) + n;
    }
    return (int64_t)key.k0;
}

enum err sqlite_learn(struct sqlite_db *db, struct why *why)
{
    struct sqlite_conn *c = &db->writer.conn;
    int64_t schema = 0, checked = 0;
    enum err e = OK;
    for (uint32_t i = 0; i < db->store->stmt_count; i++)
        if (sqlite_conn_text_of(db->store->stmts[i]) != NULL)
            find_slots(sqlite_conn_text_of(db->store->stmts[i]), db->info[i].slot);
    int rc = sqlite_get_int(c, "PRAGMA schema_version", NULL, &schema);
    if (rc == SQLITE_OK)
        rc = sqlite_get_int(c, "SELECT value FROM store_state WHERE name = 'checked'", NULL,
                            &checked);
    int64_t number = number_of_all(db, schema);
    if (rc == SQLITE_OK && number == checked)
        return OK;
    for (uint32_t i = 0; e == OK && i < db->store->stmt_count; i++)
        e = statement_prepares(c, db->store->stmts[i], &db->info[i], why);
    if (e == OK && rc == SQLITE_OK) {
        char sql[128];
        snprintf(sql, sizeof sql, "UPDATE store_state SET value = %lld WHERE name = 'checked'",
                 (long long)number);
        rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    }
    return e != OK || rc == SQLITE_OK ? e : store_sqlite_explain(db, rc, why);
}
