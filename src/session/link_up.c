#include "session/link_up.h"
#include "base/arena.h"
#include "home/connection.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "session/link_private.h"
#include "session/session.h"
#include "session/sessions.h"
#include "xmpp/sasl2.h"

static void bind_run(struct worker *w, void *message, const struct message_from *from)
{
    struct bind *bind = message;
    (void)from;
    if (bind->device.len > 0)
        memcpy(bind->req.device, bind->device.ptr, sizeof bind->req.device);
    session_bind_here(w, &bind->req);
}

static unsigned bind_slot(const void *message)
{
    return node_slot(((const struct bind *)message)->req.bare);
}

static void bind_unplaced(struct worker *w, void *message)
{
    const struct bind_request *req = &((const struct bind *)message)->req;
    session_bind_refuse(w, req, SE_RESOURCE_CONSTRAINT, SLICE("the home of the account is moving"));
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
         connection_worker(req->link.id) >= worker_node(w)->worker_count) ||
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
    .slot = bind_slot,
    .unplaced = bind_unplaced,
};

/* The stream of a session that cannot be found: its client resumes it, and repeats what was not
 * counted, or logs in anew. */
static void up_in_vain(struct worker *w, void *message)
{
    const struct up_sent *sent = message;
    const struct link link = { .id = sent->stream, .node = sent->node };
    if (sent->kind != UP_GONE && node_is_there(worker_node(w), sent->node))
        link_send_down(
            w, &link,
            &(struct down){ .kind = DOWN_CLOSE, .end = END_SHUTDOWN, .session = sent->session });
}

static void up_run(struct worker *w, void *message, const struct message_from *from)
{
    struct up_sent *sent = message;
    struct session *s = session_find(w, sent->session);
    (void)from;
    /* While this was on its way the session may have ended, or been resumed by another stream: then
     * its client repeats what was not counted. Its stream was told, unless it ended on the way to
     * another node. */
    if (s == NULL) {
        up_in_vain(w, message);
        return;
    }
    if (s->link.id != sent->stream || s->link.node != sent->node)
        return;
    struct up up = { .kind = sent->kind, .num = sent->num, .st = sent->st };
    sent->st = NULL;
    session_up(s, &up);
}

static unsigned up_slot(const void *message)
{
    return origin_slot(((const struct up_sent *)message)->session);
}

static bool up_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct up_sent *sent = message;
    const struct node *n = worker_node(w);
    (void)from;
    return origin_slot(sent->session) < NODE_SLOTS && sent->node != 0 &&
           (sent->node != n->id || connection_worker(sent->stream) < n->worker_count) &&
           (sent->kind == UP_STANZA) == (sent->st != NULL) &&
           (sent->kind != UP_GONE || sent->num <= END_SHUTDOWN);
}

static const struct message_field up_fields[] = {
    F_U64(struct up_sent, session),
    F_U64(struct up_sent, stream),
    F_U8(struct up_sent, kind, UP_GONE),
    F_U32(struct up_sent, num, UINT32_MAX),
    F_STANZA_OR_NONE(struct up_sent, st),
    F_U32(struct up_sent, node, UINT32_MAX),
    { 0 },
};
const struct message_row up_message = {
    .id = 6,
    .scope = MESSAGE_CLUSTER,
    .name = "up",
    .size = sizeof(struct up_sent),
    .fields = up_fields,
    .run = up_run,
    .sound = up_is_sound,
    .slot = up_slot,
    .unplaced = up_in_vain,
};
