#include "io/resolve.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/dns_channel.h"
#include "io/loop.h"
#include "io/metrics.h"
#include "io/timer.h"
#include <sys/stat.h>

enum resolve_kind { RESOLVE_SRV = 's', RESOLVE_IPV6 = '6', RESOLVE_IPV4 = '4' };
enum { WAIT_FOR_IPV6_MS = 50 /* RFC 8305 §3 */, WAIT_FOR_IPV4_MS = 2000, S_US = 1000000 };
enum { LABEL_BYTES_MAX = 63 /* RFC 1035 §2.3.4 */ };
static const char system_servers[] = "/etc/resolv.conf";

struct resolver {
    struct loop *loop;
    struct dns_channel *channel;
    bool of_system; /* its servers are those of /etc/resolv.conf, as of: */
    struct timespec read_at;
    uint64_t looked_us; /* when it was looked whether that has changed */
    struct loop_defer renew;
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
    bool outdated; /* asked, and to be forgotten when it is answered */
    enum resolve_end end;
    const char *reason;
    uint64_t until_us;
    size_t count; /* of one of these */
    struct dns_srv *srv;
    union ip_address *address;
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
        timer_set(q->resolver->loop, &q->delay,
                  wait_found(&q->wait[0]) ? WAIT_FOR_IPV4_MS : WAIT_FOR_IPV6_MS);
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
    uint32_t most = RESOLVE_FAILED_S;
    if (end == RESOLVE_FOUND)
        most = RESOLVE_TTL_MAX_S;
    else if (end == RESOLVE_NO_NAME || end == RESOLVE_NO_DATA)
        most = RESOLVE_NONE_S;
    if (ttl_s == DNS_TTL_UNSAID || ttl_s < RESOLVE_TTL_MIN_S)
        return RESOLVE_TTL_MIN_S;
    return ttl_s < most ? ttl_s : most;
}

static void known_copy(struct known *k, const struct dns_records *records)
{
    if (records->type == DNS_SRV) {
        k->srv = mem_alloc(records->count * sizeof k->srv[0]);
        memcpy(k->srv, records->srv, records->count * sizeof k->srv[0]);
    } else {
        k->address = mem_alloc(records->count * sizeof k->address[0]);
        memcpy(k->address, records->address, records->count * sizeof k->address[0]);
    }
    k->count = records->count;
}

static void known_learn(struct known *k, const struct dns_answer *answer)
{
    uint32_t ttl_s = answer->records == NULL ? DNS_TTL_UNSAID : answer->records->ttl_s;
    known_clear(k);
    k->end = known_end(answer->end);
    k->reason = answer->reason;
    k->until_us = loop_now_us(k->resolver->loop);
    if (!k->outdated)
        k->until_us += (uint64_t)known_for_s(k->end, ttl_s) * S_US;
    k->outdated = false;
    if (k->end == RESOLVE_FOUND)
        known_copy(k, answer->records);
}

static void known_release(struct known *k)
{
    if (list_empty(&k->waits) && !list_linked(&k->unused))
        list_append(&k->resolver->unused, &k->unused);
}

static void known_ask(struct known *k);
static void resolver_look(struct resolver *r);

/* Another list of servers is asked again (resolver_servers()). */
static void known_answered(void *arg, const struct dns_answer *answer)
{
    struct known *k = arg;
    struct resolver *r = k->resolver;
    ensure(k->asked && r->asked > 0);
    r->asked--;
    k->asked = false;
    if (answer->end == DNS_GIVEN_UP) {
        if (!r->ending)
            known_ask(k);
        return;
    }
    if (answer->end == DNS_TIMEOUT || answer->end == DNS_FAILED) {
        metric_add(&io_lookup_failures, 1);
        resolver_look(r);
    }
    known_learn(k, answer);
    LIST_EACH (it, &k->waits)
        call_look(CONTAINER_OF(it, struct wait, node)->call);
    known_release(k);
}

