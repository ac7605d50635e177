#include "gate/s2s/s2s_find.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "gate/s2s/s2s_policy.h"
#include "gate/s2s/s2s_rows.h"
#include "io/address.h"
#include "io/dial.h"
#include "io/locate.h"
#include "xmpp/precis.h"

enum { FIND_MS = 60000, DIAL_MS = 15000, PORT = 5269, WHY_MAX = 64 << 10 };

/* LOCATING ─▶ for each target: RESOLVING ─▶ DIALLING. At most one of the three is there; with
 * `over` none, and the callback follows; none either while the caller tries a connection. */
struct s2s_find {
    struct s2s_gate *gate;
    struct worker *worker;
    s2s_found_fn *done;
    void *arg;
    struct locate *locate;
    struct resolve *resolve;
    struct dial *dial;
    struct loop_defer over;
    uint64_t since_us;
    struct locate_target *targets;
    size_t count, at; /* the target that is being tried */
    bool exists;      /* some host has an address */
    bool fails;       /* the DNS could not be asked about some of it */
    struct buf why;   /* of all that was tried */
    slice domain;     /* with A-labels */
    char text[];
};

static struct loop *find_loop(const struct s2s_find *f) { return worker_loop(f->worker); }

static void find_free(struct s2s_find *f)
{
    loop_defer_cancel(&f->over);
    mem_free(&f->targets);
    buf_fini(&f->why);
    mem_free(&f);
}

/* Nothing is left to try. A domain without any address is not there. */
static void find_fail(struct s2s_find *f)
{
    bool missing = !f->exists && !f->fails;
    const struct s2s_found found = { .error = missing ? SE_REMOTE_SERVER_NOT_FOUND
                                                      : SE_REMOTE_SERVER_TIMEOUT,
                                     .hard = missing,
                                     .why = buf_fit(&f->why) };
    f->done(f->arg, &found);
    find_free(f);
}

static void find_say(struct s2s_find *f, const char *what, slice why)
{
    buf_printf(&f->why, "%s%s%s%.*s", f->why.len > 0 ? "; " : "", what, *what != '\0' ? ": " : "",
               SLICE_ARG(why));
}

static void find_next(struct s2s_find *f);

static void find_dialled(void *arg, const struct dial_result *result)
{
    struct s2s_find *f = arg;
    struct buf text;
    f->dial = NULL;
    if (result->conn != NULL) {
        bool tls = f->count > 0 && f->targets[f->at].tls;
        f->done(f->arg, &(struct s2s_found){ .conn = result->conn, .tls = tls });
        return;
    }
    buf_init(&text, XML_PART_MAX);
    dial_explain(result, &text);
    find_say(f, "", buf_fit(&text));
    buf_fini(&text);
    f->at++;
    find_next(f);
}

static void find_dial(struct s2s_find *f, const union address *to, size_t count)
{
    const struct dial_options options = { .limits = &f->gate->limits, .deadline_ms = DIAL_MS };
    f->exists = true;
    f->dial = dial_start(find_loop(f), to, count, &options, find_dialled, f);
}

static void find_resolved(void *arg, const struct resolved *result)
{
    struct s2s_find *f = arg;
    f->resolve = NULL;
    if (result->end == RESOLVE_FOUND) {
        find_dial(f, result->address, result->count);
        return;
    }
    f->fails = f->fails || (result->end != RESOLVE_NO_NAME && result->end != RESOLVE_NO_DATA);
    find_say(f, f->targets[f->at].host, slice_of(result->reason));
    f->at++;
    find_next(f);
}

static bool find_is_late(const struct s2s_find *f)
{
    return loop_now_us(find_loop(f)) - f->since_us > FIND_MS * 1000ull;
}

static void find_next(struct s2s_find *f)
{
    if (f->at >= f->count || find_is_late(f)) {
        find_fail(f);
        return;
    }
    const struct locate_target *t = &f->targets[f->at];
    struct s2s_worker *sw = s2s_worker(f->gate, f->worker);
    f->resolve = resolve_host(sw->resolver, slice_of(t->host), t->port, find_resolved, f);
}

bool s2s_find_go_on(struct s2s_find *f, slice why)
{
    ensure(f->locate == NULL && f->resolve == NULL && f->dial == NULL);
    if (f->at + 1 >= f->count || find_is_late(f))
        return false;
    log_info(&log_s2s, LOG_EV("s2s.host"), LOG_S("domain", f->domain),
             LOG_C("host", f->targets[f->at].host), LOG_S("why", why));
    find_say(f, f->targets[f->at].host, why);
    f->at++;
    find_next(f);
    return true;
}

