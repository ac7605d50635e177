/* roster_account: the roster (presence/roster.h) of an account at its home: loaded, stored, and
 * pushed to the sessions that know it (RFC 6121 §2). */
#pragma once
#include "presence/roster.h"

struct feature;
struct setting;

void roster_delta_store(struct store_batch *b, int64_t owner, const struct roster_delta *d);
/* Several whose versions follow each other: the items, and the versions of the last. */
void roster_item_store(struct store_batch *b, int64_t owner, const struct roster_delta *d);
void roster_versions_store(struct store_batch *b, int64_t owner, const struct roster_delta *d);

/* Reads the roster of an account that is not loaded, such as a disabled one, at its home; an
 * address without account has none. fn runs on the same worker; r lives until it returns. */
typedef void roster_fn(void *arg, enum err e, const struct roster *r);
void roster_read(struct worker *w, slice bare, roster_fn *fn, void *arg);

/* All items of an account, as they are stored: adds the statement that reads them; then a row of
 * it. false: it is damaged. */
void roster_rows_read(struct store_batch *b, int64_t owner);
bool roster_row(const struct store_batch *b, unsigned stmt, uint32_t row, struct roster_delta *d);

/* To an account that is READY: applies and, if clients see it, pushes to its interested sessions
 * (§2.1.6). */
void roster_commit(struct account *a, const struct roster_delta *d, enum roster_view view);
/* The same of a contact by a group (account/shared.h), which has changed or is gone. */
void roster_push_shared(struct account *a, slice contact);
extern struct setting roster_contacts_max, roster_watchers_max, roster_name_bytes,
    roster_groups_max;
extern const struct feature roster_feature;
