/* store_rename: another address for an account, in a database that no server uses. */
#pragma once
#include "store/store.h"

struct store_renamed {
    uint64_t rows; /* changed or removed */
    /* Is called for each text of an operator that has the old address still, with its name; also if
     * nothing is committed then. */
    void (*left)(void *arg, const char *name);
    void *arg;
};

/* Gives an account another address in all columns that the schemas name, in one transaction, in a
 * database that a store has opened and closed before and that nobody uses. Both are prepared bare
 * JIDs. Where a key or a list would have the new address twice, since somebody knew it before, what
 * was said of the old one stays. E_NOTFOUND: no such account; E_EXISTS: the new one is taken; E_IO,
 * E_CORRUPT: nothing has changed. Tools. */
NODISCARD enum err store_rename(const char *url, const struct store_schema *const *schemas,
                                const char *old, const char *to, struct store_renamed *done,
                                struct why *why);
/* Whether a text has the address, and not only as a part of another one. */
bool store_rename_names(slice text, const char *address);
