/* throttle: counts failed logins, to stop guessing without locking out the owner of the account
 * (settings auth.failure*, auth.block-time). Refused for a time are
 *
 *   - an address (IPv6: its /64, and ten times as many failures of its /48),
 *   - an account as tried from one address.
 *
 * An account as a whole is slowed down: after auth.failures-per-account failures its attempts take
 * turns, 1 s apart, and up to 8 s when there are many. Attempts that probably come from the owner
 * are counted separately and pass all of that. These come from an address that has logged in to the
 * account before, or from a device of the account (auth/devices.h).
 *
 * An attempt is counted as a failure before its credentials are compared, and uncounted if they
 * were right. So parallel attempts get no more guesses than attempts one after the other. For the
 * same reason an attempt whose client goes away while it waits for its turn is a failure.
 *
 * Limits of the turns: an attempt waits at most THROTTLE_WAIT_MS_MAX, so at most 16 of an account
 * wait; one more is refused. Each address waits for one turn of an account, and one that has failed
 * within the window waits at most half as long. So guesses from a few addresses leave turns for
 * the owner at a new address. While guesses come from very many, the owner at a new address may be
 * refused, too, and has to try again; known devices and addresses are not held up.
 *
 * One for the process, any thread. Memory: at most THROTTLE_ENTRIES_MAX entries of each of three
 * kinds, some 20 MiB. When they are full, expired entries are replaced first, then the oldest that
 * are not refused, and refused ones last. 65,536 addresses that logged in are remembered (512 KiB),
 * the last four for each group of accounts, so that one account cannot displace the addresses of
 * others. Times are parameters: monotonic, µs. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include <sys/socket.h>

struct throttle;

enum { THROTTLE_ENTRIES_MAX = 65536, THROTTLE_PEER_MAX = 48 };
enum { THROTTLE_NETWORK_FACTOR = 10 }; /* a /48 in addresses */
enum { THROTTLE_WAIT_MS_MAX = 16000 };

struct throttle *throttle_create(void);
void throttle_destroy(struct throttle **t);

enum throttle_trust { TRUST_NONE, TRUST_ADDRESS, TRUST_DEVICE };

/* One attempt. It may be copied, also to another thread. */
struct throttle_try {
    uint64_t address, network, pair, account, device; /* keyed hashes; 0: not counted */
    enum throttle_trust trust;
    bool taken, waits;
    slice jid; /* borrowed, for the log */
    char peer[THROTTLE_PEER_MAX];
};
/* account: a bare JID, or empty if the login has no account (rooms, components). device: id of the
 * user agent, or NULL. Peers without an IP address are counted by account only. */
void throttle_try_init(struct throttle_try *try, const struct sockaddr *peer, slice account,
                       const uint8_t *device);

/* Whether this address is counted under the same key as that of the attempt. */
bool throttle_is_near(const struct throttle_try *try, const struct sockaddr *address);

/* What throttle_take() would say. Counts nothing, but recognizes addresses that have logged in
 * before. */
enum throttle_answer { THROTTLE_GO, THROTTLE_SLOW /* it would wait */, THROTTLE_REFUSE };
enum throttle_answer throttle_ask(struct throttle *t, struct throttle_try *try, uint64_t now_us);

/* Call it before comparing credentials. E_DENIED: do not compare. After OK, compare them when
 * *wait_ms are over (0: now); exactly one of the following three must be called. */
NODISCARD enum err throttle_take(struct throttle *t, struct throttle_try *try, uint64_t now_us,
                                 uint32_t *wait_ms);
/* The credentials were wrong, or the client left while the attempt waited for its turn. */
void throttle_failed(struct throttle *t, struct throttle_try *try, uint64_t now_us);
/* The login succeeded. Clears the failures of the account at this address or device, and remembers
 * the address. The failures of the address as a whole are kept: otherwise an attacker with one
 * account could clear them and guess without end. */
void throttle_passed(struct throttle *t, struct throttle_try *try, uint64_t now_us);
void throttle_void(struct throttle *t,
                   struct throttle_try *try); /* the credentials were not compared */
