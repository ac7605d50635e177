#include "ext/xml_private.h"

static const struct private_ops *ops; /* NULL: there is no private XML */
static const struct private_taker *taker;

void private_is(const struct private_ops *o) { ops = o; }

void private_take(const struct private_taker *t) { taker = t; }
const struct private_taker *private_taken(void) { return taker; }

void private_request_with(struct iq *held, slice ns, slice name, slice xml)
{
    if (ops != NULL)
        ops->request_with(held, ns, name, xml);
    else
        iq_error(held, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
}

void private_find(struct account *a, slice ns, slice name, private_found_fn *done, void *arg)
{
    if (ops != NULL)
        ops->find(a, ns, name, done, arg);
    else
        done(arg, SE_NONE, (slice){ 0 });
}
