#include "home/ask.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/rand.h"
#include "home/message.h"
#include "home/slots.h"
#include "home/worker.h"
#include "io/timer.h"
#include <stdio.h>

enum { ID_SLOT = 4 /* hexadecimal digits */, ID_RANDOM = 12 /* bytes */ };

struct ask {
    struct worker *worker;
    struct timer timer;
    ask_fn *fn;
    void *arg;
    void (*drop)(void *arg);
    struct remote_link link;              /* by which it was sent; id 0: it stays here */
    char id[ID_SLOT + 2 * ID_RANDOM + 1]; /* the slot of its home comes first */
    uint16_t from_len, to_len;
    char jids[]; /* from, to: an answer of anybody else is ignored */
};

static slice ask_key(const void *item) { return slice_of(((const struct ask *)item)->id); }

void asks_init(struct worker *w) { map_init(&w->asks, ask_key); }

static void ask_free(struct ask *a)
{
    timer_cancel(&a->timer);
    map_del(&a->worker->asks, slice_of(a->id));
    mem_free(&a);
}

void asks_fini(struct worker *w)
{
    struct ask *a;
    for (uint32_t i = 0; (a = map_next(&w->asks, &i)) != NULL;) {
        if (a->drop != NULL)
            a->drop(a->arg);
        timer_cancel(&a->timer);
        mem_free(&a);
    }
    map_fini(&w->asks);
}

static void im_ask_end(struct ask *a, const struct stanza *reply)
{
    struct worker *w = a->worker;
    ask_fn *fn = a->fn;
    void *arg = a->arg;
    ask_free(a);
    fn(w, arg, reply);
}

static void too_late(struct timer *t, struct loop *loop)
{
    (void)loop;
    im_ask_end(CONTAINER_OF(t, struct ask, timer), NULL);
}

void asks_link_gone(struct worker *w, struct remote_link link)
{
    struct ask *a;
    ensure(link.id != 0);
    if (worker_stopping(w))
        return; /* it is this node that ends: what waits is said again after the start */
    for (uint32_t i = 0; (a = map_next(&w->asks, &i)) != NULL;)
        if (a->link.id == link.id && a->link.node == link.node) /* what it ends may ask again */
            timer_set(w->loop, &a->timer, 0);
}

/* A slot whose home is here, by which the answer comes back: that of the asker, if it has not moved
 * away. NODE_SLOTS: all have moved. */
static unsigned ask_slot(const struct worker *w, slice home)
{
    uint32_t node;
    unsigned slot = 0;
    if (node_is_home(w, home))
        return node_slot(home);
    ensure(home.len > 0);
    while (slot < NODE_SLOTS && (node_home_of_slot(w->node, slot, &node) != w->index ||
                                 node != w->node->id || slot_is_away(w, slot)))
        slot++;
    return slot;
}

struct ask *ask_send(struct worker *w, const struct ask_request *r, ask_fn *fn, void *arg)
{
    if (w->asks.count >= ASKS_MAX)
        return NULL;
    ensure((r->type == TYPE_GET || r->type == TYPE_SET) && r->from.len > 0 && r->to.len > 0);
    ensure(r->timeout_ms > 0 && fn != NULL);
    unsigned slot = r->home.len > 0 ? ask_slot(w, r->home) : node_slot(r->from);
    if (slot == NODE_SLOTS)
        return NULL;
    struct ask *a = mem_zalloc(sizeof *a + r->from.len + r->to.len);
    a->worker = w;
    a->fn = fn;
    a->arg = arg;
    a->drop = r->drop;
    a->link = remote_link_for(w, r->from, r->to);
    a->from_len = (uint16_t)r->from.len;
    a->to_len = (uint16_t)r->to.len;
    memcpy(a->jids, r->from.ptr, r->from.len);
    memcpy(a->jids + r->from.len, r->to.ptr, r->to.len);
    snprintf(a->id, ID_SLOT + 1, "%04x", slot);
    rand_hex(a->id + ID_SLOT, ID_RANDOM);
    map_put(&w->asks, a);
    a->timer.fn = too_late;
    timer_set(worker_loop(w), &a->timer, r->timeout_ms);
    route_send(w, stanza_make(STANZA_IQ, r->type, r->from, r->to, slice_of(a->id), r->payload));
    return a;
}

bool ask_has_id(const struct ask *a, slice id) { return slice_is(id, a->id); }

void ask_cancel(struct ask **pa)
{
    struct ask *a = *pa;
    *pa = NULL;
    if (a != NULL)
        ask_free(a);
}

bool ask_answered(struct worker *w, const struct stanza *st)
{
    struct ask *a = map_get(&w->asks, stanza_id(st));
    if (a == NULL || !slice_eq(stanza_to(st), (slice){ a->jids, a->from_len }) ||
        !slice_eq(stanza_from(st), (slice){ a->jids + a->from_len, a->to_len }))
        return false;
    im_ask_end(a, st);
    return true;
}

/* The id is the word of whoever answers: it only says where to look. false: not another home's. */
static bool ask_home_of(const struct worker *w, slice id, uint32_t *node, unsigned *worker)
{
    unsigned char slot[ID_SLOT / 2];
    if (id.len != ID_SLOT + 2 * ID_RANDOM ||
        !hex_decode(slot, sizeof slot, (slice){ id.ptr, ID_SLOT }) ||
        (unsigned)(slot[0] << 8 | slot[1]) >= NODE_SLOTS)
        return false;
    *worker = node_home_of_slot(w->node, (unsigned)(slot[0] << 8 | slot[1]), node);
    return *node != w->node->id || *worker != w->index;
}

struct ask_answer {
    struct stanza *st;
};

static void ask_answer_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    (void)ask_answered(w, ((const struct ask_answer *)message)->st);
}

static const struct message_field ask_answer_fields[] = {
    F_STANZA(struct ask_answer, st),
    { 0 },
};
const struct message_row ask_answer_message = {
    .id = 36,
    .scope = MESSAGE_CLUSTER,
    .name = "ask-answer",
    .size = sizeof(struct ask_answer),
    .fields = ask_answer_fields,
    .run = ask_answer_run,
};

bool ask_domain_answered(struct worker *w, struct stanza *st)
{
    uint32_t node;
    unsigned worker;
    if (ask_answered(w, st))
        return true;
    if (!ask_home_of(w, stanza_id(st), &node, &worker))
        return false;
    home_send_to(w, node, worker, &ask_answer_message, &(struct ask_answer){ stanza_ref(st) });
    return true;
}
