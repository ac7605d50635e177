#include "gate/xstream.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/budget.h"
#include "gate/xstream_check.h"
#include "home/connection.h"
#include "xmpp/ns.h"

enum { DECLARED_BYTES_MAX = 2 * XML_STREAM_NS_BYTES };

/* State. */

struct stream_step xstream_meets(const struct xstream *x, enum stream_input input)
{
    return stream_step(x->role, (enum stream_state)x->state, input);
}

enum stream_action xstream_now(struct xstream *x, enum stream_input input)
{
    struct stream_step step = xstream_meets(x, input);
    ensure_debug(step.action != STREAM_NEVER);
    xstream_mark(x);
    x->state = (uint8_t)step.state;
    return step.action;
}

bool xstream_awaits_header(const struct xstream *x)
{
    return xstream_meets(x, STREAM_GOT_HEADER).action == STREAM_DO_HEADER;
}

bool xstream_header_due(struct xstream *x)
{
    struct stream_step step = xstream_meets(x, STREAM_GOT_HEADER);
    if (step.action != STREAM_DO_HEADER)
        xstream_fail(x, step.error, slice_of(step.text));
    return step.action == STREAM_DO_HEADER;
}

void xstream_restart(struct xstream *x)
{
    x->header_sent = false;
    xml_reader_restart(&x->reader);
    if (x->role == STREAM_TO_SERVER)
        x->ops->greet(x);
}

/* Headers. */

slice xstream_attr(const struct xstream *x, slice unit, slice name)
{
    const struct xml_work *w = worker_xml(x->worker);
    for (unsigned i = 0; i < w->root.attr_count; i++)
        if (slice_eq(xml_at(unit, w->attr[i].name), name))
            return xml_unescape_attr(xml_at(unit, w->attr[i].value),
                                     loop_scratch(worker_loop(x->worker)));
    return (slice){ 0 };
}

slice xstream_attr_domain(const struct xstream *x, slice unit, slice name)
{
    slice address = xstream_attr(x, unit, name), domain;
    if (address.ptr == NULL)
        return address;
    enum err e =
        jid_prep_domain(jid_split(address).domain, loop_scratch(worker_loop(x->worker)), &domain);
    return e == OK ? domain : (slice){ "", 0 };
}

slice xstream_ns(const struct xstream *x, slice unit)
{
    const struct xml_root *root = &worker_xml(x->worker)->root;
    return xml_ns(&x->reader, unit, root->ns_stream, root->ns);
}

bool xstream_is_header(const struct xstream *x, slice unit)
{
    return slice_is(xstream_ns(x, unit), NS_STREAM) &&
           slice_is(xml_at(unit, worker_xml(x->worker)->root.name), "stream");
}

static void header_attr(struct xml_write *x, const char *name, slice value)
{
    if (value.ptr != NULL)
        xml_attr(x, name, value);
}

void xstream_open(struct xstream *x, const struct xstream_header *h)
{
    x->way->open(x, h);
    x->header_sent = true;
}

/* The way over TCP: bytes of one XML document. */

static void tcp_open(struct xstream *x, const struct xstream_header *h)
{
    struct buf b;
    struct xml_write w;
    ensure(h->ns != NULL);
    xml_begin(&w, &b, XML_PART_MAX);
    buf_lit(&b, "<?xml version='1.0'?>");
    xml_open(&w, "stream:stream", h->ns); /* closed by tcp_end() */
    xml_attr(&w, "xmlns:stream", SLICE(NS_STREAM));
    if (h->dialback)
        xml_attr(&w, "xmlns:db", SLICE(NS_DIALBACK));
    header_attr(&w, "id", h->id);
    header_attr(&w, "from", h->from);
    header_attr(&w, "version", h->version);
    header_attr(&w, "xml:lang", h->lang);
    header_attr(&w, "to", h->to);
    xml_content(&w);
    conn_write(x->conn, buf_fit(&b));
    buf_fini(&b);
}

static void tcp_write(struct xstream *x, slice element) { conn_write(x->conn, element); }

static void tcp_stanza(struct xstream *x, const struct stanza *st, const struct stanza_note *note)
{
    char *at = conn_reserve(x->conn, stanza_write_max(st, note));
    conn_commit(x->conn, stanza_write(at, st, note));
}

static void tcp_end(struct xstream *x)
{
    if (x->header_sent && !x->end_sent)
        conn_write(x->conn, SLICE("</stream:stream>"));
    conn_close(x->conn);
}

const struct xstream_way xstream_tcp = {
    .open = tcp_open, .write = tcp_write, .stanza = tcp_stanza, .end = tcp_end
};

