#include "gate/c2s_external.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_stream.h"
#include "io/conn.h"
#include "io/tls_names.h"
#include "xmpp/jid.h"

void external_ask(struct c2s *c, struct conn *conn, slice domain)
{
    bool wanted = domain.len > 0 ? setting_bool_of(&c2s_certificate_login, domain)
                                 : setting_bool_somewhere(&c2s_certificate_login);
    struct tls_trust *trust = wanted && c->trusted != NULL ? tls_trusted_get(c->trusted) : NULL;
    if (trust != NULL)
        conn_ask_certificate(conn, trust, TLS_FOR_CLIENT);
    tls_trust_unref(&trust);
}

static void external_explain(const struct tls_peer *peer, struct why *why)
{
    struct buf text;
    buf_init(&text, XML_PART_MAX);
    tls_peer_explain(peer, &text);
    slice words = buf_fit(&text);
    why_set(why, "the certificate is refused: %.*s", SLICE_ARG(words));
    buf_fini(&text);
}

static void external_add(struct external_names *out, const struct tls_name *name, slice domain,
                         struct arena *tmp)
{
    struct jid jid;
    if (name->kind != TLS_NAME_XMPP || out->count == EXTERNAL_NAMES_MAX ||
        jid_parse(&jid, name->text, tmp) != OK || jid.local.len == 0 || !jid_is_bare(&jid) ||
        !slice_eq(jid.domain, domain))
        return;
    for (size_t i = 0; i < out->count; i++)
        if (slice_eq(out->jid[i], jid.full))
            return;
    out->jid[out->count++] = jid.full;
}

static enum sasl_failure external_failure(const struct tls_peer *peer)
{
    return peer->verdict == TLS_EXPIRED ? SASL_CREDENTIALS_EXPIRED : SASL_NOT_AUTHORIZED;
}

bool external_holds(const struct stream *s, enum sasl_failure *failure, struct why *why)
{
    struct tls_peer peer;
    ensure(s->x.conn != NULL); /* external_find() has looked */
    struct tls_trusted *trusted = stream_c2s(s)->trusted;
    struct tls_trust *trust = trusted != NULL ? tls_trusted_get(trusted) : NULL;
    conn_judge_again(s->x.conn, trust, TLS_FOR_CLIENT, &peer);
    tls_trust_unref(&trust);
    if (peer.verdict == TLS_VERIFIED)
        return true;
    *failure = external_failure(&peer);
    external_explain(&peer, why);
    return false;
}

bool external_find(struct stream *s, struct external_names *out, enum sasl_failure *failure,
                   struct why *why)
{
    slice domain = stream_domain(s), *chain;
    bool wanted = s->x.conn != NULL && !stream_is_framed(s) && s->x.secure &&
                  setting_bool_of(&c2s_certificate_login, domain);
    const struct tls_peer *peer = wanted ? conn_tls_peer(s->x.conn) : NULL;
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    struct tls_names names;
    out->count = 0;
    why_set(why, "%s", "");
    *failure = SASL_INVALID_MECHANISM;
    if (peer == NULL || peer->verdict == TLS_NOT_SHOWN)
        return false;
    if (peer->verdict != TLS_VERIFIED) {
        *failure = external_failure(peer);
        external_explain(peer, why);
        return false;
    }
    if (conn_tls_chain(s->x.conn, tmp, &chain) > 0 && tls_names_read(&names, chain[0], tmp) == OK)
        for (size_t i = 0; i < names.count; i++)
            external_add(out, &names.name[i], domain, tmp);
    if (out->count > 0)
        return true;
    *failure = SASL_NOT_AUTHORIZED;
    why_set(why, "the certificate has no address of %.*s (id-on-xmppAddr)", SLICE_ARG(domain));
    return false;
}
