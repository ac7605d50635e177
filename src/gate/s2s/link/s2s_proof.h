/* s2s_proof: how one server proves its domain to another: keys of dialback, and certificates. */
#pragma once
#include "base/err.h"
#include "gate/s2s/s2s_stage.h"
#include "io/conn.h"
#include "xmpp/dialback.h"

struct arena;
struct elem;

/* Keys of dialback. All workers, and nodes with the same secrets.key, make the same. false: there
 * is no secret. */
bool s2s_key(char out[DIALBACK_KEY_LEN + 1], const struct dialback *d, struct arena *tmp);
/* How SASL EXTERNAL has gone, by which our certificate proves our domain. */
enum s2s_external {
    EXTERNAL_NOT_WANTED, /* without TLS, or because dialback is demanded here */
    EXTERNAL_NOT_OFFERED,
    EXTERNAL_OFFERED,
    EXTERNAL_REFUSED, /* our certificate is not accepted */
    EXTERNAL_FAILED,  /* it has failed for another reason that lasts, */
    EXTERNAL_LATER    /* or for one that passes (RFC 6120 §6.5) */
};
enum { EXTERNAL_SAID_MAX = 128 };
bool s2s_offers_external(const struct elem *features, struct arena *tmp);
/* How it has gone if the server answers with this <failure/>. said: the condition and the text of
 * it as part of a sentence. */
enum s2s_external s2s_external_failed(char said[EXTERNAL_SAID_MAX], const struct elem *failure,
                                      struct arena *tmp);
/* Whether the server may accept the same certificate soon. */
static inline bool s2s_external_passes(enum s2s_external e)
{
    return e == EXTERNAL_FAILED || e == EXTERNAL_LATER;
}
/* Why neither that nor dialback, which is off here, proves our domain: a sentence. said: of
 * s2s_external_failed(). */
const char *s2s_without_dialback(enum s2s_external e, const char *said, struct arena *tmp);
/* Why a <db:result/> that is not "valid" has not proved our domain: a sentence with its condition,
 * or its type where it has none (XEP-0220 §2.4), and what was tried before. */
const char *s2s_key_refused(const struct elem *result, enum s2s_external before, const char *said,
                            struct arena *tmp);
bool s2s_key_is_right(slice key, const struct dialback *d, struct arena *tmp);

/* Whether the certificate of the peer of this connection is valid and for that domain (RFC 9525,
 * RFC 6120 §13.7), or is a pinned one. false: `why` says what is wrong. */
bool s2s_certificate_is_right(const struct conn *c, slice domain, struct arena *tmp,
                              struct why *why);
/* ... and is a proof of the domain, where dialback is not demanded (gate/s2s/find/s2s_lists.h). */
bool s2s_certificate_proves(const struct conn *c, slice domain, struct arena *tmp, struct why *why);
/* Whether its certificate is a pinned one of that domain, which counts whoever has revoked it. */
bool s2s_is_pinned(const struct conn *c, slice domain, struct arena *tmp);
/* Whether the TLS of this connection, if it has any, is what is demanded of that domain. */
bool s2s_tls_fits(const struct conn *c, slice domain, struct why *why);
/* The flaw of a server that we have connected to, or that takes our stanzas: S2S_AT_TLS or
 * S2S_AT_CERTIFICATE, where a right one is demanded; `why` is the whole sentence. S2S_AT_NONE:
 * nothing. */
enum s2s_stage s2s_server_flaw(const struct conn *c, slice domain, struct arena *tmp,
                               struct why *why);
