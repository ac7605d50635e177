/* remote_unsubscribe: what contacts on other servers are told when an account is deleted or gets
 * another address: `unsubscribe`, and that it is unavailable and `unsubscribed` (RFC 6121 §3.2,
 * §3.3). Else the next account of the address would have its subscriptions there.
 *
 * The rows are those of presence/roster_out.h. Behind the words goes a ping of the contact's bare
 * JID: the answer says that its server has had them, and the row is deleted. Without one they are
 * said again after a pause that doubles up to UNCONFIRMED_MAX_MS, after a start, and when the
 * domain is back. A subscription that the next account of the address has by then is not ended.
 *
 * Confined to the home worker of the address. Limits: UNCONFIRMED_ASKED rows wait for their answers
 * at a time; rows that are older than UNCONFIRMED_DAYS are given up. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct account;
struct worker;

enum { REMOTE_UNSUBSCRIBE = 1, REMOTE_UNSUBSCRIBED = 2 }; /* words: bits; in the database, too */
enum {
    UNCONFIRMED_ASKED = 1000,
    UNCONFIRMED_MIN_MS = 5000,
    UNCONFIRMED_MAX_MS = 10 * 60 * 1000,
    UNCONFIRMED_DAYS = 30
};

/* `a`: of the address, perhaps ABSENT. due: wall clock in us, when the row was made; 0: unknown. */
void remote_unsubscribe(struct account *a, slice contact, unsigned words, int64_t due);
void remote_unsubscribe_later(struct worker *w);              /* rows are left */
void remote_unsubscribe_soon(struct worker *w, slice domain); /* it is back: if rows are left */
