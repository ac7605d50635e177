/* administrators: administrators of group chat, who are owners of every room (commands
 * `room-admin …`). The list is in the database; a set of its addresses is in memory for all
 * workers, replaced as a whole when the list changes. Rooms in which somebody of it is hear of the
 * change at once.
 *
 * Limit: ADMINISTRATORS_MAX of them. */
#pragma once
#include "muc/room/part.h"

enum { ADMINISTRATORS_MAX = 1000, ADMINISTRATOR_TEXT_MAX = 1000 };

extern const struct room_part administrators_part;
