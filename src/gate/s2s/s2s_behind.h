/* s2s_behind: pairs of addresses that have stored messages behind the inbox of one partner: too
 * much waited, so these were left to the database, and go when the inbox is empty
 * (gate/s2s/s2s_mail.h). A stanza of such a pair that is not stored must not wait in that inbox, as
 * it would overtake them (RFC 6120 §10.1). It is refused, with two exceptions, which are kept here
 * until the inbox is empty. Unavailable presence is, since nobody sends it again, and a server that
 * does not hear it shows a ghost. Stanzas that another connection hands over when it fails are,
 * since that is no reason to refuse them.
 *
 * A pair is a full JID and the account that it writes to. Two pairs with the same hash count as
 * one. Confined to the worker of its partner. */
#pragma once
#include "base/map.h"
#include <stdint.h>

struct s2s_sent;
struct stanza;

enum { BEHIND_MAX = 65536 }; /* pairs */

struct s2s_behind {
    struct map pairs;
    struct s2s_sent *kept;      /* in the order in which they came; NULL: none */
    uint32_t first, count, cap; /* of these, `count` are left, from `first` on */
    uint64_t version; /* foreign_version() by which all of these were judged, or an older one */
    uint16_t shares;  /* a bit for each: all their pairs may have such messages */
};

void s2s_behind_init(struct s2s_behind *b);
void s2s_behind_fini(struct s2s_behind *b); /* drops the references of `kept` */
/* BEHIND_MAX pairs have some, and this one has none: its message is refused. */
bool s2s_behind_is_full(const struct s2s_behind *b, const struct stanza *st);
/* A message of the pair of `st` is left to the database, or is there and goes behind `st`. */
void s2s_behind_add(struct s2s_behind *b, const struct stanza *st, uint64_t entry);
/* The first of these messages; 0: there are none. */
uint64_t s2s_behind_first(const struct s2s_behind *b, const struct stanza *st);
/* Whether that stanza, which is not stored, must not go to the inbox. connections: of its domains.
 */
bool s2s_behind_has(const struct s2s_behind *b, const struct stanza *st, unsigned connections);
/* Keeps one that s2s_behind_has(), and takes over the reference. false: a stored message came
 * behind another one that is kept of its pair, and would be overtaken. */
bool s2s_behind_keeps(struct s2s_behind *b, const struct s2s_sent *s, uint64_t version);
/* Whether a message of the database, or st NULL, is behind the inbox. */
bool s2s_behind_is(const struct s2s_behind *b, const struct stanza *st, uint64_t entry);
/* The inbox is empty: all that the database has goes before the next inbox, which begins with what
 * is kept; but for messages that came behind that. */
void s2s_behind_ends(struct s2s_behind *b);
/* The inbox was refused, and what was kept, too: all that the database has goes before the next
 * one. */
void s2s_behind_clear(struct s2s_behind *b);
/* The oldest that was kept, with its reference. count > 0. */
struct s2s_sent s2s_behind_take(struct s2s_behind *b);
