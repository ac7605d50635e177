#include "gate/bosh_session.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/budget.h"
#include "core/gate.h"
#include "gate/bosh_body.h"
#include "gate/bosh_private.h"
#include "gate/c2s_bosh.h"
#include "gate/c2s_bound.h"
#include "gate/c2s_framed.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_stream.h"
#include "home/node.h"
#include "io/metrics.h"
#include "io/timer.h"
#include "session/session.h"
#include "xmpp/ns.h"
#include <openssl/sha.h>
#include <stdio.h>

static void bosh_later(struct bosh *b) { loop_defer(worker_loop(b->worker), &b->later); }

static uint64_t bosh_session_now_us(const struct bosh *b)
{
    return loop_now_us(worker_loop(b->worker));
}

/* The stream's side. */

static struct bosh *bosh_of(const struct xstream *x) { return stream_of(x)->bosh; }

static void bosh_open(struct xstream *x, const struct xstream_header *h)
{
    (void)h;
    bosh_later(bosh_of(x)); /* a restart is answered by the features, the first header by `greet` */
}

static void forget_output(struct bosh *b)
{
    buf_fini(&b->out);
    buf_init(&b->out, (size_t)c2s_limits(stream_c2s(b->stream))->output_max);
    b->large = 0;
}

static size_t bosh_high(const struct bosh *b)
{
    return c2s_limits(stream_c2s(b->stream))->output_high;
}

/* The longest element that waits does not count for the limit if it is long, as over TCP
 * (io/conn.h). */
static void bosh_session_make_room(struct bosh *b, size_t bytes)
{
    size_t high = bosh_high(b);
    if (bytes > high && bytes > b->large) {
        b->out.max += bytes - b->large;
        b->large = bytes;
    }
    if (bytes <= high || b->out.len + bytes > b->out.max)
        return;
    size_t max = b->out.max;
    b->out.max = b->out.len + bytes; /* buffers double: not this one */
    (void)buf_reserve(&b->out, bytes);
    b->out.max = max;
}

static void bosh_session_append(struct bosh *b, slice element)
{
    struct framed f = framed_split(element);
    bosh_session_make_room(b, element.len + f.xmlns.len);
    buf_add(&b->out, f.tag);
    buf_add(&b->out, f.xmlns);
    buf_add(&b->out, f.rest);
    b->overflow = b->overflow || b->out.overflow;
    bosh_later(b);
}

static void bosh_write(struct xstream *x, slice element)
{
    struct bosh *b = bosh_of(x);
    if (slice_is(element, " "))
        return;
    if (slice_starts(element, SLICE("<stream:error"))) /* behind all stanzas: XEP-0206 §7 */
        buf_add(&b->error, element);
    else
        bosh_session_append(b, element);
}

static void bosh_stanza(struct xstream *x, const struct stanza *st, const struct stanza_note *note)
{
    struct stream *s = stream_of(x);
    struct bosh *b = s->bosh;
    size_t room = stanza_write_max(st, note);
    bosh_session_make_room(b, room);
    char *at = buf_reserve(&b->out, room);
    if (at != NULL)
        b->out.len += stanza_write_alone(at, st, note);
    else
        b->overflow = true;
    if (!s->slow && b->out.len > bosh_high(b))
        bound_slow(s, true);
    bosh_later(b);
}

static void bosh_session_end(struct xstream *x)
{
    struct bosh *b = bosh_of(x);
    b->ended = true;
    if (b->error.len > 0 && b->condition == NULL)
        b->condition = "remote-stream-error";
    bosh_later(b);
}

static void bosh_read_on(struct xstream *x) { bosh_later(bosh_of(x)); }
static uint64_t bosh_last_us(const struct xstream *x) { return bosh_of(x)->last_us; }
static const struct conn_info *bosh_peer(const struct xstream *x) { return &bosh_of(x)->peer; }

static void account_bytes(struct bosh *b)
{
    size_t bytes = b->out.cap;
    for (unsigned i = 0; i <= BOSH_REQUESTS_MAX; i++)
        bytes += b->kept[i].text.cap;
    metric_add(&io_output_bytes, (int64_t)bytes - (int64_t)b->counted);
    b->counted = bytes;
}