static void find_located(void *arg, const struct locate_result *result)
{
    struct s2s_find *f = arg;
    f->locate = NULL;
    f->fails = result->end == LOCATE_FAILED;
    if (result->end != LOCATE_FOUND) {
        find_say(f, "", slice_of(result->text));
        find_fail(f);
        return;
    }
    f->targets = mem_alloc(result->count * sizeof *f->targets);
    memcpy(f->targets, result->target, result->count * sizeof *f->targets);
    f->count = result->count;
    find_next(f);
}

static void find_over(struct loop_defer *d) { find_fail(CONTAINER_OF(d, struct s2s_find, over)); }

/* It fails before anything was tried: later in the tick. */
static void find_refuse(struct s2s_find *f, slice why)
{
    find_say(f, "", why);
    f->over.fn = find_over;
    loop_defer(find_loop(f), &f->over);
}

/* NULL setting: what the system uses. */
static const char *find_servers(void)
{
    const char *servers = setting_text(&s2s_dns_servers);
    return *servers == '\0' ? NULL : servers;
}

/* Made when it is first needed: false: `why`. */
static bool find_has_resolver(struct s2s_find *f, struct why *why)
{
    struct s2s_worker *sw = s2s_worker(f->gate, f->worker);
    return sw->resolver != NULL ||
           resolver_create(&sw->resolver, find_loop(f), find_servers(), why) == OK;
}

static void find_begin(struct s2s_find *f, slice domain)
{
    static const struct locate_service services[] = { { "_xmpps-server._tcp", true },
                                                      { "_xmpp-server._tcp", false } };
    const struct locate_options options = { services, 2, PORT };
    union address address;
    struct why why;
    slice text;
    if (s2s_route_find(slice_of(setting_text(&s2s_routes)), domain, &text) &&
        address_parse(text, &address)) {
        find_dial(f, &address, 1);
    } else if (f->domain.len == 0) {
        find_refuse(f, SLICE("the domain has no form for the DNS"));
    } else if (!find_has_resolver(f, &why)) {
        f->fails = true;
        find_refuse(f, slice_of(why.text));
    } else {
        f->locate = locate_start(s2s_worker(f->gate, f->worker)->resolver, find_loop(f), f->domain,
                                 &options, find_located, f);
    }
}

struct s2s_find *s2s_find_start(struct s2s_gate *g, struct worker *w, slice domain,
                                s2s_found_fn *done, void *arg)
{
    ensure(worker_is_here(w));
    slice ascii = s2s_ascii(domain, loop_scratch(worker_loop(w)));
    struct s2s_find *f = mem_zalloc(sizeof *f + ascii.len);
    f->gate = g;
    f->worker = w;
    f->done = done;
    f->arg = arg;
    f->since_us = loop_now_us(worker_loop(w));
    f->domain = (slice){ f->text, ascii.len };
    memcpy(f->text, ascii.ptr, ascii.len);
    buf_init(&f->why, WHY_MAX);
    find_begin(f, domain);
    return f;
}

void s2s_find_cancel(struct s2s_find **pf)
{
    struct s2s_find *f = *pf;
    *pf = NULL;
    if (f == NULL)
        return;
    locate_cancel(&f->locate);
    resolve_cancel(&f->resolve);
    dial_cancel(&f->dial);
    find_free(f);
}

slice s2s_ascii(slice domain, struct arena *tmp)
{
    slice ascii;
    for (size_t i = 0; i < domain.len; i++)
        if ((unsigned char)domain.ptr[i] >= 0x80)
            return precis_domain_ascii(domain, tmp, &ascii) == OK ? ascii : (slice){ "", 0 };
    return domain;
}

void s2s_dns_servers_changed(struct worker *w, const struct setting *s)
{
    struct s2s_gate *g = s2s_gate_of(w);
    struct why why;
    (void)s;
    if (g == NULL || s2s_worker(g, w)->resolver == NULL)
        return;
    if (resolver_servers(s2s_worker(g, w)->resolver, find_servers(), &why) != OK)
        log_error(&log_s2s, LOG_EV("s2s.dns"), LOG_C("why", why.text));
}

void s2s_find_forget(struct s2s_gate *g, struct worker *w, slice domain)
{
    struct s2s_worker *sw = s2s_worker(g, w);
    slice ascii = s2s_ascii(domain, loop_scratch(worker_loop(w)));
    if (sw->resolver != NULL && ascii.len > 0)
        resolver_forget(sw->resolver, ascii);
}
