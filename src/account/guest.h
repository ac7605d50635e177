/* guest: users without an account (SASL ANONYMOUS, RFC 4505). A guest is an account that exists in
 * memory only, under a name of its own, while its session lasts: its id is below zero, nothing of
 * it is stored, and what would be is refused. Guests reach their own domain and its services.
 *
 * Limit: guest.max sessions. */
#pragma once
#include "account/account.h"

struct feature;
struct session;

static inline bool account_is_guest(const struct account *a) { return a->id < 0; }

/* Whether one more guest may come to this domain. Any thread. */
bool guest_allowed(slice domain);   /* guests may log in to it at all */
bool guest_may_leave(slice domain); /* whether its guests reach other domains (guest.remote) */
bool guest_room(void);
int64_t guest_id(void);        /* for a new one */
void guest_name(char out[33]); /* its localpart, at most 32 bytes */
bool guest_is(slice bare);     /* whether it looks like the address of one. Any thread. */

/* Counted by session/session.c. */
void guest_began(const struct session *s);
void guest_ended(const struct session *s);

extern const struct feature guest_feature;