static void bosh_drop(struct xstream *x)
{
    forget_output(bosh_of(x));
    account_bytes(bosh_of(x));
}

/* The longest element of the answers that are kept for repeats does not count, either. */
static size_t bosh_output(const struct xstream *x)
{
    const struct bosh *b = bosh_of(x);
    size_t large = 0;
    for (unsigned i = 0; b != NULL && i <= BOSH_REQUESTS_MAX; i++)
        large = b->kept[i].large > large ? b->kept[i].large : large;
    return b == NULL || large > b->counted ? 0 : b->counted - large;
}

static const struct xstream_way way_bosh = { .open = bosh_open,
                                             .write = bosh_write,
                                             .stanza = bosh_stanza,
                                             .end = bosh_session_end,
                                             .read_on = bosh_read_on,
                                             .last_us = bosh_last_us,
                                             .peer = bosh_peer,
                                             .output = bosh_output,
                                             .drop = bosh_drop };

/* Ends the session for a reason of BOSH itself. */
static void bosh_fail(struct bosh *b, const char *condition)
{
    if (b->condition == NULL)
        b->condition = condition;
    log_info(&log_c2s, LOG_EV("bosh.error"), LOG_C("condition", condition),
             LOG_C("peer", conn_info_text(&b->peer).text), LOG_S("jid", b->stream->jid));
    stream_session_gone(b->stream, END_LOST);
    xstream_close(&b->stream->x, (slice){ 0 });
}

/* Answers. */

static struct bosh_request *bosh_session_oldest(const struct bosh *b)
{
    return list_empty(&b->held) ? NULL : CONTAINER_OF(b->held.next, struct bosh_request, node);
}

static void greet(struct xml_write *x, struct bosh *b, const struct bosh_request *q)
{
    int64_t inactivity_s = setting_int(&bosh_inactivity) / 1000 * (b->polling ? 2 : 1);
    char ver[16];
    ensure(b->stream != NULL && b->greet);
    snprintf(ver, sizeof ver, "1.%u", (unsigned)b->ver_minor);
    xml_attr(x, "sid", slice_of(b->sid));
    xml_attr_int(x, "wait", (int64_t)(b->wait_us / 1000000));
    xml_attr_int(x, "requests", b->requests);
    xml_attr_int(x, "hold", b->hold);
    xml_attr_int(x, "inactivity", inactivity_s);
    xml_attr_int(x, "maxpause", setting_int(&bosh_pause_max) / 1000);
    xml_attr_int(x, "polling", BOSH_POLLING_S);
    xml_attr(x, "ver", slice_of(ver));
    xml_attr(x, "from", stream_domain(b->stream));
    xml_attr(x, "xmlns:xmpp", SLICE(NS_XBOSH));
    xml_attr(x, "xmpp:version", SLICE("1.0"));
    xml_attr(x, "xmpp:restartlogic", SLICE("true"));
    if (b->acks)
        xml_attr_int(x, "ack", q->body.rid);
    b->greet = false;
}

/* Legacy clients know the codes only (XEP-0124 §17.3). */
static unsigned status_of(const struct bosh *b)
{
    if (!b->legacy || b->condition == NULL)
        return 200;
    return strcmp(b->condition, "item-not-found") == 0     ? 404
           : strcmp(b->condition, "policy-violation") == 0 ? 403
           : strcmp(b->condition, "bad-request") == 0      ? 400
                                                           : 200;
}

enum body_part { BODY_PLAIN, BODY_LAST };

