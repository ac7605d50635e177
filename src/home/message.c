#include "home/message.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "bus/bus.h"
#include "home/message_fields.h"
#include "home/message_rows.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/question.h"
#include "home/slots.h"
#include "home/worker.h"
#include "io/mesh.h"
#include "xmpp/stanza.h"

static slice *slice_in(void *message, uint16_t at)
{
    return (slice *)(void *)((char *)message + at);
}

/* Within the process. */

/* The struct, and behind it its texts. */
static struct frame *frame_of(const struct message_known *k, const void *message,
                              const struct message_from *as)
{
    size_t size = k->row->size, total = size;
    for (unsigned i = 0; i < k->slices; i++)
        total += ((const slice *)(const void *)((const char *)message + k->slice_at[i]))->len;
    struct frame *f = frame_create(k->row->id, total);
    f->flags = message_part_pack(as);
    f->num = as->question;
    memcpy(f->bytes, message, size);
    char *at = f->bytes + size;
    for (unsigned i = 0; i < k->slices; i++) {
        slice *s = slice_in(f->bytes, k->slice_at[i]);
        if (s->len > 0)
            memcpy(at, s->ptr, s->len);
        s->ptr = at;
        at += s->len;
    }
    return f;
}

#ifdef MUSTER_DEBUG
/* What another node would drop does not come up between workers, whose messages are not read. So
 * debug builds check that each could be. */
static bool could_travel(struct worker *w, const struct message_row *row, const void *message,
                         const struct message_from *from)
{
    return row->scope != MESSAGE_CLUSTER ||
           (message_fields_sound(row->fields, message, loop_scratch(w->loop)) &&
            (row->sound == NULL || row->sound(w, message, from)));
}
#endif

static void home_message_run(struct worker *w, const struct message_known *k, void *message,
                             const struct message_from *from)
{
    ensure_debug(could_travel(w, k->row, message, from));
    if ((from->node != w->node->id || w->moves != NULL) && slots_divert(w, k->row, message, from))
        return;
    if (from->part == PART_ALONE)
        k->row->run(w, message, from);
    else
        question_deliver(w, k->row, message, from);
    message_known_release(k, message);
}

void messages_deliver(struct frame *f, void *worker)
{
    struct worker *w = worker;
    struct message_from from = { .node = w->node->id, .worker = f->worker, .question = f->num };
    message_part_unpack(&from, f->flags);
    w->delivered++;
    home_message_run(w, message_known_at(f->kind), f->bytes, &from); /* of home_send_to() */
    frame_free(&f);
}

struct frame *message_keep(const struct message_row *row, const void *message,
                           const struct message_from *from)
{
    struct frame *f = frame_of(message_known_of(row), message, from);
    f->worker = (uint16_t)from->worker;
    return f;
}

void message_run_kept(struct worker *w, struct frame **pf)
{
    struct frame *f = *pf;
    const struct message_known *k = message_known_at(f->kind);
    k->row->run(w, f->bytes, &(struct message_from){ .node = w->node->id, .worker = f->worker });
    message_known_release(k, f->bytes);
    frame_free(pf);
}

void messages_drop(struct frame *f) { message_known_release(message_known_at(f->kind), f->bytes); }

/* Sending. */

static void send_away(struct worker *w, uint32_t node, unsigned worker,
                      const struct message_row *row, const void *message,
                      const struct message_from *as)
{
    struct buf b;
    buf_init(&b, MESSAGE_BYTES_MAX);
    message_pack(&b, row, message, as);
    if (b.overflow)
        log_warn(&log_frames, LOG_EV("frame.long"), LOG_C("message", row->name),
                 LOG_C("hint", "a message to another node was too long and was dropped"));
    else
        w->node->bus->ops->send(w->node->bus, w->index, node, worker, buf_slice(&b));
    buf_fini(&b);
}

void home_send_as(struct worker *w, uint32_t node, unsigned worker, const struct message_row *row,
                  void *message, const struct message_from *as)
{
    const struct message_known *k = message_known_of(row);
    ensure(as->part == PART_ANSWER || row->run != NULL);
    if (node != 0 && node != w->node->id) {
        send_away(w, node, worker, row, message, as);
        message_known_release(k, message);
    } else if (worker == w->index) {
        home_message_run(
            w, k, message,
            &(struct message_from){ w->node->id, w->index, as->question, as->part, as->passed });
    } else {
        mesh_send(w->port, worker, frame_of(k, message, as));
    }
}

void home_send_to(struct worker *w, uint32_t node, unsigned worker, const struct message_row *row,
                  void *message)
{
    home_send_as(w, node, worker, row, message, &(struct message_from){ 0 });
}

void home_send(struct worker *w, slice bare, const struct message_row *row, void *message)
{
    uint32_t node;
    unsigned worker = node_home(w->node, bare, &node);
    home_send_to(w, node, worker, row, message);
}

static void post_run(struct worker *w, void *arg)
{
    const struct message_known *k = arg;
    home_send_to(w, 0, w->index, k->row, &(struct message_nothing){ 0 });
}

void home_post(struct node *n, unsigned worker, const struct message_row *row)
{
    struct worker *w = worker_here();
    ensure(row->fields == message_no_fields && worker < n->worker_count);
    if (w != NULL && w->node == n)
        home_send_to(w, 0, worker, row, &(struct message_nothing){ 0 });
    else
        node_call(n, worker, post_run, (void *)(uintptr_t)message_known_of(row));
}

/* From another node. */

void messages_receive(void *worker, const struct bus_from *bus_from, slice bytes)
{
    struct worker *w = worker;
    struct message_from from = { .node = bus_from->node, .worker = bus_from->worker };
    const struct message_row *row;
    struct why why;
    void *message;
    if (message_unpack(&row, &message, bytes, w, &from, &why) == OK)
        home_message_run(w, message_known_of(row), message, &from);
    else
        log_warn(&log_frames, LOG_EV("frame.dropped"), LOG_I("node", from.node),
                 LOG_I("bytes", (int64_t)bytes.len), LOG_C("why", why.text),
                 LOG_C("hint", "what another node sent was dropped"));
}
