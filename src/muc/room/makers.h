/* makers: counts the rooms of each user who made them (room.creator) on this node, so that one
 * account cannot use up muc.rooms-max, and the bytes that those take that are loaded. Any worker:
 * rooms are made and end seldom, and histories are weighed in steps, so a lock guards the table.
 * Stored rooms are counted at the start. */
#pragma once
#include "base/slice.h"

struct node;
struct room;
struct store_stmt;
struct why;

extern struct store_stmt room_makers;          /* JID and number, of rooms made before a time */
void room_makers_count(slice jid, int64_t by); /* so many rooms more, or fewer */
/* Whether this bare JID may make rooms at all (muc.create, muc.create-home). Any worker. */
bool muc_may_create(const struct node *n, slice bare);
/* Whether the user may make one room more (muc.rooms-per-user). */
bool room_maker_may(slice jid, struct why *why);
/* After the list of affiliations or the card has changed: counts it for the user who made the room.
 */
void room_makers_weigh(struct room *r);
/* Bytes of the lists of affiliations and the cards in memory of all loaded rooms of the user who
 * made this room; of this room alone if an operator or an administrator made it. */
int64_t room_makers_bytes(const struct room *r);
/* After the history has changed: drops the oldest messages, down to HISTORY_SMALL, if the rooms of
 * that user have more of them than muc.history-bytes. */
void room_makers_weigh_history(struct room *r);
void room_makers_forget(void); /* memory only: the node has ended */
