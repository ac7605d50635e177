#include "core/budget.h"
#include "account/account.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/core.h"
#include "home/message.h"
#include "home/node.h"
#include "io/metrics.h"
#include "presence/directed.h"
#include "session/session_struct.h"
#include "session/session_wait.h"
#include "xmpp/stanza.h"
#include <stdio.h>

struct setting node_memory = {
    .name = "node.memory",
    .scope = SCOPE_NODE,
    .type = PARAM_BYTES,
    .def = 1ll << 30,
    .min = 16 << 20,
    .max = 1ll << 40,
    .allow_none = true,
    .doc = "Memory that stanzas in queues and output to clients may take. Above it the sessions "
           "that hold most are closed until a sixteenth of it is free again; their messages stay "
           "in their mailboxes. Raise it on a machine with more memory to spare.",
};
struct setting node_memory_share = {
    .name = "node.memory-share",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 64,
    .min = 1,
    .max = 4096,
    .unit = "parts",
    .doc =
        "Into how many parts node.memory is divided: the sessions of one account may take one of "
        "them, but at least 1 MiB. Beyond it the session of the account that holds most is "
        "closed; its messages stay in its mailbox. A long answer, such as a large contact list, "
        "does not count: one in the queue and one in the output of each session. A lower number "
        "lets single accounts hold more.",
};
struct alarm node_memory_alarm = {
    .name = "node.memory",
    .severity = ALARM_ERROR,
    .text = "Queued stanzas and output took more memory than node.memory allows. The sessions that "
            "held most were closed.",
    .action = "Look in the log for session.shed: it names the clients that read too slowly or do "
              "not acknowledge. Raise node.memory if the machine has more memory.",
    .explanation =
        "Clients that do not read or acknowledge make the server keep what is sent to them. Above "
        "a limit it closes the sessions that hold most, so that the others are served.",
    .raised_when = "Sessions were closed because queued stanzas and output passed node.memory.",
    .cleared_when = "The queues have fallen below the limit again.",
    .settings = "node.memory",
};
struct metric sessions_shed = {
    .name = "muster_sessions_shed",
    .kind = METRIC_COUNTER,
    .help = "Sessions that were closed because they used too much of node.memory.",
};

enum {
    STEPS = 1024,            /* looks while as much as the budget comes in */
    STEP_MIN = 16 << 10,     /* bytes */
    STEP_NONE = 64 << 20,    /* without a budget: in case there is one later */
    SHARE_MIN = 1 << 20,     /* bytes: a few of the largest stanzas */
    FLOOR_MIN = 16 << 10,    /* bytes: ending sessions that hold less gains nothing */
    ROUND_US = 20 * 1000,    /* all workers have ended theirs by then */
    QUIET_US = 10 * 1000000, /* after that it begins with the heaviest again */
    ALARM_MS = 60 * 1000     /* it stays at least that long: somebody must see it */
};

int64_t budget_used(void) { return metric_read(&stanza_bytes) + metric_read(&io_output_bytes); }

bool budget_allows(uint64_t bytes)
{
    int64_t limit = setting_int(&node_memory), used = budget_used();
    return limit == SETTING_NONE || (used < limit && bytes <= (uint64_t)(limit - used));
}

static uint64_t presence_bytes(const struct session *s)
{
    return (s->presence == NULL ? 0 : s->presence->bytes) +
           (s->directed == NULL ? 0 : s->directed->bytes);
}

/* The memory of a session: its queue, its presence, here and in rooms, what it said that waits, and
 * output that its client has not read. */
uint64_t budget_weight(const struct session *s)
{
    const struct node *n = account_node(s->account);
    uint64_t kept = s->queue_bytes + presence_bytes(s) + session_wait_bytes(s);
    if (s->state != SESSION_ATTACHED || n->gate->output == NULL)
        return kept;
    bool here = s->link.local != NULL;
    return kept + (here ? n->gate->output(s->link.local) : s->output_bytes);
}

/* What does not count for the share: a long answer in the queue, and one in the output. */
static uint64_t long_bytes(const struct session *s)
{
    uint32_t longest = session_queue_longest(s);
    uint64_t bytes = s->long_output + (longest > SESSION_LONG_BYTES ? (uint64_t)longest : 0);
    uint64_t all = budget_weight(s);
    return bytes < all ? bytes : all;
}

enum session_end budget_end_of(const struct session *s)
{
    return s->state == SESSION_HIBERNATING ? END_FULL : END_SLOW;
}

