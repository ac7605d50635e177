/* say: messages to a room (XEP-0045 §7.4, §7.5, §8.1) and to its occupants, and the answers of a
 * room that refuses a stanza. */
#pragma once
#include "base/slice.h"
#include "home/router.h"

struct buf;
struct metric;
struct room;
struct seat;

extern struct metric *const room_say_metrics[];
/* A message to a READY room, or to one of its occupants. Takes over st. */
enum routed room_message(struct room *r, struct stanza *st, struct origin origin);
/* Appends the stanza-id (XEP-0359) of a message of the room. */
void stanza_id_write(struct buf *out, const struct room *r, uint64_t id);
void room_send_subject(struct room *r, const struct seat *s); /* to one that has entered */
/* Whether this error says that its sender does not exist (any more): §18.1. */
bool room_error_is_gone(const struct stanza *st);
/* An error from this seat (NULL: from nobody who is here) to what the room sent to it: the session
 * may be gone. */
void room_bounced(struct room *r, struct seat *s, const struct stanza *st);
/* Sends an error reply that names the room as its source ('by'), not the occupant. */
void room_error(struct room *r, const struct stanza *st, enum stanza_error e, slice text);
/* The same; takes over st. */
enum routed room_refuse(struct room *r, struct stanza *st, enum stanza_error e, slice text);
