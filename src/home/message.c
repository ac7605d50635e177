#include "home/message.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "bus/bus.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/question.h"
#include "home/slots.h"
#include "home/worker.h"
#include "io/mesh.h"
#include "xmpp/stanza.h"

/* A row, and where its struct has what is more than bytes. */
struct known {
    const struct message_row *row;
    uint8_t slices, stanzas; /* each at most MESSAGE_FIELDS_MAX */
    uint16_t slice_at[MESSAGE_FIELDS_MAX], stanza_at[MESSAGE_FIELDS_MAX];
};

static struct known known[MESSAGE_IDS]; /* by id */

static bool is_slice(enum field_type type) { return type >= MF_BYTES && type <= MF_TEXTS; }

const struct message_field message_no_fields[] = { { 0 } };

/* Gathering. */

static bool row_is_sound(const struct message_row *row, struct why *why)
{
    unsigned n = 0;
    for (const struct message_field *f = row->fields; f->type != MF_END; f++, n++) {
        if (f->type == MF_LOCAL && row->scope == MESSAGE_CLUSTER) {
            why_set(why, "message %s goes to other nodes, and its field %s is of this process",
                    row->name, f->name);
            return false;
        }
    }
    if (row->id == 0 || row->id >= MESSAGE_IDS || n > MESSAGE_FIELDS_MAX ||
        row->size > MESSAGE_STRUCT_MAX) {
        why_set(why, "message %s: found id %u and %u fields, allowed ids 1 to %d and %d fields",
                row->name, row->id, n, MESSAGE_IDS - 1, MESSAGE_FIELDS_MAX);
        return false;
    }
    return true;
}

static void home_message_gather(struct known *k, const struct message_row *row)
{
    *k = (struct known){ .row = row };
    for (const struct message_field *f = row->fields; f->type != MF_END; f++) {
        if (is_slice(f->type))
            k->slice_at[k->slices++] = f->offset;
        else if (f->type == MF_STANZA)
            k->stanza_at[k->stanzas++] = f->offset;
    }
}

/* A row that has the id or the name of this one already; NULL: none. */
static const struct message_row *clash(const struct message_row *row)
{
    for (unsigned id = 0; id < MESSAGE_IDS; id++) {
        const struct message_row *other = known[id].row;
        if (other != NULL && (other->id == row->id || strcmp(other->name, row->name) == 0))
            return other;
    }
    return NULL;
}

bool messages_set(const struct message_row *const *rows, size_t count, struct why *why)
{
    memset(known, 0, sizeof known);
    for (size_t i = 0; i < count; i++) {
        const struct message_row *row = rows[i], *other;
        if (!row_is_sound(row, why))
            return false;
        if ((other = clash(row)) != NULL) {
            why_set(why, "messages %s (id %u) and %s (id %u) have the same id or name", other->name,
                    other->id, row->name, row->id);
            return false;
        }
        home_message_gather(&known[row->id], row);
    }
    return true;
}

const struct message_row *message_find(uint32_t id)
{
    return id < MESSAGE_IDS ? known[id].row : NULL;
}

static const struct known *home_message_known_of(const struct message_row *row)
{
    const struct known *k = &known[row->id];
    ensure(k->row == row); /* it stands in a list of the program */
    return k;
}

/* References. */

static struct stanza **stanza_in(void *message, uint16_t at)
{
    return (struct stanza **)(void *)((char *)message + at);
}

static slice *slice_in(void *message, uint16_t at)
{
    return (slice *)(void *)((char *)message + at);
}

static void home_message_release(const struct known *k, void *message)
{
    for (unsigned i = 0; i < k->stanzas; i++)
        stanza_unref(stanza_in(message, k->stanza_at[i]));
}

void message_release(const struct message_row *row, void *message)
{
    home_message_release(home_message_known_of(row), message);
}

void message_copy(const struct message_row *row, void *copy, const void *message)
{
    const struct known *k = home_message_known_of(row);
    memcpy(copy, message, row->size);
    for (unsigned i = 0; i < k->stanzas; i++) {
        struct stanza **st = stanza_in(copy, k->stanza_at[i]);
        if (*st != NULL)
            *st = stanza_ref(*st);
    }
}

/* Within the process. */

/* The struct, and behind it its texts. */
static struct frame *frame_of(const struct known *k, const void *message,
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

static void home_message_run(struct worker *w, const struct known *k, void *message,
                             const struct message_from *from)
{
    if ((from->node != w->node->id || w->moves != NULL) && slots_divert(w, k->row, message, from))
        return;
    if (from->part == PART_ALONE)
        k->row->run(w, message, from);
    else
        question_deliver(w, k->row, message, from);
    home_message_release(k, message);
}

void messages_deliver(struct frame *f, void *worker)
{
    struct worker *w = worker;
    struct message_from from = { .node = w->node->id, .worker = f->worker, .question = f->num };
    message_part_unpack(&from, f->flags);
    ensure(f->kind < MESSAGE_IDS && known[f->kind].row != NULL); /* of home_send_to() */
    w->delivered++;
    home_message_run(w, &known[f->kind], f->bytes, &from);
    frame_free(&f);
}

struct frame *message_keep(const struct message_row *row, const void *message,
                           const struct message_from *from)
{
    struct frame *f = frame_of(home_message_known_of(row), message, from);
    f->worker = (uint16_t)from->worker;
    return f;
}

void message_run_kept(struct worker *w, struct frame **pf)
{
    struct frame *f = *pf;
    const struct known *k = &known[f->kind];
    k->row->run(w, f->bytes, &(struct message_from){ .node = w->node->id, .worker = f->worker });
    home_message_release(k, f->bytes);
    frame_free(pf);
}

void messages_drop(struct frame *f) { home_message_release(&known[f->kind], f->bytes); }

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
    const struct known *k = home_message_known_of(row);
    ensure(as->part == PART_ANSWER || row->run != NULL);
    if (node != 0 && node != w->node->id) {
        send_away(w, node, worker, row, message, as);
        home_message_release(k, message);
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
    const struct known *k = arg;
    home_send_to(w, 0, w->index, k->row, &(struct message_nothing){ 0 });
}

void home_post(struct node *n, unsigned worker, const struct message_row *row)
{
    struct worker *w = worker_here();
    ensure(row->fields == message_no_fields && worker < n->worker_count);
    if (w != NULL && w->node == n)
        home_send_to(w, 0, worker, row, &(struct message_nothing){ 0 });
    else
        node_call(n, worker, post_run, &known[row->id]);
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
        home_message_run(w, home_message_known_of(row), message, &from);
    else
        log_warn(&log_frames, LOG_EV("frame.dropped"), LOG_I("node", from.node),
                 LOG_I("bytes", (int64_t)bytes.len), LOG_C("why", why.text),
                 LOG_C("hint", "what another node sent was dropped"));
}
