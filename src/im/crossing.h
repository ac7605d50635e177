/* crossing: words about subscriptions that crossed. A user may ask again while the answer to an
 * earlier request is on its way, and an answer says nothing about a request that its sender did not
 * know yet. RFC 6121 has no numbers for this; between accounts of this server each wish (subscribe,
 * unsubscribe) carries one, and each grant (subscribed, unsubscribed) the number of the last wish
 * that its sender had heard.
 *
 * In memory only, for as long as words are on their way: a request counts as open for ASKED_US, and
 * what was heard is known for longer. Confined to the home of the account. Limit: CROSSINGS_MAX
 * contacts; beyond, the oldest is forgotten. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct account;
struct crossings;

uint64_t crossing_number(const struct account *a); /* rising, across restarts */
void crossing_asked(struct account *a, slice contact, uint64_t number); /* `subscribe` was sent */
/* A wish of theirs is committed. */
void crossing_heard(struct account *a, slice contact, uint64_t number);
/* The wish of that number was heard already, or a later one was: it is a copy. */
bool crossing_is_repeat(const struct account *a, slice contact, uint64_t number);
uint64_t crossing_last_heard(const struct account *a, slice contact); /* 0: of none of late */
/* The contact had heard `heard` last when it answered; the account has asked since. */
bool crossing_is_stale(const struct account *a, slice contact, uint64_t heard);
bool crossing_is_fresh(const struct account *a); /* something was asked or heard of late */
void crossing_free(struct account *a);
