#include "bus/bus_local.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "bus/sequence.h"
#include "io/loop.h"
#include <pthread.h>
#include <stdatomic.h>

struct message {
    struct message *next;
    struct bus_from from;
    unsigned from_place;
    bool gone; /* the last of its node, and no frame */
    size_t len;
    char bytes[];
};

/* Frames for one worker. One post delivers all of them, in the order in which they were sent. */
struct inbox {
    struct loop_post post;
    struct member *member;
    unsigned worker;
    pthread_mutex_t lock; /* of the five below */
    struct message *first, **last;
    size_t bytes;
    bool posted;
    /* of the receiving worker's thread: by place and worker of the sender */
    struct sequence in[BUS_LOCAL_NODES_MAX][BUS_LOCAL_WORKERS_MAX];
};

/* Numbers of what one worker sent, by place and worker of the receiver. Of its thread. */
struct outgoing {
    uint64_t seq[BUS_LOCAL_NODES_MAX][BUS_LOCAL_WORKERS_MAX];
};

struct member {
    struct bus bus; /* what the node sees */
    struct bus_local *local;
    struct bus_local_member conf;
    unsigned place; /* in bus_local.members */
    _Atomic bool present;
    struct inbox *inboxes;
    struct outgoing *out;
    _Atomic uint32_t faults[BUS_LOCAL_NODES_MAX][BUS_FAULTS]; /* of frames that it sends, by
                                                               * receiver */
    _Atomic uint64_t delivered, lost, gaps, repeats;
    uint32_t assigned[BUS_LOCAL_SLOTS]; /* as this node sees it; 0: as all do */
};

struct bus_local {
    pthread_rwlock_t lock; /* guards members and registry, but not the contents of a member */
    struct member *members[BUS_LOCAL_NODES_MAX];
    unsigned count;
    uint32_t assigned[BUS_LOCAL_SLOTS]; /* node of a slot; 0: by its number */
};

static struct member *bus_local_find(const struct bus_local *b, uint32_t node)
{
    for (unsigned i = 0; i < b->count; i++)
        if (b->members[i]->conf.node == node)
            return b->members[i];
    return NULL;
}

/* Receiving. */

static void bus_local_take(struct inbox *in, const struct message *m)
{
    struct member *to = in->member;
    struct sequence *s = &in->in[m->from_place][m->from.worker];
    if (m->gone) {
        if (to->conf.gone != NULL)
            to->conf.gone(to->conf.worker[in->worker].arg, m->from.node);
        return;
    }
    switch (sequence_check(s, m->from.epoch, m->from.seq)) {
    case SEQUENCE_REPEAT:
        atomic_fetch_add(&to->repeats, 1);
        return;
    case SEQUENCE_GAP:
        atomic_fetch_add(&to->gaps, 1);
        break;
    case SEQUENCE_NEXT:
        break;
    }
    atomic_fetch_add(&to->delivered, 1);
    to->conf.deliver(to->conf.worker[in->worker].arg, &m->from, (slice){ m->bytes, m->len });
}

static struct message *take_all(struct inbox *in)
{
    pthread_mutex_lock(&in->lock);
    struct message *first = in->first;
    in->first = NULL;
    in->last = &in->first;
    in->bytes = 0;
    in->posted = false;
    pthread_mutex_unlock(&in->lock);
    return first;
}

static void bus_local_receive(struct loop_post *p, struct loop *loop)
{
    struct inbox *in = CONTAINER_OF(p, struct inbox, post);
    struct message *m = take_all(in);
    while (m != NULL) {
        struct message *next = m->next;
        bus_local_take(in, m);
        mem_free(&m);
        arena_reset(loop_scratch(loop));
        m = next;
    }
}

static void bus_local_discard(struct inbox *in)
{
    struct message *m = take_all(in);
    while (m != NULL) {
        struct message *next = m->next;
        atomic_fetch_add(&in->member->lost, 1);
        mem_free(&m);
        m = next;
    }
}

/* Sending. */

static bool use_fault(struct member *from, unsigned to, enum bus_fault fault)
{
    _Atomic uint32_t *left = &from->faults[to][fault];
    uint32_t n = atomic_load(left);
    while (n > 0 && !atomic_compare_exchange_weak(left, &n, n - 1))
        ;
    return n > 0;
}

static void bus_local_put(struct member *to, unsigned worker, const struct message *head,
                          slice bytes)
{
    struct inbox *in = &to->inboxes[worker];
    struct message *m = mem_alloc(sizeof *m + bytes.len);
    *m = *head;
    m->len = bytes.len;
    if (bytes.len > 0)
        memcpy(m->bytes, bytes.ptr, bytes.len);
    pthread_mutex_lock(&in->lock);
    bool room = in->bytes + bytes.len <= BUS_LOCAL_QUEUE_MAX;
    bool post = room && !in->posted;
    if (room) {
        *in->last = m;
        in->last = &m->next;
        in->bytes += bytes.len;
        in->posted = true;
    }
    pthread_mutex_unlock(&in->lock);
    if (post)
        loop_post(to->conf.worker[worker].loop, &in->post);
    if (!room) {
        atomic_fetch_add(&to->lost, 1);
        mem_free(&m);
    }
}

