#include "presence/presence_pace.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/node.h"
#include "presence/presence.h"

enum { TICK_MS = PRESENCE_PACE_MS, BURST_US = 200000, SECOND_US = 1000000 };

struct setting presence_change_rate = {
    .name = "presence.change-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 50,
    .min = 10,
    .max = 100,
    .unit = "changes a second",
    .doc = "How many presence changes a second are sent to contacts: those of clients that are "
           "available already, and those that the server makes on behalf of clients (users shown "
           "as away while their clients sleep, see push.show-away; new avatars; sessions that were "
           "not resumed after their connections were lost; sessions that are shown when "
           "presence.sharing is turned on). Further changes wait, and only the last state of each "
           "client is sent. A session that waits for its end can still be resumed. A lower rate "
           "spares a server with long contact lists when many change at once. Clients that come "
           "online or go offline are told of without waiting, and turning off sharing hides all at "
           "once.",
};
struct metric presence_waited = {
    .name = "muster_presence_change_waits",
    .kind = METRIC_COUNTER,
    .help = "Presence changes that had to wait for presence.change-rate.",
};

enum want { WANT_NOTHING, WANT_AWAY, WANT_AWAKE };

struct waiting {
    struct list node; /* in line.waiting */
    struct session *session;
    presence_rewrite_fn *rewrite; /* NULL: none */
    uint8_t want;                 /* enum want */
    bool own;                     /* what its client said is not told yet */
};
struct line {
    struct worker *worker;
    struct list waiting;
    struct timer timer;
};

unsigned presence_pace_session, presence_pace_worker;

