/* create: a room comes to be. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct room;

/* ABSENT -> READY: a new room by the settings, locked, owned by `creator` (bare JID). E_LIMIT:
 * there are too many. */
enum err room_create(struct room *r, slice creator, struct why *why);
