/* server: HTTP/1.1 on connections of ours (RFC 9110, RFC 9112). Features bring routes as rows; the
 * server reads requests, checks them against limits, finds the route, and writes answers at the end
 * of the tick.
 *
 * A connection stays on the worker that accepted it, and everything about a request happens on that
 * worker's thread. Requests on one connection are answered in order: one that is pipelined behind
 * another is not read before that one is answered, nor while more than 256 KiB of answers wait for
 * the client to read them.
 *
 * Limits: http.header-bytes, 64 header fields, 8 KiB of target, the route's body_max, the times and
 * rates of rows.c. Idle connections own no buffers. */
#pragma once
#include "base/err.h"
#include "base/setting.h"
#include "base/slice.h"

struct alarm;
struct arena;
struct buf;
struct conn;
struct conn_ops;
struct feature;
struct http_server;
struct log_area;
struct loop;
struct metric;
struct tls_ctx;

enum http_verb {
    HTTP_M_GET = 1, /* HEAD too: the server leaves the body out */
    HTTP_M_POST = 2,
    HTTP_M_PUT = 4,
    HTTP_M_DELETE = 8,
    HTTP_M_PATCH = 16,
    HTTP_M_OPTIONS = 32 /* where a row does not have it, the server answers for it */
};

struct http_request {
    const struct http_route *route;
    void *data; /* the handler's own */
    struct loop *loop;
    enum http_verb method;
    bool head;        /* HEAD: nothing but the headers goes out, whatever is sent */
    bool secure;      /* over TLS, here or in front of a trusted proxy */
    slice path;       /* decoded; see http_path_decode() */
    slice raw;        /* the same as it came */
    slice query;      /* behind the '?', as it came */
    slice host;       /* of the Host header, or of the target; may be empty with HTTP/1.0 */
    slice peer;       /* the client's address in numbers; of X-Forwarded-For from a trusted proxy */
    int64_t body_len; /* announced; -1: chunked, not known yet */
    slice body;       /* gathered, for handle() */
};

enum http_route_flags {
    HTTP_CORS = 1,  /* scripts of the origins in http.cors-origins may use it (Fetch §3.2) */
    HTTP_BELOW = 2, /* the path, which has no '/' at its end, and everything below it */
    HTTP_OWN_LISTENER = 8, /* served on the listeners of its group only */
    HTTP_LONG_POLL = 16,   /* its answers wait for news, so that their time says nothing */
    HTTP_WHEN_CROWDED = 4, /* served even if memory is short, because its answers free memory */
    HTTP_PROBLEMS = 32     /* what the server itself refuses is said in JSON (RFC 9457) */
};

/* One row. Each request for which begin() or handle() was called must get exactly one answer,
 * unless gone() is called. After the complete answer, and after gone(), the request must not be
 * used. All of it may be done from inside the callbacks, or later on the same thread. */
struct http_route {
    const char *path;                /* exact; with a '/' at its end: and all below it (not "/") */
    const struct setting *path_from; /* or a PARAM_TEXT that holds it; empty: nothing */
    const char *group;               /* listeners may serve the routes of one group only; or NULL */
    unsigned methods;                /* enum http_verb */
    unsigned flags;
    uint64_t body_max; /* bytes; a longer body is answered with 413; 0: none is allowed */
    /* The headers are there, the body is not. May answer already: then the rest is not read. Asked
     * only where it is given. */
    void (*begin)(struct http_request *r);
    /* The body in pieces as they come, borrowed; NULL: it is gathered in r->body. */
    void (*data)(struct http_request *r, slice piece);
    void (*handle)(struct http_request *r); /* all is there */
    /* The client has gone or the server ends before the answer was complete. May be NULL where
     * handle() always answers before it returns. */
    void (*gone)(struct http_request *r);
    /* Another request is pipelined behind this one and waits for its answer. May be NULL. */
    void (*followed)(struct http_request *r);
    void (*drained)(struct http_request *r); /* all of http_send() was written */
};

/* A header field, by its name in any case, until the callback returns; ptr NULL: absent. Several
 * lines of one name are one list with commas (RFC 9110 §5.3). */
slice http_header(const struct http_request *r, const char *name);
struct arena *http_scratch(const struct http_request *r); /* until the callback returns */

/* From handle(): gives the gathered body to the caller, who frees it with buf_fini(). */
void http_take_body(struct http_request *r, struct buf *out);

