/* setting: everything that an operator can set is a static row of the feature that owns it. The
 * parser, range checks, `musterctl get|set`, docs/config.md and the forms of ad-hoc commands are
 * made from the rows.
 *
 * Reading is an atomic load, on any thread. Only worker 0 writes, or the main thread while no
 * worker runs. Settings in the node file are locked: commands cannot change them. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdatomic.h>

enum setting_type { SET_BOOL, SET_INT, SET_BYTES, SET_MS, SET_CHOICE, SET_STRING };

#define SETTING_NONE (INT64_MAX >> 1) /* value of `none`: no limit; as `max`: no upper end */

struct setting {
    const char *name; /* "c2s.tls-required" */
    enum setting_type type;
    int64_t def, min, max;     /* ms, bytes, index into choices; SET_STRING: length in bytes */
    bool allow_none;           /* `none` is accepted: no limit */
    const char *def_text;      /* SET_STRING */
    bool (*check)(slice text); /* SET_STRING: whether the text has the form that `form` describes */
    const char *form;
    /* SET_STRING: bare JIDs of accounts, separated by spaces. Those of our domains must exist when
     * they are set, and one that is deleted is taken out. */
    bool accounts;
    bool local;  /* names a file of the host: only operators at the control socket may set it */
    bool secret; /* SET_STRING: shown as "(secret)", and not logged */
    const char *const *choices; /* SET_CHOICE: names, NULL-terminated */
    /* A row of the same type whose value this one must not exceed; NULL: none. It is not checked
     * for settings in the node file, so code that reads both must take the smaller. */
    const struct setting *not_above;
    const char *restart; /* NULL: applies at once; else the part that must be restarted */
    const char *unit;    /* for the docs: "stanzas"; NULL: the type says it */
    const char *doc;     /* one or two sentences */
    void (*changed)(const struct setting *); /* NULL, or called on the thread that wrote */

    _Atomic int64_t value;      /* set to def by setting_register() */
    _Atomic(const char *) text; /* SET_STRING: immutable; old texts are kept, changes are rare */
    bool locked;                /* fixed by the node file */
    struct setting *next;
};

static inline int64_t setting_int(const struct setting *s)
{
    return atomic_load_explicit(&s->value, memory_order_relaxed);
}
static inline bool setting_bool(const struct setting *s) { return setting_int(s) != 0; }
static inline const char *setting_text(const struct setting *s)
{
    return atomic_load_explicit(&s->text, memory_order_acquire);
}

void setting_register(struct setting *s); /* at start; sets the default */
struct setting *setting_find(slice name);
struct setting *setting_first(void); /* all rows by name */

/* Checks a text without setting it: "60s", "1500ms", "64KiB", "on", "none", "42". E_SYNTAX or
 * E_LIMIT with a sentence that names setting, found and allowed. Times and sizes are read by
 * base/units.h. A time without a unit means seconds, or milliseconds for settings that count these.
 * Days may be written as a time. */
NODISCARD enum err setting_check(const struct setting *s, slice text, struct why *why);
/* Whether all rows would still agree (not_above) after these changes, which have passed
 * setting_check(). E_CONFLICT with a sentence. Without changes it checks the current values. */
struct setting_change {
    const struct setting *setting;
    slice value; /* ptr NULL: its default */
};
NODISCARD enum err setting_agree(const struct setting_change *change, size_t count,
                                 struct why *why);
/* Sets the value and calls `changed` if it differs. Ignores `locked`: the loader of the node file
 * sets locked rows, other callers must refuse them first. */
NODISCARD enum err setting_set(struct setting *s, slice text, struct why *why);
void setting_reset(struct setting *s); /* back to the default; calls `changed` like setting_set() */
/* The value as text in its shortest form, "none" included, as setting_check() accepts it (except
 * secrets, which are not shown); returns the length (at most cap - 1). */
size_t setting_format(const struct setting *s, char *out, size_t cap);
/* What is allowed, for messages and docs: "30s to 90s", "1 to 64, or none", "on or off",
 * "one of: a, b". */
size_t setting_range(const struct setting *s, char *out, size_t cap);
