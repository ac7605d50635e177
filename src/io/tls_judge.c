#include "io/tls_private.h"

enum tls_revocation tls_revocation_for(enum tls_usage usage)
{
    return tls_revocation_get(usage == TLS_FOR_CLIENT ? TLS_CLIENTS : TLS_SERVERS);
}

static void say_revoked(struct tls_peer *peer)
{
    peer->verdict = TLS_REVOKED;
    peer->reason = "its authority says that it is revoked";
}

void tls_judge_again(const struct tls_trust *trust, X509 *cert, STACK_OF(X509) * rest,
                     enum tls_usage usage, struct tls_peer *out)
{
    X509 *issuer;
    tls_trust_judge(trust, cert, rest, usage, out, &issuer);
    if (out->verdict == TLS_VERIFIED && issuer != NULL &&
        tls_revocation_for(usage) >= TLS_REVOKE_ASKED &&
        tls_revoke_ask(cert, issuer, NULL) == TLS_REVOKE_REVOKED)
        say_revoked(out);
    X509_free(issuer);
}

void tls_judgement_answered(struct tls_judgement *j, enum tls_revoke_end end)
{
    if (end == TLS_REVOKE_REVOKED) {
        say_revoked(&j->peer);
    } else if (end == TLS_REVOKE_UNKNOWN && j->revocation == TLS_REVOKE_REQUIRED) {
        j->peer.verdict = TLS_UNANSWERED;
        j->peer.reason = "nobody says whether it is revoked, and that is required "
                         "(tls.servers-revocation, tls.clients-revocation)";
    }
}

bool tls_judgement_ask(struct tls_judgement *j, X509 *cert)
{
    enum tls_revoke_end end = TLS_REVOKE_GOOD;
    bool asks = j->peer.verdict == TLS_VERIFIED && j->issuer != NULL && !j->known &&
                j->revocation >= TLS_REVOKE_ASKED;
    if (asks)
        end = tls_revoke_ask(cert, j->issuer, &j->wait);
    X509_free(j->issuer);
    j->issuer = NULL;
    if (end != TLS_REVOKE_WAITS)
        tls_judgement_answered(j, end);
    return end == TLS_REVOKE_WAITS;
}
