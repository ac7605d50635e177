#include "io/mesh.h"
#include "base/ensure.h"
#include "base/latency.h"
#include "base/mem.h"
#include "io/loop_private.h"

enum {
    RING_SLOTS = 1024,
    DRAIN_MAX = 4096, /* frames of one ring in one tick */
    DRAIN_BATCH = 64  /* frames after which the slots are given back */
};

/* One producer, one consumer. Producer and consumer write on cache lines of their own; the padding
 * also keeps the prefetched neighbour line apart. */
struct ring {
    _Atomic uint32_t tail; /* written by the producer */
    uint32_t head_seen;    /* the producer's last look at head */
    _Atomic uint32_t
        starved; /* the producer keeps frames in its outbox: wake it when there is room */
    _Atomic uint64_t since_us; /* loop time of the producer: the oldest frame; 0: taken */
    char pad_producer[104];
    _Atomic uint32_t head; /* written by the consumer */
    char pad_consumer[124];
    struct frame *slot[RING_SLOTS];
};

struct mesh_peer {
    struct frame *first, **last; /* outbox */
    uint64_t sent, received;     /* the seq of the last frame in each direction */
    bool wake;                   /* something was sent in this tick */
};

struct mesh_port {
    struct loop_inbox inbox;
    struct loop_defer wake;
    struct mesh *mesh;
    unsigned index;
    struct loop *loop;
    mesh_deliver_fn *deliver;
    void (*pressure)(void *worker, int on);
    void *worker;
    uint64_t queued; /* frames in all outboxes */
    struct mesh_peer peers[];
};

struct mesh {
    unsigned workers;
    uint32_t epoch;
    struct ring
        *rings; /* [from][to]; one zeroed block, of which only what is used is ever touched */
    _Atomic(struct mesh_port *) ports[];
};

struct frame *frame_create(uint16_t kind, size_t bytes)
{
    struct frame *f = mem_alloc(sizeof(*f) + bytes);

    *f = (struct frame){ .kind = kind };
    return f;
}

void frame_free(struct frame **f) { mem_free(f); }

static struct ring *ring_of(const struct mesh *m, unsigned from, unsigned to)
{
    return &m->rings[(size_t)from * m->workers + to];
}

static bool ring_full(struct ring *r)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

    if (tail - r->head_seen == RING_SLOTS)
        r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
    return tail - r->head_seen == RING_SLOTS;
}

static bool ring_put(struct ring *r, struct frame *f)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

    if (ring_full(r))
        return false;
    r->slot[tail % RING_SLOTS] = f;
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return true;
}

static bool ring_empty(struct ring *r)
{
    return atomic_load_explicit(&r->tail, memory_order_acquire) ==
           atomic_load_explicit(&r->head, memory_order_relaxed);
}

static void wake_worker(struct mesh *m, unsigned i)
{
    struct mesh_port *port = atomic_load_explicit(&m->ports[i], memory_order_acquire);

    if (port != NULL) /* else it looks into its rings when it starts */
        loop_wake(port->loop);
}

static void port_wake_peers(struct loop_defer *d)
{
    struct mesh_port *p = CONTAINER_OF(d, struct mesh_port, wake);

    /* the tails stored in this tick come before the looks at `sleeping` */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < p->mesh->workers; i++) {
        if (p->peers[i].wake) {
            p->peers[i].wake = false;
            wake_worker(p->mesh, i);
        }
    }
}

static void port_sent(struct mesh_port *p, unsigned to)
{
    struct ring *r = ring_of(p->mesh, p->index, to);
    if (!p->peers[to].wake && atomic_load_explicit(&r->since_us, memory_order_relaxed) == 0)
        atomic_store_explicit(&r->since_us, p->loop->now_us, memory_order_relaxed);
    p->peers[to].wake = true;
    loop_at_flush(p->loop, &p->wake);
}

static void outbox_append(struct mesh_port *p, unsigned to, struct frame *f)
{
    struct mesh_peer *peer = &p->peers[to];

    f->next = NULL;
    if (peer->first == NULL)
        peer->last = &peer->first;
    *peer->last = f;
    peer->last = &f->next;
    atomic_store(&ring_of(p->mesh, p->index, to)->starved, 1);
    if (p->queued++ == 0)
        p->pressure(p->worker, 1);
}

static void outbox_flush(struct mesh_port *p, unsigned to)
{
    struct mesh_peer *peer = &p->peers[to];
    struct ring *r = ring_of(p->mesh, p->index, to);
    struct frame *f;
    while ((f = peer->first) != NULL) {
        struct frame *next = f->next;
        if (!ring_put(r, f)) /* on success the frame is the receiver's */
            return;
        peer->first = next;
        p->queued--;
        port_sent(p, to);
    }
    atomic_store(&r->starved, 0);
    if (p->queued == 0)
        p->pressure(p->worker, 0);
}

static void port_receive(struct mesh_port *p, unsigned from, struct frame *f)
{
    /* written by mesh_send() of this process: anything else is our own mistake */
    p->peers[from].received++;
    ensure(f->worker == from && f->epoch == p->mesh->epoch);
    ensure(f->seq == p->peers[from].received);
    p->deliver(f, p->worker);
}

