#include "admin/trace_jid.h"
#include "admin/control_json.h"
#include "admin/log_recent.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "core/feature.h"
#include "home/follow.h"
#include "home/here.h"
#include "io/loop.h"
#include "ops/owner.h"
#include "store/store.h"

/* Each byte of a JID may be one of six. */
enum { FOR_MS = 10 * 60 * 1000, FOR_MAX_MS = 24 * 3600 * 1000, QUOTED_BYTES_MAX = 6 * 3071 + 64 };

static uint64_t trace_now_us(const struct command_call *call)
{
    return loop_wall_us(worker_loop(call->worker));
}

/* On each worker: all of a process have one list. */
static void trace_begin(struct command_call *call, enum xml_mask how)
{
    uint64_t now_us = trace_now_us(call);
    uint64_t for_us = (uint64_t)command_number(call, "for", FOR_MS) * 1000;
    slice owner = owner_of_call(call);
    uint64_t expires_us = owner_expires_us(owner);
    struct followed one = { command_arg(call, "jid"), owner, now_us + for_us, how };
    if (expires_us != 0 && expires_us < one.until_us)
        one.until_us = expires_us;
    if (!follow_begin(&one, now_us)) {
        command_row(call);
        command_text(call, "jid", one.bare);
    }
}

static void run_trace_jid(struct command_call *call) { trace_begin(call, XML_MASK_TEXTS); }
static void run_trace_bodies(struct command_call *call) { trace_begin(call, XML_MASK_BUT_BODIES); }

static struct command trace_bodies_command;

static struct store_stmt stmt_known = {
    .name = "trace.known",
    .params = "t",
    .cols = "i",
    .sql = "SELECT count(*) FROM account WHERE jid = $1",
};
static const struct store_migration no_migrations[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "trace_jid",
    .migrations = no_migrations,
    .stmts = (struct store_stmt *const[]){ &stmt_known, NULL },
};

/* One that is made later is followed, too; so it is only said, if the database says it. */
static void trace_jid_looked(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    char stamp[CLOCK_STAMP_LEN];
    slice jid = command_arg(call, "jid");
    bool unknown = result == STORE_OK && store_int(b, 0, 0, 0) == 0;
    clock_stamp(stamp, trace_now_us(call) + (uint64_t)command_number(call, "for", FOR_MS) * 1000);
    command_done(call, "%s the stanzas of %.*s until %s%s",
                 call->command == &trace_bodies_command ? "`trace texts` shows"
                                                        : "the log (area trace) has",
                 SLICE_ARG(jid), stamp, unknown ? "; there is no such account yet" : "");
}

static void trace_jid_gathered(struct command_call *call)
{
    if (command_take_rows(call) != NULL) {
        command_fail(call, E_LIMIT, "%d users are followed already; `trace stop` ends one",
                     FOLLOW_MAX);
        return;
    }
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &stmt_known, 1, SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(call->worker), 0, trace_jid_looked, call);
}

/* The lines are of the process: one worker of each node adds them. The field `jid` is the first of
 * such a line, and a full JID. */
static void run_trace_texts(struct command_call *call)
{
    slice jid = command_arg(call, "jid");
    struct buf quoted;
    if (worker_index(call->worker) != 0)
        return;
    buf_init(&quoted, QUOTED_BYTES_MAX);
    buf_lit(&quoted, "jid=");
    control_text(&quoted, jid);
    ensure(!quoted.overflow);
    quoted.len--;
    buf_lit(&quoted, "/");
    const struct log_wanted wanted = {
        .level = LOG_TRACE,
        .word = command_arg(call, "word"),
        .plain = slice_of(arena_printf(call->arena, "jid=%.*s/", SLICE_ARG(jid))),
        .quoted = buf_fit(&quoted),
    };
    log_recent_rows(call, &log_recent_texts, &wanted);
    buf_fini(&quoted);
}

static void run_trace_stop(struct command_call *call)
{
    if (!follow_end(command_arg(call, "jid")))
        return;
    command_row(call);
    command_text(call, "jid", command_arg(call, "jid"));
}

static void trace_stop_gathered(struct command_call *call)
{
    if (command_take_rows(call) == NULL)
        command_fail(call, E_NOTFOUND, "%.*s is not followed", SLICE_ARG(command_arg(call, "jid")));
    else
        command_done(call, "%.*s is followed no longer", SLICE_ARG(command_arg(call, "jid")));
}

static void list_followed(const struct followed *one, void *arg)
{
    struct command_call *call = arg;
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, one->until_us);
    command_row(call);
    command_text(call, "jid", slice_dup(call->arena, one->bare));
    command_text(call, "until", slice_dup(call->arena, slice_of(stamp)));
    command_bool(call, "bodies", one->how == XML_MASK_BUT_BODIES);
    command_text(call, "by", slice_dup(call->arena, one->owner));
}

static void run_trace_list(struct command_call *call)
{
    follow_each(trace_now_us(call), list_followed, call);
    command_done(call, "%s", call->rows != NULL ? "" : "nobody is followed");
}

