/* forget_later: an account was emptied and keeps its address. Accounts of ours that have it in
 * their contact lists are not told yet ("forget", im/roster_out.h): an import may fill it again,
 * with subscriptions that they still have. They are told when that is done, of all that it did not
 * bring back; when the account is enabled or its address becomes free; else after
 * FORGET_LATER_MS, also if the server is started meanwhile: the words are rows of roster_out
 * all the time, which say when that is.
 *
 * Confined to the home worker of the address. Limit: FORGET_LATER_MAX addresses a worker; of others
 * they are told at once. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct core;
struct worker;

enum { FORGET_LATER_MAX = 20000, FORGET_LATER_MS = 10 * 60 * 1000 };

typedef void forget_later_fn(struct worker *w, slice bare); /* the time is over; it waits no more */

/* It waits from now on, for so long; again: fine. false: too many do. */
bool forget_later_begin(struct worker *w, slice bare, uint64_t ms, forget_later_fn *fn);
bool forget_later_waits(const struct worker *w, slice bare);
void forget_later_end(struct worker *w, slice bare); /* if it waits */
void forget_later_init(struct core *c);
void forget_later_fini(struct core *c); /* memory only */
