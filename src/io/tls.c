#include "io/tls.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/whole_file.h"
#include "io/tls_cert.h"
#include "io/tls_cert_make.h"
#include "io/tls_private.h"
#include "io/tls_tickets.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOMAIN_BYTES_MAX = 255 };

/* One certificate, of one domain or the default one. */
struct tls_entry {
    char *domain; /* lower case */
    size_t domain_len;
    SSL_CTX *ssl[TLS_SERVED]; /* one for those that take the same (io/tls_policy.h) */
    struct tls_names names;   /* in it */
    struct tls_staple *staple;
    struct tls_entry *next;
};

/* A DNS name, in lower case, of the first certificate that has it. */
struct tls_named {
    slice name;
    const struct tls_entry *entry;
};

struct tls_ctx {
    _Atomic unsigned refs;
    struct arena *arena;             /* of the names */
    struct tls_entry *entries;       /* as they were given */
    struct tls_entry **last;         /* where the next one goes */
    struct tls_entry *fallback;      /* the default one */
    const struct tls_entry *assumed; /* where no domain is named; NULL: the default one */
    struct map by_domain;
    struct map by_name; /* struct tls_named */
};

/* In the order of enum tls_protocol. */
static const slice protocol_names[] = { SLICE_INIT("xmpp-client"), SLICE_INIT("http/1.1"),
                                        SLICE_INIT("xmpp-server") };

static enum tls_protocol protocol_of(const SSL *ssl)
{
    return (enum tls_protocol)((const slice *)SSL_get_app_data(ssl) - protocol_names);
}

static slice tls_entry_key(const void *item)
{
    const struct tls_entry *e = item;

    return (slice){ e->domain, e->domain_len };
}

static slice tls_named_key(const void *item) { return ((const struct tls_named *)item)->name; }

/* A dot at the end of a domain does not count. */
static slice tls_undotted(slice name)
{
    bool dot = name.len > 1 && name.ptr[name.len - 1] == '.';
    return (slice){ name.ptr, name.len - dot };
}