/* The answer to q: what waits, or only the wrapper for a pause. BODY_LAST: with the end. */
static void write_answer(struct bosh *b, struct bosh_request *q, enum body_part part)
{
    struct buf *out = &q->answer;
    bool payload = q->body.pause < 0 && b->out.len > 0;
    struct xml_write x;
    ensure(b->stream != NULL && q->answer.len == 0);
    xml_write_to(&x, out);
    xml_open(&x, "body", NS_HTTPBIND);
    if (payload || b->greet || part == BODY_LAST)
        xml_attr(&x, "xmlns:stream", SLICE(NS_STREAM));
    if (b->greet)
        greet(&x, b, q);
    else if (b->acks && b->rid > q->body.rid)
        xml_attr_int(&x, "ack", b->rid);
    if (b->report != 0) {
        xml_attr_int(&x, "report", b->report);
        xml_attr_int(&x, "time", (int64_t)((bosh_session_now_us(b) - b->report_us) / 1000));
    }
    b->report = 0;
    if (part == BODY_LAST) {
        xml_attr(&x, "type", SLICE("terminate"));
        xml_attr_some(&x, "condition", slice_of(b->condition));
        q->status = status_of(b);
    }
    xml_content(&x);
    if (payload) {
        buf_add(out, buf_slice(&b->out));
        q->large = b->large;
        forget_output(b);
    }
    if (part == BODY_LAST)
        buf_add(out, buf_slice(&b->error));
    xml_close(&x);
}

static struct bosh_kept *kept_for(struct bosh *b, int64_t rid)
{
    for (unsigned i = 0; i <= BOSH_REQUESTS_MAX; i++)
        if (b->kept[i].text.cap > 0 && b->kept[i].rid == rid)
            return &b->kept[i];
    return NULL;
}

/* The client says which answers it has: the one behind them was sent long ago (XEP-0124 §9.2). */
static void report(struct bosh *b, int64_t ack)
{
    const struct bosh_kept *k = kept_for(b, ack + 1);
    if (k == NULL || bosh_session_now_us(b) - k->at_us < BOSH_REPORT_S * 1000000ull)
        return;
    b->report = k->rid;
    b->report_us = k->at_us;
}

/* The client has the answers up to `has`: their stanzas count as written. Answers up to `past` are
 * freed, since the client can no longer request them again. */
static void confirm(struct bosh *b, int64_t has, int64_t past)
{
    uint32_t count = b->stream->out_reported;
    for (unsigned i = 0; i <= BOSH_REQUESTS_MAX; i++) {
        struct bosh_kept *k = &b->kept[i];
        if (k->text.cap == 0 || k->rid > has)
            continue;
        if ((int32_t)(k->out_count - count) > 0)
            count = k->out_count;
        if (k->rid > past)
            continue;
        buf_fini(&k->text);
        *k = (struct bosh_kept){ 0 };
    }
    bound_written(b->stream, count);
}

static void bosh_session_keep(struct bosh *b, const struct bosh_request *q)
{
    struct bosh_kept *k = NULL;
    for (unsigned i = 0; i <= BOSH_REQUESTS_MAX && (k == NULL || k->text.cap > 0); i++)
        if (b->kept[i].text.cap == 0 || k == NULL || b->kept[i].rid < k->rid)
            k = &b->kept[i];
    if (k->text.cap > 0)
        confirm(b, k->rid, k->rid); /* the window has passed it: the client has it */
    buf_init(&k->text, q->answer.len);
    buf_add(&k->text, buf_slice(&q->answer));
    k->large = q->large;
    k->rid = q->body.rid;
    k->at_us = bosh_session_now_us(b);
    k->out_count = b->stream->out_count;
}

/* Whether this answer reports the end of the session: the first one if the client has ended it
 * (XEP-0124 §13), the last one if there is an error condition. */
static bool tells_end(const struct bosh *b)
{
    return b->ended && !b->end_told && (b->condition == NULL || b->held_count == 1);
}

enum { CONFIRM_MS = 500 };

/* Only a request that is sent after an answer shows that the client has it. A client with another
 * request open sends none, so that one is answered soon, or what is to follow (the next page of
 * messages) would wait until it times out. */
static void hurry_confirmation(struct bosh *b)
{
    struct bosh_request *q = bosh_session_oldest(b);
    uint64_t due = bosh_session_now_us(b) + CONFIRM_MS * 1000;
    if (q != NULL && b->stream != NULL && b->stream->out_count != b->stream->out_reported &&
        due < q->due_us)
        q->due_us = due;
}

