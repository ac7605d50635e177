/* lock: a new room is closed to others until its owner has configured it (XEP-0045 §10.1.3).
 * Clients without support for configuration would never open it. So it opens as it is when an owner
 * speaks in it, or after muc.lock-timeout if an owner is in it. If no owner is in it by then, it
 * ends. */
#pragma once

struct room;

/* Locks a new room, for muc.lock-timeout at most. */
void room_lock(struct room *r);
/* Opens a locked room to others as it is configured now, persistent if the configuration says so.
 * It opens later if the room has to be stored first. A room that is not locked stays as it is. */
void room_open(struct room *r);
