/* c2s_sasl: SASL on a stream: exchanges of either profile, and the profile of RFC 6120 §6. */
#pragma once
#include "base/slice.h"
#include "xmpp/sasl.h"

struct buf;
struct down;
struct elem;
struct stream;
struct stream_auth;

/* How an exchange speaks: SASL of RFC 6120 §6, or SASL2 (XEP-0388). */
struct sasl_profile {
    void (*challenge)(struct stream *s); /* what sasl_out() says */
    void (*success)(struct stream *s);   /* the mechanism is done; the exchange ends */
    void (*failure)(struct stream *s, enum sasl_failure f, const char *text); /* NULL: no text */
    /* Only of one that goes on after the mechanism: the answer of the home to a bind request, and
     * the end, which frees a->two. */
    void (*answered)(struct stream *s, const struct down *d);
    void (*forget)(struct stream_auth *a);
};

void sasl_offer(struct stream *s, struct buf *out); /* <mechanisms/>, <authentication/>, bindings */
void sasl_unit(struct stream *s, const struct elem *e); /* of NS_SASL */
struct sasl_start {
    const struct sasl_profile *profile;
    slice mechanism, message; /* as the client sent it: base64 */
    bool has_message;
    bool token; /* the client says that it has one (XEP-0484) */
};
void sasl_begin(struct stream *s, const struct sasl_start *start);
void sasl_message(struct stream *s, slice text); /* the client's next: base64 */
void sasl_failed(struct stream *s, enum sasl_failure f, const char *text);
void sasl_cancel(struct stream *s);             /* look-ups are dropped */
uint32_t sasl_tokens_offered(struct stream *s); /* mechanisms of XEP-0484, a bit each */
