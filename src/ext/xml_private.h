/* xml_private: private XML (XEP-0049) for an extension that knows more of one of its elements:
 * requests with that element are its own. Without private.c nothing is stored. */
#pragma once
#include "talk/iq.h"

struct account;
struct arena;

/* Who serves the requests that have this element: of the owner, with elements that are right. One
 * extension. */
struct private_taker {
    const char *ns, *name;
    void (*run)(struct iq *iq); /* type get or set */
    /* What stays private data of an element; empty: nothing. NULL: all of it. */
    slice (*rest)(slice xml, struct arena *tmp);
};
void private_take(const struct private_taker *taker); /* at start */
const struct private_taker *private_taken(void);      /* NULL: nobody */

/* Serves a held request that was given to the taker, with `xml` as what is stored, or to be stored,
 * of the elements with this name. */
void private_request_with(struct iq *held, slice ns, slice name, slice xml);
/* What is stored; empty: nothing. The account stays pinned by the caller. */
typedef void private_found_fn(void *arg, enum stanza_error e, slice xml);
void private_find(struct account *a, slice ns, slice name, private_found_fn *done, void *arg);

/* The above, as private.c does it; set at start. */
struct private_ops {
    void (*request_with)(struct iq *held, slice ns, slice name, slice xml);
    void (*find)(struct account *a, slice ns, slice name, private_found_fn *done, void *arg);
};
void private_is(const struct private_ops *ops);
