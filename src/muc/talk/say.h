/* say: messages to a room (XEP-0045 §7.4, §7.5, §8.1) and to its occupants. */
#pragma once
#include "base/slice.h"
#include "home/router.h"

struct metric;
struct room;

extern struct metric *const room_say_metrics[];
/* A message to a READY room, or to one of its occupants. Takes over st. */
enum routed room_message(struct room *r, struct stanza *st, struct origin origin);
