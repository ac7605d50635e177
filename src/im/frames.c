#include "im/frames.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "home/node.h"
#include "home/worker.h"
#include "im/account.h"
#include "im/audience.h"
#include "im/fan.h"
#include "im/frames_wire.h"
#include "im/router.h"
#include "im/session_input.h"
#include "im/subscription.h"
#include "xmpp/sasl2.h"

void frame_send(struct worker *w, uint32_t node, unsigned worker, struct frame *f)
{
    struct node *n = w->node;
    if (node == 0 || node == n->id) {
        mesh_send(w->port, worker, f);
        return;
    }
    struct buf b;
    buf_init(&b, 64u << 20);
    frame_pack(&b, f);
    n->bus->ops->send(n->bus, w->index, node, worker, buf_slice(&b));
    buf_fini(&b);
    struct stanza *st = f->obj;
    stanza_unref(&st);
    frame_free(&f);
}

/* Up: from a stream to the home of its session. */

void frame_send_up(struct worker *w, uint64_t stream, uint32_t node, uint64_t session,
                   const struct up *up)
{
    struct frame *f = frame_create(FRAME_UP, (slice){ 0 }, (slice){ 0 });
    f->num[0] = session;
    f->num[1] = (uint64_t)up->kind;
    f->num[2] = up->num;
    f->num[3] = stream;
    f->obj = up->st;
    frame_send(w, node, session & 0xffff, f);
}

static void deliver_up(struct frame *f, struct worker *w)
{
    struct up up = { .kind = (enum up_kind)f->num[1], .num = (uint32_t)f->num[2], .st = f->obj };
    struct session *s = session_find(w, f->num[0]);
    uint32_t node = f->node == 0 ? w->node->id : f->node;
    /* While this was on its way the session may have ended, or been resumed by another stream: then
     * its client repeats what was not counted. */
    if (s == NULL || s->link.id != f->num[3] || s->link.node != node)
        stanza_unref(&up.st);
    else
        session_up(s, &up);
}

void frame_send_bind(struct worker *w, uint32_t node, unsigned worker,
                     const struct bind_request *req)
{
    char device[DEVICE_ID_TEXT] = "";
    struct buf text;
    if (device_is_known(req->device))
        device_id_format(device, req->device);
    buf_init(&text, BIND2_BYTES_MAX + JID_PART_MAX + 128);
    buf_printf(&text, "%.*s\n%s\n%zu\n", SLICE_ARG(req->peer), device, req->bind2.len);
    buf_add(&text, req->bind2);
    buf_add(&text, req->resource);
    ensure(!text.overflow);
    struct frame *f = frame_create(FRAME_BIND, req->bare, buf_slice(&text));
    buf_fini(&text);
    f->num[0] = req->link.id;
    f->num[1] = (uint64_t)req->account_id;
    f->num[2] = (uint64_t)req->generation;
    f->num[3] = (uint64_t)req->h << 32 | req->link.node;
    f->flags = (uint8_t)((req->resume ? BIND_RESUME : 0) | (req->secure ? BIND_SECURE : 0) |
                         (req->by_token ? BIND_BY_TOKEN : 0));
    frame_send(w, node, worker, f);
}

bool frame_bind_text(slice text, struct bind_request *out)
{
    slice device, length;
    int64_t len;
    if (!slice_cut(text, '\n', &out->peer, &text) || !slice_cut(text, '\n', &device, &text) ||
        !slice_cut(text, '\n', &length, &text) || !slice_int(length, &len) || len < 0 ||
        (uint64_t)len > text.len || len > BIND2_BYTES_MAX)
        return false;
    out->bind2 = (slice){ text.ptr, (size_t)len };
    out->resource = slice_from(text, (size_t)len);
    return device.len == 0 || device_id_parse(out->device, device) == OK;
}

