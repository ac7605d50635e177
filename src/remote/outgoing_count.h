/* outgoing_count: how many stored messages of one user wait for foreign domains
 * (remote/outgoing.h), so that no user fills the database with messages for a domain that is down.
 * Counted at the home of the sender, for each user and domain: read when it is first needed, then
 * kept up to date. A count may be too low by what is settled while it begins; it is read again
 * while messages are refused. A count of 0 is kept for OUTGOING_HEARD_US: the domain may still
 * answer.
 *
 * Limits: s2s.kept-max for a user and a domain; OUTGOING_DOMAINS times as many for a user and all
 * domains that were counted; OUTGOING_COUNTS_MAX counts of a worker: the one that was used longest
 * ago goes. Confined to the worker. */
#pragma once
#include "base/slice.h"
#include "home/router.h"
#include <stdbool.h>
#include <stdint.h>

struct stanza;
struct worker;

enum {
    OUTGOING_DOMAINS = 10,
    OUTGOING_COUNTS_MAX = 65536,
    OUTGOING_HEARD_US = 600 * 1000000,
    OUTGOING_ANSWERED_MAX = 256
};

/* Whether one more message of this user may wait for the domain of its addressee. */
bool outgoing_has_room(struct worker *w, const struct stanza *st, int64_t sender);
/* archive_keep_sent(), which counts what waits. */
void outgoing_keep_sent(struct worker *w, struct stanza *st, struct origin origin, uint64_t entry,
                        int64_t sender, enum sent_how how);
/* So many wait no longer, and the domain may answer them now. */
void outgoing_count_settled(struct worker *w, slice domain, int64_t sender, uint32_t messages);
/* Whether an error may answer a stored message of this user, by the address that it comes from and
 * its id: one of the last OUTGOING_ANSWERED_MAX for that domain, which waits, or has ended to wait
 * within the last OUTGOING_HEARD_US; and each is answered once. After a restart ids are not known,
 * but how many wait. */
bool outgoing_is_heard(const struct worker *w, const struct stanza *error, int64_t sender);
void outgoing_heard(struct worker *w, const struct stanza *error,
                    int64_t sender); /* it was taken */
/* Memory does not know yet: true, and the database is asked, on the lane of the sender. */
bool outgoing_count_learn(struct worker *w, slice domain, int64_t sender);

extern const struct feature outgoing_feature;