static void bosh_session_answer(struct bosh *b, struct bosh_request *q)
{
    bool last = tells_end(b);
    list_remove(&q->node);
    ensure(b->held_count > 0);
    b->held_count--;
    write_answer(b, q, last ? BODY_LAST : BODY_PLAIN);
    memcpy(q->content, b->content, sizeof q->content);
    if (last)
        b->end_told = true;
    else
        bosh_session_keep(b, q);
    b->last_us = bosh_session_now_us(b);
    hurry_confirmation(b);
    bosh_reply(b->worker, q);
}

static bool may_answer(const struct bosh *b, const struct bosh_request *q)
{
    if (q == b->feeding && !b->ended)
        return false;
    return b->ended || b->out.len > 0 || b->greet || b->held_count > b->hold ||
           bosh_session_now_us(b) >= q->due_us || b->pause_us > 0 || b->report != 0;
}

/* Until when an early request waits for the one that is missing before it; UINT64_MAX: none is. */
static uint64_t gap_due_us(const struct bosh *b)
{
    uint64_t due = UINT64_MAX;
    LIST_EACH (it, &b->early) {
        const struct bosh_request *q = CONTAINER_OF(it, struct bosh_request, node);
        if (q->body.rid == b->rid + 1)
            return UINT64_MAX; /* it comes next, when the stream takes input */
        if (q->due_us < due)
            due = q->due_us;
    }
    return due;
}

static void set_timer(struct bosh *b)
{
    uint64_t now = bosh_session_now_us(b), due;
    const struct bosh_request *q = bosh_session_oldest(b);
    if (q != NULL)
        due = q->due_us;
    else if (b->pause_us > 0)
        due = b->last_us + b->pause_us;
    else
        due = b->last_us + (uint64_t)setting_int(&bosh_inactivity) * (b->polling ? 2000 : 1000);
    uint64_t gap = b->stream != NULL ? gap_due_us(b) : UINT64_MAX;
    if (gap < due)
        due = gap;
    timer_set(worker_loop(b->worker), &b->timer, due > now ? (due - now) / 1000 + 1 : 0);
}

/* The end. */

static void bosh_free(struct bosh *b)
{
    bosh_remove(b);
    metric_add(&bosh_sessions, -1);
    timer_cancel(&b->timer);
    loop_defer_cancel(&b->later);
    list_remove(&b->node);
    buf_fini(&b->out);
    buf_fini(&b->error);
    for (unsigned i = 0; i <= BOSH_REQUESTS_MAX; i++)
        buf_fini(&b->kept[i].text);
    metric_add(&io_output_bytes, -(int64_t)b->counted);
    mem_free(&b);
}

/* The stream ends. If no request is open, the session is kept for a while, and the next request is
 * told. */
static void bosh_session_finish(struct bosh *b, bool told)
{
    const struct gate_worker *g = *worker_gate(b->worker);
    struct list *node;
    ensure(b->stream != NULL && b->ended);
    while ((node = list_pop(&b->early)) != NULL)
        bosh_reply_error(b->worker, CONTAINER_OF(node, struct bosh_request, node), "other-request",
                         200);
    stream_free(b->stream);
    b->stream = NULL;
    if (told || g->streams.stopped)
        bosh_free(b);
    else
        set_timer(b);
}

static void bosh_session_on_timer(struct timer *t, struct loop *loop)
{
    struct bosh *b = CONTAINER_OF(t, struct bosh, timer);
    (void)loop;
    if (b->stream == NULL) { /* no request came in time */
        bosh_free(b);
    } else if (!list_empty(&b->held) || bosh_session_now_us(b) >= gap_due_us(b)) {
        bosh_later(b);
    } else {
        log_debug(&log_c2s, LOG_EV("bosh.inactive"), LOG_S("jid", b->stream->jid));
        stream_session_gone(b->stream, END_LOST);
        xstream_close(&b->stream->x, (slice){ 0 });
        bosh_session_finish(b, true);
    }
}

/* Requests, in the order of their rids. */

