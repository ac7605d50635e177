#include "gate/s2s/find/s2s_find.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/find/s2s_policy.h"
#include "gate/s2s/s2s_rows.h"
#include "io/address.h"
#include "io/dial.h"
#include "io/locate.h"
#include "xmpp/jid.h"
#include "xmpp/precis.h"
#include <stdio.h>

enum {
    FIND_MS = 60000,
    DIAL_MS = 15000,
    PORT = 5269,
    WHY_MAX = 64 << 10,
    STEPS_MAX = 64,
    REDIRECTS_MAX = 3,
    BEGIN_EVERY_US = 5000, /* on a worker: the loop has 100 us of work and more for each */
    /* Of these, room that is left for what comes later: */
    BEHIND_ROUTES = 24, /* the DNS, SRV records, see-other-host */
    BEHIND_HOSTS = 16,  /* the SRV records of another step */
    ASKED_SHARE = 4,    /* one in four finds may be for questions alone */
    QUEUE_MIN_MS = DIAL_MS,
    HOST_BYTES = 2 * DNS_HOST_BYTES
};

/* What is tried next: an address, a host with a port, or the SRV records of a name, which become
 * hosts in their place. */
struct find_step {
    enum { STEP_ADDRESS, STEP_HOST, STEP_LOCATE, STEP_BLOCKED } kind;
    uint16_t port;
    bool tls, plain; /* TLS at once; or there may be none */
    bool one;        /* STEP_LOCATE: only the service that `tls` says */
    char host[DNS_HOST_BYTES];
};

/* WAITING ─▶ for each step: LOCATING or RESOLVING ─▶ DIALLING. At most one of the three is there;
 * with `over` none, and the callback follows; none either while the caller tries a connection. */
struct s2s_find {
    struct list node;    /* in find_waits of its worker, while it waits */
    bool begun;          /* counted in `finding` of its worker, */
    bool asks;           /* for questions alone: and in `finding_asked` */
    bool anew;           /* for an operator: the DNS is asked anew */
    bool planned;        /* the steps are known */
    bool known;          /* it goes first */
    uint16_t owner;      /* who takes turns, */
    uint32_t turn;       /* and which one this is; the lowest goes first */
    struct timer waited; /* too long for its turn */
    struct s2s_gate *gate;
    struct worker *worker;
    s2s_found_fn *done;
    s2s_find_told_fn *told; /* NULL: nobody watches */
    void *arg;
    struct locate *locate;
    struct resolve *resolve;
    struct dial *dial;
    struct loop_defer over;
    uint64_t since_us;
    struct find_step *steps;
    size_t count, at; /* the step that is being tried */
    unsigned redirects;
    enum s2s_outcome outcome;
    enum s2s_stage failed; /* of the last host that was tried; or of the DNS, if none was */
    struct buf why;        /* of all of it */
    slice domain;          /* with A-labels */
    slice name;            /* as it was asked for */
    char text[];
};

static struct loop *find_loop(const struct s2s_find *f) { return worker_loop(f->worker); }

static void find_begin_others(struct s2s_worker *sw);

static void find_free(struct s2s_find *f)
{
    struct s2s_worker *sw = s2s_worker(f->gate, f->worker);
    if (list_linked(&f->node))
        list_remove(&f->node);
    if (f->begun) {
        ensure(sw->finding > 0 && sw->finding_asked >= f->asks);
        sw->finding--;
        sw->finding_asked -= f->asks;
    }
    timer_cancel(&f->waited);
    loop_defer_cancel(&f->over);
    mem_free(&f->steps);
    buf_fini(&f->why);
    mem_free(&f);
    find_begin_others(sw);
}

static bool find_is_late(const struct s2s_find *f)
{
    return loop_now_us(find_loop(f)) - f->since_us > FIND_MS * 1000ull;
}

static void find_comes_to(struct s2s_find *f, enum s2s_outcome outcome)
{
    f->outcome = outcome > f->outcome ? outcome : f->outcome;
}

bool s2s_find_is_hard(const struct s2s_find *f) { return f->outcome == S2S_HARD; }

bool s2s_find_may_be_plain(const struct s2s_find *f)
{
    return f->at < f->count && f->steps[f->at].plain;
}

