#include "gate/s2s/s2s_drop.h"
#include "base/log.h"
#include "base/metric.h"
#include "gate/s2s/s2s_rows.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

static const char *const drop_reasons[] = { [S2S_DROP_POLICY] = "policy",
                                            [S2S_DROP_QUEUE] = "queue",
                                            [S2S_DROP_UNREACHABLE] = "unreachable",
                                            NULL };
struct metric s2s_drops = { .name = "muster_s2s_dropped",
                            .kind = METRIC_COUNTER,
                            .label = "reason",
                            .values = drop_reasons,
                            .help = "Errors, and answers to requests, that other servers did not "
                                    "get. Nobody is told of them." };

void s2s_dropped(const struct stanza *st, enum s2s_drop reason)
{
    bool answers = st->kind == STANZA_IQ && st->type == TYPE_RESULT;
    if (st->type != TYPE_ERROR && !answers)
        return;
    metric_add_to(&s2s_drops, reason, 1);
    log_info(&log_s2s, LOG_EV("s2s.dropped"), LOG_S("domain", jid_split(stanza_to(st)).domain),
             LOG_S("local", jid_split(stanza_from(st)).domain),
             LOG_C("stanza", answers ? "result" : "error"), LOG_C("reason", drop_reasons[reason]));
}
