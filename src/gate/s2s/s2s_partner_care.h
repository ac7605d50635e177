/* s2s_partner_care: finds the stanza for which another server ends its streams.
 *
 * From such a stream on it gets one stanza at a time (partner.careful), until all that was written
 * to that stream is confirmed, also if it goes back to the database meanwhile: then the oldest
 * 1,000, for at most 10 minutes. One that has ended three such streams goes back to its sender. How
 * a stream ended is told by partner_offends() and so on (gate/s2s/s2s_partner.h). Confined to the
 * worker of the partner. */
#pragma once
#include <stdbool.h>

struct outgoing_id;
struct partner;

/* Its stream ends, which was up. true: the oldest stanza that is not confirmed has ended three of
 * them, and is to go back to its sender. */
bool partner_takes_care(struct partner *p);
/* All in memory is confirmed: no care is taken any more, unless some are in the database. */
void partner_care_ends(struct partner *p);
void partner_watch_ends(struct partner *p, const struct outgoing_id *id); /* for that one */
void partner_watch_none(struct partner *p); /* frees what care remembers */
