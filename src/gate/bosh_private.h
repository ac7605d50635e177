/* bosh: sessions over BOSH (XEP-0124, XEP-0206), shared by their two files.
 *
 * A session lives with its stream on the worker where it was made; it does not migrate. Its
 * requests come on connections of any worker: c2s_bosh.c reads each where it came, finds the worker
 * of its sid, and hands it over there, where bosh_session.c puts the requests in the order of their
 * rids, gives their elements to the stream, and answers. Answers go back the same way.
 *
 * Bounds: bosh_session.requests requests (at most 3) are held or early, as many answers are kept
 * for repeats; output waits up to c2s.output-max. */
#pragma once
#include "base/buf.h"
#include "gate/bosh_body.h"
#include "gate/c2s_stream.h"

struct http_request;

enum {
    BOSH_HOLD_MAX = 2,
    BOSH_REQUESTS_MAX = BOSH_HOLD_MAX + 1,
    BOSH_POLLING_S = 2,
    BOSH_REPORT_S = 2, /* an answer that is older and was not acknowledged may be lost */
    BOSH_VERSION_MINOR = 11,
    BOSH_CONTENT_MAX = 64
};

/* One HTTP request. Its worker makes and frees it; in between it belongs to the session. */
struct bosh_request {
    struct list node;
    struct http_request *http; /* used by its own worker only; NULL: the client is gone */
    struct worker *from;
    struct arena *arena; /* of attributes */
    struct buf text;     /* body as it came, until its elements are taken */
    char sid[33];        /* for its own worker, when text is gone */
    struct bosh_body body;
    struct elem child; /* the next to be given to the stream */
    bool more;         /* there is one */
    uint32_t fed;      /* children before it */
    bool secure;
    bool hurried;    /* another one is pipelined behind it */
    uint64_t due_us; /* when it is answered at the latest; early: when it is no longer waited for
                      * what is missing before it */
    struct conn_info peer;
    struct buf answer; /* XML */
    size_t large;      /* of its longest element, if that is long; else 0 */
    unsigned status;
    char content[BOSH_CONTENT_MAX]; /* Content-Type of the answer */
};

struct bosh_kept { /* an answer, for a repeat */
    int64_t rid;
    struct buf text;
    uint64_t at_us;
    uint32_t out_count; /* stanzas up to this one are in it or in earlier ones */
    size_t large;       /* of its longest element, if that is long; else 0 */
};

struct bosh {
    char sid[33];
    struct worker *worker;
    struct list node;      /* in gate_worker.boshes */
    struct stream *stream; /* NULL: it has ended, but the client does not know yet */
    struct conn_info peer;
    bool secure, acks, legacy, greet, ended, polling, overflow, end_told;
    uint8_t ver_minor;
    const char *condition; /* of the end; NULL: none */
    int64_t rid;           /* all requests up to it were taken */
    int64_t report;        /* its answer may be lost; the next answer reports that; 0: none */
    uint64_t report_us;    /* when that was sent */
    uint32_t hold, requests;
    uint64_t wait_us, pause_us; /* pause_us: inactivity that a pause allows; 0: no pause */
    uint64_t last_us;           /* the last request, or answer */
    uint64_t polled_us;         /* the last request, if it was empty and nothing waited; else 0 */
    struct list early;          /* requests that wait for their turn, by rid */
    struct list held;           /* taken and not answered, by rid */
    uint32_t held_count;
    struct bosh_request *feeding; /* in held; its elements are given to the stream */
    struct bosh_kept kept[BOSH_REQUESTS_MAX + 1]; /* text.cap 0: free */
    struct buf out;                               /* elements for the next answer */
    size_t large;                                 /* of the longest in it, beside the limit; or 0 */
    struct buf error;                             /* <stream:error/>, for the last answer */
    struct timer timer;      /* of the oldest held request, a missing one, or inactivity */
    struct loop_defer later; /* input goes on, answers go out */
    size_t counted;          /* bytes in io_output_bytes */
    size_t told;             /* of these to the home of its session, see bound_output() */
    char key[41];            /* the next key hashes to it; empty: no keys */
    char content[BOSH_CONTENT_MAX];
};
