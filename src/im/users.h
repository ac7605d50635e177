/* users: accounts and sessions as the operator handles them (commands `user …` and `session …`),
 * and what in-band registration shares with that. */
#pragma once
#include "base/slice.h"
#include "im/node.h"
#include "im/session.h"

struct account;
struct command_call;
struct feature;
struct worker;

/* An account row was committed: its home forgets that there was no such account. Any worker. */
void users_created(struct worker *w, slice bare);
/* Ends all sessions but `keep` (NULL: all); returns how many. At the home. */
unsigned users_end_sessions(struct account *a, const struct session *keep, enum session_end why);
/* The same when a new password is committed; generation: what credentials_set() gave. */
unsigned users_password_changed(struct account *a, const struct session *keep, int64_t generation);

/* For commands about an account. The address in `text` as one that could be here; false: the call
 * has failed. */
bool users_account_ok(struct command_call *call, slice text, struct jid *out);
/* Runs fn on the worker that is the account's home; if that is another node, the call fails. */
void users_call_home(struct command_call *call, slice bare, tour_fn *fn, void *arg);
void users_add_time(struct command_call *call, const char *key, uint64_t wall_us);

extern const struct feature users_feature;
