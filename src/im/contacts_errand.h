/* contacts_errand: what accounts have to ask and to tell contacts on other servers after their
 * domain is back: a probe, their own presence, and requests without an answer once more; and
 * farewells, that is unavailable presence that could not be sent. Thousands of contacts may be at
 * one domain, and its stanzas wait in one queue with those of users. So errands to a domain are
 * done in portions: behind each goes a ping of the domain, and the next one begins when that is
 * answered or has failed. An errand that found no room all the same is done again.
 *
 * Confined to the worker. Limits: ERRANDS_MAX wait; more are not done. ERRANDS_PORTION at a time
 * for each pair of a domain of ours and a foreign one, fewer if some of them find no room, and
 * 5,000 a second in all. The other server can make up refusals, so a pair gives up if 100 portions
 * in a row were refused as a whole, with less than a minute between them: what is refused then is
 * not done again. The same holds while the pair has an eighth of all errands. While a rule keeps a
 * pair apart, its errands wait for the end of that. */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza.h"
#include <stdbool.h>

struct errands;
struct worker;

enum { ERRANDS_MAX = 100000, ERRANDS_PORTION = 64 };

/* From an account or a resource of it to a contact, whose bare JID it is if nothing else is said.
 */
enum errand_kind {
    ERRAND_TELL,        /* account: the next three together */
    ERRAND_ASK,         /* account: a request that has no answer */
    ERRAND_SHOW,        /* resource: its presence */
    ERRAND_PROBE,       /* resource */
    ERRAND_FAREWELL,    /* resource, to any address: unavailable presence, if presence_is_over() */
    ERRAND_UNSUBSCRIBE, /* account: im/unsubscribe_again.h */
    ERRAND_LOOK         /* account: a probe of one of its sessions, for im/component_watch.h */
};

struct errands *errands_create(struct worker *w);
void errands_stop(struct errands *e);     /* the worker ends: no more is done */
void errands_destroy(struct errands **e); /* memory only; NULL is fine; nulls */

/* ERRAND_TELL on behalf of an account whose home is here. contact: bare; empty: all that are
 * abroad. Nothing happens before the caller's event is over. */
void errands_add(struct errands *e, slice account, slice contact);
/* ERRAND_LOOK likewise. The contact may also be one of this server. */
void errands_look(struct errands *e, slice account, slice contact);
/* Whether some to that domain are not done yet. */
bool errands_wait(const struct errands *e, slice domain, slice local);
/* Whether some between the domains of these addresses are under way. */
bool errands_under_way(const struct errands *e, slice who, slice to);
/* A stanza could not be sent, or its server has refused it: it is made an errand, a second later.
 * false: not for ever. */
struct errand_refusal {
    enum errand_kind kind;
    slice who, to;
    enum stanza_named named; /* of a farewell: by which address */
    bool far;                /* its server was not reached: then the pause grows to 30 seconds */
    bool theirs;             /* its server says so, and does not tell how much it refuses */
};
bool errands_refused(struct errands *e, const struct errand_refusal *r);
/* A farewell that waits is obsolete: its client says something else to this address. */
void errands_greet(struct errands *e, slice resource, slice to);
/* The domain is back, or a rule lets it speak again: errands that have waited for it are done now.
 */
void errands_back(struct errands *e, slice domain);
