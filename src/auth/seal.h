/* seal: encryption of secrets in the database that the server needs in clear (tokens of devices and
 * sessions, secrets of components and settings, passwords of rooms, options of push services):
 * AES-256-GCM with the key in secrets.key in the data folder. A copy of the database alone
 * discloses none of them.
 *
 * The same secret in the same context gives the same text, so statements can compare it. A context
 * names the row: a sealed text that is copied to another row does not open there.
 *
 * The database contains a sealed mark. If the key does not open it, nothing is sealed or unsealed,
 * and the alarm secrets.key is raised. A new key is made only if there is no mark. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct alarm;
struct arena;
struct buf;
struct store;

enum { SEAL_KEY_BYTES = 32, SEAL_PLAIN_MAX = 8192 };

/* Once, at start, before workers run. An unusable key is not an error: it raises the alarm. */
NODISCARD enum err seal_load(struct store *store, const char *data, struct why *why);
void seal_use(const unsigned char key[SEAL_KEY_BYTES]); /* for tests */
bool seal_ready(void);                                  /* any thread, like those below */

/* Whether this process has made the key, because there was no file: so what others have sealed does
 * not open. */
bool seal_is_new(void);

/* Both give text in `arena`. seal() needs seal_ready(), and at most SEAL_PLAIN_MAX bytes. unseal()
 * returns false for a text that was not sealed with this key and context. */
slice seal(slice plain, slice context, struct arena *arena);
bool unseal(slice *plain, slice sealed, slice context, struct arena *arena);
/* Appends the text that was sealed in a context, sealed in another one; false: as above. */
bool seal_again(struct buf *out, slice sealed, slice was, slice is, struct arena *tmp);

extern struct alarm seal_alarm;
extern struct store_stmt seal_stmt_mark, seal_stmt_put, seal_stmt_drop;
