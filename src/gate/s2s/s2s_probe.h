/* s2s_probe: a stream that a test opens, as another server or as a client, to say stage by stage
 * what happens: STARTTLS, the version of TLS and the cipher, the certificates and the name that
 * fits, the features. What follows, such as SASL, is its owner's. Nothing of the real streams is
 * touched. Confined to its worker.
 *
 * Limits: PROBE_MS from its connection to its end; S2S_HEADER_BYTES for an element. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_stage.h"

enum { PROBE_MS = 120000 };

#define S2S_PLAIN_BY_SETTING "s2s.require-tls is off"

struct s2s_probe;

/* How the stream is opened. */
struct s2s_probe_want {
    const char *ns;    /* NS_SERVER or NS_CLIENT */
    slice from, to;    /* from: empty for a client */
    slice name;        /* of the host that the certificate must be for, and of SNI */
    const char *alpn;  /* "xmpp-server", "xmpp-client": also the service of SRV-IDs */
    bool tls;          /* it begins at once */
    bool anonymous;    /* no certificate of ours is shown: `from` is not ours */
    const char *plain; /* what allows it to do without TLS; NULL: it ends where none is offered */
    bool need_right;   /* it ends where the certificate of a client's server is refused, or as a
                          stream for stanzas would (s2s_server_flaw()) */
};

struct s2s_probe_ops {
    /* In TLS, of the certificate, or of the stream. Text: valid during the callback. */
    void (*told)(void *arg, enum s2s_stage stage, bool fine, slice text);
    /* Features that need no further step of the stream itself. */
    void (*features)(void *arg, const struct elem *e, bool authenticated);
    void (*sasl)(void *arg, const struct elem *e);
    void (*answer)(void *arg, const struct elem *e); /* any other element */
    /* It has ended, and where; it is gone then. Not after s2s_probe_end(). */
    void (*ended)(void *arg, enum s2s_stage stage, slice why);
    /* Before it ends: the server is at another host (RFC 6120 §4.9.3.19). NULL: no matter. */
    void (*elsewhere)(void *arg, slice host);
};

/* Takes over a connection that is not started. */
struct s2s_probe *s2s_probe_start(struct s2s_gate *g, struct worker *w, struct conn *c,
                                  const struct s2s_probe_want *want,
                                  const struct s2s_probe_ops *ops, void *arg);
void s2s_probe_end(struct s2s_probe **p); /* no callback comes afterwards; NULL is fine */
struct xstream *s2s_probe_stream(struct s2s_probe *p);
void s2s_probe_write(struct s2s_probe *p, slice xml);
void s2s_probe_now(struct s2s_probe *p, enum stream_input input);
void s2s_probe_restart(struct s2s_probe *p);   /* after the success of SASL */
slice s2s_probe_id(const struct s2s_probe *p); /* of the stream; empty: none */
bool s2s_probe_is_secure(const struct s2s_probe *p);
enum s2s_stage s2s_probe_stage(const struct s2s_probe *p); /* where it waits, if for too long */
