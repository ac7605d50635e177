#include "session/link.h"
#include "base/arena.h"
#include "core/core.h"
#include "home/connection.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "session/link_private.h"

struct map *link_streams(const struct worker *w) { return &core_of(w)->streams; }

/* A bind request, to the home of the account. */

void link_send_bind(struct worker *w, const struct bind_request *req)
{
    struct bind bind = { .req = *req };
    bind.req.link.local = NULL;
    if (device_is_known(req->device))
        bind.device = (slice){ (const char *)req->device, sizeof req->device };
    home_send(w, req->bare, &bind_message, &bind);
}

/* Up: from a stream to the home of its session. */

void link_send_up(struct worker *w, uint64_t stream, uint64_t session, const struct up *up)
{
    struct up_sent sent = {
        session, stream, (uint8_t)up->kind, up->num, up->st, worker_node(w)->id
    };
    uint32_t node;
    unsigned home = node_home_of_slot(worker_node(w), origin_slot(session), &node);
    home_send_to(w, node, home, &up_message, &sent);
}

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
    home_send_to(w, link->node, connection_worker(link->id), &down_message, &sent);
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
    (void)from;
    struct stream *stream =
        map_get(&core_of(w)->streams, (slice){ (const char *)&sent->stream, sizeof sent->stream });
    if (stream != NULL)
        down_give(w, stream, sent);
    else if (sent->kind == DOWN_BOUND || sent->kind == DOWN_RESUMED)
        /* the client left while the home of its session was asked: that must not wait for it */
        link_send_up(w, sent->stream, sent->session,
                     &(struct up){ .kind = UP_GONE, .num = END_LOST });
}

static bool down_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct down_sent *sent = message;
    (void)from;
    return connection_worker(sent->stream) == worker_index(w) &&
           origin_slot(sent->session) < NODE_SLOTS &&
           (sent->kind == DOWN_STANZA) == (sent->st != NULL);
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
