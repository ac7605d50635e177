/* settings: keeps what `musterctl set` changes in the table setting(name, value), and the commands
 * around it: set, get, config show, config reset.
 *
 * Three sources, the first that has a value wins: the node file (then the setting is locked), the
 * database, the row's default. Everything here runs on worker 0, or on main's thread while no
 * worker runs; so settings have one writer. */
#pragma once
#include "base/err.h"
#include "base/setting.h"

struct feature;
struct store;

/* A setting that the node file fixes; the value passed setting_check(). */
struct setting_fixed {
    struct setting *setting;
    slice value;
};

extern const struct feature settings_feature;

/* Reads the table, before workers run. A value that is not allowed any more and a name that is
 * unknown are logged and ignored. */
NODISCARD enum err settings_load(struct store *store, struct why *why);
/* Makes exactly these the locked ones; settings that are locked no longer go back to the value in
 * the database, or to their default. */
void settings_fix(const struct setting_fixed *fixed, size_t count);
