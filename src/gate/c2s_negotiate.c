/* Stream negotiation before a session: headers, features, STARTTLS, SASL (RFC 6120 §4-§6). */
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "gate/c2s_private.h"
#include "im/feature.h"
#include "im/node.h"
#include "im/preauth.h"
#include "xmpp/ns.h"
#include <stdio.h>

enum { SASL_BYTES_MAX = 16384, REFUSALS_MAX = 12 /* mechanisms that were tried and not begun */ };

static struct stream_auth *auth_of(struct stream *s)
{
    if (s->auth == NULL) {
        s->auth = mem_new(struct stream_auth);
        s->auth->arena = arena_create(1024);
    }
    return s->auth;
}

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

/* What this connection can be bound to (RFC 5929, RFC 9266), if the operator wants it. */
static struct sasl_binding binding_of(struct stream *s)
{
    struct sasl_binding b = { 0 };
    if (!setting_bool(&c2s_channel_binding) || s->conn == NULL)
        return b;
    if (conn_channel_binding(s->conn, CONN_TLS_EXPORTER, (char *)b.exporter, &b.exporter_len) != OK)
        b.exporter_len = 0;
    if (conn_channel_binding(s->conn, CONN_TLS_SERVER_END_POINT, (char *)b.end_point,
                             &b.end_point_len) != OK)
        b.end_point_len = 0;
    b.plus_offered = b.exporter_len > 0 || b.end_point_len > 0;
    return b;
}

static void offer_mechanisms(struct stream *s, struct buf *b)
{
    struct sasl_binding binding = binding_of(s);
    bool exporter = binding.exporter_len > 0, end_point = binding.end_point_len > 0;
    buf_lit(b, "<mechanisms xmlns='" NS_SASL "'>");
    for (int m = 0; m < SASL_MECH_COUNT; m++)
        if (!sasl_mech_is_plus((enum sasl_mech)m) || exporter || end_point)
            buf_printf(b, "<mechanism>%s</mechanism>", sasl_mech_name((enum sasl_mech)m));
    buf_lit(b, "</mechanisms>");
    if (!exporter && !end_point)
        return;
    buf_lit(b, "<sasl-channel-binding xmlns='" NS_SASL_CB "'>"); /* XEP-0440 */
    if (exporter)
        buf_lit(b, "<channel-binding type='tls-exporter'/>");
    if (end_point)
        buf_lit(b, "<channel-binding type='tls-server-end-point'/>");
    buf_lit(b, "</sasl-channel-binding>");
}

