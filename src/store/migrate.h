/* migrate: brings the schema of every feature to the version this build knows, one migration a
 * transaction, in order. All features are looked at before the first change: a database written by
 * a newer build is refused untouched. */
#pragma once
#include "store/store.h"

/* What a driver does for it. */
struct migrate_ops {
    enum err (*version)(void *db, const char *feature, uint32_t *out,
                        struct why *why); /* 0: none */
    /* the migration and the row in schema(), in one transaction */
    enum err (*apply)(void *db, const char *feature, const struct store_migration *m,
                      struct why *why);
};

/* `name`: of the database, for `why`. */
NODISCARD enum err migrate_run(const struct migrate_ops *ops, void *db, const char *name,
                               const struct store_schema *const *schemas, struct why *why);
