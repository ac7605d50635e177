/* settings: keeps what `musterctl set` changes in the table setting(name, value), and the commands
 * around it: set, get, config show, config reset.
 *
 * The first of three sources that has a value wins: the node file (then the setting is locked), the
 * database, the default of the row. Everything here runs at the home of the duty, or on the main
 * thread while no worker runs, so settings have one writer. */
#pragma once
#include "base/err.h"
#include "base/setting.h"

struct arena;
struct feature;
struct store;
struct worker;

enum { SETTING_BYTES_MAX = (32 << 10) + 1 }; /* a value is shorter; no row allows more */

/* A setting that the node file locks, for all domains or for one. The value has passed
 * setting_check(). */
struct setting_fixed {
    struct setting *setting;
    slice value;
    slice domain; /* empty: all */
};

extern const struct feature settings_feature;

/* Reads the table, before workers run. Unknown names and values that are no longer allowed are
 * logged and ignored. */
NODISCARD enum err settings_load(struct store *store, struct why *why);
/* Who makes the main thread read the certificates again, for rows that say `reloads`: it calls
 * `done` on that worker, once it is over, with a sentence if the settings do not apply. Before
 * workers run; without it nothing waits. */
typedef void settings_reload_fn(struct worker *w, struct arena *arena,
                                void (*done)(void *arg, const char *refused), void *arg);
void settings_reload_by(settings_reload_fn *reload);
/* Locks exactly these settings; those of a domain that is not served yet are left out. Others that
 * were locked get their value in the database, or their default. */
void settings_fix(const struct setting_fixed *fixed, size_t count);
