/* given: which sessions have taken a copy of a message that is addressed to another session of
 * their account, which has not taken it yet. If that one ends, they are not given it again.
 *
 * Confined to the home of the account. Limit: the entries of the mailbox that are not settled,
 * times the sessions; settled ones go when the list would have to grow. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct account;
struct buf;
struct given;

void given_put(struct account *a, uint64_t archive_id, uint64_t session);
bool given_to(const struct account *a, uint64_t archive_id, uint64_t session);
/* What that session was given of messages that are not settled, as GIVEN_BYTES each, and back. */
enum { GIVEN_BYTES = 8 };
void given_save(const struct account *a, uint64_t session, struct buf *out);
void given_restore(struct account *a, uint64_t session, slice saved);
void given_free(struct account *a);
