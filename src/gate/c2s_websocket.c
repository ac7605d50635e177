/* Streams over WebSocket (RFC 6455, RFC 7395): the handshake as an HTTP route; then each message is
 * one element, <open/> and <close/> stand for the stream's header and end.
 *
 * A frame is unmasked into the scratch of its callback; only a message in fragments is gathered, at
 * most to the size of a stanza. So an idle stream over WebSocket owns no more than one over TCP. */
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "codec/ws_frame.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/gate.h"
#include "gate/c2s_framed.h"
#include "gate/c2s_stream.h"
#include "gate/web.h"
#include "http/forms.h"
#include "http/parse.h"
#include "http/server.h"
#include "io/conn.h"
#include "session/session.h"
#include "xmpp/ns.h"
#include <arpa/inet.h>
#include <openssl/sha.h>

enum { LINES_MAX = 512 }; /* bytes of headers of HTTP */

/* A message in fragments. */
struct ws {
    struct buf text;
};

static void ws_drop(struct stream *s)
{
    if (s->ws != NULL)
        buf_fini(&s->ws->text);
    mem_free(&s->ws);
}

/* Output. */

static void ws_send(struct stream *s, enum ws_opcode opcode, slice payload)
{
    char head[WS_HEAD_MAX];
    conn_write(s->x.conn, (slice){ head, ws_head_write(head, opcode, payload.len) });
    conn_write(s->x.conn, payload);
}

static void ws_open(struct xstream *x, const struct xstream_header *h)
{
    struct buf b;
    struct xml_write w;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open_with(&w, "open", NS_FRAMING, "id", h->id);
    xml_attr(&w, "from", h->from);
    xml_attr(&w, "version", SLICE("1.0"));
    xml_attr(&w, "xml:lang", SLICE("en"));
    xml_attr_some(&w, "to", h->to);
    xml_close(&w);
    ws_send(stream_of(x), WS_TEXT, buf_fit(&b));
    buf_fini(&b);
}

static void ws_write(struct xstream *x, slice element)
{
    char head[WS_HEAD_MAX];
    if (slice_is(element, " ")) { /* RFC 7395 §3.8: white space is not sent to keep it alive */
        ws_send(stream_of(x), WS_PING, (slice){ "", 0 });
        return;
    }
    struct framed f = framed_split(element);
    size_t len = element.len + f.xmlns.len;
    conn_write(x->conn, (slice){ head, ws_head_write(head, WS_TEXT, len) });
    conn_write(x->conn, f.tag);
    conn_write(x->conn, f.xmlns);
    conn_write(x->conn, f.rest);
}

/* In place; the head is in front of the stanza, whose length is known only when it is written. */
static void ws_stanza(struct xstream *x, const struct stanza *st, const struct stanza_note *note)
{
    char *at = conn_reserve(x->conn, WS_HEAD_MAX + stanza_write_max(st, note));
    char head[WS_HEAD_MAX];
    size_t guess = 4, len = stanza_write_alone(at + guess, st, note);
    size_t is = ws_head_write(head, WS_TEXT, len);
    ensure(is <= WS_HEAD_MAX && guess <= WS_HEAD_MAX);
    if (is != guess)
        memmove(at + is, at + guess, len);
    memcpy(at, head, is);
    conn_commit(x->conn, is + len);
}

static void ws_send_close(struct stream *s, unsigned code)
{
    uint16_t wire = htons((uint16_t)code);
    ws_send(s, WS_CLOSE, (slice){ (const char *)&wire, sizeof wire });
}

static void ws_end(struct xstream *x)
{
    struct stream *s = stream_of(x);
    if (s->x.header_sent)
        ws_send(s, WS_TEXT, SLICE("<close xmlns='" NS_FRAMING "'/>"));
    ws_send_close(s, s->close_code != 0 ? s->close_code : WS_NORMAL);
    conn_close(s->x.conn);
}

static const struct xstream_way way_websocket = {
    .open = ws_open, .write = ws_write, .stanza = ws_stanza, .end = ws_end
};

/* Input. */

/* An error below the stream: the close frame has its code. The session can be resumed. */
static void ws_fail(struct stream *s, enum ws_code code)
{
    stream_session_gone(s, END_LOST);
    s->close_code = (uint16_t)code;
    xstream_close(&s->x, (slice){ 0 });
}

/* <open/> or <close/> (RFC 7395 §3.3.2, §3.6). */
static void framing_element(struct stream *s, slice text)
{
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    struct elem e;
    if (xml_read_element(worker_xml(s->x.worker), text, (slice){ "", 0 }, &s->x.reader.limits) !=
            OK ||
        !elem_parse(&e, text, (slice){ "", 0 })) {
        xstream_fail(&s->x, XE_NOT_WELL_FORMED, SLICE("the message is not an element"));
    } else if (elem_is(&e, "close", NS_FRAMING)) {
        xstream_end(&s->x, XSTREAM_ENDED);
    } else if (!elem_is(&e, "open", NS_FRAMING)) {
        xstream_fail(&s->x, XE_INVALID_NAMESPACE, SLICE("open of " NS_FRAMING " must come first"));
    } else {
        framed_open(s, &(struct framed_header){ .to = elem_attr(&e, "to", tmp),
                                                .from = elem_attr(&e, "from", tmp),
                                                .version = elem_attr(&e, "version", tmp),
                                                .lang = elem_attr(&e, "xml:lang", tmp) });
    }
}

