/* s2s_peer_write: what a peer (gate/s2s/peer/s2s_peer.h) writes to its stream and in which order,
 * what is confirmed, and what goes back to its sender. Confined to the worker of the peer. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct loop;
struct s2s_peer;
struct s2s_sent;
struct stanza;
struct timer;

void peer_pump(struct s2s_peer *p);            /* writes what may be written */
bool peer_may_write(const struct s2s_peer *p); /* one more that is not a row of the queue */
void peer_write_row(struct s2s_peer *p, const struct s2s_sent *s); /* takes over the reference */
void peer_give_back(struct s2s_peer *p); /* all of the queue, with the blame */
/* One that is kept in memory no longer: the database has it, or its sender is told. */
void peer_refuse(struct s2s_peer *p, struct s2s_sent *s);
void peer_bounce(struct s2s_peer *p, struct s2s_sent *s,
                 struct stanza *error); /* takes over both */
void peer_wait_on(struct s2s_peer *p);  /* sets `patience` */
void peer_write_stop(struct s2s_peer *p);
void peer_patience_ends(struct timer *t, struct loop *loop);
void peer_ping_due(struct timer *t, struct loop *loop);
