/* settings_change: one change of settings after the other, each all or nothing. At the home of
 * DUTY_SETTINGS. */
#pragma once
#include "admin/settings/settings_private.h"

/* A setting of a domain that this node does not serve, or that this version does not have, or whose
 * value cannot be decrypted. To go back stores its earlier value; values are as they are stored,
 * thus sealed if secret. */
struct settings_away {
    slice name, now, value; /* ptr NULL: no value */
};
struct settings_item {
    struct setting *setting;
    slice value;                        /* ptr NULL: back to the default */
    const struct settings_away *sealed; /* not NULL: it cannot be decrypted: the default applies */
};
enum settings_kind {
    SETTINGS_SET,
    SETTINGS_RESET,
    SETTINGS_APPLY,
    SETTINGS_BACK,
    SETTINGS_TIMED,
    SETTINGS_DELETED
};
extern const char *const settings_kind_names[];

/* Lives in `arena`, as all it points to. */
struct settings_turn {
    struct settings_turn *next;
    struct command_call *call; /* NULL: the server itself, which then owns the arena */
    struct arena *arena;
    void (*begin)(struct settings_turn *t); /* when it is its turn: ends with one of the below */
    void (*done)(struct settings_turn *t);  /* it is committed and applied: ends the call */
    void *arg;                              /* of begin, done and refused */
    /* Not NULL: the items are only checked, without a turn. Then either done() is called, and
     * nothing has changed, or this one with the reason. */
    void (*refused)(struct settings_turn *t, const char *text);
    /* For settings_change(). */
    enum settings_kind kind;
    struct settings_item *item;
    size_t count;
    struct settings_away *away; /* only to go back */
    size_t away_count;
    slice comment;
    uint64_t confirm_ms;   /* 0: it stays */
    int64_t undoes;        /* the version that waits and is given up by this; 0: none */
    int64_t at_us;         /* when it was written */
    int64_t version;       /* that this made; 0: none, as nothing has changed */
    slice before, after;   /* the values, for the audit log */
    slice cleared;         /* a sentence of the secrets that went with it; empty: none */
    const char *candidate; /* its owner, whose candidate this applies; NULL: none */
};
void settings_turn_take(struct settings_turn *t);
void settings_turn_over(struct settings_turn *t); /* before its call ends */
void settings_turn_fail(struct settings_turn *t, enum err e, const char *text);
/* Checks, writes and applies its items. */
void settings_change(struct settings_turn *t);
/* A change back that was stored before the settings were loaded: tells of its items, and sets
 * `before` and `after`. was: what was stored before it, for each item. */
void settings_undone(struct settings_turn *t, const slice *was);
/* Goes on with a change if its call has --accept, or if no item deletes anything, which is counted.
 * Otherwise it calls refuse() with the sentence. The items stay as they are meanwhile. */
void settings_accept(struct settings_turn *t, void (*go_on)(struct settings_turn *t),
                     void (*refuse)(struct settings_turn *t, const char *text));
/* Commits a batch that changes no settings, then calls t->done. */
void settings_commit(struct settings_turn *t, struct store_batch *b);
struct store_batch *settings_batch(void);
/* An account was deleted: a change under way that names it does not apply it. */
void settings_change_deleted(void);
/* The words of an end, and what was cleared. */
slice settings_words(const struct settings_turn *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* In begin(), the setting and what is allowed of a call: false: `why` is set. */
bool settings_item_ok(const struct command_call *call, const struct setting *s, slice value,
                      struct why *why);
/* Whether the caller may change this setting at all. */
bool settings_is_for(const struct command_call *call, const struct setting *s, struct why *why);
