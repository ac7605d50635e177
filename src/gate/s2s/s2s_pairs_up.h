/* s2s_pairs_up: which connections of a pair of domains are up, where it has more than one
 * (gate/s2s/s2s_connections.h): they are on different workers. Any thread.
 *
 * Limit: a pair has an entry while one of them is up, or carries the stanzas of others. */
#pragma once
#include "gate/s2s/s2s_gate.h"

/* The connection of that number is up, or not: then it need not have been. `pair`: "remote/local".
 */
void s2s_pair_is_up(struct s2s_gate *g, slice pair, unsigned number);
void s2s_pair_is_down(struct s2s_gate *g, slice pair, unsigned number);
/* Whether one with another number is up; the first of these. */
bool s2s_pair_other_up(struct s2s_gate *g, slice pair, unsigned number, unsigned *other);
/* The connection of that number carries the stanzas of others, too (gate/s2s/s2s_divert.h). */
void s2s_pair_carries(struct s2s_gate *g, slice pair, unsigned number, bool on);
bool s2s_pair_is_carried(struct s2s_gate *g, slice pair, unsigned number);
void s2s_pairs_up_init(struct s2s_gate *g);
void s2s_pairs_up_fini(struct s2s_gate *g);
