/* contacts_errand: what accounts have to ask and to tell contacts on other servers after their
 * domain is back: a probe, their own presence, and requests without an answer once more. Thousands
 * of contacts may be at one domain, and its stanzas wait in one queue with those of users. So
 * errands to a domain are done in portions: behind each goes a ping of the domain, and the next one
 * begins when that is answered or has failed. An errand that found no room all the same is done
 * again.
 *
 * Confined to the worker. Limits: ERRANDS_MAX wait; more are not done. ERRANDS_PORTION at a time
 * for each pair of a domain of ours and a foreign one, and 5,000 a second in all. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct errands;
struct worker;

enum { ERRANDS_MAX = 100000, ERRANDS_PORTION = 64 };

struct errands *errands_create(struct worker *w);
void errands_stop(struct errands *e);     /* the worker ends: no more is done */
void errands_destroy(struct errands **e); /* memory only; NULL is fine; nulls */

/* On behalf of an account whose home is here. contact: bare; empty: all that are abroad. Nothing
 * happens before the caller's event is over. */
void errands_add(struct errands *e, slice account, slice contact);
/* Whether some to that domain are not done yet. */
bool errands_wait(const struct errands *e, slice domain, slice local);
/* A stanza of the errand was refused because too many wait. true: it is done again. */
bool errands_again(struct errands *e, slice account, slice contact);
/* The same for what was sent at any time: it is made an errand now, a second later. false: not for
 * ever; a server that has refused it 100 times, with less than 10 s between them, is left alone,
 * and so is one with an eighth of all errands. */
bool errands_refused(struct errands *e, slice account, slice contact);
/* The answer of im/unsubscribe_again.h could not be sent: a second later, with the same bound. */
void errands_unsubscribe(struct errands *e, slice account, slice contact);
