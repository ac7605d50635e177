/* c2s_private: one client stream, shared by the files of the gate.
 *
 * Its states are those of xmpp/stream.h, and change in stream_now() only. Input is not taken while
 * `waiting` (look-ups, binding), and units keep their order.
 *
 * A stream is confined to its worker; after SASL success it moves once, with its connection, to the
 * home of its account (architecture §3), unless c2s.migration is off. */
#pragma once
#include "auth/throttle.h"
#include "base/list.h"
#include "base/map.h"
#include "codec/xml_read.h"
#include "home/worker.h"
#include "im/session.h"
#include "io/conn.h"
#include "io/peers.h"
#include "io/timer.h"
#include "xmpp/sasl2.h"
#include "xmpp/stanza_error.h"
#include "xmpp/stream.h"
#include <pthread.h>

struct down;
struct stream;

/* How the elements of a stream travel. Over TCP they follow one another inside of a root element;
 * framed, in WebSocket messages or bodies of BOSH, each stands alone and declares its namespaces
 * (architecture §5). */
struct stream_way {
    enum stream_role role;
    void (*open)(struct stream *s, slice id,
                 slice to);                         /* our header; to: of the client, or empty */
    void (*write)(struct stream *s, slice element); /* one whole element; or a space */
    void (*stanza)(struct stream *s, const struct down *d);
    void (*end)(struct stream *s); /* ends what the header began, and the connection */
    void (*read_on)(
        struct stream *s); /* without a connection: input may go on, later in this tick */
};

/* Needed until the session is bound; then freed (architecture §9). */
struct stream_auth {
    struct arena *arena;
    const struct sasl_profile *profile; /* of the exchange */
    struct sasl *sasl;                  /* an exchange is under way */
    struct sasl2 *two;                  /* c2s_sasl2.c: what its client asked for; NULL: SASL1 */
    struct auth_op *op;                 /* a look-up is under way */
    struct device_op *device_op;        /* the same, of tokens or devices */
    struct throttle_try try;            /* of the exchange */
    struct timer slow;                  /* until its look-up, when the account is being guessed */
    enum sasl_step step;                /* the look-up it waits for */
    struct stream *stream;              /* of the timer */
    bool devices_seen;                  /* the account's devices were looked at for it */
    enum sasl_mech mech;
    unsigned failures, refusals; /* wrong credentials / not even tried */
    bool keyed;                  /* SCRAM: the next message is the proof */
    bool guessed;                /* its credentials were compared, and were wrong */
    char note[64];               /* of what was done before authentication (im/preauth.h) */
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
    const struct stream_way *way;
    struct conn *conn; /* NULL: it has none of its own (BOSH) */
    struct ws *ws;     /* over WebSocket, while a message comes in fragments; else NULL */
    struct bosh *bosh; /* over BOSH; else NULL */
    struct worker *worker;
    struct list node; /* in gate_worker.streams */
    uint64_t id;      /* worker in the low 16 bits of it as of creation on that worker */
    struct xml_reader reader;
    struct stream_auth *auth;
    struct session *session; /* its home is this worker; else NULL */
    uint64_t session_id;     /* 0: none */
    uint32_t session_node;
    slice jid;          /* full JID when bound */
    char *jid_copy;     /* owns it when the session is elsewhere */
    struct timer timer; /* authentication deadline, rate, idle */
    uint32_t out_count; /* outbound count of the last stanza written to the connection */
    uint32_t out_reported;
    uint8_t state;       /* enum stream_state */
    uint8_t domain;      /* index in node.domains */
    uint16_t close_code; /* of WebSocket, for what went wrong below the stream; 0: nothing */
    bool header_sent, secure, waiting, pinged, rate_held, in_debt, held, sm_enabled;
    bool beyond;           /* one connection too many of its address: refused at its header */
    bool slow;             /* its output is above C2S_OUTPUT_HIGH, and its session knows */
    int32_t stanza_tokens; /* rates; may be below zero once, or while it is in debt */
    int32_t byte_tokens;
    uint64_t filled_us;
    uint64_t opened_us;   /* login must be done c2s.auth-timeout later */
    char lang[12];        /* xml:lang of the stream */
    struct peer_key peer; /* its address, as it is counted */
};

