#include "auth/auth.h"
#include "auth/hashes.h"
#include "auth/looks.h"
#include "auth/schema_private.h"
#include "auth/seal.h"

#define COLUMN(name, value)                                                                        \
    "ALTER TABLE account ADD COLUMN " name " TEXT NOT NULL DEFAULT '" value "';"
#define PROFILE_COLUMNS                                                                            \
    COLUMN("given_name", "")                                                                       \
    COLUMN("surname", "")                                                                          \
    COLUMN("email", "")                                                                            \
    COLUMN("department", "")                                                                       \
    COLUMN("directory_uri", "") COLUMN("source", "local") COLUMN("template", "")

#define LACKS(type)                                                                                \
    "ALTER TABLE account ADD COLUMN lacks " type " NOT NULL DEFAULT 0;"                            \
    "UPDATE account SET lacks = 7 - (SELECT CAST(sum(CASE hash WHEN 2 THEN 4 ELSE hash + 1 END) "  \
    "AS " type ") FROM credential c WHERE c.account = account.id) WHERE id IN "                    \
    "(SELECT account FROM credential GROUP BY account HAVING count(*) < 3);"                       \
    "CREATE INDEX account_lacks ON account(disabled, lacks, jid) WHERE lacks <> 0;"

/* AUTOINCREMENT and IDENTITY: the id of a deleted account is never used again. */
static const struct store_migration migrations[] = {
    { .version = 1,
      .sqlite = "CREATE TABLE account(id INTEGER PRIMARY KEY AUTOINCREMENT, "
                "jid TEXT NOT NULL UNIQUE, created_us INTEGER NOT NULL, "
                "disabled INTEGER NOT NULL);"
                "CREATE TABLE credential(account INTEGER NOT NULL, hash INTEGER NOT NULL, "
                "salt BLOB NOT NULL, iterations INTEGER NOT NULL, stored_key BLOB NOT NULL, "
                "server_key BLOB NOT NULL, PRIMARY KEY(account, hash)) WITHOUT ROWID;"
                "CREATE TABLE auth_secret(id INTEGER PRIMARY KEY, secret BLOB NOT NULL);"
                "INSERT INTO auth_secret VALUES (1, randomblob(32));",
      .pgsql = "CREATE TABLE account(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
               "jid TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL, "
               "disabled BIGINT NOT NULL);"
               "CREATE TABLE credential(account BIGINT NOT NULL, hash BIGINT NOT NULL, "
               "salt BYTEA NOT NULL, iterations BIGINT NOT NULL, stored_key BYTEA NOT NULL, "
               "server_key BYTEA NOT NULL, PRIMARY KEY(account, hash));"
               "CREATE TABLE auth_secret(id BIGINT PRIMARY KEY, secret BYTEA NOT NULL);"
               "INSERT INTO auth_secret VALUES "
               "(1, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));" },
    { .version = 2,
      .sqlite = "ALTER TABLE account ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;",
      .pgsql = "ALTER TABLE account ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;" },
    { .version = 3,
      .sqlite = "CREATE TABLE device(account INTEGER NOT NULL, id BLOB NOT NULL, "
                "software TEXT NOT NULL, device TEXT NOT NULL, address TEXT NOT NULL, "
                "created_us INTEGER NOT NULL, seen_us INTEGER NOT NULL, "
                "PRIMARY KEY(account, id)) WITHOUT ROWID;"
                "CREATE TABLE fast_token(account INTEGER NOT NULL, device BLOB NOT NULL, "
                "slot INTEGER NOT NULL, mech TEXT NOT NULL, secret TEXT NOT NULL, "
                "created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, "
                "count INTEGER NOT NULL, PRIMARY KEY(account, device, slot)) WITHOUT ROWID;",
      .pgsql = "CREATE TABLE device(account BIGINT NOT NULL, id BYTEA NOT NULL, "
               "software TEXT NOT NULL, device TEXT NOT NULL, address TEXT NOT NULL, "
               "created_us BIGINT NOT NULL, seen_us BIGINT NOT NULL, PRIMARY KEY(account, id));"
               "CREATE TABLE fast_token(account BIGINT NOT NULL, device BYTEA NOT NULL, "
               "slot BIGINT NOT NULL, mech TEXT NOT NULL, secret TEXT NOT NULL, "
               "created_us BIGINT NOT NULL, expires_us BIGINT NOT NULL, "
               "count BIGINT NOT NULL, PRIMARY KEY(account, device, slot));" },
    { .version = 4, /* from this version on, tokens are sealed (auth/seal.h) */
      .sqlite = "DELETE FROM fast_token;"
                "CREATE TABLE seal(id INTEGER PRIMARY KEY, mark TEXT NOT NULL)",
      .pgsql = "DELETE FROM fast_token;"
               "CREATE TABLE seal(id BIGINT PRIMARY KEY, mark TEXT NOT NULL)" },
    /* The history of work factors: see credential_stmt_factor. */
    { .version = 5,
      .sqlite = "ALTER TABLE auth_secret ADD COLUMN factor INTEGER NOT NULL DEFAULT 0;"
                "ALTER TABLE auth_secret ADD COLUMN factors TEXT NOT NULL DEFAULT '';",
      .pgsql = "ALTER TABLE auth_secret ADD COLUMN factor BIGINT NOT NULL DEFAULT 0;"
               "ALTER TABLE auth_secret ADD COLUMN factors TEXT NOT NULL DEFAULT '';" },
    /* look: the same for accounts that look alike (UTS 39); empty until looks_complete(). */
    { .version = 6,
      .sqlite = "ALTER TABLE account ADD COLUMN look TEXT NOT NULL DEFAULT '';"
                "CREATE INDEX account_look ON account(look);",
      .pgsql = "ALTER TABLE account ADD COLUMN look TEXT NOT NULL DEFAULT '';"
               "CREATE INDEX account_look ON account(look);" },
    /* The profile of an account. source: who keeps it; `local`: our operators. template: the name
     * of what the account was made from. */
    { .version = 7, .sqlite = PROFILE_COLUMNS, .pgsql = PROFILE_COLUMNS },
    /* Accounts that tests log in with: ops/outside.h. The password is sealed. */
    { .version = 8,
      .sqlite = "CREATE TABLE test_user(account INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, "
                "password TEXT NOT NULL)",
      .pgsql = "CREATE TABLE test_user(account BIGINT PRIMARY KEY, at_us BIGINT NOT NULL, "
               "password TEXT NOT NULL)" },
    /* lacks: the hashes of which an account has no keys, a bit each; 0 also if it has none at all:
     * auth/hashes.h. */
    { .version = 9, .sqlite = LACKS("INTEGER"), .pgsql = LACKS("BIGINT") },
    /* Keys of the other form of a password; empty: there is none (struct scram_keys). */
    { .version = 10,
      .sqlite = "ALTER TABLE credential ADD COLUMN other_stored BLOB NOT NULL DEFAULT x'';"
                "ALTER TABLE credential ADD COLUMN other_server BLOB NOT NULL DEFAULT x'';",
      .pgsql = "ALTER TABLE credential ADD COLUMN other_stored BYTEA NOT NULL DEFAULT '';"
               "ALTER TABLE credential ADD COLUMN other_server BYTEA NOT NULL DEFAULT '';" },
    { 0 },
};
static struct store_stmt *const stmts[] = {
    &credential_stmt_get,
    &credential_stmt_create,
    &credential_stmt_put,
    &credential_stmt_bump,
    &credential_stmt_factor,
    &credential_stmt_delete_keys,
    &credential_stmt_delete,
    &credential_stmt_add_hash,
    &credential_stmt_lacks_no_more,
    &credential_stmt_empty,
    &credential_stmt_aside,
    &credential_stmt_inherit,
    &credential_stmt_replaced,
    &credential_stmt_list,
    &credential_stmt_reserve,
    &credential_stmt_unreserve,
    &credential_stmt_port,
    &credential_stmt_keys,
    &device_stmt_tokens,
    &device_stmt_put,
    &device_stmt_trim,
    &device_stmt_trim_tokens,
    &device_stmt_count,
    &device_stmt_alive,
    &device_stmt_drop_slot,
    &device_stmt_promote,
    &device_stmt_drop_used,
    &device_stmt_issue,
    &device_stmt_list,
    &device_stmt_revoke_tokens,
    &device_stmt_revoke,
    &device_stmt_forget,
    &device_stmt_delete_tokens,
    &device_stmt_delete,
    &seal_stmt_mark,
    &seal_stmt_put,
    &seal_stmt_drop,
    &looks_stmt_missing,
    &looks_stmt_put,
    &hashes_stmt_lacking,
    NULL,
};
const struct store_schema auth_schema = {
    .feature = "auth",
    .migrations = migrations,
    .stmts = stmts,
    .addresses =
        (const struct store_address[]){ { "account", "jid", .kind = STORE_JID, .there = true,
                                          .after = "UPDATE account SET look = '' WHERE jid = $2 "
                                                   "OR jid LIKE '%@' || $2" },
                                        /* looks_complete() */ { 0 } }
};
