/* answer: what a room answers to a stanza that it refuses, and to a request for a change. */
#pragma once
#include "base/err.h"
#include "home/router.h"

struct iq;
struct room;

/* Sends an error reply that names the room as its source ('by'), not the occupant. */
void room_error(struct room *r, const struct stanza *st, enum stanza_error e, slice text);
/* The same; takes over st. */
enum routed room_refuse(struct room *r, struct stanza *st, enum stanza_error e, slice text);
/* To a request for an occupant from a session that is none: `cancel`, as XEP-0410 §3.2 shows it to
 * clients that ask whether they are in the room; no other request would help. Takes over st. */
enum routed room_not_in(struct room *r, struct stanza *st);
/* Answers with policy-violation, to be repeated later. Takes over st. */
enum routed room_slow_down(struct room *r, struct stanza *st);
/* There is nothing more to do with st, which it takes over. */
enum routed room_handled(struct stanza *st);
/* Answers a request for a change with what became of it: the result of room_commit(). */
void room_answer(struct iq *iq, enum err e);
