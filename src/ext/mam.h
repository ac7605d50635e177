/* mam: Message Archive Management (XEP-0313, preferences XEP-0441, full text XEP-0431, tombstones
 * XEP-0424), one feature in the files mam*.c. The archive itself, what every account sent and
 * received, belongs to im/archive.h; here it is asked for, kept small, and edited. */
#pragma once
#include "base/slice.h"
#include "im/stage.h"
#include "store/store.h"
#include <stdbool.h>

struct account;
struct arena;
struct command;
struct log_area;
struct metric;
struct iq;
struct setting;
struct worker;

#define NS_MAM_EXTENDED "urn:xmpp:mam:2#extended"
#define FULLTEXT_FIELD  "{urn:xmpp:fulltext:0}fulltext"

/* mam.c */
extern struct setting mam_enabled, mam_default, mam_users_choose, mam_page_default, mam_page_max;

/* A row of the log. */
struct mam_message {
    int64_t id, sender, sender_entry, rcpt, rcpt_entry, flags;
    slice stanza;
};
/* Columns: id, sender, sender_entry, rcpt, rcpt_entry, flags, stanza. */
static inline struct mam_message mam_message_of(const struct store_batch *b, unsigned stmt,
                                                uint32_t row)
{
    return (struct mam_message){
        .id = store_int(b, stmt, row, 0),
        .sender = store_int(b, stmt, row, 1),
        .sender_entry = store_int(b, stmt, row, 2),
        .rcpt = store_int(b, stmt, row, 3),
        .rcpt_entry = store_int(b, stmt, row, 4),
        .flags = store_int(b, stmt, row, 5),
        .stanza = store_text(b, stmt, row, 6),
    };
}

/* mam_fulltext.c */
extern struct setting mam_fulltext;
extern struct store_stmt *const mam_fulltext_stmts[];
/* What to look for in the index; empty: there is no word in the text. */
slice fulltext_match(int64_t owner, slice text, struct arena *tmp);
enum fulltext_state { FULLTEXT_CURRENT, FULLTEXT_BEHIND };
typedef void fulltext_done_fn(void *arg, enum fulltext_state state);
/* Indexes what is committed now, and what this lane has submitted, then calls done; on the worker's
 * thread, later. */
void fulltext_catch_up(struct worker *w, uint64_t lane, fulltext_done_fn *done, void *arg);
void fulltext_kick(struct worker *w); /* something is being stored: it is indexed soon */
void fulltext_stop(struct worker *w); /* the worker has ended */
/* A batch that changes or removes messages says so, and takes each of them out of the index. */
void fulltext_edit(struct store_batch *b);
void fulltext_forget(struct store_batch *b, const struct mam_message *m, struct arena *tmp);

/* mam_expire.c */
extern struct setting mam_retention;
extern struct metric mam_expired;
extern struct log_area mam_log;
extern struct command mam_expire_command;
extern struct store_stmt *const mam_expire_stmts[];
void mam_expire_arm(struct worker *w);
void mam_expire_stop(struct worker *w);

/* mam_retract.c */
extern struct store_stmt *const mam_retract_stmts[];
stage_passage_fn mam_retract;

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
void mam_bind2_load(struct account *a, struct store_batch *b);
void mam_bind2_loaded(struct session *s, const struct store_batch *b, unsigned first,
                      struct buf *bound);
void mam_prefs_load(struct account *a, struct store_batch *b);
void mam_prefs_loaded(struct account *a, const struct store_batch *b, unsigned first);
void mam_prefs_unload(struct account *a);
void mam_prefs_remove(struct account *a, struct store_batch *b);
stage_archive_fn mam_prefs_archive;
extern struct store_stmt *const mam_prefs_stmts[];
