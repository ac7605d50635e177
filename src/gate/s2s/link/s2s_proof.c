#include "gate/s2s/link/s2s_proof.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/s2s_rows.h"
#include "io/tls_cert.h"
#include "io/tls_names.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include <stdio.h>

/* Keys. A sealed text depends on the key in secrets.key alone, and nobody is told it. */

static bool proof_secret(slice *out, struct arena *tmp)
{
    if (!seal_ready())
        return false;
    *out = seal(SLICE("dialback"), SLICE("secret of dialback"), tmp);
    return true;
}

bool s2s_key(char out[DIALBACK_KEY_LEN + 1], const struct dialback *d, struct arena *tmp)
{
    slice secret;
    if (!proof_secret(&secret, tmp))
        return false;
    dialback_key(out, secret, d);
    return true;
}

bool s2s_offers_external(const struct elem *features, struct arena *tmp)
{
    struct elem mechanisms, m;
    if (!elem_child(features, "mechanisms", NS_SASL, &mechanisms))
        return false;
    for (bool more = elem_first(&mechanisms, &m); more; more = elem_next(&m, &m))
        if (elem_is(&m, "mechanism", NS_SASL) && slice_is(elem_text(&m, tmp), "EXTERNAL"))
            return true;
    return false;
}

enum s2s_external s2s_external_failed(char said[EXTERNAL_SAID_MAX], const struct elem *failure,
                                      struct arena *tmp)
{
    static const struct {
        const char *condition;
        enum s2s_external means;
    } rows[] = { { "not-authorized", EXTERNAL_REFUSED },
                 { "invalid-authzid", EXTERNAL_REFUSED },
                 { "aborted", EXTERNAL_LATER },
                 { "account-disabled", EXTERNAL_LATER },
                 { "temporary-auth-failure", EXTERNAL_LATER } };
    enum s2s_external means = EXTERNAL_FAILED;
    slice condition = failure->name, text = { 0 };
    struct elem child;
    for (bool more = elem_first(failure, &child); more; more = elem_next(&child, &child))
        if (slice_is(child.name, "text"))
            text = elem_text(&child, tmp);
        else
            condition = child.name;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (slice_is(condition, rows[i].condition))
            means = rows[i].means;
    condition.len = condition.len < 40 ? condition.len : 40;
    text = utf8_head(text, 44);
    int len = snprintf(said, EXTERNAL_SAID_MAX, "%s%.*s%s%.*s)",
                       means == EXTERNAL_REFUSED ? "it refuses our certificate ("
                                                 : "it answers EXTERNAL with a failure (",
                       SLICE_ARG(condition), text.len > 0 ? ": " : "", SLICE_ARG(text));
    ensure(len > 0 && len < EXTERNAL_SAID_MAX);
    return means;
}

const char *s2s_without_dialback(enum s2s_external e, const char *said, struct arena *tmp)
{
    ensure(e != EXTERNAL_OFFERED); /* that is tried first */
    return e == EXTERNAL_NOT_WANTED
               ? "no certificate is shown without TLS, and dialback is off here"
           : e == EXTERNAL_NOT_OFFERED ? "it does not offer EXTERNAL, and dialback is off here"
                                       : arena_printf(tmp, "%s, and dialback is off here", said);
}

const char *s2s_key_refused(const struct elem *result, enum s2s_external before, const char *said,
                            struct arena *tmp)
{
    struct elem error, condition;
    slice why = elem_attr(result, "type", tmp);
    bool has_error = elem_first(result, &error) && slice_is(error.name, "error");
    if (has_error && elem_first(&error, &condition))
        why = condition.name;
    why = utf8_head(why, 64);
    bool tried = before >= EXTERNAL_REFUSED;
    return arena_printf(tmp, "%s%s could not prove our domain by dialback: %.*s",
                        tried                            ? said
                        : before == EXTERNAL_NOT_OFFERED ? "it does not offer EXTERNAL"
                                                         : "it",
                        tried || before == EXTERNAL_NOT_OFFERED ? ", and" : "", SLICE_ARG(why));
}

bool s2s_key_is_right(slice key, const struct dialback *d, struct arena *tmp)
{
    slice secret;
    return proof_secret(&secret, tmp) && dialback_key_is_right(key, secret, d);
}

/* Certificates. */

static void proof_explain(const struct tls_peer *peer, struct why *why)
{
    struct buf text;
    buf_init(&text, XML_PART_MAX);
    if (peer != NULL)
        tls_peer_explain(peer, &text);
    slice words = buf_fit(&text);
    why_set(why, "%.*s", SLICE_ARG(words));
    buf_fini(&text);
}

