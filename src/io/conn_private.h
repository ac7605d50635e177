/* conn, inside: what the files conn*.c share.
 *
 * States go only forward:
 *   NEW ─▶ HEADER ─▶ HANDSHAKE ─▶ OPEN ─▶ FLUSHING ─▶ LINGERING ─▶ ENDING ─▶ CLOSED
 * HEADER awaits a PROXY header, HANDSHAKE a TLS handshake; both may be skipped, and STARTTLS goes
 * from OPEN back to HANDSHAKE once. FLUSHING (conn_close) writes what is queued; LINGERING has shut
 * our side and awaits the peer's FIN, because closing with unread input would destroy what was just
 * sent (RFC 1122 §4.2.2.13). ENDING: on_closed is told when the list `todo` is worked off.
 *
 * Callbacks never run inside a call on the connection: such a call marks what is to be told and
 * puts the connection on `todo` (deferred work) or `dirty` (flush). A closed connection is freed at
 * the end of the tick's flush, so pointers on the stack stay valid. */
#pragma once
#include "io/conn.h"
#include "io/loop_private.h"
#include <sys/socket.h>

struct conn_tls;
struct iovec;

enum conn_state {
    CONN_NEW,
    CONN_HEADER,
    CONN_HANDSHAKE,
    CONN_OPEN,
    CONN_FLUSHING,
    CONN_LINGERING,
    CONN_ENDING,
    CONN_CLOSED
};

enum {
    CONN_READ_BYTES = 65536,
    CONN_HEADROOM = 4096, /* kept bytes up to here are put in front of new ones, not the reverse */
    CONN_PLAIN_BYTES = CONN_READ_BYTES + 18 * 1024, /* one read and what OpenSSL held of a record */
    CONN_RECORD_BYTES = 16384,                      /* of clear text in a record, RFC 8446 §5.1 */
    CONN_CHUNK_SMALL = 4096,
    CONN_CHUNK_LARGE = 16384, /* PAGES_BYTES */
    CONN_SMALL_FREE_MAX = 64, /* chunks kept for the next tick */
    CONN_LARGE_FREE_MAX = 16,
    CONN_IOV_MAX = 64,
    CONN_CLOSE_MS = 5000, /* to flush */
    CONN_LINGER_MS = 1000
};

struct conn_chunk {
    struct conn_chunk *next;
    const char *bytes;     /* its own data, or what conn_write_constant() was given */
    uint32_t at, len, cap; /* bytes[at..len) is to be written; cap: of its own data */
    char data[];
};

struct conn_free {
    struct conn_chunk *first;
    uint32_t count, max;
};

/* Of one loop; made with its first connection. */
struct conn_local {
    struct loop_local local;
    struct loop *loop;
    struct loop_defer settle, flush;
    struct list todo;  /* by conn.todo */
    struct list dirty; /* by conn.dirty */
    struct list dead;  /* by conn.todo */
    struct conn_free small, large;
    size_t cipher_len;
    char *sink; /* what conn_reserve() gives after the end */
    size_t sink_cap;
    struct bio_st *bio; /* of OpenSSL, for the connection that uses it now; NULL: not made yet */
    char read[CONN_HEADROOM + CONN_READ_BYTES];
    char plain[CONN_HEADROOM + CONN_PLAIN_BYTES];
    char gather[CONN_RECORD_BYTES];
    char cipher[4 * (CONN_RECORD_BYTES + 1024)]; /* empty between calls */
};

static inline struct conn_local *conn_local(const struct loop *loop)
{
    return CONTAINER_OF(loop->conns, struct conn_local, local);
}

struct conn {
    struct loop_source source;
    struct loop *loop; /* NULL: detached */
    const struct conn_ops *ops;
    void *owner;
    const struct conn_limits *limits;
    struct conn_tls *tls; /* NULL in the clear */
    struct list todo, dirty;
    struct timer timer; /* deadline of HEADER and HANDSHAKE, FLUSHING and LINGERING */
    struct conn_chunk *out, *out_last;
    size_t out_bytes; /* in chunks */
    /* Of the largest write above the high-water mark that is in chunks: what is left of it, and the
     * bytes up to its end; 0: none. */
    uint32_t large_len, large_end;
    char *in; /* unread clear text, NULL while empty */
    uint32_t in_len, in_cap;
    uint64_t last_read_us;
    const char *error;

