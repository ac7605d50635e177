/* ticket_join: one report for many. What comes as one stanza and goes on as several is handled when
 * all of them are: they are routed with the origin that ticket_join() gives, and when so many
 * reports have come to it, and its maker has closed it, the origin of the first stanza gets one.
 *
 * Confined to the worker that made it; reports may come from everywhere, by ticket_done(). One
 * whose reports never come all stays until the worker ends, as the stanza that waits for it does.
 */
#pragma once
#include "im/origin.h"

struct worker;

/* What `whole` waits for; none if that is none. Open: ticket_join_close() must follow. */
struct origin ticket_join(struct worker *w, struct origin whole);
/* One report more is to come: route() with this origin has returned ROUTE_PENDING. */
void ticket_join_more(struct worker *w, struct origin part);
/* No more will be; the report to the whole follows, perhaps from inside. */
void ticket_join_close(struct worker *w, struct origin part);
/* A report that no session waits for: it may be of a part. */
void ticket_join_done(struct worker *w, struct origin part);

void ticket_joins_init(struct worker *w);
void ticket_joins_fini(struct worker *w);