/* Nothing is left to try. */
static void find_fail(struct s2s_find *f)
{
    const struct s2s_found found = { .error = f->outcome == S2S_BLOCKED ? SE_NOT_ALLOWED
                                              : f->outcome == S2S_MISSING
                                                  ? SE_REMOTE_SERVER_NOT_FOUND
                                                  : SE_REMOTE_SERVER_TIMEOUT,
                                     .hard = f->outcome != S2S_SOFT,
                                     .stage =
                                         f->failed != S2S_AT_NONE ? f->failed : s2s_find_stage(f),
                                     .why = buf_fit(&f->why) };
    f->done(f->arg, &found);
    find_free(f);
}

/* What the DNS says behind a host that was tried is no reason: it is asked in case that helps. */
static void find_say(struct s2s_find *f, enum s2s_stage stage, const char *what, slice why)
{
    if (stage != S2S_AT_DNS || f->failed == S2S_AT_NONE)
        f->failed = stage;
    buf_printf(&f->why, "%s%s%s%.*s", f->why.len > 0 ? "; " : "", what, *what != '\0' ? ": " : "",
               SLICE_ARG(why));
}

void s2s_find_watch(struct s2s_find *f, s2s_find_told_fn *told) { f->told = told; }

enum s2s_stage s2s_find_stage(const struct s2s_find *f)
{
    return f->locate != NULL || f->resolve != NULL ? S2S_AT_DNS : S2S_AT_TCP;
}

slice s2s_find_said(const struct s2s_find *f, enum s2s_stage *failed)
{
    *failed = f->failed;
    return buf_slice(&f->why);
}

static void find_tell(struct s2s_find *f, enum s2s_stage stage, bool fine, slice text)
{
    if (f->told != NULL)
        f->told(f->arg, stage, fine, text);
}

/* A failure, for an operator who watches and for the sender. */
static void find_fails(struct s2s_find *f, enum s2s_stage stage, slice why)
{
    find_tell(f, stage, false, why);
    find_say(f, stage, "", why);
}

/* All addresses that were tried, in one line for each. */
static void find_tell_dial(struct s2s_find *f, const struct dial_result *result)
{
    struct arena *tmp = loop_scratch(find_loop(f));
    char address[ADDRESS_TEXT_BYTES], line[ADDRESS_TEXT_BYTES + 128];
    if (f->steps[f->at].kind == STEP_ADDRESS)
        find_tell(f, S2S_AT_ROUTE, true, SLICE("the address is given, the DNS is not asked"));
    for (size_t i = 0; i < result->count && f->told != NULL; i++) {
        const struct dial_try *t = &result->tried[i];
        address_print(&t->address, address);
        int len = snprintf(line, sizeof line, "%s: %s (%s%.1f ms)", address,
                           t->won          ? "connected"
                           : t->error == 0 ? "another address was faster"
                                           : strerror(t->error),
                           t->error == 0 ? "" : arena_printf(tmp, "errno %d, ", t->error),
                           t->took_us / 1000.0);
        find_tell(f, S2S_AT_TCP, t->won || t->error == 0, (slice){ line, (size_t)len });
    }
}

static void find_tell_target(struct s2s_find *f, const struct locate_target *t)
{
    char line[DNS_HOST_BYTES + 96];
    int len = snprintf(line, sizeof line, "%s:%u, priority %u, weight %u%s", t->host, t->port,
                       t->priority, t->weight, t->tls ? ", TLS from the first byte" : "");
    find_tell(f, S2S_AT_DNS, true, (slice){ line, (size_t)len });
}

static void find_next(struct s2s_find *f);

static void find_passes_on(struct s2s_find *f)
{
    f->at++;
    find_next(f);
}

static void find_dialled(void *arg, const struct dial_result *result)
{
    struct s2s_find *f = arg;
    struct buf text;
    f->dial = NULL;
    find_tell_dial(f, result);
    if (result->conn != NULL) {
        const struct find_step *s = &f->steps[f->at];
        char host[HOST_BYTES];
        int len = s->kind == STEP_ADDRESS ? snprintf(host, sizeof host, "%s", s->host)
                                          : snprintf(host, sizeof host, "%s:%u", s->host, s->port);
        f->done(f->arg, &(struct s2s_found){
                            .conn = result->conn, .tls = s->tls, .host = { host, (size_t)len } });
        return;
    }
    buf_init(&text, XML_PART_MAX);
    dial_explain(result, &text);
    find_say(f, S2S_AT_TCP, "", buf_fit(&text));
    buf_fini(&text);
    find_comes_to(f, S2S_SOFT);
    find_passes_on(f);
}

