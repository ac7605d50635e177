#include "im/host.h"
#include "base/setting.h"
#include "im/feature.h"
#include "im/node.h"
#include "im/server.h"

static bool enabled(const struct host *h) { return h->enabled == NULL || setting_bool(h->enabled); }

void host_each(host_fn *fn, void *arg)
{
    for (const struct feature *const *f = features_all(); *f != NULL; f++)
        for (const struct host *h = (*f)->hosts; h != NULL && h->label != NULL; h++)
            if (enabled(h))
                fn(h, arg);
}

struct search {
    slice label;
    const struct host *found;
};

static void compare(const struct host *h, void *arg)
{
    struct search *s = arg;
    if (slice_eq(slice_of(h->label), s->label))
        s->found = h;
}

const struct host *host_find(const struct node *n, slice domain, slice *parent)
{
    struct search s = { 0 };
    if (!slice_cut(domain, '.', &s.label, parent) || !node_serves(n, *parent))
        return NULL;
    host_each(compare, &s);
    return s.found;
}

static bool is_request(const struct stanza *st)
{
    return st->kind == STANZA_IQ && (st->type == TYPE_GET || st->type == TYPE_SET);
}

enum routed host_receive(struct worker *w, const struct host *h, struct stanza *st,
                         struct origin origin)
{
    bool domain = memchr(st->to, '@', st->to_bare_len) == NULL && stanza_to_is_bare(st);
    if (domain && is_request(st))
        return iq_to_host(w, h, st, origin);
    if (h->receive != NULL)
        return h->receive(w, h, st, origin);
    if (is_request(st) || (st->kind == STANZA_MESSAGE && stanza_has(st, KNOWN(BODY))))
        route_error(w, st, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    stanza_unref(&st);
    return ROUTED;
}
