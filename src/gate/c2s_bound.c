#include "gate/c2s_bound.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/gate.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl.h"
#include "gate/c2s_stream.h"
#include "home/follow.h"
#include "home/node.h"
#include "home/trail.h"
#include "io/conn.h"
#include "session/link.h"
#include "session/session.h"
#include "xmpp/ns.h"

/* Logs addresses and types, never contents (`musterctl log trace c2s on`). */
static void trace_stanza(const char *event, const struct stream *s, const struct stanza *st)
{
    const char *type = stanza_type_name((enum stanza_type)st->type);
    log_trace(&log_c2s, LOG_C("event", event), LOG_S("stream", s->jid),
              LOG_C("kind", stanza_kind_name((enum stanza_kind)st->kind)),
              LOG_C("type", type == NULL ? "" : type), LOG_S("from", stanza_from(st)),
              LOG_S("to", stanza_to(st)), LOG_S("id", stanza_id(st)));
}

/* Before binding. */

void bound_ask(struct stream *s, const struct bind_request *part)
{
    struct bind_request req = *part;
    struct ip_text peer = stream_address(s);
    ensure(s->session_id == 0 && s->auth->bare.len > 0);
    req.link = (struct link){ .local = s, .id = s->x.id, .node = worker_node(s->x.worker)->id };
    req.bare = s->auth->bare;
    req.account_id = s->auth->account;
    req.generation = s->auth->generation;
    memcpy(req.device, s->auth->device, sizeof req.device);
    req.secure = s->x.secure;
    req.by_token = sasl_mech_is_token(s->auth->mech);
    req.peer = slice_of(peer.text);
    xstream_now(&s->x, STREAM_ASK_BIND);
    xstream_wait(&s->x);
    session_bind(s->x.worker, &req);
}

static void answer_iq(struct stream *s, slice id, enum stanza_error error, slice text,
                      slice payload)
{
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open_with(&x, "iq", NULL, "id", id);
    xml_attr(&x, "type", error != SE_NONE ? SLICE("error") : SLICE("result"));
    if (error != SE_NONE)
        stanza_error_write(&x, error, NULL, text);
    else
        xml_raw(&x, payload);
    xml_close(&x);
    xstream_write_buf(&s->x, &b);
}

static void bind_resource(struct stream *s, const struct stanza *st, const struct elem *payload)
{
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    struct bind_request req = { 0 };
    struct elem resource;
    if (st->type != TYPE_SET) {
        answer_iq(s, stanza_id(st), SE_BAD_REQUEST, (slice){ 0 }, (slice){ 0 });
        return;
    }
    if (elem_child(payload, "resource", NS_BIND, &resource)) {
        slice wanted = elem_text(&resource, tmp);
        if (wanted.len > 0 && jid_prep_resource(wanted, tmp, &req.resource) != OK) {
            answer_iq(s, stanza_id(st), SE_BAD_REQUEST, SLICE("not a resource"), (slice){ 0 });
            return;
        }
    }
    s->auth->request_id = slice_dup(s->auth->arena, stanza_id(st));
    bound_ask(s, &req);
}

static void resume(struct stream *s, const struct elem *e)
{
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    int64_t h;
    slice previd = elem_attr(e, "previd", tmp);
    if (!slice_int(elem_attr(e, "h", tmp), &h) || h < 0 || h > UINT32_MAX || previd.len == 0 ||
        previd.len > 128) {
        stream_sm_failed(s, SE_BAD_REQUEST);
        return;
    }
    s->auth->request_id = slice_dup(s->auth->arena, previd);
    bound_ask(s, &(struct bind_request){ .resource = previd, .h = (uint32_t)h, .resume = true });
}

void bound_sm_early(struct stream *s, const struct elem *e)
{
    if (s->x.state == STREAM_AUTHED && slice_is(e->name, "resume"))
        resume(s, e); /* also with sm.enabled off: an old session stays */
    else              /* XEP-0198 §3: only after binding */
        stream_sm_failed(s, SE_UNEXPECTED_REQUEST);
}

void bound_bind(struct stream *s, const struct xstream_unit *u)
{
    struct elem payload;
    struct stanza *st;
    if (!stream_iq(s, u->text, &st)) {
        xstream_fail(&s->x, u->step.error, slice_of(u->step.text));
        return;
    }
    if (stanza_payload(st, &payload) && elem_is(&payload, "bind", NS_BIND))
        bind_resource(s, st, &payload);
    else
        xstream_fail(&s->x, u->step.error, slice_of(u->step.text));
    stanza_unref(&st);
}

/* Bound: from the client. */

static void to_session(struct stream *s, const struct up *up)
{
    ensure(s->session == NULL || session_here(s->session));
    if (s->session != NULL)
        session_up(s->session, up);
    else if (s->session_id != 0)
        link_send_up(s->x.worker, s->x.id, s->session_id, up);
}