static void find_dial(struct s2s_find *f, const union address *to, size_t count)
{
    const struct dial_options options = { .limits = &f->gate->limits, .deadline_ms = DIAL_MS };
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
    if (result->end != RESOLVE_NO_NAME && result->end != RESOLVE_NO_DATA)
        find_comes_to(f, S2S_SOFT);
    find_tell(f, S2S_AT_DNS, false,
              slice_of(arena_printf(loop_scratch(find_loop(f)), "%s: %s", f->steps[f->at].host,
                                    result->reason)));
    find_say(f, S2S_AT_DNS, f->steps[f->at].host, slice_of(result->reason));
    find_passes_on(f);
}

/* Steps. */

/* At a place; NULL: with it and `room` more there are more than may be. */
static struct find_step *find_insert(struct s2s_find *f, size_t at, slice host, size_t room)
{
    ensure(at <= f->count);
    if (f->count + room >= STEPS_MAX || host.len >= DNS_HOST_BYTES)
        return NULL;
    f->steps = mem_realloc(f->steps, (f->count + 1) * sizeof *f->steps);
    struct find_step *s = &f->steps[at];
    memmove(s + 1, s, (f->count - at) * sizeof *s);
    f->count++;
    *s = (struct find_step){ .kind = STEP_HOST };
    memcpy(s->host, host.ptr, host.len);
    s->host[host.len] = '\0';
    return s;
}

/* The hosts of SRV records come in place of these. */
static void find_located(void *arg, const struct locate_result *result)
{
    struct s2s_find *f = arg;
    bool plain = f->steps[f->at].plain;
    size_t room = REDIRECTS_MAX + (f->at + 1 < f->count ? BEHIND_HOSTS : 0);
    f->locate = NULL;
    if (result->end == LOCATE_FAILED)
        find_comes_to(f, S2S_SOFT);
    find_tell(f, S2S_AT_DNS, result->end == LOCATE_FOUND, slice_of(result->text));
    if (result->end != LOCATE_FOUND)
        find_say(f, S2S_AT_DNS, "", slice_of(result->text));
    for (size_t i = 0; i < result->count; i++) {
        const struct locate_target *t = &result->target[i];
        find_tell_target(f, t);
        struct find_step *s = find_insert(f, f->at + 1 + i, slice_of(t->host), room);
        if (s == NULL)
            break;
        s->port = t->port;
        s->tls = t->tls;
        s->plain = plain;
    }
    find_passes_on(f);
}

static uint64_t find_draw(void *arg)
{
    (void)arg;
    return rand_u64();
}

static void find_add_route(struct s2s_find *f, const struct s2s_route *r)
{
    struct arena *tmp = loop_scratch(find_loop(f));
    struct s2s_target t;
    bool right = s2s_target_read(&t, r->target);
    ensure(right); /* it was checked before it was stored */
    slice host = t.kind == S2S_TARGET_ADDRESS ? t.host : s2s_ascii(t.host, tmp);
    struct find_step *s = host.len > 0 ? find_insert(f, f->count, host, BEHIND_ROUTES) : NULL;
    if (s == NULL)
        return;
    s->kind = t.kind == S2S_TARGET_ADDRESS ? STEP_ADDRESS
              : t.kind == S2S_TARGET_HOST  ? STEP_HOST
                                           : STEP_LOCATE;
    s->port = t.port;
    s->one = t.one;
    s->tls = t.one ? t.tls : r->tls == S2S_ROUTE_DIRECT;
    s->one = s->one || s->tls;
    s->plain = r->tls == S2S_ROUTE_NONE;
}

/* The routes of each pattern in their order, then the DNS; or the domain itself, if that is an
 * address. */