/* Errors and ends. */

void xstream_write(struct xstream *x, slice element) { x->way->write(x, element); }

void xstream_write_buf(struct xstream *x, struct buf *element)
{
    slice text = buf_fit(element);
    if (text.len > 0)
        xstream_write(x, text);
    buf_fini(element);
}

void xstream_close(struct xstream *x, slice last)
{
    ensure(xstream_here(x));
    if (x->state == STREAM_CLOSED)
        return;
    if (last.len > 0)
        xstream_write(x, last);
    xstream_now(x, STREAM_CLOSE);
    x->ops->closing(x);
    x->way->end(x);
}

void xstream_send_end(struct xstream *x)
{
    ensure(xstream_here(x) && x->way == &xstream_tcp);
    ensure(x->state == STREAM_BOUND && x->header_sent && !x->end_sent);
    conn_write(x->conn, SLICE("</stream:stream>"));
    x->end_sent = true;
}

void xstream_end(struct xstream *x, enum xstream_end why)
{
    x->ops->gone(x, why);
    xstream_close(x, (slice){ 0 });
}

void xstream_abort(struct xstream *x)
{
    xstream_now(x, STREAM_LOST);
    x->ops->closing(x);
    conn_abort(x->conn);
}

void xstream_fail(struct xstream *x, enum stream_error e, slice text)
{
    xstream_fail_with(x, e, text, (slice){ "", 0 });
}

void xstream_fail_with(struct xstream *x, enum stream_error e, slice text, slice app_xml)
{
    struct buf b;
    struct xml_write w;
    if (x->state == STREAM_CLOSED)
        return;
    if (!x->header_sent) /* RFC 6120 §4.9.1.2: the error needs a stream to be in */
        x->ops->greet(x);
    xml_begin(&w, &b, XML_PART_MAX);
    stream_error_write(&w, e, text, app_xml);
    x->ops->failed(x, e, text);
    xstream_close(x, x->end_sent ? (slice){ 0 } : buf_fit(&b));
    buf_fini(&b);
}

/* Holds. */

void xstream_hold(struct xstream *x, unsigned reason)
{
    ensure(reason != 0 && reason <= UINT8_MAX);
    xstream_mark(x);
    x->holds |= (uint8_t)reason;
    if (x->conn != NULL)
        conn_hold(x->conn, reason);
}

void xstream_release(struct xstream *x, unsigned reason)
{
    ensure(reason != 0 && reason <= UINT8_MAX);
    xstream_mark(x);
    x->holds &= (uint8_t)~reason;
    if (x->conn != NULL)
        conn_release(x->conn, reason);
    else
        x->way->read_on(x);
}

void xstream_can_be_resumed(struct xstream *x)
{
    if (x->conn != NULL)
        conn_ends_held(x->conn);
}

void xstream_is_slow(struct xstream *x, bool on)
{
    if (on)
        xstream_hold(x, CONN_HOLD_OUTPUT); /* stop reading a peer that reads slowly */
    else
        xstream_release(x, CONN_HOLD_OUTPUT);
    if (x->ops->slow != NULL)
        x->ops->slow(x, on);
}

bool xstream_takes_input(struct xstream *x)
{
    if (x->conn != NULL && conn_loop(x->conn) == NULL)
        return false;
    if (x->conn != NULL && x->holds == 0 && conn_is_high(x->conn))
        xstream_is_slow(x, true);
    return x->holds == 0 && stream_reads(x->role, x->state);
}

/* Rates: token buckets of one second, refilled when looked at. */

static int64_t rate_stanzas(const struct xstream *x) { return setting_int(x->ops->rates->stanzas); }
static int64_t rate_bytes(const struct xstream *x) { return setting_int(x->ops->rates->bytes); }

/* Of a rate that is too low for a stanza in this time, the rest of it counts the next time. */
static void rate_refill(struct xstream *x, uint64_t now)
{
    uint64_t us = now - x->filled_us;
    int64_t stanzas = rate_stanzas(x), bytes = rate_bytes(x);
    bool of_stanzas = stanzas <= INT32_MAX, of_bytes = bytes <= INT32_MAX;
    if (us > 1000000)
        us = 1000000;
    int64_t more = of_stanzas ? (int64_t)us * stanzas / 1000000 : 0;
    uint64_t rest = of_stanzas ? us - (uint64_t)(more * 1000000 / stanzas) : 0;
    x->filled_us = now - rest;
    int64_t st = x->stanza_tokens + more;
    int64_t by = x->byte_tokens + (of_bytes ? (int64_t)(us - rest) * bytes / 1000000 : 0);
    x->stanza_tokens = (int32_t)(st > stanzas ? stanzas : st);
    x->byte_tokens = (int32_t)(by > bytes ? bytes : by);
}

