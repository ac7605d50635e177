#include "io/tls_names.h"
#include "base/arena.h"
#include "base/utf8.h"
#include "io/tls_private.h"
#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

enum { LABEL_MAX = 63, DOMAIN_MAX = 253, JID_MAX = 3071 };

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters, digits, hyphens, and underscores, which some names of hosts have. */
static bool is_label(slice s)
{
    if (s.len == 0 || s.len > LABEL_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_alnum(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '_')
            return false;
    }
    return true;
}

static bool is_number(slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    }
    return true;
}

/* A domain of at least two labels behind the wildcard. Addresses in numbers are no DNS names. */
static bool is_dns_name(slice s)
{
    slice rest = s;
    bool wildcard = slice_starts(s, SLICE("*.")), more = s.len <= DOMAIN_MAX;
    size_t count = 0;
    if (wildcard)
        rest = slice_from(s, 2);
    slice label;
    while (more) {
        more = slice_cut(rest, '.', &label, &rest);
        if (!is_label(label))
            return false;
        count++;
    }
    return count > (wildcard ? 1 : 0) && !is_number(label);
}

/* RFC 4985 §2: "_Service.Name" */
static bool is_srv_name(slice s)
{
    slice service, domain;
    return slice_starts(s, SLICE("_")) && slice_cut(slice_from(s, 1), '.', &service, &domain) &&
           is_label(service) && is_dns_name(domain);
}

static bool tls_names_is_address(slice s)
{
    if (s.len == 0 || s.len > JID_MAX || !utf8_valid(s))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return false;
    }
    return true;
}

static slice tls_names_bytes_of(const ASN1_STRING *s)
{
    return (slice){ (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s) };
}

/* false: of another kind, or malformed. */
static bool read_name(struct tls_name *out, const GENERAL_NAME *name)
{
    if (name->type == GEN_DNS) {
        *out = (struct tls_name){ TLS_NAME_DNS, tls_names_bytes_of(name->d.dNSName) };
        return is_dns_name(out->text);
    }
    if (name->type != GEN_OTHERNAME)
        return false;
    const ASN1_TYPE *value = name->d.otherName->value;
    int id = OBJ_obj2nid(name->d.otherName->type_id);
    if (id == NID_SRVName && value->type == V_ASN1_IA5STRING) {
        *out = (struct tls_name){ TLS_NAME_SRV, tls_names_bytes_of(value->value.ia5string) };
        return is_srv_name(out->text);
    }
    if (id == NID_XmppAddr && value->type == V_ASN1_UTF8STRING) {
        *out = (struct tls_name){ TLS_NAME_XMPP, tls_names_bytes_of(value->value.utf8string) };
        return tls_names_is_address(out->text);
    }
    return false;
}

static void tls_names_gather(struct tls_names *out, const GENERAL_NAMES *all, struct arena *arena)
{
    int have = sk_GENERAL_NAME_num(all), most = have < TLS_NAMES_MAX ? have : TLS_NAMES_MAX;
    struct tls_name *name = arena_new(arena, struct tls_name, most > 0 ? (size_t)most : 1);

    *out = (struct tls_names){ .name = name };
    for (int i = 0; i < most; i++) {
        struct tls_name *one = &name[out->count];
        if (read_name(one, sk_GENERAL_NAME_value(all, i))) {
            one->text = slice_dup(arena, one->text);
            out->count++;
        }
    }
}

void tls_names_of_cert(struct tls_names *out, const X509 *cert, struct arena *arena)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    tls_names_gather(out, all, arena);
    GENERAL_NAMES_free(all);
    ERR_clear_error();
}

/* A certificate (RFC 5280 §4.1) of which only the extensions are looked at. d2i_X509() makes a key
 * of the public key, which takes longer than all else about a new link but the handshake. */
struct tbs {
    ASN1_INTEGER *version, *serial;
    ASN1_TYPE *algorithm, *issuer, *validity, *subject, *key; /* as they are */
    ASN1_BIT_STRING *issuer_id, *subject_id;
    STACK_OF(X509_EXTENSION) * extensions;
};
struct signed_tbs {
    struct tbs *tbs;
    ASN1_TYPE *algorithm;
    ASN1_BIT_STRING *signature;
};

