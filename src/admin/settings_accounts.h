/* settings_accounts: settings that list accounts lose an account that is deleted: a later one of
 * that name is another user. In the database that is part of the deletion. In memory it is done at
 * once, whatever else changes settings; then it is a version of the history, as every change. At
 * the home of DUTY_SETTINGS, but for the first. */
#pragma once
#include "store/store.h"

struct account;
struct worker;

void settings_account_removing(struct account *a, struct store_batch *b); /* any worker */
void settings_account_deleted(struct worker *w, slice bare);
extern struct store_stmt settings_without, settings_forget;
