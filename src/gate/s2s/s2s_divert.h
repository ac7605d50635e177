/* s2s_divert: a connection of a pair that cannot be made, while another one of the pair is up
 * (gate/s2s/s2s_connections.h): that carries its stanzas, too. So a server that accepts fewer
 * connections gets all, and also one that we cannot connect to, on the stream that it has made
 * itself (gate/s2s/s2s_partner_back.h). It does not while its session is kept, and stanzas of that
 * may have arrived: partner_waits_for_session().
 *
 * What comes for the partner still comes to it, and it hands everything on, so the order stays. It
 * ends that when the other partner has ended, and nothing was handed on for a while: nothing older
 * is on its way then. Confined to the worker of the partner. */
#pragma once
#include "gate/s2s/s2s_gate.h"

struct partner;
struct s2s_sent;

enum { DIVERT_LOOK_MS = 60000 };

/* The partner has none to the server, after some attempts. false: no other one of its pair is up.
 */
bool divert_begins(struct partner *p);
void divert_sends(struct partner *p, struct s2s_sent *s); /* takes over the reference */
unsigned divert_worker(const struct partner *p);          /* of that other partner */
void divert_mail(struct partner *p); /* the database has messages of its shares, perhaps */
bool divert_may_end(const struct partner *p);
/* The partner has reached the server: other connections of its pair that pause pause no more. Not
 * for a stream on which nothing is confirmed, or attempts to such a server would not slow down. */
void divert_tells_others(const struct partner *p);
/* The partner carries these shares, too, from now on: a bit for each. false: it had them. */
bool divert_takes_over(struct partner *p, uint16_t shares);
