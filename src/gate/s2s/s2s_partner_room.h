/* s2s_partner_room: whether a stanza finds room in the queue for its partner, and what operators
 * are told when one does not: the log, a metric, `s2s list` and `s2s show`. */
#pragma once
#include <stdbool.h>

struct metric;
struct partner;
struct s2s_sent;
struct s2s_shown;
struct stanza;

extern struct metric s2s_overflows;

/* false: noted, and its sender is to be told. */
bool partner_room_for(struct partner *p, const struct stanza *st);
/* Half of it is left, for what is not stored, such as answers. */
bool partner_room_is_ample(const struct partner *p);
/* One that must not go to the inbox (s2s_behind_has()): keeps it until that is empty, and takes
 * over the reference. false: it is to be refused. */
bool partner_room_keeps(struct partner *p, const struct s2s_sent *s);
/* It was not stored, so it goes back to its sender. */
void partner_room_refuses(struct partner *p, const struct stanza *st);
void partner_room_show(const struct partner *p, struct s2s_shown *out);
