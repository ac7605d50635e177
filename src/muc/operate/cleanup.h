/* cleanup: destroys unused rooms. A room is unused if it is persistent and empty, and its last
 * message is older than a number of days. A room without messages counts from the day when it was
 * made.
 *
 * The table room_spoken holds the day of each room's last message. The archive cannot tell: its
 * messages may have been deleted, and some rooms are not archived. The row is written with the
 * first message of a day.
 *
 * A pass looks at all rooms, one after the other, each at its home. It begins and ends at
 * the home of DUTY_ROOMS. The command `room cleanup` starts one; muc.cleanup-days starts one every
 * hour. Only one runs at a time.
 *
 * Limit: a pass holds the addresses of PAGE_ROWS rooms at a time. */
#pragma once
#include "muc/room/part.h"

extern const struct room_part cleanup_part;
