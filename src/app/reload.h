/* reload: the command `server reload`, which waits until main's thread has read the node file
 * again, and the alarms of that: refused, or keys that need a restart. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct feature;

extern const struct feature reload_feature;

/* On main's thread, when it has read the files: what became of it, for all who have asked and for
 * the alarm. OK: `text` names the keys that need a restart, or is empty. Else the mistakes. */
void reload_ended(enum err e, slice text);
/* No reload comes any more: the server ends. */
void reload_given_up(void);
