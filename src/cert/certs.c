#include "cert/certs.h"
#include "app/features.h"
#include "app/node_file.h"
#include "app/node_finding.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "cert/cert_store.h"
#include "io/tls.h"
#include "io/tls_cert_make.h"
#include "xmpp/jid.h"
#include "xmpp/precis.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { DAY_SECONDS = 24 * 3600, EXPIRES_SOON_DAYS = 30 };

const char *cert_source_name(enum cert_source source)
{
    static const char *const names[] = { "node file", "data folder", "self-signed" };
    return names[source];
}

const struct node_cert *certs_own(const struct node_file *f, const char *domain)
{
    for (size_t i = 0; i < f->certs.count; i++) {
        if (strcmp(f->certs.item[i].domain, domain) == 0)
            return &f->certs.item[i];
    }
    return NULL;
}

/* The pair for the domains without a certificate of their own, in the data folder. */
static struct node_cert made_here(const struct node_file *f, struct arena *arena)
{
    return (struct node_cert){
        .certificate = arena_printf(arena, "%s/self-signed-cert.pem", f->data),
        .key = arena_printf(arena, "%s/self-signed-key.pem", f->data),
    };
}

/* The certificate of just this domain. false: it has none. */
static bool certs_single(struct node_cert *out, const struct node_file *f, const char *domain,
                         struct arena *arena)
{
    const struct node_cert *own = certs_own(f, domain);
    const char *pair = cert_store_pair(arena, f->data, domain);
    if (own != NULL)
        *out = *own;
    else
        *out = (struct node_cert){ .domain = domain, .certificate = pair, .key = pair };
    return own != NULL || cert_store_has(pair);
}

/* The domains that may have a certificate of their own: ours, then others of the data folder. */
static struct node_domains certs_domains(const struct node_file *f, struct arena *arena)
{
    struct node_domains others;
    const struct node_domains *ours = &f->domains;
    cert_store_others(&others, f->data, ours, arena);
    const char **name = arena_new(arena, const char *, ours->count + others.count + 1);
    for (size_t i = 0; i < ours->count; i++)
        name[i] = ours->name[i];
    for (size_t i = 0; i < others.count; i++)
        name[ours->count + i] = others.name[i];
    return (struct node_domains){ name, ours->count + others.count };
}

/* A client asks for a domain by its A-labels (RFC 6066 §3). */
static size_t certs_add_pair(struct tls_cert *certs, const struct node_cert *pair,
                             struct arena *arena)
{
    slice ascii;
    certs[0] = (struct tls_cert){ pair->domain, pair->certificate, pair->key };
    if (precis_domain_ascii(slice_of(pair->domain), arena, &ascii) != OK ||
        slice_is(ascii, pair->domain))
        return 1;
    certs[1] = certs[0];
    certs[1].domain = slice_cstr(arena, ascii);
    return 2;
}

/* Whether TLS takes this pair of the data folder. */
static bool certs_usable(const struct node_cert *pair, struct why *why)
{
    const struct tls_cert one = { NULL, pair->certificate, pair->key };
    struct tls_ctx *tls = NULL;
    struct why wrong;
    bool usable = tls_ctx_create(&tls, &one, 1, &wrong) == OK;
    tls_ctx_unref(&tls);
    if (!usable)
        why_set(why,
                "%s. Import the certificate of %s again (`musterctl cert import`), or delete this "
                "one (`musterctl cert del`, or the file)",
                wrong.text, pair->domain);
    return usable;
}

/* Those of the domains. usable: only such that TLS takes; the others are logged. So are those of
 * domains that are not ours, always: they may be left from long ago. */
static size_t certs_gather(struct tls_cert *certs, const struct node_file *f,
                           const struct node_domains *all, bool usable, struct arena *arena)
{
    struct node_cert single;
    struct why why;
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (!certs_single(&single, f, all->name[i], arena))
            continue;
        bool look = usable || i >= f->domains.count;
        if (!look || certs_own(f, single.domain) != NULL || certs_usable(&single, &why))
            count += certs_add_pair(&certs[count], &single, arena);
        else
            log_error(&log_server, LOG_EV("cert.unusable"), LOG_C("domain", single.domain),
                      LOG_C("why", why.text));
    }
    return count;
}