/* out: DOMAIN_BYTES_MAX bytes; a longer text is cut off. */
static slice tls_lower(char *out, slice text)
{
    size_t len = text.len < DOMAIN_BYTES_MAX ? text.len : DOMAIN_BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        char c = text.ptr[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return (slice){ out, len };
}

/* Without names beside it, the common name counts: old clients read that alone. */
static bool tls_covers(const struct tls_entry *e, slice name)
{
    const struct tls_wanted wanted = { .domain = name, .wildcards = true };
    if (e == NULL || name.len == 0)
        return false;
    if (e->names.count > 0)
        return tls_names_find(&e->names, &wanted) != NULL;
    return X509_check_host(SSL_CTX_get0_certificate(e->ssl[0]), name.ptr, name.len, 0, NULL) == 1;
}

/* The certificate that has the name itself, or else a wildcard for it. */
static const struct tls_entry *tls_naming(const struct tls_ctx *ctx, slice name)
{
    const struct tls_named *n = map_get(&ctx->by_name, name);
    slice label, above;
    char star[DOMAIN_BYTES_MAX + 1] = "*.";
    if (n == NULL && slice_cut(name, '.', &label, &above) && label.len > 0 &&
        above.len < sizeof(star) - 2) {
        memcpy(star + 2, above.ptr, above.len);
        n = map_get(&ctx->by_name, (slice){ star, above.len + 2 });
    }
    return n != NULL ? n->entry : NULL;
}

/* The certificate for a name that is no domain of ours, such as that of a service or a component.
 * The one that the stream has asked for comes first, then the default one, then those of domains
 * above, then that of any other domain. NULL: none covers it. */
static const struct tls_entry *tls_covering(const struct tls_ctx *ctx, const struct tls_entry *now,
                                            slice name)
{
    if (tls_covers(now, name))
        return now;
    if (tls_covers(ctx->fallback, name))
        return ctx->fallback;
    slice label, above = name;
    while (slice_cut(above, '.', &label, &above)) {
        const struct tls_entry *e = map_get(&ctx->by_domain, above);
        if (tls_covers(e, name))
            return e;
    }
    return tls_naming(ctx, name);
}

static const struct tls_entry *tls_find(const struct tls_ctx *ctx, const struct tls_entry *now,
                                        slice domain)
{
    char lower[DOMAIN_BYTES_MAX];
    if (domain.len == 0 || domain.len > sizeof(lower))
        return NULL;
    slice wanted = tls_undotted(tls_lower(lower, domain));
    const struct tls_entry *e = map_get(&ctx->by_domain, wanted);
    return e != NULL ? e : tls_covering(ctx, now, wanted);
}

/* RFC 6066 §3. A name that no certificate has gets the certificate of the stream's domain, if that
 * is known, or that of a client that names none: the client decides about it. */
static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct tls_ctx *ctx = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    const struct tls_entry *now = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_entry *e = tls_find(ctx, now, slice_of(name));
    SSL_CTX *found = e != NULL ? e->ssl[protocol_of(ssl)] : NULL;
    if (found != NULL && found != SSL_get_SSL_CTX(ssl))
        SSL_set_SSL_CTX(ssl, found);
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 §3.2: a client that offers protocols, but not this one, gets an alert. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    const slice *ours = SSL_get_app_data(ssl);

    (void)arg;
    for (unsigned at = 0; at < in_len && in[at] < in_len - at; at += in[at] + 1U) {
        if (slice_eq(*ours, (slice){ (const char *)in + at + 1, in[at] })) {
            *out = in + at + 1;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int tls_no_pass_phrase(char *out, int cap, int writing, void *arg)
{
    (void)out;
    (void)cap;
    (void)writing;
    (void)arg;
    return -1;
}

SSL_CTX *tls_ssl_ctx_create(const SSL_METHOD *method, enum tls_context context)
{
    SSL_CTX *s = SSL_CTX_new(method);
    ensure(s != NULL);
    SSL_CTX_set_options(s, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(s, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_OFF); /* tickets hold the sessions */
    (void)tls_policy_use(s, context);
    tls_judgement_prepare(s);
    return s;
}

static SSL_CTX *server_ctx_create(enum tls_context context)
{
    static const unsigned char id[] = "muster";
    SSL_CTX *s = tls_ssl_ctx_create(TLS_server_method(), context);
    SSL_CTX_set_options(s, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_default_passwd_cb(s, tls_no_pass_phrase);
    SSL_CTX_set_alpn_select_cb(s, choose_protocol, NULL);
    bool ok = SSL_CTX_set_num_tickets(s, 1) == 1 &&
              SSL_CTX_set_session_id_context(s, id, sizeof(id) - 1) == 1;
    ensure(ok);
    tls_tickets_use(s);
    return s;
}

enum err tls_file_fail(struct why *why, enum err e, const char *path, const char *what)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    why_set(why, "%s: %s: %s", path, what, text == NULL ? "unknown" : text);
    ERR_clear_error();
    return e;
}

static enum err check_readable(const char *path, struct why *why)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) { /* a pipe would not end */
        why_set(why, "%s: not a regular file; give the path of a PEM file", path);
        return E_SYNTAX;
    }
    if (access(path, R_OK) == 0)
        return OK;
    why_set(why, "%s: %s; give the path of a readable PEM file", path, strerrordesc_np(errno));
    return E_IO;
}

/* Not by the library's own reader, which leaves a copy of the key in memory. */
static bool tls_load_key(SSL_CTX *s, const char *path)
{
    struct buf pem;
    struct why ignored;
    EVP_PKEY *key = NULL;
    buf_init(&pem, TLS_PEM_BYTES_MAX);
    if (whole_file_read(&pem, path, &ignored) == OK && pem.len > 0) {
        BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
        key = PEM_read_bio_PrivateKey(in, NULL, tls_no_pass_phrase, NULL);
        BIO_free(in);
    }
    tls_key_wipe(&pem);
    bool ok = key != NULL && SSL_CTX_use_PrivateKey(s, key) == 1;
    EVP_PKEY_free(key);
    return ok;
}

static enum err tls_load(SSL_CTX *s, const struct tls_cert *cert, struct why *why)
{
    enum err e = check_readable(cert->certificate, why);

    if (e == OK)
        e = check_readable(cert->key, why);
    if (e != OK)
        return e;
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(s, cert->certificate) != 1)
        return tls_file_fail(why, E_SYNTAX, cert->certificate, "not a PEM certificate chain");
    if (tls_load_key(s, cert->key) && SSL_CTX_check_private_key(s) == 1)
        return OK;
    switch (ERR_GET_REASON(ERR_peek_last_error())) {
    case X509_R_KEY_VALUES_MISMATCH:
    case X509_R_KEY_TYPE_MISMATCH:
        return tls_file_fail(why, E_CONFLICT, cert->key, "the key does not fit the certificate");
    default:
        return tls_file_fail(why, E_SYNTAX, cert->key, "not a PEM private key without pass phrase");
    }
}

/* The same certificate in another context: no file is read twice. */
static enum err tls_share(SSL_CTX *s, SSL_CTX *of, struct why *why)
{
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(of, &chain);
    if (SSL_CTX_use_cert_and_key(s, SSL_CTX_get0_certificate(of), SSL_CTX_get0_privatekey(of),
                                 chain, 1) == 1)
        return OK;
    ERR_clear_error();
    why_set(why, "tls: OpenSSL cannot use a certificate twice");
    return E_INTERNAL;
}

/* of: has the certificate; NULL: it is read from its files. */
static enum err tls_fill(struct tls_ctx *ctx, struct tls_entry *e, const struct tls_cert *cert,
                         SSL_CTX *of, struct why *why)
{
    enum err rc = OK;
    for (unsigned i = 0; i < TLS_SERVED && rc == OK; i++) {
        enum tls_context like = tls_policy_like((enum tls_context)i);
        if (like < i && e->ssl[like] != NULL) {
            e->ssl[i] = e->ssl[like];
            SSL_CTX_up_ref(e->ssl[i]);
            continue;
        }
        e->ssl[i] = server_ctx_create((enum tls_context)i);
        SSL_CTX_set_app_data(e->ssl[i], e);
        SSL_CTX_set_tlsext_servername_callback(e->ssl[i], choose_certificate);
        SSL_CTX_set_tlsext_servername_arg(e->ssl[i], ctx);
        SSL_CTX *has = i == 0 ? of : e->ssl[0];
        rc = has == NULL ? tls_load(e->ssl[i], cert, why) : tls_share(e->ssl[i], has, why);
    }
    for (unsigned i = 0; i < TLS_SERVED && rc == OK; i++) {
        if (i == 0)
            e->staple = tls_staple_of(SSL_CTX_get0_certificate(e->ssl[0]));
        tls_staple_use(e->staple, e->ssl[i]);
    }
    if (rc == OK)
        tls_names_of_cert(&e->names, SSL_CTX_get0_certificate(e->ssl[0]), ctx->arena);
    return rc;
}

static void add_names(struct tls_ctx *ctx, const struct tls_entry *e)
{
    char lower[DOMAIN_BYTES_MAX];
    for (size_t i = 0; i < e->names.count; i++) {
        const struct tls_name *n = &e->names.name[i];
        if (n->kind != TLS_NAME_DNS)
            continue;
        slice name = tls_lower(lower, n->text);
        if (map_get(&ctx->by_name, name) != NULL)
            continue;
        struct tls_named *named = arena_new(ctx->arena, struct tls_named, 1);
        *named = (struct tls_named){ slice_dup(ctx->arena, name), e };
        map_put(&ctx->by_name, named);
    }
}

static enum err add_entry(struct tls_ctx *ctx, const struct tls_cert *cert, SSL_CTX *of,
                          struct why *why)
{
    struct tls_entry *e = mem_new(struct tls_entry);
    const char *domain = cert->domain == NULL ? "" : cert->domain;
    e->domain = mem_alloc(DOMAIN_BYTES_MAX);
    e->domain_len = tls_lower(e->domain, slice_of(domain)).len;
    *ctx->last = e;
    ctx->last = &e->next;
    enum err rc = tls_fill(ctx, e, cert, of, why);
    if (rc != OK)
        return rc;
    add_names(ctx, e);
    if (ctx->fallback == NULL || cert->domain == NULL)
        ctx->fallback = e;
    if (cert->domain == NULL)
        return OK;
    if (map_get(&ctx->by_domain, tls_entry_key(e)) != NULL) {
        why_set(why, "tls: two certificates for the domain %s; give one", cert->domain);
        return E_EXISTS;
    }
    map_put(&ctx->by_domain, e);
    return OK;
}

static struct tls_ctx *tls_ctx_new(void)
{
    struct tls_ctx *ctx = mem_new(struct tls_ctx);

    atomic_init(&ctx->refs, 1);
    ctx->arena = arena_create(0);
    ctx->last = &ctx->entries;
    map_init(&ctx->by_domain, tls_entry_key);
    map_init(&ctx->by_name, tls_named_key);
    return ctx;
}

enum err tls_ctx_create(struct tls_ctx **out, const struct tls_cert *certs, size_t count,
                        struct why *why)
{
    struct tls_ctx *ctx = tls_ctx_new();
    enum err e = OK;

    ensure(count > 0);
    for (size_t i = 0; i < count && e == OK; i++)
        e = add_entry(ctx, &certs[i], NULL, why);
    if (e == OK)
        *out = ctx;
    else
        tls_ctx_unref(&ctx);
    return e;
}

void tls_ctx_assume(struct tls_ctx *ctx, slice domain)
{
    ensure(ctx->fallback != NULL);
    ctx->assumed = map_get(&ctx->by_domain, domain);
}

enum err tls_ctx_renew(struct tls_ctx **out, const struct tls_ctx *of, struct why *why)
{
    struct tls_ctx *ctx = tls_ctx_new();
    enum err e = OK;
    for (const struct tls_entry *old = of->entries; old != NULL && e == OK; old = old->next) {
        char domain[DOMAIN_BYTES_MAX + 1];
        memcpy(domain, old->domain, old->domain_len);
        domain[old->domain_len] = '\0';
        const struct tls_cert cert = { .domain = old->domain_len > 0 ? domain : NULL };
        e = add_entry(ctx, &cert, old->ssl[0], why);
    }
    if (e == OK && of->assumed != NULL)
        tls_ctx_assume(ctx, tls_entry_key(of->assumed));
    if (e == OK)
        *out = ctx;
    else
        tls_ctx_unref(&ctx);
    return e;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void tls_ctx_unref(struct tls_ctx **ctx)
{
    struct tls_ctx *c = *ctx;
    *ctx = NULL;
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
        return;
    map_fini(&c->by_domain);
    map_fini(&c->by_name);
    struct tls_entry *next;
    for (struct tls_entry *e = c->entries; e != NULL; e = next) {
        next = e->next;
        for (unsigned i = 0; i < TLS_SERVED; i++)
            SSL_CTX_free(e->ssl[i]);
        tls_staple_unref(&e->staple);
        mem_free(&e->domain);
        mem_free(&e);
    }
    arena_destroy(&c->arena);
    mem_free(&c);
}

SSL_CTX *tls_ctx_for(const struct tls_ctx *ctx, slice domain, enum tls_protocol protocol)
{
    const struct tls_entry *e = tls_find(ctx, NULL, domain);

    return e != NULL ? e->ssl[protocol] : ctx->fallback->ssl[protocol];
}

SSL *tls_session_create(struct tls_ctx *ctx, SSL_CTX *first, enum tls_protocol protocol)
{
    const struct tls_entry *e = ctx->assumed != NULL ? ctx->assumed : ctx->fallback;
    SSL *ssl = SSL_new(first != NULL ? first : e->ssl[protocol]);

    ensure(ssl != NULL);
    SSL_set_app_data(ssl, (void *)(uintptr_t)&protocol_names[protocol]);
    return ssl;
}
