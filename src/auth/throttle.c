#include "auth/throttle.h"
#include "auth/auth.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>

enum { US_PER_MS = 1000, EXPIRED_PER_CALL = 4 };
enum { KNOWN_SETS = 16384, KNOWN_WAYS = 4 };
enum { SLOW_MS = 1000, SLOWEST_MS = 8000 };
enum { V4_BYTES = 4, V6_ADDRESS_BYTES = 8, V6_NETWORK_BYTES = 6 };

struct entry {
    struct list node;    /* in `open` or `refused` of its table, by time of the last failure */
    uint64_t id;         /* keyed hash of address and account, so these need not be stored */
    uint64_t window_us;  /* when the window began */
    uint64_t blocked_us; /* refused until then; 0: it is in `open` */
    uint64_t turn_us;    /* the last turn that was given; of a pair and of an account */
    int64_t failures;    /* including attempts in progress */
    int64_t waiting;     /* of an account: attempts whose turn has not come or been used */
    bool told;           /* of an account: the log says that it is slowed down */
};

/* There is one for each kind of key, so that many of one kind do not displace others. */
struct table {
    struct map entries;
    struct list open, refused;
};

enum kind { BY_ADDRESS, BY_PAIR, BY_ACCOUNT, KINDS };

struct throttle {
    pthread_mutex_t lock; /* guards what follows */
    struct table table[KINDS];
    uint64_t known[KNOWN_SETS][KNOWN_WAYS]; /* pairs that logged in, latest first */
};

/* One of the keys under which an attempt is counted. */
struct count {
    enum kind kind;
    uint64_t id;
    int64_t limit;
    const char *what; /* for the log */
};
enum { COUNTS_MAX = 3 };

static slice throttle_entry_key(const void *item)
{
    const struct entry *e = item;
    return (slice){ (const char *)&e->id, sizeof e->id };
}

struct throttle *throttle_create(void)
{
    struct throttle *t = mem_new(struct throttle);
    pthread_mutex_init(&t->lock, NULL);
    for (unsigned k = 0; k < KINDS; k++) {
        map_init(&t->table[k].entries, throttle_entry_key);
        list_init(&t->table[k].open);
        list_init(&t->table[k].refused);
    }
    return t;
}

static void entry_drop(struct table *table, struct entry *e)
{
    map_del(&table->entries, throttle_entry_key(e));
    list_remove(&e->node);
    metric_add(&auth_throttle_entries, -1);
    mem_free(&e);
}

static struct entry *throttle_oldest(const struct list *list)
{
    return list_empty(list) ? NULL : CONTAINER_OF(list->next, struct entry, node);
}

void throttle_destroy(struct throttle **pt)
{
    struct throttle *t = *pt;
    struct entry *e;
    if (t == NULL)
        return;
    for (unsigned k = 0; k < KINDS; k++) {
        struct table *table = &t->table[k];
        while ((e = throttle_oldest(&table->open)) != NULL ||
               (e = throttle_oldest(&table->refused)) != NULL)
            entry_drop(table, e);
        map_fini(&table->entries);
    }
    pthread_mutex_destroy(&t->lock);
    mem_free(pt);
}

/* --- keys --- */

/* A hash of a mark, a part of the address, and `rest`; never 0. */
static uint64_t throttle_key_of(char mark, slice address, slice rest)
{
    uint64_t parts[3] = { (uint64_t)mark, hash_keyed(address), hash_keyed(rest) };
    uint64_t id = hash_keyed((slice){ (const char *)parts, sizeof parts });
    return id == 0 ? 1 : id;
}

/* The prefix of an address under which attempts are counted: v6_bytes of IPv6, all of IPv4; empty:
 * not an IP address. */
static slice address_bytes(const struct sockaddr *peer, size_t v6_bytes, char out[16])
{
    if (peer->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, peer, sizeof v4);
        memcpy(out, &v4.sin_addr, V4_BYTES);
        return (slice){ out, V4_BYTES };
    }
    if (peer->sa_family != AF_INET6)
        return (slice){ out, 0 };
    struct sockaddr_in6 v6;
    memcpy(&v6, peer, sizeof v6);
    bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr); /* ::ffff:1.2.3.4 is 1.2.3.4 */
    size_t len = mapped ? V4_BYTES : v6_bytes;
    memcpy(out, v6.sin6_addr.s6_addr + (mapped ? 12 : 0), len);
    return (slice){ out, len };
}

static void peer_text(const struct sockaddr *peer, char out[THROTTLE_PEER_MAX])
{
    char bytes[16];
    slice ip = address_bytes(peer, sizeof bytes, bytes);
    out[0] = '\0';
    if (ip.len > 0)
        (void)inet_ntop(ip.len == V4_BYTES ? AF_INET : AF_INET6, bytes, out, THROTTLE_PEER_MAX);
}