static void bus_local_send_to(struct member *from, unsigned from_worker, struct member *to,
                              unsigned worker, slice bytes)
{
    if (!atomic_load(&from->present)) /* it has left */
        return;
    struct message head = {
        .from = { .node = from->conf.node,
                  .epoch = from->conf.epoch,
                  .worker = from_worker,
                  .seq = ++from->out[from_worker].seq[to->place][worker] },
        .from_place = from->place,
    };
    if (!atomic_load(&to->present) || worker >= to->conf.workers ||
        use_fault(from, to->place, BUS_LOSE)) {
        atomic_fetch_add(&to->lost, 1);
        return;
    }
    bus_local_put(to, worker, &head, bytes);
    if (use_fault(from, to->place, BUS_REPEAT))
        bus_local_put(to, worker, &head, bytes);
}

static void bus_send(struct bus *bus, unsigned from, uint32_t node, unsigned to, slice bytes)
{
    struct member *m = CONTAINER_OF(bus, struct member, bus);
    struct bus_local *b = m->local;
    ensure(from < m->conf.workers && node != m->conf.node);
    pthread_rwlock_rdlock(&b->lock);
    struct member *receiver = bus_local_find(b, node);
    if (receiver != NULL && to < BUS_LOCAL_WORKERS_MAX)
        bus_local_send_to(m, from, receiver, to, bytes);
    pthread_rwlock_unlock(&b->lock);
}

static uint32_t bus_registry(struct bus *bus, unsigned slot)
{
    const struct member *m = CONTAINER_OF(bus, struct member, bus);
    struct bus_local *b = m->local;
    ensure(slot < BUS_LOCAL_SLOTS);
    pthread_rwlock_rdlock(&b->lock);
    uint32_t node = m->assigned[slot] != 0 ? m->assigned[slot] : b->assigned[slot];
    if (node == 0)
        node = b->members[slot * b->count / BUS_LOCAL_SLOTS]->conf.node;
    pthread_rwlock_unlock(&b->lock);
    return node;
}

static void bus_assign(struct bus *bus, unsigned slot, uint32_t node)
{
    struct member *m = CONTAINER_OF(bus, struct member, bus);
    ensure(slot < BUS_LOCAL_SLOTS);
    pthread_rwlock_wrlock(&m->local->lock);
    m->assigned[slot] = node;
    pthread_rwlock_unlock(&m->local->lock);
}

/* The first that joined. */
static uint32_t bus_duties(struct bus *bus)
{
    struct bus_local *b = CONTAINER_OF(bus, struct member, bus)->local;
    pthread_rwlock_rdlock(&b->lock);
    uint32_t node = b->members[0]->conf.node;
    pthread_rwlock_unlock(&b->lock);
    return node;
}

static unsigned bus_nodes(struct bus *bus, uint32_t nodes[BUS_NODES_MAX])
{
    struct bus_local *b = CONTAINER_OF(bus, struct member, bus)->local;
    unsigned count = 0;
    pthread_rwlock_rdlock(&b->lock);
    for (unsigned i = 0; i < b->count; i++)
        if (atomic_load(&b->members[i]->present))
            nodes[count++] = b->members[i]->conf.node;
    pthread_rwlock_unlock(&b->lock);
    return count;
}

static unsigned bus_workers(struct bus *bus, uint32_t node)
{
    struct bus_local *b = CONTAINER_OF(bus, struct member, bus)->local;
    pthread_rwlock_rdlock(&b->lock);
    const struct member *m = bus_local_find(b, node);
    unsigned workers = m == NULL ? 1 : m->conf.workers;
    pthread_rwlock_unlock(&b->lock);
    return workers;
}

static bool bus_shares(struct bus *bus, uint32_t node)
{
    const struct member *self = CONTAINER_OF(bus, struct member, bus), *m;
    struct bus_local *b = self->local;
    pthread_rwlock_rdlock(&b->lock);
    m = bus_local_find(b, node);
    ensure(node != self->conf.node); /* node_shares() knows that */
    bool shares = m != NULL && m->conf.database == self->conf.database;
    pthread_rwlock_unlock(&b->lock);
    return shares;
}

static const struct bus_ops ops = {
    .send = bus_send,
    .registry = bus_registry,
    .assign = bus_assign,
    .duties = bus_duties,
    .nodes = bus_nodes,
    .workers = bus_workers,
    .shares = bus_shares,
};

/* Members. */

