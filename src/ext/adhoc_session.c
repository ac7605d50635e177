#include "ext/adhoc_session.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "core/feature.h"
#include "home/here.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

enum { SESSION_US = 600 * 1000000, ENDED_MAX = 1024, KEY_BYTES = 32, MAC_BYTES = 16 };

static char session_key[KEY_BYTES]; /* of this process */

void adhoc_sessions_start(void) { rand_bytes(session_key, sizeof session_key); }

static void session_mac(char out[2 * MAC_BYTES + 1], const struct iq *iq, slice node, slice time)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    slice from = stanza_from(iq->st);
    char *text = arena_printf(iq->tmp, "%.*s\n%.*s\n%.*s", SLICE_ARG(time), SLICE_ARG(from),
                              SLICE_ARG(node));
    HMAC(EVP_sha256(), session_key, KEY_BYTES, (const unsigned char *)text, strlen(text), mac,
         &len);
    hex_encode(out, (slice){ (const char *)mac, MAC_BYTES });
}

slice adhoc_session_make(const struct iq *iq, slice node)
{
    char mac[2 * MAC_BYTES + 1];
    const char *time =
        arena_printf(iq->tmp, "%llu", (unsigned long long)loop_wall_us(worker_loop(iq->worker)));
    session_mac(mac, iq, node, slice_of(time));
    return slice_of(arena_printf(iq->tmp, "%s.%s", time, mac));
}

slice adhoc_session_of(const struct iq *iq, slice node)
{
    slice given = elem_attr(&iq->payload, "sessionid", iq->tmp);
    return given.len > 0 ? given : adhoc_session_make(iq, node);
}

/* Executions that ended: a request that is repeated must not run its command again. One ends where
 * it was answered, at the home of who runs it. */
struct ended {
    uint32_t count; /* of all until now; the last ENDED_MAX are kept */
    uint64_t hash[ENDED_MAX];
};
unsigned adhoc_sessions_slot;

static bool session_has_ended(const struct iq *iq, slice id)
{
    const struct ended *e = *worker_state(iq->worker, adhoc_sessions_slot);
    uint64_t hash = hash_keyed(id);
    for (uint32_t i = 0; e != NULL && i < e->count && i < ENDED_MAX; i++)
        if (e->hash[i] == hash)
            return true;
    return false;
}

void adhoc_session_ended(const struct iq *iq)
{
    struct ended **e = (struct ended **)worker_state(iq->worker, adhoc_sessions_slot);
    slice id = elem_attr(&iq->payload, "sessionid", iq->tmp);
    if (id.len == 0)
        return;
    if (*e == NULL)
        *e = mem_new(struct ended);
    (*e)->hash[(*e)->count % ENDED_MAX] = hash_keyed(id);
    (*e)->count = (*e)->count + 1 < 2 * ENDED_MAX ? (*e)->count + 1 : ENDED_MAX;
}

void adhoc_sessions_end(struct worker *w) { mem_free(worker_state(w, adhoc_sessions_slot)); }

enum adhoc_session adhoc_session_check(const struct iq *iq, slice node)
{
    char mac[2 * MAC_BYTES + 1];
    slice time, given, id = elem_attr(&iq->payload, "sessionid", iq->tmp);
    int64_t at;
    if (id.len == 0)
        return SESSION_NONE;
    if (!slice_cut(id, '.', &time, &given) || given.len != 2 * MAC_BYTES || !slice_int(time, &at))
        return SESSION_BAD;
    session_mac(mac, iq, node, time);
    if (CRYPTO_memcmp(mac, given.ptr, given.len) != 0 || session_has_ended(iq, id))
        return SESSION_BAD;
    return loop_wall_us(worker_loop(iq->worker)) - (uint64_t)at > SESSION_US ? SESSION_EXPIRED
                                                                             : SESSION_GOOD;
}
