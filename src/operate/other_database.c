#include "operate/other_database.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "store/store.h"

struct alarm other_database_alarm = {
    .name = "store.other",
    .severity = ALARM_ERROR,
    .text = "The database has no accounts, but the data folder has another one with accounts.",
    .action = "If users are missing: stop musterd, and either go back to `database: sqlite` in the "
              "node file, or copy the data with `musterd --copy-to URL`, where URL is the one of "
              "`database`. If nothing is missing, move muster.db out of the data folder.",
    .explanation =
        "A node that was moved to another database without its data looks like a new server.",
    .raised_when =
        "The database is empty at the start, but the data folder has a database with accounts.",
    .cleared_when = "The server starts with accounts in its database, or without the other file.",
};

static struct store_stmt any_account = {
    .name = "server.any-account",
    .sql = "SELECT count(*) FROM (SELECT id FROM account LIMIT 1) a",
    .params = "",
    .cols = "i",
};
static const struct store_migration none[] = { { 0 } };
const struct store_schema other_database_schema = {
    .feature = "server",
    .migrations = none,
    .stmts = (struct store_stmt *const[]){ &any_account, NULL },
};

static void other_database_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    int64_t *count = arg;
    if (result == STORE_OK)
        *count = store_int(b, 0, 0, 0);
}

void other_database_look(struct store *store, const char *data)
{
    int64_t here = 1, there = 0;
    if (!store_is_pgsql(store))
        return;
    struct arena *arena = arena_create(0);
    struct store_batch *b = store_read(store, 0);
    store_add(b, &any_account, STORE_ANY_ROWS, NULL, 0);
    const char *path = arena_printf(arena, "%s/muster.db", data);
    if (store_run(b, other_database_counted, &here) == STORE_OK && here == 0 &&
        store_file_rows(path, "account", &there) == OK && there > 0)
        alarm_raise(&other_database_alarm,
                    slice_of(arena_printf(arena, "%s: %lld accounts", path, (long long)there)));
    arena_destroy(&arena);
}
