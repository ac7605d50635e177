#include "account/moves.h"
#include "account/account.h"
#include "account/account_frozen.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "core/core.h"
#include "home/frozen.h"
#include "home/node.h"
#include "home/question.h"
#include "home/slots.h"
#include "home/ticket.h"
#include "session/session_queue.h"
#include "session/session_struct.h"

/* A step of a move. */
enum slot_step {
    SLOT_BEGIN = 0,   /* a question to the new home: hold what comes */
    SLOT_ACCOUNT = 1, /* to the new home: a part of the memory of an account */
    SLOT_HOME = 2,    /* a question to all: send to the new home */
    SLOT_END = 3      /* to the new home: nothing is on its way any more */
};

struct slot_step_sent {
    uint32_t slot;
    uint8_t step;
    uint32_t node; /* the new home */
    slice bare;    /* of the account */
    int64_t id;    /* of the account */
    slice bytes;   /* home/frozen.h */
    bool last;     /* part of the account */
    bool moved;    /* SLOT_END: the slot is at the new home; else the move was given up */
};
enum { PART_BYTES = 1 << 20 };

/* An account that comes. */
struct newcomer {
    struct newcomer *next;
    struct coming *slot;
    char *bare;
    int64_t id;
    struct buf bytes;
    bool whole;
};

/* A slot that comes, and one that goes. */
struct coming {
    struct coming *next;
    struct worker *worker;
    unsigned slot;
    struct newcomer *first, **last;
    unsigned loading;
    bool ended;    /* all that comes is here */
    uint32_t from; /* node */
    struct timer timer;
    uint32_t gone[BUS_NODES_MAX]; /* nodes that are gone since it began */
    unsigned gone_count;
};

struct going {
    struct going *next;
    struct worker *worker;
    unsigned slot;
    uint32_t node;
    unsigned to; /* worker there */
    struct timer timer;
    uint64_t until_us;
    bool holds;
    slot_moved_fn *done;
    void *arg;
    enum err err;
};

struct moves {
    struct coming *coming;
    struct going *going;
};

static struct moves *moves_of(struct worker *w)
{
    struct core *core = core_of(w);
    if (core->moves == NULL)
        core->moves = mem_new(struct moves);
    return core->moves;
}

/* The new home. */

static struct coming **coming_of(struct worker *w, unsigned slot)
{
    struct coming **at = &moves_of(w)->coming;
    while (*at != NULL && (*at)->slot != slot)
        at = &(*at)->next;
    return at;
}

static void newcomer_free(struct newcomer *n)
{
    buf_fini(&n->bytes);
    mem_free(&n->bare);
    mem_free(&n);
}

static void coming_free(struct coming **at)
{
    struct coming *c = *at;
    *at = c->next;
    for (struct newcomer *n = c->first, *next; n != NULL; n = next) {
        next = n->next;
        newcomer_free(n);
    }
    timer_cancel(&c->timer);
    mem_free(&c);
}

static void coming_end(struct coming *c, bool moved);

static void coming_is_late(struct timer *t, struct loop *loop)
{
    struct coming *c = CONTAINER_OF(t, struct coming, timer);
    (void)loop;
    log_warn(&log_session, LOG_EV("slot.late"), LOG_I("slot", c->slot), LOG_I("node", c->from),
             LOG_C("hint", "a slot of addresses has not come from another node in time"));
    coming_end(c, false);
}

static void coming_begin(struct worker *w, unsigned slot, const struct message_from *from)
{
    struct coming **at = coming_of(w, slot);
    if (*at != NULL && (*at)->ended)
        return;
    if (*at != NULL) /* of a move that was given up */
        coming_free(at);
    slot_comes(w, slot, from->node, from->worker);
    *at = mem_new(struct coming);
    **at = (struct coming){
        .worker = w, .slot = slot, .from = from->node, .timer.fn = coming_is_late
    };
    (*at)->last = &(*at)->first;
    timer_set(worker_loop(w), &(*at)->timer, SLOT_LATE_MS);
}

static struct newcomer *newcomer_make(struct coming *c, slice bare, int64_t id)
{
    struct newcomer *n = mem_new(struct newcomer);
    *n = (struct newcomer){ .slot = c, .id = id };
    n->bare = mem_alloc(bare.len + 1);
    memcpy(n->bare, bare.ptr, bare.len);
    n->bare[bare.len] = '\0';
    buf_init(&n->bytes, FROZEN_BYTES_MAX);
    *c->last = n;
    c->last = &n->next;
    return n;
}

