#include "im/frames_wire.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "bus/bus.h"
#include "home/node.h"
#include "home/worker.h"
#include "im/frames.h"

struct log_area log_frames = { .name = "frames", .level = LOG_INFO };

struct frame_wire { /* no padding */
    uint64_t num[4];
    uint32_t len[2], stanza_len;
    uint8_t kind, flags, odd, zero;
};

/* What the text of a stanza does not tell. */
enum { ODD_TYPE = 1, ODD_TO = 2 };

static bool worker_is(uint64_t id, const struct worker *w) { return (id & 0xffff) == w->index; }

static bool route_is_sound(const struct frame *f, const struct worker *w)
{
    const struct stanza *st = f->obj;
    (void)w;
    return st != NULL && st->to_len > 0 && st->from_len > 0;
}

static bool id_is_sound(const struct frame *f, const struct worker *w)
{
    return f->obj == NULL && worker_is(f->num[0], w);
}

static bool up_is_sound(const struct frame *f, const struct worker *w)
{
    return worker_is(f->num[0], w) && f->num[1] <= UP_GONE &&
           (f->num[1] == UP_STANZA) == (f->obj != NULL) &&
           (f->num[1] != UP_GONE || f->num[2] <= END_SHUTDOWN);
}

/* Prepared, as every address is on the way. */
static bool is_jid(slice text, const struct worker *w)
{
    struct jid jid;
    return jid_parse(&jid, text, loop_scratch(w->loop)) == OK && slice_eq(jid.full, text);
}

static bool bind_is_sound(const struct frame *f, const struct worker *w)
{
    struct bind_request req = { 0 };
    slice jid = f->str[0];
    uint32_t node = (uint32_t)f->num[3];
    bool here = node == w->node->id;
    if (f->obj != NULL || node == 0 || !frame_bind_text(f->str[1], &req) || req.peer.len >= 64 ||
        (here && (f->num[0] & 0xffff) >= w->node->worker_count))
        return false;
    slice resource = req.resource;
    if ((f->flags & BIND_RESUME) != 0)
        return resource.len <= JID_PART_MAX && is_jid(jid, w);
    if (resource.len > 0)
        jid = slice_of(arena_printf(loop_scratch(w->loop), "%.*s/%.*s", SLICE_ARG(f->str[0]),
                                    SLICE_ARG(resource)));
    return resource.len + f->str[0].len + (resource.len > 0) == jid.len && is_jid(f->str[0], w) &&
           is_jid(jid, w);
}

static bool down_is_sound(const struct frame *f, const struct worker *w)
{
    return worker_is(f->num[0], w);
}

static bool settled_is_sound(const struct frame *f, const struct worker *w)
{
    return f->obj == NULL && is_jid(f->str[0], w) && is_jid(f->str[1], w);
}

/* NULL: of this process only. */
static bool (*const is_sound[FRAME_KINDS])(const struct frame *f, const struct worker *w) = {
    [FRAME_ROUTE] = route_is_sound, [FRAME_TICKET] = id_is_sound,
    [FRAME_UP] = up_is_sound,       [FRAME_BIND] = bind_is_sound,
    [FRAME_DOWN] = down_is_sound,   [FRAME_SETTLED] = settled_is_sound,
    [FRAME_CHARGE] = id_is_sound,
};

void frame_pack(struct buf *out, const struct frame *f)
{
    const struct stanza *st = f->obj;
    ensure(f->kind < FRAME_KINDS && is_sound[f->kind] != NULL);
    struct frame_wire wire = { .len = { (uint32_t)f->str[0].len, (uint32_t)f->str[1].len },
                               .kind = f->kind,
                               .flags = f->flags };
    memcpy(wire.num, f->num, sizeof wire.num);
    if (st != NULL)
        wire.odd = (uint8_t)((st->type == TYPE_INVALID ? ODD_TYPE : 0) | (st->bad_to ? ODD_TO : 0));
    size_t head = out->len;
    buf_append(out, &wire, sizeof wire);
    buf_add(out, f->str[0]);
    buf_add(out, f->str[1]);
    size_t at = out->len;
    if (st != NULL)
        stanza_store(out, st);
    wire.stanza_len = (uint32_t)(out->len - at);
    if (!out->overflow)
        memcpy(out->ptr + head, &wire, sizeof wire);
}

static enum err load(struct stanza **out, slice text, uint8_t odd, struct worker *w)
{
    *out = NULL;
    if (text.len == 0)
        return OK;
    if (stanza_load(out, text, w->xml, loop_scratch(w->loop)) != OK)
        return E_CORRUPT;
    if ((odd & ODD_TYPE) != 0)
        (*out)->type = TYPE_INVALID;
    (*out)->bad_to = (odd & ODD_TO) != 0;
    return OK;
}

enum err frame_unpack(struct frame **out, slice bytes, struct worker *w)
{
    struct frame_wire wire;
    struct stanza *st;
    if (bytes.len < sizeof wire)
        return E_CORRUPT;
    memcpy(&wire, bytes.ptr, sizeof wire);
    slice rest = slice_from(bytes, sizeof wire);
    if (wire.kind >= FRAME_KINDS || is_sound[wire.kind] == NULL ||
        (uint64_t)wire.len[0] + wire.len[1] + wire.stanza_len != rest.len)
        return E_CORRUPT;
    slice s0 = { rest.ptr, wire.len[0] }, s1 = { rest.ptr + wire.len[0], wire.len[1] };
    slice text = slice_from(rest, (size_t)wire.len[0] + wire.len[1]);
    if (load(&st, text, wire.odd, w) != OK)
        return E_CORRUPT;
    struct frame *f = frame_create(wire.kind, s0, s1);
    memcpy(f->num, wire.num, sizeof wire.num);
    f->flags = wire.flags;
    f->obj = st;
    if (!is_sound[wire.kind](f, w)) {
        stanza_unref(&st);
        frame_free(&f);
        return E_CORRUPT;
    }
    *out = f;
    return OK;
}

void frames_receive(void *worker, const struct bus_from *from, slice bytes)
{
    struct worker *w = worker;
    struct frame *f;
    uint32_t node;
    if (frame_unpack(&f, bytes, w) != OK) {
        log_warn(&log_frames, LOG_EV("frame.corrupt"), LOG_I("node", from->node),
                 LOG_I("bytes", (int64_t)bytes.len),
                 LOG_C("hint", "a damaged frame of another node was dropped"));
        return;
    }
    f->node = from->node;
    f->epoch = from->epoch;
    f->worker = (uint16_t)from->worker;
    f->seq = from->seq;
    if (f->kind == FRAME_ROUTE) {
        /* tickets go back to where it came from, whatever it says */
        f->num[1] = (uint64_t)from->node << 32 | (uint32_t)f->num[1];
        unsigned home = node_home(w->node, stanza_to_bare(f->obj), &node);
        if (node == w->node->id && home != w->index) { /* a slot has moved */
            frame_send(w, 0, home, f);
            return;
        }
    }
    frames_deliver(f, w);
}
