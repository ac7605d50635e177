/* subject: what a room is about (XEP-0045 §8.1), in memory and on its way to the disk. While the
 * database is away it is tried again; the stanza is acknowledged when the subject is stored.
 *
 * Limit: SUBJECTS_MAX of one room wait, then room_subject_waits(). */
#pragma once
#include "base/slice.h"
#include "home/router.h"

struct room;
struct seat;

/* Sets the subject to this message: it is sent to all who enter from now on. ROUTE_PENDING:
 * ticket_done(origin) follows when the message is stored, however long that takes, or when it is
 * certain that it cannot be stored. Later records of the room are on the same lane behind it. */
enum routed room_subject_set(struct room *r, struct stanza *st, struct origin origin);
bool room_subject_waits(const struct room *r); /* no more can be set now: too many are not stored */
/* Removes the subject and returns true if it is the message with this archive id, and of this
 * author (XEP-0421 id; empty: any). */
bool room_subject_bury(struct room *r, uint64_t id, slice occupant);
void room_subject_store(struct room *r);                      /* the room is stored from now on */
void room_subject_drop(struct room *r);                       /* memory only: the room has ended */
void room_send_subject(struct room *r, const struct seat *s); /* to one that has entered */
