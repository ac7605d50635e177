#include "ext/mam/mam.h"
#include "account/account.h"
#include "base/log.h"
#include "base/metric.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "ext/mam/mam_events.h"
#include "ext/mam/mam_expire.h"
#include "ext/mam/mam_fulltext.h"
#include "ext/mam/mam_prefs.h"
#include "ext/mam/mam_query.h"
#include "ext/mam/mam_quota.h"
#include "ext/mam/mam_read.h"
#include "ext/mam/mam_retract.h"
#include "ext/mam/mam_talk.h"
#include "home/duty.h"
#include "home/here.h"
#include "store/store.h"
#include "talk/iq.h"
#include "xmpp/ns.h"

struct setting mam_enabled = {
    .name = "archive.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc =
        "Keeps messages in the archives of sender and recipient (XEP-0313). Off: a message is kept "
        "until the recipient has it; archived messages stay until archive.retention is over. With "
        "im.durable-ack off, only messages that waited for absent users are archived.",
};
struct setting mam_default = {
    .name = "archive.default",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .def = MAM_ALWAYS,
    .choices = mam_defaults,
    .doc = "Which messages are archived for users who have not chosen themselves: all, those from "
           "and to contacts, or none.",
};
struct setting mam_users_choose = {
    .name = "archive.users-may-choose",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether users may choose with their client which of their messages are archived "
           "(XEP-0441). Off: archive.default holds for all users; earlier choices are kept, and "
           "are in "
           "force again when this is turned on.",
};
struct setting mam_page_default = {
    .name = "archive.page-default",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 50,
    .min = 1,
    .max = 1000,
    .unit = "messages",
    .doc = "How many messages an archive query returns by default.",
};
struct setting mam_page_max = {
    .name = "archive.page-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 250,
    .min = 1,
    .max = 1000,
    .unit = "messages",
    .doc = "How many messages an archive query returns at most; clients ask for further pages.",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE mam_prefs(owner INTEGER PRIMARY KEY, preference INTEGER NOT NULL,"
      " always TEXT NOT NULL, never TEXT NOT NULL)",
      "CREATE TABLE mam_prefs(owner BIGINT PRIMARY KEY, preference BIGINT NOT NULL,"
      " always TEXT NOT NULL, never TEXT NOT NULL)" },
    { 2, MAM_INDEX_CREATE,
      "CREATE TABLE message_fts(id BIGINT PRIMARY KEY, words TSVECTOR NOT NULL);"
      "CREATE INDEX message_fts_words ON message_fts USING gin(words)" },
    { 0 },
};

enum { ANYBODY = IQ_TO_SELF | IQ_TO_ACCOUNT };

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_MAM, "query", ANYBODY, mam_query },
    { TYPE_GET, NS_MAM, "query", ANYBODY, mam_form_get },
    { TYPE_GET, NS_MAM, "metadata", ANYBODY, mam_metadata },
    { TYPE_GET, NS_MAM, "prefs", ANYBODY, mam_prefs_get },
    { TYPE_SET, NS_MAM, "prefs", ANYBODY, mam_prefs_set },
    { 0 },
};

/* The statements of all files. */
static struct store_stmt *stmts[64];
static const struct store_address addresses[] = {
    { "mam_prefs", "always", .kind = STORE_JID_LIST, .separator = '\n', .beside = "never" },
    { "mam_prefs", "never", .kind = STORE_JID_LIST, .separator = '\n', .beside = "always" },
    { 0 },
};
static struct store_schema schema = { .feature = "mam",
                                      .migrations = migrations,
                                      .stmts = stmts,
                                      .index = &mam_index,
                                      .addresses = addresses };

static void ext_mam_gather(struct store_stmt *const *list, unsigned *n)
{
    for (; *list != NULL; list++)
        stmts[(*n)++] = *list;
}

static void ext_mam_start(void)
{
    unsigned n = 0;
    ext_mam_gather(mam_prefs_stmts, &n);
    ext_mam_gather(mam_fulltext_stmts, &n);
    ext_mam_gather(mam_expire_stmts, &n);
    ext_mam_gather(mam_quota_stmts, &n);
    ext_mam_gather(mam_talk_stmts, &n);
    ext_mam_gather(mam_events_stmts, &n);
    ext_mam_gather(mam_read_stmts, &n);
}

/* The server may have ended before it had counted and indexed the last messages. */
static void ext_mam_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ARCHIVE))
        return;
    archive_words_stored(w);
    mam_fulltext_look(w);
    mam_expire_start(w);
}

static void ext_mam_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    mam_prefs_loaded(a, b, first);
    mam_expire_arm(a->worker);
}

static void ext_mam_ended(struct worker *w)
{
    mam_retract_stop(w);
    mam_fulltext_stop(w);
    mam_expire_stop(w);
    mam_quota_stop(w);
}

static enum verdict archives(struct account *a, const struct stanza *st, slice contact)
{
    return mam_prefs_archive(a, st, contact) ? PASS : DROP;
}

static const struct archive_part archive_part = {
    .kept = mam_retract,
    .bind2_load = mam_bind2_load,
    .bind2_loaded = mam_bind2_loaded,
};

const struct feature mam_feature = {
    .name = "mam",
    .xeps =
        (const struct xep[]){
            { "0059", "1.1", "Result Set Management", "0.1.0", "archive/test_mam", NULL },
            { "0297", "1.0", "Stanza Forwarding", "0.1.0", "archive/test_mam", NULL },
            { "0313", "0.8.0", "Message Archive Management", "0.1.0", "archive/test_mam",
              "groupchat messages are in the archives of rooms" },
            { "0424", "0.4.2", "Message Retraction", "0.1.0", "archive/test_mam", NULL },
            { "0431", "0.2.0", "Full Text Search in MAM", "0.1.0", "archive/test_mam_search",
              NULL },
            { "0441", "0.2.0", "Message Archive Management Preferences", "0.1.0",
              "archive/test_mam", NULL },
            { 0 },
        },
    .disco_account =
        (const char *const[]){ NS_MAM, NS_MAM_EXTENDED, "urn:xmpp:mam:2#groupchat-field",
                               "urn:xmpp:fulltext:0", "urn:xmpp:message-retract:1",
                               "urn:xmpp:message-retract:1#tombstone", NULL },
    .iq = rules,
    .schema = &schema,
    .messages =
        (const struct message_row *const[]){ &mam_expire_arm_message, &mam_index_message, NULL },
    .alarms = (struct alarm *const[]){ &mam_index_alarm, NULL },
    .settings = (struct setting *const[]){ &mam_enabled, &mam_default, &mam_users_choose,
                                           &mam_page_default, &mam_page_max, &mam_fulltext,
                                           &mam_retention, &mam_user_bytes, &mam_room_bytes, NULL },
    .commands =
        (struct command *const[]){ &mam_expire_command, &mam_events_command, &mam_read_command,
                                   &mam_user_archive, &mam_choices_command, NULL },
    .metrics = (struct metric *const[]){ &mam_expired, &mam_trimmed, NULL },
    .logs = (struct log_area *const[]){ &mam_log, NULL },
    .start = ext_mam_start,
    .account.slot = &mam_prefs_slot,
    .account.load = mam_prefs_load,
    .account.loaded = ext_mam_loaded,
    .account.unload = mam_prefs_unload,
    .account.remove = mam_prefs_remove,
    .worker.slot = &mam_retract_slot,
    .worker.start = ext_mam_worker_start,
    .worker.ended = ext_mam_ended,
    .stage.archive = archives,
    .one.words = &mam_words,
    .one.archive = &archive_part,
};
