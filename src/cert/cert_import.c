#include "cert/cert_import.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "cert/cert_ocsp.h"
#include "cert/cert_store.h"
#include "cert/cert_trust.h"
#include "cert/certs.h"
#include "io/tls_cert_make.h"
#include "io/tls_trust.h"
#include <sys/stat.h>

enum err cert_import_allowed(const struct node_file *f, const char *domain, struct why *why)
{
    const struct node_cert *own = certs_own(f, domain);
    if (own == NULL)
        return OK;
    why_set(why,
            "%s: the node file names its certificate (tls.domains, %s:%zu), and that one counts. "
            "Renew %s, or remove the entry and import again",
            domain, f->path, own->line, own->certificate);
    return E_CONFLICT;
}

static enum err import_fail(struct why *why, const struct cert_import *in, const char *what)
{
    why_set(why, "%s: %s", in->certificate, what);
    return E_AUTH;
}

static const char *import_place(const struct cert_import *in)
{
    return in->text.ptr != NULL ? "text" : "file";
}

/* RFC 8446 §4.4.2: each certificate certifies the one before it. */
static enum err check_order(const struct cert_import *in, const struct tls_chain *chain,
                            struct why *why)
{
    for (size_t i = 1; i < chain->count; i++) {
        const struct tls_cert_facts *f = &chain->item[i - 1], *next = &chain->item[i];
        if (strcmp(f->issuer, next->subject) == 0)
            continue;
        return import_fail(
            why, in,
            arena_printf(in->arena,
                         "found \"%.120s\" behind \"%.120s\", expected its issuer \"%.120s\". Put "
                         "the certificate of the domain first, then each issuer",
                         next->subject, f->subject, f->issuer));
    }
    return OK;
}

/* Names in the right order say nothing about signatures. */
static enum err check_signatures(const struct cert_import *in, const struct tls_chain *chain,
                                 struct why *why)
{
    const char *fault = tls_chain_fault(chain, in->arena);
    if (fault == NULL)
        return OK;
    return import_fail(why, in, arena_printf(in->arena, "clients refuse the chain: %s", fault));
}

/* An authority of one's own may leave out its root: clients that trust it have it. So only a
 * certificate without any issuer behind it is refused. */
static enum err check_end(const struct cert_import *in, const struct tls_chain *chain,
                          struct cert_import_found *out, struct why *why)
{
    struct tls_trust *own = tls_trusted_get(cert_trusted(CERT_TRUST_FEDERATION));
    enum tls_chain_end end = tls_chain_leads(chain, own);
    const char *text = arena_printf(in->arena,
                                    "the chain ends at the issuer \"%.200s\", which is neither in "
                                    "the %s nor known to this machine",
                                    chain->item[chain->count - 1].issuer, import_place(in));
    tls_trust_unref(&own);
    if (end != TLS_CHAIN_OPEN)
        return OK;
    if (chain->count == 1)
        return import_fail(why, in,
                           arena_printf(in->arena,
                                        "%s. Add the certificates of the issuers, up to the root "
                                        "if that is your own",
                                        text));
    out->notes = arena_printf(in->arena,
                              "%s\n%s: %s. Clients and other servers that do not know this issuer "
                              "refuse the certificate.",
                              out->notes, in->certificate, text);
    return OK;
}

static void note_end(const struct cert_import *in, const struct tls_chain *chain,
                     struct cert_import_found *out)
{
    const struct tls_cert_facts *first = cert_first_end(chain);
    char day[CLOCK_STAMP_LEN] = "";
    if (first == &chain->item[0])
        return;
    clock_stamp(day, (uint64_t)first->not_after * 1000000);
    out->notes = arena_printf(in->arena,
                              "%s\n%s: the issuer \"%s\" in the chain expires first, on %.10s. "
                              "Import a newer chain before that.",
                              out->notes, in->certificate, first->subject, day);
}

static void note_staple(const struct cert_import *in, const struct tls_chain *chain,
                        struct cert_import_found *out)
{
    if (cert_ocsp_misses(chain))
        out->notes = arena_printf(in->arena,
                                  "%s\n%s: the certificate demands OCSP answers (must-staple), "
                                  "and " CERT_OCSP_MISSING ". Clients refuse it without.",
                                  out->notes, in->certificate);
}

