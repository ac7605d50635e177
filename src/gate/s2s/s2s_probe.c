#include "gate/s2s/s2s_probe.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/s2s_words.h"
#include "io/tls.h"
#include "io/tls_cert.h"
#include "xmpp/dialback.h"
#include "xmpp/ns.h"
#include <stdio.h>

enum { WHY_BYTES = 256, CHAIN_TOLD_MAX = 8 };

struct s2s_probe {
    struct xstream x; /* first: it is the owner of the connection */
    struct s2s_gate *gate;
    const struct s2s_probe_ops *ops;
    void *arg; /* NULL: nobody waits for it any more */
    struct s2s_probe_want want;
    enum s2s_stage stage; /* in which it ends */
    bool direct, told_tls;
    char *id;
    char why[WHY_BYTES];
    char text[]; /* of `want` */
};

static struct s2s_probe *probe_of(const struct xstream *x)
{
    return (struct s2s_probe *)(uintptr_t)x;
}

static struct arena *probe_scratch(const struct s2s_probe *p)
{
    return loop_scratch(worker_loop(p->x.worker));
}

/* The first reason counts. */
__attribute__((format(printf, 3, 4))) static void
probe_blame(struct s2s_probe *p, enum s2s_stage stage, const char *fmt, ...)
{
    va_list ap;
    if (p->why[0] != '\0')
        return;
    va_start(ap, fmt);
    vsnprintf(p->why, sizeof p->why, fmt, ap);
    va_end(ap);
    p->why[utf8_valid_len(slice_of(p->why))] = '\0';
    p->stage = stage;
}

static void probe_tell(struct s2s_probe *p, enum s2s_stage stage, bool fine, const char *text)
{
    if (p->arg != NULL)
        p->ops->told(p->arg, stage, fine, slice_of(text));
}

static void probe_greet(struct xstream *x)
{
    const struct s2s_probe *p = probe_of(x);
    xstream_open(x, &(struct xstream_header){ .ns = p->want.ns,
                                              .from = p->want.from,
                                              .to = p->want.to,
                                              .version = SLICE("1.0"),
                                              .dialback = p->want.from.len > 0 });
}

/* The stage of what is going on. */
static enum s2s_stage probe_stage(const struct s2s_probe *p)
{
    return s2s_stage_of(&p->x, p->direct, false);
}

static void probe_failed(struct xstream *x, enum stream_error e, slice text)
{
    struct s2s_probe *p = probe_of(x);
    probe_blame(p, s2s_stage_of(x, p->direct, e == XE_CONNECTION_TIMEOUT), "%s: %.*s",
                e == XE_CONNECTION_TIMEOUT ? "no answer in time" : stream_error_name(e),
                SLICE_ARG(text));
}

static void probe_heard(struct xstream *x, const struct elem *error)
{
    struct s2s_probe *p = probe_of(x);
    struct elem condition;
    const char *said = s2s_said(error, &condition, probe_scratch(p));
    if (said == NULL)
        return;
    if (slice_is(condition.name, "see-other-host") && p->arg != NULL && p->ops->elsewhere != NULL)
        p->ops->elsewhere(p->arg, elem_text(&condition, probe_scratch(p)));
    bool server = strcmp(p->want.ns, NS_SERVER) == 0;
    probe_blame(p, server ? s2s_stage_said(probe_stage(p), condition.name) : probe_stage(p), "%s",
                said);
}

static void probe_gone(struct xstream *x, enum xstream_end why)
{
    struct s2s_probe *p = probe_of(x);
    if (why == XSTREAM_BROKEN)
        probe_blame(p, probe_stage(p), "the connection failed: %s", conn_error(x->conn));
    else
        probe_blame(p, probe_stage(p), "the server has ended the stream without a reason");
}

static void probe_closing(struct xstream *x)
{
    struct s2s_probe *p = probe_of(x);
    void *arg = p->arg;
    p->arg = NULL;
    if (arg != NULL)
        p->ops->ended(arg, p->stage != S2S_AT_NONE ? p->stage : probe_stage(p), slice_of(p->why));
}

/* TLS and certificates. */

static const char *probe_day(struct arena *tmp, int64_t s)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, (uint64_t)(s < 0 ? 0 : s) * 1000000);
    return arena_printf(tmp, "%.10s", stamp);
}

static void probe_tell_chain(struct s2s_probe *p, const slice *chain, size_t count)
{
    struct arena *tmp = probe_scratch(p);
    struct tls_cert_facts facts;
    for (size_t i = 0; i < count && i < CHAIN_TOLD_MAX; i++)
        if (tls_cert_of_der(&facts, chain[i], tmp) == OK)
            probe_tell(p, S2S_AT_CERTIFICATE, true,
                       arena_printf(tmp, "%zu: %s, issued by %s, valid until %s", i, facts.subject,
                                    facts.issuer, probe_day(tmp, facts.not_after)));
}

