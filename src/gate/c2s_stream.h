/* c2s_stream: one client stream, shared by the files of this edge. What it has in common with other
 * streams is in xstream.h. Input is not taken while it is held: for look-ups, while its session is
 * bound, or because that asks for it.
 *
 * A stream is confined to its worker; after SASL success it moves once, with its connection, to the
 * home of its account (architecture §3), unless c2s.migration is off. */
#pragma once
#include "auth/throttle.h"
#include "base/map.h"
#include "gate/xstream.h"
#include "home/here.h"
#include "io/peers.h"
#include "session/session.h"
#include "xmpp/sasl2.h"
#include <pthread.h>

struct down;
struct message_row;
struct sasl_profile;
struct tls_ctx;
struct tls_trusted;

struct auth_attempt;

/* Needed until the session is bound; then freed (architecture §9). */
struct stream_auth {
    struct arena *arena;
    const struct sasl_profile *profile; /* of the exchange; NULL: there was none yet */
    struct sasl *sasl;                  /* an exchange is under way */
    uint64_t begun_us;                  /* loop time: it began */
    struct sasl2 *two;                  /* c2s_sasl2.c: what its client asked for; NULL: SASL1 */
    struct auth_op *op;                 /* a look-up is under way */
    struct device_op *device_op;        /* the same, of tokens or devices */
    struct throttle_try try;            /* of the exchange */
    struct timer turn;                  /* until its comparison, when the account is guessed */
    enum sasl_step step;                /* the look-up it waits for */
    slice proof;                        /* of SCRAM, to be compared; ptr NULL: not yet here */
    struct stream *stream;              /* of the timer */
    bool devices_seen;                  /* the account's devices were looked at for it */
    enum sasl_mech mech;
    unsigned failures, refusals;   /* wrong credentials / not even tried */
    struct auth_attempt *attempts; /* c2s_attempts.h: of these, those not in the log; the newest */
    bool keyed;                    /* SCRAM: the next message is the proof */
    bool guessed;                  /* its credentials were compared, and were wrong */
    bool unkeyed;                  /* SCRAM: the account has no keys for the hash */
    char note[64];                 /* of what was done before authentication (core/preauth.h) */
    uint8_t note_len;
    slice from; /* bare JID that the stream header named; empty: none */
    slice bare; /* authenticated as; len 0: not yet */
    int64_t account;
    int64_t generation; /* of its password */
    bool disabled;
    uint8_t device[DEVICE_ID_LEN]; /* the client said it in SASL2; zeros: it has none */
    slice request_id; /* id of the bind IQ, or previd of the resumption, that is being served */
};

struct stream {
    struct xstream x;      /* first: it is the owner of the connection */
    union {                /* by its way */
        struct ws *ws;     /* while a message comes in fragments; else NULL */
        struct bosh *bosh; /* it has no connection */
    };
    struct stream_auth *auth;
    struct session *session; /* its home is this worker; else NULL */
    uint64_t session_id;     /* 0: none */
    uint32_t out_count;      /* outbound count of the last stanza written to the connection */
    uint32_t out_reported;
    uint16_t close_code; /* of WebSocket, for what went wrong below the stream; 0: nothing */
    uint8_t domain;      /* index in node.domains */
    bool certified;      /* its certificate has logged it in (SASL EXTERNAL) */
    bool sm_enabled;
    bool slow;            /* its output is above the high-water mark, and its session knows */
    char lang[12];        /* xml:lang of the stream */
    struct peer_key peer; /* its address, as it is counted; beyond: refused at its header */
    slice jid;            /* full JID when bound */
    char *jid_copy;       /* owns it when the session is elsewhere */
};

/* A stream moves to the home of its account. */
struct arrive {
    void *stream;
};
extern const struct message_row arrive_message;

struct gate_worker {
    struct xstreams streams;
    struct list boshes;             /* sessions over BOSH: struct bosh */
    _Atomic uint32_t bosh_requests; /* of this worker, not answered yet; read by another thread */
};

struct c2s_listener {
    struct listener *listener;
    struct c2s *c2s;
    unsigned flags; /* enum conn_flags */
};

enum { C2S_LISTENERS_MAX = 64 };

struct c2s {
    const struct xstream_ops *ops; /* of the streams */
    struct c2s_listener listen[C2S_LISTENERS_MAX];
    size_t count;
    pthread_mutex_t lock;         /* guards those below */
    struct shared_limits *limits; /* the newest */
    struct tls_ctx *tls;
    struct tls_trusted *trusted; /* certificates of clients; NULL: none. Fixed */
    struct map boshes;           /* struct bosh by sid */
};

extern struct log_area log_c2s;

static inline struct stream *stream_of(const struct xstream *x)
{
    return (struct stream *)(uintptr_t)x;
}
static inline bool stream_is_framed(const struct stream *s)
{
    return s->x.role == STREAM_FROM_FRAMED;
}
struct c2s *stream_c2s(const struct stream *s);
slice stream_domain(const struct stream *s);
struct ip_text stream_address(const struct stream *s); /* of its client, in numbers */
slice stream_account(const struct stream *s); /* JID, account or claimed name: what is known */

/* The ways make a stream, before they give it input. c: NULL, or not started yet. */
struct stream *stream_make(struct worker *w, const struct xstream_way *way, enum stream_role role,
                           struct conn *c);
void stream_free(struct stream *s); /* its connection is gone */

void stream_limits(struct stream *s);                 /* by what is authenticated */
struct stream_auth *stream_auth_of(struct stream *s); /* made if it is not there */
void stream_auth_free(struct stream *s);
void stream_session_gone(struct stream *s, enum session_end why); /* tells it; forgets it */
void stream_sm_failed(struct stream *s, enum stanza_error e);     /* <failed/> of XEP-0198 */
/* Reads a unit that must be an IQ request. false: it is none. The caller owns *out. */
bool stream_iq(struct stream *s, slice unit, struct stanza **out);

/* Output above which a stream is not read, bytes; or half of c2s.output-max, if that is less. */
enum { C2S_OUTPUT_HIGH = SESSION_LONG_BYTES };
/* Frees output that waits for a client that does not read. true: there was so much that the
 * connection was closed at once; false: the stream must still be closed. */
bool stream_drop_output(struct stream *s);

/* Counts the connection of an address once that is known, unless it was counted when the connection
 * was accepted. false: the address has too many. */
bool stream_count_address(struct stream *s);

/* After SASL success: moves the stream to the home of the account, if that is another worker. true:
 * it has left this one, and may not be touched here. */
bool stream_migrate(struct stream *s);
void stream_arrive(struct worker *w, struct stream *s); /* there */

/* What the newest settings say, for all connections from now on. Any thread. */
const struct conn_limits *c2s_limits(struct c2s *c);
void c2s_limits_free(struct c2s *c);
struct tls_ctx *c2s_tls(struct c2s *c); /* a reference for the caller. Any thread */
void c2s_worker_init(struct worker *w); /* its table of streams */
