/* users: accounts and sessions as the operator handles them (commands `user …` and `session …`),
 * and what in-band registration shares with that. */
#pragma once
#include "base/slice.h"
#include "im/session.h"

struct account;
struct feature;
struct worker;

/* An account row was committed: its home forgets that there was no such account. Any worker. */
void users_created(struct worker *w, slice bare);
/* Ends all sessions but `keep` (NULL: all); returns how many. At the home. */
unsigned users_end_sessions(struct account *a, const struct session *keep, enum session_end why);
/* The same when a new password is committed; generation: what credentials_set() gave. */
unsigned users_password_changed(struct account *a, const struct session *keep, int64_t generation);

extern const struct feature users_feature;
