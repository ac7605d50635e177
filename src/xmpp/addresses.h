/* addresses: the <addresses/> of Extended Stanza Addressing (XEP-0033 §4), read into a list and
 * written again as those who get the stanza may see it. Limit: ADDRESSES_MAX. Pure. */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza_error.h"

struct arena;
struct xml_write;
struct elem;

enum { ADDRESSES_MAX = 512 };

enum address_type {
    ADDRESS_TO,
    ADDRESS_CC,
    ADDRESS_BCC,
    ADDRESS_REPLYTO,
    ADDRESS_REPLYROOM,
    ADDRESS_NOREPLY
};
struct address {
    enum address_type type;
    slice jid;             /* prepared; empty: none */
    slice uri, node, desc; /* as sent; empty: none */
    bool delivered;        /* it has got the stanza already */
};
struct addresses {
    struct address of[ADDRESSES_MAX];
    unsigned count;
    enum stanza_error error; /* why it could not be read, and in words */
    slice text;
};

static inline bool address_is_recipient(const struct address *a) { return a->type <= ADDRESS_BCC; }

/* Whether it is an <addresses/> that says who the stanza came from first, before a service sent it
 * on (§4.1.5, `ofrom`): no client can say that of its own. */
bool addresses_claim_origin(const struct elem *e, struct arena *tmp);

/* false: `error` and `text` are set. What is kept points into e or tmp. */
bool addresses_read(struct addresses *out, const struct elem *e, struct arena *tmp);
bool addresses_has(const struct addresses *l, slice jid); /* as a recipient */
/* One more; false: there are ADDRESSES_MAX, or it has this JID as a recipient already. */
bool addresses_add(struct addresses *l, enum address_type type, slice jid);
/* Appends <addresses/> as one recipient sees it: recipients are marked as delivered, blind ones are
 * left out, but for `to` (an index; ADDRESSES_MAX: none of them). */
void addresses_write(struct xml_write *x, const struct addresses *l, unsigned to);
