/* store: rooms in the database: a row each with the configuration as text, and a row for each
 * affiliation. Writes are on the lane of the room's id. It counts the rooms of the node as well. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "store/store.h"

struct affiliation_edit;
struct room;
struct room_config;
struct worker;

extern const struct store_schema room_schema;
/* Ends a statement that inserts for a room $1, which may have ended while the statement waited. */
#define ROOM_EXISTS " WHERE EXISTS (SELECT 1 FROM room WHERE id = $1)"

void room_load(struct room *r); /* actor_loaded() follows, later */
/* A part reads more while the room is loaded (room_part.catch_up); and has read it. */
void room_read_begin(struct room *r);
void room_read_end(struct room *r);
/* JID and name of the stored rooms of a domain that are listed. */
void rooms_read_listed(struct worker *w, slice domain, int64_t max, store_done_fn *done, void *arg);

/* Whether one room more may exist (muc.rooms-max). It counts from here, also for its creator, until
 * rooms_release(). Any worker. */
bool rooms_reserve(slice creator, struct why *why);
void rooms_release(slice creator);
void rooms_count_stored(struct worker *w); /* at start, once */

/* Statements of a change: of a room that becomes persistent, of one that is, of its end. */
void room_store_all(struct store_batch *b, const struct room *r, const struct room_config *c);
void room_store_config(struct store_batch *b, const struct room *r, const struct room_config *c);
void room_store_edit(struct store_batch *b, const struct room *r, const struct affiliation_edit *e);
void room_store_remove(struct store_batch *b, const struct room *r);
/* A room has become persistent: stores what was set beside that change while it was under way
 * (room.beside), such as the subject. */
void room_store_beside(struct room *r);
extern struct store_stmt room_subject_put; /* id of the room, text */
