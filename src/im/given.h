/* given: which sessions have taken a copy of a message that is addressed to another session of
 * their account, which has not taken it yet. If that one ends, they are not given it again.
 *
 * Confined to the home of the account. Limit: the entries of the mailbox that are not settled,
 * times the sessions; settled ones go when the list would have to grow. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct account;
struct given;

void given_put(struct account *a, uint64_t archive_id, uint64_t session);
bool given_to(const struct account *a, uint64_t archive_id, uint64_t session);
void given_free(struct account *a);