static void port_drain_ring(struct mesh_port *p, unsigned from)
{
    struct ring *r = ring_of(p->mesh, from, p->index);
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint32_t taken = 0;
    uint64_t since_us = atomic_load_explicit(&r->since_us, memory_order_relaxed);

    while (taken < DRAIN_MAX) {
        uint32_t waiting = atomic_load_explicit(&r->tail, memory_order_acquire) - head;
        uint32_t batch = waiting < DRAIN_BATCH ? waiting : DRAIN_BATCH;
        if (batch == 0)
            break;
        loop_renew_wall(p->loop);
        for (uint32_t i = 0; i < batch; i++, head++) {
            struct frame *f = r->slot[head % RING_SLOTS];
            if (i + 1 < batch)
                __builtin_prefetch(r->slot[(head + 1) % RING_SLOTS]);
            port_receive(p, from, f);
            arena_reset(p->loop->scratch);
        }
        atomic_store_explicit(&r->head, head, memory_order_release);
        taken += batch;
    }
    if (taken == 0)
        return;
    if (since_us != 0) { /* a frame that comes just now is counted with the next ones */
        latency_observe(LATENCY_ROUTE, since_us, p->loop->now_us);
        atomic_store_explicit(&r->since_us, 0, memory_order_relaxed);
    }
    /* the head stored above comes before the look at `starved`; the producer does the reverse */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->starved, memory_order_relaxed) != 0)
        wake_worker(p->mesh, from);
}

static void port_drain(struct loop_inbox *in)
{
    struct mesh_port *p = CONTAINER_OF(in, struct mesh_port, inbox);

    for (unsigned i = 0; i < p->mesh->workers; i++) {
        if (p->peers[i].first != NULL)
            outbox_flush(p, i);
    }
    for (unsigned i = 0; i < p->mesh->workers; i++) {
        if (i != p->index)
            port_drain_ring(p, i);
    }
}

static bool port_ready(struct loop_inbox *in)
{
    struct mesh_port *p = CONTAINER_OF(in, struct mesh_port, inbox);

    atomic_thread_fence(memory_order_seq_cst); /* pairs with those of the other side */
    for (unsigned i = 0; i < p->mesh->workers; i++) {
        if (i == p->index)
            continue;
        if (!ring_empty(ring_of(p->mesh, i, p->index)))
            return true;
        if (p->peers[i].first != NULL && !ring_full(ring_of(p->mesh, p->index, i)))
            return true;
    }
    return false;
}

struct mesh *mesh_create(unsigned workers, uint32_t epoch)
{
    struct mesh *m = mem_zalloc(sizeof(*m) + workers * sizeof(m->ports[0]));

    ensure(workers > 0 && workers <= UINT16_MAX);
    m->workers = workers;
    m->epoch = epoch;
    m->rings = mem_zalloc((size_t)workers * workers * sizeof(struct ring));
    return m;
}

static void frame_drop(struct frame *f, mesh_drop_fn *drop)
{
    if (drop != NULL)
        drop(f);
    frame_free(&f);
}

static void ring_drop_frames(struct ring *r, mesh_drop_fn *drop)
{
    uint32_t head = atomic_load(&r->head);
    uint32_t tail = atomic_load(&r->tail);

    for (; head != tail; head++)
        frame_drop(r->slot[head % RING_SLOTS], drop);
}

void mesh_destroy(struct mesh **m, mesh_drop_fn *drop)
{
    struct mesh *mesh = *m;

    if (mesh == NULL)
        return;
    for (unsigned i = 0; i < mesh->workers; i++) {
        struct mesh_port *p = atomic_load(&mesh->ports[i]);
        for (unsigned to = 0; to < mesh->workers; to++) {
            struct frame *f, *next;
            ring_drop_frames(ring_of(mesh, i, to), drop);
            for (f = p == NULL ? NULL : p->peers[to].first; f != NULL; f = next) {
                next = f->next;
                frame_drop(f, drop);
            }
        }
        mem_free(&p);
    }
    mem_free(&mesh->rings);
    mem_free(m);
}

struct mesh_port *mesh_attach(struct mesh *m, unsigned i, struct loop *loop,
                              mesh_deliver_fn *deliver, void (*pressure)(void *worker, int on),
                              void *worker)
{
    struct mesh_port *p = mem_zalloc(sizeof(*p) + m->workers * sizeof(p->peers[0]));

    ensure(i < m->workers && atomic_load(&m->ports[i]) == NULL && loop->inbox == NULL);
    p->inbox = (struct loop_inbox){ .ready = port_ready, .drain = port_drain };
    p->wake.fn = port_wake_peers;
    p->mesh = m;
    p->index = i;
    p->loop = loop;
    p->deliver = deliver;
    p->pressure = pressure;
    p->worker = worker;
    loop->inbox = &p->inbox;
    atomic_store_explicit(&m->ports[i], p, memory_order_release);
    return p;
}

void mesh_send(struct mesh_port *from, unsigned to, struct frame *f)
{
    struct mesh_peer *peer = &from->peers[to];

    ensure(to < from->mesh->workers);
    f->worker = (uint16_t)from->index;
    f->epoch = from->mesh->epoch;
    f->seq = ++peer->sent;
    if (to == from->index) {
        port_receive(from, to, f);
        return;
    }
    if (peer->first != NULL || !ring_put(ring_of(from->mesh, from->index, to), f))
        outbox_append(from, to, f);
    port_sent(from, to);
}

uint64_t mesh_queued(const struct mesh_port *p) { return p->queued; }

struct mesh_count mesh_count(const struct mesh_port *p, unsigned peer)
{
    ensure(peer < p->mesh->workers);
    return (struct mesh_count){ p->peers[peer].sent, p->peers[peer].received };
}
