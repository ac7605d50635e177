/* parts: the optional parts of rooms that have rows (muc/room/part.h), for muc/parts.c, which is
 * the only list. Sections are of XEP-0045. */
#pragma once
#include "muc/room/part.h"

extern const struct room_part remote_part;         /* occupants of servers that are lost */
extern const struct room_part absent_part;         /* members who are not here are seen */
extern const struct room_part administrators_part; /* owners of all rooms */
extern const struct room_part bookmark_part;       /* bookmarks of those who registered */
extern const struct room_part cleanup_part;        /* the day of the last message */
extern const struct room_part follow_part;         /* members who hear while they are away */
extern const struct room_part hats_part;           /* XEP-0317 */
extern const struct room_part invite_part;         /* §7.8 */
extern const struct room_part joins_part;          /* who entered and left, for operators */
extern const struct room_part mention_part;        /* push when mentioned */
extern const struct room_part missed_part;         /* presence that was not sent is, later */
extern const struct room_part moderate_part;       /* XEP-0424, XEP-0425 */
extern const struct room_part query_part;          /* XEP-0313 */
extern const struct room_part register_part;       /* §7.10 */
extern const struct room_part relay_part;          /* IQs between occupants */
extern const struct room_part removed_part;        /* who was removed is told, later */
extern const struct room_part vcard_part;          /* XEP-0486 */
extern const struct room_part voice_request_part;  /* §7.13 */

extern const struct room_part *const room_parts[]; /* NULL-terminated */
