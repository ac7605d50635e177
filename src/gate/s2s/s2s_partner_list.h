/* s2s_partner_list: the partners of a worker, one after the other, what operators see of one, and
 * how stanzas come to the home of a foreign domain. Confined to the worker. */
#pragma once
#include "gate/s2s/s2s_partner.h"

/* Calls fn for each partner, of one foreign domain (ptr NULL: all), which may end it or make
 * others; the sum of what it returns. */
typedef bool partner_each_fn(struct partner *p);
int64_t partners_each(struct worker *w, slice domain, partner_each_fn *fn);
/* Where the attempt to make the stream of a pair is that is under way. false: there is none. */
struct s2s_domain_at;
bool partner_attempt(struct worker *w, slice local, slice remote, struct s2s_domain_at *out);
void partner_show(const struct partner *p, s2s_show_fn *show, void *arg);
