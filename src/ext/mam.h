/* mam: Message Archive Management (XEP-0313, preferences XEP-0441, full text XEP-0431, tombstones
 * XEP-0424), one feature in the files mam*.c. The archive itself, what every account sent and
 * received, belongs to im/archive.h; here it is asked for, kept small, and edited. */
#pragma once
#include "base/slice.h"
#include "im/stage.h"
#include "store/store.h"
#include <stdbool.h>

struct account;
struct archive_words;
struct command;
struct log_area;
struct metric;
struct iq;
struct setting;
struct worker;

/* mam.c */
extern struct setting mam_enabled, mam_default, mam_users_choose, mam_page_default, mam_page_max;

/* mam_fulltext.c */
extern struct setting mam_fulltext;
extern struct store_stmt *const mam_fulltext_stmts[];
extern const struct archive_words mam_words;
void mam_fulltext_stop(struct worker *w); /* the worker has ended */

/* mam_expire.c */
extern struct setting mam_retention;
extern struct metric mam_expired;
extern struct log_area mam_log;
extern struct command mam_expire_command;
extern struct store_stmt *const mam_expire_stmts[];
void mam_expire_arm(struct worker *w);
void mam_expire_stop(struct worker *w);

/* mam_quota.c */
extern struct setting mam_user_bytes, mam_room_bytes;
extern struct metric mam_trimmed;
extern struct store_stmt *const mam_quota_stmts[];
void mam_quota_stored(struct worker *w); /* messages are being stored: they are counted soon */
void mam_quota_stop(struct worker *w);

/* mam_retract.c */
extern struct store_stmt *const mam_retract_stmts[];
stage_kept_fn mam_retract;

/* mam_query.c: at the home of the archive's owner, who asks. */
void mam_query(struct iq *iq);
void mam_form_get(struct iq *iq);
void mam_metadata(struct iq *iq);

/* mam_prefs.c */
enum mam_default { MAM_ALWAYS, MAM_ROSTER, MAM_NEVER };
extern const char *const mam_defaults[]; /* names of the above */
void mam_prefs_start(void);
void mam_prefs_get(struct iq *iq);
void mam_prefs_set(struct iq *iq);
void mam_bind2_load(struct account *a, struct store_batch *b);
void mam_bind2_loaded(struct session *s, const struct store_batch *b, unsigned first,
                      struct buf *bound);
void mam_prefs_load(struct account *a, struct store_batch *b);
void mam_prefs_loaded(struct account *a, const struct store_batch *b, unsigned first);
void mam_prefs_unload(struct account *a);
void mam_prefs_remove(struct account *a, struct store_batch *b);
stage_archive_fn mam_prefs_archive;
extern struct store_stmt *const mam_prefs_stmts[];
