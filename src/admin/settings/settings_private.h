/* settings_private: the table of settings in memory, for the files around it. A change of settings
 * is a transaction: it takes its turn, is checked as a whole, written with its place in the history
 * in one batch, and applied when that is committed. All of it runs at the home of DUTY_SETTINGS. */
#pragma once
#include "admin/settings/settings.h"
#include "base/command.h"
#include "store/store.h"

struct alarm;
struct log_area;
struct node;
struct worker;

enum { SETTINGS_TURNS_MAX = 64, SETTINGS_COMMENT_MAX = 500 };

struct stored {
    struct stored *next;
    struct setting *setting;
    size_t len;
    char value[];
};

extern struct log_area log_settings;
extern struct alarm settings_restart_alarm, settings_waiting_alarm;
extern struct worker *settings_writer; /* the home of the duty, while it runs */

/* The table in memory (settings.c). */
void settings_stored_drop(const struct setting *s);
void settings_stored_put(struct setting *s, slice value);
const struct stored *settings_stored_find(const struct setting *s); /* NULL: no value */
bool settings_is_locked(const struct setting *s);
slice settings_context(const struct setting *s, struct arena *tmp); /* in which it is sealed */
void settings_read_accounts(struct store_batch *b, const struct node *n, slice list);
/* The batch ends with STORE_CONFLICT if one of these has no account any more when it is committed.
 * Before what is written to `setting`. */
void settings_hold_accounts(struct store_batch *b, const struct node *n, slice list);
bool settings_next_missing(const struct store_batch *b, unsigned *stmt, const struct node *n,
                           slice *list, slice *jid);
bool settings_list_names(slice list, slice jid);
slice settings_list_without(slice list, slice jid, struct arena *tmp);
extern struct store_stmt settings_put, settings_del, settings_value;

/* Rows of several commands: a setting, its new value, and why it changes. */
#define SETTINGS_NAME_ARG                                                                          \
    {                                                                                              \
        .name = "setting", .kind = ARG_POSITIONAL, .refers = REFERS_SETTING,                       \
        .doc = "name of the setting; for one domain NAME@DOMAIN"                                   \
    }
#define SETTINGS_VALUE_ARGS                                                                        \
    { .name = "value",                                                                             \
      .kind = ARG_OPTIONAL,                                                                        \
      .refers = REFERS_SETTING_VALUE,                                                              \
      .doc = "its new value" },                                                                    \
    {                                                                                              \
        .name = "default", .kind = ARG_FLAG, .type = PARAM_BOOL, .example = "on",                  \
        .doc = "set it back to the default, or for one domain to the value of all"                 \
    }
#define SETTINGS_COMMENT_ARG                                                                       \
    {                                                                                              \
        .name = "comment", .kind = ARG_OPTION, .max = SETTINGS_COMMENT_MAX,                        \
        .doc = "why, for the history"                                                              \
    }

void settings_fail_unknown(struct command_call *call, slice name);
struct setting *settings_named(struct command_call *call); /* NULL: the call has failed */
