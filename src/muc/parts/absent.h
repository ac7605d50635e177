/* absent: shows members and administrators who are not in the room to those who are, if the room
 * wants that (muster#roomconfig_showabsent). Status 102 and 103 of XEP-0045 §15.6 tell when this
 * begins and ends. They are shown by unavailable presence with their affiliation and no role. Their
 * nickname is the one that they have registered, or, where everybody sees addresses, the localpart
 * of their address.
 *
 * Limit: in a room with more than ABSENT_MAX affiliations no absent person is shown. */
#pragma once

struct room;
struct seat;

/* Shows all of them to one session that has entered; to NULL: to all occupants. */
void room_show_absent(struct room *r, const struct seat *to);