static void find_plan(struct s2s_find *f, slice domain)
{
    const struct s2s_route *order[S2S_ROUTES_OF_PATTERN];
    struct s2s_levels at = s2s_levels_of(domain);
    const struct s2s_listed *l;
    bool ends = false;
    while (!ends && (l = s2s_levels_next(&at)) != NULL) {
        if (l->blocked) {
            struct find_step *s = find_insert(f, f->count, slice_of(""), 0);
            if (s != NULL)
                s->kind = STEP_BLOCKED;
            return;
        }
        size_t count = s2s_routes_order(order, l->routes, find_draw, NULL);
        for (size_t i = 0; i < count; i++)
            find_add_route(f, order[i]);
        ends = l->ends;
    }
    bool fixed = jid_is_address(f->domain);
    slice at_last = fixed ? slice_of(arena_printf(loop_scratch(find_loop(f)), "%.*s:%d",
                                                  SLICE_ARG(f->domain), PORT))
                          : f->domain;
    struct find_step *s = ends ? NULL : find_insert(f, f->count, at_last, REDIRECTS_MAX);
    if (s != NULL)
        s->kind = fixed ? STEP_ADDRESS : STEP_LOCATE;
    else if (f->count == 0) {
        find_comes_to(f, S2S_SOFT);
        find_fails(f, S2S_AT_ROUTE,
                   SLICE("the routes of this domain are out of service (s2s-route list)"));
    }
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

static bool find_asks_dns(struct s2s_find *f, const struct find_step *s)
{
    static const struct locate_service services[] = { { "_xmpps-server._tcp", true },
                                                      { "_xmpp-server._tcp", false } };
    const struct locate_options options = { .service = s->one && !s->tls ? services + 1 : services,
                                            .count = s->one ? 1 : 2,
                                            .port = s->one && s->tls ? 0 : PORT };
    struct resolver *r = s2s_worker(f->gate, f->worker)->resolver;
    slice host = slice_of(s->host);
    if (host.len == 0)
        return false;
    if (f->anew)
        resolver_forget(r, host);
    if (s->kind == STEP_HOST)
        f->resolve = resolve_host(r, host, s->port, find_resolved, f);
    else
        f->locate = locate_start(r, find_loop(f), host, &options, find_located, f);
    return true;
}

static void find_next(struct s2s_find *f)
{
    union address address;
    struct why why;
    if (find_is_late(f))
        find_comes_to(f, S2S_SOFT);
    if (f->at >= f->count || find_is_late(f)) {
        find_fail(f);
        return;
    }
    const struct find_step *s = &f->steps[f->at];
    if (s->kind == STEP_BLOCKED) {
        /* behind others it only ends the list: what was tried has failed by itself */
        find_comes_to(f, f->at == 0 ? S2S_BLOCKED : S2S_SOFT);
        if (f->at == 0)
            find_fails(f, S2S_AT_ROUTE, SLICE("a static route blocks it (s2s-route list)"));
        find_fail(f);
    } else if (s->kind == STEP_ADDRESS) {
        bool right = address_parse(slice_of(s->host), &address);
        ensure(right);
        find_dial(f, &address, 1);
    } else if (s->kind == STEP_HOST && s->host[0] != '\0' && jid_is_address(slice_of(s->host))) {
        find_comes_to(f, S2S_SOFT);
        find_fails(
            f, S2S_AT_DNS,
            slice_of(arena_printf(loop_scratch(find_loop(f)),
                                  "%s is an address: SRV records must name hosts", s->host)));
        find_passes_on(f);
    } else if (!find_has_resolver(f, &why)) {
        find_comes_to(f, S2S_SOFT);
        find_fails(f, S2S_AT_DNS, slice_of(why.text));
        find_passes_on(f);
    } else if (!find_asks_dns(f, s)) {
        find_fails(f, S2S_AT_DNS, SLICE("the domain has no form for the DNS"));
        find_passes_on(f);
    }
}

bool s2s_find_go_on(struct s2s_find *f, enum s2s_stage stage, slice why, enum s2s_outcome outcome)
{
    ensure(f->locate == NULL && f->resolve == NULL && f->dial == NULL);
    find_comes_to(f, outcome);
    if (f->at + 1 >= f->count || find_is_late(f))
        return false;
    log_info(&log_s2s, LOG_EV("s2s.host"), LOG_S("domain", f->domain),
             LOG_C("host", f->steps[f->at].host), LOG_S("why", why));
    find_say(f, stage, f->steps[f->at].host, why);
    find_passes_on(f);
    return true;
}

/* Elsewhere. */

/* "[2001:db8::1]" and "192.0.2.1" get the port. */
static bool find_reads_address(char out[HOST_BYTES], slice host, uint16_t port)
{
    union address address;
    if (address_parse(host, &address) && address.any.sa_family != AF_UNIX &&
        address_port(&address) > 0) {
        snprintf(out, HOST_BYTES, "%.*s", SLICE_ARG(host));
        return true;
    }
    int len = snprintf(out, HOST_BYTES, "%.*s:%d", SLICE_ARG(host), port);
    return len > 0 && len < HOST_BYTES && address_parse(slice_of(out), &address) &&
           address.any.sa_family != AF_UNIX;
}

static bool find_is_same_address(slice a, slice b)
{
    union address one, other;
    char text[2][ADDRESS_TEXT_BYTES];
    if (!address_parse(a, &one) || !address_parse(b, &other))
        return false;
    address_print(&one, text[0]);
    address_print(&other, text[1]);
    return strcmp(text[0], text[1]) == 0;
}

/* port: of a host; an address has its own. */
static bool find_has_tried(const struct s2s_find *f, bool fixed, slice host, uint16_t port)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct find_step *s = &f->steps[i];
        if (fixed ? s->kind == STEP_ADDRESS && find_is_same_address(host, slice_of(s->host))
                  : s->kind == STEP_HOST && slice_is(host, s->host) && s->port == port)
            return true;
    }
    return false;
}

