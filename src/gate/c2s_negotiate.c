#include "gate/c2s_negotiate.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "gate/c2s_private.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl.h"
#include "gate/c2s_sasl2.h"
#include "home/node.h"
#include "im/feature.h"
#include "im/preauth.h"
#include "im/session.h"
#include "io/conn.h"
#include "io/tls.h"
#include "xmpp/ns.h"

/* The header (RFC 6120 §4.7, §4.8). */

static slice header_attr(const struct stream *s, slice unit, const char *name)
{
    const struct xml_work *w = s->worker->xml;
    for (unsigned i = 0; i < w->root.attr_count; i++)
        if (slice_is(xml_at(unit, w->attr[i].name), name))
            return xml_unescape_attr(xml_at(unit, w->attr[i].value), loop_scratch(s->worker->loop));
    return (slice){ 0 };
}

void negotiate_send_header(struct stream *s, slice from)
{
    char id[33];
    rand_hex(id, 16);
    s->way->open(s, slice_of(id), from);
    s->header_sent = true;
}

/* The features for an authenticated client; after binding, without those for binding. */
static void authed_features(struct stream *s, struct buf *b)
{
    if (s->state != STREAM_BOUND)
        buf_lit(b,
                "<bind xmlns='" NS_BIND "'/><session xmlns='" NS_SESSION "'><optional/></session>");
    if (!s->sm_enabled && setting_bool(&sm_enabled))
        buf_lit(b, "<sm xmlns='" NS_SM "'/>");
    FEATURES_EACH (f, name) {
        if (f->stream_feature != NULL)
            buf_add(b, slice_of(f->stream_feature));
        if (f->stream_features != NULL)
            f->stream_features(b);
    }
}

void negotiate_features(struct stream *s)
{
    struct buf b;
    bool clear_ok = !setting_bool(&c2s_tls_required);
    buf_init(&b, 65536);
    buf_lit(&b, "<stream:features>");
    if (s->state >= STREAM_AUTHED) {
        authed_features(s, &b);
    } else {
        if (!s->secure && clear_ok && !stream_is_framed(s))
            buf_lit(&b, "<starttls xmlns='" NS_TLS "'/>");
        else if (!s->secure && !stream_is_framed(s))
            buf_lit(&b, "<starttls xmlns='" NS_TLS "'><required/></starttls>");
        if (s->secure || clear_ok)
            sasl_offer(s, &b);
        if (preauth_hook != NULL)
            preauth_hook->feature(&b, s->secure || clear_ok);
    }
    buf_lit(&b, "</stream:features>");
    stream_write(s, buf_slice(&b));
    buf_fini(&b);
}

/* The domain that the client asked for; E_NOTFOUND: not ours. */
static enum err choose_domain(struct stream *s, slice to)
{
    const struct node *n = s->worker->node;
    slice domain;
    if (jid_prep_domain(to, loop_scratch(s->worker->loop), &domain) != OK)
        return E_NOTFOUND;
    for (unsigned i = 0; i < n->domain_count; i++)
        if (slice_eq(n->domains[i], domain)) {
            s->domain = (uint8_t)i;
            return OK;
        }
    return E_NOTFOUND;
}

static bool header_fits(struct stream *s, slice unit)
{
    const struct xml_root *root = &s->worker->xml->root;
    slice to = header_attr(s, unit, "to"), version = header_attr(s, unit, "version");
    if (!slice_is(xml_ns(&s->reader, unit, root->ns_stream, root->ns), NS_STREAM) ||
        !slice_is(xml_at(unit, root->name), "stream")) {
        stream_fail(s, XE_INVALID_NAMESPACE, SLICE("the root must be stream in " NS_STREAM));
    } else if (!slice_is(xml_stream_default_ns(&s->reader), NS_CLIENT)) {
        stream_fail(s, XE_INVALID_NAMESPACE, SLICE("the default namespace must be jabber:client"));
    } else if (version.len < 2 || version.ptr[0] == '0' || version.ptr[1] != '.') {
        stream_fail(s, XE_UNSUPPORTED_VERSION, SLICE("this server speaks version 1.0"));
    } else if (to.len == 0) {
        stream_fail(s, XE_HOST_UNKNOWN, SLICE("the attribute to is missing"));
    } else if (s->state == STREAM_AUTHED_OPEN && choose_domain(s, to) == OK &&
               !slice_eq(stream_domain(s), jid_split(s->auth->bare).domain)) {
        stream_fail(s, XE_NOT_AUTHORIZED, SLICE("authenticated for another domain"));
    } else if (choose_domain(s, to) != OK) {
        stream_fail(s, XE_HOST_UNKNOWN, SLICE("this domain is not served here"));
    } else {
        return true;
    }
    return false;
}

/* The address that the client claims (XEP-0388 §2.1). It proves nothing. */
static void keep_from(struct stream *s, slice from)
{
    struct jid jid;
    if (s->state != STREAM_OPEN || from.len == 0 || from.len > JID_MAX ||
        jid_parse(&jid, from, loop_scratch(s->worker->loop)) != OK)
        return;
    struct stream_auth *a = stream_auth_of(s);
    a->from = slice_dup(a->arena, jid_bare(&jid));
}