/* Stops reading the body until released. For handlers that cannot keep up; call it from begin() or
 * data(). */
void http_hold(struct http_request *r);
void http_release(struct http_request *r);

/* The client has ended its side: it may have gone altogether, and then reads no answer. */
bool http_client_ended(const struct http_request *r);

/* Answers. Beside what is named here the server writes Date, Connection, the length, the headers of
 * CORS, and security headers for browsers. */
struct http_answer {
    unsigned status;
    const char *type;   /* Content-Type; NULL: none */
    const char *cache;  /* Cache-Control; NULL: no-store */
    const char *policy; /* Content-Security-Policy; NULL: nothing may be loaded or framed */
    slice headers;      /* more lines, made with http_header_line() */
    slice body;
    bool constant; /* the body stays as it is until the process ends: it is sent without a copy */
};
void http_answer(struct http_request *r, const struct http_answer *a);
void http_answer_text(struct http_request *r, unsigned status, slice text); /* text/plain */
/* In pieces: length -1 where it is not known. a->body is not looked at. */
void http_start(struct http_request *r, const struct http_answer *a, int64_t length);
void http_send(struct http_request *r, slice piece);
size_t http_waiting(const struct http_request *r); /* bytes that the socket did not take yet */
void http_finish(struct http_request *r);
void http_break(struct http_request *r); /* the answer cannot be completed: resets the connection */
/* "Name: value" for http_answer.headers; control characters in the value become spaces. */
void http_header_line(struct buf *out, const char *name, slice value);
void http_allow_line(struct buf *out, unsigned methods); /* Allow: of enum http_verb */
const char *http_status_text(unsigned status);           /* "Not Found" */

/* From handle() only: answers 101 with these header lines (Upgrade, …; Connection is ours) and
 * gives the connection away: it has no owner until the caller gives it one with conn_hand_over(),
 * before it returns. Input behind the request is offered to that one. */
struct conn *http_upgrade(struct http_request *r, slice headers);

/* A domain of the node (prepared), and the same with A-labels, as requests name it: copied. Does
 * nothing if it is there. Main, before workers run. */
void http_add_domain(slice name, slice ascii);
/* The domain that a request is for, by its host whatever the case, the port and a dot at the end:
 * that name itself, or the domain whose http.base-url has this host, or the nearest above it;
 * empty: none. It stays. Any thread. */
slice http_domain_of(const struct http_request *r);
/* "https://host" as clients see this server: http.base-url, for the domain that the request is for,
 * or what the request says. */
void http_base_url(const struct http_request *r, struct buf *out);
/* The same for links that are not made for a request: http.base-url, or the domain with the port of
 * the first listener, of https if there is one. Any thread. */
void http_public_base(slice domain, struct buf *out);
/* Whether a script of that origin may use us (http.cors-origins). */
bool http_origin_allowed(slice origin);

/* The server: made and destroyed by main's thread, started and stopped on each worker's. */

struct http_listen {
    const char *address;
    const char *group; /* serves only the routes of these groups, separated by spaces; NULL: all */
    bool tls, proxy;   /* proxy: a PROXY header comes first */
};
NODISCARD enum err http_create(struct http_server **out, const struct http_listen *listens,
                               size_t count, struct tls_ctx *tls, struct why *why);
void http_destroy(struct http_server **s);
void http_add_routes(struct http_server *s, const struct http_route *rows); /* ended by { 0 } */
/* Whether no other page is served at the path that setting `own` (path_from of a row) is to get.
 * All paths are while no routes were added, as when the node file is read. */
bool http_path_is_free(slice path, const struct setting *own);
/* Asked before each request, on its worker: true: memory is short, the answer is 503. Set before
 * the server starts. */
void http_set_crowded(struct http_server *s, bool (*crowded)(void));
void http_set_tls(struct http_server *s, struct tls_ctx *tls); /* for new connections; any thread */

void http_worker_start(struct http_server *s, struct loop *loop);
void http_worker_accept(struct http_server *s, struct loop *loop);
void http_worker_stop(struct http_server *s, struct loop *loop); /* ends all connections */
bool http_worker_idle(const struct http_server *s, const struct loop *loop);

/* Rows, for app/. */
extern struct setting *const http_settings[];
extern struct alarm http_proxy_alarm; /* proxy.c */
extern struct metric *const http_metrics[];
extern struct log_area log_http;
