/* xml_private: private XML (XEP-0049) for an extension that knows more of some of its elements: its
 * rules stand before those of private.c and hand on what they do not care for. Without private.c
 * nothing is stored. */
#pragma once
#include "im/iq.h"

struct account;

void private_request(struct iq *iq); /* a request as a whole */
/* Whether a request of the owner may be served as far as its elements go; false: it is answered. */
bool private_ok(struct iq *iq);
/* Serves a held request that is private_ok(), with `xml` as what is stored, or to be stored, of the
 * elements with this name. */
void private_request_with(struct iq *held, slice ns, slice name, slice xml);
/* What is stored; empty: nothing. The account stays pinned by the caller. */
typedef void private_found_fn(void *arg, enum stanza_error e, slice xml);
void private_find(struct account *a, slice ns, slice name, private_found_fn *done, void *arg);

/* The above, as private.c does it; set at start. */
struct private_ops {
    void (*request)(struct iq *iq);
    bool (*ok)(struct iq *iq);
    void (*request_with)(struct iq *held, slice ns, slice name, slice xml);
    void (*find)(struct account *a, slice ns, slice name, private_found_fn *done, void *arg);
};
void private_is(const struct private_ops *ops);
