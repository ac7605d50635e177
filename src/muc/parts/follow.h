/* follow: followers are members who registered for the messages that are sent while they are not in
 * the room (XEP-0045 §7.10, docs/rooms.md). They get these on all their sessions, with the number
 * of messages that they have not seen, and their devices that are away are told. Followers are
 * accounts of this server only.
 *
 * Messages count as read for a follower in the room, until the follower's client sends a marker
 * (XEP-0333); from then on only markers count. Followers have seen their own messages, and all
 * before these.
 *
 * The numbers are stored when a follower leaves, and when the room is unloaded or the node stops.
 * Limits: as many followers as affiliations; UNREAD_MAX; ROOMS_MAX rooms in an answer. */
#pragma once
#include "base/slice.h"

struct affiliate;
struct iq;
struct room;
struct stanza;
struct store_stmt;

extern struct store_stmt room_unread_put, room_unread_list, room_ids_beyond; /* for room_schema */
/* Takes the stored numbers of a follower. */
void follower_loaded(struct affiliate *a, int64_t unread, int64_t upto);
/* Then counts the messages since the numbers were stored. actor_loaded() follows, perhaps later. */
void followers_loaded(struct room *r);
void followers_store(struct room *r); /* the numbers that have changed */

/* Sends the message of `speaker` (bare JID) to followers who are not in the room, and counts it as
 * unread. */
void room_tell_followers(struct room *r, struct stanza *st, slice speaker);
/* Notes a marker (XEP-0333), whose sender `bare` may be in the room or not. false: that is no
 * follower, or this is no marker. */
bool room_marked(struct room *r, slice bare, const struct stanza *st);
/* An affiliate has one session more in the room, or one less; nothing happens if it is none. */
void affiliate_seated(struct room *r, slice bare);
void affiliate_unseated(struct room *r, slice bare);
/* A change may have made this user a follower: its numbers are stored from now on. */
void follower_begins(struct room *r, slice bare);
/* After a planned restart: the number of a follower who is in the room. */
void follower_back(struct room *r, slice bare, uint32_t unread);
/* Answers a user who asks for the numbers of all rooms. */
void room_unread_get(struct iq *iq);
