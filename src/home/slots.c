#include "home/slots.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/worker.h"
#include "io/mesh.h"

/* Messages that are held, in order. */
struct held {
    struct frame *first, **last;
};

struct slot_move {
    struct slot_move *next; /* of the worker */
    struct worker *at;
    unsigned slot;
    bool comes;   /* else it goes */
    bool running; /* what was held */
    uint32_t node;
    unsigned worker;           /* it comes from that one */
    struct held passed, other; /* what that one has sent, and what others have */
    uint32_t count;
};

static struct slot_move **slot_move_of(struct worker *w, unsigned slot)
{
    struct slot_move **at = &w->moves;
    while (*at != NULL && (*at)->slot != slot)
        at = &(*at)->next;
    return at;
}

bool slots_are_moving(const struct worker *w) { return w->moves != NULL; }

bool slot_is_coming(const struct worker *w, unsigned slot)
{
    const struct slot_move *m = w->moves;
    while (m != NULL && (m->slot != slot || !m->comes))
        m = m->next;
    return m != NULL;
}

bool slot_is_away(const struct worker *w, unsigned slot)
{
    uint32_t node;
    return slot_is_coming(w, slot) || node_home_of_slot(w->node, slot, &node) != w->index ||
           node != w->node->id;
}

/* Diverted messages. */

static void slot_unplaced(struct worker *w, const struct message_row *row, void *message)
{
    log_warn(&log_frames, LOG_EV("slot.nowhere"), LOG_C("message", row->name),
             LOG_C("hint", "the nodes do not agree on where the home of an address is; a message "
                           "to it was refused"));
    if (row->unplaced != NULL)
        row->unplaced(w, message);
    message_release(row, message);
}

static void slot_hold(struct slot_move *m, const struct message_row *row, void *message,
                      const struct message_from *from)
{
    if (m->count == SLOT_HELD_MAX) {
        slot_unplaced(m->at, row, message);
        return;
    }
    struct held *h = from->node == m->node && from->worker == m->worker ? &m->passed : &m->other;
    struct frame *f = message_keep(row, message, from);
    f->next = NULL;
    *h->last = f;
    h->last = &f->next;
    m->count++;
}

/* false: its home is here. */
static bool slot_pass_on(struct worker *w, unsigned slot, const struct message_row *row,
                         void *message, const struct message_from *from)
{
    uint32_t node;
    unsigned home = node_home_of_slot(w->node, slot, &node);
    if (node == w->node->id && home == w->index)
        return false;
    if (from->passed >= PASSES_MAX)
        slot_unplaced(w, row, message);
    else
        home_send_as(w, node, home, row, message,
                     &(struct message_from){ .passed = (uint8_t)(from->passed + 1) });
    return true;
}

bool slots_divert(struct worker *w, const struct message_row *row, void *message,
                  const struct message_from *from)
{
    unsigned slot = row->slot == NULL || from->part != PART_ALONE ? NODE_SLOTS : row->slot(message);
    if (slot == NODE_SLOTS)
        return false;
    if (!slot_is_coming(w, slot))
        return slot_pass_on(w, slot, row, message, from);
    slot_hold(*slot_move_of(w, slot), row, message, from);
    return true;
}

/* Moves. */

static void slot_move_end(struct worker *w, unsigned slot)
{
    struct slot_move **at = slot_move_of(w, slot), *m = *at;
    if (m == NULL)
        return;
    *at = m->next;
    mem_free(&m);
}

static struct slot_move *slot_move_make(struct worker *w, unsigned slot)
{
    struct slot_move *m = mem_new(struct slot_move);
    ensure(slot < NODE_SLOTS && *slot_move_of(w, slot) == NULL);
    *m = (struct slot_move){ .next = w->moves, .at = w, .slot = slot };
    m->passed.last = &m->passed.first;
    m->other.last = &m->other.first;
    w->moves = m;
    return m;
}

void slot_comes(struct worker *w, unsigned slot, uint32_t node, unsigned worker)
{
    if (!slot_is_coming(w, slot)) {
        slot_move_end(w, slot); /* it was to go, and comes back already */
        slot_move_make(w, slot)->comes = true;
    }
    struct slot_move *m = *slot_move_of(w, slot);
    m->node = node;
    m->worker = worker;
}

static struct frame *held_take(struct held *h)
{
    struct frame *f = h->first;
    if (f == NULL)
        return NULL;
    h->first = f->next;
    if (h->first == NULL)
        h->last = &h->first;
    return f;
}

/* What is run may send to the slot: that comes behind all others, so it is held meanwhile. */
void slot_came(struct worker *w, unsigned slot)
{
    struct slot_move *m = *slot_move_of(w, slot);
    struct frame *f;
    if (m == NULL || !m->comes || m->running)
        return;
    m->running = true;
    while ((f = held_take(&m->passed)) != NULL || (f = held_take(&m->other)) != NULL) {
        struct message_from from = { .node = w->node->id, .worker = f->worker };
        message_part_unpack(&from, f->flags);
        m->count--;
        if (slot_pass_on(w, slot, message_find(f->kind), f->bytes, &from))
            frame_free(&f);
        else
            message_run_kept(w, &f);
    }
    slot_move_end(w, slot);
}

void slot_goes(struct worker *w, unsigned slot) { slot_move_make(w, slot); }

void slot_went(struct worker *w, unsigned slot)
{
    if (!slot_is_coming(w, slot))
        slot_move_end(w, slot);
}

static void held_free(struct frame *first)
{
    for (struct frame *f = first, *next; f != NULL; f = next) {
        next = f->next;
        messages_drop(f);
        frame_free(&f);
    }
}

void slots_fini(struct worker *w)
{
    while (w->moves != NULL) {
        held_free(w->moves->passed.first);
        held_free(w->moves->other.first);
        slot_move_end(w, w->moves->slot);
    }
}
