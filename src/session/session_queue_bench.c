/* The acknowledgement queue: one stanza delivered to a session with stream management and
 * acknowledged, with few and with many waiting; and the same for stored messages, which the mailbox
 * settles. */
#include "base/clock.h"
#include "core/test_node.h"
#include "session/session_queue.h"

struct stream {
    uint64_t id;
    uint64_t got;
};

static void gate_down(struct stream *s, const struct down *d) { s->got += d->kind == DOWN_STANZA; }
static const struct gate_ops gate = { .down = gate_down };

enum { ROUNDS = 2000000 };

struct bench {
    struct account *account;
    struct session *session;
    struct stanza *st;
    uint32_t h;
    uint64_t archive_id; /* 0: not stored */
};

static void deliver(struct bench *b)
{
    if (b->archive_id != 0)
        mailbox_open(b->account, ++b->archive_id, ENTRY_TAKEN);
    session_deliver(b->session, b->st, b->archive_id, 0);
}

/* `window` stanzas wait for an acknowledgement of all of them. */
static void measure(const char *name, struct bench *b, unsigned window)
{
    uint64_t start = clock_mono_us();
    for (unsigned i = 0; i < ROUNDS; i += window) {
        for (unsigned k = 0; k < window; k++)
            deliver(b);
        b->h += window;
        session_up(b->session, &(struct up){ .kind = UP_ACK, .num = b->h });
    }
    double ns = (double)(clock_mono_us() - start) * 1000 / ROUNDS;
    ensure(b->session->queue_len == 0);
    printf("%s.window%u %.1f ns\n", name, window, ns);
}

int main(void)
{
    static const unsigned windows[] = { 1, 5, 1000 };
    static struct stream stream;
    struct test_node t;
    test_node_open(&t, &gate);
    struct account *a = test_node_account(&t, "a@localhost");
    struct bench b = { .account = a, .session = test_node_bind(&t, a, &stream, "r") };
    b.st = test_node_stanza(&t, "<message from='b@localhost/r' to='a@localhost/r' type='chat'>"
                                "<body>How are you?</body></message>");
    session_up(b.session, &(struct up){ .kind = UP_ENABLE, .num = 1 });
    for (unsigned i = 0; i < 3; i++)
        measure("session_queue", &b, windows[i]);
    b.archive_id = 1;
    for (unsigned i = 0; i < 3; i++)
        measure("session_queue.stored", &b, windows[i]);
    ensure(stream.got >= 6 * ROUNDS);
    stanza_unref(&b.st);
    test_node_close(&t);
    return 0;
}
