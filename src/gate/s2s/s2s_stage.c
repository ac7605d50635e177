#include "gate/s2s/s2s_stage.h"
#include "base/ensure.h"
#include "gate/xstream.h"
#include <string.h>

const char *s2s_stage_name(enum s2s_stage stage)
{
    static const char *const names[S2S_STAGES] = {
        [S2S_AT_POLICY] = "policy",
        [S2S_AT_THEIR_POLICY] = "policy",
        [S2S_AT_ROUTE] = "route",
        [S2S_AT_DNS] = "dns",
        [S2S_AT_TCP] = "tcp",
        [S2S_AT_TLS] = "tls",
        [S2S_AT_CERTIFICATE] = "certificate",
        [S2S_AT_AUTHENTICATION] = "authentication",
        [S2S_AT_OFFERS] = "offers",
        [S2S_AT_STREAM] = "stream",
        [S2S_AT_NO_ANSWER] = "no answer",
        [S2S_AT_LINK] = "link",
    };
    ensure(stage < S2S_STAGES);
    return names[stage];
}

static bool stage_says(slice why, const char *words)
{
    return why.len > 0 && memmem(why.ptr, why.len, words, strlen(words)) != NULL;
}

bool s2s_stage_is_ours(enum s2s_stage stage)
{
    return stage == S2S_AT_POLICY || stage == S2S_AT_ROUTE;
}

const char *s2s_stage_advice(enum s2s_stage stage)
{
    static const char *const rows[S2S_STAGES] = {
        [S2S_AT_POLICY] = "Change s2s.policy or s2s.domains if this domain shall be reached.",
        [S2S_AT_THEIR_POLICY] =
            "The rules of the other server do not allow this one: ask its operator.",
        [S2S_AT_ROUTE] =
            "`s2s-route list` shows the static routes: put one into service, or take the block "
            "away.",
        [S2S_AT_DNS] =
            "If no name server answers, or each with an error, look at those that this server "
            "asks (s2s.dns-servers; if that is empty, /etc/resolv.conf). Else look for a "
            "typing error in the domain; then ask its operator for the DNS records (SRV, A, "
            "AAAA), or say with a route where the server is.",
        [S2S_AT_TCP] =
            "No server listens there, or a firewall is in the way: ask the other operator, "
            "and look whether this host may connect to that port.",
        [S2S_AT_TLS] =
            "Both servers must allow one version of TLS: `musterctl tls list` shows what this one "
            "allows (tls.servers-min-version, tls.servers-max-version), and `s2s-demand list` "
            "whether more is demanded of that domain. If that is right, the other operator must "
            "switch TLS on, with such a version.",
        [S2S_AT_CERTIFICATE] =
            "The other operator must renew or correct the certificate, or replace it if it is "
            "revoked. If it is only its authority that is not known here, you can trust that: "
            "`musterctl cert-trust add`.",
        [S2S_AT_AUTHENTICATION] =
            "`musterctl cert check` says what others dislike in the certificate "
            "of this server; for dialback the other server must reach this one: "
            "look at the DNS records and at port 5269.",
        [S2S_AT_STREAM] =
            "The other server ends the stream, or does not answer: its log says more. "
            "not-authorized: it does not "
            "accept our certificate (`musterctl cert check`). host-unknown: it does "
            "not serve the domain.",
        [S2S_AT_NO_ANSWER] =
            "The other server has taken the stream and does not answer: its log says "
            "more; it may not reach this server.",
    };
    return rows[stage] != NULL ? rows[stage] : "Look into the log of this server (area s2s).";
}

/* Without a cipher in common OpenSSL ends with the alert handshake_failure (RFC 8446 §6.2), and so
 * it does if the key of its certificate may not sign. A client of its own says the second. */
const char *s2s_stage_exact_advice(enum s2s_stage stage, slice why)
{
    if (stage == S2S_AT_TLS &&
        (stage_says(why, "handshake failure") || stage_says(why, "bad ecc cert")))
        return "The versions of TLS fit, and no cipher does. Often the certificate of the other "
               "server is at fault: a keyUsage without digitalSignature leaves no cipher. Its "
               "operator must look at that (`cert check` on a Muster). Else compare the lists of "
               "ciphers: `musterctl tls list` shows ours.";
    if (stage == S2S_AT_CERTIFICATE && stage_says(why, "nobody says whether it is revoked"))
        return "tls.servers-revocation is required here. The authority of the certificate must "
               "name an OCSP responder or a list, and this server must be able to reach it. If it "
               "names none, the other operator needs a certificate of another authority, or set "
               "tls.servers-revocation to asked here.";
    return NULL;
}

slice s2s_stage_words(enum s2s_stage stage, enum stanza_error error)
{
    static const char *const rows[S2S_STAGES] = {
        [S2S_AT_THEIR_POLICY] = "the server of that domain does not communicate with this one",
        [S2S_AT_ROUTE] = "this server has no way to that domain now",
        [S2S_AT_DNS] = "the server of that domain was not found",
        [S2S_AT_TCP] = "the server of that domain cannot be reached",
        [S2S_AT_TLS] = "there is no secure connection to the server of that domain",
        [S2S_AT_CERTIFICATE] =
            "the server of that domain has not proved its identity: its certificate is refused",
        [S2S_AT_AUTHENTICATION] = "the server of that domain does not accept the identity of this "
                                  "server",
        [S2S_AT_NO_ANSWER] = "the server of that domain does not answer",
    };
    ensure(stage < S2S_STAGES);
    if (error == SE_NOT_ALLOWED)
        return SLICE("this server does not communicate with that domain");
    if (error == SE_SERVICE_UNAVAILABLE)
        return SLICE("this server did not serve the domain of the sender for a time");
    if (stage == S2S_AT_POLICY) /* of our rules, there is no other one with such an error */
        return SLICE("this server is being stopped");
    if (error == SE_REMOTE_SERVER_NOT_FOUND)
        return SLICE("no server of that domain was found");
    return rows[stage] != NULL ? slice_of(rows[stage])
                               : SLICE("the connection to the server of that domain has ended");
}

enum s2s_stage s2s_stage_of(const struct xstream *x, bool direct, bool late)
{
    bool in_tls = x->state == STREAM_TLS || x->state == STREAM_TLS_ASKED;
    if (in_tls || (direct && !x->secure))
        return S2S_AT_TLS;
    if (x->state == STREAM_SASL || x->state == STREAM_CHECKING)
        return S2S_AT_AUTHENTICATION;
    return late ? S2S_AT_NO_ANSWER : S2S_AT_STREAM;
}

enum s2s_stage s2s_stage_said(enum s2s_stage at, slice condition)
{
    return slice_is(condition, "policy-violation") ? S2S_AT_THEIR_POLICY : at;
}
