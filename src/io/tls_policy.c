#include "io/tls_policy.h"
#include "base/ensure.h"
#include "io/tls_private.h"
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>

enum { NAME_BYTES_MAX = 64, STRENGTH_BITS_MIN = 128 };

/* As OpenSSL wants them: separated by colons. */
struct policy_in_use {
    enum tls_version min, max;
    char ciphers[TLS_LIST_BYTES_MAX + 1], suites[TLS_LIST_BYTES_MAX + 1],
        groups[TLS_LIST_BYTES_MAX + 1];
};

static const struct tls_policy policy_default = { TLS_1_2, TLS_1_3, TLS_CIPHERS_DEFAULT,
                                                  TLS_SUITES_DEFAULT, TLS_GROUPS_DEFAULT };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards those below */
static struct policy_in_use in_use[TLS_CONTEXTS];
static unsigned changes;
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *tls_context_name(enum tls_context context)
{
    static const char *const names[] = { "clients", "https", "servers" };
    ensure(context < TLS_CONTEXTS);
    return names[context];
}

static void policy_copy_list(char out[TLS_LIST_BYTES_MAX + 1], slice list)
{
    slice word;
    size_t len = 0;
    ensure(list.len <= TLS_LIST_BYTES_MAX);
    while (slice_word(&list, &word)) {
        if (len > 0)
            out[len++] = ':';
        memcpy(out + len, word.ptr, word.len);
        len += word.len;
    }
    out[len] = '\0';
}

static void policy_copy(struct policy_in_use *out, const struct tls_policy *p)
{
    *out = (struct policy_in_use){ .min = p->min, .max = p->max };
    policy_copy_list(out->ciphers, slice_of(p->ciphers));
    policy_copy_list(out->suites, slice_of(p->suites));
    policy_copy_list(out->groups, slice_of(p->groups));
}

static void policies_begin(void)
{
    for (unsigned i = 0; i < TLS_CONTEXTS; i++)
        policy_copy(&in_use[i], &policy_default);
}

/* What may be in a list. */

/* Names alone: the lists of OpenSSL have operators and words for whole families. */
static bool policy_is_name(slice word, char out[NAME_BYTES_MAX + 1])
{
    if (word.len == 0 || word.len > NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        bool inner = c == '_' || (c == '-' && i > 0);
        if (!inner && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z'))
            return false;
    }
    memcpy(out, word.ptr, word.len);
    out[word.len] = '\0';
    return true;
}

static SSL_CTX *policy_scratch(void)
{
    SSL_CTX *s = SSL_CTX_new(TLS_server_method());
    ensure(s != NULL);
    return s;
}

static bool cipher_is_good(const SSL_CIPHER *c)
{
    int auth = SSL_CIPHER_get_auth_nid(c);
    return SSL_CIPHER_get_kx_nid(c) == NID_kx_ecdhe &&
           (auth == NID_auth_rsa || auth == NID_auth_ecdsa) &&
           SSL_CIPHER_get_bits(c, NULL) >= STRENGTH_BITS_MIN;
}

/* NULL: the context does not have it. */
static const SSL_CIPHER *cipher_named(const SSL_CTX *s, const char *name)
{
    const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(s);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
        if (strcmp(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i)), name) == 0)
            return sk_SSL_CIPHER_value(all, i);
    return NULL;
}

static bool takes_cipher(SSL_CTX *s, const char *name)
{
    if (SSL_CTX_set_cipher_list(s, name) != 1)
        return false;
    const SSL_CIPHER *c = cipher_named(s, name);
    return c != NULL && cipher_is_good(c);
}

static bool takes_suite(SSL_CTX *s, const char *name)
{
    return strncmp(name, "TLS_", 4) == 0 && SSL_CTX_set_ciphersuites(s, name) == 1 &&
           cipher_named(s, name) != NULL;
}

static bool takes_group(SSL_CTX *s, const char *name)
{
    return SSL_CTX_set1_groups_list(s, name) == 1;
}

