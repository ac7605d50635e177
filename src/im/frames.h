/* frames: what crosses between homes (architecture §4), one row a kind. Only frames with stanzas,
 * numbers and strings may cross to another node. */
#pragma once
#include "im/gate.h"
#include "io/mesh.h"

enum frame_kind {
    FRAME_ROUTE,  /* obj: stanza; num: origin session, node<<32|count, archive id, sender id */
    FRAME_TICKET, /* num: origin session, count */
    FRAME_CHARGE, /* num: origin session, bytes */
    FRAME_UP,     /* obj: stanza or NULL; num: session id, kind, number, stream id */
    FRAME_BIND,   /* str: bare, see frame_bind_text(); num: stream id, account id, generation,
                     h<<32 |   node;   flags: enum below */
    FRAME_DOWN,   /* obj: stanza or NULL; num: stream id; str: struct down_wire of frames.c, text */
    FRAME_FAN,    /* to many (im/fan.h): obj: stanza; str: tag, packed bare JIDs */
    FRAME_ARRIVE, /* obj: connection; this process only */
    FRAME_SETTLED,  /* str: sender, recipient; num: axis, verb of a subscription stanza that is
                       committed */
    FRAME_REMOTE,   /* obj: stanza; num: link id; this process only */
    FRAME_AUDIENCE, /* of a room (im/audience.c), this process only: obj: stanza or NULL; str: room,
                       full JID and blob; num: length of the JID, seat, whom; flags: what */
    FRAME_KINDS
};

enum { BIND_RESUME = 1, BIND_SECURE = 2, BIND_BY_TOKEN = 4 }; /* flags of FRAME_BIND */

void frames_deliver(struct frame *f, void *worker); /* mesh_deliver_fn */
void frames_drop(struct frame *f);                  /* mesh_drop_fn: undelivered at the end */

/* The texts of a bind request in one: peer LF device LF length of <bind/> LF <bind/> resource. */
bool frame_bind_text(slice text, struct bind_request *out); /* false: not that */

/* To a worker of a node; our own node id or 0: of this process. */
void frame_send(struct worker *w, uint32_t node, unsigned worker, struct frame *f);
void frame_send_down(struct worker *w, const struct link *link, const struct down *d);
void frame_send_up(struct worker *w, uint64_t stream, uint32_t node, uint64_t session,
                   const struct up *up);
void frame_send_bind(struct worker *w, uint32_t node, unsigned worker,
                     const struct bind_request *req);
void frame_send_arrive(struct worker *w, unsigned worker, void *conn);
void frame_send_fan(struct worker *w, unsigned worker, struct stanza *st, slice tag,
                    slice packed_jids);
/* To the home of `sender`, see subscription_settled(). */
void frame_send_settled(struct worker *w, slice sender, slice rcpt, int64_t axis, int64_t verb);
