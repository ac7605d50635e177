/* abroad: whether the servers of foreign domains are still there. What this node shows of a foreign
 * domain, contacts that are online and occupants of rooms, is true only as long as its server can
 * tell us when it changes.
 *
 * Who shows something of a domain holds it, on any worker. Each worker names the domains that are
 * held to their homes; there each domain is watched once, however many contacts and occupants it
 * has. The edge to other servers says when a stream works, fails or breaks. A domain that has been
 * silent for s2s.ping-after is sent one ping (XEP-0199). When attempts to reach it have failed for
 * s2s.lost-after, all workers of all nodes are told that it is lost; when it answers again, that
 * it is back, also after a short failure: its server may have been started again and may have
 * forgotten who was online. Features hear of both by worker.domain_lost and worker.domain_back.
 * When a rule separates a domain from one of ours (im/foreign.h), it is lost for that one alone.
 *
 * When the home of a domain moves, the new one begins to watch it; if it could not be reached, as
 * one that fails since then.
 *
 * A stream that has broken and is resumed (XEP-0198) has lost nothing. If that holds for all that
 * have broken, the domain is not told to be back.
 *
 * The domain of a component (XEP-0114) is watched, too, by its connections alone: it is not sent
 * pings, and rules for other servers do not hold for it. It fails while no connection serves it.
 * When one comes, the domain is told to be back: the component may have been started again.
 *
 * Confined to the worker. Limits: ABROAD_WATCHED_MAX domains whose home is on a worker; others are
 * not watched. A domain is told to be back at most once in s2s.back-pause. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct feature;
struct stanza;
struct worker;

enum { ABROAD_WATCHED_MAX = 20000 };

/* A foreign domain, or that of a component: something else than this server says what is shown of
 * it. */
bool abroad_is_other(const struct worker *w, slice domain);
/* Whether a domain of ours and that one may exchange stanzas at all. */
bool abroad_pair(struct worker *w, slice local, slice domain);
/* One more thing, or one less, that this worker shows of a domain. local: a domain or a service of
 * ours that it is shown at. Domains of ours may be held, and are not watched. */
void abroad_hold(struct worker *w, slice domain, slice local);
void abroad_release(struct worker *w, slice domain, slice local);
bool abroad_is_held(const struct worker *w, slice domain);
uint64_t abroad_lost_ms(void); /* a domain is lost that could not be reached for so long */

enum abroad_sign {                    /* it travels: home/message.h */
                   ABROAD_UP = 0,     /* a stream works, or a component has come */
                   ABROAD_FAILED = 1, /* it could not be reached, or a component has gone */
                   ABROAD_BROKEN = 2, /* a stream has ended without a word */
                   ABROAD_HEARD = 3,  /* it has sent something */
                   ABROAD_RESUMED = 4 /* a stream that had broken goes on, and has lost nothing */
};
/* What the edge has seen of a foreign domain. On any worker. */
void abroad_seen(struct worker *w, slice domain, enum abroad_sign sign);
/* ABROAD_HEARD, not too often. told_us: of the caller, for this domain; 0 at first. */
void abroad_heard(struct worker *w, slice domain, uint64_t *told_us);

/* Who has answered a request to a foreign domain, or to an address there. */
enum abroad_answer {
    ABROAD_FROM_THERE,
    ABROAD_FROM_HERE,    /* this server, which does not reach it; also: nobody in time */
    ABROAD_FROM_ANYWHERE /* either of them */
};
enum abroad_answer abroad_answer_of(const struct stanza *reply); /* NULL: there is none */
/* Whether an error is of this server, and says that what it answers could not be sent to a foreign
 * domain: there was no room, or its server was not reached in time. far: the latter. */
bool abroad_is_unsent(const struct worker *w, const struct stanza *error, bool *far);
/* Whether an error is of this server, and a rule keeps the domains of its two addresses apart. */
bool abroad_is_barred(struct worker *w, const struct stanza *error);

extern const struct feature abroad_feature;
