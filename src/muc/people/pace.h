/* pace: how fast an occupant may speak and ask (muc.message-rate, muc.message-burst): a bucket of
 * thousandths of a message. Messages beyond it are refused, with `wait`. Presence beyond it that
 * only changes the availability is shown some time later, the last one alone: a client does not
 * send it again, and others must not be left with an old one. */
#pragma once
#include "base/slice.h"
#include "home/router.h"

struct occupant;
struct room;

/* Each counts one more; true: too many. */
bool room_too_fast(struct room *r, struct occupant *o);      /* a message */
bool room_asks_too_fast(struct room *r, struct occupant *o); /* a request to another occupant */
bool room_outsiders_too_fast(struct room *r);                /* a message from outside the room */
/* An occupant keeps what it has used up when it leaves and comes back. */
void room_debt_keep(struct room *r, struct occupant *o);
void room_debt_take(struct room *r, struct occupant *o);
bool room_returns_too_fast(const struct room *r, slice bare); /* it came and went too often */
/* Shows another availability, at once or, if there are too many, later. */
void room_show_presence(struct room *r, struct occupant *o);
