/* guess: counts wrong passwords for a room (XEP-0045 §7.2.6), for each user and for the room. A
 * user with too many has to wait, even with the right password, since guessing would find it
 * otherwise. Counts decrease at an even rate. They are kept with the room, which stays in memory
 * while there are any.
 *
 * Limit: GUESSERS_MAX users; the oldest is forgotten first, and the room's own count stays. */
#pragma once
#include "base/slice.h"

struct room;

void room_guessed(struct room *r, slice bare);                /* a wrong password of this user */
bool room_guesses_too_fast(const struct room *r, slice bare); /* the user has to wait */
bool room_was_guessed(const struct room *r);                  /* the room stays in memory */
