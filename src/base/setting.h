/* setting: everything that an operator can set is a static row of the feature that owns it. The
 * parser, range checks, `musterctl get|set`, docs/config.md and the forms of ad-hoc commands are
 * made from the rows.
 *
 * Reading is an atomic load, on any thread. Only the home of the duty `settings` writes, or the
 * main thread while no worker runs. Settings in the node file are locked: commands cannot change
 * them.
 *
 * A row of scope domain has one more row for each domain of the node, "NAME@DOMAIN". It has no
 * value at first: then the value for all domains applies. */
#pragma once
#include "base/param.h"
#include <stdatomic.h>

#define SETTING_NONE PARAM_NONE

struct store_stmt;
struct worker;

/* How far one value reaches. */
enum setting_scope {
    SCOPE_UNSAID,  /* a row must say it */
    SCOPE_CLUSTER, /* all nodes have the same. So have limits for one address or one user, though
                    * each node may count for itself */
    SCOPE_NODE,    /* it speaks of the machine: each node may have its own */
    SCOPE_DOMAIN,  /* it speaks of the users of a domain: each may have its own */
    SCOPES
};

/* How many things are above a new limit, counted in the database for `musterctl config diff` and
 * `config apply`. */
struct setting_impact {
    struct store_stmt *stmt; /* of the owner's schema: gives one number; $1 is the new value */
    const char *what;        /* "users with more contacts" */
    int64_t unit_us;         /* the value is an age in it, and $1 the time of what is as old */
    /* They are deleted when it applies, or later because of it: that must be accepted. So must
     * each lower limit that deletes data, except where it goes back to its sender (s2s.keep-for),
     * or serves only the limit itself (admin.password-history, fast.token-lifetime). */
    bool deletes;
};

struct setting {
    union {
        struct param param;
        struct {
            PARAM_MEMBERS; /* "c2s.tls-required"; `def` is the default of numbers */
        };
    };
    const char *def_text; /* the default of texts */
    enum setting_scope scope;
    const char *restart; /* NULL: applies at once; else the part that must be restarted */
    const struct setting_impact *impact; /* NULL: nothing that could be counted */
    /* The secret that is sent to what this one names: another value clears it, unless the same
     * change gives it again. So who may change settings does not send it elsewhere. NULL: none. */
    struct setting *secret;
    bool told;  /* what users are told: the log has its length instead */
    bool local; /* setting_is_local() */
    /* Called on each worker after a change, soon (home/setting_news.h); for several changes in a
     * row perhaps once. Not before workers run: their start reads the value. NULL: nothing to do.
     */
    void (*changed)(struct worker *w, const struct setting *s);
    /* `changed` only begins it: it applies when the main thread has read the certificates again,
     * for which a change waits (settings_reload_by()). */
    bool reloads;

    _Atomic uint32_t changed_at; /* setting_changes() after its last change; 0: none yet */
    _Atomic int64_t value;       /* set to def by setting_register() */
    _Atomic(const char *) text;  /* of texts: immutable; old texts are kept, changes are rare */
    bool locked;                 /* fixed by the node file */
    struct setting *next;

    struct setting *domains; /* the first row for one domain, and of that the next; fixed once
                              * workers run */
    struct setting *general; /* of a row for one domain: the row for all; else NULL */
    slice domain;            /* of such a row */
    _Atomic bool own;        /* such a row has a value */
};

static inline bool setting_is_text(const struct setting *s) { return param_is_text(&s->param); }
/* It names a file of the host, or protects administrators from their own clients: only operators at
 * the control socket may set it. */
static inline bool setting_is_local(const struct setting *s)
{
    return s->local || s->type == PARAM_PATH;
}
/* It is shown as "(secret)", and not logged. */
static inline bool setting_is_secret(const struct setting *s) { return s->type == PARAM_SECRET; }
/* It lists accounts of our domains, which have rights. They must exist when they are set, and one
 * that is deleted is taken out. */
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

/* The row that applies to users of a domain: its own if that has a value, else `s`. For rows of any
 * scope. */
const struct setting *setting_of(const struct setting *s, slice domain);
static inline int64_t setting_int_of(const struct setting *s, slice domain)
{
    return setting_int(setting_of(s, domain));
}
static inline bool setting_bool_of(const struct setting *s, slice domain)
{
    return setting_bool(setting_of(s, domain));
}
/* Whether it is on for some domain. */
bool setting_bool_somewhere(const struct setting *s);
static inline slice setting_text_of(const struct setting *s, slice domain)
{
    return slice_of(setting_text(setting_of(s, domain)));
}
/* It is for one domain and has no value of its own. */
static inline bool setting_is_open(const struct setting *s)
{
    return s->general != NULL && !atomic_load(&s->own);
}

const char *setting_scope_name(const struct setting *s); /* "node" */
void setting_register(struct setting *s);                /* at start; sets the default */
/* Ends the process if the default of a row that is registered does not pass the row's own check, or
 * a row does not say its scope. */
void settings_check(void);
/* Makes the rows for a domain (prepared) from all rows that are registered; does nothing if they
 * are there. Main, before workers run. */
void setting_add_domain(slice domain);
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
/* Sets the value, which is news if it differs. Ignores `locked`: the loader of the node file
 * sets locked rows, other callers must refuse them first. */
NODISCARD enum err setting_set(struct setting *s, slice text, struct why *why);
void setting_reset(struct setting *s); /* back to the default; news like setting_set() */

/* News: changes of rows that have `changed`, counted. The listener is called on the thread that
 * wrote, after each; one, set before workers run. */
uint32_t setting_changes(void);
void setting_listen(void (*listener)(void));
/* The value that applies, as text in its shortest form, "none" included, as setting_check() accepts
 * it (except secrets, which are not shown); returns the length (at most cap - 1). */
size_t setting_format(const struct setting *s, char *out, size_t cap);
/* The allowed values, see param_range(). */
size_t setting_range(const struct setting *s, char *out, size_t cap);
