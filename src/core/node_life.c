#include "core/node_life.h"
#include "account/account.h"
#include "account/account_actor.h"
#include "account/moves.h"
#include "account/restart.h"
#include "archive/archive.h"
#include "archive/ids.h"
#include "auth/throttle.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "bus/bus_local.h"
#include "codec/xml_read.h"
#include "core/audience.h"
#include "core/budget.h"
#include "core/budget_shed.h"
#include "core/core.h"
#include "core/feature.h"
#include "core/stage_wait.h"
#include "home/ask.h"
#include "home/edge.h"
#include "home/host.h"
#include "home/message.h"
#include "home/node.h"
#include "home/question.h"
#include "home/remote.h"
#include "home/setting_news.h"
#include "home/slots.h"
#include "home/ticket.h"
#include "home/worker.h"
#include "io/mesh.h"
#include "io/work.h"
#include "presence/presence.h"
#include "presence/presence_in.h"
#include "presence/subscription.h"
#include "remote/outgoing_count.h"
#include "session/session_input.h"
#include "session/session_struct.h"
#include "session/session_wait.h"
#include "store/store.h"
#include "talk/message.h"
#include "xmpp/archive_id.h"
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

static slice session_key(const void *item)
{
    return (slice){ (const char *)&((const struct session *)item)->id, sizeof(uint64_t) };
}

static void on_pressure(void *worker, int on)
{
    struct worker *w = worker;
    w->pressure = on != 0;
    if (!w->pressure)
        edges_relieve(w->node, w);
}

static void core_init(struct worker *w)
{
    struct core *c = w->core = mem_new(struct core);
    c->worker = w;
    accounts_start(w);
    map_init(&c->sessions, session_key);
    stage_waits_init(w);
    c->waits.session_goes_on = session_answered;
    session_waits_init(w);
    c->unconfirmed.fn = subscription_unconfirmed;
    list_init(&c->storing);
    list_init(&c->acks);
    list_init(&c->endings);
    c->end_defer.fn = sessions_end_waiting;
    c->budget.defer.fn = budget_shed;
    budget_init(w);
}

static void core_fini(struct worker *w)
{
    budget_fini(w);
    restart_fini(w);
    moves_fini(w);
    timer_cancel(&w->core->resend);
    timer_cancel(&w->core->unconfirmed);
    map_fini(&w->core->sessions);
    messages_forget(w);
    session_waits_fini(w);
    stage_waits_fini(w);
    shared_fini(w);
    mem_free(&w->core);
}

static void worker_init(struct worker *w, struct node *n, unsigned index, unsigned loop)
{
    *w = (struct worker){ .node = n, .index = index, .store = n->store, .work = n->work };
    w->loop = loop_create(loop);
    loop_set_owner(w->loop, n);
    loop_set_helpers(w->loop, n->handshakes);
    w->auth = (struct auth){ n->store, n->work, w->loop, n->throttle };
    w->xml = xml_work_create();
    w->state_of = mem_zalloc((FEATURES_COUNT(worker.slot) + 1) * sizeof *w->state_of);
    core_init(w);
    remote_init(w);
    asks_init(w);
    ticket_joins_init(w);
    questions_init(w);
    w->next_id = rand_u64() >> 20; /* so that an id of an earlier run is not one of this run */
    w->port = mesh_attach(n->mesh, index, w->loop, messages_deliver, on_pressure, w);
}

static const struct destinations core_destinations = {
    .account = account_receive,
    .server = server_receive,
    .service = host_receive,
    .presence = presence_arrive,
    .keep_sent = outgoing_keep_sent,
    .sent_has_room = outgoing_has_room,
    .ticket = session_ticket,
};

