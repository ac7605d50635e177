/* tls_names: the names in a certificate, and whether the one that is looked for is among them
 * (RFC 9525, RFC 6120 §13.7.1.2): DNS-ID, SRV-ID (RFC 4985) and id-on-xmppAddr. The common name
 * does not count (RFC 9525 §2). A name that is malformed, such as one with a NUL or with a "*" that
 * is not the whole first label, is left out. So it matches nothing (RFC 9525 §6.3).
 *
 * Pure; any thread. Limits: the first TLS_NAMES_MAX names of a certificate. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

enum { TLS_NAMES_MAX = 512 };

enum tls_name_kind {
    TLS_NAME_DNS, /* "chat.example.test", "*.example.test" */
    TLS_NAME_SRV, /* "_xmpp-server.example.test" */
    TLS_NAME_XMPP /* "example.test", "juliet@example.test", in UTF-8 */
};

struct tls_name {
    enum tls_name_kind kind;
    slice text; /* of the arena, with a NUL behind it */
};

struct tls_names {
    const struct tls_name *name; /* in the order of the certificate */
    size_t count;
};

/* Of a certificate in DER. E_SYNTAX: it is none. */
NODISCARD enum err tls_names_read(struct tls_names *out, slice certificate, struct arena *arena);
/* Of the value of a subjectAltName extension in DER. */
NODISCARD enum err tls_names_of_san(struct tls_names *out, slice san, struct arena *arena);

/* Whether a certificate in DER has this address as an iPAddress (RFC 9525 §6.5): "192.0.2.1" or
 * "2001:db8::1". False, too, if it is no certificate or no address. */
bool tls_names_have_address(slice certificate, const char *address);

struct tls_wanted {
    slice domain;   /* with A-labels; a dot at its end does not count */
    slice unicode;  /* the same with U-labels, for id-on-xmppAddr; empty: only `domain` */
    slice service;  /* of SRV-IDs, such as "xmpp-server"; empty: they do not count */
    bool xmpp;      /* id-on-xmppAddr counts */
    bool wildcards; /* "*.example.test" counts for exactly one label before example.test */
};

/* The first that matches; NULL: none. Case does not matter in ASCII. */
const struct tls_name *tls_names_find(const struct tls_names *names, const struct tls_wanted *w);
