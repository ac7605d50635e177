/* unsubscribe_again: `unsubscribe` towards another server may be lost, with that server or with
 * ours, and towards a component while it is not connected. The contact's server then goes on to
 * send presence to an account that has no subscription any more. Such presence, which a server
 * broadcasts to the bare JID (RFC 6121 §4.2.2, §4.4.2), is answered by `unsubscribe` (§3.3.2), at
 * most once in UNSUBSCRIBE_AGAIN_US for each contact. Only available presence is: unavailable
 * presence is what a server says that has got it (§3.3.3). If the server is heard, but cannot be
 * reached yet, the answer is repeated (im/contacts_errand.h). Presence for an account that is not
 * loaded reaches nobody, so it is answered another time.
 *
 * Strangers get no answer, because it would tell that the account exists. So the contact must be in
 * the contact list, or the account must have said `unsubscribe` to it, as it does when it removes a
 * contact. The latter is only known in memory: a restart forgets it, and a change of the home.
 *
 * Confined to the home worker of the account. Limit: UNSUBSCRIBE_AGAIN_MAX contacts a worker; of
 * those that fall together the oldest is forgotten. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct account;
struct core;
struct stanza;
struct worker;

enum { UNSUBSCRIBE_AGAIN_MAX = 16384 };
#define UNSUBSCRIBE_AGAIN_US (3600ull * 1000000)

/* The account has said it to a contact (bare). */
void unsubscribe_again_said(struct account *a, slice contact);
/* Presence has come that no rule keeps from the account, which is READY. */
void unsubscribe_again_presence(struct account *a, const struct stanza *st);
/* Whether presence of the contact (bare) was answered of late, and that still holds: an error may
 * be about this answer. */
bool unsubscribe_again_holds(const struct account *a, slice contact);
/* Says it once more, if it still holds. */
void unsubscribe_again_say(struct account *a, slice contact);
/* The account (bare) is deleted. */
void unsubscribe_again_deleted(struct worker *w, slice account);
void unsubscribe_again_free(struct core *c); /* memory only */