static slice policy_unknown(slice list, bool (*takes)(SSL_CTX *s, const char *name))
{
    SSL_CTX *s = policy_scratch();
    slice word, found = SLICE("");
    char name[NAME_BYTES_MAX + 1];
    while (found.len == 0 && slice_word(&list, &word))
        if (!policy_is_name(word, name) || !takes(s, name))
            found = word;
    SSL_CTX_free(s);
    ERR_clear_error();
    return found;
}

slice tls_cipher_unknown(slice list) { return policy_unknown(list, takes_cipher); }
slice tls_suite_unknown(slice list) { return policy_unknown(list, takes_suite); }
slice tls_group_unknown(slice list) { return policy_unknown(list, takes_group); }

static bool policy_list_fits(const char *list, slice (*unknown)(slice list), const char *what,
                             struct why *why)
{
    slice rest = slice_of(list), word, bad;
    if (rest.len > TLS_LIST_BYTES_MAX || !slice_word(&rest, &word)) {
        why_set(why, "%s: found a list of %zu bytes, allowed at least one name, and at most %d",
                what, strlen(list), TLS_LIST_BYTES_MAX);
        return false;
    }
    bad = unknown(slice_of(list));
    if (bad.len > 0)
        why_set(why, "%s: found \"%.*s\", which is not known or too weak", what,
                (int)(bad.len < NAME_BYTES_MAX ? bad.len : NAME_BYTES_MAX), bad.ptr);
    return bad.len == 0;
}

enum err tls_policy_set(enum tls_context context, const struct tls_policy *p, struct why *why)
{
    struct policy_in_use next;
    ensure(context < TLS_CONTEXTS);
    if (p->min > p->max) {
        why_set(why, "found a least version that is above the highest one");
        return E_SYNTAX;
    }
    if (!policy_list_fits(p->ciphers, tls_cipher_unknown, "ciphers", why) ||
        !policy_list_fits(p->suites, tls_suite_unknown, "cipher suites", why) ||
        !policy_list_fits(p->groups, tls_group_unknown, "groups", why))
        return E_SYNTAX;
    pthread_once(&once, policies_begin);
    policy_copy(&next, p);
    pthread_mutex_lock(&lock);
    in_use[context] = next;
    changes++;
    pthread_mutex_unlock(&lock);
    return OK;
}

/* Of one that was copied under the lock. */
static bool policies_same(const struct policy_in_use *a, const struct policy_in_use *b)
{
    return a->min == b->min && a->max == b->max && strcmp(a->ciphers, b->ciphers) == 0 &&
           strcmp(a->suites, b->suites) == 0 && strcmp(a->groups, b->groups) == 0;
}

unsigned tls_policy_use(SSL_CTX *s, enum tls_context context)
{
    static const int versions[] = { [TLS_1_2] = TLS1_2_VERSION, [TLS_1_3] = TLS1_3_VERSION };
    pthread_once(&once, policies_begin);
    pthread_mutex_lock(&lock);
    struct policy_in_use p = in_use[context];
    unsigned count = changes;
    pthread_mutex_unlock(&lock);
    bool ok = SSL_CTX_set_min_proto_version(s, versions[p.min]) == 1 &&
              SSL_CTX_set_max_proto_version(s, versions[p.max]) == 1 &&
              SSL_CTX_set1_groups_list(s, p.groups) == 1 &&
              SSL_CTX_set_ciphersuites(s, p.suites) == 1 &&
              SSL_CTX_set_cipher_list(s, p.ciphers) == 1;
    ensure(ok); /* each word was tried */
    return count;
}

unsigned tls_policy_changes(void)
{
    pthread_mutex_lock(&lock);
    unsigned count = changes;
    pthread_mutex_unlock(&lock);
    return count;
}

enum tls_context tls_policy_like(enum tls_context context)
{
    enum tls_context first = TLS_CLIENTS;
    pthread_once(&once, policies_begin);
    pthread_mutex_lock(&lock);
    while (!policies_same(&in_use[first], &in_use[context]))
        first++;
    pthread_mutex_unlock(&lock);
    return first;
}