static bool rate_is_empty(const struct xstream *x)
{
    return (rate_stanzas(x) != SETTING_NONE && x->stanza_tokens <= 0) ||
           (rate_bytes(x) != SETTING_NONE && x->byte_tokens <= 0);
}

/* Not read for a while. */
static void rate_hold(struct xstream *x)
{
    if ((x->holds & CONN_HOLD_RATE) != 0)
        return;
    xstream_hold(x, CONN_HOLD_RATE);
    xstream_timer(x);
}

void xstream_slow(struct xstream *x, uint64_t ms)
{
    if (x->last)
        return;
    x->slow_until_us = loop_now_us(worker_loop(x->worker)) + ms * 1000;
    rate_hold(x);
}

enum { RATE_DEBT_S = 30, RATE_PAUSE_MS = 100 };

/* At most so much is owed that it is paid in half a minute. */
static void rate_take_bytes(struct xstream *x, int64_t rate, size_t bytes)
{
    int64_t floor = -rate * RATE_DEBT_S < INT32_MIN / 2 ? INT32_MIN / 2 : -rate * RATE_DEBT_S;
    int64_t left = (int64_t)x->byte_tokens - (int64_t)bytes;
    x->byte_tokens = (int32_t)(left < floor ? floor : left);
}

void xstream_charge(struct xstream *x, uint32_t bytes)
{
    int64_t rate = rate_bytes(x);
    ensure(x->ops->rates != NULL);
    if (rate == SETTING_NONE)
        return;
    rate_take_bytes(x, rate, bytes);
    x->in_debt = x->byte_tokens < 0 && !x->last;
    if (x->in_debt)
        rate_hold(x);
}

/* Takes tokens from the bucket. When it is empty, the peer is not read until there are some. */
static void rate_spend(struct xstream *x, int32_t stanzas, size_t bytes)
{
    int64_t of_stanzas = rate_stanzas(x), of_bytes = rate_bytes(x);
    if (of_stanzas != SETTING_NONE) {
        x->stanza_tokens = (int32_t)(x->stanza_tokens > of_stanzas ? of_stanzas : x->stanza_tokens);
        x->stanza_tokens -= stanzas;
    }
    if (of_bytes != SETTING_NONE) {
        x->byte_tokens = (int32_t)(x->byte_tokens > of_bytes ? of_bytes : x->byte_tokens);
        rate_take_bytes(x, of_bytes, bytes);
    }
    if (x->last || !rate_is_empty(x))
        return;
    uint64_t now = loop_now_us(worker_loop(x->worker));
    if (now - x->filled_us >= 1000)
        rate_refill(x, now);
    if (rate_is_empty(x))
        rate_hold(x);
}

void xstream_spend(struct xstream *x, int32_t stanzas, size_t bytes)
{
    rate_spend(x, stanzas, bytes);
    budget_grew(x->worker, bytes);
    if (budget_is_over(x->worker))
        rate_hold(x);
}

/* The end of a pause; with an empty bucket, a debt that is not paid or more time to wait, the next
 * one begins. */
static void rate_paused(struct xstream *x)
{
    uint64_t now = loop_now_us(worker_loop(x->worker));
    rate_refill(x, now);
    x->in_debt = x->in_debt && x->byte_tokens < 0 && rate_bytes(x) != SETTING_NONE;
    if (x->last || (!x->in_debt && !rate_is_empty(x) && now >= x->slow_until_us))
        xstream_release(x, CONN_HOLD_RATE);
    xstream_timer(x);
}

/* The peer may begin a new stream elsewhere, which must not be read before the rest of this one.
 * That rest is bounded by what the system has received. */
static void xstream_is_last(struct xstream *x)
{
    if (!x->ops->reads_last)
        return;
    x->last = true;
    x->in_debt = false;
    if ((x->holds & CONN_HOLD_RATE) != 0)
        rate_paused(x);
}

/* What waits for the peer. */

size_t xstream_output(const struct xstream *x)
{
    return x->conn != NULL ? conn_output_bytes(x->conn) : x->way->output(x);
}

const struct conn_info *xstream_peer(const struct xstream *x)
{
    return x->conn != NULL ? conn_info(x->conn) : x->way->peer(x);
}

/* Time. */

uint64_t xstream_last_us(const struct xstream *x)
{
    return x->conn != NULL ? conn_last_read_us(x->conn) : x->way->last_us(x);
}

