#include "archive/ids.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "home/question.h"
#include <stdatomic.h>

enum { RESERVE_US = 20 * 1000000, RESERVE_EARLY_US = 10 * 1000000 };

/* Ids in use are never above what is reserved on disk, so that a crash and a clock that steps back
 * give none of them twice. Written ahead of need; while the write is under way ids are capped. */
static void reserve_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct node *n = arg;
    (void)b;
    if (result == STORE_OK)
        atomic_store(&n->ids_reserved_us, atomic_load(&n->ids_wanted_us));
    atomic_store(&n->ids_reserving, false);
}

static void reserve_ahead(struct worker *w, uint64_t now)
{
    struct node *n = worker_node(w);
    bool idle = false;
    if (now + RESERVE_EARLY_US < atomic_load_explicit(&n->ids_reserved_us, memory_order_relaxed) ||
        !atomic_compare_exchange_strong(&n->ids_reserving, &idle, true))
        return;
    atomic_store(&n->ids_wanted_us, now + RESERVE_US);
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, &archive_reserve, STORE_ANY_ROWS, SV_I(now + RESERVE_US));
    store_submit(b, worker_loop(w), 0, reserve_done, n);
}

uint64_t archive_slack_us(const struct worker *w)
{
    return atomic_load_explicit(&worker_node(w)->ids_slack_us, memory_order_relaxed);
}

/* Whether it was lower. */
static bool raise_slack(struct worker *w, uint64_t off_us)
{
    _Atomic uint64_t *slack = &worker_node(w)->ids_slack_us;
    uint64_t was = atomic_load(slack);
    while (was < off_us)
        if (atomic_compare_exchange_weak(slack, &was, off_us)) /* else another worker raised it */
            return true;
    return false;
}

struct slack_raised {
    uint64_t off_us;
};

static void slack_raised_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    (void)raise_slack(w, ((const struct slack_raised *)message)->off_us);
}

static const struct message_field slack_raised_fields[] = { F_U64(struct slack_raised, off_us),
                                                            { 0 } };
const struct message_row archive_slack_message = {
    .id = 20,
    .scope = MESSAGE_CLUSTER,
    .name = "archive-slack",
    .size = sizeof(struct slack_raised),
    .fields = slack_raised_fields,
    .run = slack_raised_run,
};

void archive_slack_allow(struct worker *w, struct store_batch *b, uint64_t off_us)
{
    if (raise_slack(w, off_us))
        each_home(w, &archive_slack_message, &(struct slack_raised){ off_us },
                  &(struct asker){ 0 });
    STORE_ADD(b, &archive_slack, STORE_ANY_ROWS, SV_I(off_us));
}

/* Twice as far, so that it is written seldom. The write is submitted before that of the message. */
static void look_at_slack(struct worker *w, uint64_t id, uint64_t now)
{
    uint64_t off = id > now ? id - now : now - id;
    if (off <= archive_slack_us(w))
        return;
    struct store_batch *b = store_write(worker_store(w), 0);
    archive_slack_allow(w, b, 2 * off);
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

uint64_t archive_mint(struct worker *w, uint64_t *last)
{
    struct node *n = worker_node(w);
    uint64_t now = loop_wall_us(worker_loop(w));
    uint64_t limit = atomic_load_explicit(&n->ids_reserved_us, memory_order_relaxed);
    reserve_ahead(w, now);
    uint64_t id = now < limit || limit == 0 ? now : limit;
    if (id < n->ids_floor_us)
        id = n->ids_floor_us;
    uint64_t before = *last;
    *last = id > before ? id : before + 1;
    ensure(*last > before);
    look_at_slack(w, *last, now);
    return *last;
}
