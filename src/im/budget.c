#include "im/budget.h"
#include "base/alarm.h"
#include "base/metric.h"
#include "base/setting.h"
#include "im/worker.h"
#include "io/metrics.h"
#include "xmpp/stanza.h"
#include <stdio.h>

struct setting node_memory = {
    .name = "node.memory",
    .type = SET_BYTES,
    .def = 1ll << 30,
    .min = 16 << 20,
    .max = 1ll << 40,
    .allow_none = true,
    .doc =
        "Memory that stanzas in queues and output to clients may take. Above it stanzas of clients "
        "are refused with resource-constraint until a sixteenth of it is free again.",
};
struct alarm node_memory_alarm = {
    .name = "node.memory",
    .severity = ALARM_ERROR,
    .text = "Queued stanzas and output take more than node.memory.",
    .action =
        "Look for clients that do not read (session list); raise node.memory if there is more.",
};

enum { LOOK_EVERY = 256, LOOK_EVERY_OVER = 16 };

/* The alarm is the process's: raised by the first worker that is over, cleared by the last. */
static void tell(int change, int64_t used, int64_t limit)
{
    static _Atomic int workers_over;
    int before = atomic_fetch_add(&workers_over, change);
    if (before == 0) {
        char text[96];
        int n =
            snprintf(text, sizeof text, "%lld bytes of %lld", (long long)used, (long long)limit);
        alarm_raise(&node_memory_alarm, (slice){ text, (size_t)n });
    } else if (before == 1 && change < 0) {
        alarm_clear(&node_memory_alarm);
    }
}

bool budget_exceeded(struct worker *w)
{
    if (++w->budget_calls < (w->over_budget ? LOOK_EVERY_OVER : LOOK_EVERY))
        return w->over_budget;
    w->budget_calls = 0;
    int64_t limit = setting_int(&node_memory),
            used = metric_read(&stanza_bytes) + metric_read(&io_output_bytes);
    bool over = used > (w->over_budget ? limit - limit / 16 : limit);
    if (over != w->over_budget)
        tell(over ? 1 : -1, used, limit);
    w->over_budget = over;
    return over;
}
