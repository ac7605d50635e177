/* absent: members and administrators who are not in the room, for what shows them again. */
#pragma once
#include "base/slice.h"

struct room;
struct seat;
struct stanza;

/* How this seat is shown a member who is absent, by nickname; NULL: it is shown no such member.
 * Without `to`; the caller has the reference. */
struct stanza *absent_presence(const struct room *r, const struct seat *to, slice nick);
