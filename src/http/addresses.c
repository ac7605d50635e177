/* Limits for each client address: connections (io/peers.h), memory for bodies, and requests, by a
 * token bucket of one second. Shared by all workers under the server's lock. An entry is kept until
 * it has no connection and its bucket is full again, so that reconnecting does not evade the
 * limits. Whenever one is added, a few old ones are removed. */
#include "base/ensure.h"
#include "base/mem.h"
#include "http/http_private.h"
#include "http/parse.h"

enum { TOKEN = 1000 };

static slice address_key(const void *item)
{
    const struct http_address *a = item;
    return (slice){ a->key.bytes, a->key.len };
}

static int64_t rate(void)
{
    int64_t r = setting_int(&http_request_rate);
    return r == SETTING_NONE ? 0 : r;
}

/* Each worker uses the time of its own tick, which may be behind the time that another worker has
 * stored. */
static void http_addresses_refill(struct http_address *a, uint64_t now_us)
{
    if (now_us <= a->filled_us)
        return;
    uint64_t us = now_us - a->filled_us > 1000000 ? 1000000 : now_us - a->filled_us;
    a->filled_us = now_us;
    a->tokens += (int64_t)us * rate() * TOKEN / 1000000;
    if (a->tokens > rate() * TOKEN)
        a->tokens = rate() * TOKEN;
}

static void sweep(struct http_server *s, uint64_t now_us)
{
    for (unsigned i = 0; i < HTTP_ADDRESSES_SWEPT; i++) {
        struct http_address *a = map_next(&s->addresses, &s->sweep);
        if (a == NULL) {
            s->sweep = 0;
            return;
        }
        if (a->conns == 0 && now_us > a->filled_us + 1000000) {
            map_del(&s->addresses, address_key(a));
            mem_free(&a);
        }
    }
}

static struct http_address *address_of(struct http_server *s, const struct http_conn *h)
{
    return map_get(&s->addresses, (slice){ h->key.bytes, h->key.len });
}

static struct http_address *address_add(struct http_server *s, const struct http_conn *h)
{
    uint64_t now_us = loop_now_us(h->local->loop);
    struct http_address *a;
    if (s->addresses.key == NULL)
        map_init(&s->addresses, address_key);
    a = address_of(s, h);
    if (a != NULL)
        return a;
    sweep(s, now_us);
    a = mem_new(struct http_address);
    a->key = h->key;
    a->filled_us = now_us;
    a->tokens = rate() * TOKEN;
    map_put(&s->addresses, a);
    return a;
}

enum peers_room http_address_enter(struct http_conn *h)
{
    const struct conn_info *info = conn_info(h->conn);
    struct http_server *s = h->local->server;
    if (http_has_token(slice_of(setting_text(&http_trusted_proxies)), conn_info_text(info).text))
        return PEERS_ROOM;
    enum peers_room room =
        peers_enter(PEERS_HTTP, &info->peer.any, setting_int(&http_connections_max), &h->key);
    if (h->key.len == 0)
        return room;
    pthread_mutex_lock(&s->lock);
    address_add(s, h)->conns++;
    pthread_mutex_unlock(&s->lock);
    return room;
}

void http_address_leave(struct http_conn *h)
{
    struct http_server *s = h->local->server;
    if (h->key.len == 0)
        return;
    pthread_mutex_lock(&s->lock);
    struct http_address *a = address_of(s, h);
    ensure(a == NULL || a->conns > 0);
    if (a != NULL)
        a->conns--;
    pthread_mutex_unlock(&s->lock);
    peers_leave(&h->key);
}

bool http_address_request(struct http_conn *h, uint64_t now_us)
{
    struct http_server *s = h->local->server;
    bool room = true;
    if (h->key.len == 0 || rate() == 0)
        return true;
    pthread_mutex_lock(&s->lock);
    struct http_address *a = address_of(s, h);
    if (a != NULL) {
        http_addresses_refill(a, now_us);
        room = a->tokens >= TOKEN;
        a->tokens -= room ? TOKEN : 0;
    }
    pthread_mutex_unlock(&s->lock);
    return room;
}

bool http_address_gather(struct http_conn *h, int64_t more, int64_t own)
{
    struct http_server *s = h->local->server;
    bool room = true;
    if (h->key.len == 0 || more == 0)
        return true;
    pthread_mutex_lock(&s->lock);
    struct http_address *a = address_of(s, h);
    if (a != NULL) {
        a->gathered += more;
        room =
            a->gathered == own || a->gathered <= setting_int(&http_bodies_max) / HTTP_BODIES_SHARE;
    }
    pthread_mutex_unlock(&s->lock);
    return room;
}

void http_addresses_fini(struct http_server *s)
{
    struct http_address *a;
    if (s->addresses.key == NULL)
        return;
    for (uint32_t i = 0; (a = map_next(&s->addresses, &i)) != NULL;)
        mem_free(&a);
    map_fini(&s->addresses);
}
