/* What webhooks keep in the database: themselves, and the events that wait. */
#include "notify/webhooks_private.h"
#include "store/store.h"

static const struct store_migration webhook_migrations[] = {
    { 1,
      "CREATE TABLE webhook(id INTEGER PRIMARY KEY, url TEXT NOT NULL, events TEXT NOT NULL, "
      "secret TEXT NOT NULL, created_us INTEGER NOT NULL);"
      "CREATE TABLE webhook_queue(id INTEGER PRIMARY KEY, hook INTEGER NOT NULL, event_id TEXT NOT "
      "NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, at_us INTEGER NOT NULL, body TEXT NOT "
      "NULL)",
      "CREATE TABLE webhook(id BIGINT PRIMARY KEY, url TEXT NOT NULL, events TEXT NOT NULL, "
      "secret TEXT NOT NULL, created_us BIGINT NOT NULL);"
      "CREATE TABLE webhook_queue(id BIGINT PRIMARY KEY, hook BIGINT NOT NULL, event_id TEXT NOT "
      "NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, at_us BIGINT NOT NULL, body TEXT NOT "
      "NULL)" },
    { 2, "ALTER TABLE webhook_queue ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0",
      "ALTER TABLE webhook_queue ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0" },
    { 0 },
};
struct store_stmt webhook_all_stmt = {
    .name = "webhook.all",
    .sql = "SELECT id, url, events, secret, created_us FROM webhook ORDER BY id",
    .params = "",
    .cols = "ittti",
};
struct store_stmt webhook_put_stmt = {
    .name = "webhook.put",
    .sql = "INSERT INTO webhook(id, url, events, secret, created_us) VALUES($1, $2, $3, $4, $5)",
    .params = "ittti",
    .cols = "",
};
struct store_stmt webhook_drop_stmt = {
    .name = "webhook.drop",
    .sql = "DELETE FROM webhook WHERE id = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt webhook_forget_stmt = {
    .name = "webhook.forget",
    .sql = "DELETE FROM webhook_queue WHERE hook = $1",
    .params = "i",
    .cols = "",
};
/* Of webhooks that were deleted: none may get the number of one of them, and what waits for it. */
struct store_stmt webhook_left_stmt = {
    .name = "webhook.left",
    .sql = "DELETE FROM webhook_queue WHERE hook NOT IN (SELECT id FROM webhook)",
    .params = "",
    .cols = "",
};
struct store_stmt webhook_waiting_stmt = {
    .name = "webhook.waiting",
    .sql = "SELECT id, hook, subject, at_us, attempts FROM webhook_queue WHERE id > $1 ORDER BY id "
           "LIMIT $2",
    .params = "ii",
    .cols = "iitii",
};
struct store_stmt webhook_tried_stmt = {
    .name = "webhook.tried",
    .sql = "UPDATE webhook_queue SET attempts = $2 WHERE id = $1",
    .params = "ii",
    .cols = "",
};
struct store_stmt webhook_queue_stmt = {
    .name = "webhook.queue",
    .sql = "INSERT INTO webhook_queue(id, hook, event_id, kind, subject, at_us, body) "
           "VALUES($1, $2, $3, $4, $5, $6, $7) ON CONFLICT(id) DO NOTHING",
    .params = "iitttit",
    .cols = "",
};
struct store_stmt webhook_one_stmt = {
    .name = "webhook.one",
    .sql = "SELECT event_id, kind, body FROM webhook_queue WHERE id = $1 AND hook = $2",
    .params = "ii",
    .cols = "ttt",
};
struct store_stmt webhook_taken_stmt = {
    .name = "webhook.taken",
    .sql = "DELETE FROM webhook_queue WHERE id = $1",
    .params = "i",
    .cols = "",
};
/* Rows whose deletion failed when they had been taken. */
struct store_stmt webhook_before_stmt = {
    .name = "webhook.before",
    .sql = "DELETE FROM webhook_queue WHERE id < $1",
    .params = "i",
    .cols = "",
};
struct store_stmt webhook_older_stmt = {
    .name = "webhook.older",
    .sql = "SELECT count(*) FROM webhook_queue WHERE at_us < $1",
    .params = "i",
    .cols = "i",
};
const struct store_schema webhook_schema = {
    .feature = "webhook",
    .migrations = webhook_migrations,
    .stmts =
        (struct store_stmt *const[]){ &webhook_all_stmt, &webhook_put_stmt, &webhook_drop_stmt,
                                      &webhook_forget_stmt, &webhook_left_stmt,
                                      &webhook_waiting_stmt, &webhook_queue_stmt, &webhook_one_stmt,
                                      &webhook_tried_stmt, &webhook_taken_stmt,
                                      &webhook_before_stmt, &webhook_older_stmt, NULL },
};