struct gate_worker {
    struct list streams;
    struct list boshes;             /* sessions over BOSH: struct bosh */
    _Atomic uint32_t count;         /* of streams; read at the end by another thread */
    _Atomic uint32_t bosh_requests; /* of this worker, that are not answered yet; the same */
    bool stopped;
    bool moved; /* the stream that is being read has moved to another worker: do not use it */
};

struct c2s_listener {
    struct listener *listener;
    struct c2s *c2s;
    unsigned flags; /* enum conn_flags */
};

enum { C2S_LISTENERS_MAX = 64 };

struct c2s {
    struct c2s_listener listen[C2S_LISTENERS_MAX];
    size_t count;
    struct component_gate *components;
    struct proxy65 *proxy65;      /* NULL: none */
    struct http_server *http;     /* NULL: none */
    pthread_mutex_t lock;         /* guards those below */
    struct shared_limits *limits; /* the newest */
    struct tls_ctx *tls;
    struct map boshes;  /* struct bosh by sid */
    struct peers peers; /* with a lock of its own: for c2s.connections-per-address */
};

extern const struct message_row arrive_message; /* a stream moves to the home of its account */
extern struct log_area log_c2s;

struct c2s *stream_c2s(const struct stream *s);
slice stream_domain(const struct stream *s);
void stream_write(struct stream *s, slice element); /* one whole element, or a space */
/* What happened on our side, or was done that the peer asked for: the state changes. */
enum stream_action stream_now(struct stream *s, enum stream_input input);
bool stream_awaits_header(const struct stream *s);
/* Whether a stream header may come now; else the stream fails. */
bool stream_header_due(struct stream *s);
static inline bool stream_is_framed(const struct stream *s)
{
    return s->way->role == STREAM_FROM_FRAMED;
}
/* Sends the error (and a header if none was sent), closes. app_xml: inside <stream:error/>, or
 * empty. */
void stream_fail(struct stream *s, enum stream_error e, slice text);
void stream_fail_with(struct stream *s, enum stream_error e, slice text, slice app_xml);
void stream_close(struct stream *s, slice last); /* `last`, an element or empty, is written first */
void stream_wait(struct stream *s);              /* no further unit until stream_go() */
void stream_go(struct stream *s);
void stream_timer(struct stream *s);
void stream_limits(struct stream *s); /* by what is authenticated */
void stream_session_gone(struct stream *s,
                         enum session_end why);       /* tells the session; forgets it */
struct stream_auth *stream_auth_of(struct stream *s); /* made if it is not there */
void stream_auth_free(struct stream *s);

const struct conn_info *stream_peer(const struct stream *s);
/* Output above which a stream is not read, bytes. */
enum { C2S_OUTPUT_HIGH = SESSION_LONG_BYTES };
/* Reasons of enum conn_hold. */
void stream_hold(struct stream *s, unsigned reason);
void stream_release(struct stream *s, unsigned reason);

/* For the ways: they make a stream, give it input, and tell it the events of its connection. */
struct stream *stream_make(struct worker *w, const struct stream_way *way, struct conn *c);
bool stream_takes_input(const struct stream *s);
/* One unit from the start of `data`; bytes used; 0: not complete, or the stream has failed. */
size_t stream_read(struct stream *s, slice data, int32_t *stanzas);
void stream_spend(struct stream *s, int32_t stanzas, size_t bytes); /* at the end of a turn */
void stream_end_by_client(struct stream *s);
void stream_event(struct conn *c, enum conn_event ev);
/* Frees output that waits for a client that does not read. true: there was so much that the
 * connection was closed at once; false: the stream must still be closed. */
bool stream_drop_output(struct stream *s);
void stream_closed(struct conn *c);
void stream_free(struct stream *s); /* its connection is gone */
const struct conn_limits *c2s_limits(struct c2s *c);

/* Counts the connection of an address once that is known, unless it was counted when the connection
 * was accepted. false: the address has too many. */
bool stream_count_address(struct stream *s);
/* Takes bytes from what the client may send: see session_charge(). */
void stream_charge(struct stream *s, uint32_t bytes);

/* After SASL success: moves the stream to the home of the account, if that is another worker. true:
 * it has left this one, and may not be touched here. */
bool stream_migrate(struct stream *s);