static bool key_fits(struct bosh *b, const struct bosh_body *body)
{
    unsigned char hash[SHA_DIGEST_LENGTH];
    char hex[2 * SHA_DIGEST_LENGTH + 1];
    if (b->key[0] != '\0') {
        if (body->key.ptr == NULL)
            return false;
        SHA1((const unsigned char *)body->key.ptr, body->key.len, hash);
        for (unsigned i = 0; i < SHA_DIGEST_LENGTH; i++)
            snprintf(hex + 2 * i, 3, "%02x", hash[i]);
        if (!slice_eq_nocase(slice_of(hex), slice_of(b->key)))
            return false;
    }
    slice next = body->newkey.ptr != NULL ? body->newkey
                 : b->key[0] != '\0'      ? body->key
                                          : (slice){ 0 };
    if (next.len >= sizeof b->key)
        return false;
    memcpy(b->key, next.ptr == NULL ? "" : next.ptr, next.len);
    b->key[next.len] = '\0';
    return true;
}

/* XEP-0124 §12: two empty requests in a row, faster than allowed, the first of which brought
 * nothing. */
static bool polls_too_often(struct bosh *b, const struct bosh_request *q)
{
    bool empty = !q->more && !q->body.restart && !q->body.terminate && q->body.pause < 0;
    uint64_t before_us = b->polled_us, now = bosh_session_now_us(b);
    b->polled_us = empty && b->out.len == 0 ? now : 0;
    return b->polling && empty && before_us > 0 && now - before_us < BOSH_POLLING_S * 1000000ull;
}

/* A new request shows which answers the client has. Without acknowledgements (XEP-0124 §9) that is
 * certain only for answers outside of the window. But a client without an open request sends one
 * because it has received the last answer. If that did not count, each page of messages would wait
 * until the next request times out. */
static void confirm_by(struct bosh *b, const struct bosh_body *body)
{
    int64_t past = body->rid - (int64_t)b->requests;
    if (b->acks)
        past = body->ack >= 0 ? body->ack : body->rid - 1;
    confirm(b, !b->acks && b->held_count == 1 ? body->rid - 1 : past, past);
}

/* The next request: from now on it may be answered. */
static void bosh_session_take(struct bosh *b, struct bosh_request *q)
{
    const struct bosh_body *body = &q->body;
    ensure(b->feeding == NULL && body->rid == b->rid + 1);
    list_remove(&q->node);
    list_append(&b->held, &q->node);
    b->held_count++;
    b->rid = body->rid;
    if (q->hurried || b->wait_us == 0)
        q->due_us = 0;
    if (!key_fits(b, body)) {
        bosh_fail(b, "item-not-found");
        return;
    }
    if (b->acks && body->ack >= 0)
        report(b, body->ack);
    confirm_by(b, body);
    if (polls_too_often(b, q)) {
        bosh_fail(b, "policy-violation");
        return;
    }
    b->pause_us = 0;
    b->feeding = q;
}

/* All of its elements were taken. */
static void bosh_session_taken(struct bosh *b)
{
    const struct bosh_body *body = &b->feeding->body;
    struct stream *s = b->stream;
    struct bosh_request *q = b->feeding;
    b->feeding = NULL;
    if (body->terminate) {
        xstream_end(&s->x, XSTREAM_ENDED);
    } else if (body->restart) {
        framed_open(
            s, &(struct framed_header){ .to = body->to.ptr != NULL ? body->to : stream_domain(s),
                                        .version = SLICE("1.0"),
                                        .lang = body->lang });
    } else if (body->pause >= 0 && body->pause * 1000 <= setting_int(&bosh_pause_max)) {
        b->pause_us = (uint64_t)body->pause * 1000000;
        if (b->pause_us == 0)
            b->pause_us = 1;
    }
    buf_fini(&q->text); /* its slices are not looked at again */
}

/* With the prefixes of <body/>, but not with its default namespace, which is meant as jabber:client
 * here too. */
static void extract(const struct elem *child, struct buf *out)
{
    static const slice ours = SLICE_INIT(" xmlns='" NS_HTTPBIND "'");
    struct buf text;
    buf_init(&text, out->max);
    elem_extract(child, &text);
    size_t head = child->start_tag.len + text.len - child->whole.len;
    const char *at = memmem(text.ptr, head < text.len ? head : text.len, ours.ptr, ours.len);
    if (at == NULL) {
        buf_add(out, buf_fit(&text));
    } else {
        buf_add(out, (slice){ text.ptr, (size_t)(at - text.ptr) });
        buf_lit(out, " xmlns='" NS_CLIENT "'");
        buf_add(out, slice_from(buf_fit(&text), (size_t)(at - text.ptr) + ours.len));
    }
    buf_fini(&text);
}

