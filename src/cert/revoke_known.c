#include "cert/revoke_known.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "cert/cert_revoke.h"
#include "io/tls_cert.h"
#include <pthread.h>
#include <string.h>

struct known {
    struct list node;
    struct revoke_answer answer;
    char fingerprint[TLS_FINGERPRINT_LEN];
};

struct kept_list {
    struct list node;
    struct tls_crl *crl;
    int64_t until;
    size_t bytes, uri_len;
    char uri[];
};

static slice key_of(const void *item)
{
    return (slice){ ((const struct known *)item)->fingerprint, TLS_FINGERPRINT_LEN };
}

static struct {
    pthread_mutex_t lock;
    struct map by_fingerprint; /* struct known */
    struct list in_order, lists;
    size_t list_count, list_bytes;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* With the lock. */
static void known_prepare(void)
{
    if (all.in_order.next != NULL)
        return;
    map_init(&all.by_fingerprint, key_of);
    list_init(&all.in_order);
    list_init(&all.lists);
}

static void known_remove(struct known *k)
{
    list_remove(&k->node);
    map_del(&all.by_fingerprint, key_of(k));
    mem_free(&k);
}

enum tls_revoke_end revoke_known_get(slice fingerprint, int64_t now, bool *ended)
{
    pthread_mutex_lock(&all.lock);
    known_prepare();
    const struct known *k = map_get(&all.by_fingerprint, fingerprint);
    enum tls_revoke_end end = k != NULL ? k->answer.end : TLS_REVOKE_UNKNOWN;
    *ended = k == NULL || k->answer.until <= now;
    pthread_mutex_unlock(&all.lock);
    return end;
}

/* With the lock. */
static struct known *known_of(slice fingerprint)
{
    known_prepare();
    struct known *k = map_get(&all.by_fingerprint, fingerprint);
    if (k == NULL) {
        if (all.by_fingerprint.count == REVOKE_KNOWN_MAX)
            known_remove(CONTAINER_OF(all.in_order.next, struct known, node));
        k = mem_new(struct known);
        k->answer.end = TLS_REVOKE_UNKNOWN;
        memcpy(k->fingerprint, fingerprint.ptr, TLS_FINGERPRINT_LEN);
        map_put(&all.by_fingerprint, k);
    }
    list_remove(&k->node);
    list_append(&all.in_order, &k->node);
    return k;
}

static bool known_is_newer(const struct revoke_answer *known, const struct revoke_answer *answer)
{
    if (known->end == TLS_REVOKE_UNKNOWN)
        return false;
    if (answer->end == TLS_REVOKE_UNKNOWN)
        return known->end == TLS_REVOKE_REVOKED;
    return answer->this_update < known->this_update ||
           (answer->this_update == known->this_update && known->end == TLS_REVOKE_REVOKED);
}

enum tls_revoke_end revoke_known_set(slice fingerprint, const struct revoke_answer *answer)
{
    ensure(fingerprint.len == TLS_FINGERPRINT_LEN && answer->end != TLS_REVOKE_WAITS);
    pthread_mutex_lock(&all.lock);
    struct known *k = known_of(fingerprint);
    if (known_is_newer(&k->answer, answer))
        k->answer.until = answer->until;
    else
        k->answer = *answer;
    enum tls_revoke_end end = k->answer.end;
    pthread_mutex_unlock(&all.lock);
    return end;
}

void revoke_known_shown(slice fingerprint, const struct revoke_answer *answer)
{
    ensure(fingerprint.len == TLS_FINGERPRINT_LEN);
    pthread_mutex_lock(&all.lock);
    struct known *k = known_of(fingerprint);
    if (!known_is_newer(&k->answer, answer))
        k->answer = *answer;
    pthread_mutex_unlock(&all.lock);
}

/* Lists. */

static void list_forget(struct kept_list *l)
{
    list_remove(&l->node);
    all.list_count--;
    all.list_bytes -= l->bytes;
    tls_crl_unref(&l->crl);
    mem_free(&l);
}

static struct kept_list *list_find(slice uri)
{
    LIST_EACH (it, &all.lists) {
        struct kept_list *l = CONTAINER_OF(it, struct kept_list, node);
        if (slice_eq((slice){ l->uri, l->uri_len }, uri))
            return l;
    }
    return NULL;
}

struct tls_crl *revoke_list_kept(slice uri, int64_t now)
{
    struct tls_crl *found = NULL;
    pthread_mutex_lock(&all.lock);
    known_prepare();
    struct kept_list *l = list_find(uri);
    if (l != NULL && l->until > now)
        found = tls_crl_ref(l->crl);
    else if (l != NULL)
        list_forget(l);
    pthread_mutex_unlock(&all.lock);
    return found;
}

void revoke_list_keep(slice uri, struct tls_crl *crl, size_t bytes, int64_t until)
{
    if (bytes > REVOKE_LIST_BYTES_MAX)
        return;
    pthread_mutex_lock(&all.lock);
    known_prepare();
    struct kept_list *l = list_find(uri);
    if (l != NULL)
        list_forget(l);
    while (all.list_count == REVOKE_LISTS_MAX || all.list_bytes + bytes > REVOKE_LIST_BYTES_MAX)
        list_forget(CONTAINER_OF(all.lists.next, struct kept_list, node));
    l = mem_zalloc(sizeof *l + uri.len);
    memcpy(l->uri, uri.ptr, uri.len);
    l->uri_len = uri.len;
    l->bytes = bytes;
    l->until = until;
    l->crl = tls_crl_ref(crl);
    list_append(&all.lists, &l->node);
    all.list_count++;
    all.list_bytes += bytes;
    pthread_mutex_unlock(&all.lock);
}

void revoke_known_end(void)
{
    pthread_mutex_lock(&all.lock);
    known_prepare();
    while (!list_empty(&all.in_order))
        known_remove(CONTAINER_OF(all.in_order.next, struct known, node));
    while (!list_empty(&all.lists))
        list_forget(CONTAINER_OF(all.lists.next, struct kept_list, node));
    map_fini(&all.by_fingerprint);
    pthread_mutex_unlock(&all.lock);
}