void throttle_try_init(struct throttle_try *try, const struct sockaddr *peer, slice account,
                       const uint8_t *device)
{
    static const slice none = { "", 0 };
    char bytes[16];
    *try = (struct throttle_try){ .jid = account };
    peer_text(peer, try->peer);
    slice ip = address_bytes(peer, V6_ADDRESS_BYTES, bytes);
    if (ip.len > 0)
        try->address = throttle_key_of('a', ip, none);
    if (account.len > 0) {
        try->account = throttle_key_of('j', none, account);
        try->pair = throttle_key_of('p', ip, account);
    }
    if (account.len > 0 && device != NULL)
        try->device = throttle_key_of('d', (slice){ (const char *)device, 16 }, account);
    if (ip.len == V6_ADDRESS_BYTES)
        try->network = throttle_key_of('n', address_bytes(peer, V6_NETWORK_BYTES, bytes), none);
}

bool throttle_is_near(const struct throttle_try *try, const struct sockaddr *address)
{
    struct throttle_try other;
    throttle_try_init(&other, address, (slice){ "", 0 }, NULL);
    return other.address != 0 && other.address == try->address;
}

/* --- addresses that logged in --- */

static uint64_t *known_set(struct throttle *t, const struct throttle_try *try)
{
    return t->known[try->account % KNOWN_SETS];
}

static bool throttle_is_known(struct throttle *t, const struct throttle_try *try)
{
    const uint64_t *set = known_set(t, try);
    for (unsigned i = 0; try->pair != 0 && i < KNOWN_WAYS; i++)
        if (set[i] == try->pair)
            return true;
    return false;
}

static void throttle_remember(struct throttle *t, const struct throttle_try *try)
{
    uint64_t *set = known_set(t, try);
    unsigned at = 0;
    if (try->pair == 0)
        return;
    while (at < KNOWN_WAYS - 1 && set[at] != try->pair)
        at++;
    for (; at > 0; at--)
        set[at] = set[at - 1];
    set[0] = try->pair;
}

/* --- entries --- */

static struct entry *throttle_find(const struct throttle *t, enum kind kind, uint64_t id)
{
    return map_get(&t->table[kind].entries, (slice){ (const char *)&id, sizeof id });
}

static bool expired(const struct entry *e, uint64_t now_us)
{
    uint64_t window_us = (uint64_t)setting_int(&auth_failure_window) * US_PER_MS;
    return now_us >= e->blocked_us &&
           now_us >= e->window_us + window_us; /* no subtraction: clocks differ */
}

/* Removes some expired entries, and makes room for a new one. */
static void throttle_make_room(struct table *table, uint64_t now_us)
{
    const struct list *lists[] = { &table->open, &table->refused };
    struct entry *e;
    for (unsigned l = 0; l < 2; l++)
        for (int i = 0; i < EXPIRED_PER_CALL; i++)
            if ((e = throttle_oldest(lists[l])) != NULL && expired(e, now_us))
                entry_drop(table, e);
    if (table->entries.count < THROTTLE_ENTRIES_MAX)
        return;
    e = throttle_oldest(&table->open);
    entry_drop(table, e != NULL ? e : throttle_oldest(&table->refused));
}

static struct entry *entry_make(struct throttle *t, enum kind kind, uint64_t id, uint64_t now_us)
{
    struct table *table = &t->table[kind];
    struct entry *e = throttle_find(t, kind, id);
    if (e == NULL) {
        throttle_make_room(table, now_us);
        e = mem_new(struct entry);
        e->id = id;
        e->window_us = now_us;
        map_put(&table->entries, e);
        metric_add(&auth_throttle_entries, 1);
    } else if (expired(e, now_us)) {
        e->window_us = now_us;
        e->blocked_us = 0;
        e->failures = e->waiting; /* they are guesses of the new window */
        e->told = false;
    }
    list_remove(&e->node);
    list_append(e->blocked_us != 0 ? &table->refused : &table->open, &e->node);
    ensure_debug(table->entries.count <= THROTTLE_ENTRIES_MAX);
    return e;
}

/* --- attempts --- */

static unsigned counts_of(const struct throttle_try *try, struct count out[COUNTS_MAX])
{
    int64_t account = setting_int(&auth_failures_per_account);
    int64_t address = setting_int(&auth_failures_per_address);
    unsigned n = 0;
    if (try->trust == TRUST_DEVICE) {
        out[n++] = (struct count){ BY_PAIR, try->device, account, "device" };
        return n;
    }
    if (try->pair != 0)
        out[n++] = (struct count){ BY_PAIR, try->pair, account, "account at address" };
    if (try->trust == TRUST_ADDRESS)
        return n;
    if (try->address != 0)
        out[n++] = (struct count){ BY_ADDRESS, try->address, address, "address" };
    if (try->network != 0)
        out[n++] = (struct count){ BY_ADDRESS, try->network,
                                   address < SETTING_NONE ? address * THROTTLE_NETWORK_FACTOR
                                                          : SETTING_NONE,
                                   "network" };
    return n;
}

