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
        "are refused with resource-constraint until half an eighth of it is free again.",
};
struct alarm node_memory_alarm = {
    .name = "node.memory",
    .severity = ALARM_ERROR,
    .text = "Queued stanzas and output take more than node.memory.",
    .action =
        "Look for clients that do not read (session list); raise node.memory if there is more.",
};

enum { LOOK_EVERY = 256, LOOK_EVERY_OVER = 16 };

bool budget_exceeded(struct worker *w)
{
    if (++w->budget_calls < (w->over_budget ? LOOK_EVERY_OVER : LOOK_EVERY))
        return w->over_budget;
    w->budget_calls = 0;
    int64_t limit = setting_int(&node_memory),
            used = metric_read(&stanza_bytes) + metric_read(&io_output_bytes);
    bool over = used > (w->over_budget ? limit - limit / 16 : limit);
    if (over && !w->over_budget) {
        char text[96];
        int n =
            snprintf(text, sizeof text, "%lld bytes of %lld", (long long)used, (long long)limit);
        alarm_raise(&node_memory_alarm, (slice){ text, (size_t)n });
    } else if (!over && w->over_budget) {
        alarm_clear(&node_memory_alarm);
    }
    w->over_budget = over;
    return over;
}
