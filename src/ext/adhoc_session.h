/* adhoc_session: the sessions of ad-hoc commands (XEP-0050). Their names are the time, and a keyed
 * hash over that, the client and the node, so nothing is kept for one before it ends.
 *
 * Limits: SESSION_US from form to answer; the last ENDED_MAX sessions of a worker are known to have
 * ended. */
#pragma once
#include "base/slice.h"

struct iq;
struct worker;

/* The `sessionid` of a new execution; and of this one, which has one from its begin to its end
 * (§3.4). Texts of the arena of the IQ. */
slice adhoc_session_make(const struct iq *iq, slice node);
slice adhoc_session_of(const struct iq *iq, slice node);

enum adhoc_session { SESSION_NONE, SESSION_BAD, SESSION_EXPIRED, SESSION_GOOD };
enum adhoc_session adhoc_session_check(const struct iq *iq, slice node);
void adhoc_session_ended(const struct iq *iq); /* its command has run, or was cancelled */

/* Parts of the feature: the start of the process, and the end of a worker. */
extern unsigned adhoc_sessions_slot;
void adhoc_sessions_start(void);
void adhoc_sessions_end(struct worker *w);
