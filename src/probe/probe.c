#include "probe/probe.h"
#include "core/feature.h"
#include "gate/s2s/s2s_home.h"
#include "home/message.h"
#include "probe/edge.h"
#include "probe/lost.h"

bool probe_is_lost(slice condition)
{
    static const char *const ours[] = { "remote-server-not-found", "remote-server-timeout",
                                        "not-allowed", "policy-violation", "resource-constraint" };
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (slice_is(condition, ours[i]))
            return true;
    return false;
}

static void probe_begin(void)
{
    outside_edge_by(edge_start);
    outside_lost_by(lost_ask);
    outside_retry_by(s2s_retry);
}

const struct feature probe_feature = {
    .name = "probe",
    .start = probe_begin,
    .xeps = (const struct xep[]){ { "0184", "1.4.0", "Message Delivery Receipts", "0.1.0",
                                    "federation/test_fedtest_imtest", "imtest asks for a receipt" },
                                  { 0 } },
    .commands = (struct command *const[]){ &imtest_command, &fedtest_command, NULL },
    .messages = (const struct message_row *const[]){ &lost_ask_message, &lost_stage_message, NULL },
};