void s2s_find_see_other(struct s2s_find *f, slice text)
{
    struct arena *tmp = loop_scratch(find_loop(f));
    char address[HOST_BYTES];
    slice host = text, digits;
    int64_t port = PORT;
    bool fixed = text.len < DNS_HOST_BYTES && find_reads_address(address, text, PORT);
    if (text.len == 0 || text.len >= DNS_HOST_BYTES || f->redirects == REDIRECTS_MAX ||
        f->at >= f->count)
        return;
    if (fixed) {
        host = slice_of(address);
        port = 0;
    } else if (slice_cut(text, ':', &host, &digits) &&
               (!slice_int(digits, &port) || port < 1 || port > UINT16_MAX)) {
        return;
    }
    slice name = host;
    if (!fixed && (jid_prep_domain(host, tmp, &name) != OK || s2s_is_ours(f->worker, name)))
        return;
    name = fixed ? host : s2s_ascii(name, tmp);
    if (name.len == 0 || find_has_tried(f, fixed, name, (uint16_t)port))
        return;
    struct find_step *s = find_insert(f, f->at + 1, name, 0);
    if (s == NULL)
        return;
    s->kind = fixed ? STEP_ADDRESS : STEP_HOST;
    s->port = (uint16_t)port;
    s->plain = f->steps[f->at].plain;
    f->redirects++;
}

/* The beginning. */

/* Routes may have changed while it waited, so they are read now. */
static void find_over(struct loop_defer *d)
{
    struct s2s_find *f = CONTAINER_OF(d, struct s2s_find, over);
    ensure(f->begun);
    if (!f->planned)
        find_plan(f, f->name);
    f->planned = true;
    find_next(f);
}

static void find_begin(struct s2s_find *f)
{
    struct s2s_worker *sw = s2s_worker(f->gate, f->worker);
    ensure(!f->begun && !s2s_find_waits(f));
    timer_cancel(&f->waited);
    f->begun = true;
    sw->finding++;
    sw->finding_asked += f->asks;
    f->since_us = loop_now_us(find_loop(f));
    loop_defer(find_loop(f), &f->over);
}

/* Each worker has its part of what a node may do at a time. Anybody can make us ask any domain. */
static bool find_has_room(const struct s2s_find *f)
{
    struct s2s_worker *sw = s2s_worker(f->gate, f->worker);
    uint32_t part = (uint32_t)setting_int(&s2s_connecting) / worker_node(f->worker)->worker_count;
    uint32_t share = part / ASKED_SHARE;
    if (f->asks && sw->finding_asked >= (share > 0 ? share : 1))
        return false;
    return sw->finding < (part > 0 ? part : 1) && pace_take(&sw->find_pace);
}

/* Domains that are known first, then those for stanzas, then those for questions; among them the
 * lowest turn, and of these the oldest. NULL: none waits. */
static struct s2s_find *find_whose_turn(const struct s2s_worker *sw)
{
    struct s2s_find *next = NULL;
    int best = 0;
    LIST_EACH (it, &sw->find_waits) {
        struct s2s_find *f = CONTAINER_OF(it, struct s2s_find, node);
        int kind = f->asks ? 2 : !f->known;
        if (next == NULL || kind < best || (kind == best && f->turn < next->turn)) {
            next = f;
            best = kind;
        }
    }
    return next;
}

static void find_begin_others(struct s2s_worker *sw)
{
    struct s2s_find *f;
    while ((f = find_whose_turn(sw)) != NULL && find_has_room(f)) {
        list_remove(&f->node);
        if (!f->known && f->turn > sw->find_turn)
            sw->find_turn = f->turn;
        find_begin(f);
    }
}

static void find_has_pace(struct pace *p)
{
    find_begin_others(CONTAINER_OF(p, struct s2s_worker, find_pace));
}

void s2s_find_init(struct s2s_worker *sw, struct worker *w)
{
    list_init(&sw->find_waits);
    pace_init(&sw->find_pace, worker_loop(w), BEGIN_EVERY_US, find_has_pace);
}