/* Checks the certificates behind the first. */
static enum err check_issuers(const struct cert_import *in, const struct tls_chain *chain,
                              int64_t now, struct why *why)
{
    for (size_t i = 1; i < chain->count; i++) {
        const struct tls_cert_facts *f = &chain->item[i];
        const char *wrong = now > f->not_after    ? "has expired"
                            : now < f->not_before ? "is not valid yet"
                            : f->weak_key         ? "has a weak key"
                            : f->rare_key         ? "has a key that clients cannot use"
                            : f->weak_signature   ? "has a weak signature"
                            : !f->authority       ? "is none of an authority"
                                                  : NULL;
        if (wrong != NULL)
            return import_fail(why, in,
                               arena_printf(in->arena,
                                            "the certificate \"%.200s\" of the chain %s. Get the "
                                            "current chain from the issuer",
                                            f->subject, wrong));
    }
    return OK;
}

static enum err import_check_leaf(const struct cert_import *in, const struct tls_chain *chain,
                                  int64_t now, struct why *why)
{
    const struct tls_cert_facts *f = &chain->item[0];
    struct cert_use use = { .known = true, .facts = *f };
    use.missing = cert_missing(f, in->domain, in->domain_count, in->arena);
    const char *fault = cert_fault(&use, now, in->arena);
    if (fault != NULL)
        return import_fail(why, in, arena_printf(in->arena, "the certificate %s", fault));
    if (f->weak_key || f->rare_key || f->weak_signature)
        return import_fail(why, in,
                           arena_printf(in->arena,
                                        "found a %s (%s), allowed: RSA of 2048 bits and up, ECDSA "
                                        "with P-256, P-384 or P-521, Ed25519, and SHA-256 and up",
                                        f->weak_key   ? "weak key"
                                        : f->rare_key ? "key that clients cannot use"
                                                      : "weak signature",
                                        f->weak_key || f->rare_key ? f->key : f->signature));
    if (!f->for_server)
        return import_fail(why, in,
                           "the certificate is not for servers (keyUsage, extendedKeyUsage). Ask "
                           "the issuer for one with serverAuth");
    return OK;
}

/* The key in a file, if it is that of the certificate. */
static bool import_key_fits(struct buf *key, const char *path, const char *certificate)
{
    struct why why;
    struct buf found;
    tls_key_room(&found, TLS_KEY_BYTES_MAX);
    bool fits =
        tls_key_read(&found, path, &why) == OK && tls_key_fits(buf_fit(&found), certificate);
    if (fits)
        buf_add(key, buf_fit(&found));
    tls_key_wipe(&found);
    return fits;
}

static bool pem_has(slice pem, const char *text)
{
    return pem.len > 0 && memmem(pem.ptr, pem.len, text, strlen(text)) != NULL;
}

/* Why the file with the certificate gives no key. */
static const char *no_key(const struct cert_import *in, slice pem, enum err read)
{
    if (read != OK && !pem_has(pem, "PRIVATE KEY-----"))
        return arena_printf(in->arena, "none is in the %s", import_place(in));
    return arena_printf(in->arena, "the one in the %s %s", import_place(in),
                        read == OK                  ? "is that of another certificate"
                        : pem_has(pem, "ENCRYPTED") ? "has a pass phrase: remove it with `openssl "
                                                      "pkey`"
                                                    : "is damaged");
}

/* Where no key is given: in the file, of a request, of a certificate that is in the data folder. */
static enum err import_find_key(const struct cert_import *in, slice pem, struct buf *key,
                                const char *certificate, const char **used, struct why *why)
{
    enum err read = tls_key_of_pem(key, pem, in->certificate, why);
    if (read == OK && tls_key_fits(buf_slice(key), certificate))
        return OK;
    buf_clear(key); /* a key of something else, which is refused; the caller wipes the memory */
    const struct node_domains *ours = &in->file->domains;
    size_t count = read == OK ? 0 : ours->count + in->domain_count; /* a component is not ours */
    for (size_t i = 0; i < count; i++) {
        const char *domain = i < ours->count ? ours->name[i] : in->domain[i - ours->count];
        const char *request = cert_store_request(in->arena, in->file->data, domain);
        if (import_key_fits(key, request, certificate)) {
            *used = request;
            return OK;
        }
        if (import_key_fits(key, cert_store_pair(in->arena, in->file->data, domain), certificate))
            return OK;
    }
    why_set(why,
            "%s: found no key for this certificate: %s, and it was not made from a request of "
            "`cert csr`. %s",
            in->certificate, no_key(in, pem, read),
            in->text.ptr != NULL ? "Put the key into the same text"
                                 : "Give the file of the key (--key)");
    return E_NOTFOUND;
}

