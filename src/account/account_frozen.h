/* account_frozen: the memory of an account as bytes, and back (freeze and thaw of home/actor.h):
 * its sessions that have lost their streams and can be resumed, or are available and only have to
 * say goodbye; of each its queue, counts, directed presence, what its client may repeat, what its
 * offline delivery still owes, the copies that it took, and what features keep with it
 * (session.save). The roster, the mailbox and whatever else is in the database is not among it.
 *
 * Tokens are sealed (auth/seal.h). Of bytes that are sound, a session whose resource is there
 * already is passed over, and one whose queue is too long by now ends; its messages stay in the
 * mailbox. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <stdbool.h>

struct account;
struct actor;
struct buf;
struct frozen;
struct frozen_kind;
struct session;
struct why;
struct worker;

extern const struct frozen_kind account_frozen;
bool session_is_frozen(const struct session *s); /* whether account_freeze() takes it */
void account_freeze(const struct actor *actor, struct buf *out);
/* For a move to another node: all its sessions, with the streams that carry them and what their h
 * waits for; account_thaw() takes it, too. `out` is empty. */
void account_freeze_whole(const struct account *a, struct buf *out);
/* E_CORRUPT: the bytes are of another account, or their records do not go together. */
NODISCARD enum err account_thaw(struct actor *actor, const struct frozen *f, struct why *why);
/* Bytes of account_freeze_whole() that are not thawed, whole or cut off: closes the streams of
 * their sessions, which would wait for ever. */
void account_frozen_close(struct worker *w, slice bytes);
/* A thawed session does not end before this, so that all who should hear of its end are back. Then
 * one that is only to say goodbye ends; others have the time that they had left. */
void session_all_are_back(struct session *s);
