/* s2s_judge: whether stanzas that have waited may still leave. Rules may have changed since they
 * were sent. A page of them is judged at once: addresses here, and the rules of each sender at the
 * home of the account (im/foreign_ask.h), once for all of one kind and type to one address that
 * come one behind the other: rules are about domains, and the name that the account goes by is
 * about its contact. Nothing is counted. Confined to the worker. */
#pragma once
#include "home/edge.h"
#include "im/outgoing.h"

struct s2s_judge;

/* The page that was judged, and for each of its lines what becomes of it: valid for the call. */
typedef void s2s_judged_fn(void *arg, const struct outgoing_page *page,
                           const struct edge_word *words);
/* Copies the page. `done` is called once, perhaps at once, unless it is cancelled. NULL: it was. */
struct s2s_judge *s2s_judge_page(struct worker *w, const struct outgoing_page *page,
                                 s2s_judged_fn *done, void *arg);
bool s2s_judge_has(const struct s2s_judge *j, slice sender); /* a line of this bare JID */
void s2s_judge_cancel(struct s2s_judge **j);                 /* NULL is fine; nulls */
