/* hashes: the SCRAM hashes for which all accounts of a domain have keys. Keys that come from
 * another server may be of one hash. A domain offers only what all its accounts can use: stream
 * features are sent before the user is known, and clients take the strongest mechanism and do not
 * fall back. Accounts without any keys, and disabled ones, do not count: nobody can log in to them.
 *
 * account.lacks says which hashes an account lacks. The sums of each domain are in memory, one
 * table for the process; any thread. It errs on the side of fewer hashes: accounts that lack some
 * are added when they are committed, and a sum sinks when the database was read again.
 *
 * Limits: one entry for each domain that lacks something. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "xmpp/sasl.h"

struct arena;
struct store;
struct store_batch;

enum { HASHES_ALL = (1u << SCRAM_HASH_COUNT) - 1 };

/* Accounts of a domain that have keys, but none for a hash. */
struct hashes_lacking {
    uint64_t accounts; /* that lack any */
    uint64_t of[SCRAM_HASH_COUNT];
};
struct hashes_lacking hashes_lacking(slice domain);
unsigned hashes_complete(slice domain); /* bits of those for which no account lacks keys */
void hashes_count(struct hashes_lacking *sum, unsigned lacks, uint64_t accounts);
unsigned hashes_lacked(const struct hashes_lacking *sum); /* bits of those of which any */

/* An account was stored that lacks these. */
void hashes_stored(slice jid, unsigned lacks);
/* Accounts may have got more keys, or are enabled or deleted. */
void hashes_changed(void);

/* At the start, before workers run. */
NODISCARD enum err hashes_load(struct store *store, struct why *why);
/* Later, by one reader: whether the sums may be too high, the statement that reads them, and its
 * rows. Rows that were asked for before the last change are not taken: they may be older. */
bool hashes_due(void);
bool hashes_any(void); /* some domain lacks something */
uint64_t hashes_ask(struct store_batch *b);
void hashes_take(const struct store_batch *b, uint64_t asked);

/* "SCRAM-SHA-256 and SCRAM-SHA-512"; bits: not 0. */
const char *hashes_names(unsigned bits, struct arena *arena);

extern struct store_stmt hashes_stmt_lacking;