void budget_log(const struct session *s, uint64_t bytes, const char *why)
{
    metric_add(&sessions_shed, 1);
    log_warn(&log_session, LOG_EV("session.shed"), LOG_S("jid", s->jid), LOG_I("bytes", bytes),
             LOG_C("state", s->state == SESSION_HIBERNATING ? "hibernating" : "connected"),
             LOG_C("beyond", why),
             LOG_C("hint", "the client reads too slowly, does not acknowledge, or sends large "
                           "presence to many rooms; its messages stay in the mailbox"));
}

void budget_weigh(struct account *a)
{
    struct session *most = NULL;
    uint64_t total = 0, largest = 0;
    ensure(account_here(a));
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (list_linked(&s->end_node))
            continue; /* it ends at the end of the tick anyway */
        uint64_t bytes = budget_weight(s);
        total += bytes;
        if (most == NULL || bytes > largest) {
            most = s;
            largest = bytes;
        }
    }
    if (most == NULL || total <= core_of(a->worker)->budget.share)
        return;
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        total -= list_linked(&s->end_node) ? 0 : long_bytes(s);
    }
    if (total <= core_of(a->worker)->budget.share)
        return;
    budget_log(most, largest, "node.memory-share");
    session_end_later(most, budget_end_of(most));
}

/* Rounds of the whole process: sessions that hold at least `floor` end. */
_Atomic int64_t budget_floor;
static _Atomic uint64_t round_at_us;

/* The alarm goes when a minute has passed without another round. */
static void budget_look_again(struct timer *t, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(t, struct core, budget.timer)->worker;
    int64_t limit = setting_int(&node_memory);
    uint64_t quiet_us = loop_now_us(loop) - atomic_load(&round_at_us);
    if (limit != SETTING_NONE && (budget_used() > limit || quiet_us < (uint64_t)ALARM_MS * 1000)) {
        timer_set(loop, t, ALARM_MS);
        return;
    }
    core_of(w)->over_budget = false;
    alarm_clear(&node_memory_alarm);
}

static void budget_tell(struct worker *w, int64_t used, int64_t limit)
{
    char text[96];
    int n = snprintf(text, sizeof text, "%lld bytes of %lld", (long long)used, (long long)limit);
    alarm_raise(&node_memory_alarm, (slice){ text, (size_t)n });
    timer_set(worker_loop(w), &core_of(w)->budget.timer, ALARM_MS);
}

/* One worker begins a round; the others find that it has begun. */
static void begin_round(struct worker *w, int64_t used, int64_t limit)
{
    uint64_t now = loop_now_us(worker_loop(w)), last = atomic_load(&round_at_us);
    int64_t floor = atomic_load(&budget_floor);
    if (last != 0 && now < last + ROUND_US)
        return;
    if (!atomic_compare_exchange_strong(&round_at_us, &last, now))
        return;
    bool fresh = last == 0 || now > last + QUIET_US;
    core_of(w)->over_budget = !fresh && floor <= FLOOR_MIN; /* all that could end has ended */
    floor = fresh ? limit / 64 : floor / 2;
    atomic_store(&budget_floor, floor < FLOOR_MIN ? FLOOR_MIN : floor);
    budget_tell(w, used, limit);
    for (unsigned i = 0; i < worker_node(w)->worker_count; i++)
        if (i != worker_index(w))
            home_send_to(w, 0, i, &shed_message, &(struct message_nothing){ 0 });
    loop_defer(worker_loop(w), &core_of(w)->budget.defer);
}

/* For callers that read the settings only from time to time. */
static void refresh(struct worker *w, int64_t limit, bool over)
{
    struct budget *b = &core_of(w)->budget;
    int64_t step = limit / STEPS, share = limit / setting_int(&node_memory_share);
    b->grown = 0;
    b->step = limit == SETTING_NONE     ? STEP_NONE
              : over || step < STEP_MIN ? STEP_MIN
                                        : (uint64_t)step;
    b->share = share < SHARE_MIN ? SHARE_MIN : (uint64_t)share;
    if (limit == SETTING_NONE)
        b->share = UINT64_MAX;
}

void budget_look(struct worker *w)
{
    int64_t limit = setting_int(&node_memory);
    int64_t used = limit == SETTING_NONE ? 0 : budget_used();
    bool over = limit != SETTING_NONE && used > limit;
    refresh(w, limit, over);
    if (over)
        begin_round(w, used, limit);
    else if (used <= limit - limit / 16)
        core_of(w)->over_budget = false;
}

bool budget_is_over(const struct worker *w) { return core_of(w)->over_budget; }

void budget_init(struct worker *w)
{
    core_of(w)->budget.timer.fn = budget_look_again;
    refresh(w, setting_int(&node_memory), false);
}

void budget_fini(struct worker *w)
{
    timer_cancel(&core_of(w)->budget.timer);
    loop_defer_cancel(&core_of(w)->budget.defer);
}
