#include "gate/c2s_negotiate.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/preauth.h"
#include "gate/c2s_external.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl.h"
#include "gate/c2s_stream.h"
#include "gate/stream_limits.h"
#include "home/node.h"
#include "io/conn.h"
#include "io/tls.h"
#include "session/link.h"
#include "session/session.h"
#include "xmpp/ns.h"

/* The header (RFC 6120 §4.7, §4.8). */

void negotiate_send_header(struct stream *s, slice to)
{
    char id[33];
    rand_hex(id, 16);
    xstream_open(&s->x, &(struct xstream_header){ .ns = NS_CLIENT,
                                                  .id = slice_of(id),
                                                  .from = stream_domain(s),
                                                  .version = SLICE("1.0"),
                                                  .lang = SLICE("en"),
                                                  .to = to.len > 0 ? to : (slice){ 0 } });
}

/* The features for an authenticated client; after binding, without those for binding. */
static void authed_features(struct stream *s, struct buf *b)
{
    if (s->x.state != STREAM_BOUND)
        buf_lit(b,
                "<bind xmlns='" NS_BIND "'/><session xmlns='" NS_SESSION "'><optional/></session>");
    if (!s->sm_enabled && setting_bool(&sm_enabled))
        buf_lit(b, "<sm xmlns='" NS_SM "'/>");
    FEATURES_EACH (f, stream_feature)
        buf_add(b, slice_of(f->stream_feature));
    EMIT(stream_features, b);
}

void negotiate_features(struct stream *s)
{
    struct buf b;
    struct xml_write x;
    bool clear_ok = !setting_bool(&c2s_tls_required);
    ensure(s->x.header_sent);
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open(&x, "stream:features", NULL);
    xml_content(&x);
    if (s->x.state >= STREAM_AUTHED) {
        authed_features(s, &b);
    } else {
        if (!s->x.secure && clear_ok && !stream_is_framed(s))
            buf_lit(&b, "<starttls xmlns='" NS_TLS "'/>");
        else if (!s->x.secure && !stream_is_framed(s))
            buf_lit(&b, "<starttls xmlns='" NS_TLS "'><required/></starttls>");
        if (s->x.secure || clear_ok)
            sasl_offer(s, &b);
        if (feature_one.preauth != NULL)
            feature_one.preauth->feature(&b, stream_domain(s), s->x.secure || clear_ok);
    }
    stream_limits_write(&x, s->x.reader.limits.unit_bytes, setting_int(&c2s_idle));
    xml_close(&x);
    xstream_write_buf(&s->x, &b);
}

/* The domain that the client asked for; E_NOTFOUND: not ours. */
static enum err choose_domain(struct stream *s, slice to)
{
    const struct node *n = worker_node(s->x.worker);
    slice domain;
    if (jid_prep_domain(to, loop_scratch(worker_loop(s->x.worker)), &domain) != OK)
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
    slice to = xstream_attr(&s->x, unit, SLICE("to")),
          version = xstream_attr(&s->x, unit, SLICE("version"));
    if (!xstream_is_header(&s->x, unit)) {
        xstream_fail(&s->x, XE_INVALID_NAMESPACE, SLICE("the root must be stream in " NS_STREAM));
    } else if (!slice_is(xml_stream_default_ns(&s->x.reader), NS_CLIENT)) {
        xstream_fail(&s->x, XE_INVALID_NAMESPACE,
                     SLICE("the default namespace must be jabber:client"));
    } else if (version.len < 2 || version.ptr[0] == '0' || version.ptr[1] != '.') {
        xstream_fail(&s->x, XE_UNSUPPORTED_VERSION, SLICE("this server speaks version 1.0"));
    } else if (to.len == 0) {
        xstream_fail(&s->x, XE_HOST_UNKNOWN, SLICE("the attribute to is missing"));
    } else if (s->x.state == STREAM_AUTHED_OPEN && choose_domain(s, to) == OK &&
               !slice_eq(stream_domain(s), jid_split(s->auth->bare).domain)) {
        xstream_fail(&s->x, XE_NOT_AUTHORIZED, SLICE("authenticated for another domain"));
    } else if (choose_domain(s, to) != OK) {
        xstream_fail(&s->x, XE_HOST_UNKNOWN, SLICE("this domain is not served here"));
    } else {
        return true;
    }
    return false;
}

