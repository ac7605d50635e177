/* store_rename: another address for an account, in a database that no server uses. */
#pragma once
#include "store/store.h"

/* Gives an account another address in all columns that the schemas name, in one transaction, in a
 * database that a store has opened and closed before and that nobody uses. Both are prepared bare
 * JIDs. Where a key would be there twice, since somebody knew the new address before, the row of
 * the old one stays. E_NOTFOUND: no such account; E_EXISTS: the new one is taken; E_IO, E_CORRUPT:
 * nothing has changed. *rows: how many have. Tools. */
NODISCARD enum err store_rename(const char *url, const struct store_schema *const *schemas,
                                const char *old, const char *to, uint64_t *rows, struct why *why);
