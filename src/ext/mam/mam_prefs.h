/* mam_prefs: preferences (XEP-0441): which messages an account wants in its archive. One row an
 * account that has any; in memory while the account is loaded. While archive.users-may-choose is
 * off, it is kept, and the setting archive.default holds for all.
 *
 * Limits: JIDS_MAX addresses in both lists together, LIST_BYTES_MAX bytes each. */
#pragma once
#include "core/stage.h"
#include "store/store.h"

struct account;
struct command;
struct command_call;
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

/* For `user archive`: reads the choice of an account; says it in the row, if there is one. */
void mam_prefs_look(struct store_batch *b, slice jid);
void mam_prefs_say(struct command_call *call, const struct store_batch *b, unsigned stmt);
extern struct command mam_choices_command;