struct bus_local *bus_local_create(void)
{
    struct bus_local *b = mem_new(struct bus_local);
    pthread_rwlock_init(&b->lock, NULL);
    return b;
}

static void member_clear(struct member *m)
{
    for (unsigned i = 0; m->inboxes != NULL && i < m->conf.workers; i++) {
        bus_local_discard(&m->inboxes[i]);
        pthread_mutex_destroy(&m->inboxes[i].lock);
    }
    mem_free(&m->inboxes);
    mem_free(&m->out);
}

static void member_fill(struct member *m, const struct bus_local_member *conf)
{
    m->conf = *conf;
    m->inboxes = mem_zalloc(conf->workers * sizeof *m->inboxes);
    m->out = mem_zalloc(conf->workers * sizeof *m->out);
    for (unsigned i = 0; i < conf->workers; i++) {
        struct inbox *in = &m->inboxes[i];
        in->post.fn = bus_local_receive;
        in->member = m;
        in->worker = i;
        in->last = &in->first;
        pthread_mutex_init(&in->lock, NULL);
    }
    atomic_store(&m->present, true);
}

struct bus *bus_local_join(struct bus_local *b, const struct bus_local_member *conf)
{
    ensure(conf->node != 0 && conf->workers >= 1 && conf->workers <= BUS_LOCAL_WORKERS_MAX);
    pthread_rwlock_wrlock(&b->lock);
    struct member *m = bus_local_find(b, conf->node);
    if (m == NULL) {
        ensure(b->count < BUS_LOCAL_NODES_MAX);
        m = mem_new(struct member);
        m->bus.ops = &ops;
        m->local = b;
        m->place = b->count;
        b->members[b->count++] = m;
    }
    ensure(!atomic_load(&m->present));
    member_fill(m, conf);
    pthread_rwlock_unlock(&b->lock);
    return &m->bus;
}

/* Behind all that it sent. */
static void bus_local_tell_gone(const struct bus_local *b, uint32_t node)
{
    const struct message head = { .from = { .node = node }, .gone = true };
    for (unsigned i = 0; i < b->count; i++) {
        struct member *to = b->members[i];
        for (unsigned k = 0; atomic_load(&to->present) && k < to->conf.workers; k++)
            bus_local_put(to, k, &head, (slice){ 0 });
    }
}

void bus_local_leave(struct bus_local *b, uint32_t node)
{
    pthread_rwlock_wrlock(&b->lock);
    struct member *m = bus_local_find(b, node);
    if (m != NULL && atomic_exchange(&m->present, false)) {
        member_clear(m);
        bus_local_tell_gone(b, node);
    }
    pthread_rwlock_unlock(&b->lock);
}

void bus_local_cut(struct bus_local *b, uint32_t node)
{
    pthread_rwlock_wrlock(&b->lock);
    struct member *m = bus_local_find(b, node);
    ensure(m != NULL && b->count > 1); /* somebody is left to hear of it */
    if (atomic_exchange(&m->present, false))
        bus_local_tell_gone(b, node);
    pthread_rwlock_unlock(&b->lock);
}

void bus_local_destroy(struct bus_local **pb)
{
    struct bus_local *b = *pb;
    *pb = NULL;
    if (b == NULL)
        return;
    for (unsigned i = 0; i < b->count; i++) {
        member_clear(b->members[i]);
        mem_free(&b->members[i]);
    }
    pthread_rwlock_destroy(&b->lock);
    mem_free(&b);
}

void bus_local_assign(struct bus_local *b, unsigned slot, uint32_t node)
{
    ensure(slot < BUS_LOCAL_SLOTS);
    pthread_rwlock_wrlock(&b->lock);
    b->assigned[slot] = node;
    for (unsigned i = 0; i < b->count; i++)
        b->members[i]->assigned[slot] = 0;
    pthread_rwlock_unlock(&b->lock);
}

void bus_local_fault(struct bus_local *b, uint32_t from, uint32_t to, enum bus_fault fault,
                     uint32_t count)
{
    pthread_rwlock_rdlock(&b->lock);
    struct member *sender = bus_local_find(b, from), *receiver = bus_local_find(b, to);
    ensure(sender != NULL && receiver != NULL && fault < BUS_FAULTS);
    atomic_store(&sender->faults[receiver->place][fault], count);
    pthread_rwlock_unlock(&b->lock);
}

struct bus_local_counters bus_local_count(struct bus_local *b, uint32_t node)
{
    struct bus_local_counters c = { 0 };
    pthread_rwlock_rdlock(&b->lock);
    struct member *m = bus_local_find(b, node);
    if (m != NULL)
        c = (struct bus_local_counters){ atomic_load(&m->delivered), atomic_load(&m->lost),
                                         atomic_load(&m->gaps), atomic_load(&m->repeats) };
    pthread_rwlock_unlock(&b->lock);
    return c;
}
