/* administrators: people who administer the server and have no account on it: a name, a role and a
 * password. Passwords are stored as SCRAM keys of SHA-512; the last ones are kept, so that they are
 * not used again. The table in memory (ops/access_table.h) has all but the keys.
 *
 * Limits: ACCESS_ADMINS_MAX of them, PASSWORD_KEYS_MAX passwords of each. */
#pragma once
#include "auth/password_job.h"
#include "store/store.h"

struct feature;

/* Reads the keys of its newest passwords, the current one first; then how many there are. */
void administrator_add_read(struct store_batch *b, slice name, unsigned passwords);
unsigned administrator_keys(const struct store_batch *b, unsigned stmt, struct scram_keys *out);
bool administrator_password_is_old(slice name); /* setting admin.password-age */

extern const struct feature administrators_feature;
