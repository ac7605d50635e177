#include "io/peers.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include <pthread.h>
#include <string.h>

struct peer {
    struct peer_key key;
    uint32_t count[PEERS_KINDS]; /* within the limit */
    uint32_t told[PEERS_KINDS];
};

static struct {
    pthread_mutex_t lock; /* guards the map */
    struct map counts;
} peers = { .lock = PTHREAD_MUTEX_INITIALIZER };

static slice peers_key_of(const void *item)
{
    const struct peer *p = item;
    return (slice){ p->key.bytes, p->key.len };
}

static struct peer_key peer_key_of(enum peers_kind kind, const struct sockaddr *peer)
{
    struct peer_key key = { .kind = (uint8_t)kind };
    if (peer->sa_family == AF_INET) {
        key.len = 4;
        memcpy(key.bytes, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, key.len);
    } else if (peer->sa_family == AF_INET6) {
        key.len = 8;
        memcpy(key.bytes, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, key.len);
    }
    return key;
}

uint64_t peers_hash(const struct sockaddr *peer)
{
    struct peer_key key = peer_key_of(PEERS_C2S, peer);
    return key.len == 0 ? 0 : hash_keyed((slice){ key.bytes, key.len });
}

static struct peer *peer_obtain(struct peer_key key)
{
    if (peers.counts.key == NULL)
        map_init(&peers.counts, peers_key_of);
    struct peer *one = map_get(&peers.counts, (slice){ key.bytes, key.len });
    if (one != NULL)
        return one;
    one = mem_new(struct peer);
    one->key = key;
    map_put(&peers.counts, one);
    return one;
}

static bool peer_is_gone(const struct peer *one)
{
    uint32_t all = 0;
    for (int kind = 0; kind < PEERS_KINDS; kind++)
        all += one->count[kind] + one->told[kind];
    return all == 0;
}

static void peer_forget(struct peer *one)
{
    if (!peer_is_gone(one))
        return;
    map_del(&peers.counts, peers_key_of(one));
    mem_free(&one);
}

enum peers_room peers_enter(enum peers_kind kind, const struct sockaddr *peer, int64_t max,
                            struct peer_key *key)
{
    enum peers_room room = PEERS_ROOM;
    *key = peer_key_of(kind, peer);
    if (key->len == 0)
        return PEERS_ROOM;
    pthread_mutex_lock(&peers.lock);
    struct peer *one = peer_obtain(*key);
    if (one->count[kind] >= max)
        room = one->told[kind] < PEERS_TOLD_MAX ? PEERS_REFUSE : PEERS_CLOSE;
    one->count[kind] += room == PEERS_ROOM;
    one->told[kind] += room == PEERS_REFUSE;
    key->beyond = room != PEERS_ROOM;
    if (room == PEERS_CLOSE)
        key->len = 0;
    pthread_mutex_unlock(&peers.lock);
    return room;
}

void peers_leave(struct peer_key *key)
{
    if (key->len == 0)
        return;
    pthread_mutex_lock(&peers.lock);
    struct peer *one = map_get(&peers.counts, (slice){ key->bytes, key->len });
    ensure(one != NULL);
    uint32_t *count = key->beyond ? one->told : one->count;
    ensure(count[key->kind] > 0);
    count[key->kind]--;
    peer_forget(one);
    pthread_mutex_unlock(&peers.lock);
    key->len = 0;
}