static void feed(struct bosh *b, int32_t *stanzas, size_t *bytes)
{
    struct bosh_request *q = b->feeding;
    struct elem child = q->child;
    struct buf text;
    ensure(q->more);
    *bytes += child.whole.len;
    q->fed++;
    q->more = elem_next(&child, &q->child);
    /* what names no namespace of its own is in that of <body/>, and meant as jabber:client
     * (XEP-0206 §2) */
    if (!q->body.own_prefixes || slice_is(child.ns_uri, NS_HTTPBIND)) {
        (void)framed_read(b->stream, child.whole, stanzas);
        return;
    }
    buf_init(&text, XML_STANZA_MAX);
    extract(&child, &text);
    (void)framed_read(b->stream, buf_fit(&text), stanzas);
    buf_fini(&text);
}

static void read_requests(struct bosh *b)
{
    struct stream *s = b->stream;
    int32_t stanzas = 0;
    size_t bytes = 0;
    while (xstream_takes_input(&s->x) && !worker_pressure(b->worker)) {
        struct bosh_request *next =
            list_empty(&b->early) ? NULL : CONTAINER_OF(b->early.next, struct bosh_request, node);
        if (b->feeding != NULL && b->feeding->more)
            feed(b, &stanzas, &bytes);
        else if (b->feeding != NULL)
            bosh_session_taken(b);
        else if (next != NULL && next->body.rid == b->rid + 1)
            bosh_session_take(b, next);
        else
            break;
    }
    if (s->x.state != STREAM_CLOSED && bytes > 0)
        xstream_spend(&s->x, stanzas, bytes);
}

/* The missing request has not come within the client's own waiting time. It will not come, and
 * later requests are out of the window for good (XEP-0124 §14.2). */
static void bosh_session_give_up(struct bosh *b)
{
    struct list *first = list_pop(&b->early);
    ensure(first != NULL);
    list_append(&b->held, first);
    b->held_count++;
    bosh_fail(b, "item-not-found");
}

/* As the connection of another stream tells it: above the high-water mark of output. */
static void tell_slow(struct bosh *b)
{
    size_t high = bosh_high(b);
    bool slow = b->out.len > (b->stream->slow ? high / 2 : high);
    if (slow != b->stream->slow && !b->ended)
        bound_slow(b->stream, slow);
    size_t output = bosh_output(&b->stream->x), waits = output > high ? output : 0;
    if (waits > 0 && b->stream->session != NULL)
        budget_weigh(b->stream->session->account);
    if (waits > b->told + high || waits + high < b->told) {
        b->told = waits;
        bound_output(b->stream, waits);
    }
}

/* Once a tick, when anything has changed. */
static void on_later(struct loop_defer *d)
{
    struct bosh *b = CONTAINER_OF(d, struct bosh, later);
    struct bosh_request *q;
    bool told = false;
    if (b->stream == NULL)
        return;
    read_requests(b);
    if (!b->ended && bosh_session_now_us(b) >= gap_due_us(b))
        bosh_session_give_up(b);
    if (b->overflow && !b->ended) {
        b->overflow = false;
        xstream_fail(&b->stream->x, XE_POLICY_VIOLATION,
                     SLICE("too much output waits: read faster"));
        stream_session_gone(b->stream, END_SLOW);
    }
    if (b->ended)
        b->feeding = NULL;
    while ((q = bosh_session_oldest(b)) != NULL && may_answer(b, q)) {
        told = b->ended;
        bosh_session_answer(b, q);
    }
    account_bytes(b);
    tell_slow(b);
    if (b->ended)
        bosh_session_finish(b, told);
    else
        set_timer(b);
}

/* A request was sent again: the newer one gets the answer (XEP-0124 §14.3). If the client still
 * waits for the older one, it repeats that and loses nothing (§17.3). */
