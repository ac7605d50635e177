#include "io/resolve.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/dns_channel.h"
#include "io/loop.h"
#include "io/metrics.h"
#include "io/timer.h"

enum resolve_kind { RESOLVE_SRV = 's', RESOLVE_IPV6 = '6', RESOLVE_IPV4 = '4' };
enum { RESOLUTION_DELAY_MS = 50 /* RFC 8305 §3 */, S_US = 1000000 };

struct resolver {
    struct loop *loop;
    struct dns_channel *channel;
    struct map names;   /* struct known */
    struct list unused; /* of those that nobody waits for, the longest unused first */
    uint32_t asked;     /* of them, those whose answer is awaited */
    uint32_t calls;     /* struct resolve */
    bool ending;
};

/* What is known of one name, or is asked for. */
struct known {
    struct resolver *resolver;
    struct list unused, waits; /* struct wait */
    bool asked;
    enum resolve_end end;
    uint64_t until_us;
    struct dns_srvs *srv; /* of RESOLVE_SRV, where there are some */
    size_t count;
    union address *address;
    slice key; /* kind and name; the name has a NUL behind it */
    char text[];
};

struct wait {
    struct list node;     /* in known->waits */
    struct known *known;  /* NULL: there is none, `end` says why */
    enum resolve_end end; /* of that */
    struct resolve *call;
};

struct resolve {
    struct resolver *resolver;
    resolve_fn *done;
    void *arg;
    struct wait wait[2]; /* of a host: IPv6, IPv4 */
    unsigned waits;
    uint16_t port;
    bool remembered, enough; /* enough: it does not wait for the other family any more */
    struct timer delay;
    struct loop_defer finish;
};

static slice known_key(const void *item) { return ((const struct known *)item)->key; }

const char *resolve_reason(enum resolve_end end)
{
    static const char *const reason[RESOLVE_END_COUNT] = {
        [RESOLVE_FOUND] = "found",
        [RESOLVE_NO_NAME] = "no such name",
        [RESOLVE_NO_DATA] = "the name has no such record",
        [RESOLVE_TIMEOUT] = "no name server has answered",
        [RESOLVE_FAILED] = "no name server answers without an error",
        [RESOLVE_BUSY] = "too many names are being looked up",
    };
    ensure(end < RESOLVE_END_COUNT);
    return reason[end];
}

/* What is known. */

static void known_clear(struct known *k)
{
    mem_free(&k->srv);
    mem_free(&k->address);
    k->count = 0;
}

static void known_free(struct known *k)
{
    ensure(list_empty(&k->waits));
    list_remove(&k->unused);
    map_del(&k->resolver->names, k->key);
    known_clear(k);
    mem_free(&k);
}

static bool known_fresh(const struct known *k)
{
    return !k->asked && k->until_us > loop_now_us(k->resolver->loop);
}

static bool wait_over(const struct wait *w) { return w->known == NULL || !w->known->asked; }
static bool wait_found(const struct wait *w)
{
    return wait_over(w) && w->known != NULL && w->known->end == RESOLVE_FOUND;
}

static bool call_over(struct resolve *q)
{
    bool over = true, found = false;
    for (unsigned i = 0; i < q->waits; i++) {
        over = over && wait_over(&q->wait[i]);
        found = found || wait_found(&q->wait[i]);
    }
    if (!over && found && !q->enough && !timer_is_set(&q->delay))
        timer_set(q->resolver->loop, &q->delay, RESOLUTION_DELAY_MS);
    return over || (found && q->enough);
}

static void call_look(struct resolve *q)
{
    if (call_over(q))
        loop_defer(q->resolver->loop, &q->finish);
}

static enum resolve_end known_end(enum dns_end end)
{
    switch (end) {
    case DNS_FOUND:
        return RESOLVE_FOUND;
    case DNS_NO_NAME:
        return RESOLVE_NO_NAME;
    case DNS_NO_DATA:
        return RESOLVE_NO_DATA;
    case DNS_TIMEOUT:
        return RESOLVE_TIMEOUT;
    default:
        return RESOLVE_FAILED;
    }
}

static uint32_t known_for_s(enum resolve_end end, uint32_t ttl_s)
{
    uint32_t most = end == RESOLVE_FOUND                               ? RESOLVE_TTL_MAX_S
                    : end == RESOLVE_NO_NAME || end == RESOLVE_NO_DATA ? RESOLVE_NONE_S
                                                                       : RESOLVE_FAILED_S;
    uint32_t s = ttl_s == 0 && end != RESOLVE_FOUND ? most : ttl_s;
    return s < RESOLVE_TTL_MIN_S ? RESOLVE_TTL_MIN_S : s > most ? most : s;
}