uint64_t xstream_left_ms(const struct xstream *x, uint64_t limit_ms)
{
    uint64_t now = loop_now_us(worker_loop(x->worker)), due_us = x->opened_us + limit_ms * 1000;
    return due_us > now ? (due_us - now) / 1000 : 0;
}

void xstream_timer(struct xstream *x)
{
    uint64_t ms = x->ops->due_ms(x);
    if ((x->holds & CONN_HOLD_RATE) != 0 && ms > RATE_PAUSE_MS)
        ms = RATE_PAUSE_MS;
    if (ms == UINT64_MAX)
        timer_cancel(&x->timer);
    else
        timer_set(worker_loop(x->worker), &x->timer, ms);
}

static void xstream_on_timer(struct timer *t, struct loop *loop)
{
    struct xstream *x = CONTAINER_OF(t, struct xstream, timer);
    (void)loop;
    if (x->state == STREAM_CLOSED)
        return;
    if ((x->holds & CONN_HOLD_RATE) != 0 && x->ops->due_ms(x) > 0) /* a pause delays no end */
        rate_paused(x);
    else if (x->state != STREAM_BOUND)
        xstream_fail(x, XE_CONNECTION_TIMEOUT, slice_of(x->ops->late));
    else
        x->ops->idle(x);
}

/* Input. */

/* The declarations of the peer's header that names in this unit need. */
static slice declared_outside(const struct xstream *x)
{
    struct buf b;
    slice ns, prefix;
    unsigned used = worker_xml(x->worker)->root.stream_prefixes_used;
    if (used == 0)
        return (slice){ 0 };
    buf_init(&b, DECLARED_BYTES_MAX);
    for (unsigned i = 0; i < XML_STREAM_PREFIXES_MAX; i++) {
        if ((used >> i & 1) == 0 || (prefix = xml_stream_prefix(&x->reader, i, &ns)).len == 0)
            continue;
        char quote = memchr(ns.ptr, '\'', ns.len) != NULL ? '"' : '\'';
        buf_printf(&b, " xmlns:%.*s=%c%.*s%c", SLICE_ARG(prefix), quote, SLICE_ARG(ns), quote);
    }
    slice text = slice_dup(loop_scratch(worker_loop(x->worker)), buf_fit(&b));
    buf_fini(&b);
    return text;
}

bool xstream_elem(const struct xstream *x, slice unit, struct elem *out)
{
    return elem_parse_within(out, unit, xml_stream_default_ns(&x->reader), declared_outside(x));
}

static void element_ends(struct xstream *x, const struct xstream_unit *u)
{
    if (u->step.action == STREAM_HEARD && x->ops->heard != NULL)
        x->ops->heard(x, &u->elem);
    xstream_end(x, XSTREAM_ENDED);
}

/* What it is, and what is to be done about it. */
static void element_in(struct xstream *x, slice text)
{
    struct xstream_unit u = { .text = text, .input = STREAM_GOT_UNREADABLE };
    slice ns = xstream_ns(x, text);
    if (xstream_elem(x, text, &u.elem))
        u.input = stream_input_of(ns, u.elem.name, x->secure);
    u.step = xstream_meets(x, u.input);
    if (u.step.action == STREAM_FAIL)
        xstream_fail(x, u.step.error, slice_of(u.step.text));
    else if (u.step.action == STREAM_END || u.step.action == STREAM_HEARD)
        element_ends(x, &u);
    else if (u.step.action == STREAM_DO_STANZA)
        x->ops->stanza(x, text);
    else
        x->ops->element(x, &u);
}

size_t xstream_read(struct xstream *x, slice data, int32_t *stanzas)
{
    size_t used = 0;
    ensure(xstream_here(x));
    xstream_mark(x);
    enum xml_unit u = xml_read(&x->reader, worker_xml(x->worker), data, &used);
    slice unit = { data.ptr, used };
    switch (u) {
    case XML_ERROR:
        xstream_fail(x, stream_error_of_xml((int)x->reader.error), slice_of(x->reader.what));
        break;
    case XML_STREAM:
        if (xstream_header_due(x))
            x->ops->header(x, unit);
        break;
    case XML_STANZA:
        ++*stanzas;
        if (x->state == STREAM_BOUND && x->role != STREAM_TO_SERVER)
            x->ops->stanza(x, unit); /* whatever it is */
        else
            element_in(x, unit);
        break;
    case XML_END:
        if (x->state != STREAM_BOUND || x->ops->drains == NULL || !x->ops->drains(x))
            xstream_end(x, XSTREAM_ENDED);
        break;
    case XML_MORE:
    case XML_SPACE:
        break;
    }
    return used;
}