void negotiate_header(struct stream *s, slice unit)
{
    slice lang = header_attr(s, unit, "xml:lang");
    if (!stream_count_address(s)) {
        metric_add(&c2s_refused, 1);
        stream_fail(s, XE_POLICY_VIOLATION, SLICE("too many connections from this address"));
        return;
    }
    s->secure = s->secure || (s->conn != NULL && conn_is_secure(s->conn));
    if (!header_fits(s, unit))
        return;
    if (lang.len < sizeof s->lang && !xml_needs_escape(lang))
        memcpy(s->lang, lang.ptr == NULL ? "" : lang.ptr, lang.len);
    slice from = header_attr(s, unit, "from");
    negotiate_send_header(s, from.len <= JID_MAX ? from : (slice){ 0 });
    keep_from(s, from);
    stream_now(s, STREAM_GOT_HEADER);
    if (stream_is_framed(s) && !s->secure && setting_bool(&c2s_tls_required)) {
        /* there is no STARTTLS here (RFC 7395 §3.1): nothing could follow */
        stream_fail(s, XE_POLICY_VIOLATION,
                    SLICE("TLS is required here (c2s.tls-required): connect by https or wss"));
        return;
    }
    negotiate_features(s);
}

void negotiate_secured(struct stream *s)
{
    if (s->state == STREAM_CLOSED)
        return;
    s->secure = true;
    stream_now(s, STREAM_SECURED);
}

/* STARTTLS (RFC 6120 §5). */

static void start_tls(struct stream *s)
{
    struct c2s *c = stream_c2s(s);
    stream_write(s, SLICE("<proceed xmlns='" NS_TLS "'/>"));
    pthread_mutex_lock(&c->lock);
    struct tls_ctx *tls = tls_ctx_ref(c->tls);
    pthread_mutex_unlock(&c->lock);
    stream_now(s, STREAM_GOT_STARTTLS);
    s->header_sent = false;
    xml_reader_restart(&s->reader);
    conn_start_tls(s->conn, tls, stream_domain(s));
    tls_ctx_unref(&tls);
}

/* Registration before authentication (XEP-0077) is a feature's; the answer may come when the stream
 * is gone or has moved, so it is found again by its id. */

struct preauth_call {
    struct worker *worker;
    uint64_t stream;
};

static void keep_note(struct stream *s, slice note)
{
    struct stream_auth *a = stream_auth_of(s);
    if (note.ptr == NULL || note.len > sizeof a->note)
        return;
    memcpy(a->note, note.ptr, note.len);
    a->note_len = (uint8_t)note.len;
}

static void preauth_answer(void *arg, slice xml, slice note)
{
    struct preauth_call *call = arg;
    struct stream *s = map_get(&call->worker->streams,
                               (slice){ (const char *)&call->stream, sizeof call->stream });
    if (s != NULL) {
        keep_note(s, note);
        stream_write(s, xml);
        stream_go(s);
    }
    mem_free(&call);
}

bool negotiate_iq(struct stream *s, slice unit, struct stanza **out)
{
    struct stanza_source src = { .unit = unit, .work = s->worker->xml, .reader = &s->reader };
    struct stanza *st;
    if (stanza_read(&st, &src, loop_scratch(s->worker->loop)) != OK)
        return false;
    if (st->kind == STANZA_IQ && (st->type == TYPE_GET || st->type == TYPE_SET)) {
        *out = st;
        return true;
    }
    stanza_unref(&st);
    return false;
}

static void preauth_unit(struct stream *s, slice unit, const struct stream_step *step)
{
    struct buf ignored;
    struct stanza *st;
    buf_init(&ignored, 4096);
    bool open = preauth_hook != NULL &&
                preauth_hook->feature(&ignored, s->secure || !setting_bool(&c2s_tls_required));
    buf_fini(&ignored);
    if (!open || !negotiate_iq(s, unit, &st)) {
        stream_fail(s, step->error, slice_of(step->text));
        return;
    }
    struct preauth_call *call = mem_new(struct preauth_call);
    *call = (struct preauth_call){ s->worker, s->id };
    stream_wait(s);
    const struct stream_auth *a = stream_auth_of(s);
    preauth_hook->iq(&(struct preauth_request){ .worker = s->worker,
                                                .st = st,
                                                .domain = stream_domain(s),
                                                .address = sasl_peer(s),
                                                .note = { a->note, a->note_len } },
                     preauth_answer, call);
    stanza_unref(&st);
}

void negotiate_unit(struct stream *s, const struct elem *e, slice unit,
                    const struct stream_step *step)
{
    switch (step->action) {
    case STREAM_DO_TLS:
        start_tls(s);
        break;
    case STREAM_DO_NO_TLS:
        stream_close(s, SLICE("<failure xmlns='" NS_TLS "'/>"));
        break;
    case STREAM_DO_SASL:
        sasl_unit(s, e);
        break;
    case STREAM_DO_SASL2:
        sasl2_unit(s, e);
        break;
    case STREAM_DO_EARLY:
        preauth_unit(s, unit, step);
        break;
    default:
        ensure_debug(false);
        break;
    }
}

void negotiate_cancel(struct stream *s)
{
    if (s->auth != NULL)
        sasl_cancel(s);
}
