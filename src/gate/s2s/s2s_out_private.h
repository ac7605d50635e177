/* s2s_out_private: the memory of a stream of ours to another server, for the files that it is made
 * of: s2s_out.c, s2s_out_ends.c, s2s_out_sm.c and s2s_share.c. */
#pragma once
#include "gate/s2s/s2s_asked.h"
#include "gate/s2s/s2s_out.h"
#include "gate/s2s/s2s_partner.h"

struct s2s_share;

enum { OUT_LANG_MAX = 35 /* bytes (RFC 5646 §4.4.1) */ };

/* How our domain was proved. */
enum out_auth { OUT_NOTHING, OUT_EXTERNAL, OUT_DIALBACK };

/* XEP-0198. The stream is up from OUT_ENABLING on, or without it. */
enum out_sm { OUT_NO_SM, OUT_RESUMING, OUT_ENABLING, OUT_COUNTS };

struct s2s_out {
    struct xstream x;        /* first: it is the owner of the connection */
    struct partner *partner; /* NULL: the stream has ended for it */
    struct s2s_share *share; /* NULL: it is of one domain of ours */
    uint64_t wrote_us;       /* loop time of the last stanza */
    uint8_t external;        /* enum s2s_external */
    uint8_t auth;            /* enum out_auth */
    char *id;                /* that the server gave the stream; NULL: none yet */
    struct timer patience;   /* stanzas wait for answers about keys, until then */
    bool anew;               /* it ended to be made again at once */
    uint8_t sm;              /* enum out_sm */
    bool has_errors;         /* a key that is denied does not end it */
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
    bool heard;              /* the server has sent an error */
    uint64_t heard_us;       /* of abroad_heard() */
    bool draining;           /* it ends when what came on it is handled: nothing more is read */
    bool peer_ended;         /* ... as the server has ended its half */
    bool proving;            /* it is asked what it has read: our half ends after that, */
    bool asked_first;        /* and it was: its own end may have crossed ours, and says nothing */
    bool parts;              /* farewells are written, and nothing is read: s2s_parts() */
    bool skipped;            /* something that came is not counted: nothing behind it is taken */
    uint64_t ends_us;        /* loop time when it was to end; 0: it is not */
    struct timer quiet;      /* ... and the server may be writing: until that is silent */
    struct s2s_asked asked;
    struct loop_defer ask; /* at the end of the tick */
    struct timer wait;     /* for the answer; for what drains; or for the end of the server */
};

static inline slice out_local(const struct s2s_out *o) { return partner_local(o->partner); }
static inline slice out_remote(const struct s2s_out *o) { return partner_remote(o->partner); }
static inline struct arena *out_scratch(const struct s2s_out *o)
{
    return loop_scratch(worker_loop(o->x.worker));
}
/* Sends a key for that domain of ours (XEP-0220 §2.1.1). false: none can be made. */
bool s2s_out_prove(struct s2s_out *o, slice local);
/* Stanzas may be written now: <enable/> goes before them. */
void s2s_out_takes_stanzas(struct s2s_out *o);
