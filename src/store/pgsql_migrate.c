#include "base/log.h"
#include "store/migrate.h"
#include "store/store_pgsql.h"
#include <stdio.h>
#include <stdlib.h>

enum { REBUILD_ROWS = 2048 }; /* at a time */

static const struct store_migration own_migrations[] = {
    { 1, NULL, "CREATE TABLE reader(name TEXT PRIMARY KEY, position BIGINT NOT NULL)" },
    { 2, NULL, "CREATE TABLE opened(times BIGINT NOT NULL); INSERT INTO opened VALUES(0)" },
    { 3, NULL, "ALTER TABLE opened ADD COLUMN commits BIGINT NOT NULL DEFAULT 0" },
    { 0 },
};
static const struct store_schema own_schema = { .feature = "store", .migrations = own_migrations };

static enum err pgsql_migrate_failed(struct pg_db *db, const char *what, struct why *why)
{
    why_set(why, "database %s: %s: %s", db->name, what, db->writer.conn.text);
    return E_IO;
}

static enum err pgsql_migrate_version(void *arg, const char *feature, uint32_t *out,
                                      struct why *why)
{
    struct pg_db *db = arg;
    int64_t found = 0;
    PGresult *res =
        pg_ask(&db->writer.conn, "SELECT version FROM schema WHERE feature = $1", feature);
    if (res == NULL)
        return pgsql_migrate_failed(db, "its table schema cannot be read", why);
    if (PQntuples(res) > 0 && !slice_int(slice_of(PQgetvalue(res, 0, 0)), &found))
        found = UINT32_MAX;
    PQclear(res);
    *out = (uint32_t)found;
    return OK;
}

static enum pg_fault pgsql_migrate_record(struct pg_conn *c, const char *feature, uint32_t number)
{
    char sql[160];
    snprintf(sql, sizeof sql,
             "INSERT INTO schema(feature, version) VALUES($1, %u) ON CONFLICT(feature)"
             " DO UPDATE SET version = excluded.version",
             number);
    PGresult *res = pg_ask(c, sql, feature);
    PQclear(res);
    return res != NULL ? PG_OK : PG_BROKEN;
}

static enum err pgsql_migrate_apply(void *arg, const char *feature, const struct store_migration *m,
                                    struct why *why)
{
    struct pg_db *db = arg;
    struct pg_conn *c = &db->writer.conn;
    enum pg_fault fault = pg_script(c, "BEGIN");
    if (fault == PG_OK && m->pgsql != NULL)
        fault = pg_script(c, m->pgsql);
    if (fault == PG_OK)
        fault = pgsql_migrate_record(c, feature, m->version);
    if (fault == PG_OK)
        fault = pg_script(c, "COMMIT");
    if (fault == PG_OK)
        return OK;
    why_set(why, "database %s: migration %u of feature %s: %s; nothing of it was kept", db->name,
            m->version, feature, c->text);
    pg_script(c, "ROLLBACK");
    return fault == PG_REFUSED || fault == PG_DENIED ? E_SYNTAX : fault == PG_FULL ? E_FULL : E_IO;
}

/* The contents of the database: our table of versions, nothing, or tables of another program. */
#define LOOK                                                                                       \
    "SELECT coalesce(current_schema(), ''),"                                                       \
    " coalesce(obj_description(to_regclass(quote_ident(current_schema()) || '.schema'),"           \
    " 'pg_class'), ''),"                                                                           \
    " coalesce((SELECT min(relname) FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'f')"           \
    " AND relnamespace = current_schema()::regnamespace), '')"
#define MARK "Muster"
#define CLAIM                                                                                      \
    "BEGIN; CREATE TABLE schema(feature TEXT PRIMARY KEY, version BIGINT NOT NULL);"               \
    " COMMENT ON TABLE schema IS '" MARK ": versions of features'; COMMIT"

/* Another program's tables are left alone; an empty schema becomes ours. */
static enum err pgsql_migrate_claim(struct pg_db *db, struct why *why)
{
    struct pg_conn *c = &db->writer.conn;
    enum err e = OK;
    PGresult *res = pg_ask(c, LOOK, NULL);
    if (res == NULL)
        return pgsql_migrate_failed(db, "its tables cannot be listed", why);
    const char *schema = PQgetvalue(res, 0, 0), *mark = PQgetvalue(res, 0, 1);
    const char *table = PQgetvalue(res, 0, 2);
    if (*schema == '\0') {
        why_set(why, "database %s: there is no schema for tables: see search_path of the role",
                db->name);
        e = E_UNSUPPORTED;
    } else if (strncmp(mark, MARK, strlen(MARK)) == 0) {
        e = OK;
    } else if (*table != '\0') {
        why_set(why,
                "database %s has tables of another program (%s in schema %s): give musterd a "
                "database of its own",
                db->name, table, schema);
        e = E_UNSUPPORTED;
    } else if (pg_script(c, CLAIM) != PG_OK) {
        e = pgsql_migrate_failed(db, "tables cannot be made (the role has to own the database)",
                                 why);
        pg_script(c, "ROLLBACK");
    }
    PQclear(res);
    return e;
}