static void deliver_bind(struct frame *f, struct worker *w)
{
    struct bind_request req = { .link = { .id = f->num[0], .node = (uint32_t)f->num[3] },
                                .bare = f->str[0],
                                .account_id = (int64_t)f->num[1],
                                .generation = (int64_t)f->num[2],
                                .h = (uint32_t)(f->num[3] >> 32),
                                .resume = f->flags & BIND_RESUME,
                                .secure = f->flags & BIND_SECURE,
                                .by_token = f->flags & BIND_BY_TOKEN };
    if (!frame_bind_text(f->str[1], &req))
        return;
    session_bind(w, &req);
}

/* Down: from the home of a session to its stream. */

enum { DOWN_TEXT_MAX = 4 * BIND2_BYTES_MAX };

struct down_wire { /* numbers that do not fit into the frame's own, before the text in str[1] */
    uint64_t archive_id, delay_us, session;
    uint32_t num, text_len; /* what is behind the text is `more` */
    uint8_t kind, error, end, has_note, has_to;
};

void frame_send_down(struct worker *w, const struct link *link, const struct down *d)
{
    struct down_wire wire = { .session = d->session,
                              .num = d->num,
                              .kind = (uint8_t)d->kind,
                              .error = (uint8_t)d->error,
                              .end = (uint8_t)d->end };
    slice text = d->text;
    if (d->note != NULL) {
        wire.has_note = 1;
        wire.archive_id = d->note->archive_id;
        wire.delay_us = d->note->delay_us;
        wire.has_to = d->note->to.ptr != NULL;
        text = wire.has_to ? d->note->to : d->note->by;
    }
    struct buf both;
    buf_init(&both, DOWN_TEXT_MAX);
    if (d->more.len > 0) {
        buf_add(&both, text);
        buf_add(&both, d->more);
    }
    wire.text_len = (uint32_t)text.len;
    struct frame *f = frame_create(FRAME_DOWN, (slice){ (const char *)&wire, sizeof wire },
                                   d->more.len > 0 ? buf_slice(&both) : text);
    buf_fini(&both);
    f->num[0] = link->id;
    f->obj = d->st == NULL ? NULL : stanza_ref(d->st);
    frame_send(w, link->node, link->id & 0xffff, f);
}

/* The client left while the home of its session was asked: the session must not wait for it. */
static void stream_is_gone(struct worker *w, const struct frame *f, const struct down_wire *d)
{
    if (d->kind == DOWN_BOUND || d->kind == DOWN_RESUMED)
        frame_send_up(w, f->num[0], f->node, d->session,
                      &(struct up){ .kind = UP_GONE, .num = END_LOST });
}

/* false: another node sent what no node sends. */
static bool down_read(struct down_wire *out, const struct frame *f)
{
    if (f->str[0].len != sizeof *out)
        return false;
    memcpy(out, f->str[0].ptr, sizeof *out);
    return out->kind <= DOWN_CLOSE && out->error < STANZA_ERROR_COUNT && out->end <= END_SHUTDOWN &&
           out->text_len <= f->str[1].len && (out->kind == DOWN_STANZA) == (f->obj != NULL);
}

static void deliver_down(struct frame *f, struct worker *w)
{
    struct down_wire wire;
    struct stanza_note note = { 0 };
    struct stream *stream =
        map_get(&w->streams, (slice){ (const char *)&f->num[0], sizeof f->num[0] });
    struct stanza *st = f->obj;
    if (!down_read(&wire, f)) {
        stanza_unref(&st);
        return;
    }
    if (stream != NULL) {
        if (wire.has_note) {
            note.archive_id = wire.archive_id;
            note.delay_us = wire.delay_us;
            *(wire.has_to ? &note.to : &note.by) = f->str[1];
        }
        w->node->gate->down(stream, &(struct down){ .kind = wire.kind,
                                                    .num = wire.num,
                                                    .st = st,
                                                    .note = wire.has_note ? &note : NULL,
                                                    .text = { f->str[1].ptr, wire.text_len },
                                                    .more = slice_from(f->str[1], wire.text_len),
                                                    .error = wire.error,
                                                    .end = wire.end,
                                                    .session = wire.session });
    } else {
        stream_is_gone(w, f, &wire);
    }
    stanza_unref(&st);
}