/* It may not take more of what has been read than its rates allow. */
static bool rate_is_used_up(const struct xstream *x, int32_t stanzas, size_t bytes)
{
    return x->ops->rates != NULL &&
           (stanzas >= x->stanza_tokens || (int64_t)bytes >= x->byte_tokens);
}

static size_t xstream_on_input(struct conn *c, slice data)
{
    struct xstream *x = conn_owner(c);
    struct xstreams *among = x->among;
    size_t done = 0, spent = 0;
    int32_t stanzas = 0;
    if (worker_pressure(x->worker)) {
        xstream_hold(x, CONN_HOLD_PRESSURE);
        return 0;
    }
    x->pinged = false;
    among->moved = false;
    while (done < data.len && !among->moved && xstream_takes_input(x)) {
        size_t used = xstream_read(x, slice_from(data, done), &stanzas);
        done += used;
        if (used == 0)
            break;
        if (!among->moved && x->state != STREAM_CLOSED &&
            rate_is_used_up(x, stanzas, done - spent)) {
            xstream_spend(x, stanzas, done - spent);
            spent = done;
            stanzas = 0;
        }
    }
    if (!among->moved && x->ops->rates != NULL && x->state != STREAM_CLOSED)
        xstream_spend(x, stanzas, done - spent);
    return done;
}

/* Events of the connection. */

static void xstream_secured(struct xstream *x)
{
    x->secure = true;
    if (xstream_now(x, STREAM_SECURED) == STREAM_RESTART)
        xstream_restart(x);
}

void xstream_on_event(struct conn *c, enum conn_event ev)
{
    struct xstream *x = conn_owner(c);
    switch (ev) {
    case CONN_SECURED:
        xstream_secured(x);
        break;
    case CONN_DRAINED:
        if (x->ops->drained != NULL)
            x->ops->drained(x);
        break;
    case CONN_HIGH:
    case CONN_LOW:
        xstream_is_slow(x, ev == CONN_HIGH);
        break;
    case CONN_OVERFLOW:
        xstream_fail(x, XE_POLICY_VIOLATION, SLICE("too much output waits: read faster"));
        x->ops->gone(x, XSTREAM_SLOW);
        break;
    case CONN_LAST:
        xstream_is_last(x);
        break;
    case CONN_EOF:
        xstream_end(x, XSTREAM_LOST);
        break;
    case CONN_FAILED:
        x->ops->gone(x, XSTREAM_BROKEN);
        xstream_abort(x);
        break;
    }
}

void xstream_on_closed(struct conn *c)
{
    struct xstream *x = conn_owner(c);
    x->ops->free(x);
}

const struct conn_ops xstream_conn_ops = { xstream_on_input, xstream_on_event, xstream_on_closed };

/* Life. */

void xstreams_init(struct xstreams *all)
{
    list_init(&all->all);
#ifdef MUSTER_DEBUG
    list_init(&all->marked);
#endif
}

void xstreams_release(struct xstreams *all)
{
    LIST_EACH (it, &all->all)
        xstream_release(CONTAINER_OF(it, struct xstream, node), CONN_HOLD_PRESSURE);
}

void xstream_adopt(struct xstream *x, struct worker *w, struct xstreams *among)
{
    ensure(worker_is_here(w) && x->among == NULL && !list_linked(&x->node));
    x->worker = w;
    x->among = among;
    x->id = connection_new_id(w);
    list_append(&among->all, &x->node);
    among->count++;
    xstream_mark(x);
}

void xstream_leave(struct xstream *x)
{
    ensure(x->among != NULL && x->among->count > 0);
    timer_cancel(&x->timer);
    xstream_unmark(x);
    list_remove(&x->node);
    x->among->count--;
    x->among = NULL;
}

void xstream_init(struct xstream *x, struct worker *w, const struct xml_limits *limits)
{
    ensure(x->ops != NULL && x->way != NULL && x->role < STREAM_ROLE_COUNT);
    x->filled_us = x->opened_us = loop_now_us(worker_loop(w));
    x->timer.fn = xstream_on_timer;
    xml_reader_init(&x->reader, limits);
    if (x->ops->rates == NULL)
        return;
    x->stanza_tokens = x->byte_tokens = INT32_MAX / 2;
    rate_refill(x, x->filled_us);
}

void xstream_fini(struct xstream *x)
{
    xstream_leave(x);
    xml_reader_fini(&x->reader);
}
