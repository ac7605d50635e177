/* Bytes as a database or another node would give them for the memory of an account: whatever they
 * are, they are refused with a reason and nothing has changed, or the account is sound with them,
 * freezes, and what it freezes to is thawed into the same. */
#include "account/account_check.h"
#include "base/arena.h"
#include "base/buf.h"
#include "core/test_node.h"
#include "home/frozen.h"

enum { BYTES_MAX = 8192 };

struct stream {
    uint64_t id;
};

static struct test_node t;
static struct account *a;

static void gate_down(struct stream *s, const struct down *d)
{
    ensure(s == NULL && d == NULL); /* no session has a stream */
}
static const struct gate_ops gate = { .down = gate_down };

static void close_node(void) { test_node_close(&t); }

static void open_node(void)
{
    test_node_open(&t, &gate);
    a = test_node_account(&t, "a@localhost");
    ensure(a->id == 1);
    atexit(close_node);
}

static void free_sessions(void)
{
    while (!list_empty(&a->sessions))
        session_free(CONTAINER_OF(a->sessions.next, struct session, node));
}

/* The wall clock does not pass meanwhile: nothing ticks. */
static void check_again(struct buf *once)
{
    struct buf twice;
    struct why why;
    buf_init(once, FROZEN_BYTES_MAX);
    buf_init(&twice, FROZEN_BYTES_MAX);
    actor_freeze(&a->actor, once);
    free_sessions();
    ensure(actor_thaw(&a->actor, buf_slice(once), &why) == OK);
    account_check(&a->actor);
    actor_freeze(&a->actor, &twice);
    ensure(slice_eq(buf_slice(once), buf_slice(&twice)));
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct why why = { 0 };
    struct buf once;
    if (size > BYTES_MAX)
        return 0;
    if (t.node == NULL)
        open_node();
    slice bytes = { (const char *)data, size };
    if (actor_thaw(&a->actor, bytes, &why) != OK) {
        ensure(why.text[0] != '\0' && list_empty(&a->sessions) && a->queue_bytes == 0);
        arena_reset(loop_scratch(t.w->loop));
        return 0;
    }
    account_check(&a->actor);
    check_again(&once);
    buf_fini(&once);
    while (!list_empty(&a->sessions)) /* with all that the end of a session does */
        session_end(CONTAINER_OF(a->sessions.next, struct session, node), END_EXPIRED);
    arena_reset(loop_scratch(t.w->loop));
    test_node_run(&t, test_node_is_idle, t.store);
    free_sessions();
    return 0;
}
