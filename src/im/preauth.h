/* preauth: what may be done on a stream before authentication (XEP-0077). The gate asks the one
 * hook; a feature sets it at start, before any worker runs. */
#pragma once
#include "base/slice.h"

struct buf;
struct stanza;
struct worker;

/* Gets a whole <iq/> for the stream. */
typedef void preauth_reply_fn(void *arg, slice xml);

struct preauth {
    /* Appends the stream feature. `secure`: passwords may be sent, that is, the stream is under TLS
     * or c2s.tls-required is off. false: not offered; then iq() must not be called for this stream.
     */
    bool (*feature)(struct buf *out, bool secure);
    /* An IQ of type get or set; st is borrowed. `domain` is the stream's, `address` the peer's in
     * numbers. `reply` is called exactly once, at once or later on the same worker, so `arg` must
     * live until then, also if the stream has ended. */
    void (*iq)(struct worker *w, const struct stanza *st, slice domain, slice address,
               preauth_reply_fn *reply, void *arg);
};

extern const struct preauth *preauth_hook; /* NULL: nothing is possible */