static void deliver_route(struct frame *f, struct worker *w)
{
    struct origin o = { f->num[0], (uint32_t)(f->num[1] >> 32), (uint32_t)f->num[1] };
    if (route_arrived(w, f->obj, o, f->num[2], (int64_t)f->num[3]) == ROUTED && o.session != 0)
        ticket_done(w, o);
}

static void deliver_ticket(struct frame *f, struct worker *w)
{
    ticket_done(w, (struct origin){ f->num[0], w->node->id, (uint32_t)f->num[1] });
}

static void deliver_charge(struct frame *f, struct worker *w)
{
    session_charge(w, (struct origin){ .session = f->num[0], .node = w->node->id }, f->num[1]);
}

static void deliver_fan(struct frame *f, struct worker *w)
{
    struct stanza *st = f->obj;
    fan_arrived(w, st, f->str[0], f->str[1]);
    stanza_unref(&st);
}

void frame_send_fan(struct worker *w, unsigned worker, struct stanza *st, slice tag,
                    slice packed_jids)
{
    struct frame *f = frame_create(FRAME_FAN, tag, packed_jids);
    f->obj = stanza_ref(st);
    frame_send(w, 0, worker, f);
}

/* A subscription stanza of an account of another node is committed there (architecture §3). */

void frame_send_settled(struct worker *w, slice sender, slice rcpt, int64_t axis, int64_t verb)
{
    uint32_t node;
    unsigned home = node_home(w->node, sender, &node);
    struct frame *f = frame_create(FRAME_SETTLED, sender, rcpt);
    f->num[0] = (uint64_t)axis;
    f->num[1] = (uint64_t)verb;
    frame_send(w, node, home, f);
}

static void deliver_settled(struct frame *f, struct worker *w)
{
    subscription_settled(w, f->str[0], f->str[1], (int64_t)f->num[0], (int64_t)f->num[1]);
}

static void deliver_arrive(struct frame *f, struct worker *w) { w->node->gate->arrive(w, f->obj); }

void frame_send_arrive(struct worker *w, unsigned worker, void *conn)
{
    struct frame *f = frame_create(FRAME_ARRIVE, (slice){ 0 }, (slice){ 0 });
    f->obj = conn;
    frame_send(w, 0, worker, f);
}

static void deliver_remote(struct frame *f, struct worker *w)
{
    w->node->gate->remote(w, f->num[0], f->obj);
}

static void deliver_audience(struct frame *f, struct worker *w) { audience_arrived(w, f); }

static void (*const deliver[FRAME_KINDS])(struct frame *f, struct worker *w) = {
    [FRAME_ROUTE] = deliver_route,   [FRAME_TICKET] = deliver_ticket,
    [FRAME_UP] = deliver_up,         [FRAME_BIND] = deliver_bind,
    [FRAME_DOWN] = deliver_down,     [FRAME_FAN] = deliver_fan,
    [FRAME_ARRIVE] = deliver_arrive, [FRAME_SETTLED] = deliver_settled,
    [FRAME_REMOTE] = deliver_remote, [FRAME_AUDIENCE] = deliver_audience,
    [FRAME_CHARGE] = deliver_charge,
};

void frames_deliver(struct frame *f, void *worker)
{
    ensure(f->kind < FRAME_KINDS); /* ours, or checked by frame_unpack() */
    deliver[f->kind](f, worker);
    frame_free(&f);
}

void frames_drop(struct frame *f)
{
    struct stanza *st = f->kind == FRAME_ARRIVE ? NULL : f->obj;
    stanza_unref(&st);
}
