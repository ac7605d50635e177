/* settings_shown: how an operator reads the value of a setting, the author of a change and its
 * time. Pure. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct arena;
struct command_call;
struct setting;

/* A value of the table as an operator reads it; ptr NULL: the default. */
slice settings_show(const struct setting *s, slice value, struct arena *tmp);
const char *settings_who(slice actor, struct arena *tmp);  /* "root", "alice@example.org" */
const char *settings_from(slice actor, struct arena *tmp); /* "control", "xmpp/phone" */
/* A time of the wall clock. */
const char *settings_stamp_text(int64_t us, struct arena *tmp);
void settings_stamp(struct command_call *call, const char *key, int64_t us);
