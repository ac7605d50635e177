/* http, inside: what the files of this folder share.
 *
 * A connection is IDLE between requests, then goes HEAD ─▶ BODY ─▶ WORK (the handler has all) and
 * back; it answers in WORK, or earlier, and then closes. An exchange is one request with its
 * answer; it is made with the first byte and freed when the answer is complete. */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "codec/http_read.h"
#include "http/server.h"
#include "io/conn.h"
#include "io/listen.h"
#include "io/peers.h"
#include "io/timer.h"
#include "io/tls.h"
#include <pthread.h>

enum {
    HTTP_ROUTES_MAX = 128,
    HTTP_LISTENERS_MAX = 64,
    HTTP_LOOPS_MAX = 64,
    HTTP_ADDRESSES_SWEPT = 8, /* entries looked at when one is added */
    HTTP_BODIES_SHARE = 4,    /* one address gets this part of http.bodies-max */
    HTTP_CREDIT_MS = 60000,   /* time that a fast body can save for slow parts, at most */
    HTTP_STOP_MS = 500        /* for unfinished answers when the server stops */
};

enum http_phase { PHASE_IDLE, PHASE_HEAD, PHASE_BODY, PHASE_WORK };

struct exchange {
    struct http_request r;
    struct http_conn *h;
    struct http_head head;
    struct ip_text conn_peer; /* address of the connection */
    bool engaged;             /* a callback of the route was called, so gone() must be, too */
    bool complete;            /* the request is there to its end */
    bool started, answered;
    bool chunked;
    bool held;
    int64_t owed; /* of the announced length */
    uint64_t body_seen;
    uint64_t begun_us;   /* loop time of its first byte */
    size_t body_counted; /* in http_server.gathered */
    struct buf body;
    char *path; /* owns r.path */
};

struct http_conn {
    struct conn *conn;
    struct http_local *local;
    struct list node; /* in local.conns */
    const struct http_listener *listener;
    struct exchange *x; /* NULL: IDLE */
    struct timer timer;
    uint64_t since_us; /* the phase began, or input goes on after a hold; in BODY put off by what
                          came, at most HTTP_CREDIT_MS ahead of now */
    struct http_reader reader;
    uint32_t served; /* requests */
    uint8_t phase;
    bool reading;        /* on_input() still uses the exchange after the callback: do not free it */
    bool last;           /* no request is taken behind this one */
    bool ended;          /* the client has said that it sends no more */
    bool given;          /* the connection has another owner now */
    struct peer_key key; /* of the address that is counted; beyond: each request is refused */
};

/* Of one loop. */
struct http_local {
    struct http_server *server;
    struct loop *loop;
    struct list conns;
    _Atomic uint32_t count; /* read at the end by another thread */
    uint64_t date_s;        /* the second that `date` says */
    char date[32];
};

struct http_listener {
    struct listener *listener;
    struct http_server *server;
    const char *group;
    unsigned flags; /* enum conn_flags */
};

/* Connections and requests of one address, counted by all workers. */
struct http_address {
    struct peer_key key;
    uint32_t conns;
    int64_t gathered; /* its part of http_server.gathered */
    int64_t tokens;   /* thousandths of a request */
    uint64_t filled_us;
};

struct http_server {
    struct http_listener listen[HTTP_LISTENERS_MAX];
    size_t listen_count;
    const struct http_route *route[HTTP_ROUTES_MAX];
    size_t route_count;
    struct http_local local[HTTP_LOOPS_MAX]; /* by index of the loop */
    pthread_mutex_t lock;                    /* guards those below */
    _Atomic int64_t gathered;                /* bytes of bodies that are not handed over yet */
    bool (*crowded)(void);                   /* no memory for answers; NULL: never */
    struct tls_ctx *tls;
    struct map addresses;
    uint32_t sweep;
};

extern struct setting http_header_bytes, http_request_timeout, http_idle_timeout,
    http_connections_max, http_request_rate, http_cors_origins, http_base, http_hsts,
    http_trusted_proxies, http_requests_max, http_bodies_max;
extern struct metric http_conns, http_requests, http_refused, http_errors;

/* request.c: handles what the reader returns. Status of a refusal; 0: go on. */
void exchange_make(struct http_conn *h);
void exchange_free(struct http_conn *h); /* tells the route if it waits */
unsigned http_on_head(struct http_conn *h);
unsigned http_on_body(struct http_conn *h, slice piece);

/* proxy.c: believes a trusted proxy about the client's address and TLS, and raises http.proxy if a
 * setting for proxies is missing. peer: address of the connection in numbers. */
void http_proxy_apply(struct exchange *x, const char *peer);
void http_proxy_setting_changed(struct worker *w, const struct setting *s);

/* conn.c */
void http_phase_set(struct http_conn *h, enum http_phase phase);
void http_body_credit(struct http_conn *h, size_t bytes); /* received bytes extend the deadline */
/* The answer is complete: the next request, or the end. */
void http_exchange_done(struct http_conn *h);
/* Answers a request with an error without, or instead of, its handler. */
void http_refuse(struct http_conn *h, unsigned status);

/* addresses.c. Counts a connection, which leaves when it closes; those of trusted proxies and of
 * Unix sockets are not counted. A few beyond the limit are answered with 429. */
enum peers_room http_address_enter(struct http_conn *h);
void http_address_leave(struct http_conn *h);
void http_note_port(int port, bool tls); /* of a listener: for http_public_base() */
bool http_address_request(struct http_conn *h, uint64_t now_us);
/* Counts `more` bytes of bodies for the address; `own`: of this connection in all. False: the share
 * of the address is exceeded, and this is not its only body. */
bool http_address_gather(struct http_conn *h, int64_t more, int64_t own);
void http_addresses_fini(struct http_server *s);

/* routes.c */
const struct http_route *http_route_find(const struct http_server *s, const char *group,
                                         slice path);
void http_route_know(const struct http_route *row); /* for http_path_is_free(); at start */
/* Whether a path, or one that is not known (empty), is below the first part of the path of a row
 * with HTTP_PROBLEMS. */
bool http_route_problems(const struct http_server *s, const char *group, slice path);
unsigned http_route_methods(const struct http_route *route);
