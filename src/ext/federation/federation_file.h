/* federation_file: the blocklist file of a node (setting federation.blocklist). Worker 0 has it
 * looked at every FEDERATION_LOOK_MS by a helper thread, and read again when its times, size or
 * number have changed. A file with a fault raises an alarm, and the patterns that were read last
 * stay; if none have been read before, another alarm says so. */
#pragma once
#include "base/alarm.h"
#include "base/setting.h"

struct worker;

enum { FEDERATION_LOOK_MS = 2000 };

extern struct setting federation_blocklist;
extern struct alarm federation_blocklist_alarm, federation_blocklist_unread_alarm;

struct federation_watch;
/* On worker 0 before its loop runs: the file is read at once. *at is what stop() takes. */
void federation_file_start(struct worker *w, struct federation_watch **at);
void federation_file_stop(struct federation_watch **at);
