/* outgoing_count: how many stored messages of one user wait for foreign domains (im/outgoing.h):
 * so that a user cannot fill the database with messages for a domain that is down. Counted in
 * memory at the home of the sender, for each user and domain: read from the database when it is
 * first needed, then kept up to date. A count may be too low by what is settled while it is read;
 * it is read again while messages are refused.
 *
 * Limits: s2s.kept-max for a user and a domain; OUTGOING_DOMAINS times as many for a user and all
 * domains that were counted. A worker keeps OUTGOING_COUNTS_MAX counts and forgets the one that was
 * used longest ago. Confined to the worker. */
#pragma once
#include "base/slice.h"
#include "home/router.h"
#include <stdbool.h>
#include <stdint.h>

struct stanza;
struct worker;

enum { OUTGOING_DOMAINS = 10, OUTGOING_COUNTS_MAX = 65536 };

/* Whether one more message of this user may wait for the domain of its addressee. */
bool outgoing_has_room(struct worker *w, const struct stanza *st, int64_t sender);
/* archive_keep_sent(), which counts what waits. */
void outgoing_keep_sent(struct worker *w, struct stanza *st, struct origin origin, uint64_t entry,
                        int64_t sender, enum sent_how how);
/* The number of a count; 0: there is none, so what is being settled does not change it. */
uint64_t outgoing_count_of(struct worker *w, slice domain, int64_t sender);
/* So many wait no longer. number: as it was when that was submitted. */
void outgoing_count_settled(struct worker *w, slice domain, int64_t sender, uint64_t number,
                            uint32_t messages);

extern const struct feature outgoing_feature;