/* Whether the element is called so, in whatever namespace. */
static bool begins_close(slice text)
{
    slice name = slice_from(text, 1), prefix, local;
    size_t n = 0;
    while (n < name.len && strchr(" \t\r\n/>", name.ptr[n]) == NULL)
        n++;
    name.len = n;
    return text.ptr[0] == '<' &&
           slice_is(slice_cut(name, ':', &prefix, &local) ? local : name, "close");
}

static void ws_message(struct stream *s, slice text, int32_t *stanzas)
{
    if (!utf8_valid(text)) { /* RFC 6455 §8.1 */
        ws_fail(s, WS_BAD_DATA);
        return;
    }
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[0]) != NULL)
        text = slice_from(text, 1);
    if (text.len == 0)
        return;
    if (xstream_awaits_header(&s->x) || begins_close(text))
        framing_element(s, text);
    else
        (void)framed_read(s, text, stanzas);
}

static bool close_valid(slice payload)
{
    if (payload.len == 0)
        return true;
    if (payload.len == 1 || !utf8_valid(slice_from(payload, 2)))
        return false;
    unsigned code = (unsigned char)payload.ptr[0] * 256u + (unsigned char)payload.ptr[1];
    return code >= 1000 && code < 5000 && code != 1004 && code != 1005 && code != 1006;
}

static void ws_control(struct stream *s, enum ws_opcode opcode, slice payload)
{
    if (opcode == WS_PING)
        ws_send(s, WS_PONG, payload);
    else if (opcode == WS_CLOSE && !close_valid(payload))
        ws_fail(s, WS_PROTOCOL_ERROR);
    else if (opcode == WS_CLOSE) /* without <close/>: as if the connection was lost */
        ws_fail(s, WS_NORMAL);
}

/* A data frame, unmasked. */
static void ws_data(struct stream *s, const struct ws_frame *f, slice text, int32_t *stanzas)
{
    if (f->opcode == WS_BINARY) {
        ws_fail(s, WS_UNSUPPORTED); /* RFC 7395 §3.2 */
    } else if ((f->opcode == WS_CONTINUATION) != (s->ws != NULL)) {
        ws_fail(s, WS_PROTOCOL_ERROR);
    } else if (f->fin && s->ws == NULL) {
        ws_message(s, text, stanzas);
    } else {
        if (s->ws == NULL) {
            s->ws = mem_new(struct ws);
            buf_init(&s->ws->text, s->x.reader.limits.unit_bytes);
        }
        buf_add(&s->ws->text, text);
        if (s->ws->text.overflow) {
            s->close_code = WS_TOO_BIG;
            xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("the message is too large"));
        } else if (f->fin) {
            slice whole =
                slice_dup(loop_scratch(worker_loop(s->x.worker)), buf_slice(&s->ws->text));
            ws_drop(s);
            ws_message(s, whole, stanzas);
        }
    }
}

static bool ws_frame(struct stream *s, const struct ws_frame *f, int32_t *stanzas)
{
    struct xstreams *among = s->x.among;
    among->moved = false;
    char *text = arena_alloc_raw(loop_scratch(worker_loop(s->x.worker)), f->masked.len + 1);
    ws_unmask(text, f);
    if (f->opcode >= WS_CLOSE)
        ws_control(s, f->opcode, (slice){ text, f->masked.len });
    else
        ws_data(s, f, (slice){ text, f->masked.len }, stanzas);
    return !among->moved;
}

static size_t c2s_websocket_on_input(struct conn *c, slice data)
{
    struct stream *s = conn_owner(c);
    size_t done = 0;
    int32_t stanzas = 0;
    bool here = true;
    if (worker_pressure(s->x.worker)) {
        xstream_hold(&s->x, CONN_HOLD_PRESSURE);
        return 0;
    }
    s->x.pinged = false;
    while (here && done < data.len && xstream_takes_input(&s->x)) {
        struct ws_frame f;
        enum ws_result r = ws_frame_read(&f, slice_from(data, done), s->x.reader.limits.unit_bytes);
        if (r == WS_MORE)
            break;
        if (r == WS_WRONG) {
            ws_fail(s, WS_PROTOCOL_ERROR);
        } else if (r == WS_LONG) {
            s->close_code = WS_TOO_BIG;
            xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("the message is too large"));
        } else {
            done += f.bytes;
            here = ws_frame(s, &f, &stanzas);
        }
    }
    if (here && s->x.state != STREAM_CLOSED)
        xstream_spend(&s->x, stanzas, done);
    return done;
}

