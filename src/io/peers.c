#include "io/peers.h"
#include "base/mem.h"
#include <string.h>

struct peer {
    struct peer_key key;
    int64_t count; /* within the limit */
    int64_t told;
};

static slice key_of(const void *item)
{
    const struct peer *p = item;
    return (slice){ p->key.bytes, p->key.len };
}

void peers_init(struct peers *p)
{
    pthread_mutex_init(&p->lock, NULL);
    map_init(&p->counts, key_of);
}

void peers_fini(struct peers *p)
{
    struct peer *one;
    for (uint32_t i = 0; (one = map_next(&p->counts, &i)) != NULL;)
        mem_free(&one);
    map_fini(&p->counts);
    pthread_mutex_destroy(&p->lock);
}

struct peer_key peer_key_of(const struct sockaddr *peer)
{
    struct peer_key key = { 0 };
    if (peer->sa_family == AF_INET) {
        key.len = 4;
        memcpy(key.bytes, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, key.len);
    } else if (peer->sa_family == AF_INET6) {
        key.len = 8;
        memcpy(key.bytes, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, key.len);
    }
    return key;
}

static struct peer *peer_make(struct peers *p, struct peer_key key)
{
    struct peer *one = mem_zalloc(sizeof *one);
    one->key = key;
    map_put(&p->counts, one);
    return one;
}

enum peers_room peers_enter(struct peers *p, const struct sockaddr *peer, int64_t max,
                            struct peer_key *key)
{
    enum peers_room room = PEERS_ROOM;
    *key = peer_key_of(peer);
    if (key->len == 0)
        return PEERS_ROOM;
    pthread_mutex_lock(&p->lock);
    struct peer *one = map_get(&p->counts, (slice){ key->bytes, key->len });
    if (one == NULL)
        one = peer_make(p, *key);
    if (one->count >= max)
        room = one->told < PEERS_TOLD_MAX ? PEERS_REFUSE : PEERS_CLOSE;
    one->count += room == PEERS_ROOM;
    one->told += room == PEERS_REFUSE;
    key->beyond = room == PEERS_REFUSE;
    if (room == PEERS_CLOSE)
        key->len = 0;
    pthread_mutex_unlock(&p->lock);
    return room;
}

void peers_leave(struct peers *p, struct peer_key *key)
{
    if (key->len == 0)
        return;
    pthread_mutex_lock(&p->lock);
    struct peer *one = map_get(&p->counts, (slice){ key->bytes, key->len });
    one->count -= !key->beyond;
    one->told -= key->beyond;
    if (one->count == 0 && one->told == 0) {
        map_del(&p->counts, key_of(one));
        mem_free(&one);
    }
    pthread_mutex_unlock(&p->lock);
    key->len = 0;
}