/* What the operator gave as the file of the key. */
static enum err import_given_key(const struct cert_import *in, struct buf *key, struct why *why)
{
    struct buf pem;
    buf_init(&pem, TLS_PEM_BYTES_MAX);
    enum err e = cert_store_read_given(&pem, in->key, why);
    if (e == OK)
        e = tls_key_of_pem(key, buf_fit(&pem), in->key, why);
    tls_key_wipe(&pem);
    return e;
}

static enum err take_key(const struct cert_import *in, slice pem, struct buf *key,
                         const char *certificate, struct cert_import_found *out, struct why *why)
{
    struct stat st;
    if (in->key == NULL)
        return import_find_key(in, pem, key, certificate, &out->used, why);
    enum err e = import_given_key(in, key, why);
    if (e != OK)
        return e;
    if (!tls_key_fits(buf_fit(key), certificate)) {
        why_set(why,
                "%s: the key is not the one of the certificate %s; give the key that it was "
                "requested with",
                in->key, in->certificate);
        return E_CONFLICT;
    }
    if (stat(in->key, &st) == 0 && (st.st_mode & S_IROTH) != 0)
        out->notes = arena_printf(in->arena,
                                  "%s\n%s: all users of this machine may read the key; remove the "
                                  "file, or chmod 600 it.",
                                  out->notes, in->key);
    return OK;
}

/* A file of issuers alone (chain.pem), or in the wrong order: nobody should look for its key. A
 * self-signed certificate may be an authority, too, and that of a server. */
static enum err check_first(const struct cert_import *in, const struct tls_chain *chain,
                            struct why *why)
{
    const struct tls_cert_facts *f = &chain->item[0];
    if (!f->authority || f->self_signed || f->names.count > 0)
        return OK;
    return import_fail(why, in,
                       arena_printf(in->arena,
                                    "found the certificate of the authority \"%.120s\" first, "
                                    "expected that of %s. Put the certificate of the domain first, "
                                    "then each issuer (fullchain.pem)",
                                    f->subject, in->domain[0]));
}

static enum err import_check_pem(const struct cert_import *in, slice text, struct buf *pem,
                                 struct cert_import_found *out, struct why *why)
{
    struct tls_chain chain;
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    enum err e = tls_chain_of_pem(&chain, text, TLS_CHAIN_MAX, in->certificate, in->arena, why);
    if (e == OK)
        e = check_first(in, &chain, why);
    if (e == OK)
        e = take_key(in, text, pem, chain.item[0].pem, out, why);
    if (e == OK)
        e = import_check_leaf(in, &chain, now, why);
    if (e == OK)
        e = check_issuers(in, &chain, now, why);
    if (e == OK)
        e = check_order(in, &chain, why);
    if (e == OK)
        e = check_signatures(in, &chain, why);
    if (e == OK)
        e = check_end(in, &chain, out, why);
    if (e == OK)
        note_staple(in, &chain, out);
    if (e == OK)
        note_end(in, &chain, out);
    for (size_t i = 0; e == OK && i < chain.count; i++)
        buf_add(pem, slice_of(chain.item[i].pem));
    return e;
}

enum err cert_import_check(const struct cert_import *in, struct buf *pem,
                           struct cert_import_found *out, struct why *why)
{
    struct buf text;
    enum err e = OK;
    ensure(in->domain_count > 0 && pem->len == 0);
    *out = (struct cert_import_found){ NULL, "" };
    for (size_t i = 0; e == OK && i < in->domain_count; i++)
        e = cert_import_allowed(in->file, in->domain[i], why);
    if (e != OK)
        return e;
    if (in->text.ptr != NULL)
        return import_check_pem(in, in->text, pem, out, why);
    buf_init(&text, TLS_PEM_BYTES_MAX);
    e = cert_store_read_given(&text, in->certificate, why);
    if (e == OK)
        e = import_check_pem(in, buf_fit(&text), pem, out, why);
    tls_key_wipe(&text);
    return e;
}
