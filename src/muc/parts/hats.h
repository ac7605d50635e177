/* hats: titles of users in a room (XEP-0317): a URI and a text, which administrators of the room
 * give and take with the commands of §3.5 and §3.6. They are sent in the user's presence. A hat
 * belongs to a bare JID, in the room or not, and is stored with a persistent room. Owners define
 * the hats to choose from (§3.2, §3.3), which are stored without an address. All who may enter can
 * list these. Colours (hats#hue) are not kept.
 *
 * Limits: ROOM_HATS_MAX in a room, HATS_WORN_MAX of one person, HATS_DEFINED_MAX to choose from,
 * HAT_TEXT_MAX bytes a URI or title. */
#pragma once
#include "base/slice.h"

struct arena;
struct buf;
struct disco_info;
struct room;
struct stanza;
struct store_batch;
struct store_stmt;

enum { ROOM_HATS_MAX = 1000 };

extern struct store_stmt room_hats_get; /* by JID of the room */
/* Takes the hats that room_hats_get, statement `at` of the batch, has read. */
void room_hats_loaded(struct room *r, const struct store_batch *b, unsigned at);
void room_hats_store(struct store_batch *b, const struct room *r);
void room_hats_remove(struct store_batch *b, const struct room *r);
void room_hats_forget(struct room *r, slice bare); /* memory only: the account is deleted */
void room_hats_free(struct room *r);
void room_hats_disco(struct disco_info *d, const struct room *r, struct arena *tmp);
/* Append the hats of this person, for presence; the commands that the sender of st may use, for
 * disco#items. */
void room_hats_write(struct buf *out, const struct room *r, slice bare);
void room_hats_items(struct buf *out, const struct room *r, const struct stanza *st);

/* For rooms that are exported and imported: all hats; whether this can be a hat; its row. */
typedef void room_hat_fn(slice jid, slice uri, slice title, void *arg);
void room_hats_each(const struct room *r, room_hat_fn *fn, void *arg);
bool room_hat_is_right(slice uri, slice title);
void room_hat_store(struct store_batch *b, int64_t room, slice jid, slice uri, slice title);
