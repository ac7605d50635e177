/* setting: everything that an operator can set is a static row of the feature that owns it. The
 * parser, range checks, `musterctl get|set`, docs/config.md and the forms of ad-hoc commands are
 * made from the rows.
 *
 * Reading is an atomic load, on any thread. Only worker 0 writes, or the main thread while no
 * worker runs. Settings in the node file are locked: commands cannot change them. */
#pragma once
#include "base/param.h"
#include <stdatomic.h>

#define SETTING_NONE PARAM_NONE

struct setting {
    union {
        struct param param;
        struct {
            PARAM_MEMBERS; /* "c2s.tls-required"; `def` is the default of numbers */
        };
    };
    const char *def_text; /* the default of texts */
    const char *restart;  /* NULL: applies at once; else the part that must be restarted */
    void (*changed)(const struct setting *); /* NULL, or called on the thread that wrote */

    _Atomic int64_t value;      /* set to def by setting_register() */
    _Atomic(const char *) text; /* of texts: immutable; old texts are kept, changes are rare */
    bool locked;                /* fixed by the node file */
    struct setting *next;
};

static inline bool setting_is_text(const struct setting *s) { return param_is_text(&s->param); }
/* It names a file of the host: only operators at the control socket may set it. */
static inline bool setting_is_local(const struct setting *s) { return s->type == PARAM_PATH; }
/* It is shown as "(secret)", and not logged. */
static inline bool setting_is_secret(const struct setting *s) { return s->type == PARAM_SECRET; }
/* It lists accounts. Those of our domains must exist when they are set, and one that is deleted is
 * taken out. */
static inline bool setting_has_accounts(const struct setting *s) { return s->type == PARAM_BARE; }

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

/* Checks a text without setting it: param_check(). */
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
/* The allowed values, see param_range(). */
size_t setting_range(const struct setting *s, char *out, size_t cap);
