/* outbound: what the short errands about certificates (io/visit.h) have in common: the
 * resolver. Of each worker. */
#pragma once

struct edge;
struct resolver;
struct worker;

extern const struct edge outbound_edge; /* ends the errands when the server stops */

enum { OUTBOUND_ENDS_MAX = 8 };
/* Called when the server stops: it ends its errands and begins no more. At the start of the worker
 * of the duty; at most OUTBOUND_ENDS_MAX. */
void outbound_at_stop(void (*end)(void));

/* Of this worker. It asks the name servers of s2s.dns-servers, or those of the system. NULL: none
 * can be asked. */
struct resolver *outbound_resolver(struct worker *w);
