/* federation_rate: how much each foreign domain does on this node, over all its streams together:
 * stanzas, subscription requests, and strangers, which are foreign addresses that write to a user
 * of ours for the first time.
 *
 * Domains and addresses are chosen by others, so the memory is fixed: FEDERATION_DOMAINS_MAX
 * domains and FEDERATION_KNOWN_MAX pairs of addresses, some 1.2 MiB. Beyond, the one that was not
 * seen for longest is forgotten, of a few that share its place. A domain that is forgotten begins
 * anew with a full allowance. A pair that is forgotten counts as strangers again. Nothing of this
 * survives a restart.
 *
 * One for the process, any thread. Times are parameters: monotonic, µs. A limit of PARAM_NONE
 * counts nothing. */
#pragma once
#include "base/slice.h"

enum { FEDERATION_DOMAINS_MAX = 4096, FEDERATION_KNOWN_MAX = 65536, FEDERATION_DEBT_S = 30 };

struct federation_rates;

struct federation_rates *federation_rates_create(void);
void federation_rates_destroy(struct federation_rates **r);

/* One more of this domain, which has been read: for how many µs the stream that it came from is not
 * to be read. All streams of the domain share one debt, so together they keep to the rate: each
 * waits until what all have read is paid for. No more than FEDERATION_DEBT_S seconds are owed. */
uint64_t federation_rate_stanza(struct federation_rates *r, slice domain, int64_t per_second,
                                uint64_t now_us);
/* One more of this domain. false: there are too many; it is not counted. */
bool federation_rate_request(struct federation_rates *r, slice domain, int64_t per_minute,
                             uint64_t now_us);
/* A message of a foreign address without a relation to the account that it is for. */
struct federation_pair {
    slice ours, theirs; /* bare */
};
bool federation_rate_stranger(struct federation_rates *r, const struct federation_pair *p,
                              int64_t per_hour, uint64_t now_us);
/* The user has written to that address: its answer is not a stranger's. */
void federation_rate_met(struct federation_rates *r, const struct federation_pair *p,
                         uint64_t now_us);
/* Whether the user has, as far as it is remembered. */
bool federation_rate_is_met(struct federation_rates *r, const struct federation_pair *p);
