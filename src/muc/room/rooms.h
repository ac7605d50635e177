/* rooms: the rooms of a worker: found by JID, loaded when somebody asks, unloaded when nobody does.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "muc/room/room.h"

struct host;
struct iq;
struct node;
struct worker;

/* Functions that wait for a room: they hold little, a presence or a command of an operator. After a
 * planned restart each seat comes back by one; those beyond are turned away. */
enum { ROOM_CALLS_MAX = 1 << 17 };

#define MUC_LABEL "conference" /* of the service: conference.<domain> */

extern unsigned rooms_slot;                      /* of workers */
void rooms_start(const struct actor_kind *kind); /* how they are loaded, and all else */
void rooms_stop(struct worker *w);

/* The room of this bare JID, loaded or not. If it is not in memory, it begins to load. */
struct room *room_get(struct worker *w, const struct host *h, slice jid);
struct room *room_find(const struct worker *w, slice jid); /* NULL: not READY */
/* The room that a request to it (IQ_TO_ROOM) is for: such rules get only requests to rooms that are
 * READY. */
struct room *room_of_iq(const struct iq *iq);
static inline void room_pin(struct room *r) { actor_pin(&r->actor); }
static inline void room_unpin(struct room *r) { actor_unpin(&r->actor); }
/* Whether rooms can have this bare JID: it is at the host of rooms, and has a localpart. */
bool rooms_serve(const struct node *n, slice jid);
/* Runs fn when the room is READY or ABSENT, in order with its stanzas. E_DOWN: it was not read.
 * E_LIMIT, at once: too many functions wait for it. */
typedef void room_fn(struct room *r, enum err e, void *arg);
void room_with(struct worker *w, slice jid, room_fn *fn, void *arg);
/* The same for a room that is being read, however many wait: what must not be lost. */
void room_when_loaded(struct room *r, room_fn *fn, void *arg);
/* All READY rooms of a worker. */
typedef void room_each_fn(struct room *r, void *arg);
void rooms_each(struct worker *w, room_each_fn *fn, void *arg);
void rooms_each_loading(struct worker *w, room_each_fn *fn, void *arg);

int64_t room_new_id(void); /* random, from ROOM_ID_MIN on */
/* Whether group chat is on, and the domain of the room is one of ours. */
bool room_is_served(const struct room *r);
