/* life: how a room in memory ends: its row of operations as an actor (home/actor.h) beside those of
 * muc/service.c. */
#pragma once
#include "home/actor.h"

struct room;

bool room_in_use(const struct actor *a);
bool room_ends_unused(struct actor *a); /* an ad hoc room lives as long as somebody is in it */
bool room_may_unload(struct actor *a);
void room_unload(struct actor *a);
/* Empties a room in memory: all but what it is known by. */
void room_clear(struct room *r);
/* An ad hoc room whose last occupant left, or one that was destroyed: READY -> ABSENT. */
void room_end(struct room *r);
