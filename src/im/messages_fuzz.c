/* Bytes as another node would send them: whatever they are, the worker that gets them goes on. What
 * is a message is the same one again when it is packed and read; then it is delivered, to a node
 * with two accounts, a session whose stream is on the other node, and a stream whose session is. */
#include "base/arena.h"
#include "base/buf.h"
#include "bus/bus.h"
#include "home/message_wire.h"
#include "im/core.h"
#include "im/test_node.h"

enum { BYTES_MAX = 8192, OTHER = 2 };

struct stream {
    uint64_t id;
    uint64_t bytes;
};

static struct test_node t;
static uint64_t sent_bytes;

static void gate_down(struct stream *s, const struct down *d)
{
    char out[BYTES_MAX];
    for (size_t i = 0; i < d->text.len; i++)
        s->bytes += (unsigned char)d->text.ptr[i];
    s->bytes += strlen(stanza_error_name(d->error == SE_NONE ? SE_GONE : d->error));
    if (d->st != NULL && stanza_write_max(d->st, d->note) <= sizeof out)
        s->bytes += stanza_write(out, d->st, d->note);
}
static const struct gate_ops gate = { .down = gate_down };

static void send(struct bus *bus, unsigned from, uint32_t node, unsigned to, slice bytes)
{
    ensure(bus == t.node->bus && from == 0 && node != t.node->id);
    sent_bytes += bytes.len + to;
}
static uint32_t registry(struct bus *bus, unsigned slot)
{
    (void)bus;
    return slot == node_slot(SLICE("a@localhost")) || slot == node_slot(SLICE("b@localhost"))
               ? 1
               : slot % 2 + 1;
}
static uint32_t duties(struct bus *bus)
{
    (void)bus;
    return 1;
}
static unsigned nodes(struct bus *bus, uint32_t out[BUS_NODES_MAX])
{
    (void)bus;
    out[0] = 1;
    out[1] = OTHER;
    return 2;
}
static unsigned workers(struct bus *bus, uint32_t node)
{
    (void)bus;
    return node;
}

static bool shares(struct bus *bus, uint32_t node)
{
    (void)bus;
    return node == OTHER;
}

static void close_node(void) { test_node_close(&t); }

static void open_node(void)
{
    static const struct bus_ops ops = { .send = send,
                                        .registry = registry,
                                        .duties = duties,
                                        .nodes = nodes,
                                        .workers = workers,
                                        .shares = shares };
    static struct bus bus = { &ops };
    test_node_open(&t, &gate);
    t.node->bus = &bus;
    (void)test_node_account(&t, "a@localhost");
    (void)test_node_account(&t, "b@localhost");
    atexit(close_node);
}

enum { STREAM = 1 << 16 };

/* The same for every input. */
static void open_session(void)
{
    static struct stream stream;
    t.w->next_id = 0;
    struct link link = test_node_stream(&t, &stream);
    ensure(link.id == STREAM);
    session_bind(t.w, &(struct bind_request){ .link = { .id = STREAM, .node = OTHER },
                                              .bare = SLICE("a@localhost"),
                                              .resource = SLICE("r") });
    struct session *s = NULL;
    for (uint32_t i = 0; s == NULL || s->link.id != STREAM;)
        ensure((s = map_next(&core_of(t.w)->sessions, &i)) != NULL);
    map_del(&core_of(t.w)->sessions, (slice){ (const char *)&s->id, sizeof s->id });
    s->id = (uint64_t)node_slot(SLICE("a@localhost")) << ORIGIN_SLOT_SHIFT | 1;
    map_put(&core_of(t.w)->sessions, s);
}

static void close_sessions(void)
{
    static const uint64_t stream = STREAM;
    struct session *s;
    for (uint32_t i = 0; (s = map_next(&core_of(t.w)->sessions, &i)) != NULL;)
        session_end(s, END_KICKED);
    map_del(&core_of(t.w)->streams, (slice){ (const char *)&stream, sizeof stream });
}

/* Its bytes, as this release packs it. false: it is no message. */
static bool repack(slice bytes, struct buf *out)
{
    struct message_from from = { .node = OTHER };
    const struct message_row *row;
    struct why why;
    void *message;
    if (message_unpack(&row, &message, bytes, t.w, &from, &why) != OK)
        return false;
    buf_init(out, 1 << 20);
    message_pack(out, row, message, &from);
    message_release(row, message);
    ensure(!out->overflow);
    return true;
}

static void check_pack(slice bytes)
{
    struct buf once, twice;
    if (!repack(bytes, &once))
        return;
    ensure(repack(buf_slice(&once), &twice));
    ensure(slice_eq(buf_slice(&once), buf_slice(&twice)));
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > BYTES_MAX)
        return 0;
    if (t.node == NULL)
        open_node();
    slice bytes = { (const char *)data, size };
    open_session();
    check_pack(bytes);
    messages_receive(t.w, &(struct bus_from){ .node = OTHER, .epoch = 1, .seq = 1 }, bytes);
    arena_reset(loop_scratch(t.w->loop));
    test_node_run(&t, test_node_is_idle, t.store);
    close_sessions();
    test_node_run(&t, test_node_is_idle, t.store);
    return 0;
}
