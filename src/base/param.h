/* param: what a value may be: a name, a type, limits and a sentence. Settings, arguments of
 * commands and columns of their results all have one, so values are read, checked, written and
 * explained in one place. Pure, any thread. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdint.h>

enum param_type {
    PARAM_TEXT,   /* UTF-8; min and max count bytes */
    PARAM_BOOL,   /* on or off */
    PARAM_INT,    /* of anything that `unit` names */
    PARAM_BYTES,  /* a size, as 64KiB */
    PARAM_MS,     /* a duration, as 90s */
    PARAM_CHOICE, /* one of `choices`; as a number its index */
    /* The others are texts. Base checks no more of them than of any text; who knows the node checks
     * addresses (home/command_run.h). */
    PARAM_SECRET, /* neither shown nor logged */
    PARAM_PATH,   /* a file or folder of the server's host */
    PARAM_STAMP,  /* "2026-11-20T23:14:38.537176Z" */
    PARAM_DOMAIN,
    PARAM_HOME_DOMAIN, /* that the node serves */
    PARAM_JID,         /* any address */
    PARAM_BARE,        /* of a user anywhere: name@domain */
    PARAM_USER,        /* of a user at a domain that the node serves: name@domain */
    PARAM_SESSION,     /* the same, or with a resource */
    PARAM_ROOM,        /* name@domain, of a room */
    PARAM_TYPES
};

/* What a value is a name of, for completion and for the pages of the console; or that it is the
 * value of the setting named by the argument before it, in one or more words. */
enum param_refers {
    REFERS_NOTHING,
    REFERS_SETTING,
    REFERS_LOG_AREA,
    REFERS_ALARM,
    REFERS_GROUP,
    REFERS_TOKEN,
    REFERS_ROLE,
    REFERS_TEMPLATE,
    REFERS_ADMIN,         /* an administrator, or an account that has a role */
    REFERS_WEBHOOK,       /* by its number */
    REFERS_PARTNER,       /* the domain of another server */
    REFERS_COMPONENT,     /* the domain of a component */
    REFERS_SERVED_DOMAIN, /* a domain of users */
    REFERS_HOSTED,        /* one of these, or of a component */
    REFERS_SETTING_VALUE,
    REFERS_KINDS
};

#define PARAM_NONE         (INT64_MAX >> 1) /* value of `none`: no limit; as `max`: no upper end */
#define PARAM_SECRET_SHOWN "(secret)"       /* in the place of a secret; it is not taken for one */

/* The members are a macro so that struct setting and struct command_arg have them as their own,
 * beside a `struct param` of the same memory. */
#define PARAM_MEMBERS                                                                              \
    const char *name;                                                                              \
    enum param_type type;                                                                          \
    /* Values as numbers: ms, bytes, index into choices. Of texts the length in bytes; max 0: as   \
     * long as a request may be. `def` says where a value that is left out counts as one. */       \
    int64_t def, min, max;                                                                         \
    bool allow_none; /* `none` is accepted: no limit */                                            \
    bool many;       /* several, separated by spaces */                                            \
    bool listed;     /* a text of several parts with spaces; in JSON also a list of them */        \
    bool lines;      /* a text of several lines */                                                 \
    enum param_refers refers;                                                                      \
    bool (*check)(slice text);    /* of texts: whether it has the form */                          \
    slice (*culprit)(slice text); /* the part that `check` refuses; NULL: not told */              \
    const char *form;             /* that this describes */                                        \
    const char *const *choices;   /* names, NULL-terminated */                                     \
    const char *unit;             /* "stanzas"; NULL: the type says it */                          \
    /* A row of the same type whose value this one must not exceed; NULL: none. Said here, checked \
     * by setting_agree(). */                                                                      \
    const struct param *not_above;                                                                 \
    const char *doc /* one or two sentences, or some words */

struct param {
    PARAM_MEMBERS;
};

const char *param_type_name(enum param_type type); /* "bytes" */
/* The words that a value may be; NULL: not a fixed set. */
const char *const *param_choices(const struct param *p);
bool param_is_absolute(slice path); /* a `check`; its `form`: */
#define PARAM_ABSOLUTE "a path that begins with /"
/* The same of what operators name, such as groups and roles: never an option of musterctl, nor a
 * path of the API. */
bool param_is_name(slice text);
#define PARAM_NAME "lower-case letters, digits, -, _ and ., but - is not the first"
static inline bool param_is_text(const struct param *p)
{
    return p->type == PARAM_TEXT || p->type > PARAM_CHOICE;
}

/* Checks a text: "60s", "1500ms", "64KiB", "on", "none", "42". E_SYNTAX or E_LIMIT with a sentence
 * that names what was found and what is allowed. Times and sizes are read by base/units.h. A time
 * without a unit means seconds, or milliseconds where default or limits count these. Days may be
 * written as a time. *value: the number, of texts their length. */
NODISCARD enum err param_check(const struct param *p, slice text, int64_t *value, struct why *why);
/* A value as text in its shortest form, as param_check() accepts it; of texts the length. Returns
 * the length (at most cap - 1). */
size_t param_format(const struct param *p, int64_t value, char *out, size_t cap);
/* The allowed values, for messages and docs: "30s to 90s", "1 to 64, or none", "on or off", "one
 * of: a, b"; empty: anything. */
size_t param_range(const struct param *p, char *out, size_t cap);