/* RFC 6120 §8.1.2.1: a `from` must be the client's own. One that is no address is nobody else's,
 * and costs its stanza alone. */
static bool from_is_anothers(const struct stream *s, slice unit, bool *malformed)
{
    slice raw = xstream_attr(&s->x, unit, SLICE("from"));
    struct jid jid;
    *malformed = false;
    if (raw.ptr == NULL)
        return false;
    struct jid own = jid_split(s->jid);
    *malformed = jid_parse(&jid, raw, loop_scratch(worker_loop(s->x.worker))) != OK;
    return !*malformed && !slice_eq(jid.full, own.full) && !slice_eq(jid.full, jid_bare(&own));
}

/* The session ends, as if closed: it cannot be resumed. The log still names its address. */
static void c2s_bound_fail(struct stream *s, enum stream_error e, slice text)
{
    ensure(s->jid.len > 0);
    if (s->jid_copy == NULL) {
        s->jid_copy = mem_alloc(s->jid.len);
        memcpy(s->jid_copy, s->jid.ptr, s->jid.len);
        s->jid.ptr = s->jid_copy;
    }
    stream_session_gone(s, END_CLOSED);
    xstream_fail(&s->x, e, text);
}

static void stanza_unit(struct stream *s, slice unit)
{
    struct worker *w = s->x.worker;
    struct jid own = jid_split(s->jid);
    struct stanza_source src = { .unit = unit,
                                 .work = worker_xml(w),
                                 .from = s->jid,
                                 .default_to = jid_bare(&own),
                                 .lang = slice_of(s->lang),
                                 .reader = &s->x.reader };
    struct stanza *st;
    bool malformed;
    ensure(s->jid.len > 0);
    if (from_is_anothers(s, unit, &malformed)) {
        c2s_bound_fail(s, XE_INVALID_FROM, SLICE("from is not the address of this session"));
        return;
    }
    if (worker_xml(w)->root.ns_stream != XML_NS_STREAM &&
        slice_is(xstream_ns(&s->x, unit), NS_SERVER)) {
        c2s_bound_fail(s, XE_INVALID_NAMESPACE, (slice){ 0 });
        return;
    }
    enum err e = stanza_read(&st, &src, loop_scratch(worker_loop(w)));
    if (e != OK) {
        c2s_bound_fail(s, XE_UNSUPPORTED_STANZA_TYPE, (slice){ 0 });
        return;
    }
    st->bad_from = malformed;
    metric_add(&c2s_stanzas_in, 1);
    trace_stanza("stanza.in", s, st);
    follow(s->jid, "trace.in", st, loop_wall_us(worker_loop(w)));
    to_session(s, &(struct up){ .kind = UP_STANZA, .st = st });
}

/* XEP-0198 elements. false: not one of them. */
static bool sm_unit(struct stream *s, slice unit)
{
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    struct elem e;
    int64_t h;
    if (!slice_is(xstream_ns(&s->x, unit), NS_SM) || !elem_parse(&e, unit, SLICE(NS_CLIENT)))
        return false;
    bool enabled = s->sm_enabled;
    if (slice_is(e.name, "r") && enabled) {
        to_session(s, &(struct up){ .kind = UP_REQUEST });
    } else if (slice_is(e.name, "a") && enabled) {
        if (slice_int(elem_attr(&e, "h", tmp), &h) && h >= 0 && h <= UINT32_MAX)
            to_session(s, &(struct up){ .kind = UP_ACK, .num = (uint32_t)h });
        else
            xstream_fail(&s->x, XE_INVALID_XML, SLICE("h is not a count"));
    } else if (slice_is(e.name, "enable") && !enabled) {
        if (!setting_bool(&sm_enabled)) {
            stream_sm_failed(s, SE_SERVICE_UNAVAILABLE);
            return true;
        }
        s->sm_enabled = true;
        to_session(s, &(struct up){ .kind = UP_ENABLE, .num = sm_resume_wanted(&e, tmp) });
    } else {
        stream_sm_failed(
            s, SE_UNEXPECTED_REQUEST); /* XEP-0198 §3: enabled already, or resume too late */
    }
    return true;
}

static bool nonza_unit(struct stream *s, slice unit)
{
    const struct xml_root *root = &worker_xml(s->x.worker)->root;
    uint32_t number;
    if (!nonza_find(xstream_ns(&s->x, unit), xml_at(unit, root->name), &number))
        return false;
    to_session(s, &(struct up){ .kind = UP_NONZA, .num = number });
    return true;
}

void bound_unit(struct stream *s, slice unit)
{
    const struct xml_root *root = &worker_xml(s->x.worker)->root;
    if (root->ns_stream == XML_NS_STREAM || (!sm_unit(s, unit) && !nonza_unit(s, unit)))
        stanza_unit(s, unit);
}