enum err node_create(struct node **out, const struct node_conf *conf, struct why *why)
{
    if (conf->workers < 1 || conf->workers > NODE_WORKERS_MAX) {
        why_set(why, "workers: found %u, allowed 1 to %d", conf->workers, NODE_WORKERS_MAX);
        return E_LIMIT;
    }
    struct node *n = mem_new(struct node);
    n->id = conf->id;
    n->store = conf->store;
    n->data = conf->data;
    n->gate = conf->gate;
    n->destinations = &core_destinations;
    n->edges = conf->edges;
    n->worker_count = conf->workers;
    n->pin_workers = conf->pin_workers;
    n->start_wall_us = clock_wall_us();
    atomic_store(&n->ids_slack_us, ARCHIVE_SLACK_US);
    n->epoch = (uint32_t)(n->start_wall_us / 1000000);
    snprintf(n->name, sizeof n->name, "%s", conf->name);
    snprintf(n->cluster, sizeof n->cluster, "%s", conf->cluster == NULL ? "" : conf->cluster);
    for (; n->domain_count < NODE_DOMAINS_MAX && conf->domains[n->domain_count] != NULL;
         n->domain_count++)
        n->domains[n->domain_count] = slice_of(conf->domains[n->domain_count]);
    for (unsigned i = 0; i < NODE_SLOTS; i++)
        n->slot_worker[i] = (uint8_t)(i % n->worker_count);
    n->work = work_pool_create(n->worker_count > 2 ? n->worker_count / 2 : 1, 4096);
    n->handshakes = work_pool_create(n->worker_count, UINT_MAX);
    work_pool_set_wide(n->handshakes); /* connections are counted where they are accepted */
    n->throttle = throttle_create();
    n->mesh = mesh_create(n->worker_count, n->epoch);
    n->workers = mem_zalloc(n->worker_count * sizeof *n->workers);
    for (unsigned i = 0; i < n->worker_count; i++)
        worker_init(&n->workers[i], n, i, conf->first_loop + i);
    *out = n;
    return OK;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    worker_of_thread = w;
    w->threaded = true;
    if (w->node->pin_workers) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(w->index % CPU_SETSIZE, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set,
                               &set); /* a hint: failure changes nothing */
    }
    loop_short_turns();
    edges_start(w->node, w);
    setting_news_begin(w);
    EMIT(worker.start, w);
    loop_run(w->loop);
    EMIT(worker.stop, w);
    w->threaded = false;
    return NULL;
}

struct ids {
    struct node *node;
    bool secret; /* it is there */
};

static void ids_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct ids *ids = arg;
    if (result == STORE_OK && store_row_count(b, 0) > 0)
        ids->node->ids_floor_us = (uint64_t)store_int(b, 0, 0, 0);
    if (result == STORE_OK && store_row_count(b, 2) > 0)
        atomic_store(&ids->node->ids_slack_us, (uint64_t)store_int(b, 2, 0, 0));
    ids->secret = result == STORE_OK && store_row_count(b, 1) == 2;
    if (ids->secret)
        archive_id_key_set(
            &(struct hash_key){ (uint64_t)store_int(b, 1, 0, 0), (uint64_t)store_int(b, 1, 1, 0) });
}

/* What archive ids need; the first start of all draws their secret. */
static bool ids_prepare(struct node *n)
{
    struct ids ids = { .node = n };
    for (unsigned i = 0; i < 2 && !ids.secret; i++) {
        if (i > 0) {
            struct store_batch *w = store_write(n->store, 0);
            STORE_ADD(w, &archive_key_put, STORE_ANY_ROWS, SV_I(rand_u64()), SV_I(rand_u64()));
            if (store_run(w, NULL, NULL) != STORE_OK)
                return false;
        }
        struct store_batch *b = store_read(n->store, 0);
        store_add(b, &archive_reserved, STORE_ANY_ROWS, NULL, 0);
        store_add(b, &archive_key, STORE_ANY_ROWS, NULL, 0);
        store_add(b, &archive_slack_known, STORE_ANY_ROWS, NULL, 0);
        if (store_run(b, ids_read, &ids) != STORE_OK)
            return false;
    }
    return ids.secret;
}

static void wait_a_moment(void)
{
    const struct timespec ms = { 0, 1000000 };
    nanosleep(&ms, NULL);
}

/* What happens on each worker that was started while main's thread, which has nothing else to do,
 * waits. */

static void life_replay(struct worker *w)
{
    ensure(!w->stopping);
    presence_replay(w);
    remote_learn(w);
}

/* Each node restores the sessions whose home it is, each worker what it has besides: no duty. */
static void life_restore(struct worker *w)
{
    if (w->index == 0)
        restart_restore(w, &w->node->restored);
    EMIT(worker.restore, w);
}

static void life_save(struct worker *w)
{
    restart_save(w);
    EMIT(worker.save, w);
}

static void life_open(struct worker *w) { edges_open(w->node, w); }

/* All know before the first stream is closed: its session may have its home on another worker,
 * which would take it for the end of the session. */
static void life_stopping(struct worker *w) { w->stopping = true; }
static void life_stop(struct worker *w)
{
    EMIT_ONE(rooms, stopping, w);
    edges_stop(w->node, w);
}
static void life_part(struct worker *w) { edges_part(w->node, w); }

static void life_end_timers(struct worker *w) { loop_end_timers(w->loop); }

/* For node_at_rest(). */
static void life_count(struct worker *w)
{
    for (unsigned i = 0; i < w->node->worker_count; i++) {
        struct mesh_count c = mesh_count(w->port, i);
        atomic_fetch_add(&w->node->life_sent, c.sent);
        atomic_fetch_add(&w->node->life_received, c.received);
    }
}