/* Parts of one account come one after the other. */
static void coming_add(struct worker *w, const struct slot_step_sent *sent)
{
    struct coming *c = *coming_of(w, sent->slot);
    if (c == NULL || c->ended)
        return;
    struct newcomer *n = c->first;
    while (n != NULL && (n->whole || !slice_is(sent->bare, n->bare)))
        n = n->next;
    if (n == NULL)
        n = newcomer_make(c, sent->bare, sent->id);
    buf_add(&n->bytes, sent->bytes);
    n->whole = sent->last;
}

static void coming_check(struct coming *c)
{
    struct worker *w = c->worker;
    const unsigned slot = c->slot;
    if (c->loading > 0)
        return;
    coming_free(coming_of(w, slot));
    slot_came(w, slot);
}

static bool coming_lost_node(const struct coming *c, uint32_t node)
{
    unsigned i = 0;
    while (i < c->gone_count && c->gone[i] != node)
        i++;
    return i < c->gone_count;
}

/* A stream of a node that was gone meanwhile is lost, even if the node is there again. */
static void newcomer_lose(struct coming *c, struct account *a)
{
    SESSIONS_EACH (s, a)
        if (s->state == SESSION_ATTACHED && coming_lost_node(c, s->link.node))
            session_up(s, &(struct up){ .kind = UP_GONE, .num = END_LOST });
}

static void newcomer_thaw(struct account *a, enum err e, void *arg)
{
    struct newcomer *n = arg;
    struct coming *c = n->slot;
    struct why why;
    why_set(&why, "the account could not be loaded: %s", err_name(e));
    if (e == OK && a->state == ACTOR_READY && a->id == n->id)
        e = actor_thaw(&a->actor, buf_fit(&n->bytes), &why);
    else if (e == OK)
        e = E_NOTFOUND; /* deleted or disabled meanwhile */
    if (e == OK) {
        newcomer_lose(c, a);
    } else {
        log_warn(&log_session, LOG_EV("sessions.not-moved"), LOG_S("jid", slice_of(n->bare)),
                 LOG_C("why", e == E_NOTFOUND ? "there is no such account" : why.text),
                 LOG_C("hint", "its sessions did not come with it from another node; their clients "
                               "log in anew"));
        account_frozen_close(c->worker, buf_fit(&n->bytes));
    }
    c->loading--;
    coming_check(c);
}

/* An account comes only of a slot that moves: its old home does not have it any more. Where the
 * slot is must be known before what was held is run. */
static void coming_end(struct coming *c, bool moved)
{
    struct worker *w = c->worker;
    if (moved || c->first != NULL)
        node_assign_slot(worker_node(w), c->slot, worker_node(w)->id);
    timer_cancel(&c->timer);
    c->ended = true;
    c->loading = 1; /* until all are asked for */
    for (struct newcomer *n = c->first; n != NULL; n = n->next) {
        c->loading++;
        account_forget(w, slice_of(n->bare));
        account_with_id(w, slice_of(n->bare), n->id, newcomer_thaw, n);
    }
    c->loading--;
    coming_check(c);
}

void moves_node_gone(struct worker *w, uint32_t node)
{
    struct moves *m = core_of(w)->moves;
    for (struct coming *c = m == NULL ? NULL : m->coming, *next; c != NULL; c = next) {
        next = c->next;
        if (!coming_lost_node(c, node) && c->gone_count < BUS_NODES_MAX)
            c->gone[c->gone_count++] = node;
        if (c->from == node && !c->ended)
            coming_end(c, false);
    }
}

/* The old home. */

static void going_over(struct going *g, enum err e)
{
    struct worker *w = g->worker;
    struct going **at = &moves_of(w)->going;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    timer_cancel(&g->timer);
    const struct going ended = *g;
    mem_free(&g);
    ended.done(w, e, ended.arg);
}

static void going_say(struct going *g, struct slot_step_sent *sent)
{
    sent->slot = g->slot;
    sent->node = g->node;
    home_send_to(g->worker, g->node, g->to, &slot_move_message, sent);
}

static void going_sessions(const struct going *g, void (*fn)(struct session *s))
{
    struct account *a;
    for (uint32_t i = 0; (a = accounts_next(g->worker, &i)) != NULL;)
        if (node_slot(a->jid) == g->slot)
            SESSIONS_EACH (s, a)
                fn(s);
}

