/* parts: the list of the optional parts of rooms (muc/room/part.h). */
#pragma once
#include "muc/room/part.h"

extern const struct room_part *const room_parts[]; /* NULL-terminated */
