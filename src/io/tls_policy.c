#include "io/tls_policy.h"
#include "base/ensure.h"
#include "io/tls_private.h"
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>

enum { NAME_BYTES_MAX = 64, STRENGTH_BITS_MIN = 128 };

static const struct tls_policy policy_default = { TLS_1_2, TLS_1_3, TLS_CIPHERS_DEFAULT,
                                                  TLS_SUITES_DEFAULT, TLS_GROUPS_DEFAULT };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards those below */
static struct tls_policy_text in_use[TLS_CONTEXTS];      /* as OpenSSL wants lists: with colons */
static unsigned changes;
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *tls_context_name(enum tls_context context)
{
    static const char *const names[] = { "clients", "https", "servers", "relay" };
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

static void policy_copy(struct tls_policy_text *out, const struct tls_policy *p)
{
    *out = (struct tls_policy_text){ .min = p->min, .max = p->max };
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

/* With a tag of 8 bytes: RFC 8446 §B.4 leaves it to small devices, and OpenSSL does not use it. */
static bool has_short_tag(const char *name)
{
    return strstr(name, "CCM_8") || strstr(name, "CCM8");
}

static bool cipher_is_good(const SSL_CIPHER *c)
{
    int auth = SSL_CIPHER_get_auth_nid(c);
    return !has_short_tag(SSL_CIPHER_get_name(c)) && SSL_CIPHER_get_kx_nid(c) == NID_kx_ecdhe &&
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
    return strncmp(name, "TLS_", 4) == 0 && !has_short_tag(name) &&
           SSL_CTX_set_ciphersuites(s, name) == 1 && cipher_named(s, name) != NULL;
}

/* Two names of one group count as the same. */
static const struct group {
    const char *name[3];
    bool finite; /* a finite field: TLS 1.3 alone has it (RFC 8446 §4.2.7) */
} groups[] = {
    { { "X25519" }, false },
    { { "X448" }, false },
    { { "P-256", "secp256r1", "prime256v1" }, false },
    { { "P-384", "secp384r1" }, false },
    { { "P-521", "secp521r1" }, false },
    { { "ffdhe3072" }, true },
    { { "ffdhe4096" }, true },
    { { "ffdhe6144" }, true },
    { { "ffdhe8192" }, true },
};

static const struct group *group_named(slice name)
{
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        for (size_t n = 0; n < 3 && groups[i].name[n] != NULL; n++)
            if (slice_eq_nocase(name, slice_of(groups[i].name[n])))
                return &groups[i];
    return NULL;
}

static bool takes_group(SSL_CTX *s, const char *name)
{
    return group_named(slice_of(name)) != NULL && SSL_CTX_set1_groups_list(s, name) == 1;
}

/* OpenSSL refuses a list of groups with one of them twice. */
static bool word_is_again(slice list, slice word)
{
    slice before;
    const struct group *group = group_named(word);
    while (slice_word(&list, &before) && before.ptr != word.ptr)
        if (slice_eq(before, word) || (group != NULL && group_named(before) == group))
            return true;
    return false;
}

static slice policy_unknown(slice list, bool (*takes)(SSL_CTX *s, const char *name))
{
    SSL_CTX *s = policy_scratch();
    slice word, rest = list, found = SLICE("");
    char name[NAME_BYTES_MAX + 1];
    bool any = false;
    while (found.len == 0 && slice_word(&rest, &word)) {
        any = true;
        if (!policy_is_name(word, name) || !takes(s, name) || word_is_again(list, word))
            found = word;
    }
    SSL_CTX_free(s);
    ERR_clear_error();
    return any ? found : list;
}

slice tls_cipher_unknown(slice list) { return policy_unknown(list, takes_cipher); }
slice tls_suite_unknown(slice list) { return policy_unknown(list, takes_suite); }

slice tls_group_unknown(slice list)
{
    slice word, rest = list, found = policy_unknown(list, takes_group);
    if (found.len > 0)
        return found;
    while (slice_word(&rest, &word))
        if (!group_named(word)->finite)
            return SLICE("");
    return list;
}

static bool policy_lists_have_room(const struct tls_policy *p, struct why *why)
{
    const struct {
        const char *what, *list;
    } lists[] = { { "ciphers", p->ciphers },
                  { "cipher suites", p->suites },
                  { "groups", p->groups } };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        slice rest = slice_of(lists[i].list), word;
        if (rest.len <= TLS_LIST_BYTES_MAX && slice_word(&rest, &word))
            continue;
        why_set(why, "%s: found a list of %zu bytes, allowed at least one name, and at most %d",
                lists[i].what, strlen(lists[i].list), TLS_LIST_BYTES_MAX);
        return false;
    }
    return true;
}

static bool policy_list_fits(const char *list, slice (*unknown)(slice list), const char *what,
                             struct why *why)
{
    slice bad = unknown(slice_of(list));
    if (bad.len > 0)
        why_set(why, "%s: found \"%.*s\", which is not known or too weak", what,
                (int)(bad.len < NAME_BYTES_MAX ? bad.len : NAME_BYTES_MAX), bad.ptr);
    return bad.len == 0;
}

/* With the whole, just as contexts are made. */
static bool policy_apply(SSL_CTX *s, const struct tls_policy_text *p)
{
    static const int versions[] = { [TLS_1_2] = TLS1_2_VERSION, [TLS_1_3] = TLS1_3_VERSION };
    return SSL_CTX_set_min_proto_version(s, versions[p->min]) == 1 &&
           SSL_CTX_set_max_proto_version(s, versions[p->max]) == 1 &&
           SSL_CTX_set1_groups_list(s, p->groups) == 1 &&
           SSL_CTX_set_ciphersuites(s, p->suites) == 1 &&
           SSL_CTX_set_cipher_list(s, p->ciphers) == 1;
}

static bool policy_works(const struct tls_policy_text *p)
{
    SSL_CTX *s = policy_scratch();
    bool works = policy_apply(s, p);
    SSL_CTX_free(s);
    ERR_clear_error();
    return works;
}

static bool policies_same(const struct tls_policy_text *a, const struct tls_policy_text *b)
{
    return a->min == b->min && a->max == b->max && strcmp(a->ciphers, b->ciphers) == 0 &&
           strcmp(a->suites, b->suites) == 0 && strcmp(a->groups, b->groups) == 0;
}

/* Nothing is asked of OpenSSL again about what some context has, most often the default. */
static bool policy_is_in_use(const struct tls_policy_text *p)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < TLS_CONTEXTS; i++)
        found |= policies_same(p, &in_use[i]);
    pthread_mutex_unlock(&lock);
    return found;
}

