#include "im/link.h"
#include "base/arena.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "im/core.h"
#include "xmpp/sasl2.h"

/* Both have the number of their worker in the low bits. */
static bool id_is_of(uint64_t id, const struct worker *w)
{
    return (id & 0xffff) == worker_index(w);
}

struct map *link_streams(const struct worker *w) { return &core_of(w)->streams; }

/* A bind request, to the home of the account. */

struct bind {
    struct bind_request req; /* without a local stream */
    slice device;            /* of DEVICE_ID_LEN bytes, or none */
};

void link_send_bind(struct worker *w, const struct bind_request *req)
{
    struct bind bind = { .req = *req };
    bind.req.link.local = NULL;
    if (device_is_known(req->device))
        bind.device = (slice){ (const char *)req->device, sizeof req->device };
    home_send(w, req->bare, &bind_message, &bind);
}

static void bind_run(struct worker *w, void *message, const struct message_from *from)
{
    struct bind *bind = message;
    (void)from;
    if (bind->device.len > 0)
        memcpy(bind->req.device, bind->device.ptr, sizeof bind->req.device);
    session_bind(w, &bind->req);
}

/* Its address with a resource is one, too. */
static bool bind_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct bind *bind = message;
    const struct bind_request *req = &bind->req;
    struct jid jid;
    (void)from;
    if (req->link.node == 0 ||
        (req->link.node == worker_node(w)->id &&
         (req->link.id & 0xffff) >= worker_node(w)->worker_count) ||
        (bind->device.len != 0 && bind->device.len != sizeof req->device))
        return false;
    if (req->resume || req->resource.len == 0)
        return true;
    slice full = slice_of(arena_printf(loop_scratch(worker_loop(w)), "%.*s/%.*s",
                                       SLICE_ARG(req->bare), SLICE_ARG(req->resource)));
    return full.len == req->bare.len + 1 + req->resource.len &&
           jid_parse(&jid, full, loop_scratch(worker_loop(w))) == OK && slice_eq(jid.full, full);
}

enum { PEER_MAX = 63 };

static const struct message_field bind_fields[] = {
    F_U64(struct bind, req.link.id),
    F_U32(struct bind, req.link.node, UINT32_MAX),
    F_BARE(struct bind, req.bare),
    F_I64(struct bind, req.account_id),
    F_I64(struct bind, req.generation),
    F_BYTES(struct bind, req.resource, JID_PART_MAX),
    F_BYTES(struct bind, req.bind2, BIND2_BYTES_MAX),
    F_BYTES(struct bind, device, DEVICE_ID_LEN),
    F_U32(struct bind, req.h, UINT32_MAX),
    F_BOOL(struct bind, req.resume),
    F_BOOL(struct bind, req.secure),
    F_BOOL(struct bind, req.by_token),
    F_BYTES(struct bind, req.peer, PEER_MAX),
    { 0 },
};
const struct message_row bind_message = {
    .id = 5,
    .scope = MESSAGE_CLUSTER,
    .name = "bind",
    .size = sizeof(struct bind),
    .fields = bind_fields,
    .run = bind_run,
    .sound = bind_is_sound,
};

/* Up: from a stream to the home of its session. */

struct up_sent {
    uint64_t session, stream;
    uint8_t kind; /* enum up_kind */
    uint32_t num;
    struct stanza *st;
};

void link_send_up(struct worker *w, uint64_t stream, uint32_t node, uint64_t session,
                  const struct up *up)
{
    struct up_sent sent = { session, stream, (uint8_t)up->kind, up->num, up->st };
    home_send_to(w, node, session & 0xffff, &up_message, &sent);
}

static void up_run(struct worker *w, void *message, const struct message_from *from)
{
    struct up_sent *sent = message;
    struct session *s = session_find(w, sent->session);
    /* While this was on its way the session may have ended, or been resumed by another stream: then
     * its client repeats what was not counted. */
    if (s == NULL || s->link.id != sent->stream || s->link.node != from->node)
        return;
    struct up up = { .kind = sent->kind, .num = sent->num, .st = sent->st };
    sent->st = NULL;
    session_up(s, &up);
}

static bool up_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct up_sent *sent = message;
    (void)from;
    return id_is_of(sent->session, w) && (sent->kind == UP_STANZA) == (sent->st != NULL) &&
           (sent->kind != UP_GONE || sent->num <= END_SHUTDOWN);
}

