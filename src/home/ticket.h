/* ticket: reports that a stanza is handled, which the h of its session waits for (architecture §6).
 * On any worker: a report goes to the session's home, or to the join that has made its origin.
 *
 * A join is one report for many. A stanza that the server copies to several addresses is handled
 * when all its copies are. The copies are routed with the origin that ticket_join() returns. When
 * each of them was reported, and the maker has closed the join, the origin of the first stanza gets
 * its report.
 *
 * Confined to the worker that made it; reports may come from everywhere, by ticket_done(). When a
 * node goes, its reports never come: a join for a stanza then stays until the worker ends, as the
 * stanza that waits for it does, and one for anything else ends. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "home/origin.h"

struct message_row;
struct worker;

/* E_DOWN: a node that is gone may have had some of them. refused: so many of the copies,
 * ticket_refused(); other nodes have counted them. */
typedef void ticket_join_fn(struct worker *w, enum err e, uint32_t refused, void *arg);

void ticket_done(struct worker *w, struct origin o);
/* Nobody has the stanza: in front of its report, or from inside route(). A session learns that by
 * the error alone. */
void ticket_refused(struct worker *w, struct origin o);
extern const struct message_row ticket_message;

/* What `whole` waits for; none if that is none. `maker`: the bare JID to which the reports come,
 * whose home this is, or was until a moment ago. Open: ticket_join_close() must follow. */
struct origin ticket_join(struct worker *w, slice maker, struct origin whole);
/* The same for what is no stanza: in the place of a report `done` is called, perhaps from inside
 * ticket_join_close(). It is not if the worker ends before. `maker` may be empty: this worker;
 * while it is the home of nobody, nothing can be awaited, and `done` gets E_DOWN. */
struct origin ticket_join_for(struct worker *w, slice maker, ticket_join_fn *done, void *arg);
/* One report more is to come: route() with this origin has returned ROUTE_PENDING. */
void ticket_join_more(struct worker *w, struct origin part);
/* Another stanza is handled when the whole is. false: the join is over: it is handled already. */
bool ticket_join_also(struct worker *w, struct origin part, struct origin other);
/* No more will be; the report to the whole follows, perhaps from inside. */
void ticket_join_close(struct worker *w, struct origin part);
/* Whether reports for the slot come to joins of this worker, which stay here. */
bool ticket_joins_of(const struct worker *w, unsigned slot);
void ticket_joins_node_gone(struct worker *w);
void ticket_joins_init(struct worker *w);
void ticket_joins_fini(struct worker *w);
