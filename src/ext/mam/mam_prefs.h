/* mam_prefs: preferences (XEP-0441): which messages an account wants in its archive. One row an
 * account that has any; in memory while the account is loaded.
 *
 * Limits: JIDS_MAX addresses in both lists together, LIST_BYTES_MAX bytes each. */
#pragma once
#include "im/stage.h"
#include "store/store.h"

struct account;
struct iq;
struct store_batch;

enum mam_default { MAM_ALWAYS, MAM_ROSTER, MAM_NEVER };
extern const char *const mam_defaults[]; /* names of the above */
extern struct store_stmt *const mam_prefs_stmts[];
extern unsigned mam_prefs_slot; /* of accounts */
void mam_prefs_get(struct iq *iq);
void mam_prefs_set(struct iq *iq);
void mam_prefs_load(struct account *a, struct store_batch *b);
void mam_prefs_loaded(struct account *a, const struct store_batch *b, unsigned first);
void mam_prefs_unload(struct account *a);
void mam_prefs_remove(struct account *a, struct store_batch *b);
bool mam_prefs_archive(struct account *a, const struct stanza *st, slice contact);