static const struct message_field up_fields[] = {
    F_U64(struct up_sent, session),       F_U64(struct up_sent, stream),
    F_U8(struct up_sent, kind, UP_GONE),  F_U32(struct up_sent, num, UINT32_MAX),
    F_STANZA_OR_NONE(struct up_sent, st), { 0 },
};
const struct message_row up_message = {
    .id = 6,
    .scope = MESSAGE_CLUSTER,
    .name = "up",
    .size = sizeof(struct up_sent),
    .fields = up_fields,
    .run = up_run,
    .sound = up_is_sound,
};

/* Down: from the home of a session to its stream. */

enum { DOWN_TEXT_MAX = 4 * BIND2_BYTES_MAX };

struct down_sent {
    uint64_t stream, session;
    uint8_t kind, error, end; /* enums of struct down */
    uint32_t num;
    struct stanza *st;
    bool noted; /* the four below are a note */
    uint64_t archive_id, delay_us;
    slice by, to;
    slice text, more;
};

void link_send_down(struct worker *w, const struct link *link, const struct down *d)
{
    struct down_sent sent = { .stream = link->id,
                              .session = d->session,
                              .kind = (uint8_t)d->kind,
                              .error = (uint8_t)d->error,
                              .end = (uint8_t)d->end,
                              .num = d->num,
                              .st = d->st == NULL ? NULL : stanza_ref(d->st),
                              .text = d->text,
                              .more = d->more };
    if (d->note != NULL) {
        sent.noted = true;
        sent.archive_id = d->note->archive_id;
        sent.delay_us = d->note->delay_us;
        sent.by = d->note->by;
        sent.to = d->note->to;
    }
    home_send_to(w, link->node, link->id & 0xffff, &down_message, &sent);
}

static void down_give(struct worker *w, struct stream *stream, const struct down_sent *sent)
{
    struct stanza_note note = { sent->archive_id, sent->delay_us, sent->by, sent->to };
    if (note.to.len == 0)
        note.to.ptr = NULL;
    worker_node(w)->gate->down(stream, &(struct down){ .kind = sent->kind,
                                                       .num = sent->num,
                                                       .st = sent->st,
                                                       .note = sent->noted ? &note : NULL,
                                                       .text = sent->text,
                                                       .more = sent->more,
                                                       .error = sent->error,
                                                       .end = sent->end,
                                                       .session = sent->session });
}

static void down_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct down_sent *sent = message;
    struct stream *stream =
        map_get(&core_of(w)->streams, (slice){ (const char *)&sent->stream, sizeof sent->stream });
    if (stream != NULL)
        down_give(w, stream, sent);
    else if (sent->kind == DOWN_BOUND || sent->kind == DOWN_RESUMED)
        /* the client left while the home of its session was asked: that must not wait for it */
        link_send_up(w, sent->stream, from->node, sent->session,
                     &(struct up){ .kind = UP_GONE, .num = END_LOST });
}

static bool down_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct down_sent *sent = message;
    (void)from;
    return id_is_of(sent->stream, w) && (sent->kind == DOWN_STANZA) == (sent->st != NULL);
}

static const struct message_field down_fields[] = {
    F_U64(struct down_sent, stream),
    F_U64(struct down_sent, session),
    F_U8(struct down_sent, kind, DOWN_CLOSE),
    F_U8(struct down_sent, error, STANZA_ERROR_COUNT - 1),
    F_U8(struct down_sent, end, END_SHUTDOWN),
    F_U32(struct down_sent, num, UINT32_MAX),
    F_STANZA_OR_NONE(struct down_sent, st),
    F_BOOL(struct down_sent, noted),
    F_U64(struct down_sent, archive_id),
    F_U64(struct down_sent, delay_us),
    F_BYTES(struct down_sent, by, JID_MAX),
    F_BYTES(struct down_sent, to, JID_MAX),
    F_BYTES(struct down_sent, text, DOWN_TEXT_MAX),
    F_BYTES(struct down_sent, more, DOWN_TEXT_MAX),
    { 0 },
};
const struct message_row down_message = {
    .id = 7,
    .scope = MESSAGE_CLUSTER,
    .name = "down",
    .size = sizeof(struct down_sent),
    .fields = down_fields,
    .run = down_run,
    .sound = down_is_sound,
};