/* false: the host is not in /etc/hosts. */
static bool known_from_file(struct known *k, int family)
{
    struct dns_hosts hosts;
    struct dns_records records = { .type = family == AF_INET ? DNS_A : DNS_AAAA,
                                   .ttl_s = DNS_TTL_UNSAID };
    if (!dns_hosts_read(k->resolver->channel, k->text + 1, &hosts))
        return false;
    for (size_t i = 0; i < hosts.count; i++)
        if (hosts.address[i].any.sa_family == family && records.count < DNS_ADDRESSES_MAX)
            records.address[records.count++] = hosts.address[i];
    bool found = records.count > 0;
    known_answered(k, &(struct dns_answer){ .end = found ? DNS_FOUND : DNS_NO_DATA,
                                            .records = &records,
                                            .reason = found ? "found" : "not in /etc/hosts" });
    return true;
}

static void known_ask(struct known *k)
{
    struct resolver *r = k->resolver;
    const char *name = k->text + 1;
    const bool v6 = k->text[0] == RESOLVE_IPV6;
    ensure(!k->asked);
    k->asked = true;
    r->asked++;
    if (k->text[0] != RESOLVE_SRV && known_from_file(k, v6 ? AF_INET6 : AF_INET))
        return;
    metric_add(&io_lookups, 1);
    dns_ask(r->channel, name,
            k->text[0] == RESOLVE_SRV ? DNS_SRV
            : v6                      ? DNS_AAAA
                                      : DNS_A,
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
static bool resolve_key(enum resolve_kind kind, slice name, char key[DNS_HOST_BYTES + 1],
                        slice *out)
{
    if (name.len > 0 && name.ptr[name.len - 1] == '.')
        name.len--;
    if (name.len == 0 || name.len >= DNS_HOST_BYTES)
        return false;
    key[0] = (char)kind;
    size_t label = 0; /* bytes of it so far */
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && memchr("-_.", c, 3) == NULL)
            return false;
        if (c == '.' ? label == 0 : label == LABEL_BYTES_MAX)
            return false;
        label = c == '.' ? 0 : label + 1;
        key[i + 1] = c;
    }
    *out = (slice){ key, name.len + 1 };
    return label > 0;
}

static void call_await(struct resolve *q, enum resolve_kind kind, slice name)
{
    struct resolver *r = q->resolver;
    ensure(q->waits < 2);
    struct wait *w = &q->wait[q->waits++];
    char bytes[DNS_HOST_BYTES + 1];
    slice key;
    w->call = q;
    w->end = RESOLVE_NO_NAME;
    q->remembered = q->waits == 1 || q->remembered;
    if (!resolve_key(kind, name, bytes, &key))
        return;
    struct known *k = map_get(&r->names, key);
    bool ask = k == NULL || (!k->asked && !known_fresh(k));
    if (k == NULL && r->asked < RESOLVE_ASKED_MAX)
        k = known_make(r, key);
    if (k == NULL || (ask && r->asked >= RESOLVE_ASKED_MAX)) {
        w->end = RESOLVE_BUSY;
        metric_add(&io_lookups_refused, 1);
        return;
    }
    q->remembered = q->remembered && !ask && !k->asked;
    w->known = k;
    list_remove(&k->unused);
    list_append(&k->waits, &w->node);
    if (ask)
        known_ask(k);
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
    ensure(q->resolver->calls > 0);
    q->resolver->calls--;
    mem_free(&q);
}

static enum resolve_end wait_end(const struct wait *w)
{
    return w->known == NULL ? w->end : w->known->end;
}

static const char *wait_reason(const struct wait *w)
{
    if (w->known != NULL)
        return w->known->reason;
    return w->end == RESOLVE_BUSY ? "too many names are being looked up" : "no such name";
}

/* The one that counts. Of two without an address: that somebody has not answered says more than
 * that somebody has none. */
static const struct wait *call_outcome(const struct resolve *q)
{
    const struct wait *best = &q->wait[0];
    for (unsigned i = 0; i < q->waits; i++) {
        const struct wait *w = &q->wait[i];
        if (wait_found(w))
            return w;
        if (wait_over(w) && wait_end(w) > wait_end(best))
            best = w;
    }
    return best;
}

static void address_put(union address *out, const union ip_address *from, uint16_t port)
{
    address_set(out, &from->any);
    if (out->any.sa_family == AF_INET6)
        out->v6.sin6_port = htons(port);
    else
        out->v4.sin_port = htons(port);
}

