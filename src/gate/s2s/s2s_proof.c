#include "gate/s2s/s2s_proof.h"
#include "auth/seal.h"
#include "base/buf.h"
#include "codec/xml_write.h"
#include "gate/s2s/s2s_find.h"
#include "io/tls_names.h"

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

bool s2s_certificate_is_of(const struct conn *c, slice domain, struct arena *tmp, struct why *why)
{
    const struct tls_peer *peer = conn_tls_peer(c);
    struct tls_names names;
    slice *chain;
    if (peer == NULL || peer->verdict != TLS_VERIFIED) {
        proof_explain(peer, why);
        return false;
    }
    const struct tls_wanted wanted = { .domain = s2s_ascii(domain, tmp),
                                       .unicode = domain,
                                       .service = SLICE("xmpp-server"),
                                       .xmpp = true,
                                       .wildcards = true };
    if (conn_tls_chain(c, tmp, &chain) > 0 && tls_names_read(&names, chain[0], tmp) == OK &&
        tls_names_find(&names, &wanted) != NULL)
        return true;
    why_set(why, "it does not name %.*s", SLICE_ARG(domain));
    return false;
}
