/* The rows of the core: what settings, metrics, tables and log areas it has, for app/features.c.
 */
#include "core/rows.h"
#include "account/account.h"
#include "account/account_life.h"
#include "account/moves.h"
#include "account/restart.h"
#include "archive/archive.h"
#include "archive/ids.h"
#include "archive/query.h"
#include "core/budget.h"
#include "core/feature.h"
#include "core/node_life.h"
#include "home/ask.h"
#include "home/command_far.h"
#include "home/command_run.h"
#include "home/fan.h"
#include "home/host.h"
#include "home/question.h"
#include "home/remote.h"
#include "home/router.h"
#include "home/setting_news.h"
#include "home/ticket.h"
#include "presence/subscription.h"
#include "session/link.h"
#include "session/session_input.h"
#include "talk/iq.h"
#include "talk/message.h"
#include "talk/messages_portable.h"
#include "talk/offline.h"
#include "xmpp/ns.h"

static struct setting *const message_settings[] = { &im_durable_ack,
                                                    &mailbox_unsettled_max,
                                                    &mailbox_unsettled_bytes,
                                                    &mailbox_stranger_share,
                                                    &mailbox_tell_strangers,
                                                    &presence_stranger_requests,
                                                    &node_memory,
                                                    &node_memory_share,
                                                    NULL };
static struct alarm *const message_alarms[] = { &node_memory_alarm, NULL };

/* The note of what clients do among themselves and a server only has to keep well. */
#define CARRIED "passed on between clients; archived, and stored for users who are away"

const struct feature message_feature = {
    .name = "message",
    .parts = PART_MESSAGE,
    .portable = &messages_portable,
    .xeps =
        (const struct xep[]){
            { "0066", "1.5", "Out of Band Data", "0.1.0", "im/test_content", CARRIED },
            { "0071", "1.5", "XHTML-IM", "0.1.0", "im/test_content", CARRIED },
            { "0082", "1.1", "XMPP Date and Time Profiles", "0.1.0", "datetime_test",
              "DateTime; the offset of a time zone in XEP-0202" },
            { "0085", "2.1", "Chat State Notifications", "0.1.0", "im/test_content",
              "passed on between clients; alone they are not stored" },
            { "0160", "1.0.1", "Best Practices for Handling Offline Messages", "0.1.0",
              "im/test_message", NULL },
            { "0166", "1.1.2", "Jingle", "0.1.0", "im/test_jingle", "passed on between clients" },
            { "0184", "1.2", "Message Delivery Receipts", "0.1.0", "im/test_content", CARRIED },
            { "0203", "2.0", "Delayed Delivery", "0.1.0", "im/test_message", NULL },
            { "0234", "0.18.1", "Jingle File Transfer", "0.1.0", "im/test_jingle",
              "passed on between clients" },
            { "0308", "1.1", "Last Message Correction", "0.1.0", "im/test_content", CARRIED },
            { "0333", "0.4", "Chat Markers", "0.1.0", "im/test_content", CARRIED },
            { "0334", "0.4.0", "Message Processing Hints", "0.1.0", "im/test_message", NULL },
            { "0353", "0.7.0", "Jingle Message Initiation", "0.1.0", "im/test_jingle", CARRIED },
            { "0359", "0.7.0", "Unique and Stable Stanza IDs", "0.1.0", "im/test_message", NULL },
            { "0444", "0.2.0", "Message Reactions", "0.1.0", "im/test_content", CARRIED },
            { "0461", "0.3.0", "Message Replies", "0.1.0", "im/test_content", CARRIED },
            { 0 },
        },
    .disco = (const char *const[]){ NS_OFFLINE_MSG, NULL }, /* XEP-0160 §4 */
    .disco_account = (const char *const[]){ NS_SID, NULL }, /* XEP-0359 §6 */
    .schema = &archive_schema,
    .settings = message_settings,
    .metrics = message_metrics,
    .alarms = message_alarms,
    .logs = message_logs,
    .session = { .took = offline_continue },
};
static const struct message_row *const core_messages[] = {
    &question_ended_message,
    &setting_news_message,
    &command_message,
    &command_ended_message,
    &command_each_message,
    &links_asked_message,
    &node_life_message,
    &route_message,
    &ticket_message,
    &charge_message,
    &bind_message,
    &up_message,
    &down_message,
    &fan_message,
    &remote_message,
    &link_message,
    &link_known_message,
    &link_told_message,
    &shed_message,
    &pass_message,
    &thaw_message,
    &slot_move_message,
    &ask_answer_message,
    &account_gone_message,
    &account_created_message,
    &command_asked_message,
    &command_answered_message,
    &archive_slack_message,
    NULL,
};
const struct feature archive_query_feature = {
    .name = "archive-query",
    .parts = PART_MESSAGE,
    .schema = &archive_query_schema,
};
const struct feature session_feature = {
    .name = "session",
    .xeps =
        (const struct xep[]){
            { "0198", "1.6.1", "Stream Management", "0.1.0", "stream/test_sm",
              "with clients, and with other servers in both directions" },
            { 0 },
        },
    .schema = &restart_schema,
    .settings = session_settings,
    .metrics = session_metrics,
    .bind2 = session_bind2,
    .logs = session_logs,
    .messages = core_messages,
};
static const struct store_migration none[] = { { 0 } };
static const struct store_schema account_schema = { .feature = "account",
                                                    .migrations = none,
                                                    .stmts = account_stmts };

const struct feature account_feature = {
    .name = "account",
    .parts = PART_ALL,
    .schema = &account_schema,
    .metrics = account_metrics,
    .logs = account_logs,
};