static void send_features(struct stream *s)
{
    struct buf b;
    bool clear_ok = !setting_bool(&c2s_tls_required);
    buf_init(&b, 65536);
    buf_lit(&b, "<stream:features>");
    if (s->state == STREAM_AUTHED) {
        for (const struct feature *const *f = features_all(); *f != NULL; f++) {
            if ((*f)->stream_feature != NULL)
                buf_add(&b, slice_of((*f)->stream_feature));
            if ((*f)->stream_features != NULL)
                (*f)->stream_features(&b);
        }
    } else {
        if (!s->secure && clear_ok && !s->way->framed)
            buf_lit(&b, "<starttls xmlns='" NS_TLS "'/>");
        else if (!s->secure && !s->way->framed)
            buf_lit(&b, "<starttls xmlns='" NS_TLS "'><required/></starttls>");
        if (s->secure || clear_ok)
            offer_mechanisms(s, &b);
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

void negotiate_header(struct stream *s, slice unit)
{
    slice lang = header_attr(s, unit, "xml:lang");
    if (s->key_len == 0 && !stream_count_address(s)) {
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
    s->state = s->state == STREAM_AUTHED_OPEN ? STREAM_AUTHED : STREAM_FEATURES;
    send_features(s);
}

void negotiate_secured(struct stream *s)
{
    if (s->state == STREAM_CLOSED)
        return;
    s->secure = true;
    s->state = STREAM_OPEN;
}

/* STARTTLS (RFC 6120 §5). */

static void start_tls(struct stream *s)
{
    if (s->secure) {
        stream_close(s, SLICE("<failure xmlns='" NS_TLS "'/>"));
        return;
    }
    struct c2s *c = stream_c2s(s);
    stream_write(s, SLICE("<proceed xmlns='" NS_TLS "'/>"));
    pthread_mutex_lock(&c->lock);
    struct tls_ctx *tls = tls_ctx_ref(c->tls);
    pthread_mutex_unlock(&c->lock);
    s->state = STREAM_TLS;
    s->header_sent = false;
    xml_reader_restart(&s->reader);
    conn_start_tls(s->conn, tls);
    tls_ctx_unref(&tls);
}

/* SASL (RFC 6120 §6). */

static const struct sockaddr *peer_of(const struct stream *s)
{
    return (const struct sockaddr *)(const void *)&stream_peer(s)->peer;
}

static slice account_jid(struct stream *s, struct arena *arena)
{
    slice user = sasl_user(s->auth->sasl), domain = stream_domain(s);
    return slice_of(arena_printf(arena, "%.*s@%.*s", SLICE_ARG(user), SLICE_ARG(domain)));
}

static void sasl_failed(struct stream *s, enum sasl_failure f)
{
    struct stream_auth *a = s->auth;
    char text[160];
    struct buf b;
    uint64_t now = loop_now_us(s->worker->loop);
    /* Only guesses count: clients that try bindings we do not know go on to the next mechanism. */
    bool guess = a->sasl != NULL && f == SASL_NOT_AUTHORIZED && a->looked_up;
    a->failures += guess;
    a->refusals += !guess;
    if (guess) {
        slice jid = sasl_user(a->sasl).len > 0 ? account_jid(s, loop_scratch(s->worker->loop))
                                               : (slice){ 0 };
        throttle_fail(stream_c2s(s)->throttle, peer_of(s), jid, now);
        auth_count(a->mech, AUTH_FAILED);
        log_info(&log_c2s, LOG_EV("auth.fail"), LOG_S("jid", jid),
                 LOG_C("mech", sasl_mech_name(a->mech)), LOG_C("peer", stream_peer(s)->peer_text));
    }
    sasl_destroy(&a->sasl);
    snprintf(text, sizeof text, "<failure xmlns='" NS_SASL "'><%s/></failure>",
             sasl_failure_name(f));
    buf_init(&b, 1024);
    buf_add(&b, slice_of(text));
    stream_write(s, buf_slice(&b));
    buf_fini(&b);
    if (a->failures >= setting_int(&c2s_auth_attempts) || a->refusals >= REFUSALS_MAX)
        stream_fail(s, XE_POLICY_VIOLATION, SLICE("too many failed logins"));
}

static void sasl_say(struct stream *s, const char *element)
{
    struct buf b;
    slice out = sasl_out(s->auth->sasl);
    buf_init(&b, SASL_BYTES_MAX * 2);
    buf_printf(&b, "<%s xmlns='" NS_SASL "'>", element);
    base64_encode(&b, out);
    buf_printf(&b, "</%s>", element);
    stream_write(s, buf_slice(&b));
    buf_fini(&b);
}

static void sasl_succeeded(struct stream *s)
{
    struct stream_auth *a = s->auth;
    a->bare = account_jid(s, a->arena);
    throttle_ok(stream_c2s(s)->throttle, a->bare);
    auth_count(a->mech, AUTH_OK);
    if (sasl_out(a->sasl).len > 0)
        sasl_say(s, "success");
    else
        stream_write(s, SLICE("<success xmlns='" NS_SASL "'/>"));
    sasl_destroy(&a->sasl);
    s->state = STREAM_AUTHED_OPEN;
    s->header_sent = false;
    xml_reader_restart(&s->reader);
    stream_limits(s);
    log_debug(&log_c2s, LOG_EV("auth.ok"), LOG_S("jid", a->bare),
              LOG_C("mech", sasl_mech_name(a->mech)), LOG_C("peer", stream_peer(s)->peer_text));
    stream_migrate(s);
}

static void sasl_do(struct stream *s, enum sasl_step step);

/* The answer to a look-up; the stream was waiting, so nothing has happened to it since. */
static void looked_up(void *arg, enum err e, const struct credentials *c)
{
    struct stream *s = arg;
    struct stream_auth *a = s->auth;
    enum sasl_step step;
    a->op = NULL;
    a->looked_up = true;
    if (e == E_AUTH) {
        step = sasl_verdict(a->sasl, SASL_NOT_AUTHORIZED, false);
    } else if (e != OK) {
        step = sasl_verdict(a->sasl, SASL_TEMPORARY_AUTH_FAILURE, false);
    } else {
        a->account = c->account;
        a->disabled = c->disabled;
        a->generation = c->generation;
        step = a->mech == SASL_PLAIN ? sasl_verdict(a->sasl, SASL_NOT_AUTHORIZED, true)
                                     : sasl_keys(a->sasl, &c->keys);
    }
    stream_go(s);
    sasl_do(s, step);
}

static void look_up(struct stream *s, enum sasl_step step)
{
    struct stream_auth *a = s->auth;
    struct worker *w = s->worker;
    slice jid = account_jid(s, loop_scratch(w->loop));
    if (throttle_check(stream_c2s(s)->throttle, peer_of(s), jid, loop_now_us(w->loop)) != OK) {
        sasl_do(s, sasl_verdict(a->sasl, SASL_TEMPORARY_AUTH_FAILURE, false));
        return;
    }
    stream_wait(s);
    if (step == SASL_NEED_KEYS)
        a->op = credentials_get(&w->auth, jid, sasl_mech_hash(a->mech), looked_up, s);
    else
        a->op = credentials_verify(&w->auth, jid, sasl_password(a->sasl), looked_up, s);
}

static void sasl_do(struct stream *s, enum sasl_step step)
{
    switch (step) {
    case SASL_SEND:
        sasl_say(s, "challenge");
        break;
    case SASL_NEED_KEYS:
    case SASL_CHECK_PASSWORD:
        look_up(s, step);
        break;
    case SASL_SUCCESS:
        if (s->auth->disabled) /* told only to who knows the password */
            sasl_failed(s, SASL_ACCOUNT_DISABLED);
        else
            sasl_succeeded(s);
        break;
    case SASL_FAIL:
        sasl_failed(s, sasl_why(s->auth->sasl));
        break;
    }
}

static void sasl_message(struct stream *s, const struct elem *e)
{
    struct arena *tmp = loop_scratch(s->worker->loop);
    slice text = elem_text(e, tmp);
    struct buf b;
    buf_init(&b, SASL_BYTES_MAX);
    if (slice_is(text, "=")) { /* RFC 6120 §6.4.2: present and empty */
        sasl_do(s, sasl_feed(s->auth->sasl, true, SLICE("")));
    } else if (base64_decode(&b, text) != OK) {
        sasl_failed(s, SASL_INCORRECT_ENCODING);
    } else {
        /* <auth/> without text has no initial response; <response/> without text is an empty one */
        bool present = text.len > 0 || elem_is(e, "response", NS_SASL);
        sasl_do(s, sasl_feed(s->auth->sasl, present, buf_slice(&b)));
    }
    mem_wipe(b.ptr, b.cap);
    buf_fini(&b);
}

static void sasl_begin(struct stream *s, const struct elem *e)
{
    struct stream_auth *a = auth_of(s);
    char nonce[37];
    if (!s->secure && setting_bool(&c2s_tls_required)) {
        sasl_failed(s, SASL_ENCRYPTION_REQUIRED);
        return;
    }
    if (a->sasl != NULL) {
        sasl_failed(s, SASL_MALFORMED_REQUEST);
        return;
    }
    if (throttle_check(stream_c2s(s)->throttle, peer_of(s), (slice){ 0 },
                       loop_now_us(s->worker->loop)) != OK) {
        sasl_failed(s, SASL_TEMPORARY_AUTH_FAILURE);
        return;
    }
    struct sasl_binding binding = binding_of(s);
    slice name = elem_attr(e, "mechanism", loop_scratch(s->worker->loop));
    if (sasl_mech_find(name, &a->mech) != OK ||
        (sasl_mech_is_plus(a->mech) && !binding.plus_offered)) {
        sasl_failed(s, SASL_INVALID_MECHANISM);
        return;
    }
    a->looked_up = false;
    rand_hex(nonce, 18);
    a->sasl = sasl_create(a->mech, &binding, stream_domain(s), slice_of(nonce));
    sasl_message(s, e);
}

static void sasl_element(struct stream *s, const struct elem *e)
{
    if (slice_is(e->name, "auth")) {
        sasl_begin(s, e);
    } else if (slice_is(e->name, "abort") && s->auth != NULL && s->auth->sasl != NULL) {
        sasl_failed(s, SASL_ABORTED);
    } else if (slice_is(e->name, "response") && s->auth != NULL && s->auth->sasl != NULL) {
        sasl_message(s, e);
    } else {
        auth_of(s);
        sasl_failed(s, SASL_MALFORMED_REQUEST);
    }
}

/* Registration before authentication (XEP-0077) is a feature's; the answer may come when the stream
 * is gone or has moved, so it is found again by its id. */

struct preauth_call {
    struct worker *worker;
    uint64_t stream;
};

static void preauth_answer(void *arg, slice xml)
{
    struct preauth_call *call = arg;
    struct stream *s = map_get(&call->worker->streams,
                               (slice){ (const char *)&call->stream, sizeof call->stream });
    if (s != NULL) {
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

static void preauth_unit(struct stream *s, slice unit)
{
    struct buf ignored;
    struct stanza *st;
    buf_init(&ignored, 4096);
    bool open = preauth_hook != NULL &&
                preauth_hook->feature(&ignored, s->secure || !setting_bool(&c2s_tls_required));
    buf_fini(&ignored);
    if (!open || !negotiate_iq(s, unit, &st)) { /* RFC 6120 §4.9.3.12 */
        stream_fail(s, XE_NOT_AUTHORIZED, SLICE("log in first"));
        return;
    }
    struct preauth_call *call = mem_new(struct preauth_call);
    *call = (struct preauth_call){ s->worker, s->id };
    stream_wait(s);
    preauth_hook->iq(s->worker, st, stream_domain(s), slice_of(stream_peer(s)->peer_text),
                     preauth_answer, call);
    stanza_unref(&st);
}

void negotiate_unit(struct stream *s, slice unit)
{
    struct elem e;
    if (!elem_parse(&e, unit, SLICE(NS_CLIENT))) {
        preauth_unit(s, unit);
        return;
    }
    if (elem_is(&e, "starttls", NS_TLS) && !s->way->framed)
        start_tls(s);
    else if (slice_is(e.ns_uri, NS_SASL))
        sasl_element(s, &e);
    else
        preauth_unit(s, unit);
}

void negotiate_cancel(struct stream *s)
{
    if (s->auth != NULL && s->auth->op != NULL)
        auth_cancel(&s->auth->op);
}
