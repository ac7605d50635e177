/* reload: the command `server reload`, which waits until main's thread has read the node file
 * again, and its alarms: the reload was refused, or changed keys need a restart. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;
struct command_call;
struct feature;
struct worker;

extern const struct feature reload_feature;

/* Reads the node file and the certificates again for a command that has changed one of them, and
 * ends its call: with this line, or with `changed` and why they do not apply. Both live as long as
 * the call. On the worker of the call. */
void reload_for(struct command_call *call, const char *done, const char *changed);
/* The same without a call that waits: something that certificates are loaded with has changed. */
void reload_soon(void);
/* The same for settings of TLS that have changed, which apply although the node file or a
 * certificate has a mistake: as settings_reload_fn. */
void reload_settings(struct worker *w, struct arena *arena,
                     void (*done)(void *arg, const char *refused), void *arg);
/* The main thread calls it before it reads the files, and then once the one below. */
void reload_begins(void);
/* After it has read the files: answers those that wait since before, and sets the alarms. With OK,
 * `text` names the keys that need a restart, or is empty. Otherwise it has the mistakes. `refused`:
 * why settings of TLS do not apply; empty: they do. */
void reload_ended(enum err e, slice text, slice refused);
/* The server ends: answers the commands that wait for a reload, and from now on each at once. */
void reload_given_up(void);
