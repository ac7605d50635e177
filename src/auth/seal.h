/* seal: secrets that the server must know as they are (tokens, secrets of components and settings)
 * lie sealed in the database: AES-256-GCM under the key of the node, a file of its own in the data
 * folder. A copy of the database alone discloses none of them.
 *
 * The same secret in the same context gives the same text, so statements can compare it. A context
 * names the row: a sealed text that is copied to another row does not open there.
 *
 * The database has a mark that is sealed, too. With a mark but without its key nothing is sealed or
 * opened, and alarm secrets.key is raised; a new key is made only where there is no mark. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct alarm;
struct arena;
struct store;

enum { SEAL_KEY_BYTES = 32, SEAL_PLAIN_MAX = 4096 };

/* Once, at the start, before workers run. A key that cannot be used is no error but the alarm. */
NODISCARD enum err seal_load(struct store *store, const char *data, struct why *why);
void seal_use(const unsigned char key[SEAL_KEY_BYTES]); /* a key that is known: tests */
bool seal_ready(void);                                  /* any thread, like those below */

/* Both give text in `arena`. seal() needs seal_ready(), and at most SEAL_PLAIN_MAX bytes. unseal()
 * is false for all that was not sealed with this key in this context. */
slice seal(slice plain, slice context, struct arena *arena);
bool unseal(slice *plain, slice sealed, slice context, struct arena *arena);

extern struct alarm seal_alarm;
extern struct store_stmt seal_stmt_mark, seal_stmt_put, seal_stmt_drop;
