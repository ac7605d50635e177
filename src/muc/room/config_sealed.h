/* config_sealed: the configuration of a room as it is in the database: its password is sealed
 * (auth/seal.h). Without the key of the node the password is not stored, and nobody enters by a
 * password until an owner sets another. */
#pragma once
#include "base/slice.h"

struct arena;
struct buf;
struct room_config;

/* As room_config_store() and room_config_load(), with a sealed password. `jid` is the room's. */
void room_config_seal(struct buf *out, const struct room_config *c, slice jid, struct arena *tmp);
void room_config_unseal(struct room_config *c, slice stored, slice jid, struct arena *tmp);
/* Appends the stored configuration with a password sealed for another address of the room; false:
 * there is none, or it cannot be opened. */
bool room_config_reseal(struct buf *out, slice stored, slice was, slice is, struct arena *tmp);
