/* throttle: failed logins, counted so that guessing ends and nobody is locked out by the guesses of
 * others (settings auth.failure*, auth.block-time). Refused for a time are
 *
 *   - an address (IPv6: its /64, and ten times as many failures of its /48),
 *   - an account as tried from one address.
 *
 * An account as a whole is never refused, only slowed down. Logins that are known to be of its
 * owner are counted by themselves and pass all of that: from an address that logged in as this
 * account before, or by a device of the account (auth/devices.h).
 *
 * An attempt takes its place as a failure before its credentials are compared, and gives it back if
 * they were right. So attempts at the same time get no more guesses than attempts in a row.
 *
 * One for the process, any thread. Memory: at most THROTTLE_ENTRIES_MAX entries of each of three
 * kinds, some 20 MiB; whatever counts no more gives way first, then what is not refused and failed
 * longest ago, and a refusal only when nothing else is left. Of addresses that logged in, 65,536
 * are remembered (512 KiB), the last four of each group of accounts, so logins as one account do
 * not push out those of others. Times are parameters: monotonic, µs. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <sys/socket.h>

struct throttle;

enum { THROTTLE_ENTRIES_MAX = 65536, THROTTLE_PEER_MAX = 48 };
enum { THROTTLE_NETWORK_FACTOR = 10 }; /* a /48 in addresses */

struct throttle *throttle_create(void);
void throttle_destroy(struct throttle **t);

enum throttle_trust { TRUST_NONE, TRUST_ADDRESS, TRUST_DEVICE };

/* One attempt. A value: it may be copied, for another thread too. */
struct throttle_try {
    uint64_t address, network, pair, account, device; /* keyed hashes; 0: not counted */
    enum throttle_trust trust;
    bool taken;
    slice jid; /* borrowed, for the log */
    char peer[THROTTLE_PEER_MAX];
};
/* account: a bare JID, or empty: there are none here. device: id of its user agent, or NULL. Peers
 * without an IP address are counted by account alone. */
void throttle_try_init(struct throttle_try *try, const struct sockaddr *peer, slice account,
                       const uint8_t *device);

/* Whether this address is counted together with that of the attempt. */
bool throttle_is_near(const struct throttle_try *try, const struct sockaddr *address);

/* What is to be done with an attempt whose credentials are not compared yet; counts nothing, but
 * recognizes addresses that logged in before. */
enum throttle_answer { THROTTLE_GO, THROTTLE_SLOW /* after delay_ms */, THROTTLE_REFUSE };
enum throttle_answer throttle_ask(struct throttle *t, struct throttle_try *try, uint64_t now_us,
                                  uint32_t *delay_ms);

/* Immediately before the comparison. E_DENIED: it may not be made. After OK exactly one of the
 * others must follow. */
NODISCARD enum err throttle_take(struct throttle *t, struct throttle_try *try, uint64_t now_us);
void throttle_failed(struct throttle *t, struct throttle_try *try, uint64_t now_us);
/* The account starts again at this address (or this device), which is remembered. The address as a
 * whole does not, else one account of their own would let guessers go on for ever. */
void throttle_passed(struct throttle *t, struct throttle_try *try, uint64_t now_us);
void throttle_void(struct throttle *t,
                   struct throttle_try *try); /* nothing was compared after all */
