#include "home/trail.h"
#include "base/ensure.h"
#include "base/record_ring.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "home/node.h"
#include "xmpp/stanza_error.h"
#include <assert.h>

_Thread_local struct record_ring *trail_mine;
static _Thread_local struct loop *trail_loop; /* whose clock it goes by */

static void trail_setting_changed(struct worker *w, const struct setting *s);

static struct setting trace_messages = {
    .name = "trace.messages",
    .scope = SCOPE_NODE,
    .type = PARAM_BOOL,
    .def = 1,
    .changed = trail_setting_changed,
    .doc = "Whether the server notes the way of each message, for the command `trace message`: the "
           "addresses, the id and what became of it, never the text. Off: what was noted is "
           "forgotten.",
};
static struct setting trace_memory = {
    .name = "trace.memory",
    .scope = SCOPE_NODE,
    .type = PARAM_BYTES,
    .def = 16 << 20,
    .min = 1 << 20,
    .max = INT64_C(4) << 30,
    .changed = trail_setting_changed,
    .doc = "Memory for the ways of messages, of all workers together; about 150 bytes a step, and "
           "most messages have six. More push out the oldest. Each worker has 512 KiB at least. A "
           "change forgets what was noted.",
};
static struct setting trace_keep = {
    .name = "trace.keep",
    .scope = SCOPE_NODE,
    .type = PARAM_MS,
    .def = INT64_C(24) * 3600 * 1000,
    .min = 60 * 1000,
    .max = INT64_C(30) * 24 * 3600 * 1000,
    .doc = "How long the way of a message can be seen, if trace.memory suffices for that.",
};
struct setting *const trail_settings[] = { &trace_messages, &trace_memory, &trace_keep, NULL };

/* In the ring; the texts follow: to, from, id, whom. */
struct trail_record {
    uint64_t at_us;
    const char *event, *why;
    uint16_t from_len, to_len, whom_len;
    uint8_t id_len;
};
enum {
    ADDRESS_MAX = 3071,
    RECORD_MAX = 16 << 10, /* more than three addresses and an id */
    RING_MIN = RECORD_BLOCKS * RECORD_MAX
};

static_assert(sizeof(struct trail_record) + 3 * ADDRESS_MAX + TRAIL_ID_MAX + 64 < RECORD_MAX,
              "each record fits into a block");

void trail_worker_start(struct worker *w)
{
    size_t bytes = (size_t)setting_int(&trace_memory) / worker_node(w)->worker_count;
    if (bytes < RING_MIN)
        bytes = RING_MIN;
    trail_worker_stop(w);
    trail_loop = worker_loop(w);
    if (setting_bool(&trace_messages))
        trail_mine = record_ring_create(bytes);
}

void trail_worker_stop(struct worker *w)
{
    ensure(worker_is_here(w));
    record_ring_destroy(&trail_mine);
}

static void trail_setting_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    trail_worker_start(w);
}

/* On the way of a message. */
static const char *const trail_order[] = { "sent",
                                           "repeated",
                                           "routed",
                                           "room.said",
                                           "room.private",
                                           "blocked",
                                           "refused",
                                           "delivered",
                                           "copied",
                                           "passed",
                                           "handed-over",
                                           "waits",
                                           "dropped",
                                           "queued",
                                           "sent to server",
                                           "push sent",
                                           "pushed",
                                           "push failed",
                                           "written",
                                           "archived",
                                           "stored",
                                           "not-stored",
                                           "confirmed by server",
                                           "acknowledged",
                                           "returned" };
enum { TRAIL_EVENTS = sizeof trail_order / sizeof *trail_order };

unsigned trail_rank(slice event)
{
    unsigned i = 0;
    while (i < TRAIL_EVENTS && !slice_eq(event, slice_of(trail_order[i])))
        i++;
    return i;
}

/* to, from and id lie behind each other in the block of a stanza. */
void trail_add(const struct stanza *st, const char *event, const char *why, slice whom)
{
    size_t id = st->id_len < TRAIL_ID_MAX ? st->id_len : TRAIL_ID_MAX;
    size_t names = (size_t)st->to_len + st->from_len + id;
    size_t more = whom.len < ADDRESS_MAX ? whom.len : ADDRESS_MAX;
    struct trail_record *r = record_ring_add(trail_mine, sizeof *r + names + more);
    ensure(st->from == st->to + st->to_len && st->id == st->from + st->from_len);
    ensure_debug(trail_rank(slice_of(event)) < TRAIL_EVENTS);
    r->at_us = loop_wall_us(trail_loop);
    r->event = event;
    r->why = why;
    r->to_len = st->to_len;
    r->from_len = st->from_len;
    r->whom_len = (uint16_t)more;
    r->id_len = (uint8_t)id;
    memcpy(r + 1, st->to, names);
    if (more > 0)
        memcpy((char *)(r + 1) + names, whom.ptr, more);
}

void trail_error(const struct stanza *st, const char *event, slice whom)
{
    struct elem e, condition;
    if (st->kind != STANZA_MESSAGE || st->type != TYPE_ERROR || trail_mine == NULL ||
        !stanza_child(st, KNOWN_ERROR, &e) || !elem_first(&e, &condition))
        return;
    enum stanza_error found = stanza_error_find(condition.name);
    trail_add(st, event, stanza_error_name(found != SE_NONE ? found : SE_UNDEFINED_CONDITION),
              whom);
}

void trail_answer(const struct stanza *st) { trail_error(st, "refused", stanza_from(st)); }

static slice trail_take(const char **at, size_t len)
{
    slice text = { *at, len };
    *at += len;
    return text;
}

void trail_each(void (*fn)(const struct trail_step *step, void *arg), void *arg)
{
    const void *at = NULL;
    uint64_t keep_us = (uint64_t)setting_int(&trace_keep) * 1000;
    while (trail_mine != NULL && (at = record_ring_next(trail_mine, at)) != NULL) {
        const struct trail_record *r = at;
        const char *text = (const char *)(r + 1);
        struct trail_step step = { .at_us = r->at_us, .event = r->event, .why = r->why };
        step.to = trail_take(&text, r->to_len);
        step.from = trail_take(&text, r->from_len);
        step.id = trail_take(&text, r->id_len);
        step.whom = trail_take(&text, r->whom_len);
        if (r->at_us + keep_us >= loop_wall_us(trail_loop))
            fn(&step, arg);
    }
}
