/* preauth: what may be done on a stream before authentication (XEP-0077). The gate asks the
 * one feature that has it (struct feature_tables). */
#pragma once
#include "base/slice.h"

struct buf;
struct stanza;
struct worker;

struct preauth_request {
    struct worker *worker;
    const struct stanza *st; /* an IQ of type get or set; borrowed */
    slice domain, address;   /* of the stream; of the peer, in numbers */
    slice note;              /* what an earlier answer left for this stream; empty: nothing */
};

/* Gets a whole <iq/> for the stream. note: kept for its next request; ptr NULL: as it was. */
typedef void preauth_reply_fn(void *arg, slice xml, slice note);

struct preauth {
    /* Appends the stream feature. `secure`: passwords may be sent, that is, the stream is under TLS
     * or c2s.tls-required is off. false: not offered; then iq() must not be called for this stream.
     */
    bool (*feature)(struct buf *out, slice domain, bool secure);
    /* `reply` is called exactly once, at once or later on the same worker, so `arg` must live until
     * then, also if the stream has ended. */
    void (*iq)(const struct preauth_request *r, preauth_reply_fn *reply, void *arg);
};
