#include "ext/xml_private.h"

static const struct private_ops *ops; /* NULL: there is no private XML */

void private_is(const struct private_ops *o) { ops = o; }

void private_request(struct iq *iq)
{
    if (ops != NULL)
        ops->request(iq);
    else
        iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
}

bool private_ok(struct iq *iq)
{
    if (ops != NULL)
        return ops->ok(iq);
    iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    return false;
}

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
