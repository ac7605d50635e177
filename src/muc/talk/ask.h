/* ask: messages to the room that are not for all who are in it: what parts take, and answers to
 * forms that the room has sent (XEP-0045 §8.6, §9.9). */
#pragma once
#include "home/router.h"

struct room;
struct seat;

/* Handles such a message, of this seat (NULL: its sender is not in the room). Takes over st. */
enum routed room_asked(struct room *r, struct seat *s, struct stanza *st, struct origin origin);
