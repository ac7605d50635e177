/* settings_candidate: what operators have edited and not yet applied. At the home of DUTY_SETTINGS.
 */
#pragma once
#include "admin/settings/settings_private.h"

struct settings_turn;

void settings_candidate_applied(struct settings_turn *t, struct store_batch *b);
void settings_candidate_forget(const char *owner);
void settings_candidate_sweep(void);
void settings_candidate_removing(slice bare, struct store_batch *b);
void settings_candidate_deleted(slice bare);
NODISCARD enum err settings_candidates_load(struct store *store, struct why *why);
extern struct setting settings_candidates_max;
extern struct command settings_edit_command, settings_drop_command, settings_diff_command,
    settings_candidate_command, settings_apply_command;