/* Both families have room, however many there are of the other. */
static size_t call_addresses(const struct resolve *q, union address *out)
{
    size_t count = 0, found[2] = { 0 };
    for (unsigned i = 0; i < q->waits; i++)
        found[i] = wait_found(&q->wait[i]) ? q->wait[i].known->count : 0;
    for (unsigned i = 0; i < q->waits; i++) {
        size_t other = found[1 - i], half = RESOLVE_ADDRESSES_MAX / 2;
        size_t room = RESOLVE_ADDRESSES_MAX - (other < half ? other : half);
        for (size_t n = 0; n < found[i] && n < room && count < RESOLVE_ADDRESSES_MAX; n++)
            address_put(&out[count++], &q->wait[i].known->address[n], q->port);
    }
    return count;
}

static void call_finish(struct loop_defer *d)
{
    struct resolve *q = CONTAINER_OF(d, struct resolve, finish);
    if (!call_over(q)) /* it is asked again since */
        return;
    union address address[RESOLVE_ADDRESSES_MAX];
    struct dns_srv srv[DNS_SRV_MAX];
    const struct wait *w = call_outcome(q);
    struct resolved result = { .end = wait_end(w),
                               .reason = wait_reason(w),
                               .remembered = q->remembered,
                               .srv = srv,
                               .address = address };
    if (result.end == RESOLVE_FOUND && w->known->srv != NULL) {
        result.count = w->known->count;
        memcpy(srv, w->known->srv, result.count * sizeof srv[0]);
    } else if (result.end == RESOLVE_FOUND) {
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

/* Of the file as it is now; zeros: there is none. */
static struct timespec servers_changed_at(void)
{
    struct stat st;
    return stat(system_servers, &st) == 0 ? st.st_mtim : (struct timespec){ 0 };
}

static void resolver_swap(struct resolver *r, struct dns_channel *other)
{
    struct dns_channel *old = r->channel;
    r->channel = other;
    resolver_forget(r, (slice){ 0 });
    dns_channel_destroy(&old); /* what is under way is asked again: known_answered() */
}

static void resolver_renew(struct loop_defer *d)
{
    struct resolver *r = CONTAINER_OF(d, struct resolver, renew);
    struct dns_channel *other;
    struct why why;
    struct timespec now = servers_changed_at();
    if (now.tv_sec == r->read_at.tv_sec && now.tv_nsec == r->read_at.tv_nsec)
        return;
    r->read_at = now;
    if (dns_channel_create(&other, r->loop, NULL, &why) == OK) {
        log_info(&log_io, LOG_EV("resolver.servers"), LOG_C("file", system_servers));
        resolver_swap(r, other);
    }
}

/* A question had no answer: perhaps the machine has other servers now. */
static void resolver_look(struct resolver *r)
{
    uint64_t now_us = loop_now_us(r->loop);
    if (!r->of_system || r->ending || now_us - r->looked_us < (uint64_t)RESOLVE_FAILED_S * S_US)
        return;
    r->looked_us = now_us;
    loop_defer(r->loop, &r->renew);
}

enum err resolver_create(struct resolver **out, struct loop *loop, const char *servers,
                         struct why *why)
{
    struct resolver *r = mem_new(struct resolver);
    r->loop = loop;
    r->renew.fn = resolver_renew;
    r->of_system = servers == NULL;
    r->read_at = servers_changed_at();
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
        k->outdated = k->asked;
        if (!k->asked && list_empty(&k->waits))
            known_free(k);
    }
}

enum err resolver_servers(struct resolver *r, const char *servers, struct why *why)
{
    struct dns_channel *other;
    struct timespec read_at = servers_changed_at();
    enum err e = dns_channel_create(&other, r->loop, servers, why);
    if (e != OK)
        return e;
    r->of_system = servers == NULL;
    r->read_at = read_at;
    resolver_swap(r, other);
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
    loop_defer_cancel(&r->renew);
    dns_channel_destroy(&r->channel);
    for (uint32_t i = 0; (k = map_next(&r->names, &i)) != NULL;)
        known_free(k);
    map_fini(&r->names);
    mem_free(&r);
}
