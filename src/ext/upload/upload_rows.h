/* upload_rows: the tables of uploads, the signatures of slots, and what names may be. */
#pragma once
#include "base/err.h"
#include "ext/upload/upload_private.h"
#include "store/store.h"

struct arena;
struct buf;
struct why;

extern struct store_stmt upload_owner, upload_put, upload_ref, upload_within, upload_active,
    upload_count, upload_find, upload_list, upload_was, upload_unref, upload_delete, upload_expired,
    upload_orphans, upload_orphan, upload_forget, upload_unref_all, upload_delete_all, upload_above,
    upload_larger;
extern const struct store_schema upload_schema;

/* The query of the URL of a slot; and back: false if it was not signed by us for this id, name and
 * type. Time is not looked at. */
void upload_sign(struct buf *out, const struct upload_slot *slot);
bool upload_verify(struct upload_slot *slot, slice query, struct arena *tmp);
/* Once, before workers run. Without the key no slot is given and none is accepted. */
NODISCARD enum err upload_key_load(const char *path, struct why *why);
bool upload_has_key(void);

bool upload_name_ok(slice name); /* no path, no control characters, UTF-8 */
void upload_url_path(struct buf *out, slice id, slice name); /* "/upload/ID/NAME" */
