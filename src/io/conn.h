/* conn: one TCP connection as a stack of filters: socket, PROXY header, TLS. Owned by its loop;
 * conn_detach()/conn_attach() carry it to another loop. Idle connections own no buffers (design
 * §9).
 *
 * Output is gathered and written once at the end of the tick; EPOLLOUT only after EAGAIN. Above the
 * high-water mark on_event(CONN_HIGH) is told, below half of it CONN_LOW; above the hard cap the
 * connection is closed after CONN_OVERFLOW. Of the writes that are queued, the largest does not
 * count for the cap if it alone is above the high-water mark: one long answer says nothing of how
 * fast the peer reads. So at most the cap and one such write are queued. Input is contiguous: what
 * the owner does not take is kept and given again together with more. */
#pragma once
#include "base/err.h"
#include "base/ip.h"
#include "base/slice.h"
#include "io/address.h"
#include "io/loop.h"
#include "io/tls_trust.h"

struct conn;
struct arena;
struct tls_call;
struct tls_ctx;

enum conn_event {
    CONN_SECURED,  /* TLS handshake finished */
    CONN_DRAINED,  /* all output given so far was written to the socket */
    CONN_HIGH,     /* output above the high-water mark: stop producing */
    CONN_LOW,      /* and below half of it again */
    CONN_OVERFLOW, /* output above the hard cap; conn_close() follows by itself after this event */
    CONN_LAST,  /* it is held for a rate, and the peer has sent all: once, see conn_ends_held() */
    CONN_EOF,   /* the peer will send no more (FIN or close_notify) */
    CONN_FAILED /* reset, TLS failure, time-out; `conn_error()` says what; on_closed follows */
};

/* Callbacks come from the loop, never from inside a call on the connection. */
struct conn_ops {
    /* Unread bytes; returns how many were taken (0 is fine: more will come with these in front).
     * May call anything on this connection, conn_close() and conn_detach() too. An owner that takes
     * nothing although limits.input_bytes are unread, and does not hold reading, gets
     * CONN_FAILED. */
    size_t (*on_input)(struct conn *c, slice data);
    void (*on_event)(struct conn *c, enum conn_event ev);
    /* The last callback: the descriptor is closed; the owner forgets the pointer. */
    void (*on_closed)(struct conn *c);
};

struct conn_limits {
    uint32_t input_bytes;  /* unread bytes kept for the owner; more are not read from the socket */
    uint32_t output_high;  /* bytes */
    uint32_t output_max;   /* hard cap, bytes; a large write beside it */
    uint32_t handshake_ms; /* for PROXY header and TLS together */
    uint32_t user_timeout_ms; /* TCP_USER_TIMEOUT; 0: the system's */
};

struct conn_info {
    union ip_address peer; /* from the PROXY header if there was one */
};
/* In numbers, without port; "local" of a Unix socket, empty without family. */
struct ip_text conn_info_text(const struct conn_info *info);

enum conn_flags {
    CONN_PROXY = 1, /* a PROXY protocol header, version 1 or 2, must come first */
    CONN_TLS = 2,   /* direct TLS: the handshake comes before all else */
    /* What it speaks under TLS (ALPN), if it is not xmpp-client: */
    CONN_HTTP = 4,  /* http/1.1 */
    CONN_SERVER = 8 /* xmpp-server */
};
/* Takes ownership of fd, a stream socket. If it cannot be started, call conn_abort(). */
struct conn *conn_create(struct loop *loop, int fd, const struct sockaddr *peer, unsigned flags,
                         struct tls_ctx *tls, const struct conn_limits *limits);
void conn_start(struct conn *c, const struct conn_ops *ops, void *owner); /* begins reading */
/* Gives the connection to another owner, also from inside on_input: bytes that it leaves unread are
 * offered to the new owner. Holds of the old owner are released. */
void conn_hand_over(struct conn *c, const struct conn_ops *ops, void *owner);
void *conn_owner(const struct conn *c);
struct loop *conn_loop(const struct conn *c);
const struct conn_info *conn_info(const struct conn *c);
/* The address in numbers, without a port; no family where it is none. */
void conn_info_parse(struct conn_info *out, const char *address);
/* Sets the peer's IP address as told by a trusted proxy. An invalid address changes nothing. */
void conn_set_peer(struct conn *c, const char *address);
/* They must outlive the connection. */
void conn_set_limits(struct conn *c, const struct conn_limits *limits);

/* STARTTLS: what was written before goes out in the clear; unread clear-text bytes are dropped, as
 * RFC 6120 §5.4.3.3 demands (nothing injected before the handshake may survive it). */
/* domain: the `to` of the stream, with A-labels unless it has a certificate of its own. Its
 * certificate, or one that names it, is used for a client that sends no server name in the
 * handshake (SNI). */
void conn_start_tls(struct conn *c, struct tls_ctx *tls, slice domain);
/* TLS with us as the client: before conn_start() at once; later, after STARTTLS, as above. The
 * handshake is bounded by limits.handshake_ms. A call that cannot be made is CONN_FAILED. */