enum err tls_policy_set(enum tls_context context, const struct tls_policy *p, struct why *why)
{
    struct tls_policy_text next;
    ensure(context < TLS_CONTEXTS);
    if (p->min > p->max) {
        why_set(why, "found a least version that is above the highest one");
        return E_SYNTAX;
    }
    if (!policy_lists_have_room(p, why))
        return E_SYNTAX;
    pthread_once(&once, policies_begin);
    policy_copy(&next, p);
    bool known = policy_is_in_use(&next);
    if (!known && (!policy_list_fits(p->ciphers, tls_cipher_unknown, "ciphers", why) ||
                   !policy_list_fits(p->suites, tls_suite_unknown, "cipher suites", why) ||
                   !policy_list_fits(p->groups, tls_group_unknown, "groups", why)))
        return E_SYNTAX;
    if (!known && !policy_works(&next)) {
        why_set(why, "OpenSSL does not take these versions, ciphers, suites and groups together");
        return E_SYNTAX;
    }
    pthread_mutex_lock(&lock);
    in_use[context] = next;
    changes++;
    pthread_mutex_unlock(&lock);
    return OK;
}

static unsigned policy_read(struct tls_policy_text *out, enum tls_context context)
{
    pthread_once(&once, policies_begin);
    pthread_mutex_lock(&lock);
    *out = in_use[context];
    unsigned count = changes;
    pthread_mutex_unlock(&lock);
    return count;
}

unsigned tls_policy_use(SSL_CTX *s, enum tls_context context)
{
    struct tls_policy_text p;
    unsigned count = policy_read(&p, context);
    if (policy_apply(s, &p))
        return count;
    /* it was tried before it was set, so this is a fault of OpenSSL: the default serves clients */
    policy_copy(&p, &policy_default);
    (void)policy_apply(s, &p);
    ERR_clear_error();
    return count;
}

static void policy_uncolon(char *list)
{
    while ((list = strchr(list, ':')) != NULL)
        *list = ' ';
}

void tls_policy_get(struct tls_policy_text *out, enum tls_context context)
{
    (void)policy_read(out, context);
    policy_uncolon(out->ciphers);
    policy_uncolon(out->suites);
    policy_uncolon(out->groups);
}

/* Ciphers of TLS 1.2 name the key of the certificate; Ed25519 counts as ECDSA (RFC 8422 §5.10). */
enum tls_key_fit tls_policy_key(enum tls_context context, const char *key)
{
    struct tls_policy_text p;
    (void)policy_read(&p, context);
    const char *part = strncmp(key, "RSA", 3) == 0 ? "-RSA-" : "-ECDSA-";
    if (p.min > TLS_1_2 || strstr(p.ciphers, part) != NULL)
        return TLS_KEY_FITS;
    return p.max > TLS_1_2 ? TLS_KEY_NOT_1_2 : TLS_KEY_NEVER;
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
