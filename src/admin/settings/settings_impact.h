/* settings_impact: what a new limit would delete (struct setting_impact). It is counted in the
 * database, and whoever gives the limit has to accept it. At the home of DUTY_SETTINGS. */
#pragma once
#include "admin/settings/settings_change.h"

/* Time for one count, ms. One that takes longer is taken for "something". */
enum { SETTINGS_COUNT_MS = 2000 };

#define SETTINGS_ACCEPT_ARG                                                                        \
    {                                                                                              \
        .name = "accept", .kind = ARG_FLAG, .type = PARAM_BOOL,                                    \
        .doc = "also if it deletes something that is stored"                                       \
    }

/* What the statement that counts is given: the new limit, or the time of what is as old. false:
 * nothing is counted for this value. value.ptr NULL: the default. */
bool settings_impact_at(const struct setting *s, slice value, int64_t *at);
/* "messages that are older: 312"; count < 0: it is not known, for the reason `unknown`. */
const char *settings_impact_text(const struct setting_impact *impact, int64_t count,
                                 const char *unknown, struct arena *arena);
/* Counts for that: `done` gets one row of one number, or an error. */
void settings_impact_count(struct worker *w, const struct setting *s, int64_t at,
                           store_done_fn *done, void *arg);
/* The sentence of a refusal: the setting would delete what the text says, and was not accepted. */
const char *settings_impact_refusal(const struct setting *s, const char *text, struct arena *arena);
/* Whether the item is a lower limit, beyond which what is stored is deleted. */
bool settings_lowers(const struct settings_item *item);
