/* xstream: one XML stream with a peer, as every edge has them (RFC 6120): reader, header, errors,
 * holds, rates, end and time. Embedded as the first member of what the edge knows besides. What
 * differs is in two tables: of the edge (struct xstream_ops), and of the way on which elements
 * travel (struct xstream_way). For both directions: as the server of a client or component, and as
 * the initiator.
 *
 * The state is one of xmpp/stream.h and changes in xstream_now() only. Units keep their order;
 * input is not taken while a hold is set.
 *
 * Confined to its worker; between xstream_leave() and xstream_adopt() to whoever moves it. A stream
 * without a connection (BOSH) is given its input by its owner. An idle one owns no buffers. */
#pragma once
#include "base/list.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "home/here.h"
#include "io/conn.h"
#include "io/timer.h"
#include "xmpp/stanza.h"
#include "xmpp/stream.h"

struct setting;
struct worker;
struct xstream;

/* Why the peer is gone. */
enum xstream_end {
    XSTREAM_ENDED,  /* it has ended the stream */
    XSTREAM_LOST,   /* its connection has ended without that */
    XSTREAM_BROKEN, /* the connection has failed: conn_error() */
    XSTREAM_SLOW    /* it does not read what is written to it; the error was sent */
};

/* Tokens of one second. */
struct xstream_rates {
    struct setting *stanzas, *bytes; /* a second; SETTING_NONE: no limit */
};

/* A header of RFC 6120 §4.7; ptr NULL: the attribute is absent. */
struct xstream_header {
    const char *ns; /* of the content */
    slice id, from, version, lang, to;
    bool dialback; /* declares the prefix db, by which older servers know that we speak it */
};

/* Over TCP elements follow one another inside of a root element; framed, in WebSocket messages or
 * bodies of BOSH, each stands alone and declares its namespaces (architecture §5). */
struct xstream_way {
    void (*open)(struct xstream *x, const struct xstream_header *h);
    void (*write)(struct xstream *x, slice element); /* one whole element, or a space */
    void (*stanza)(struct xstream *x, const struct stanza *st, const struct stanza_note *note);
    void (*end)(struct xstream *x); /* ends what the header began, if it was sent; closes */
    /* Without a connection of its own: */
    void (*read_on)(struct xstream *x);           /* input may go on, later in this tick */
    uint64_t (*last_us)(const struct xstream *x); /* see conn_last_read_us() */
    const struct conn_info *(*peer)(const struct xstream *x);
    size_t (*output)(const struct xstream *x); /* bytes that wait */
    void (*drop)(struct xstream *x);           /* frees them */
};
extern const struct xstream_way xstream_tcp;

/* An element of the peer, at the first level. */
struct xstream_unit {
    slice text;
    struct elem elem; /* not read with STREAM_GOT_UNREADABLE */
    enum stream_input input;
    struct stream_step step; /* what is to be done about it */
};

struct xstream_ops {
    const struct xstream_rates *rates; /* NULL: none */
    bool reads_last;  /* rates hold back nothing of a peer that has ended its connection */
    const char *late; /* the text of connection-timeout before it is bound */
    void (*greet)(struct xstream *x); /* sends our header: as initiator, or before an error */
    /* The peer's header: checks and answers it, and says STREAM_GOT_HEADER; or fails. */
    void (*header)(struct xstream *x, slice unit);
    void (*element)(struct xstream *x, const struct xstream_unit *u); /* of one that is not bound */
    void (*stanza)(struct xstream *x, slice unit);
    /* The peer's stream error, before gone(); or NULL. */
    void (*heard)(struct xstream *x, const struct elem *error);
    /* The peer has ended a bound stream. true: what it sent is still being handled; the owner
     * closes the stream then, soon, and holds reading until that. NULL: it ends at once. */
    bool (*drains)(struct xstream *x);
    void (*gone)(struct xstream *x, enum xstream_end why); /* before the stream is closed */
    void (*closing)(struct xstream *x); /* it is closed now: what it waits for is dropped */
    void (*failed)(struct xstream *x, enum stream_error e, slice text); /* counts and logs */
    void (*drained)(struct xstream *x);          /* all output was written; or NULL */
    void (*slow)(struct xstream *x, bool on);    /* more output waits than the mark; or NULL */
    uint64_t (*due_ms)(const struct xstream *x); /* until its timer; UINT64_MAX: never */
    void (*idle)(struct xstream *x);             /* the timer of a bound stream; or NULL */
    void (*free)(struct xstream *x);             /* its connection is gone */
    /* Ensures what must be true of it between two callbacks: gate/xstream_check.h; or NULL. */
    void (*check)(const struct xstream *x);
};

/* The streams of one edge on one worker. */
struct xstreams {
    struct list all;        /* struct xstream */
    _Atomic uint32_t count; /* read at the end by another thread */
    bool stopped;
    bool moved; /* the stream that is being read has left this worker: do not use it */
#ifdef MUSTER_DEBUG
    struct list marked; /* to be checked at the end of the tick: gate/xstream_check.h */
    struct loop_defer check;
#endif
};

struct xstream {
    const struct xstream_ops *ops;
    const struct xstream_way *way;
    struct conn *conn; /* NULL: it has none of its own */
    struct worker *worker;
    struct xstreams *among;
    struct list node; /* in among->all */
    uint64_t id;      /* worker in the low 16 bits of it as of creation on that worker */
    struct xml_reader reader;
    struct timer timer; /* login, the end of a pause, idleness */
    uint64_t filled_us;
    uint64_t opened_us;
    int32_t stanza_tokens; /* may be below zero once, or while it is in debt */
    int32_t byte_tokens;
    uint64_t slow_until_us; /* of xstream_slow(); 0: not at all */
    uint8_t role;           /* enum stream_role */
    uint8_t state;          /* enum stream_state */
    uint8_t holds;          /* enum conn_hold */
    bool header_sent, secure, pinged;
    bool in_debt : 1;
    bool last : 1; /* its peer has sent all that it will, and that is read at once */
    bool end_sent; /* nothing may be written any more; input is still taken */
#ifdef MUSTER_DEBUG
    struct list marked; /* in among->marked */
#endif
};

