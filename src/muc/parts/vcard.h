/* vcard: the card of a room with its avatar (XEP-0486): owners set it as vcard-temp, everybody
 * reads it, disco#info tells the hashes of its photos, and those who are in hear of a change (104).
 * The card of a stored room is in the database only; that of an ad hoc room is in memory.
 *
 * Limit: VCARD_BYTES_MAX of a card, VCARD_PHOTOS_MAX photos. */
#pragma once
#include "base/slice.h"

struct arena;
struct disco_info;
struct room;
struct store_batch;
struct store_stmt;

extern struct store_stmt room_vcard_hashes; /* by JID of the room */
extern struct store_stmt room_vcard_get;    /* by id of the room */
void room_vcard_loaded(struct room *r, slice hashes);
void room_vcard_store(struct store_batch *b, const struct room *r);
void room_vcard_remove(struct store_batch *b, const struct room *r);
void room_vcard_free(struct room *r);
void room_vcard_disco(struct disco_info *d, const struct room *r);
/* For a room that is imported: whether this can be a card; its row. */
bool room_vcard_is_right(slice card, struct arena *tmp);
void room_vcard_put(struct store_batch *b, int64_t room, slice card, struct arena *tmp);
