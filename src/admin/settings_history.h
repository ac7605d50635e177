/* settings_history: versions of the settings, and those that wait to be confirmed. At the home of
 * DUTY_SETTINGS. */
#pragma once
#include "admin/settings_private.h"

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
/* Of the setting for all domains, if `name` is that of one for a domain; NULL: unknown, too. */
const struct setting *settings_of_all(slice name);
void settings_history_done(struct settings_turn *t); /* it is committed */
/* A version waits to be confirmed: a sentence; NULL: none does. */
const char *settings_waiting(struct arena *tmp);
NODISCARD enum err settings_history_load(struct store *store, struct why *why);
void settings_history_names(struct store *store);
void settings_history_start(struct worker *w);
void settings_history_stop(void);
/* A value of the table as an operator reads it; ptr NULL: the default. */
slice settings_show(const struct setting *s, slice value, struct arena *tmp);
const char *settings_who(slice actor, struct arena *tmp);  /* "root", "alice@example.org" */
const char *settings_from(slice actor, struct arena *tmp); /* "control", "xmpp/phone" */
void settings_stamp(struct command_call *call, const char *key, int64_t us);
extern struct setting settings_history_max;
extern struct command settings_history_command, settings_version_command, settings_compare_command,
    settings_rollback_command, settings_confirm_command;