static void give_way(struct bosh *b, struct bosh_request *old)
{
    buf_lit(&old->answer, "<body xmlns='" NS_HTTPBIND "' type='error'/>");
    bosh_reply(b->worker, old);
}

/* A request that came before: on a new connection, since the old one is broken (XEP-0124 §14.3). */
static void repeat(struct bosh *b, struct bosh_request *q)
{
    struct bosh_kept *k = kept_for(b, q->body.rid);
    LIST_EACH (it, &b->held) {
        struct bosh_request *old = CONTAINER_OF(it, struct bosh_request, node);
        if (old->body.rid != q->body.rid)
            continue;
        if (old == b->feeding) { /* it is still read: the answer to come goes to the new one */
            b->feeding = q;
            while (q->fed < old->fed && q->more) {
                q->more = elem_next(&q->child, &q->child);
                q->fed++;
            }
        }
        q->due_us = old->due_us;
        list_insert_before(&old->node, &q->node);
        list_remove(&old->node);
        give_way(b, old);
        return;
    }
    memcpy(q->content, b->content, sizeof q->content);
    if (k != NULL) {
        buf_add(&q->answer, buf_slice(&k->text));
        bosh_reply(b->worker, q);
        return;
    }
    list_append(&b->held, &q->node);
    b->held_count++;
    bosh_fail(b, "item-not-found");
}

/* By rid, among those that wait for their turn; the newer of two with the same one stays. */
static void insert_early(struct bosh *b, struct bosh_request *q)
{
    LIST_EACH (it, &b->early) {
        struct bosh_request *other = CONTAINER_OF(it, struct bosh_request, node);
        if (other->body.rid < q->body.rid)
            continue;
        list_insert_before(&other->node, &q->node);
        if (other->body.rid == q->body.rid) {
            list_remove(&other->node);
            give_way(b, other);
        }
        return;
    }
    list_append(&b->early, &q->node);
}

/* Clients that have not logged in can use little memory. */
static bool bosh_session_too_large(const struct bosh *b, const struct bosh_request *q)
{
    return b->stream->x.state < STREAM_AUTHED_OPEN &&
           (int64_t)q->text.len > setting_int(&c2s_bytes_before);
}

void bosh_receive(struct bosh *b, struct bosh_request *q)
{
    int64_t ahead = q->body.rid - b->rid;
    bool extra = q->body.terminate || q->body.pause >= 0; /* one more is allowed to end or pause */
    ensure(worker_is_here(b->worker));
    b->last_us = bosh_session_now_us(b);
    if (b->stream == NULL) { /* it ended while no request was open */
        struct xml_write x;
        xml_write_to(&x, &q->answer);
        xml_open_with(&x, "body", NS_HTTPBIND, "xmlns:stream", SLICE(NS_STREAM));
        xml_attr(&x, "type", SLICE("terminate"));
        xml_attr_some(&x, "condition", slice_of(b->condition));
        xml_raw(&x, buf_fit(&b->error));
        xml_close(&x);
        q->status = status_of(b);
        bosh_reply(b->worker, q);
        bosh_free(b);
        return;
    }
    q->more = elem_first(&q->body.elem, &q->child);
    if (bosh_session_too_large(b, q)) {
        list_append(&b->held, &q->node);
        b->held_count++;
        bosh_fail(b, "policy-violation");
    } else if (ahead <= 0) {
        repeat(b, q);
    } else if (ahead > (int64_t)b->requests + extra) {
        list_append(&b->held, &q->node);
        b->held_count++;
        bosh_fail(b, "item-not-found");
    } else {
        q->due_us =
            bosh_session_now_us(b) + (b->wait_us > 0 ? b->wait_us : BOSH_POLLING_S * 1000000ull);
        insert_early(b, q);
    }
    bosh_later(b);
}

void bosh_hurry(struct bosh *b, int64_t rid)
{
    LIST_EACH (it, &b->held) {
        struct bosh_request *q = CONTAINER_OF(it, struct bosh_request, node);
        if (q->body.rid == rid)
            q->due_us = 0;
    }
    LIST_EACH (it, &b->early) {
        struct bosh_request *q = CONTAINER_OF(it, struct bosh_request, node);
        if (q->body.rid == rid)
            q->hurried = true;
    }
    if (b->stream != NULL)
        bosh_later(b);
}