/* Says what to do about the first pair of the data folder that TLS does not take. */
static void certs_blame(const struct node_file *f, const struct node_domains *all,
                        struct arena *arena, struct why *why)
{
    struct node_cert single;
    for (size_t i = 0; i < all->count; i++)
        if (certs_own(f, all->name[i]) == NULL && certs_single(&single, f, all->name[i], arena) &&
            !certs_usable(&single, why))
            return;
}

/* Loads the default certificate and those of the domains. */
static enum err certs_load_pairs(struct tls_ctx **out, const struct node_file *f,
                                 const struct node_cert *fallback, enum certs_when when,
                                 struct why *why)
{
    struct arena *arena = arena_create(0);
    const struct node_domains all = certs_domains(f, arena);
    struct tls_cert *certs = arena_new(arena, struct tls_cert, 2 * all.count + 1);
    certs[0] = (struct tls_cert){ NULL, fallback->certificate, fallback->key };
    enum err e =
        tls_ctx_create(out, certs, 1 + certs_gather(&certs[1], f, &all, false, arena), why);
    if (e != OK && when == CERTS_START)
        e = tls_ctx_create(out, certs, 1 + certs_gather(&certs[1], f, &all, true, arena), why);
    else if (e != OK)
        certs_blame(f, &all, arena, why);
    arena_destroy(&arena);
    return e;
}

/* As clients ask for them. */
static const char *const *certs_ascii(const struct node_domains *all, struct arena *arena)
{
    const char **names = arena_new(arena, const char *, all->count + 1);
    slice ascii;
    for (size_t i = 0; i < all->count; i++)
        names[i] = precis_domain_ascii(slice_of(all->name[i]), arena, &ascii) == OK
                       ? slice_cstr(arena, ascii)
                       : all->name[i]; /* an address in numbers */
    return names;
}

enum err certs_load(struct tls_ctx **out, const struct node_file *f, enum certs_when when,
                    struct why *why)
{
    const struct node_cert given = { .certificate = f->certificate, .key = f->key };
    if (f->certificate != NULL)
        return certs_load_pairs(out, f, &given, when, why);
    struct arena *arena = arena_create(0);
    struct node_cert own = made_here(f, arena);
    enum err e = tls_self_signed(own.certificate, own.key, certs_ascii(&f->domains, arena),
                                 f->domains.count, why);
    if (e == OK)
        e = certs_load_pairs(out, f, &own, when, why);
    if (e == OK && f->domains.count == 1)
        tls_ctx_assume(*out, slice_of(f->domains.name[0]));
    arena_destroy(&arena);
    return e;
}

/* A domain that the DNS cannot have, such as an address in numbers, is compared as a whole. */
static bool names_whole(const struct tls_cert_facts *facts, const char *domain, struct arena *arena)
{
    slice prepared;
    for (size_t i = 0; i < facts->name_count; i++)
        if (jid_prep_domain(slice_of(facts->name[i]), arena, &prepared) == OK &&
            slice_is(prepared, domain))
            return true;
    return false;
}

bool cert_names(const struct tls_cert_facts *facts, const char *domain, struct arena *arena)
{
    struct tls_wanted wanted = { .wildcards = true };
    if (precis_domain_ascii(slice_of(domain), arena, &wanted.domain) != OK)
        return names_whole(facts, domain, arena);
    return tls_names_find(&facts->names, &wanted) != NULL;
}

/* The list with one more element, as a copy. */
static const char *certs_listed(struct arena *arena, const char *list, const char *more)
{
    return arena_printf(arena, "%s%s%s", list, *list != '\0' ? ", " : "", more);
}

const char *cert_missing(const struct tls_cert_facts *facts, const char *const *domain,
                         size_t count, struct arena *arena)
{
    const char *missing = "";
    for (size_t i = 0; i < count; i++)
        if (!cert_names(facts, domain[i], arena))
            missing = certs_listed(arena, missing, domain[i]);
    return missing;
}

/* A file of the data folder has its key, too, and is of no use if that is damaged. */
static bool pair_has_key(const struct cert_use *use)
{
    struct why why;
    struct buf key;
    tls_key_room(&key, TLS_KEY_BYTES_MAX);
    bool has = tls_key_read(&key, use->key, &why) == OK &&
               tls_key_fits(buf_fit(&key), use->chain.item[0].pem);
    tls_key_wipe(&key);
    return has;
}