static void session_stops(struct session *s)
{
    session_hold(s, HOLD_MOVING);
    session_unpause(s, PAUSE_QUIET); /* whoever asked for it does not move along */
}

static void session_goes_on(struct session *s) { session_release(s, HOLD_MOVING); }

static void going_failed(struct going *g, enum err e)
{
    if (g->holds) {
        slot_came(g->worker, g->slot);
        going_sessions(g, session_goes_on);
    }
    going_say(g, &(struct slot_step_sent){ .step = SLOT_END });
    going_over(g, e);
}

static bool session_is_quiet_now(const struct session *s)
{
    return !s->handling && !s->waits && !s->leaving && s->flush == NULL && !s->flushing &&
           s->producers == NULL && s->claims == 0 && !list_linked(&s->ack_node) &&
           !list_linked(&s->end_node);
}

static bool account_is_quiet(const struct account *a)
{
    if (a->state == ACTOR_LOADING || a->actor.pins > 0 || a->actor.inbox != NULL ||
        a->actor.changes != NULL || a->storing > 0 || !mailbox_clean(a))
        return false;
    for (const struct session *s = NULL; (s = session_next(a, s)) != NULL;)
        if (!session_is_quiet_now(s))
            return false;
    return true;
}

static bool going_is_quiet(const struct going *g)
{
    struct account *a;
    bool quiet = !ticket_joins_of(g->worker, g->slot);
    for (uint32_t i = 0; (a = accounts_next(g->worker, &i)) != NULL;) {
        if (node_slot(a->jid) != g->slot)
            continue;
        if (a->state == ACTOR_READY)
            mailbox_store(a);
        quiet = quiet && account_is_quiet(a);
    }
    return quiet;
}

static void going_send_account(struct going *g, struct account *a)
{
    struct buf bytes;
    buf_init(&bytes, FROZEN_BYTES_MAX);
    account_freeze_whole(a, &bytes);
    slice rest = buf_fit(&bytes);
    while (rest.len > 0) {
        slice part = frozen_part(&rest, PART_BYTES);
        going_say(g, &(struct slot_step_sent){ .step = SLOT_ACCOUNT,
                                               .bare = a->jid,
                                               .id = a->id,
                                               .bytes = part,
                                               .last = rest.len == 0 });
    }
    buf_fini(&bytes);
    SESSIONS_EACH (s, a)
        session_moved(s);
}

static void going_gone(struct worker *w, void *arg)
{
    struct going *g = arg;
    slot_went(w, g->slot);
    going_say(g, &(struct slot_step_sent){ .step = SLOT_END, .moved = true });
    going_over(g, OK);
}

/* What was held goes behind the accounts. */
static void going_send(struct going *g)
{
    struct worker *w = g->worker;
    struct account **all = mem_alloc((accounts_count(w) + 1) * sizeof *all), *a;
    uint32_t count = 0;
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;)
        if (node_slot(a->jid) == g->slot)
            all[count++] = a;
    while (count-- > 0) { /* those without sessions are loaded there when they are needed */
        if (!list_empty(&all[count]->sessions))
            going_send_account(g, all[count]);
        actor_unload(&all[count]->actor);
    }
    mem_free(&all);
    node_assign_slot(worker_node(w), g->slot, g->node);
    slot_came(w, g->slot);
    slot_goes(w, g->slot);
    each_home(w, &slot_move_message,
              &(struct slot_step_sent){ .slot = g->slot, .step = SLOT_HOME, .node = g->node },
              &(struct asker){ .done = going_gone, .arg = g });
}

static void going_try(struct timer *t, struct loop *loop)
{
    enum { AGAIN_MS = 5 };
    struct going *g = CONTAINER_OF(t, struct going, timer);
    struct worker *w = g->worker;
    if (!g->holds && !ticket_joins_of(w, g->slot)) {
        g->holds = true; /* not before: reports to joins must come */
        slot_comes(w, g->slot, worker_node(w)->id, worker_index(w));
        going_sessions(g, session_stops);
    }
    if (g->holds && going_is_quiet(g))
        going_send(g);
    else if (loop_now_us(loop) >= g->until_us)
        going_failed(g, E_AGAIN);
    else
        timer_set(loop, &g->timer, AGAIN_MS);
}

static void going_lost(struct worker *w, void *arg)
{
    (void)w;
    ((struct going *)arg)->err = E_DOWN;
}

