#include "core/budget_shed.h"
#include "base/arena.h"
#include "base/setting.h"
#include "core/budget.h"
#include "home/here.h"
#include "home/message.h"
#include "session/session.h"
#include "session/sessions.h"

enum { SHED_MAX = 256 }; /* sessions a worker ends in one round */

/* Enough of the heaviest on this worker, or all that there are. */
static void shed(struct worker *w)
{
    int64_t limit = setting_int(&node_memory), floor = atomic_load(&budget_floor);
    uint64_t *ids = arena_new(loop_scratch(worker_loop(w)), uint64_t, SHED_MAX);
    struct session *s;
    unsigned count = 0;
    if (limit == SETTING_NONE || worker_stopping(w))
        return;
    for (uint32_t i = 0; count < SHED_MAX && (s = sessions_next(w, &i)) != NULL;)
        if (budget_weight(s) >= (uint64_t)floor)
            ids[count++] = s->id;
    for (unsigned i = 0; i < count && budget_used() > limit - limit / 16; i++) {
        s = session_find(w, ids[i]);
        if (s == NULL)
            continue;
        budget_log(s, budget_weight(s), "node.memory");
        session_end(s, budget_end_of(s));
    }
}

void budget_shed(struct loop_defer *d) { shed(CONTAINER_OF(d, struct core, budget.defer)->worker); }

static void shed_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    shed(w);
}

const struct message_row shed_message = {
    .id = 14,
    .scope = MESSAGE_PROCESS,
    .name = "shed",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = shed_run,
};
