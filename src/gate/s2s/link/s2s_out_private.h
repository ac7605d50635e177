/* s2s_out_private: the memory of a stream of ours to another server, for the files that it is made
 * of: s2s_out.c and s2s_out_sm.c. */
#pragma once
#include "gate/s2s/link/s2s_asked.h"
#include "gate/s2s/link/s2s_out.h"
#include "gate/s2s/peer/s2s_peer.h"

enum { OUT_LANG_MAX = 35 /* bytes (RFC 5646 §4.4.1) */ };

/* How our domain was proved. */
enum out_auth { OUT_NOTHING, OUT_EXTERNAL, OUT_DIALBACK };

/* XEP-0198. The stream is up from OUT_ENABLING on, or without it. */
enum out_sm { OUT_NO_SM, OUT_RESUMING, OUT_ENABLING, OUT_COUNTS };

struct s2s_out {
    struct xstream x;      /* first: it is the owner of the connection */
    struct s2s_peer *peer; /* NULL: the stream has ended for it */
    uint64_t wrote_us;     /* loop time of the last stanza */
    uint8_t external;      /* enum s2s_external */
    uint8_t auth;          /* enum out_auth */
    uint8_t sm;            /* enum out_sm */
    uint8_t end;           /* enum peer_end; PEER_END_FRESH: not known yet */
    char *id;              /* that the server gave the stream; NULL: none yet */
    bool up, has_sm;
    bool has_both;      /* XEP-0288: the server offers it, and may use it */
    bool both;          /* ... and was asked for it: its stanzas come on this stream, too */
    bool resume_due;    /* <resume/> waits until what came on the last stream is handled */
    uint32_t max_bytes; /* the largest stanza that it takes (XEP-0478); 0: it has not said */
    uint8_t lang_len;
    char lang[OUT_LANG_MAX]; /* of its header */
    slice host;              /* that was dialled, with its port */
    bool direct;             /* TLS from the first byte */
    uint32_t tls_version;    /* s2s_tls_version() of the certificates that it shows */
    uint64_t heard_us;       /* of remote_domain_heard() */
    bool draining;           /* it ends when what came on it is handled: nothing more is read */
    bool peer_ended;         /* ... as the server has ended its half */
    bool skipped;            /* something that came is not counted: nothing behind it is taken */
    struct s2s_asked asked;
    struct loop_defer ask; /* at the end of the tick */
    struct timer wait;     /* for the answer; for what drains; or for the end of the server */
};

static inline slice out_local(const struct s2s_out *o) { return s2s_peer_local(o->peer); }
static inline slice out_remote(const struct s2s_out *o) { return s2s_peer_remote(o->peer); }
static inline struct arena *out_scratch(const struct s2s_out *o)
{
    return loop_scratch(worker_loop(o->x.worker));
}
/* Stanzas may be written now: <enable/> goes before them. */
void s2s_out_takes_stanzas(struct s2s_out *o);
