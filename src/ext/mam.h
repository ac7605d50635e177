/* mam: Message Archive Management (XEP-0313, preferences XEP-0441, full text XEP-0431, tombstones
 * XEP-0424), one feature in the files mam*.c. The archive itself, what every account sent and
 * received, belongs to im/archive.h; here it is asked for, kept small, and edited. */
#pragma once
#include "base/slice.h"
#include "im/stage.h"
#include "store/store.h"
#include <stdbool.h>

struct account;
struct iq;
struct setting;
struct worker;

#define NS_MAM_EXTENDED "urn:xmpp:mam:2#extended"
#define FULLTEXT_FIELD  "{urn:xmpp:fulltext:0}fulltext"

/* mam.c */
extern struct setting mam_enabled, mam_default, mam_users_choose, mam_page_default, mam_page_max;

/* mam_query.c: at the home of the archive's owner, who asks. */
void mam_query(struct iq *iq);
void mam_metadata(struct iq *iq);
extern struct store_stmt *const mam_query_stmts[];

/* mam_prefs.c */
enum mam_default { MAM_ALWAYS, MAM_ROSTER, MAM_NEVER };
extern const char *const mam_defaults[]; /* names of the above */
void mam_prefs_start(void);
void mam_prefs_get(struct iq *iq);
void mam_prefs_set(struct iq *iq);
void mam_prefs_load(struct account *a, struct store_batch *b);
void mam_prefs_loaded(struct account *a, const struct store_batch *b, unsigned first);
void mam_prefs_unload(struct account *a);
void mam_prefs_remove(struct account *a, struct store_batch *b);
stage_archive_fn mam_prefs_archive;
extern struct store_stmt *const mam_prefs_stmts[];
