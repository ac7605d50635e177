/* health: whether the process turns, for those who watch it. Each worker sets a stamp once a
 * second; one whose stamp is older than HEALTH_STALL_MS stands still. /healthz and the watchdog of
 * systemd ask that; /readyz also whether the node takes clients and has its database. */
#pragma once
#include <stdbool.h>

struct feature;
struct edge;

enum { HEALTH_BEAT_MS = 1000, HEALTH_STALL_MS = 10000 };

bool health_turns(void); /* no worker of this process stands still. Any thread */
/* Called on a worker once a second while health_turns(): for the watchdog. Set before workers run;
 * NULL: nobody. */
void health_on_beat(void (*beat)(void));

extern const struct feature health_feature;
extern const struct edge health_edge; /* whether clients are let in; no `own` */