/* The name in a certificate that fits a domain; NULL: none. */
static const struct tls_name *probe_name(struct s2s_probe *p, slice certificate, slice domain)
{
    struct arena *tmp = probe_scratch(p);
    struct tls_names names;
    const struct tls_wanted wanted = { .domain = s2s_ascii(domain, tmp),
                                       .unicode = domain,
                                       .service = slice_of(p->want.alpn),
                                       .xmpp = true,
                                       .wildcards = true };
    if (tls_names_read(&names, certificate, tmp) != OK)
        return NULL;
    return tls_names_find(&names, &wanted);
}

/* Which one of ours it was shown, if it asked. */
static void probe_tell_own(struct s2s_probe *p)
{
    struct arena *tmp = probe_scratch(p);
    struct tls_cert_facts facts;
    slice own = conn_tls_own(p->x.conn, tmp);
    if (own.len == 0 || tls_cert_of_der(&facts, own, tmp) != OK)
        return;
    bool named = probe_name(p, own, p->want.from) != NULL;
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    bool early = now<facts.not_before, late = now> facts.not_after;
    probe_tell(p, S2S_AT_TLS, named && !early && !late,
               arena_printf(tmp, "our certificate: %s, issued by %s, %s %s; it %s %.*s",
                            facts.subject, facts.issuer,
                            early  ? "not valid before"
                            : late ? "expired on"
                                   : "valid until",
                            probe_day(tmp, early ? facts.not_before : facts.not_after),
                            named ? "names" : "does not name", SLICE_ARG(p->want.from)));
}

static bool probe_verdict(struct s2s_probe *p, const struct tls_name *name, struct why *why)
{
    const struct tls_peer *peer = conn_tls_peer(p->x.conn);
    struct buf text;
    if (p->want.from.len > 0)
        return s2s_certificate_is_right(p->x.conn, p->want.name, probe_scratch(p), why);
    why_set(why, "it does not name %.*s", SLICE_ARG(p->want.name));
    if (peer != NULL && peer->verdict == TLS_VERIFIED)
        return name != NULL;
    buf_init(&text, XML_PART_MAX);
    if (peer != NULL)
        tls_peer_explain(peer, &text);
    slice words = buf_fit(&text);
    why_set(why, "%.*s", SLICE_ARG(words));
    buf_fini(&text);
    return false;
}

/* Where the stream ends if the certificate is refused, S2S_AT_NONE: nowhere; or S2S_AT_TLS: it ends
 * in any case. A server is judged as for stanzas. */
static enum s2s_stage probe_flaw(struct s2s_probe *p, struct why *why)
{
    if (p->want.from.len > 0 && p->want.need_right)
        return s2s_server_flaw(p->x.conn, p->want.name, probe_scratch(p), why);
    return p->want.need_right ? S2S_AT_CERTIFICATE : S2S_AT_NONE;
}

/* false: the stream has ended. */
static bool probe_looks_at_tls(struct s2s_probe *p)
{
    static const char *const kinds[] = { "DNS name", "SRV name", "XMPP address" };
    struct arena *tmp = probe_scratch(p);
    struct why why = { .text = "" };
    slice *chain;
    p->told_tls = true;
    probe_tell(
        p, S2S_AT_TLS, true,
        arena_printf(tmp, "%s, %s", conn_tls_version(p->x.conn), conn_tls_cipher(p->x.conn)));
    enum s2s_stage flaw = probe_flaw(p, &why);
    if (flaw == S2S_AT_TLS) {
        probe_blame(p, flaw, "%s", why.text);
        xstream_close(&p->x, (slice){ 0 });
        return false;
    }
    probe_tell_own(p);
    size_t count = conn_tls_chain(p->x.conn, tmp, &chain);
    probe_tell_chain(p, chain, count);
    const struct tls_name *name = count > 0 ? probe_name(p, chain[0], p->want.name) : NULL;
    if (probe_verdict(p, name, &why)) {
        probe_tell(p, S2S_AT_CERTIFICATE, true,
                   name == NULL ? "it is accepted"
                                : arena_printf(tmp, "it names %.*s (%s)", SLICE_ARG(name->text),
                                               kinds[name->kind]));
        return true;
    }
    if (flaw == S2S_AT_NONE) { /* s2s.verify-certificates, or a demand, is off */
        probe_tell(p, S2S_AT_CERTIFICATE, true,
                   arena_printf(tmp, "it proves nothing, and need not: %s", why.text));
        return true;
    }
    probe_blame(p, flaw, "it is refused: %s", why.text);
    xstream_close(&p->x, (slice){ 0 });
    return false;
}

static void probe_start_tls(struct s2s_probe *p)
{
    slice from = p->want.anonymous ? (slice){ 0 } : p->want.from;
    s2s_start_tls(&p->x, p->gate, p->want.alpn, from, p->want.name);
}

/* Elements. */

static void probe_header(struct xstream *x, slice unit)
{
    struct s2s_probe *p = probe_of(x);
    if (!xstream_is_header(x, unit) || !slice_is(xml_stream_default_ns(&x->reader), p->want.ns)) {
        xstream_fail(x, XE_INVALID_NAMESPACE, SLICE("it is no XMPP server for this purpose"));
        return;
    }
    if (x->secure && !p->told_tls && !probe_looks_at_tls(p))
        return;
    s2s_keep_id(&p->id, x, unit);
    xstream_now(x, STREAM_GOT_HEADER);
}

