/* settings_history: versions of the settings, and those that wait to be confirmed. At the home of
 * DUTY_SETTINGS. */
#pragma once
#include "admin/settings/settings_private.h"

struct settings_item;
struct settings_turn;

struct settings_touch {
    struct settings_touch *next;
    const struct setting *setting;
    int64_t version, at_us;
    char actor[];
};
const struct settings_touch *settings_last(const struct setting *s); /* NULL: not in the history */
void settings_history_add(struct settings_turn *t, struct store_batch *b);
void settings_history_item(struct settings_turn *t, struct store_batch *b,
                           const struct settings_item *item);
void settings_history_away(struct settings_turn *t, struct store_batch *b); /* all of them */
/* The setting for all domains, if `name` is that of one for a domain; NULL: unknown, too. */
const struct setting *settings_of_all(slice name);
void settings_history_done(struct settings_turn *t); /* it is committed */
/* A version waits to be confirmed: a sentence; NULL: none does. */
const char *settings_waiting(struct arena *tmp);
int64_t settings_history_newest(void); /* the last version; 0: none */
/* A read of settings_compared: what has changed since a version, up to another. Behind it is what
 * settings_history_reaches() looks at. */
struct store_batch *settings_history_since(int64_t version, int64_t to);
/* Of such a read: whether all changes since its version are there; false: `text` says why not. */
bool settings_history_reaches(const struct store_batch *b, struct arena *tmp, const char **text);
/* Whether a row of settings_compared or settings_version_items is of a setting that has another
 * value. */
bool settings_history_differs(const struct store_batch *b, unsigned stmt, uint32_t row);
NODISCARD enum err settings_history_load(struct store *store, struct why *why);
void settings_history_names(struct store *store);
void settings_history_start(struct worker *w);
void settings_history_stop(void);
extern struct setting settings_history_max;
extern struct command settings_rollback_command, settings_confirm_command;