/* For ensure(): it is touched on its worker. */
static inline bool xstream_here(const struct xstream *x) { return worker_is_here(x->worker); }

void xstreams_init(struct xstreams *all);
/* The pressure on a worker is over: they are read again. */
void xstreams_release(struct xstreams *all);

/* Of what x->ops, way, role and conn say. The time is the worker's, to which it does not belong
 * yet. */
void xstream_init(struct xstream *x, struct worker *w, const struct xml_limits *limits);
void xstream_adopt(struct xstream *x, struct worker *w, struct xstreams *among);
/* The opposite: it belongs to no worker any more. Its reader must not be in use behind this. */
void xstream_leave(struct xstream *x);
void xstream_fini(struct xstream *x); /* leaves, and frees what it has */
/* For conn_start() and conn_hand_over() with the stream as owner. */
extern const struct conn_ops xstream_conn_ops;
void xstream_on_event(struct conn *c, enum conn_event ev);
void xstream_on_closed(struct conn *c);

/* What happened on our side, or was done that the peer asked for: the state changes. */
enum stream_action xstream_now(struct xstream *x, enum stream_input input);
struct stream_step xstream_meets(const struct xstream *x, enum stream_input input);
bool xstream_awaits_header(const struct xstream *x);
/* Whether a stream header may come now; else the stream fails. */
bool xstream_header_due(struct xstream *x);
/* Header and reader begin anew (RFC 6120 §4.3.3); the initiator sends its header. */
void xstream_restart(struct xstream *x);

/* An attribute of the unit's root, unescaped, in the scratch of the loop; ptr NULL: absent. */
slice xstream_attr(const struct xstream *x, slice unit, slice name);
/* The domain of an address in such an attribute, prepared, whatever the rest of the address is;
 * empty: it is no domain; ptr NULL: the attribute is absent. */
slice xstream_attr_domain(const struct xstream *x, slice unit, slice name);
slice xstream_ns(const struct xstream *x, slice unit); /* of the unit's root */
/* The unit as an element; false: it cannot be read. */
bool xstream_elem(const struct xstream *x, slice unit, struct elem *out);
bool xstream_is_header(const struct xstream *x, slice unit); /* <stream/> of RFC 6120 §4.8.1 */

void xstream_open(struct xstream *x, const struct xstream_header *h); /* sends our header */
void xstream_write(struct xstream *x, slice element);
void xstream_write_buf(struct xstream *x, struct buf *element); /* ends it; not if it overflowed */
/* Sends the error, and a header if none was sent (RFC 6120 §4.9.1.2); closes. app_xml: inside
 * <stream:error/>, or empty. Nothing happens to a closed stream. */
void xstream_fail(struct xstream *x, enum stream_error e, slice text);
void xstream_fail_with(struct xstream *x, enum stream_error e, slice text, slice app_xml);
void xstream_close(struct xstream *x, slice last); /* `last`, an element or empty, goes before */
/* Over TCP: ends our half of a stream that is bound; the peer may go on until it is closed. */
void xstream_send_end(struct xstream *x);
void xstream_end(struct xstream *x, enum xstream_end why); /* gone(), then closes */
void xstream_abort(struct xstream *x);                     /* closes without a word */

/* What waits for the peer: bytes. */
size_t xstream_output(const struct xstream *x);
const struct conn_info *xstream_peer(const struct xstream *x);

/* Reading. enum conn_hold; the stream's own look-ups have one of them. */
void xstream_hold(struct xstream *x, unsigned reason);
void xstream_slow(struct xstream *x, uint64_t ms); /* not read for so long, or beyond its rates */
void xstream_release(struct xstream *x, unsigned reason);
static inline void xstream_wait(struct xstream *x) { xstream_hold(x, CONN_HOLD_STREAM); }
static inline void xstream_go(struct xstream *x) { xstream_release(x, CONN_HOLD_STREAM); }
/* From now on its peer sends again what has not arrived (XEP-0198): conn_ends_held(). */
void xstream_can_be_resumed(struct xstream *x);
/* Whether it takes another unit: not while a hold is set, nor while more output waits than the
 * high-water mark, whether the peer's requests came in one read or in many. */
bool xstream_takes_input(struct xstream *x);
/* One unit from the start of `data`; bytes used; 0: not complete, or the stream has failed. */
size_t xstream_read(struct xstream *x, slice data, int32_t *stanzas);

/* Rates. */
void xstream_spend(struct xstream *x, int32_t stanzas, size_t bytes); /* at the end of a turn */
/* Takes bytes from what the peer may send; it is not read until its debt is paid, at most half a
 * minute. */
void xstream_charge(struct xstream *x, uint32_t bytes);

void xstream_timer(struct xstream *x); /* set anew by what it waits for */
/* Until `limit_ms` after the stream was opened; 0: that is over. */
uint64_t xstream_left_ms(const struct xstream *x, uint64_t limit_ms);
uint64_t xstream_last_us(const struct xstream *x); /* loop time of the last input */

/* More output waits than its mark, or no longer; before the event comes. */
void xstream_is_slow(struct xstream *x, bool on);