    uint32_t since_us;  /* loop time, cut: its oldest output was written, or its handshake began */
    uint8_t state;      /* enum conn_state */
    uint8_t hold;       /* bits of enum conn_hold */
    uint8_t protocol;   /* enum tls_protocol */
    bool proxied : 1;   /* a PROXY header comes first */
    bool secured : 1;   /* the handshake is done */
    bool ends_held : 1; /* conn_ends_held() */
    bool last : 1;      /* CONN_LAST was told */
    bool eof : 1;       /* nothing more will be read */
    bool mute : 1;      /* nothing can be sent any more: `error` says why; what has come is read */
    bool tell_eof : 1, tell_failed : 1;
    bool polled;   /* the source is in the loop's epoll */
    bool blocked;  /* EPOLLOUT is awaited */
    bool overflow; /* CONN_OVERFLOW is due; output is refused until then */
    bool high;     /* CONN_HIGH was told */
    bool wrote;    /* CONN_DRAINED is due when all is written */
    bool offer;    /* kept bytes are to be offered again */
    bool running;  /* in on_input */
    bool drop;     /* what on_input leaves is to be dropped */
    bool sinking;  /* the last conn_reserve() gave the sink */
    bool timed;    /* the timer was set when the connection was detached */
    /* Set by conn_detach() inside on_input: until that has returned, the input buffer is still the
     * old loop's, and the new one only queues. */
    _Atomic bool lent;
    struct conn_info info;
};

/* conn.c */
void conn_queue(struct conn *c); /* on todo */
void conn_poll(struct conn *c, uint32_t events);
void conn_fail(struct conn *c, const char *text); /* text is static */
void conn_end(struct conn *c);                    /* on_closed follows */
void conn_tell(struct conn *c, enum conn_event ev);
void conn_opened(struct conn *c); /* header and handshake are done */

/* conn_in.c. False: the owner has moved the connection, it may not be touched any more. */
NODISCARD bool conn_offer_kept(struct conn *c);
/* New bytes for the owner; CONN_HEADROOM bytes in front of them may be overwritten. */
NODISCARD bool conn_input(struct conn *c, char *ptr, size_t len);
void conn_readable(struct conn *c);
void conn_breaks(struct conn *c, int why); /* reading or writing has failed with this errno */
void conn_got_eof(struct conn *c);
void conn_drop_kept(struct conn *c);

/* conn_out.c */
void conn_mark_dirty(struct conn *c);
void conn_flush(struct conn *c); /* writes what the socket takes; no callbacks */
void conn_flush_and_tell(struct conn *c);
void conn_chunk_free(struct conn_chunk *k);
void conn_out_advance(struct conn *c, size_t bytes); /* written: gives chunks back */
/* Bytes the socket took. Less than given: it is full and EPOLLOUT awaited, or the connection
 * failed. */
size_t conn_send(struct conn *c, const struct iovec *iov, size_t count, size_t bytes);

/* What the socket has is of no use: were it left there, closing it would be a reset, and the peer
 * might not read our last words. */
void conn_in_discard(struct conn *c);
/* Reads again after a step of the handshake. */
void conn_in_resume(struct conn *c);

/* conn_tls.c */
struct conn_tls *conn_tls_create(struct tls_ctx *ctx);
void conn_tls_destroy(struct conn_tls **t);
void conn_tls_local_free(struct conn_local *l);                             /* its BIO */
NODISCARD bool conn_tls_input(struct conn *c, const char *ptr, size_t len); /* as conn_input() */
void conn_tls_flush(struct conn *c);
void conn_tls_shut(struct conn *c);               /* close_notify, once */
bool conn_tls_speaks_first(const struct conn *c); /* we are the client */
bool conn_tls_is_shaking(const struct conn *c);   /* a helper makes a step: nothing is read */
/* Of one with TLS: bytes for the socket that it did not take yet. */
size_t conn_tls_pending(const struct conn *c);

/* conn_proxy.c: a PROXY protocol header of version 1 or 2 at the start of `in`. E_AGAIN: more bytes
 * are needed; E_PROTO: there is none, or not one we take. info changes only when the header names a
 * peer. */
enum { PROXY_HEADER_BYTES = 16, PROXY_BODY_MAX = 536, PROXY_LINE_MAX = 107 };
NODISCARD enum err conn_proxy_parse(slice in, size_t *taken, struct conn_info *info);
void conn_info_set(struct conn_info *info, const struct sockaddr *peer);
