/* s2s_stored: how many stored messages wait for other servers in all (muster_s2s_stored). The first
 * worker of the node asks its database each STORED_MS; at most OUTGOING_TOTAL_MAX are counted. */
#pragma once

struct metric;
struct s2s_worker;
struct worker;

extern struct metric s2s_stored;

void s2s_stored_start(struct s2s_worker *sw, struct worker *w);
void s2s_stored_stop(struct s2s_worker *sw);