static void known_learn(struct known *k, const struct dns_answer *answer)
{
    known_clear(k);
    k->end = known_end(answer->end);
    k->until_us =
        loop_now_us(k->resolver->loop) + (uint64_t)known_for_s(k->end, answer->ttl_s) * S_US;
    if (k->end != RESOLVE_FOUND)
        return;
    if (answer->srv != NULL) {
        k->srv = mem_new(struct dns_srvs);
        *k->srv = *answer->srv;
    }
    if (answer->count > 0) {
        k->address = mem_alloc(answer->count * sizeof k->address[0]);
        memcpy(k->address, answer->address, answer->count * sizeof k->address[0]);
        k->count = answer->count;
    }
}

static void known_release(struct known *k)
{
    if (list_empty(&k->waits) && !list_linked(&k->unused))
        list_append(&k->resolver->unused, &k->unused);
}

static void known_ask(struct known *k);

/* Another list of servers is asked again (resolver_servers()). */
static void known_answered(void *arg, const struct dns_answer *answer)
{
    struct known *k = arg;
    struct resolver *r = k->resolver;
    r->asked--;
    k->asked = false;
    if (answer->end == DNS_GIVEN_UP) {
        if (!r->ending)
            known_ask(k);
        return;
    }
    if (answer->end == DNS_TIMEOUT || answer->end == DNS_FAILED)
        metric_add(&io_lookup_failures, 1);
    known_learn(k, answer);
    LIST_EACH (it, &k->waits)
        call_look(CONTAINER_OF(it, struct wait, node)->call);
    known_release(k);
}

static void known_ask(struct known *k)
{
    struct resolver *r = k->resolver;
    const char *name = k->text + 1;
    k->asked = true;
    r->asked++;
    metric_add(&io_lookups, 1);
    if (k->text[0] == RESOLVE_SRV)
        dns_ask_srv(r->channel, name, known_answered, k);
    else
        dns_ask_host(r->channel, name, k->text[0] == RESOLVE_IPV6 ? AF_INET6 : AF_INET,
                     known_answered, k);
}

/* NULL: too many are. */
static struct known *known_make(struct resolver *r, slice key)
{
    if (r->names.count >= RESOLVE_NAMES_MAX && list_empty(&r->unused))
        return NULL;
    if (r->names.count >= RESOLVE_NAMES_MAX)
        known_free(CONTAINER_OF(r->unused.next, struct known, unused));
    struct known *k = mem_zalloc(sizeof *k + key.len + 1);
    k->resolver = r;
    list_init(&k->waits);
    memcpy(k->text, key.ptr, key.len);
    k->key = (slice){ k->text, key.len };
    map_put(&r->names, k);
    return k;
}

/* Asking. */

/* In lower case, without the dot at the end. false: no name of a host, nor of a service. */
static bool key_of(enum resolve_kind kind, slice name, char key[DNS_HOST_BYTES + 1], slice *out)
{
    if (name.len > 0 && name.ptr[name.len - 1] == '.')
        name.len--;
    if (name.len == 0 || name.len >= DNS_HOST_BYTES)
        return false;
    key[0] = (char)kind;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && memchr("-_.", c, 3) == NULL)
            return false;
        key[i + 1] = c;
    }
    *out = (slice){ key, name.len + 1 };
    return true;
}

static void call_await(struct resolve *q, enum resolve_kind kind, slice name)
{
    struct resolver *r = q->resolver;
    struct wait *w = &q->wait[q->waits++];
    char bytes[DNS_HOST_BYTES + 1];
    slice key;
    w->call = q;
    w->end = RESOLVE_NO_NAME;
    if (!key_of(kind, name, bytes, &key))
        return;
    struct known *k = map_get(&r->names, key);
    bool ask = k == NULL || (!k->asked && !known_fresh(k));
    w->end = RESOLVE_BUSY;
    if (ask && r->asked >= RESOLVE_ASKED_MAX)
        return;
    if (k == NULL)
        k = known_make(r, key);
    if (k == NULL)
        return;
    w->known = k;
    list_remove(&k->unused);
    list_append(&k->waits, &w->node);
    if (ask)
        known_ask(k);
    else
        q->remembered = !k->asked;
}

static void call_unwait(struct resolve *q)
{
    for (unsigned i = 0; i < q->waits; i++) {
        struct known *k = q->wait[i].known;
        if (k == NULL)
            continue;
        list_remove(&q->wait[i].node);
        if (!k->asked)
            known_release(k);
    }
}

static void call_end(struct resolve *q)
{
    timer_cancel(&q->delay);
    loop_defer_cancel(&q->finish);
    call_unwait(q);
    q->resolver->calls--;
    mem_free(&q);
}

static enum resolve_end wait_end(const struct wait *w)
{
    return w->known == NULL ? w->end : w->known->end;
}

/* Of two ends without an address: that somebody has not answered says more than that somebody has
 * none. */
static enum resolve_end call_outcome(const struct resolve *q)
{
    enum resolve_end end = RESOLVE_NO_NAME;
    for (unsigned i = 0; i < q->waits; i++) {
        if (wait_found(&q->wait[i]))
            return RESOLVE_FOUND;
        if (wait_end(&q->wait[i]) > end)
            end = wait_end(&q->wait[i]);
    }
    return end;
}

