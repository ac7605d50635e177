/* s2s_peer_back: stanzas go back on a stream that the other server has opened (XEP-0288), which may
 * be on another worker: gate/s2s/link/s2s_in_back.h. It says by messages when there is one, what
 * was confirmed, and that it has ended. A peer uses it if policy and routes let it connect to that
 * server at all, and it has no stream of its own; else it remembers the last one.
 *
 * If such a stream breaks, what was not confirmed is sent again, also where the server resumes it.
 * Confined to the worker of the peer. */
#pragma once
#include "base/slice.h"
#include "home/message.h"

struct s2s_peer;
struct stanza;

enum { BACK_TLS_MAX = 15 };

/* What the stream says of a pair of domains. */
enum back_event {
    BACK_OFFERED = 0,
    BACK_CONFIRMED = 1, /* `count` more */
    BACK_FULL = 2,
    BACK_ROOM = 3,
    BACK_GONE = 4
};

struct s2s_way_back {
    slice local, remote, tls;
    uint64_t stream;    /* its id */
    uint32_t count;     /* BACK_CONFIRMED */
    uint32_t max_bytes; /* BACK_OFFERED: the largest stanza (XEP-0478); 0: not said */
    uint8_t event;      /* enum back_event */
    uint8_t end;        /* BACK_GONE: enum peer_end */
    bool counted;       /* it has XEP-0198 */
    bool certificate;   /* else dialback has proved it */
    bool read;          /* BACK_GONE: all that was written to it has been read */
};
extern const struct message_row s2s_way_back_message;

/* A stream of the other server that stanzas go back on, or may. */
struct peer_back {
    uint64_t stream;          /* its id; 0: none */
    uint32_t max_bytes;       /* the largest stanza that it takes (XEP-0478); 0: not said */
    struct message_from from; /* the worker that has it */
    bool on;                  /* it is the stream of the peer */
    bool counted, certificate;
    char tls[BACK_TLS_MAX + 1];
};

bool peer_back_is_offered(const struct s2s_peer *p); /* a stream that it may take now */
void peer_back_take(struct s2s_peer *p);             /* that: the peer has a stream then */
void peer_back_write(struct s2s_peer *p, struct stanza *st, uint64_t delay_us); /* borrows */
void peer_back_end(struct s2s_peer *p); /* asks for its end; PEER_LOST follows */
