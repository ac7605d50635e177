/* tls_client: TLS of connections that this server makes. TLS 1.2 and up; sessions are not resumed.
 * conn_start_tls_client() (io/conn.h) takes a call. */
#pragma once
#include "base/slice.h"

struct tls_ctx;
struct tls_trust;

enum tls_demand {
    TLS_REPORT, /* the owner decides by conn_tls_peer() after CONN_SECURED */
    TLS_REQUIRE /* the handshake fails unless the chain is verified */
};

/* How to call a server. */
struct tls_call {
    slice server_name;       /* SNI: a DNS name with A-labels, no address; empty: none */
    const slice *alpn;       /* protocols in order of preference */
    size_t alpn_count;       /* 0: none are offered */
    struct tls_trust *trust; /* NULL: the chain is not judged, and there is no conn_tls_peer() */
    enum tls_demand demand;  /* with `trust` */
    /* The certificate that is shown if the server asks for one: that of own_domain, or one that
     * names it, or the default one. NULL: none. */
    struct tls_ctx *own;
    slice own_domain; /* with A-labels */
    bool relay;       /* by the policy TLS_RELAY (io/tls_policy.h), not TLS_SERVERS */
};