enum err pg_migrate(struct pg_db *db, const struct store_conf *conf, struct why *why)
{
    static const struct migrate_ops ops = { pgsql_migrate_version, pgsql_migrate_apply };
    const struct store_schema *own[] = { &own_schema, NULL };
    enum err e = pgsql_migrate_claim(db, why);
    if (e == OK)
        e = migrate_run(&ops, db, db->name, own, why);
    return e == OK ? migrate_run(&ops, db, db->name, conf->schemas, why) : e;
}

static enum pg_fault pgsql_migrate_done(struct pg_conn *c, PGresult *res)
{
    PQclear(res);
    return res != NULL ? PG_OK : c->pq != NULL ? PG_REFUSED : PG_LOST;
}

static enum pg_fault declare(struct pg_conn *c, const struct store_late *late, const char *position)
{
    char sql[1024];
    if (snprintf(sql, sizeof sql, "DECLARE late NO SCROLL CURSOR FOR %s", late->rebuild) >=
        (int)sizeof sql)
        return pg_fail(c, PG_REFUSED, "the text of rebuild is too long");
    return pgsql_migrate_done(c, pg_ask_int(c, sql, position));
}

/* The next page of the log, inserted; `last` is the log id that was reached. */
static enum pg_fault copy_page(struct pg_conn *c, const struct store_late *late, int64_t *last,
                               int *rows)
{
    char sql[48];
    enum pg_fault fault = PG_OK;
    snprintf(sql, sizeof sql, "FETCH %d FROM late", REBUILD_ROWS);
    PGresult *res = pg_ask(c, sql, NULL);
    *rows = res != NULL ? PQntuples(res) : 0;
    if (res == NULL)
        return pgsql_migrate_done(c, NULL);
    if (PQnfields(res) != (int)strlen(late->insert->params) + 1)
        fault = pg_fail(c, PG_REFUSED, "rebuild has another number of columns than the insert");
    for (int row = 0; fault == PG_OK && row < *rows; row++)
        pg_send_row(c, late->insert, res, row);
    pg_sync(c);
    for (int row = 0; fault == PG_OK && row < *rows; row++)
        fault = pg_end(c);
    if (fault == PG_OK && *rows > 0 && !slice_int(slice_of(PQgetvalue(res, *rows - 1, 0)), last))
        fault = pg_fail(c, PG_REFUSED, "rebuild gives no number first");
    PQclear(res);
    return fault == PG_OK ? pg_synced(c) : fault;
}

static enum pg_fault copy_all(struct pg_conn *c, const struct store_late *late,
                              const char *position)
{
    int64_t last = 0;
    int rows = 0;
    char sql[192];
    enum pg_fault fault = pg_prepare_plain(c, late->insert);
    if (fault == PG_OK)
        fault = pgsql_migrate_done(c, pg_ask(c, "BEGIN", NULL));
    if (fault == PG_OK)
        fault = declare(c, late, position);
    do {
        fault = fault == PG_OK ? copy_page(c, late, &last, &rows) : fault;
    } while (fault == PG_OK && rows > 0);
    snprintf(sql, sizeof sql,
             "INSERT INTO reader(name, position) VALUES($1, %lld) ON CONFLICT(name)"
             " DO UPDATE SET position = excluded.position",
             (long long)last);
    if (fault == PG_OK && last > 0)
        fault = pgsql_migrate_done(c, pg_ask(c, sql, late->name));
    return fault == PG_OK ? pgsql_migrate_done(c, pg_ask(c, "COMMIT", NULL)) : fault;
}

enum err pg_rebuild(struct pg_db *db, struct why *why)
{
    struct pg_conn *c = &db->writer.conn;
    const struct store_late *late = db->store->late;
    if (late == NULL)
        return OK;
    PGresult *res = pg_ask(c, "SELECT position FROM reader WHERE name = $1", late->name);
    if (res == NULL)
        return pgsql_migrate_failed(db, "the position of late rows cannot be read", why);
    enum pg_fault fault = copy_all(c, late, PQntuples(res) > 0 ? PQgetvalue(res, 0, 0) : "0");
    PQclear(res);
    return fault == PG_OK ? OK : pgsql_migrate_failed(db, "late rows cannot be made again", why);
}