static void probe_features(struct s2s_probe *p, const struct elem *e)
{
    struct elem child;
    xstream_now(&p->x, STREAM_GOT_FEATURES);
    if (!p->x.secure && elem_child(e, "starttls", NS_TLS, &child)) {
        xstream_now(&p->x, STREAM_ASK_TLS);
        xstream_write(&p->x, SLICE("<starttls xmlns='" NS_TLS "'/>"));
        return;
    }
    if (!p->x.secure && p->want.plain == NULL) {
        probe_blame(p, S2S_AT_TLS, "it offers no TLS");
        xstream_close(&p->x, (slice){ 0 });
        return;
    }
    if (!p->x.secure && !p->told_tls) {
        p->told_tls = true;
        probe_tell(p, S2S_AT_TLS, true,
                   arena_printf(probe_scratch(p), "not encrypted: it offers no TLS, and %s",
                                p->want.plain));
    }
    if (p->arg != NULL)
        p->ops->features(p->arg, e, p->x.state == STREAM_AUTHED);
}

static void probe_element(struct xstream *x, const struct xstream_unit *u)
{
    struct s2s_probe *p = probe_of(x);
    switch (u->step.action) {
    case STREAM_DO_CHOOSE:
        probe_features(p, &u->elem);
        break;
    case STREAM_DO_TLS:
        xstream_now(x, STREAM_GOT_PROCEED);
        probe_start_tls(p);
        break;
    case STREAM_DO_SASL:
        if (p->arg != NULL)
            p->ops->sasl(p->arg, &u->elem);
        break;
    case STREAM_DO_ANSWER:
        if (p->arg != NULL)
            p->ops->answer(p->arg, &u->elem);
        break;
    default:
        ensure_debug(false);
        break;
    }
}

static void probe_stanza(struct xstream *x, slice unit)
{
    struct s2s_probe *p = probe_of(x);
    struct elem e;
    if (p->arg != NULL && xstream_elem(x, unit, &e))
        p->ops->answer(p->arg, &e);
}

/* Life. */

static uint64_t probe_due_ms(const struct xstream *x) { return xstream_left_ms(x, PROBE_MS); }

static void probe_idle(struct xstream *x)
{
    xstream_fail(x, XE_CONNECTION_TIMEOUT, SLICE("the test takes too long"));
}

static void probe_free(struct xstream *x)
{
    struct s2s_probe *p = probe_of(x);
    ensure(p->arg == NULL);
    xstream_fini(x);
    mem_free(&p->id);
    mem_free(&p);
}

static const struct xstream_ops probe_ops = { .late = "the test takes too long",
                                              .greet = probe_greet,
                                              .header = probe_header,
                                              .element = probe_element,
                                              .stanza = probe_stanza,
                                              .heard = probe_heard,
                                              .gone = probe_gone,
                                              .closing = probe_closing,
                                              .failed = probe_failed,
                                              .due_ms = probe_due_ms,
                                              .idle = probe_idle,
                                              .free = probe_free };

struct s2s_probe *s2s_probe_start(struct s2s_gate *g, struct worker *w, struct conn *c,
                                  const struct s2s_probe_want *want,
                                  const struct s2s_probe_ops *ops, void *arg)
{
    size_t len = want->from.len + want->to.len + want->name.len;
    struct s2s_probe *p = mem_zalloc(sizeof *p + len);
    p->gate = g;
    p->ops = ops;
    p->arg = arg;
    p->direct = want->tls;
    p->want = *want;
    char *at = p->text;
    p->want.from = want->from.len > 0 ? slice_lay(&at, want->from) : (slice){ 0 };
    p->want.to = slice_lay(&at, want->to);
    p->want.name = slice_lay(&at, want->name);
    p->x.ops = &probe_ops;
    p->x.role = STREAM_TO_SERVER;
    s2s_begin(&p->x, c, w, &s2s_worker(g, w)->probes);
    if (want->tls)
        probe_start_tls(p);
    conn_start(c, &xstream_conn_ops, p);
    probe_greet(&p->x);
    return p;
}

void s2s_probe_end(struct s2s_probe **pp)
{
    struct s2s_probe *p = *pp;
    *pp = NULL;
    if (p == NULL)
        return;
    p->arg = NULL;
    xstream_close(&p->x, (slice){ 0 });
}

struct xstream *s2s_probe_stream(struct s2s_probe *p) { return &p->x; }
void s2s_probe_write(struct s2s_probe *p, slice xml) { xstream_write(&p->x, xml); }
void s2s_probe_now(struct s2s_probe *p, enum stream_input input) { xstream_now(&p->x, input); }
void s2s_probe_restart(struct s2s_probe *p) { xstream_restart(&p->x); }
slice s2s_probe_id(const struct s2s_probe *p) { return slice_of(p->id); }
bool s2s_probe_is_secure(const struct s2s_probe *p) { return p->x.secure; }
enum s2s_stage s2s_probe_stage(const struct s2s_probe *p)
{
    return s2s_stage_of(&p->x, p->direct, true);
}
