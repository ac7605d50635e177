#include "muc/room/metrics.h"
#include "core/feature.h"
#include "muc/muc.h"

struct metric rooms_metric = {
    .name = "muster_rooms",
    .kind = METRIC_GAUGE,
    .history = true,
    .help = "Rooms of all kinds: persistent ones, and ad hoc ones that somebody is in.",
};
struct metric rooms_persistent_metric = {
    .name = "muster_rooms_persistent",
    .kind = METRIC_GAUGE,
    .help = "Persistent rooms.",
};
struct metric rooms_loaded_metric = {
    .name = "muster_rooms_loaded",
    .kind = METRIC_GAUGE,
    .help = "Rooms in memory, including recently requested names of rooms that do not exist.",
};
struct metric room_occupants_metric = {
    .name = "muster_room_occupants",
    .kind = METRIC_GAUGE,
    .history = true,
    .help = "Occupants of all rooms; several sessions that share a nickname are one.",
};
struct metric room_joins_metric = {
    .name = "muster_room_joins",
    .kind = METRIC_COUNTER,
    .help = "Sessions that entered a room.",
};
struct metric room_joins_refused_metric = {
    .name = "muster_room_joins_refused",
    .kind = METRIC_COUNTER,
    .help = "Requests to enter a room, or to change the nickname in it, that were refused.",
};

const struct feature muc_metrics_feature = {
    .name = "muc_metrics",
    .metrics = (struct metric *const[]){ &rooms_metric, &rooms_persistent_metric,
                                         &rooms_loaded_metric, &room_occupants_metric,
                                         &room_joins_metric, &room_joins_refused_metric, NULL },
};