/* A new session. */

static bool content_valid(slice type)
{
    for (size_t i = 0; i < type.len; i++) {
        char c = type.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            strchr("/;=+-._ ", c) == NULL)
            return false;
    }
    return type.len > 0 && type.len < BOSH_CONTENT_MAX;
}

/* The lower of the two versions (XEP-0124 §7.2), of which all have been 1.x. */
static uint8_t version_minor(slice ver)
{
    slice major, minor;
    int64_t n;
    return slice_cut(ver, '.', &major, &minor) && slice_is(major, "1") && slice_int(minor, &n) &&
                   n >= 0 && n < BOSH_VERSION_MINOR
               ? (uint8_t)n
               : BOSH_VERSION_MINOR;
}

static void agree(struct bosh *b, const struct bosh_body *body)
{
    int64_t wait = setting_int(&bosh_wait_max) / 1000;
    if (body->wait >= 0 && body->wait < wait)
        wait = body->wait;
    b->wait_us = (uint64_t)wait * 1000000;
    b->hold = body->hold < 0               ? 1
              : body->hold > BOSH_HOLD_MAX ? BOSH_HOLD_MAX
                                           : (uint32_t)body->hold;
    b->polling = wait == 0 || b->hold == 0;
    b->requests = b->hold + 1;
    b->acks = body->ack == 1;
    b->legacy = body->ver.ptr == NULL;
    b->ver_minor = version_minor(body->ver);
    b->rid = body->rid;
    slice content = body->content.ptr != NULL && content_valid(body->content)
                        ? body->content
                        : SLICE("text/xml; charset=utf-8");
    memcpy(b->content, content.ptr, content.len);
    b->content[content.len] = '\0';
}

void bosh_create(struct worker *w, struct bosh_request *q)
{
    const struct bosh_body *body = &q->body;
    struct gate_worker *g = *worker_gate(w);
    slice domain;
    if (body->to.len == 0) {
        bosh_reply_error(w, q, "improper-addressing", 200);
        return;
    }
    if (jid_prep_domain(body->to, q->arena, &domain) != OK ||
        !node_serves(worker_node(w), domain)) {
        bosh_reply_error(w, q, "host-unknown", 200);
        return;
    }
    if ((int64_t)q->text.len > setting_int(&c2s_bytes_before)) {
        bosh_reply_error(w, q, "policy-violation", 200);
        return;
    }
    struct bosh *b = mem_new(struct bosh);
    b->worker = w;
    b->secure = q->secure;
    b->peer = q->peer;
    b->greet = true;
    b->timer.fn = bosh_session_on_timer;
    b->later.fn = on_later;
    b->last_us = loop_now_us(worker_loop(w));
    rand_hex(b->sid, 16);
    list_init(&b->early);
    list_init(&b->held);
    list_append(&g->boshes, &b->node);
    buf_init(&b->error, XML_PART_MAX);
    agree(b, body);
    b->stream = stream_make(w, &way_bosh, STREAM_FROM_FRAMED, NULL);
    b->stream->bosh = b;
    b->stream->x.secure = b->secure;
    buf_init(&b->out, (size_t)c2s_limits(stream_c2s(b->stream))->output_max);
    metric_add(&bosh_sessions, 1);
    bosh_add(b);
    list_append(&b->held, &q->node);
    b->held_count = 1;
    q->due_us = b->last_us + b->wait_us;
    if (!key_fits(b, body)) {
        bosh_fail(b, "bad-request");
        return;
    }
    framed_open(b->stream, &(struct framed_header){
                               .to = body->to,
                               .from = body->from,
                               .version = body->version.ptr != NULL ? body->version : SLICE("1.0"),
                               .lang = body->lang });
    bosh_later(b);
}

void bosh_worker_end(struct worker *w)
{
    struct gate_worker *g = *worker_gate(w);
    LIST_EACH (it, &g->boshes)
        bosh_free(CONTAINER_OF(it, struct bosh, node));
}
