#include "gate/s2s/s2s_stored.h"
#include "base/ensure.h"
#include "base/metric.h"
#include "gate/s2s/s2s_gate.h"
#include "remote/outgoing.h"
#include "store/store.h"

enum { STORED_MS = 5000 };

struct metric s2s_stored = { .name = "muster_s2s_stored",
                             .kind = METRIC_GAUGE,
                             .history = true,
                             .help =
                                 "Stored messages that wait for other servers, in the database "
                                 "of the node; at most 100000 are counted. They were there in "
                                 "the last five seconds. Nodes that share a database each count "
                                 "all of it." };

static void stored_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct s2s_worker *sw = arg;
    sw->stored_read = NULL;
    if (result != STORE_OK)
        return;
    int64_t now = store_int(b, 0, 0, 0);
    ensure(now >= 0 && now <= OUTGOING_TOTAL_MAX);
    metric_add(&s2s_stored, now - sw->stored);
    sw->stored = now;
}

static void stored_look(struct timer *t, struct loop *loop)
{
    struct s2s_worker *sw = CONTAINER_OF(t, struct s2s_worker, stored_look);
    timer_set(loop, t, STORED_MS);
    if (sw->stored_read != NULL) /* the database is slow, or away */
        return;
    struct store_batch *b = store_read(worker_store(worker_here()), 0);
    outgoing_all(b);
    sw->stored_read = store_submit(b, loop, 0, stored_counted, sw);
}

void s2s_stored_start(struct s2s_worker *sw, struct worker *w)
{
    if (worker_index(w) != 0)
        return;
    sw->stored_look.fn = stored_look;
    timer_set(worker_loop(w), &sw->stored_look, 0);
}

/* Figures of a process outlive its nodes, in tests. */
void s2s_stored_stop(struct s2s_worker *sw)
{
    timer_cancel(&sw->stored_look);
    if (sw->stored_read != NULL)
        store_cancel(&sw->stored_read);
    metric_add(&s2s_stored, -sw->stored);
    sw->stored = 0;
}
