/* s2s_take: the stanzas of another server: they are read, their domains compared with those that
 * the stream may speak for, and they go on to whom they are for. For streams that it has opened,
 * and for those that we have opened and it sends back on (XEP-0288). Confined to the worker of the
 * stream. */
#pragma once
#include "base/slice.h"
#include "gate/xstream.h"
#include <stdbool.h>

struct in_flow;
struct stanza;

struct s2s_taker {
    /* Whether stanzas of that domain to this one may come on the stream; else it has failed. */
    bool (*may)(struct xstream *x, slice remote, slice local);
    void (*other)(struct xstream *x, slice unit);        /* an element that is no stanza */
    void (*route)(struct xstream *x, struct stanza *st); /* on to whom it is for; takes over st */
    struct in_flow *(*flow)(const struct xstream *x);    /* what counts them; NULL: nothing */
    bool (*counts)(const struct xstream *x);             /* what is not acknowledged comes again */
    /* Something came that is not counted: for a domain that is not ours now, or forbidden by a
     * rule. The stream ends, and takes nothing behind it if it counts. */
    void (*leaves)(struct xstream *x);
};

/* An element of a bound stream. lang: of its header, or empty. */
void s2s_take(struct xstream *x, slice unit, slice lang, const struct s2s_taker *taker);
/* A domain in an attribute; empty: it is absent, or no domain. */
slice s2s_attr_domain(const struct xstream *x, slice attr);

/* How the other server has ended a stream. Whether that error may be for what it was sent; and
 * whether its side has ended the connection: not the network, where nobody answers. */
bool s2s_is_offended(slice condition);
bool s2s_is_broken(const struct xstream *x, enum xstream_end why);