void bound_slow(struct stream *s, bool slow)
{
    s->slow = slow;
    to_session(s, &(struct up){ .kind = UP_SLOW, .num = slow });
}

/* A home on this worker asks for it itself (gate_ops.output). */
void bound_output(struct stream *s, size_t bytes)
{
    uint32_t num = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    if (s->session == NULL && s->session_id != 0)
        to_session(s, &(struct up){ .kind = UP_OUTPUT, .num = num });
}

void bound_drained(struct stream *s) { bound_written(s, s->out_count); }

void bound_written(struct stream *s, uint32_t count)
{
    if (s->out_reported == count || s->sm_enabled || s->session_id == 0)
        return;
    s->out_reported = count;
    to_session(s, &(struct up){ .kind = UP_WRITTEN, .num = count });
}

/* From the home of the session. */

void bound_here(struct stream *s, const struct down *d)
{
    s->session = d->local;
    s->session_id = d->session;
    if (d->local != NULL) {
        s->jid = session_jid(d->local);
    } else {
        s->jid_copy = mem_alloc(d->text.len);
        memcpy(s->jid_copy, d->text.ptr, d->text.len);
        s->jid = (slice){ s->jid_copy, d->text.len };
    }
    xstream_now(&s->x, STREAM_IS_BOUND);
    xstream_timer(&s->x);
}

static void c2s_bound_to(struct stream *s, const struct down *d)
{
    struct buf b;
    struct xml_write x;
    bound_here(s, d);
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open(&x, "bind", NS_BIND);
    xml_element(&x, "jid", s->jid);
    xml_close(&x);
    answer_iq(s, s->auth->request_id, SE_NONE, (slice){ 0 }, buf_fit(&b));
    buf_fini(&b);
    stream_auth_free(s);
    xstream_go(&s->x);
}

void bound_resumed_write(struct buf *out, slice previd, uint32_t h)
{
    struct xml_write x;
    xml_write_to(&x, out);
    xml_open_with(&x, "resumed", NS_SM, "previd", previd);
    xml_attr_int(&x, "h", h);
    xml_close(&x);
}

static void c2s_bound_resumed(struct stream *s, const struct down *d)
{
    struct buf b;
    bound_here(s, d);
    buf_init(&b, XML_PART_MAX);
    bound_resumed_write(&b, s->auth->request_id, d->num);
    xstream_write_buf(&s->x, &b);
    s->sm_enabled = true;
    stream_auth_free(s);
    xstream_go(&s->x);
}

static void c2s_bound_enabled(struct stream *s, const struct down *d)
{
    struct buf b;
    buf_init(&b, XML_PART_MAX);
    sm_enabled_write(&b, d->text, d->num);
    xstream_write_buf(&s->x, &b);
}

/* The session must know before it sends the next stanza. After a long one a session on another
 * worker waits until it is told (session_queue.c). */
static void c2s_bound_tell_level(struct stream *s, const struct stanza *st)
{
    bool was = s->slow;
    if (s->x.conn != NULL && !was && conn_is_high(s->x.conn))
        xstream_is_slow(&s->x, true);
    if (!was && !s->slow && s->session == NULL && st->bytes > SESSION_LONG_BYTES)
        bound_slow(s, false);
}

static void c2s_bound_deliver(struct stream *s, const struct down *d)
{
    s->x.way->stanza(&s->x, d->st, d->note);
    c2s_bound_tell_level(s, d->st);
    s->out_count = d->num;
    metric_add(&c2s_stanzas_out, 1);
    if (d->st->kind == STANZA_MESSAGE)
        metric_add(&c2s_messages_out, 1);
    trace_stanza("stanza.out", s, d->st);
    trail_note(d->st, "written", "", s->jid);
    follow(s->jid, "trace.out", d->st, loop_wall_us(worker_loop(s->x.worker)));
}

static void acknowledge(struct stream *s, uint32_t h)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "a", NS_SM);
    xml_attr_int(&x, "h", h);
    xml_close(&x);
    xstream_write_buf(&s->x, &out);
}