/* Reads its file. */
static void certs_read_use(struct cert_use *use, struct arena *arena)
{
    struct why why;
    use->known =
        tls_cert_read_chain(&use->chain, use->certificate, TLS_CHAIN_MAX, arena, &why) == OK;
    if (use->known && use->source == CERT_OF_COMMANDS && !pair_has_key(use)) {
        use->known = false;
        use->chain.count = 0;
    }
    use->facts = use->known ? use->chain.item[0] : (struct tls_cert_facts){ .issuer = "" };
    use->missing =
        use->known ? cert_missing(&use->facts, use->domain, use->domain_count, arena) : "";
}

void cert_use_again(struct cert_use *out, const struct cert_use *use, struct arena *arena)
{
    *out = *use;
    certs_read_use(out, arena);
}

/* Adds a certificate with the domains that are served with it. */
static void certs_add_use(struct cert_uses *out, const struct node_cert *cert,
                          enum cert_source source, const char *const *domain, size_t count,
                          struct arena *arena)
{
    if (count == 0)
        return;
    const char **names = arena_new(arena, const char *, count);
    struct cert_use *use = &out->item[out->count++];
    *use = (struct cert_use){
        .domain = names,
        .domain_count = count,
        .domains = "",
        .certificate = slice_cstr(arena, slice_of(cert->certificate)),
        .key = slice_cstr(arena, slice_of(cert->key)),
        .source = source,
    };
    for (size_t i = 0; i < count; i++) {
        names[i] = slice_cstr(arena, slice_of(domain[i]));
        use->domains = certs_listed(arena, use->domains, names[i]);
    }
    certs_read_use(use, arena);
}

void certs_read(struct cert_uses *out, const struct node_file *f, struct arena *arena)
{
    const struct node_domains all = certs_domains(f, arena);
    const char **others = arena_new(arena, const char *, f->domains.count + 1);
    struct node_cert cert;
    size_t count = 0;
    *out = (struct cert_uses){ arena_new(arena, struct cert_use, all.count + 1), 0 };
    for (size_t i = 0; i < f->domains.count; i++)
        if (!certs_single(&cert, f, f->domains.name[i], arena))
            others[count++] = f->domains.name[i];
    cert = (struct node_cert){ .certificate = f->certificate, .key = f->key };
    if (f->certificate == NULL)
        cert = made_here(f, arena);
    certs_add_use(out, &cert, f->certificate == NULL ? CERT_MADE_HERE : CERT_OF_NODE_FILE, others,
                  count, arena);
    for (size_t i = 0; i < all.count; i++)
        if (certs_single(&cert, f, all.name[i], arena))
            certs_add_use(out, &cert,
                          certs_own(f, all.name[i]) != NULL ? CERT_OF_NODE_FILE : CERT_OF_COMMANDS,
                          &all.name[i], 1, arena);
}

const struct tls_cert_facts *cert_first_end(const struct tls_chain *chain)
{
    const struct tls_cert_facts *first = &chain->item[0];
    for (size_t i = 1; i < chain->count; i++)
        if (!chain->item[i].self_signed && chain->item[i].not_after < first->not_after)
            first = &chain->item[i];
    return first;
}

int64_t cert_days_left(const struct tls_cert_facts *facts, int64_t now)
{
    int64_t left = facts->not_after - now;
    return left >= 0 ? left / DAY_SECONDS : -1 - (-left - 1) / DAY_SECONDS;
}

struct cert_days cert_days_print(int64_t days)
{
    struct cert_days out = { "expired" };
    if (days == 0)
        return (struct cert_days){ "less than a day" };
    if (days > 0)
        snprintf(out.text, sizeof out.text, "%" PRId64 " day%s", days, days > 1 ? "s" : "");
    return out;
}

static const char *date(int64_t when, struct arena *arena)
{
    char text[16];
    struct tm tm;
    time_t at = (time_t)when;
    strftime(text, sizeof text, "%Y-%m-%d", gmtime_r(&at, &tm));
    return slice_cstr(arena, slice_of(text));
}

static const char *names_text(const struct tls_cert_facts *facts, struct arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < facts->name_count; i++)
        text = certs_listed(arena, text, facts->name[i]);
    return *text != '\0' ? text : "no domain at all (the common name does not count)";
}