/* It ends with the access of those who began it, and with the account: whoever gets the address
 * next is not followed. */

static bool trace_is_kept(const struct followed *one, void *arg)
{
    (void)arg;
    return owner_may(one->owner,
                     one->how == XML_MASK_BUT_BODIES ? "compliance.write" : "log.write");
}

static void trace_access_changed(struct worker *w)
{
    ensure(worker_is_here(w));
    follow_sweep(trace_is_kept, NULL);
}

static bool trace_is_of_others(const struct followed *one, void *arg)
{
    slice bare = *(const slice *)arg;
    return !slice_eq(one->bare, bare) && !owner_is_account(one->owner, bare);
}

static void trace_deleted(struct worker *w, slice bare)
{
    ensure(worker_is_here(w));
    follow_sweep(trace_is_of_others, &bare);
}

#define JID_ARG                                                                                    \
    {                                                                                              \
        .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_USER, .doc = "the user"               \
    }
#define REASON_ARG                                                                                 \
    {                                                                                              \
        COMMAND_REASON(500), .kind = ARG_POSITIONAL, .doc = "why, for the audit log"               \
    }
#define FOR_ARG                                                                                    \
    {                                                                                              \
        .name = "for", .kind = ARG_OPTION, .type = PARAM_MS, .min = 1000, .max = FOR_MAX_MS,       \
        .doc = "for how long; the default is 10 minutes"                                           \
    }

static const struct command_column refused_columns[] = {
    { .name = "jid", .doc = "the user, where it is not so" }, { 0 }
};

static struct command trace_jid_command = {
    .name = "trace jid",
    .rest = "PUT /trace/users/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "log",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ JID_ARG, FOR_ARG, { 0 } },
    .run = run_trace_jid,
    .gathered = trace_jid_gathered,
    .parts = refused_columns,
    .doc = "Logs each stanza of a user for a while: what comes from the clients of the user and "
           "goes to them, at the level info, whatever the level of the log is. Texts are masked: "
           "their length stands in brackets. It ends earlier if you lose the permission, or the "
           "user is deleted.",
};
static struct command trace_bodies_command = {
    .name = "trace bodies",
    .effect = COMMAND_CHANGES,
    .area = "compliance",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ JID_ARG, REASON_ARG, FOR_ARG, { 0 } },
    .run = run_trace_bodies,
    .gathered = trace_jid_gathered,
    .parts = refused_columns,
    .doc = "Does the same as `trace jid` with the text of messages: their bodies and subjects. All "
           "else stays masked. No log has these lines: they are in the memory of the node, and "
           "`trace texts` shows them. The reason is in the audit log.",
};
static struct command trace_texts_command = {
    .name = "trace texts",
    .effect = COMMAND_READS,
    .area = "compliance",
    .audited = true,
    .reasoned = true,
    .runs_at = COMMAND_EACH,
    .args =
        (const struct command_arg[]){
            JID_ARG,
            REASON_ARG,
            { .name = "word", .kind = ARG_OPTION, .doc = "only lines that have these characters" },
            COMMAND_LIMIT_ARG(LOG_RECENT_MAX, "at most this number of lines"),
            { 0 } },
    .run = run_trace_texts,
    .gathered = log_recent_gathered,
    .parts = log_recent_parts,
    .doc = "Shows what `trace bodies` has of a user, whoever began it: the newest lines, at most "
           "4,000 or 1 MiB of all users on each node. They are lost with a restart of the node. "
           "Who reads them "
           "states a reason, which is in the audit log.",
    .columns = log_recent_columns,
};
static struct command trace_stop_command = {
    .name = "trace stop",
    .rest = "DELETE /trace/users/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "log",
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ JID_ARG, { 0 } },
    .run = run_trace_stop,
    .gathered = trace_stop_gathered,
    .parts = refused_columns,
    .doc = "Ends what `trace jid` or `trace bodies` has begun.",
};
static struct command trace_list_command = {
    .name = "trace list",
    .rest = "GET /trace/users",
    .effect = COMMAND_READS,
    .area = "log",
    .args = (const struct command_arg[]){ { 0 } },
    .run = run_trace_list,
    .doc = "Lists the users whose stanzas are logged.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .doc = "the user" },
            { .name = "until", .type = PARAM_STAMP, .doc = "until when" },
            { .name = "bodies", .type = PARAM_BOOL, .doc = "whether with the text of messages" },
            { .name = "by", .doc = "who began it" },
            { 0 } },
};

const struct feature trace_jid_feature = {
    .name = "trace_jid",
    .schema = &schema,
    .commands =
        (struct command *const[]){ &trace_jid_command, &trace_bodies_command, &trace_texts_command,
                                   &trace_stop_command, &trace_list_command, NULL },
    .logs = (struct log_area *const[]){ &log_follow, &log_follow_bodies, NULL },
    .account.deleted = trace_deleted,
    .worker.access_changed = trace_access_changed,
};