static void c2s_websocket_on_closed(struct conn *c)
{
    ws_drop(conn_owner(c));
    xstream_on_closed(c);
}

static const struct conn_ops ws_ops = { c2s_websocket_on_input, xstream_on_event,
                                        c2s_websocket_on_closed };

/* The handshake (RFC 6455 §4.2). */

static void c2s_websocket_refuse(struct http_request *r, unsigned status, const char *why)
{
    struct buf lines;
    buf_init(&lines, LINES_MAX);
    if (status == 426)
        buf_lit(&lines, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    http_answer(r, &(struct http_answer){ .status = status,
                                          .type = "text/plain; charset=utf-8",
                                          .headers = buf_fit(&lines),
                                          .body = slice_of(why) });
    buf_fini(&lines);
}

static bool key_valid(slice key)
{
    struct buf b;
    buf_init(&b, LINES_MAX);
    bool ok = base64_decode(&b, key) == OK && b.len == 16;
    buf_fini(&b);
    return ok;
}

static void accept_lines(struct buf *out, slice key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char hash[SHA_DIGEST_LENGTH];
    char text[64 + sizeof guid];
    ensure(key.len <= sizeof text - sizeof guid); /* key_valid(): 24 */
    memcpy(text, key.ptr, key.len);
    memcpy(text + key.len, guid, sizeof guid - 1);
    SHA1((const unsigned char *)text, key.len + sizeof guid - 1, hash);
    buf_lit(out, "Upgrade: websocket\r\nSec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Accept: ");
    base64_encode(out, (slice){ (const char *)hash, sizeof hash });
    buf_lit(out, "\r\n");
}

static void c2s_websocket_upgrade(struct http_request *r, slice key)
{
    struct worker *w = worker_here();
    struct buf lines;
    bool secure = r->secure;
    char peer[46] = "";
    memcpy(peer, r->peer.ptr, r->peer.len < sizeof peer ? r->peer.len : 0);
    buf_init(&lines, LINES_MAX);
    accept_lines(&lines, key);
    struct conn *c = http_upgrade(r, buf_fit(&lines));
    buf_fini(&lines);
    ensure(c != NULL);
    struct stream *s = stream_make(w, &way_websocket, STREAM_FROM_FRAMED, c);
    s->x.secure = secure;
    conn_set_limits(c, c2s_limits(stream_c2s(s)));
    conn_set_peer(c, peer);
    conn_hand_over(c, &ws_ops, s);
}

static void c2s_websocket_handshake(struct http_request *r)
{
    slice key = http_header(r, "Sec-WebSocket-Key"), origin = http_header(r, "Origin");
    const struct gate_worker *g = *worker_gate(worker_here());
    if (!http_has_token(http_header(r, "Upgrade"), "websocket") ||
        !http_has_token(http_header(r, "Connection"), "upgrade"))
        c2s_websocket_refuse(r, 426, "This is for WebSocket clients.\n");
    else if (!slice_is(http_header(r, "Sec-WebSocket-Version"), "13"))
        c2s_websocket_refuse(r, 426, "WebSocket version 13 is spoken here.\n");
    else if (r->head || !key_valid(key))
        c2s_websocket_refuse(r, 400, "Sec-WebSocket-Key is not 16 bytes in base64.\n");
    else if (!http_has_token(http_header(r, "Sec-WebSocket-Protocol"), "xmpp"))
        c2s_websocket_refuse(r, 400, "The subprotocol xmpp must be offered (RFC 7395).\n");
    else if (origin.len > 0 && !http_origin_allowed(origin))
        c2s_websocket_refuse(r, 403, "This origin is not in http.cors-origins.\n");
    else if (g->streams.stopped)
        c2s_websocket_refuse(r, 503, "The server ends.\n");
    else
        c2s_websocket_upgrade(r, key);
}

static const struct http_route routes[] = {
    { .path_from = &websocket_path,
      .methods = HTTP_M_GET,
      .flags = HTTP_CORS,
      .handle = c2s_websocket_handshake },
    { .path = "/ws", .methods = HTTP_M_GET, .flags = HTTP_CORS, .handle = c2s_websocket_handshake },
    { 0 },
};

static bool websocket_is_path(slice text)
{
    return http_is_path(text) && http_path_is_free(text, &websocket_path);
}

struct setting websocket_path = {
    .name = "websocket.path",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "/xmpp-websocket",
    .max = 256,
    .check = websocket_is_path,
    .form = HTTP_FORM_PATH ", where no other page is",
    .doc = "Where WebSocket clients connect (RFC 7395), beside /ws. Empty: only there.",
};

const struct feature websocket_feature = {
    .name = "websocket",
    .parts = PART_ALL,
    .http = routes,
    .settings = (struct setting *const[]){ &websocket_path, NULL },
};
