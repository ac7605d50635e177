#include "io/locate.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/loop.h"
#include <stdio.h>

enum { TEXT_BYTES = 1024 };

struct locate {
    struct loop_defer finish; /* where there is nothing to look up */
    locate_fn *done;
    void *arg;
    struct locate_options options;
    struct service_look {
        struct locate *locate;
        struct resolve *resolve;
        enum resolve_end end;
        bool declined; /* "." */
        bool unusable; /* records, and none with a port */
    } look[LOCATE_SERVICES_MAX];
    unsigned left;
    size_t count;
    struct dns_srv record[LOCATE_SERVICES_MAX * DNS_SRV_MAX]; /* tag: of which service */
    struct buf text;
    char domain[DNS_HOST_BYTES];
};

static bool look_unanswered(const struct service_look *s)
{
    return s->unusable ||
           (s->end != RESOLVE_FOUND && s->end != RESOLVE_NO_NAME && s->end != RESOLVE_NO_DATA);
}

static void locate_free(struct locate *l)
{
    for (unsigned i = 0; i < LOCATE_SERVICES_MAX; i++)
        resolve_cancel(&l->look[i].resolve);
    mem_free(&l);
}

static uint64_t locate_draw(void *arg)
{
    (void)arg;
    return rand_u64();
}

static size_t locate_targets(struct locate *l, struct locate_target *out)
{
    size_t count = 0;
    dns_srv_order(l->record, l->count, locate_draw, NULL);
    for (size_t i = 0; i < l->count && count < LOCATE_TARGETS_MAX; i++) {
        const struct dns_srv *r = &l->record[i];
        struct locate_target *t = &out[count++];
        memcpy(t->host, r->host, sizeof t->host);
        t->port = r->port;
        t->priority = r->priority;
        t->weight = r->weight;
        t->tls = l->options.service[r->tag].tls;
    }
    return count;
}

/* Where a look-up had no answer and no other found a host, there may be records: the domain itself
 * is not tried then. It takes the place of a service without TLS, unless that is declined. */
static enum locate_end locate_outcome(const struct locate *l)
{
    bool unanswered = false, declined = false;
    if (l->count > 0)
        return LOCATE_FOUND;
    for (unsigned i = 0; i < l->options.count; i++) {
        unanswered = unanswered || look_unanswered(&l->look[i]);
        declined = declined || (l->look[i].declined && !l->options.service[i].tls);
    }
    if (unanswered)
        return LOCATE_FAILED;
    return declined || l->options.port == 0 ? LOCATE_NO_SERVICE : LOCATE_FOUND;
}

static void locate_over(struct locate *l)
{
    struct locate_target target[LOCATE_TARGETS_MAX];
    struct locate_result result = { .end = locate_outcome(l), .target = target };
    if (l->count > 0) {
        result.count = locate_targets(l, target);
    } else if (result.end == LOCATE_FOUND) {
        target[0] = (struct locate_target){ .port = l->options.port };
        memcpy(target[0].host, l->domain, sizeof l->domain);
        result.count = 1;
        buf_printf(&l->text, "; so %s itself, port %d", l->domain, l->options.port);
    }
    buf_append(&l->text, "", 1);
    result.text = l->text.overflow ? "" : l->text.ptr;
    struct buf text = l->text; /* freed behind the callback; the rest before it */
    locate_fn *done = l->done;
    void *arg = l->arg;
    locate_free(l);
    done(arg, &result);
    buf_fini(&text);
}

static void locate_nothing(struct loop_defer *d)
{
    locate_over(CONTAINER_OF(d, struct locate, finish));
}

/* A host "." beside others means nothing (RFC 2782). */
static void look_take(struct service_look *s, const struct resolved *r)
{
    struct locate *l = s->locate;
    size_t before = l->count, none = 0;
    for (size_t i = 0; i < r->count; i++) {
        none += r->srv[i].host[0] == '\0';
        if (r->srv[i].host[0] == '\0' || r->srv[i].port == 0)
            continue;
        ensure(l->count < LOCATE_SERVICES_MAX * DNS_SRV_MAX);
        l->record[l->count] = r->srv[i];
        l->record[l->count++].tag = (uint16_t)(s - l->look);
    }
    s->declined = l->count == before && none > 0;
    s->unusable = l->count == before && none == 0;
}

static void look_resolved(void *arg, const struct resolved *r)
{
    struct service_look *s = arg;
    struct locate *l = s->locate;
    const char *service = l->options.service[s - l->look].name;
    ensure(l->left > 0);
    s->resolve = NULL;
    s->end = r->end;
    if (r->end == RESOLVE_FOUND)
        look_take(s, r);
    buf_printf(&l->text, "%s%s.%s: ", l->text.len > 0 ? "; " : "", service, l->domain);
    if (r->end != RESOLVE_FOUND)
        buf_printf(&l->text, "%s", r->reason);
    else if (s->declined)
        buf_printf(&l->text, "\".\", the domain does not offer this");
    else
        buf_printf(&l->text, "%zu record%s%s", r->count, r->count == 1 ? "" : "s",
                   s->unusable ? " without a port" : "");
    if (--l->left == 0)
        locate_over(l);
}

struct locate *locate_start(struct resolver *r, struct loop *loop, slice domain,
                            const struct locate_options *options, locate_fn *done, void *arg)
{
    struct locate *l = mem_new(struct locate);
    char name[2 * DNS_HOST_BYTES];
    ensure(options->count > 0 && options->count <= LOCATE_SERVICES_MAX);
    l->done = done;
    l->arg = arg;
    l->options = *options;
    l->finish.fn = locate_nothing;
    buf_init(&l->text, TEXT_BYTES);
    if (domain.len > 0 && domain.ptr[domain.len - 1] == '.')
        domain.len--;
    if (domain.len == 0 || domain.len >= sizeof l->domain) {
        l->look[0].end = RESOLVE_FAILED;
        buf_printf(&l->text, "no name of a domain");
        loop_defer(loop, &l->finish);
        return l;
    }
    memcpy(l->domain, domain.ptr, domain.len);
    l->left = (unsigned)options->count;
    for (unsigned i = 0; i < options->count; i++) {
        int n = snprintf(name, sizeof name, "%s.%s", options->service[i].name, l->domain);
        l->look[i].locate = l;
        l->look[i].resolve = resolve_srv(r, (slice){ name, (size_t)n }, look_resolved, &l->look[i]);
    }
    return l;
}

void locate_cancel(struct locate **l)
{
    if (*l == NULL)
        return;
    loop_defer_cancel(&(*l)->finish);
    buf_fini(&(*l)->text);
    locate_free(*l);
    *l = NULL;
}
