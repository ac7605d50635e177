#include "store/migrate.h"
#include "base/ensure.h"
#include "base/log.h"

static uint32_t newest(const struct store_schema *schema)
{
    uint32_t version = 0;
    const struct store_migration *m = schema->migrations;
    for (; m != NULL && m->version != 0; m++) {
        ensure(m->version == version + 1);
        version = m->version;
    }
    return version;
}

static enum err migrate_check(const struct migrate_ops *ops, void *db, const char *name,
                              const struct store_schema *schema, struct why *why)
{
    uint32_t found;
    enum err e = ops->version(db, schema->feature, &found, why);
    if (e != OK || found <= newest(schema))
        return e;
    why_set(why,
            "database %s: schema version %u of feature %s is newer than this build (%u): "
            "use a newer musterd, or restore a backup made before the upgrade",
            name, found, schema->feature, newest(schema));
    return E_UNSUPPORTED;
}

/* Adds the migrations that it has applied to *applied. */
static enum err migrate_upgrade(const struct migrate_ops *ops, void *db,
                                const struct store_schema *schema, unsigned *applied,
                                struct why *why)
{
    uint32_t found;
    enum err e = ops->version(db, schema->feature, &found, why);
    const struct store_migration *m = schema->migrations;
    for (; e == OK && m != NULL && m->version != 0; m++) {
        if (m->version <= found)
            continue;
        e = ops->apply(db, schema->feature, m, why);
        if (e != OK)
            break;
        (*applied)++;
        log_debug(&log_store, LOG_EV("store.migration"), LOG_C("feature", schema->feature),
                  LOG_I("version", m->version));
    }
    return e;
}

enum err migrate_run(const struct migrate_ops *ops, void *db, const char *name,
                     const struct store_schema *const *schemas, struct why *why)
{
    enum err e = OK;
    unsigned applied = 0;
    for (size_t i = 0; e == OK && schemas[i] != NULL; i++)
        e = migrate_check(ops, db, name, schemas[i], why);
    for (size_t i = 0; e == OK && schemas[i] != NULL; i++)
        e = migrate_upgrade(ops, db, schemas[i], &applied, why);
    if (applied > 0) /* a line for all: a new database has some fifty */
        log_info(&log_store, LOG_EV("store.migrated"), LOG_C("database", name),
                 LOG_I("migrations", applied));
    return e;
}