/* If the refusal ends within the window, one more failure is allowed. */
static void end_refusal(struct throttle *t, const struct count *c, struct entry *e)
{
    e->blocked_us = 0;
    e->failures = c->limit - 1;
    list_remove(&e->node);
    list_append(&t->table[c->kind].open, &e->node);
}

static bool throttle_is_full(struct throttle *t, const struct count *c, uint64_t now_us)
{
    struct entry *e = throttle_find(t, c->kind, c->id);
    if (e == NULL || expired(e, now_us))
        return false;
    if (e->blocked_us != 0 && now_us >= e->blocked_us)
        end_refusal(t, c, e);
    return e->blocked_us != 0 || e->failures >= c->limit;
}

static bool refuses(struct throttle *t, const struct throttle_try *try, uint64_t now_us)
{
    struct count counts[COUNTS_MAX];
    unsigned n = counts_of(try, counts);
    for (unsigned i = 0; i < n; i++)
        if (throttle_is_full(t, &counts[i], now_us))
            return true;
    return false;
}

/* --- turns of an account that is being guessed --- */

/* The time between two turns, in ms, longer with more failures. 0: it is not being guessed. */
static uint32_t pace_of(const struct entry *e, uint64_t now_us)
{
    uint32_t ms = SLOW_MS;
    if (e == NULL || (expired(e, now_us) && e->waiting == 0))
        return 0;
    int64_t failures = expired(e, now_us) ? e->waiting : e->failures;
    int64_t limit = setting_int(&auth_failures_per_account);
    if (failures < limit)
        return 0;
    for (; ms < SLOWEST_MS && failures >= 2 * limit; limit *= 2)
        ms *= 2;
    return ms;
}

/* Finds the next turn of the attempt; false: too many wait already. Turns are given in the order of
 * requests. One address waits for one turn at a time, and may queue only in the first half if
 * it has failed, so that few addresses cannot keep others out of the queue. */
static bool turn_find(const struct throttle *t, const struct throttle_try *try, uint64_t now_us,
                      uint64_t *turn_us)
{
    const struct entry *account = throttle_find(t, BY_ACCOUNT, try->account);
    const struct entry *pair = throttle_find(t, BY_PAIR, try->pair);
    uint32_t ms = pace_of(account, now_us);
    uint64_t longest_ms = THROTTLE_WAIT_MS_MAX;
    *turn_us = now_us;
    if (ms == 0 || try->trust != TRUST_NONE)
        return true;
    if (pair != NULL && now_us < pair->turn_us)
        return false;
    if (pair != NULL && !expired(pair, now_us) && pair->failures > 0)
        longest_ms /= 2;
    if (account->turn_us > now_us)
        *turn_us = account->turn_us;
    *turn_us += (uint64_t)ms * US_PER_MS;
    return *turn_us - now_us <= longest_ms * US_PER_MS;
}

/* Counts the attempt for its account, if that is how it is counted. */
static void turn_take(struct throttle *t, struct throttle_try *try, uint64_t now_us,
                      uint64_t turn_us)
{
    if (try->account == 0 || try->trust != TRUST_NONE)
        return;
    struct entry *e = entry_make(t, BY_ACCOUNT, try->account, now_us);
    e->failures++;
    try->waits = turn_us > now_us;
    if (!try->waits)
        return;
    e->waiting++;
    e->turn_us = turn_us;
    entry_make(t, BY_PAIR, try->pair, now_us)->turn_us = turn_us;
}

/* The turn was used, or will not be. `failed`: the attempt stays counted. */
static struct entry *turn_end(struct throttle *t, struct throttle_try *try, bool failed)
{
    struct entry *e = NULL;
    if (try->account != 0 && try->trust == TRUST_NONE)
        e = throttle_find(t, BY_ACCOUNT, try->account);
    if (e != NULL && try->waits && e->waiting > 0)
        e->waiting--;
    try->waits = false;
    if (e == NULL || failed || e->failures == 0 || --e->failures > 0)
        return e;
    entry_drop(&t->table[BY_ACCOUNT], e);
    return NULL;
}

/* --- what callers do --- */

static void recognize(struct throttle *t, struct throttle_try *try)
{
    if (try->trust == TRUST_NONE && throttle_is_known(t, try))
        try->trust = TRUST_ADDRESS;
}