void conn_start_tls_client(struct conn *c, const struct tls_call *call);
/* The client is asked for a certificate, and goes on without: before conn_start(), or right after
 * conn_start_tls(). Its sessions are not resumed. */
void conn_ask_certificate(struct conn *c, struct tls_trust *trust, enum tls_usage usage);
bool conn_is_secure(const struct conn *c);
/* The verdict on the peer's chain, until on_closed, also after a failure; NULL: nobody has asked,
 * or it ended in the middle of a step of the handshake.
 * Where the authority is asked whether the certificate is revoked (io/tls_revoke.h), it may change
 * after CONN_SECURED, but not after the first on_input: input is held until the answer, for a
 * bounded time. */
const struct tls_peer *conn_tls_peer(const struct conn *c);
/* The same as it is now, by the certificates that are trusted now (NULL: none): the handshake may
 * be long ago. */
void conn_judge_again(const struct conn *c, const struct tls_trust *trust, enum tls_usage usage,
                      struct tls_peer *out);
/* The certificates that the peer has shown, in DER, its own first. Returns their number. */
size_t conn_tls_chain(const struct conn *c, struct arena *arena, slice **out);
/* Our own certificate that the peer was shown, in DER; empty: none, as it asked for none. */
slice conn_tls_own(const struct conn *c, struct arena *arena);
slice conn_tls_protocol(const struct conn *c); /* of ALPN; empty: none */

/* Channel binding data (RFC 5929, RFC 9266). E_UNSUPPORTED: not under TLS, or not with this
 * version. */
enum conn_binding { CONN_TLS_EXPORTER, CONN_TLS_SERVER_END_POINT, CONN_TLS_UNIQUE };
NODISCARD enum err conn_channel_binding(struct conn *c, enum conn_binding type, char out[64],
                                        size_t *len);
const char *conn_tls_version(const struct conn *c); /* "TLSv1.3"; NULL in the clear */
const char *conn_tls_cipher(const struct conn *c);  /* "TLS_AES_256_GCM_SHA384"; the same */

/* Output. conn_write() copies. conn_reserve/commit give room to write into in place: at least
 * `bytes` contiguous, valid until the next call on this connection. After close both do nothing /
 * give a buffer that is dropped. */
void conn_write(struct conn *c, slice data);
/* Without a copy: the bytes stay as they are until the process ends. */
void conn_write_constant(struct conn *c, slice data);
char *conn_reserve(struct conn *c, size_t bytes);
void conn_commit(struct conn *c, size_t bytes);
size_t conn_output_bytes(const struct conn *c); /* queued, not yet written to the socket */
/* Whether the system of the other side has taken all that was written. */
bool conn_has_arrived(const struct conn *c);
/* Whether more than the high-water mark is queued: at once, in place of CONN_HIGH, which comes at
 * the end of the tick. CONN_LOW follows. */
bool conn_is_high(struct conn *c);
/* The same for an owner that answers what it reads, asked before each request: reading is held with
 * CONN_HOLD_OUTPUT, which the owner releases at CONN_LOW. So at most the high-water mark and one
 * answer are queued, however many requests came in one read. */
bool conn_waits_for_reader(struct conn *c);

/* Reading stops while any reason bit is set; each user has its own bit. */
enum conn_hold {
    CONN_HOLD_STREAM = 1,
    CONN_HOLD_RATE = 2,
    CONN_HOLD_PRESSURE = 4,
    CONN_HOLD_MOVE = 8,
    CONN_HOLD_OUTPUT = 16,
    CONN_HOLD_UNFINISHED = 32,
    CONN_HOLD_REVOCATION = 64 /* the connection's own: see conn_tls_peer() */
};
void conn_hold(struct conn *c, unsigned reason);
/* Unread bytes are offered again later in this tick. */
void conn_release(struct conn *c, unsigned reason);
/* From now on: if the peer ends the connection while reading is held, it fails at once, and what
 * the peer has sent last is not read. For a stream whose peer sends that again. All others are read
 * to their end: one that is held for a rate alone gets CONN_LAST, and is read as soon as its owner
 * releases it. */
void conn_ends_held(struct conn *c);

uint64_t conn_last_read_us(const struct conn *c); /* loop time of the last bytes read */
/* Writes what is queued (at most 5 s), shuts our side, awaits the peer's end (at most 1 s), then
 * on_closed. Input is dropped from now on. */
void conn_close(struct conn *c);
void conn_abort(struct conn *c);              /* at once: on_closed later in this tick */
const char *conn_error(const struct conn *c); /* why it failed; NULL */

/* Migration to another loop: no callback may be running for it but its own on_input, which then
 * returns what it took; unread bytes travel along. After detach nothing is called until attach. */
void conn_detach(struct conn *c);
void conn_attach(struct conn *c, struct loop *loop);