enum life_step {
    LIFE_REPLAY,
    LIFE_RESTORE,
    LIFE_END_REST,
    LIFE_OPEN,
    LIFE_STOPPING,
    LIFE_STOP,
    LIFE_COMPONENTS,
    LIFE_PART,
    LIFE_COUNT,
    LIFE_SAVE,
    LIFE_END_TIMERS
};
static void (*const life_steps[])(struct worker *w) = {
    [LIFE_REPLAY] = life_replay,
    [LIFE_RESTORE] = life_restore,
    [LIFE_END_REST] = restart_end_rest,
    [LIFE_OPEN] = life_open,
    [LIFE_STOPPING] = life_stopping,
    [LIFE_STOP] = life_stop,
    [LIFE_COMPONENTS] = restart_tell_components,
    [LIFE_PART] = life_part,
    [LIFE_SAVE] = life_save,
    [LIFE_COUNT] = life_count,
    [LIFE_END_TIMERS] = life_end_timers,
};

static void life_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    life_steps[atomic_load(&w->node->life_step)](w);
    atomic_fetch_sub(&w->node->life_left, 1);
}

const struct message_row node_life_message = {
    .id = 29,
    .scope = MESSAGE_PROCESS,
    .name = "life",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = life_run,
};

static void everywhere(struct node *n, enum life_step step)
{
    ensure(atomic_load(&n->life_left) == 0);
    atomic_store(&n->life_step, (int)step);
    atomic_store(&n->life_left, (int)n->started);
    for (unsigned i = 0; i < n->started; i++)
        home_post(n, i, &node_life_message);
    while (atomic_load(&n->life_left) > 0)
        wait_a_moment();
}

static enum err node_begin(struct node *n, struct why *why)
{
    if (!ids_prepare(n)) {
        why_set(why, "the database does not answer: see the log above");
        return E_DOWN;
    }
    setting_news_start(n);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    while (n->started < n->worker_count &&
           pthread_create(&n->threads[n->started], &attr, worker_main, &n->workers[n->started]) ==
               0)
        n->started++;
    pthread_attr_destroy(&attr);
    if (n->started == n->worker_count)
        return OK;
    why_set(why, "cannot start worker thread %u: raise the limit of tasks", n->started);
    return E_IO;
}

static void everywhere_of(struct node *const *nodes, unsigned count, enum life_step step)
{
    for (unsigned i = 0; i < count; i++)
        everywhere(nodes[i], step);
}

enum err nodes_start(struct node *const *nodes, unsigned count, struct why *why)
{
    for (unsigned i = 0; i < count; i++) {
        enum err e = node_begin(nodes[i], why);
        if (e != OK)
            return e;
    }
    everywhere_of(nodes, count, LIFE_REPLAY);
    everywhere_of(nodes, count, LIFE_RESTORE);
    for (unsigned i = 0; i < count; i++)
        while (!atomic_load(&nodes[i]->restored))
            wait_a_moment();
    everywhere_of(nodes, count, LIFE_END_REST);
    everywhere_of(nodes, count, LIFE_OPEN);
    return OK;
}

enum err node_start(struct node *n, struct why *why) { return nodes_start(&n, 1, why); }

/* The end: 1. edges stop (accepts, reads; streams are closed), components hear of the sessions that
 * end, and then those edges stop that stay until the others have answered, 2. sessions that may
 * resume are saved and the store commits, 3. timers end, so that nothing begins any more, 4. loops
 * stop. The caller closes the store afterwards, which commits the rest. */

static bool node_is_idle(struct node *n)
{
    for (unsigned i = 0; i < n->started; i++) /* those of a start that failed are not all */
        if (!edges_idle(n, &n->workers[i]))
            return false;
    if (atomic_load(&n->stage_waits) > 0) /* its sender may not say it again */
        return false;
    return !store_busy(n->store); /* what is committed is also told */
}

/* Nobody works, and no frame is on its way that would give somebody work. Nobody looks at all
 * workers at once: if as many frames had been received before as were sent after, there was none
 * in between. */
static bool node_at_rest(struct node *n)
{
    if (!node_is_idle(n))
        return false; /* without asking the workers: the end waits for so many looks */
    atomic_store(&n->life_received, 0);
    everywhere(n, LIFE_COUNT);
    uint64_t received = atomic_load(&n->life_received);
    bool idle = node_is_idle(n);
    atomic_store(&n->life_sent, 0);
    everywhere(n, LIFE_COUNT);
    return idle && received == atomic_load(&n->life_sent);
}

static bool all_at_rest(struct node *const *nodes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!node_at_rest(nodes[i]))
            return false;
    return true;
}

static void wait_for_rest(struct node *const *nodes, unsigned count, uint64_t at_most_us)
{
    uint64_t until_us = clock_mono_us() + at_most_us;
    while (!all_at_rest(nodes, count) && clock_mono_us() < until_us)
        wait_a_moment();
}

