/* throttle: failed logins counted per address (IPv6: per /64) and per account; after too many
 * within the window further attempts are refused for a time (settings auth.failure*,
 * auth.block-time).
 *
 * One for the process, any thread. At most THROTTLE_ENTRIES_MAX entries: the one whose last failure
 * is oldest gives way. Time is a parameter: monotonic, µs. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <sys/socket.h>

struct throttle;

enum { THROTTLE_ENTRIES_MAX = 65536 };

struct throttle *throttle_create(void);
void throttle_destroy(struct throttle **t);

/* E_DENIED: too many failures by this peer or as this account (a bare JID, or empty: not known
 * yet). Peers that are not IP addresses are counted by account alone. Counts auth_throttled. */
NODISCARD enum err throttle_check(struct throttle *t, const struct sockaddr *peer, slice account,
                                  uint64_t now_us);
void throttle_fail(struct throttle *t, const struct sockaddr *peer, slice account, uint64_t now_us);
/* A login succeeded: its account starts again. The address does not, else one account of their own
 * would let guessers go on for ever. */
void throttle_ok(struct throttle *t, slice account);