const char *cert_fault(const struct cert_use *use, int64_t now, struct arena *arena)
{
    const struct tls_cert_facts *facts = &use->facts;
    if (!use->known)
        return "cannot be read";
    if (now > facts->not_after)
        return arena_printf(arena, "expired on %s", date(facts->not_after, arena));
    if (now < facts->not_before)
        return arena_printf(arena, "is not valid before %s", date(facts->not_before, arena));
    if (*use->missing != '\0')
        return arena_printf(arena, "does not name %s; it names %.200s", use->missing,
                            names_text(facts, arena));
    if (!facts->for_signatures) /* RFC 8446 §4.4.2.2, RFC 8422 §5.3 */
        return "has a keyUsage without digitalSignature, which TLS 1.3 and all ECDHE ciphers need";
    const struct tls_cert_facts *first = use->chain.count > 0 ? cert_first_end(&use->chain) : facts;
    if (now > first->not_after)
        return arena_printf(arena, "has the issuer \"%s\" in its chain, which expired on %s",
                            first->subject, date(first->not_after, arena));
    return NULL;
}

/* Notes about a certificate that clients accept, but that may cause trouble. */
static void add_notes(const struct cert_use *use, int64_t now, struct node_findings *out)
{
    const struct tls_cert_facts *first = cert_first_end(&use->chain);
    int64_t days = cert_days_left(first, now);
    if (days >= 0 && days < EXPIRES_SOON_DAYS)
        node_find(out, NODE_CERT_BAD, NODE_NOTE, use->certificate, "%s: \"%s\" expires in %s",
                  use->certificate, first->subject, cert_days_print(days).text);
    if (use->source == CERT_MADE_HERE)
        return;
    if (use->facts.self_signed)
        node_find(out, NODE_CERT_BAD, NODE_NOTE, use->certificate,
                  "%s: is self-signed; clients ask their users whether to trust it",
                  use->certificate);
    else if (tls_chain_leads(&use->chain, NULL) == TLS_CHAIN_OPEN)
        node_find(out, NODE_CERT_BAD, NODE_NOTE, use->certificate,
                  "%s: its issuer \"%s\" is neither in the file nor known to this machine; unless "
                  "your clients know it, give a file with the whole chain (fullchain.pem)",
                  use->certificate, use->facts.issuer);
}

/* The file of a pair that is there, but not for this process; NULL: none. */
static const char *closed_file(const struct cert_use *use)
{
    const char *const files[] = { use->certificate, use->key };
    for (size_t i = 0; i < 2; i++)
        if (files[i] != NULL && access(files[i], R_OK) != 0 && errno == EACCES)
            return files[i];
    return NULL;
}

static void check_use(const struct cert_use *use, struct node_findings *out)
{
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    const struct tls_cert pair = { NULL, use->certificate, use->key };
    struct tls_ctx *tls = NULL;
    struct why why;
    if (use->source == CERT_MADE_HERE && access(use->certificate, F_OK) != 0)
        return; /* the first start makes it */
    if (tls_ctx_create(&tls, &pair, 1, &why) != OK) {
        const char *closed = closed_file(use);
        node_find(out, closed != NULL ? NODE_CERT_CLOSED : NODE_CERT_BAD, NODE_MISTAKE,
                  closed != NULL ? closed : use->certificate, "%s", why.text);
        return;
    }
    tls_ctx_unref(&tls);
    const char *fault = cert_fault(use, now, out->arena);
    const char *chain = fault == NULL ? tls_chain_fault(&use->chain, out->arena) : NULL;
    if (fault != NULL)
        node_find(out, NODE_CERT_BAD, NODE_MISTAKE, use->certificate, "%s: the certificate %s",
                  use->certificate, fault);
    else if (chain != NULL)
        node_find(out, NODE_CERT_BAD, NODE_MISTAKE, use->certificate,
                  "%s: clients refuse the chain: %s", use->certificate, chain);
    else
        add_notes(use, now, out);
}

void certs_check(const struct node_file *f, struct node_findings *out)
{
    struct cert_uses uses;
    certs_read(&uses, f, out->arena);
    for (size_t i = 0; i < uses.count; i++)
        check_use(&uses.item[i], out);
}
