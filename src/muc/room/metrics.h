/* metrics: what rooms count beside messages (muc/talk/say.c, muc/archive/queue.c). */
#pragma once

struct metric;

extern struct metric rooms_metric, rooms_persistent_metric, rooms_loaded_metric,
    room_occupants_metric, room_joins_metric, room_joins_refused_metric;
