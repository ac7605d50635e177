/* One message between two sessions of one worker: from the sender's stream to the receiver's, which
 * only counts it. Without a store (im.durable-ack off), so that it is the core alone; then with
 * stream management on both sides, acknowledged every fifth. */
#include "base/arena.h"
#include "base/clock.h"
#include "core/test_node.h"
#include "home/router.h"
#include "talk/message.h"

struct stream {
    uint64_t id;
    uint64_t got, asked;
};

static void gate_down(struct stream *s, const struct down *d)
{
    s->got += d->kind == DOWN_STANZA;
    s->asked += d->kind == DOWN_REQUEST;
}
static const struct gate_ops gate = { .down = gate_down };

enum { ROUNDS = 1000000, BATCH = 64 };

static double routed_ns(struct test_node *t, struct stanza *st)
{
    uint64_t start = clock_mono_us();
    for (unsigned i = 0; i < ROUNDS; i++) {
        route_send(t->w, stanza_ref(st));
        if (i % BATCH == 0)
            arena_reset(loop_scratch(t->w->loop));
    }
    return (double)(clock_mono_us() - start) * 1000 / ROUNDS;
}

/* As from the client, acknowledged as by the client. */
static double acknowledged_ns(struct test_node *t, struct session *from, struct session *to,
                              const struct stream *receiver, struct stanza *st)
{
    uint64_t start = clock_mono_us(), asked = receiver->asked;
    uint32_t h = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        session_up(from, &(struct up){ .kind = UP_STANZA, .st = stanza_ref(st) });
        h++;
        if (receiver->asked != asked) {
            asked = receiver->asked;
            session_up(to, &(struct up){ .kind = UP_ACK, .num = h });
        }
        if (i % BATCH == 0)
            arena_reset(loop_scratch(t->w->loop));
    }
    return (double)(clock_mono_us() - start) * 1000 / ROUNDS;
}

int main(void)
{
    static struct stream a_stream, b_stream;
    struct test_node t;
    struct why why;
    test_node_open(&t, &gate);
    ensure(setting_set(&im_durable_ack, SLICE("off"), &why) == OK);
    struct account *a = test_node_account(&t, "a@localhost");
    struct account *b = test_node_account(&t, "b@localhost");
    struct session *from = test_node_bind(&t, a, &a_stream, "r");
    struct session *to = test_node_bind(&t, b, &b_stream, "r");
    struct stanza *st =
        test_node_stanza(&t, "<message from='a@localhost/r' to='b@localhost/r' "
                             "type='chat' id='1'><body>How are you?</body></message>");
    printf("router.message %.1f ns\n", routed_ns(&t, st));
    ensure(b_stream.got == ROUNDS);
    session_up(from, &(struct up){ .kind = UP_ENABLE, .num = 1 });
    session_up(to, &(struct up){ .kind = UP_ENABLE, .num = 1 });
    printf("router.message.sm %.1f ns\n", acknowledged_ns(&t, from, to, &b_stream, st));
    ensure(b_stream.got == 2 * ROUNDS && to->queue_len < 5 && from->h == from->in_count);
    stanza_unref(&st);
    test_node_close(&t);
    return 0;
}
