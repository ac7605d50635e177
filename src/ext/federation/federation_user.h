/* federation_user: with which other servers a user may exchange stanzas. The rule of an account is
 * its own, else that of its department, else that of a shared group, else federation.users; guests
 * have guest.remote. At the home of the account, if it is not said otherwise. */
#pragma once
#include "account/account.h"

struct account_template;
struct command;
struct setting;
struct store_batch;
struct store_stmt;

extern unsigned federation_user_slot; /* of struct account.state_of */
extern struct setting federation_users;
extern struct command federation_set, federation_show;
extern struct store_stmt *const federation_user_stmts[]; /* NULL-terminated */

/* Whether they may, in both directions. An address of ours, or none, is always allowed. */
bool federation_may(const struct account *a, slice address);
slice federation_refusal(const struct account *a); /* if not: what the user is told. Static */
void federation_user_load(struct account *a, struct store_batch *b);
void federation_user_loaded(struct account *a, const struct store_batch *b, unsigned first);
void federation_user_unload(struct account *a);
void federation_user_remove(struct account *a, struct store_batch *b);
void federation_user_disown(struct account *a, struct store_batch *b); /* feature.account */
void federation_user_inherit(struct store_batch *b, slice jid);
void federation_user_template(struct store_batch *b, slice jid, const struct account_template *t);
void federation_user_profile(struct worker *w, slice bare); /* the profile has changed */
/* Rules have changed: contacts that may see an account no longer, or again, are told. On each
 * worker. */
void federation_users_refresh(struct worker *w);
/* Requests that are under way are judged again: feature.foreign, on each worker. */
void federation_users_judge(struct worker *w);
void federation_users_regrouped(struct worker *w); /* foreign_policy.regrouped */
