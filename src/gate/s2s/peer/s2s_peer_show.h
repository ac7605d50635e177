/* s2s_peer_show: what operators see of a peer (gate/s2s/peer/s2s_peer.h): a line of `s2s list`, and
 * why it fails. Confined to the worker of the peer. */
#pragma once
#include "gate/s2s/s2s_gate.h"

struct s2s_domain_at;
struct s2s_peer;

void s2s_peer_show(const struct s2s_peer *p, s2s_show_fn *show, void *arg);
/* Seconds until the next attempt; 0: there is none. */
int64_t s2s_peers_next_s(struct worker *w, slice domain);
/* Why a pair has failed that waits for its next attempt; or where the one is that is under way.
 * false: neither. */
bool s2s_peer_failure(struct worker *w, slice local, slice remote, struct s2s_domain_at *out);
bool s2s_peer_attempt(struct worker *w, slice local, slice remote, struct s2s_domain_at *out);