static size_t call_addresses(const struct resolve *q, union address *out)
{
    size_t count = 0;
    for (unsigned i = 0; i < q->waits; i++) {
        const struct known *k = q->wait[i].known;
        /* IPv4 has room, however many of IPv6 there are. */
        size_t room = i + 1 < q->waits ? RESOLVE_ADDRESSES_MAX / 2 : RESOLVE_ADDRESSES_MAX - count;
        for (size_t n = 0; wait_found(&q->wait[i]) && n < k->count && n < room; n++) {
            out[count] = k->address[n];
            if (out[count].any.sa_family == AF_INET6)
                out[count].v6.sin6_port = htons(q->port);
            else
                out[count].v4.sin_port = htons(q->port);
            count++;
        }
    }
    return count;
}

static void call_finish(struct loop_defer *d)
{
    struct resolve *q = CONTAINER_OF(d, struct resolve, finish);
    if (!call_over(q)) /* it is asked again since */
        return;
    union address address[RESOLVE_ADDRESSES_MAX];
    struct dns_srvs srv = { .count = 0 };
    enum resolve_end end = call_outcome(q);
    struct resolved result = {
        .end = end, .reason = resolve_reason(end), .remembered = q->remembered, .address = address
    };
    if (end == RESOLVE_FOUND && q->wait[0].known != NULL && q->wait[0].known->srv != NULL) {
        srv = *q->wait[0].known->srv;
        result.srv = &srv;
    } else if (end == RESOLVE_FOUND) {
        result.count = call_addresses(q, address);
    }
    resolve_fn *done = q->done;
    void *arg = q->arg;
    call_end(q);
    done(arg, &result);
}

static void call_enough(struct timer *t, struct loop *loop)
{
    struct resolve *q = CONTAINER_OF(t, struct resolve, delay);
    (void)loop;
    q->enough = true;
    call_look(q);
}

static struct resolve *call_new(struct resolver *r, resolve_fn *done, void *arg)
{
    struct resolve *q = mem_new(struct resolve);
    q->resolver = r;
    q->done = done;
    q->arg = arg;
    q->delay.fn = call_enough;
    q->finish.fn = call_finish;
    r->calls++;
    return q;
}

struct resolve *resolve_srv(struct resolver *r, slice name, resolve_fn *done, void *arg)
{
    struct resolve *q = call_new(r, done, arg);
    call_await(q, RESOLVE_SRV, name);
    call_look(q);
    return q;
}

struct resolve *resolve_host(struct resolver *r, slice name, uint16_t port, resolve_fn *done,
                             void *arg)
{
    struct resolve *q = call_new(r, done, arg);
    q->port = port;
    call_await(q, RESOLVE_IPV6, name);
    call_await(q, RESOLVE_IPV4, name);
    call_look(q);
    return q;
}

void resolve_cancel(struct resolve **q)
{
    if (*q != NULL)
        call_end(*q);
    *q = NULL;
}

/* The resolver. */

enum err resolver_create(struct resolver **out, struct loop *loop, const char *servers,
                         struct why *why)
{
    struct resolver *r = mem_new(struct resolver);
    r->loop = loop;
    list_init(&r->unused);
    map_init(&r->names, known_key);
    enum err e = dns_channel_create(&r->channel, loop, servers, why);
    if (e != OK)
        mem_free(&r);
    *out = r;
    return e;
}

static bool known_is_below(const struct known *k, slice name)
{
    slice own = slice_from(k->key, 1);
    if (own.len < name.len)
        return false;
    size_t at = own.len - name.len;
    return slice_eq(slice_from(own, at), name) && (at == 0 || own.ptr[at - 1] == '.');
}

void resolver_forget(struct resolver *r, slice name)
{
    struct known *k;
    for (uint32_t i = 0; (k = map_next(&r->names, &i)) != NULL;) {
        if (name.len > 0 && !known_is_below(k, name))
            continue;
        k->until_us = 0;
        if (!k->asked && list_empty(&k->waits))
            known_free(k);
    }
}

enum err resolver_servers(struct resolver *r, const char *servers, struct why *why)
{
    struct dns_channel *old = r->channel, *other;
    enum err e = dns_channel_create(&other, r->loop, servers, why);
    if (e != OK)
        return e;
    r->channel = other;
    resolver_forget(r, (slice){ 0 });
    dns_channel_destroy(&old);
    return OK;
}

void resolver_destroy(struct resolver **pr)
{
    struct resolver *r = *pr;
    struct known *k;
    *pr = NULL;
    if (r == NULL)
        return;
    ensure(r->calls == 0);
    r->ending = true;
    dns_channel_destroy(&r->channel);
    for (uint32_t i = 0; (k = map_next(&r->names, &i)) != NULL;)
        known_free(k);
    map_fini(&r->names);
    mem_free(&r);
}
