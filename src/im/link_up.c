#include "im/link_up.h"
#include "base/arena.h"
#include "home/connection.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "im/link_private.h"
#include "im/session.h"
#include "im/sessions.h"
#include "xmpp/sasl2.h"

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
};

/* A slot has moved to another worker of this node. */
static bool up_pass_on(struct worker *w, struct up_sent *sent)
{
    uint32_t node;
    unsigned home = node_home_of_slot(worker_node(w), origin_slot(sent->session), &node);
    if (node != worker_node(w)->id || home == worker_index(w))
        return false;
    struct up_sent copy = *sent;
    sent->st = NULL;
    home_send_to(w, 0, home, &up_message, &copy);
    return true;
}

static void up_run(struct worker *w, void *message, const struct message_from *from)
{
    struct up_sent *sent = message;
    struct session *s = session_find(w, sent->session);
    (void)from;
    if (s == NULL && up_pass_on(w, sent))
        return;
    /* While this was on its way the session may have ended, or been resumed by another stream: then
     * its client repeats what was not counted. */
    if (s == NULL || s->link.id != sent->stream || s->link.node != sent->node)
        return;
    struct up up = { .kind = sent->kind, .num = sent->num, .st = sent->st };
    sent->st = NULL;
    session_up(s, &up);
}

static bool up_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct up_sent *sent = message;
    (void)w, (void)from;
    return origin_slot(sent->session) < NODE_SLOTS &&
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
};