static void going_begun(struct worker *w, void *arg)
{
    struct going *g = arg;
    g->until_us = loop_now_us(worker_loop(w)) + SLOT_QUIET_MS * 1000ull;
    if (g->err != OK)
        going_failed(g, g->err); /* it may have heard all the same */
    else
        timer_set(worker_loop(w), &g->timer, 0);
}

void slot_move(struct worker *w, unsigned slot, uint32_t node, slot_moved_fn *done, void *arg)
{
    const struct node *n = worker_node(w);
    uint32_t at;
    unsigned home = node_home_of_slot(n, slot, &at);
    ensure(home == worker_index(w) && at == n->id && node != n->id && node_shares(n, node));
    const struct going *other = moves_of(w)->going;
    while (other != NULL && other->slot != slot)
        other = other->next;
    if (other != NULL || slot_is_coming(w, slot)) {
        done(w, E_AGAIN, arg);
        return;
    }
    struct going *g = mem_new(struct going);
    *g = (struct going){ .next = moves_of(w)->going,
                         .worker = w,
                         .slot = slot,
                         .node = node,
                         .to = slot % node_workers(n, node),
                         .timer.fn = going_try,
                         .done = done,
                         .arg = arg };
    moves_of(w)->going = g;
    home_ask_at(w, node, g->to, &slot_move_message,
                &(struct slot_step_sent){ .slot = slot, .step = SLOT_BEGIN, .node = node },
                &(struct asker){ .done = going_begun, .arg = g, .lost = going_lost });
}

/* The message. */

static void slot_step_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct slot_step_sent *sent = message;
    struct coming *c = *coming_of(w, sent->slot);
    switch ((enum slot_step)sent->step) {
    case SLOT_BEGIN:
        coming_begin(w, sent->slot, from);
        break;
    case SLOT_ACCOUNT:
        coming_add(w, sent);
        break;
    case SLOT_HOME:
        node_assign_slot(worker_node(w), sent->slot, sent->node);
        break;
    case SLOT_END:
        if (c != NULL && !c->ended)
            coming_end(c, sent->moved);
        break;
    }
}

/* It comes from the home of the slot, to the new one, or is for all. */
static bool slot_step_is_sound(struct worker *w, const void *message,
                               const struct message_from *from)
{
    const struct slot_step_sent *sent = message;
    const struct node *n = worker_node(w);
    uint32_t node;
    if (n->bus == NULL || !node_is_there(n, sent->node))
        return false;
    if (sent->step == SLOT_HOME)
        return true;
    unsigned home = node_home_of_slot(n, sent->slot, &node);
    bool here = sent->node == n->id && sent->slot % n->worker_count == worker_index(w) &&
                (node == from->node || (node == n->id && home == worker_index(w))) &&
                node_shares(n, from->node);
    return here && (sent->step == SLOT_ACCOUNT) == (sent->bare.len > 0 && sent->bytes.len > 0) &&
           (sent->step != SLOT_ACCOUNT || node_slot(sent->bare) == sent->slot) &&
           (sent->step != SLOT_BEGIN || node == from->node);
}

static const struct message_field slot_step_fields[] = {
    F_U32(struct slot_step_sent, slot, NODE_SLOTS - 1),
    F_U8(struct slot_step_sent, step, SLOT_END),
    F_U32(struct slot_step_sent, node, UINT32_MAX),
    F_BARE_OR_NONE(struct slot_step_sent, bare),
    F_I64(struct slot_step_sent, id),
    F_BYTES(struct slot_step_sent, bytes, FROZEN_BYTES_MAX),
    F_BOOL(struct slot_step_sent, last),
    F_BOOL(struct slot_step_sent, moved),
    { 0 },
};
const struct message_row slot_move_message = {
    .id = 38,
    .scope = MESSAGE_CLUSTER,
    .name = "slot-move",
    .size = sizeof(struct slot_step_sent),
    .fields = slot_step_fields,
    .run = slot_step_run,
    .sound = slot_step_is_sound,
};

void moves_fini(struct worker *w)
{
    struct moves *m = core_of(w)->moves;
    if (m == NULL)
        return;
    while (m->coming != NULL)
        coming_free(&m->coming);
    for (struct going *g = m->going, *next; g != NULL; g = next) {
        next = g->next;
        timer_cancel(&g->timer);
        mem_free(&g);
    }
    mem_free(&core_of(w)->moves);
}