static bool any_disk_is_still(struct node *const *nodes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (store_may_commit(nodes[i]->store))
            return true;
    return false;
}

/* Sessions that are saved while a disk stands still say that their stanzas are not handled, and the
 * store commits these all the same if the disk works before it is closed. So it is waited for, as
 * long as the time limit of the end (app/main.c) leaves time to save. PostgreSQL that stands still
 * gets no time: the end of its connections needs that. */
static void wait_for_disk(struct node *const *nodes, unsigned count)
{
    enum { DISK_US = 6000000, TOLD_US = 500000 };
    uint64_t until_us = clock_mono_us() + DISK_US;
    if (!any_disk_is_still(nodes, count))
        return;
    while (any_disk_is_still(nodes, count) && clock_mono_us() < until_us)
        wait_a_moment();
    wait_for_rest(nodes, count, TOLD_US);
}

static void node_end(struct node *n)
{
    work_pool_end(n->handshakes);
    work_pool_end(n->work); /* while there are loops to take back what runs now */
    for (unsigned i = 0; i < n->started; i++)
        loop_stop(n->workers[i].loop);
    for (unsigned i = 0; i < n->started; i++)
        pthread_join(n->threads[i], NULL);
}

void nodes_stop(struct node *const *nodes, unsigned count)
{
    enum { REST_US = 2000000, PART_US = 500000, LAST_US = 500000 };
    everywhere_of(nodes, count, LIFE_STOPPING);
    for (unsigned i = 0; i < count; i++) {
        everywhere(nodes[i], LIFE_STOP);
        work_pool_skip(nodes[i]->handshakes);
        work_pool_skip(nodes[i]->work); /* nobody waits for what has not begun */
    }
    wait_for_rest(nodes, count, REST_US);
    everywhere_of(nodes, count, LIFE_COMPONENTS);
    wait_for_rest(nodes, count, PART_US);
    for (unsigned i = 0; i < count; i++)
        nodes[i]->parts = true;
    everywhere_of(nodes, count, LIFE_PART);
    wait_for_rest(nodes, count, PART_US);
    wait_for_disk(nodes, count);
    everywhere_of(nodes, count, LIFE_SAVE);
    everywhere_of(nodes, count, LIFE_END_TIMERS);
    wait_for_rest(nodes, count, LAST_US); /* what timers have begun meanwhile is told its end */
    for (unsigned i = 0; i < count; i++)
        node_end(nodes[i]);
}

/* Those whose streams are there have lost them. */
static void sessions_node_gone(struct worker *w, uint32_t node)
{
    struct session *s;
    for (uint32_t i = 0; (s = map_next(&core_of(w)->sessions, &i)) != NULL;)
        if (s->state == SESSION_ATTACHED && s->link.node == node)
            session_up(s, &(struct up){ .kind = UP_GONE, .num = END_LOST });
}

void node_gone(void *worker, uint32_t node)
{
    struct worker *w = worker;
    ensure(w == worker_here());
    ensure(node != w->node->id);
    questions_node_gone(w, node);
    ticket_joins_node_gone(w);
    remote_node_gone(w, node);
    sessions_node_gone(w, node);
    moves_node_gone(w, node);
    edges_node_gone(w->node, w, node);
    EMIT(worker.node_gone, w, node);
}

void node_join(struct node *n, struct bus_local *b)
{
    struct bus_local_member m = { .node = n->id,
                                  .epoch = n->epoch,
                                  .workers = n->worker_count,
                                  .database = n->store,
                                  .deliver = messages_receive,
                                  .gone = node_gone };
    ensure(n->bus == NULL);
    for (unsigned i = 0; i < n->worker_count; i++) {
        m.worker[i].loop = n->workers[i].loop;
        m.worker[i].arg = &n->workers[i];
    }
    n->bus = bus_local_join(b, &m);
}

void node_stop(struct node *n) { nodes_stop(&n, 1); }

void node_destroy(struct node **pn)
{
    struct node *n = *pn;
    *pn = NULL;
    if (n == NULL)
        return;
    setting_news_end(n);
    work_pool_destroy(&n->handshakes);
    work_pool_destroy(&n->work);
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct worker *w = &n->workers[i];
        actors_stop(&w->core->accounts);
        EMIT(worker.ended, w);
        edges_end(n, w);
        asks_fini(w);
        core_fini(w);
        questions_fini(w);
        slots_fini(w);
        ensure_debug(loop_bypasses(w->loop) == 0); /* workers speak by messages */
        loop_destroy(&w->loop);
        remote_fini(w);
        ticket_joins_fini(w);
        xml_work_destroy(&w->xml);
        mem_free(&w->state_of);
    }
    throttle_destroy(&n->throttle);
    mesh_destroy(&n->mesh, messages_drop);
    host_domains_forget();
    mem_free(&n->workers);
    mem_free(&n);
}
