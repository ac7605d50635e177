/* remote_domains: whether the servers of other domains, and components (XEP-0114), can be reached:
 * what this node shows of them is true only as long as they can tell us when it changes.
 *
 * A worker that shows something of a domain names it to the home of the domain, where it is
 * watched. The edge says when a stream works, fails or breaks; a domain that is silent for
 * s2s.ping-after is sent a ping (XEP-0199). When it was not reached for s2s.lost-after, all workers
 * are told that it is lost, and when it answers again, that it is back, also after a short failure:
 * its server may have been started again. A stream that is resumed has lost nothing. A domain that
 * a rule separates from one of ours (remote/foreign.h) is lost for that one.
 *
 * Confined to the worker. Limits: REMOTE_DOMAINS_MAX domains whose home is on a worker; others are
 * not watched. A domain is told to be back at most once in s2s.back-pause. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct feature;
struct stanza;
struct worker;

enum { REMOTE_DOMAINS_MAX = 20000 };

/* A foreign domain, or that of a component: something else than this server says what is shown of
 * it. */
bool remote_domain_is_other(const struct worker *w, slice domain);
/* Whether a domain of ours and that one may exchange stanzas at all. */
bool remote_domain_pair(struct worker *w, slice local, slice domain);
/* One more thing, or one less, that this worker shows of a domain. local: a domain or a service of
 * ours that it is shown at. Domains of ours may be held, and are not watched. */
void remote_domain_hold(struct worker *w, slice domain, slice local);
void remote_domain_release(struct worker *w, slice domain, slice local);
bool remote_domain_is_held(const struct worker *w, slice domain);
uint64_t remote_domain_lost_ms(void); /* s2s.lost-after */

enum domain_sign {                    /* it travels: home/message.h */
                   DOMAIN_UP = 0,     /* a stream works, or a component has come */
                   DOMAIN_FAILED = 1, /* it could not be reached, or a component has gone */
                   DOMAIN_BROKEN = 2, /* a stream has ended without a word */
                   DOMAIN_HEARD = 3,  /* it has sent something */
                   DOMAIN_RESUMED = 4 /* a stream that had broken goes on */
};
/* What the edge has seen of a domain. On any worker. */
void remote_domain_seen(struct worker *w, slice domain, enum domain_sign sign);
/* DOMAIN_HEARD, not too often. told_us: of the caller, for this domain; 0 at first. */
void remote_domain_heard(struct worker *w, slice domain, uint64_t *told_us);

/* Whether the reply to a request to another domain, or to an address there, comes from there; else
 * this server has made it. NULL: there is none. */
bool remote_domain_answered(const struct worker *w, const struct stanza *reply);
/* Whether an error is of this server, and says that what it answers could not be sent to a foreign
 * domain: there was no room, or its server was not reached in time. */
bool remote_domain_is_unsent(const struct worker *w, const struct stanza *error);
/* Whether an error is of this server, and a rule keeps the domains of its two addresses apart. */
bool remote_domain_is_barred(struct worker *w, const struct stanza *error);

extern const struct feature remote_domains_feature;