/* clang-format off */
ASN1_SEQUENCE(TBS) = {
    ASN1_EXP_OPT(struct tbs, version, ASN1_INTEGER, 0),
    ASN1_SIMPLE(struct tbs, serial, ASN1_INTEGER),
    ASN1_SIMPLE(struct tbs, algorithm, ASN1_ANY),
    ASN1_SIMPLE(struct tbs, issuer, ASN1_ANY),
    ASN1_SIMPLE(struct tbs, validity, ASN1_ANY),
    ASN1_SIMPLE(struct tbs, subject, ASN1_ANY),
    ASN1_SIMPLE(struct tbs, key, ASN1_ANY),
    ASN1_IMP_OPT(struct tbs, issuer_id, ASN1_BIT_STRING, 1),
    ASN1_IMP_OPT(struct tbs, subject_id, ASN1_BIT_STRING, 2),
    ASN1_EXP_SEQUENCE_OF_OPT(struct tbs, extensions, X509_EXTENSION, 3),
} static_ASN1_SEQUENCE_END_name(struct tbs, TBS)

ASN1_SEQUENCE(SIGNED_TBS) = {
    ASN1_SIMPLE(struct signed_tbs, tbs, TBS),
    ASN1_SIMPLE(struct signed_tbs, algorithm, ASN1_ANY),
    ASN1_SIMPLE(struct signed_tbs, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END_name(struct signed_tbs, SIGNED_TBS)
/* clang-format on */

enum err tls_names_read(struct tls_names *out, slice certificate, struct arena *arena)
{
    const unsigned char *at = (const unsigned char *)certificate.ptr;
    const ASN1_ITEM *item = ASN1_ITEM_rptr(SIGNED_TBS);
    ASN1_VALUE *cert =
        certificate.len <= INT32_MAX ? ASN1_item_d2i(NULL, &at, (long)certificate.len, item) : NULL;

    *out = (struct tls_names){ .count = 0 };
    if (cert == NULL) {
        ERR_clear_error();
        return E_SYNTAX;
    }
    const struct tbs *tbs = ((const struct signed_tbs *)(void *)cert)->tbs;
    GENERAL_NAMES *all = X509V3_get_d2i(tbs->extensions, NID_subject_alt_name, NULL, NULL);
    tls_names_gather(out, all, arena);
    GENERAL_NAMES_free(all);
    ASN1_item_free(cert, item);
    ERR_clear_error();
    return OK;
}

bool tls_names_have_address(slice certificate, const char *address)
{
    const unsigned char *at = (const unsigned char *)certificate.ptr;
    X509 *cert = certificate.len <= INT32_MAX ? d2i_X509(NULL, &at, (long)certificate.len) : NULL;
    bool has = cert != NULL && X509_check_ip_asc(cert, address, 0) == 1;
    X509_free(cert);
    ERR_clear_error();
    return has;
}

enum err tls_names_of_san(struct tls_names *out, slice san, struct arena *arena)
{
    const unsigned char *at = (const unsigned char *)san.ptr;
    GENERAL_NAMES *all = san.len <= INT32_MAX ? d2i_GENERAL_NAMES(NULL, &at, (long)san.len) : NULL;

    *out = (struct tls_names){ .count = 0 };
    if (all == NULL) {
        ERR_clear_error();
        return E_SYNTAX;
    }
    tls_names_gather(out, all, arena);
    GENERAL_NAMES_free(all);
    return OK;
}

static bool domain_matches(slice presented, slice domain, bool wildcards)
{
    if (slice_eq_nocase(presented, domain))
        return true;
    slice first, rest;
    return wildcards && slice_starts(presented, SLICE("*.")) &&
           slice_cut(domain, '.', &first, &rest) && first.len > 0 &&
           slice_eq_nocase(slice_from(presented, 2), rest);
}

static bool matches(const struct tls_name *n, const struct tls_wanted *w, slice domain)
{
    slice service, name;
    switch (n->kind) {
    case TLS_NAME_DNS:
        return domain_matches(n->text, domain, w->wildcards);
    case TLS_NAME_SRV:
        return w->service.len > 0 && slice_cut(slice_from(n->text, 1), '.', &service, &name) &&
               slice_eq_nocase(service, w->service) && domain_matches(name, domain, w->wildcards);
    default:
        return w->xmpp && (slice_eq_nocase(n->text, domain) ||
                           (w->unicode.len > 0 && slice_eq_nocase(n->text, w->unicode)));
    }
}

const struct tls_name *tls_names_find(const struct tls_names *names, const struct tls_wanted *w)
{
    slice domain = w->domain;

    if (domain.len > 0 && domain.ptr[domain.len - 1] == '.')
        domain.len--;
    for (size_t i = 0; i < names->count && domain.len > 0; i++) {
        if (matches(&names->name[i], w, domain))
            return &names->name[i];
    }
    return NULL;
}
