/* s2s_partner_list: the partners of a worker, one after the other, what operators see of one, and
 * how stanzas come to the home of a foreign domain. Confined to the worker. */
#pragma once
#include "gate/s2s/s2s_partner.h"

/* Calls fn for each partner, of one foreign domain (ptr NULL: all), which may end it or make
 * others; the sum of what it returns. */
typedef bool partner_each_fn(struct partner *p);
/* Those whose next attempt is awaited: seconds until the first of them; 0: there is none. */
int64_t partners_next_s(struct worker *w, slice domain);
int64_t partners_each(struct worker *w, slice domain, partner_each_fn *fn);
/* Why a connection has failed that waits for its next attempt. false: it does not. */
struct s2s_domain_at;
bool partner_failure(struct worker *w, const struct partner_name *name, struct s2s_domain_at *out);
/* Where the attempt to make its stream is that is under way. false: there is none. */
bool partner_attempt(struct worker *w, const struct partner_name *name, struct s2s_domain_at *out);
/* Whether another connection of the pair has its stanzas: which, and on which worker. */
bool partner_is_diverted(struct worker *w, const struct partner_name *name, unsigned *number,
                         unsigned *worker);
void partner_show(const struct partner *p, s2s_show_fn *show, void *arg);
