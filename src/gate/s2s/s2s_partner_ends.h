/* s2s_partner_ends: what ends the stream of a partner from outside, or makes it try again at once:
 * the rules about other servers, operators, the other server itself, and the stop of the edge.
 * Confined to the worker of the partner. */
#pragma once
#include <stdbool.h>

struct partner;

/* The edge stops: connections end, what waits is answered. */
void partner_stop(struct partner *p);
void partner_policy_changed(struct partner *p);
/* Its server has said what of the last session has arrived, or has not in time. true: its pair may
 * speak no more, or the edge stops, so the attempt was for that alone, and has ended. It may free p
 */
bool partner_is_shut(struct partner *p);
void partner_came(struct partner *p);  /* its server has proved the domain to us: it is there */
bool partner_close(struct partner *p); /* its stream; false: it has none. It may free p */
/* Now, unless an attempt is under way after one that has failed. false: neither. */
bool partner_try_again(struct partner *p);