/* At most BURST_US worth of changes at once after a pause: timers are that late. */
bool presence_pace_take(struct worker *w)
{
    uint32_t nodes[BUS_NODES_MAX];
    uint64_t now = loop_now_us(worker_loop(w)),
             each = (uint64_t)SECOND_US * node_all(worker_node(w), nodes) /
                    (uint64_t)setting_int(&presence_change_rate),
             burst = each > BURST_US ? each : BURST_US,
             next = atomic_load_explicit(&worker_node(w)->presence_next_us, memory_order_relaxed),
             from;
    do {
        from = next + burst > now ? next : now - burst;
        if (from + each > now)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&worker_node(w)->presence_next_us, &next,
                                                    from + each, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static bool is_noop(const struct session *s, enum want want)
{
    return want == WANT_NOTHING || (want == WANT_AWAKE) == (s->awake == NULL);
}

/* Told once, whatever has changed. */
static void presence_pace_apply(struct session *s, const struct waiting *w)
{
    struct stanza *own = stanza_ref(s->awake != NULL ? s->awake : s->presence);
    struct stanza *was = own;
    enum want want = (enum want)w->want;
    bool away = is_noop(s, want) ? s->awake != NULL : want == WANT_AWAY;
    if (w->rewrite != NULL)
        own = w->rewrite(s, own);
    if (w->own || own != was || away != (s->awake != NULL))
        presence_replace(s, own, away);
    stanza_unref(&own);
}

static void presence_pace_serve(struct timer *t, struct loop *loop)
{
    struct line *line = CONTAINER_OF(t, struct line, timer);
    struct worker *w = line->worker;
    while (!list_empty(&line->waiting) && presence_pace_take(w)) {
        struct waiting *first = CONTAINER_OF(line->waiting.next, struct waiting, node);
        struct waiting one = *first;
        presence_pace_forget(one.session);
        presence_pace_apply(one.session, &one);
    }
    if (!list_empty(&line->waiting))
        timer_set(loop, &line->timer, TICK_MS);
}

static struct line *presence_pace_line_of(struct worker *w)
{
    struct line *line = *worker_state(w, presence_pace_worker);
    if (line == NULL) {
        line = *worker_state(w, presence_pace_worker) = mem_new(struct line);
        *line = (struct line){ .worker = w, .timer.fn = presence_pace_serve };
        list_init(&line->waiting);
    }
    return line;
}

static struct waiting *wait_for_turn(struct session *s)
{
    struct waiting *one = s->state_of[presence_pace_session];
    struct worker *w = s->account->worker;
    struct line *line = presence_pace_line_of(w);
    ensure(session_here(s));
    if (one != NULL)
        return one;
    one = s->state_of[presence_pace_session] = mem_new(struct waiting);
    *one = (struct waiting){ .session = s };
    list_append(&line->waiting, &one->node);
    metric_add(&presence_waited, 1);
    if (!timer_is_set(&line->timer))
        timer_set(worker_loop(w), &line->timer, TICK_MS);
    return one;
}

/* Sessions are served in the order in which they began to wait. */
static bool at_once(struct session *s)
{
    return s->state_of[presence_pace_session] == NULL &&
           list_empty(&presence_pace_line_of(s->account->worker)->waiting) &&
           presence_pace_take(s->account->worker);
}

static void drop_if_empty(struct session *s, const struct waiting *one)
{
    if (one->want == WANT_NOTHING && one->rewrite == NULL && !one->own)
        presence_pace_forget(s);
}

static void presence_pace_show(struct session *s, enum want want)
{
    struct waiting *one = s->state_of[presence_pace_session];
    if (one != NULL) { /* what waited and is so already is not told */
        one->want = is_noop(s, want) ? WANT_NOTHING : (uint8_t)want;
        drop_if_empty(s, one);
    } else if (!is_noop(s, want)) {
        if (at_once(s))
            presence_pace_apply(s, &(struct waiting){ .want = (uint8_t)want });
        else
            wait_for_turn(s)->want = (uint8_t)want;
    }
}

void presence_sleep(struct session *s)
{
    struct stanza *own = s->awake != NULL ? s->awake : s->presence;
    if (s->available && !stanza_has(own, KNOWN(SHOW)))
        presence_pace_show(s, WANT_AWAY);
}

void presence_wake(struct session *s)
{
    if (s->available)
        presence_pace_show(s, WANT_AWAKE);
}

void presence_rewrite(struct session *s, presence_rewrite_fn *fn)
{
    struct stanza *was = s->awake != NULL ? s->awake : s->presence;
    struct stanza *own = fn(s, stanza_ref(was));
    bool changes = own != was;
    stanza_unref(&own);
    if (s->state_of[presence_pace_session] == NULL && !changes)
        return;
    if (at_once(s))
        presence_pace_apply(s, &(struct waiting){ .rewrite = fn });
    else
        wait_for_turn(s)->rewrite = fn;
}

bool presence_pace_own(struct session *s)
{
    ensure(session_is_available(s));
    if (at_once(s))
        return true;
    struct waiting *one = wait_for_turn(s);
    one->want = WANT_NOTHING;
    one->own = true;
    return false;
}

/* The change that waits, over a planned restart or on the way to another node. What the server
 * wants is wanted anew by its feature there. */
void presence_pace_save(const struct session *s, struct buf *out)
{
    const struct waiting *one = s->state_of[presence_pace_session];
    if (one != NULL && one->own)
        buf_lit(out, "own");
}

void presence_pace_restore(struct session *s, slice saved)
{
    if (slice_is(saved, "own") && session_is_available(s))
        wait_for_turn(s)->own = true;
}

void presence_pace_forget(struct session *s)
{
    struct waiting *one = s->state_of[presence_pace_session];
    if (one == NULL)
        return;
    list_remove(&one->node);
    s->state_of[presence_pace_session] = NULL;
    mem_free(&one);
}

void presence_pace_ended(struct worker *w)
{
    struct line *line = *worker_state(w, presence_pace_worker);
    if (line == NULL)
        return;
    timer_cancel(&line->timer);
    *worker_state(w, presence_pace_worker) = NULL;
    mem_free(&line);
}
