/* store_rename: another address for an account, or another name for a domain, in a database that no
 * server uses. */
#pragma once
#include "store/renaming.h"
#include "store/store.h"

struct store_renamed {
    uint64_t rows; /* changed or removed */
    /* Is called for each text of an operator that has an old address still, with its name; also if
     * nothing is committed then. */
    void (*left)(void *arg, const char *name);
    void *arg;
};

/* Renames in all columns that the schemas name, in one transaction, in a database that a store has
 * opened and closed before and that nobody uses. A domain is renamed with what is below it in the
 * database: `renaming` gets those names, and its arena other texts, too. Where a key or a list
 * would have the new address twice, since somebody knew it before, what was said of the old one
 * stays. Secrets need seal_ready(), else they are lost. E_NOTFOUND: no such account or domain;
 * E_EXISTS: the new one is taken; E_IO, E_CORRUPT, E_LIMIT: nothing has changed. Tools. */
NODISCARD enum err store_rename(const char *url, const struct store_schema *const *schemas,
                                struct renaming *renaming, struct store_renamed *done,
                                struct why *why);