static void closed_by_home(struct stream *s, const struct down *d)
{
    static const struct {
        enum stream_error error;
        slice text;
    } table[] = {
        [END_REPLACED] = { XE_CONFLICT,
                           SLICE_INIT("this resource was bound by another connection") },
        [END_KICKED] = { XE_POLICY_VIOLATION, SLICE_INIT("ended by an operator") },
        [END_PASSWORD] = { XE_NOT_AUTHORIZED, SLICE_INIT("the password was changed") },
        [END_REMOVED] = { XE_NOT_AUTHORIZED, SLICE_INIT("the account was removed") },
        [END_DISABLED] = { XE_NOT_AUTHORIZED, SLICE_INIT("the account was disabled") },
        [END_REVOKED] = { XE_NOT_AUTHORIZED, SLICE_INIT("this device was revoked") },
        [END_BAD_ACK] = { XE_UNDEFINED_CONDITION,
                          SLICE_INIT("h is not between what was acknowledged and what was sent") },
        [END_SLOW] = { XE_POLICY_VIOLATION,
                       SLICE_INIT("too much waits: read and acknowledge faster") },
        [END_EXPIRED] = { XE_CONNECTION_TIMEOUT, { 0 } },
        [END_FULL] = { XE_POLICY_VIOLATION, SLICE_INIT("too much waits to be resumed") },
        [END_SHUTDOWN] = { XE_SYSTEM_SHUTDOWN, { 0 } },
    };
    s->session = NULL; /* it has ended or belongs to another stream */
    s->session_id = 0;
    /* A closed stream still writes what it has; the log gets the JID while the session is there. */
    if (s->x.state != STREAM_CLOSED && !(d->end == END_SLOW && stream_drop_output(s)))
        xstream_fail_with(&s->x, table[d->end].error, table[d->end].text, d->text);
    if (s->jid_copy == NULL)
        s->jid = (slice){ 0 };
}

/* Its session is at another home from now on. */
static void c2s_bound_moved(struct stream *s, const struct down *d)
{
    ensure(s->session != NULL && s->session_id == d->session);
    s->session = NULL;
    if (s->jid_copy == NULL) {
        s->jid_copy = mem_alloc(d->text.len);
        memcpy(s->jid_copy, d->text.ptr, d->text.len);
    }
    s->jid = (slice){ s->jid_copy, d->text.len };
}

/* The answer of the home to a bind request. */
static void c2s_bound_answered(struct stream *s, const struct down *d)
{
    bool bound_now = d->kind == DOWN_BOUND || d->kind == DOWN_RESUMED;
    if (s->x.state == STREAM_CLOSED) { /* the client left while its home was asked */
        if (!bound_now || xstream_now(&s->x, STREAM_IS_BOUND) != STREAM_LEAVE)
            return;
        s->session = d->local;
        s->session_id = d->session;
        stream_session_gone(s, d->kind == DOWN_BOUND ? END_CLOSED : END_LOST);
        return;
    }
    if (s->x.state != STREAM_BINDING && s->x.state != STREAM_COMPLETING)
        return; /* nothing was asked: another node is wrong */
    if (s->x.state == STREAM_COMPLETING) {
        s->auth->profile->answered(s, d);
    } else if (d->kind == DOWN_BOUND) {
        c2s_bound_to(s, d);
    } else if (d->kind == DOWN_RESUMED) {
        c2s_bound_resumed(s, d);
    } else {
        if (d->kind == DOWN_REFUSED)
            answer_iq(s, s->auth->request_id, d->error, d->text, (slice){ 0 });
        else
            stream_sm_failed(s, d->error);
        xstream_now(&s->x, STREAM_REFUSED);
        xstream_go(&s->x);
    }
}

/* After a restart of its node a stream may have the number of one that a home still speaks to. */
static bool c2s_bound_is_for_another(const struct stream *s, const struct down *d)
{
    return d->session != 0 && d->session != s->session_id && !down_answers(d->kind);
}

void bound_down(struct stream *s, const struct down *d)
{
    if (c2s_bound_is_for_another(s, d))
        return;
    switch (d->kind) {
    case DOWN_STANZA: /* first: nearly all are */
        if (s->x.state != STREAM_CLOSED)
            c2s_bound_deliver(s, d);
        return;
    case DOWN_BOUND:
    case DOWN_RESUMED:
    case DOWN_REFUSED:
    case DOWN_NOT_RESUMED:
        c2s_bound_answered(s, d);
        return;
    case DOWN_MOVED:
        c2s_bound_moved(s, d);
        return;
    case DOWN_CLOSE:
        closed_by_home(s, d);
        return;
    default:
        break;
    }
    if (s->x.state == STREAM_CLOSED)
        return;
    switch (d->kind) {
    case DOWN_ACK:
        acknowledge(s, d->num);
        break;
    case DOWN_REQUEST:
        xstream_write(&s->x, SLICE("<r xmlns='" NS_SM "'/>"));
        break;
    case DOWN_ENABLED:
        c2s_bound_enabled(s, d);
        break;
    case DOWN_HOLD:
        xstream_hold(&s->x, CONN_HOLD_UNFINISHED);
        break;
    case DOWN_RELEASE:
        xstream_release(&s->x, CONN_HOLD_UNFINISHED);
        break;
    case DOWN_CHARGE:
        xstream_charge(&s->x, d->num);
        break;
    default:
        break;
    }
}