/* Without the brackets of IPv6. */
static const char *proof_address(slice domain, struct arena *tmp)
{
    bool brackets = slice_starts(domain, SLICE("["));
    return slice_cstr(tmp, brackets ? (slice){ domain.ptr + 1, domain.len - 2 } : domain);
}

/* false: `why`. An address must be an iPAddress of the certificate; RFC 6120 §13.7.1 says nothing
 * of that, as of domains it has names only. */
static bool proof_names(slice certificate, slice domain, struct arena *tmp, struct why *why)
{
    struct tls_names names;
    struct tls_wanted wanted = { .domain = s2s_ascii(domain, tmp),
                                 .unicode = domain,
                                 .service = SLICE("xmpp-server"),
                                 .xmpp = true,
                                 .wildcards = setting_bool(&s2s_wildcards) };
    why_set(why, "it does not name %.*s", SLICE_ARG(domain));
    if (jid_is_address(domain))
        return tls_names_have_address(certificate, proof_address(domain, tmp));
    if (tls_names_read(&names, certificate, tmp) != OK)
        return false;
    if (tls_names_find(&names, &wanted) != NULL)
        return true;
    wanted.wildcards = true;
    const struct tls_name *name = tls_names_find(&names, &wanted);
    if (name != NULL)
        why_set(why, "it names %.*s by %.*s only, and s2s.wildcards is off here", SLICE_ARG(domain),
                SLICE_ARG(name->text));
    return false;
}

static bool proof_is_pinned(slice pins, slice certificate, struct why *why)
{
    char fingerprint[TLS_FINGERPRINT_LEN + 1];
    slice pin;
    tls_cert_fingerprint(fingerprint, certificate);
    while (slice_word(&pins, &pin))
        if (slice_is(pin, fingerprint))
            return true;
    why_set(why, "its SHA-256 is %s, which `s2s-demand list` does not have", fingerprint);
    return false;
}

bool s2s_is_pinned(const struct conn *c, slice domain, struct arena *tmp)
{
    const struct s2s_demand demand = s2s_demand_of(domain);
    struct why why;
    slice *chain;
    return demand.external && demand.pins.len > 0 && conn_tls_chain(c, tmp, &chain) > 0 &&
           proof_is_pinned(demand.pins, chain[0], &why);
}

bool s2s_certificate_is_right(const struct conn *c, slice domain, struct arena *tmp,
                              struct why *why)
{
    const struct tls_peer *peer = conn_tls_peer(c);
    const struct s2s_demand demand = s2s_demand_of(domain);
    slice *chain;
    size_t count = conn_tls_chain(c, tmp, &chain);
    if (demand.pins.len > 0 && count > 0)
        return proof_is_pinned(demand.pins, chain[0], why);
    if (peer == NULL || peer->verdict != TLS_VERIFIED) {
        proof_explain(peer, why);
        return false;
    }
    why_set(why, "it was not shown");
    return count > 0 && proof_names(chain[0], domain, tmp, why);
}

bool s2s_certificate_proves(const struct conn *c, slice domain, struct arena *tmp, struct why *why)
{
    if (s2s_demand_of(domain).external)
        return s2s_certificate_is_right(c, domain, tmp, why);
    why_set(why, "`s2s-demand list` wants dialback of it");
    return false;
}

bool s2s_tls_fits(const struct conn *c, slice domain, struct why *why)
{
    const struct s2s_demand demand = s2s_demand_of(domain);
    const char *version = conn_tls_version(c);
    if (version == NULL || demand.tls_min == NULL || strcmp(version, demand.tls_min) >= 0)
        return true;
    why_set(why, "its TLS is %s, and `s2s-demand list` wants %s", version, demand.tls_min);
    return false;
}

/* A server must meet the same demands whichever side made the connection. A pinned certificate
 * meets them all. */
static bool proof_is_for_server(const struct conn *c, slice domain, struct why *why)
{
    const struct tls_peer *peer = conn_tls_peer(c);
    if (peer == NULL || peer->no_server == NULL || s2s_demand_of(domain).pins.len > 0)
        return true;
    why_set(why, "%s", peer->no_server);
    return false;
}

enum s2s_stage s2s_server_flaw(const struct conn *c, slice domain, struct arena *tmp,
                               struct why *why)
{
    struct why wrong;
    if (!s2s_tls_fits(c, domain, why))
        return S2S_AT_TLS;
    if (!s2s_demand_of(domain).verify || (s2s_certificate_is_right(c, domain, tmp, &wrong) &&
                                          proof_is_for_server(c, domain, &wrong)))
        return S2S_AT_NONE;
    why_set(why, "its certificate is refused: %s", wrong.text);
    return S2S_AT_CERTIFICATE;
}