/* The address that the client claims (XEP-0388 §2.1). It proves nothing. */
static void keep_from(struct stream *s, slice from)
{
    struct jid jid;
    if (s->x.state != STREAM_OPEN || from.len == 0 || from.len > JID_MAX ||
        jid_parse(&jid, from, loop_scratch(worker_loop(s->x.worker))) != OK)
        return;
    struct stream_auth *a = stream_auth_of(s);
    a->from = slice_dup(a->arena, jid_bare(&jid));
}

void negotiate_header(struct stream *s, slice unit)
{
    slice lang = xstream_attr(&s->x, unit, SLICE("xml:lang"));
    if (!stream_count_address(s)) {
        metric_add(&c2s_refused, 1);
        xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("too many connections from this address"));
        return;
    }
    s->x.secure = s->x.secure || (s->x.conn != NULL && conn_is_secure(s->x.conn));
    if (!header_fits(s, unit))
        return;
    if (lang.len < sizeof s->lang && !xml_needs_escape(lang))
        memcpy(s->lang, lang.ptr == NULL ? "" : lang.ptr, lang.len);
    slice from = xstream_attr(&s->x, unit, SLICE("from"));
    negotiate_send_header(s, from.len <= JID_MAX ? from : (slice){ 0 });
    keep_from(s, from);
    xstream_now(&s->x, STREAM_GOT_HEADER);
    if (stream_is_framed(s) && !s->x.secure && setting_bool(&c2s_tls_required)) {
        /* there is no STARTTLS here (RFC 7395 §3.1): nothing could follow */
        xstream_fail(&s->x, XE_POLICY_VIOLATION,
                     SLICE("TLS is required here (c2s.tls-required): connect by https or wss"));
        return;
    }
    negotiate_features(s);
}

/* STARTTLS (RFC 6120 §5). */

void negotiate_tls(struct stream *s)
{
    struct tls_ctx *tls = c2s_tls(stream_c2s(s));
    xstream_write(&s->x, SLICE("<proceed xmlns='" NS_TLS "'/>"));
    xstream_now(&s->x, STREAM_GOT_STARTTLS);
    xstream_restart(&s->x);
    conn_start_tls(s->x.conn, tls, stream_domain(s));
    external_ask(stream_c2s(s), s->x.conn, stream_domain(s));
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
    struct stream *s = map_get(link_streams(call->worker),
                               (slice){ (const char *)&call->stream, sizeof call->stream });
    ensure(worker_is_here(call->worker));
    if (s != NULL) {
        keep_note(s, note);
        xstream_write(&s->x, xml);
        xstream_go(&s->x);
    }
    mem_free(&call);
}

/* The feature that answers before authentication; NULL: nothing is possible. */
static const struct preauth *negotiate_preauth(const struct stream *s)
{
    const struct preauth *found = NULL;
    struct buf ignored;
    buf_init(&ignored, XML_PART_MAX);
    bool secure = s->x.secure || !setting_bool(&c2s_tls_required);
    if (feature_one.preauth != NULL &&
        feature_one.preauth->feature(&ignored, stream_domain(s), secure))
        found = feature_one.preauth;
    buf_fini(&ignored);
    return found;
}

void negotiate_early(struct stream *s, const struct xstream_unit *u)
{
    const struct preauth *preauth = negotiate_preauth(s);
    struct stanza *st;
    if (preauth == NULL || !stream_iq(s, u->text, &st)) {
        xstream_fail(&s->x, u->step.error, slice_of(u->step.text));
        return;
    }
    struct preauth_call *call = mem_new(struct preauth_call);
    *call = (struct preauth_call){ s->x.worker, s->x.id };
    xstream_wait(&s->x);
    const struct stream_auth *a = stream_auth_of(s);
    preauth->iq(&(struct preauth_request){ .worker = s->x.worker,
                                           .st = st,
                                           .domain = stream_domain(s),
                                           .address = slice_of(stream_address(s).text),
                                           .note = { a->note, a->note_len } },
                preauth_answer, call);
    stanza_unref(&st);
}