void s2s_connecting_changed(struct worker *w, const struct setting *s)
{
    struct s2s_gate *g = s2s_gate_of(w);
    (void)s;
    if (g != NULL)
        find_begin_others(s2s_worker(g, w));
}

const char s2s_find_no_turn[] = "too many other connections are being made (s2s.connecting)";

/* It has not had its turn for too long. */
static void find_waited(struct timer *t, struct loop *loop)
{
    struct s2s_find *f = CONTAINER_OF(t, struct s2s_find, waited);
    (void)loop;
    ensure(s2s_find_waits(f) && !f->begun);
    find_comes_to(f, S2S_SOFT);
    find_fails(f, S2S_AT_TCP, slice_of(s2s_find_no_turn));
    find_fail(f);
}

static struct s2s_find *find_new(struct s2s_gate *g, struct worker *w, slice ascii, slice name,
                                 s2s_found_fn *done, void *arg)
{
    struct s2s_find *f = mem_zalloc(sizeof *f + ascii.len + name.len);
    ensure(worker_is_here(w));
    f->gate = g;
    f->worker = w;
    f->done = done;
    f->arg = arg;
    f->over.fn = find_over;
    f->waited.fn = find_waited;
    char *at = f->text;
    f->domain = slice_lay(&at, ascii);
    f->name = slice_lay(&at, name);
    buf_init(&f->why, WHY_MAX);
    return f;
}

/* The one behind the last of its sender, and behind those that have begun. */
static uint32_t find_take_turn(const struct s2s_find *f)
{
    struct s2s_worker *sw = s2s_worker(f->gate, f->worker);
    uint32_t *last = &sw->find_turns[f->owner];
    *last = (*last > sw->find_turn ? *last : sw->find_turn) + 1;
    return *last;
}

static void find_begin_or_wait(struct s2s_find *f)
{
    uint64_t ms = (uint64_t)setting_int(&s2s_retry_for);
    if (find_has_room(f)) {
        find_begin(f);
        return;
    }
    f->turn = find_take_turn(f);
    list_append(&s2s_worker(f->gate, f->worker)->find_waits, &f->node);
    timer_set(find_loop(f), &f->waited, ms > QUEUE_MIN_MS ? ms : QUEUE_MIN_MS);
}

struct s2s_find *s2s_find_start(struct s2s_gate *g, struct worker *w,
                                const struct s2s_find_for *what, s2s_found_fn *done, void *arg)
{
    slice ascii = s2s_ascii(what->domain, loop_scratch(worker_loop(w)));
    struct s2s_find *f = find_new(g, w, ascii, what->domain, done, arg);
    f->asks = what->asks;
    f->anew = what->anew;
    f->known = what->known;
    f->owner = what->owner;
    find_begin_or_wait(f);
    return f;
}

bool s2s_find_waits(const struct s2s_find *f) { return list_linked(&f->node); }

/* "host:5269" into both; without a port `port` stays. */
static slice find_split(slice text, uint16_t *port)
{
    slice host, digits;
    int64_t n;
    slice_cut(text, ':', &host, &digits);
    if (digits.len > 0 && slice_int(digits, &n) && n > 0 && n < 65536)
        *port = (uint16_t)n;
    return host;
}

struct s2s_find *s2s_find_host(struct s2s_gate *g, struct worker *w, const struct s2s_find_at *to,
                               s2s_found_fn *done, void *arg)
{
    uint16_t port = to->port;
    char address[HOST_BYTES];
    bool fixed = to->host.len < DNS_HOST_BYTES && find_reads_address(address, to->host, port);
    slice host = fixed ? slice_of(address)
                       : s2s_ascii(find_split(to->host, &port), loop_scratch(worker_loop(w)));
    struct s2s_find *f = find_new(g, w, host, slice_of(""), done, arg);
    f->planned = f->known = true;
    struct find_step *s = host.len > 0 ? find_insert(f, 0, host, 0) : NULL;
    if (s == NULL) {
        find_comes_to(f, S2S_SOFT);
        find_say(f, S2S_AT_DNS, "", SLICE("the host has no form for the DNS"));
    } else {
        s->kind = fixed ? STEP_ADDRESS : STEP_HOST;
        s->port = port;
        s->tls = to->tls;
    }
    find_begin_or_wait(f);
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

slice s2s_server_name(slice domain, struct arena *tmp)
{
    return jid_is_address(domain) ? (slice){ 0 } : s2s_ascii(domain, tmp);
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