enum throttle_answer throttle_ask(struct throttle *t, struct throttle_try *try, uint64_t now_us)
{
    uint64_t turn_us;
    pthread_mutex_lock(&t->lock);
    recognize(t, try);
    bool refused = refuses(t, try, now_us) || !turn_find(t, try, now_us, &turn_us);
    pthread_mutex_unlock(&t->lock);
    return refused ? THROTTLE_REFUSE : turn_us > now_us ? THROTTLE_SLOW : THROTTLE_GO;
}

enum err throttle_take(struct throttle *t, struct throttle_try *try, uint64_t now_us,
                       uint32_t *wait_ms)
{
    struct count counts[COUNTS_MAX];
    uint64_t turn_us;
    ensure(!try->taken);
    pthread_mutex_lock(&t->lock);
    recognize(t, try);
    bool refused = refuses(t, try, now_us) || !turn_find(t, try, now_us, &turn_us);
    unsigned n = counts_of(try, counts);
    for (unsigned i = 0; !refused && i < n; i++)
        entry_make(t, counts[i].kind, counts[i].id, now_us)->failures++;
    if (!refused)
        turn_take(t, try, now_us, turn_us);
    pthread_mutex_unlock(&t->lock);
    *wait_ms = refused ? 0 : (uint32_t)((turn_us - now_us + US_PER_MS - 1) / US_PER_MS);
    metric_add(&auth_slowed, *wait_ms > 0);
    try->taken = !refused;
    return refused ? E_DENIED : OK;
}

static void throttle_give_back(struct throttle *t, struct throttle_try *try)
{
    struct count counts[COUNTS_MAX];
    unsigned n = counts_of(try, counts);
    for (unsigned i = 0; i < n; i++) {
        struct entry *e = throttle_find(t, counts[i].kind, counts[i].id);
        if (e != NULL && e->failures > 0 && --e->failures == 0 && e->blocked_us == 0)
            entry_drop(&t->table[counts[i].kind], e);
    }
    (void)turn_end(t, try, false);
}

void throttle_void(struct throttle *t, struct throttle_try *try)
{
    ensure(try->taken);
    try->taken = false;
    pthread_mutex_lock(&t->lock);
    throttle_give_back(t, try);
    pthread_mutex_unlock(&t->lock);
}

void throttle_passed(struct throttle *t, struct throttle_try *try, uint64_t now_us)
{
    ensure(try->taken);
    try->taken = false;
    pthread_mutex_lock(&t->lock);
    throttle_give_back(t, try);
    struct entry *e =
        throttle_find(t, BY_PAIR, try->trust == TRUST_DEVICE ? try->device : try->pair);
    if (e != NULL && now_us >= e->blocked_us)
        entry_drop(&t->table[BY_PAIR], e);
    throttle_remember(t, try);
    pthread_mutex_unlock(&t->lock);
}

/* Refuses further attempts if the limit is reached; returns whether it is. */
static bool throttle_block(struct throttle *t, const struct count *c, uint64_t now_us)
{
    struct table *table = &t->table[c->kind];
    struct entry *e = throttle_find(t, c->kind, c->id);
    if (e == NULL || e->failures < c->limit || now_us < e->blocked_us)
        return false;
    e->blocked_us = now_us + (uint64_t)setting_int(&auth_block_time) * US_PER_MS;
    list_remove(&e->node);
    list_append(&table->refused, &e->node);
    return true;
}

static void tell_blocked(const struct throttle_try *try, const struct count *c)
{
    metric_add(&auth_blocks, 1);
    log_warn(&log_auth, LOG_EV("auth.blocked"), LOG_C("what", c->what), LOG_S("jid", try->jid),
             LOG_C("peer", try->peer), LOG_I("failures", c->limit),
             LOG_I("ms", setting_int(&auth_block_time)),
             LOG_C("hint", "too many failed logins; further ones are refused for this time"));
}

void throttle_failed(struct throttle *t, struct throttle_try *try, uint64_t now_us)
{
    struct count counts[COUNTS_MAX];
    bool blocked[COUNTS_MAX] = { false }, slowed = false;
    unsigned n = counts_of(try, counts);
    ensure(try->taken);
    try->taken = false;
    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < n; i++)
        blocked[i] = throttle_block(t, &counts[i], now_us);
    struct entry *account = turn_end(t, try, true);
    if (account != NULL && account->failures >= setting_int(&auth_failures_per_account)) {
        slowed = !account->told;
        account->told = true;
    }
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < n; i++)
        if (blocked[i])
            tell_blocked(try, &counts[i]);
    if (slowed)
        log_warn(
            &log_auth, LOG_EV("auth.slowed"), LOG_S("jid", try->jid), LOG_C("peer", try->peer),
            LOG_I("failures", setting_int(&auth_failures_per_account)),
            LOG_C("hint", "somebody is guessing the password; logins to this account are delayed"));
}
