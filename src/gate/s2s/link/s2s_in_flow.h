/* s2s_in_flow: what the files of a stream's acknowledgements share: s2s_in_sm.c counts, and
 * s2s_in_resume.c keeps what has lost its stream. Confined to the worker of the stream. */
#pragma once
#include "gate/s2s/link/s2s_in_private.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "home/message.h"
#include "home/node.h"

enum { FLOW_ID_BYTES = 16 };

/* What a stream has brought. It outlives the stream while something is under way, and while it is
 * kept. Counts are of all its stanzas and wrap at 2^32. */
struct in_flow {
    struct list node; /* in s2s_worker.flows */
    struct list kept; /* in s2s_worker.kept, the oldest first */
    struct s2s_worker *sw;
    struct worker *worker;
    struct xstream *x;        /* NULL: it has ended */
    struct s2s_in *stream;    /* the same; NULL also of a stream that we have opened */
    s2s_flow_rests_fn *rests; /* of an owned one */
    bool owned;               /* by the peer of such a stream */
    struct list reports;      /* of stanzas that are not handled, the oldest first */
    uint32_t count, h;
    uint32_t floor;       /* its count as <enabled/> or <resumed/> was sent */
    uint32_t base;        /* what h of the protocol counts from: floor, or before a resumption */
    uint32_t asked, told; /* counts: of the last <r/>, and of the last <a/> */
    uint32_t open;        /* reports that are to come */
    uint32_t max_s;       /* the longest that the peer wants it to be kept; 0: not at all */
    bool enabled;
    bool mute;         /* its stream is not resumed yet */
    bool lost;         /* a stanza that nobody knows the end of: h does not go beyond it */
    uint64_t holder;   /* of the address of its peer */
    uint64_t until_us; /* loop time: so long it is kept */
    bool held;         /* its stream is not read */
    bool wanted;       /* `asker` waits until nothing is under way */
    struct message_from asker;
    struct loop_defer ack;
    struct timer timer; /* the end of what it waits for: until_us, or HANDLED_MS */
    uint64_t back;      /* the stream, if a peer of ours can go on writing; see s2s_back_kept() */
    uint32_t back_zero;
    slice pairs;                    /* of the stream, when it is kept: see pairs_write() */
    char id[2 * FLOW_ID_BYTES + 1]; /* empty: it cannot be resumed */
};

static inline struct loop *flow_loop(const struct in_flow *f) { return worker_loop(f->worker); }

struct in_flow *flow_new(struct s2s_worker *sw, struct worker *w);
struct in_flow *flow_of(struct s2s_in *s);           /* made if it has none */
uint32_t flow_handled(const struct in_flow *f);      /* h of the protocol */
void flow_check(struct in_flow *f);                  /* freed if nobody needs it any more */
void sm_fail(struct s2s_in *s, enum stanza_error e); /* writes <failed/> */
