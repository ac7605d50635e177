/* voice: in a moderated room, a user who comes back has the voice that a moderator gave or took
 * (XEP-0045 §5.1). Otherwise each lost connection would undo it, and a silenced user would only
 * have to enter again. Kept with the room while it is in memory, for the last VOICES_MAX who left
 * with a voice of that kind. */
#pragma once

struct occupant;
struct room;

void room_voice_keep(struct room *r, const struct occupant *o); /* it leaves */
void room_voice_take(struct room *r, struct occupant *o);       /* it is back */
