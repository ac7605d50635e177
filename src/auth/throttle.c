#include "auth/throttle.h"
#include "auth/auth.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include <netinet/in.h>
#include <pthread.h>

enum { KEY_BYTES_MAX = 8, US_PER_MS = 1000, EXPIRED_PER_CALL = 4 };

struct entry {
    struct list node;    /* by time of the last failure */
    uint64_t id;         /* keyed hash of what is counted: its bytes need not be kept */
    uint64_t window_us;  /* when the window began */
    uint64_t blocked_us; /* refused until then */
    int64_t failures;
};

struct throttle {
    pthread_mutex_t lock; /* guards what follows */
    struct map entries;   /* by id */
    struct list oldest;
};

static slice entry_key(const void *item)
{
    const struct entry *e = item;
    return (slice){ (const char *)&e->id, sizeof e->id };
}

struct throttle *throttle_create(void)
{
    struct throttle *t = mem_new(struct throttle);
    pthread_mutex_init(&t->lock, NULL);
    map_init(&t->entries, entry_key);
    list_init(&t->oldest);
    return t;
}

static void entry_drop(struct throttle *t, struct entry *e)
{
    map_del(&t->entries, entry_key(e));
    list_remove(&e->node);
    mem_free(&e);
}

void throttle_destroy(struct throttle **pt)
{
    struct throttle *t = *pt;
    if (t == NULL)
        return;
    while (!list_empty(&t->oldest))
        entry_drop(t, CONTAINER_OF(t->oldest.next, struct entry, node));
    map_fini(&t->entries);
    pthread_mutex_destroy(&t->lock);
    mem_free(pt);
}

/* 0: not counted. Accounts and addresses cannot meet: a localpart has no '/'. */
static uint64_t account_id(slice account) { return account.len > 0 ? hash_keyed(account) : 0; }

static uint64_t address_id(const struct sockaddr *peer)
{
    char key[1 + KEY_BYTES_MAX] = { '/' };
    size_t len = 1;
    if (peer->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, peer, sizeof v4);
        memcpy(key + len, &v4.sin_addr, 4);
        len += 4;
    } else if (peer->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, peer, sizeof v6);
        size_t bytes = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) ? 4 : 8; /* ::ffff:1.2.3.4 is 1.2.3.4 */
        memcpy(key + len, v6.sin6_addr.s6_addr + (bytes == 4 ? 12 : 0), bytes);
        len += bytes;
    } else {
        return 0;
    }
    return hash_keyed((slice){ key, len });
}

static struct entry *find(struct throttle *t, uint64_t id)
{
    return id == 0 ? NULL : map_get(&t->entries, (slice){ (const char *)&id, sizeof id });
}

static bool expired(const struct entry *e, uint64_t now_us)
{
    uint64_t window_us = (uint64_t)setting_int(&auth_failure_window) * US_PER_MS;
    return now_us >= e->blocked_us &&
           now_us >= e->window_us + window_us; /* workers' times differ */
}

/* Makes room for one, and takes the chance to drop what counts no more. */
static void make_room(struct throttle *t, uint64_t now_us)
{
    for (int i = 0; i < EXPIRED_PER_CALL && !list_empty(&t->oldest); i++) {
        struct entry *e = CONTAINER_OF(t->oldest.next, struct entry, node);
        if (!expired(e, now_us) && t->entries.count < THROTTLE_ENTRIES_MAX)
            return;
        entry_drop(t, e);
    }
}

static void count_failure(struct throttle *t, uint64_t id, const struct setting *limit,
                          uint64_t now_us)
{
    if (id == 0)
        return;
    struct entry *e = find(t, id);
    if (e == NULL) {
        make_room(t, now_us);
        e = mem_new(struct entry);
        e->id = id;
        e->window_us = now_us;
        map_put(&t->entries, e);
    } else if (expired(e, now_us)) {
        e->window_us = now_us;
        e->failures = 0;
    }
    list_remove(&e->node);
    list_append(&t->oldest, &e->node);
    e->failures++;
    if (e->failures >= setting_int(limit))
        e->blocked_us = now_us + (uint64_t)setting_int(&auth_block_time) * US_PER_MS;
    ensure_debug(t->entries.count <= THROTTLE_ENTRIES_MAX);
}

static bool is_blocked(struct throttle *t, uint64_t id, uint64_t now_us)
{
    const struct entry *e = find(t, id);
    return e != NULL && now_us < e->blocked_us;
}

enum err throttle_check(struct throttle *t, const struct sockaddr *peer, slice account,
                        uint64_t now_us)
{
    uint64_t by_address = address_id(peer), by_account = account_id(account);
    pthread_mutex_lock(&t->lock);
    bool blocked = is_blocked(t, by_address, now_us) || is_blocked(t, by_account, now_us);
    pthread_mutex_unlock(&t->lock);
    if (blocked)
        metric_add(&auth_throttled, 1);
    return blocked ? E_DENIED : OK;
}

void throttle_fail(struct throttle *t, const struct sockaddr *peer, slice account, uint64_t now_us)
{
    uint64_t by_address = address_id(peer), by_account = account_id(account);
    pthread_mutex_lock(&t->lock);
    count_failure(t, by_address, &auth_failures_per_address, now_us);
    count_failure(t, by_account, &auth_failures_per_account, now_us);
    pthread_mutex_unlock(&t->lock);
}

void throttle_ok(struct throttle *t, slice account)
{
    pthread_mutex_lock(&t->lock);
    struct entry *e = find(t, account_id(account));
    if (e != NULL)
        entry_drop(t, e);
    pthread_mutex_unlock(&t->lock);
}
