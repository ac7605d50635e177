#include "ops/outside.h"
#include "account/account.h"
#include "auth/credentials.h"
#include "auth/seal.h"
#include "auth/throttle.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/command_run.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "ops/access.h"
#include "ops/outside_users.h"
#include "ops/users.h"
#include "xmpp/jid.h"
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { FIRST_MS = 5 * 60000, CHANGED_MS = 10000, TEXT_MAX = 1023 };

static const char *const kind_names[] = { "imtest", "fedtest", "pushtest", NULL };

/* Settings of the schedule. */

static void schedule_changed(struct worker *w, const struct setting *s);

/* Also a name that the DNS has by its A-labels. */
static bool outside_is_other_name(slice host, struct arena *arena)
{
    slice prepared;
    bool ascii = true;
    for (size_t i = 0; i < host.len; i++)
        ascii = ascii && (unsigned char)host.ptr[i] < 0x80;
    return !ascii && jid_prep_domain(host, arena, &prepared) == OK;
}

bool outside_host_read(struct outside_host *out, slice text, struct arena *arena)
{
    slice rest;
    ensure(text.len == 0 || text.ptr != NULL);
    *out = (struct outside_host){ text, text, 0 };
    if (host_port_is_ipv6(text)) {
        out->host = out->address = slice_of(arena_printf(arena, "[%.*s]", SLICE_ARG(text)));
        return true;
    }
    if (host_port_read(text, &out->host, &out->port)) {
        if (slice_starts(text, SLICE("[")))
            out->host = (slice){ text.ptr, out->host.len + 2 };
        return true;
    }
    return (!slice_cut(text, ':', &out->host, &rest) || host_port_number(rest, &out->port)) &&
           outside_is_other_name(out->host, arena);
}

static bool outside_host_ok(slice text)
{
    struct outside_host host;
    struct arena *tmp = arena_create(0);
    bool ok = text.len == 0 || outside_host_read(&host, text, tmp);
    arena_destroy(&tmp);
    return ok;
}

#define SCHEDULE_ROW(var, text, what, looks, shape, words)                                         \
    static struct setting var = {                                                                  \
        .name = text,                                                                              \
        .scope = SCOPE_CLUSTER,                                                                    \
        .type = what,                                                                              \
        .max = TEXT_MAX,                                                                           \
        .def_text = "",                                                                            \
        .changed = schedule_changed,                                                               \
        .doc = words,                                                                              \
        .check = looks,                                                                            \
        .form = shape,                                                                             \
    }

#define SCHEDULE_HOST(var, text, words)                                                            \
    SCHEDULE_ROW(var, text, PARAM_TEXT, outside_host_ok, OUTSIDE_HOST_FORM ", or empty", words)
#define SCHEDULE_TEXT(var, text, what, words) SCHEDULE_ROW(var, text, what, NULL, NULL, words)

SCHEDULE_HOST(imtest_target, "imtest.target", "The host that a scheduled imtest logs in at.");
SCHEDULE_TEXT(imtest_receiver, "imtest.receiver", PARAM_TEXT,
              "The address at another server that a scheduled imtest sends to. Empty: there is no "
              "such test.");
SCHEDULE_HOST(fedtest_target, "fedtest.target",
              "The host of this server at which others reach it, for a scheduled fedtest.");
SCHEDULE_TEXT(fedtest_domain, "fedtest.domain", PARAM_TEXT,
              "The domain of another server that a scheduled fedtest reaches. Empty: there is no "
              "such test.");
SCHEDULE_HOST(fedtest_proxy, "fedtest.proxy", "The host of that server.");
SCHEDULE_HOST(pushtest_edge, "pushtest.edge",
              "The host of this server at which others reach it, for a scheduled pushtest. Empty: "
              "there is no such test.");
SCHEDULE_TEXT(pushtest_service, "pushtest.service", PARAM_TEXT,
              "The address of the push service (XEP-0357) that pushtest sends its notification to. "
              "Empty: the test endpoint of this server.");
SCHEDULE_TEXT(pushtest_node, "pushtest.node", PARAM_TEXT,
              "The node of that service, as a client would name it.");
static struct setting tests_every = {
    .name = "tests.every",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 24 * 3600 * 1000,
    .min = 1000,
    .max = 7 * 24 * 3600 * 1000,
    .changed = schedule_changed,
    .doc =
        "How often imtest, fedtest and pushtest run by themselves, each if imtest.receiver, "
        "fedtest.domain or pushtest.edge is set. A failure raises an alarm, and the next success "
        "clears it.",
};

/* What a kind takes from settings, as NAME of the argument; ended by { 0 }. The last one is what
 * the test reaches. */
static const struct {
    const char *name;
    struct setting *setting;
    bool schedules; /* set, it says that there is a schedule */
} arguments[OUTSIDE_KINDS][4] = {
    [OUTSIDE_IM] = { { "target", &imtest_target, false }, { "receiver", &imtest_receiver, true } },
    [OUTSIDE_FEDERATION] = { { "target", &fedtest_target, false },
                             { "proxy", &fedtest_proxy, false },
                             { "domain", &fedtest_domain, true } },
    [OUTSIDE_PUSH] = { { "edge", &pushtest_edge, true },
                       { "node", &pushtest_node, false },
                       { "service", &pushtest_service, true } },
};

static bool is_scheduled(enum outside_kind kind)
{
    bool any = false;
    for (unsigned i = 0; i < 4 && arguments[kind][i].name != NULL; i++)
        any = any ||
              (arguments[kind][i].schedules && *setting_text(arguments[kind][i].setting) != '\0');
    return any;
}

slice outside_arg(const struct command_call *call, const char *name, enum outside_kind kind)
{
    slice given = command_arg(call, name);
    if (given.ptr != NULL)
        return given;
    for (unsigned i = 0; i < 4 && arguments[kind][i].name != NULL; i++)
        if (strcmp(arguments[kind][i].name, name) == 0)
            return slice_dup(call->arena, slice_of(setting_text(arguments[kind][i].setting)));
    return (slice){ 0 };
}

/* Alarms and metrics. */

#define TEST_ALARM(NAME)                                                                           \
    {                                                                                              \
        .name = NAME ".failed", .severity = ALARM_ERROR,                                           \
        .text = "A scheduled " NAME " has failed.",                                                \
        .action =                                                                                  \
            "Run `musterctl " NAME "`, which says what to do; `musterctl test history` shows "     \
            "the last results. The next scheduled success clears the alarm.",                      \
        .explanation = "What a test cannot do from outside, users probably cannot do, either.",    \
        .raised_when = "A scheduled test fails, or its settings have a mistake.",                  \
        .cleared_when = "A scheduled test succeeds, or the schedule is off.",                      \
        .settings = "tests.every", .lasts = true,                                                  \
    }
static struct alarm alarms[OUTSIDE_KINDS] = { TEST_ALARM("imtest"), TEST_ALARM("fedtest"),
                                              TEST_ALARM("pushtest") };

static struct metric tests_passed = { .name = "muster_tests_passed",
                                      .kind = METRIC_COUNTER,
                                      .label = "test",
                                      .values = kind_names,
                                      .help = "Tests from outside that were a success." };
static struct metric tests_failed = { .name = "muster_tests_failed",
                                      .kind = METRIC_COUNTER,
                                      .label = "test",
                                      .values = kind_names,
                                      .help = "Tests from outside that have failed." };
static const int64_t latencies[] = { 10000,   30000,    100000,   300000, 1000000,
                                     3000000, 10000000, 30000000, 0 };
static struct metric tests_latency = { .name = "muster_tests_latency_us",
                                       .kind = METRIC_HISTOGRAM,
                                       .label = "test",
                                       .values = kind_names,
                                       .buckets = latencies,
                                       .help = "How long tests from outside took that were a "
                                               "success." };
static struct log_area log_tests = { .name = "tests" };

/* The last results, and users. */

/* The order in which tests ended; the clock may have been set back since. */
#define NUMBERS(INTEGER)                                                                           \
    "ALTER TABLE outside_test ADD COLUMN number " INTEGER " NOT NULL DEFAULT 0;"                   \
    "UPDATE outside_test SET number = (SELECT COUNT(*) FROM outside_test AS o WHERE o.at_us <= "   \
    "outside_test.at_us)"

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE outside_test(kind INTEGER NOT NULL, at_us INTEGER NOT NULL, target TEXT NOT "
      "NULL, failed INTEGER NOT NULL, latency_us INTEGER NOT NULL, error TEXT NOT NULL, diagnosis "
      "TEXT NOT NULL, PRIMARY KEY(kind, at_us)) WITHOUT ROWID",
      "CREATE TABLE outside_test(kind BIGINT NOT NULL, at_us BIGINT NOT NULL, target TEXT NOT "
      "NULL, failed BIGINT NOT NULL, latency_us BIGINT NOT NULL, error TEXT NOT NULL, diagnosis "
      "TEXT NOT NULL, PRIMARY KEY(kind, at_us))" },
    { 2, "ALTER TABLE outside_test ADD COLUMN domain TEXT NOT NULL DEFAULT ''",
      "ALTER TABLE outside_test ADD COLUMN domain TEXT NOT NULL DEFAULT ''" },
    { 3, NUMBERS("INTEGER"), NUMBERS("BIGINT") },
    { 0 },
};
static struct store_stmt result_put = {
    .name = "outside.put",
    .sql = "INSERT INTO outside_test(kind, at_us, target, failed, latency_us, error, diagnosis, "
           "domain, number) VALUES($1, $2, $3, $4, $5, $6, $7, $8, (SELECT COALESCE(MAX(number), "
           "0) + 1 FROM outside_test)) ON CONFLICT DO NOTHING",
    .params = "iitiittt",
    .cols = "",
};
static struct store_stmt result_trim = {
    .name = "outside.trim",
    .sql = "DELETE FROM outside_test WHERE kind = $1 AND number <= (SELECT number FROM "
           "outside_test WHERE kind = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)",
    .params = "ii",
    .cols = "",
};
static struct store_stmt result_list = {
    .name = "outside.list",
    .sql = "SELECT kind, at_us, target, failed, latency_us, error, diagnosis, domain FROM "
           "outside_test WHERE $1 < 0 OR kind = $1 ORDER BY number DESC, at_us DESC",
    .params = "i",
    .cols = "iitiittt",
};
static struct store_stmt user_put = {
    .name = "test-user.put",
    .sql = "INSERT INTO test_user(account, at_us, password) SELECT id, $2, $3 FROM account "
           "WHERE jid = $1 ON CONFLICT(account) DO UPDATE SET password = excluded.password",
    .params = "tit",
    .cols = "",
};
static struct store_stmt user_look = {
    .name = "test-user.look",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
};
static struct store_stmt user_drop = {
    .name = "test-user.drop",
    .sql = "DELETE FROM test_user WHERE account = (SELECT id FROM account WHERE jid = $1)",
    .params = "t",
    .cols = "",
};
static struct store_stmt user_forget = {
    .name = "test-user.forget",
    .sql = "DELETE FROM test_user WHERE account = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt user_list = {
    .name = "test-user.list",
    .sql = "SELECT a.jid, t.at_us, t.password FROM test_user t JOIN account a ON a.id = t.account "
           "ORDER BY t.at_us, t.account",
    .params = "",
    .cols = "tit",
};
static const struct store_schema schema = {
    .feature = "tests",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &result_put, &result_trim, &result_list, &user_put,
                                           &user_look, &user_drop, &user_forget, &user_list,
                                           &outside_users_all, NULL },
};
#define SEAL_CONTEXT SLICE("password of a test user")

/* A test. */

static bool running[OUTSIDE_KINDS];
static const char scheduler[] = "schedule";

bool outside_begin(struct command_call *call, enum outside_kind kind)
{
    if (running[kind])
        command_fail(call, E_AGAIN, "another %s is under way; run it again when that has ended",
                     kind_names[kind]);
    else
        running[kind] = true;
    return !call->ended;
}

static const char *latency_text(struct arena *arena, uint64_t us)
{
    uint64_t s = us / 1000000;
    if (us == 0)
        return "00:00:00";
    return arena_printf(arena, "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%06" PRIu64 "0", s / 3600,
                        s / 60 % 60, s % 60, us % 1000000);
}

static const char *diagnosis_of(struct arena *arena, const struct outside_result *r)
{
    return r->stage == NULL ? "" : arena_printf(arena, "%s: %s", r->stage, r->advice);
}

/* The domain that a test reaches; empty: it is none of another server. */
static slice outside_reached(const struct command_call *call, enum outside_kind kind)
{
    const char *name = NULL;
    for (unsigned i = 0; i < 4 && arguments[kind][i].name != NULL; i++)
        name = arguments[kind][i].name;
    slice reached = outside_arg(call, name, kind);
    return reached.len > 0 ? jid_split(reached).domain : SLICE("");
}

static void outside_keep(struct command_call *call, enum outside_kind kind,
                         const struct outside_result *r, slice diagnosis)
{
    struct worker *w = call->worker;
    struct store_batch *b = store_write(worker_store(w), 0);
    STORE_ADD(b, &result_put, STORE_ANY_ROWS, SV_I(kind), SV_I(clock_wall_us()), SV_T(r->target),
              SV_I(r->stage != NULL), SV_I(r->latency_us), SV_T(r->error), SV_T(diagnosis),
              SV_T(outside_reached(call, kind)));
    STORE_ADD(b, &result_trim, STORE_ANY_ROWS, SV_I(kind), SV_I(OUTSIDE_HISTORY));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

static void outside_count(enum outside_kind kind, const struct outside_result *r, bool scheduled)
{
    if (r->stage != NULL) {
        metric_add_to(&tests_failed, kind, 1);
        if (scheduled)
            alarm_raise(&alarms[kind], r->error);
        return;
    }
    metric_add_to(&tests_passed, kind, 1);
    metric_observe(&tests_latency, kind, (int64_t)r->latency_us);
    if (scheduled)
        alarm_clear(&alarms[kind]);
}

static void outside_row(struct command_call *call, const struct outside_result *r,
                        const char *diagnosis)
{
    command_row(call);
    if (r->unknown)
        command_text(call, "warning",
                     slice_of(arena_printf(call->arena,
                                           "the port of %.*s is not in the configuration, which "
                                           "does not know this host, or has no such listener; the "
                                           "default port %u is used",
                                           SLICE_ARG(r->target), r->port)));
    command_text(call, "target_fqdn", r->target);
    command_text(call, "result", r->stage == NULL ? SLICE("Success") : SLICE("Failure"));
    command_text(call, "latency", slice_of(latency_text(call->arena, r->latency_us)));
    command_text(call, "error_message", r->error);
    command_text(call, "diagnosis", slice_of(diagnosis));
}

void outside_end(struct command_call *call, enum outside_kind kind,
                 const struct outside_result *result)
{
    struct outside_result r = *result;
    bool scheduled = slice_is(call->who.actor, scheduler);
    r.error = r.error.len > 0 ? slice_dup(call->arena, r.error) : SLICE("");
    const char *diagnosis = diagnosis_of(call->arena, &r);
    ensure(running[kind] && (r.stage == NULL) == (r.error.len == 0));
    running[kind] = false;
    outside_count(kind, &r, scheduled);
    outside_keep(call, kind, &r, slice_of(diagnosis));
    outside_row(call, &r, diagnosis);
    log_info(&log_tests, LOG_EV("test.ended"), LOG_C("test", kind_names[kind]),
             LOG_S("target", r.target), LOG_C("result", r.stage == NULL ? "success" : "failure"),
             LOG_I("ms", r.latency_us / 1000), LOG_S("why", r.error));
    if (r.stage == NULL)
        command_done(call, "%s", r.note != NULL ? r.note : "");
    else
        command_fail(call, r.err == OK ? E_OUTSIDE : r.err, "the test has failed (%s)", r.stage);
}

const struct command_column outside_columns[] = {
    { .name = "warning",
      .title = "WARNING:",
      .optional = true,
      .doc = "what is unusual, before the test begins" },
    { .name = "target_fqdn", .title = "Target FQDN", .doc = "the host that is tested" },
    { .name = "result", .title = "Result", .doc = "Success or Failure" },
    { .name = "latency",
      .title = "Latency",
      .doc = "how long it took, as hh:mm:ss.fffffff; 00:00:00 if no connection was made" },
    { .name = "error_message", .title = "Error Message", .doc = "what went wrong" },
    { .name = "diagnosis", .title = "Diagnosis", .doc = "in which stage, and what to do" },
    { 0 },
};

bool outside_home(const struct worker *w, char out[OUTSIDE_HOME_BYTES])
{
    for (unsigned i = 0; i < 16 * NODE_SLOTS; i++) {
        int len = snprintf(out, OUTSIDE_HOME_BYTES, "test%u@local", i);
        if (node_is_home(w, (slice){ out, (size_t)len }))
            return true;
    }
    return false;
}

bool outside_knows(const struct worker *w, slice host)
{
    const struct node *n = worker_node(w);
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) != 0)
        name[0] = '\0';
    return node_serves(n, host) || slice_is(host, n->name) || slice_is(host, name) ||
           slice_is(host, "localhost");
}

const char *outside_limit_advice(slice condition)
{
    if (slice_is(condition, "subscription-required"))
        return "That server takes messages of strangers only when the receiver has accepted them "
               "(federation.stranger-messages): the receiver can accept the sender as a contact, "
               "or `musterctl policy set RECEIVER --allow SENDER` there does.";
    if (!slice_is(condition, "resource-constraint") && !slice_is(condition, "policy-violation"))
        return NULL;
    return "A rule or a limit has refused it, of the other server or of this one: such as "
           "federation.stranger-rate, federation.blocklist or mailbox.unsettled-max there, and "
           "s2s.kept-max or s2s.queue-stanzas here. Wait and try again, or ask the other operator.";
}

slice outside_domain(const struct worker *w, slice host)
{
    const struct node *n = worker_node(w);
    return node_serves(n, host) ? host : n->domains[0];
}

static outside_edge_fn *edge_by;
static outside_lost_fn *lost_by;
static outside_retry_fn *retry_by;

void outside_edge_by(outside_edge_fn *fn) { edge_by = fn; }

bool outside_edge_open(const struct outside_edge *want, struct outside_result *result)
{
    return edge_by != NULL && edge_by(want, result);
}

void outside_lost_by(outside_lost_fn *fn) { lost_by = fn; }

void outside_lost(struct worker *w, const struct outside_lost_ask *ask)
{
    ensure(lost_by != NULL);
    lost_by(w, ask);
}

void outside_retry_by(outside_retry_fn *fn) { retry_by = fn; }

void outside_retry(struct worker *w, slice local, slice remote)
{
    ensure(retry_by != NULL);
    retry_by(w, local, remote);
}

const char *outside_edge_advice(const char *stage)
{
    if (strcmp(stage, "dns") == 0)
        return "Look for a typing error in the host, and at its A and AAAA records.";
    if (strcmp(stage, "tcp") == 0)
        return "Look whether the server listens there (listen.s2s in the node file), and for a "
               "firewall in between.";
    if (strcmp(stage, "tls") == 0)
        return "`musterctl tls list` shows the versions, ciphers and groups that are allowed, "
               "`musterctl cert check` what others dislike in the certificate.";
    if (strcmp(stage, "certificate") == 0)
        return "`musterctl cert check` says what others dislike in the certificate.";
    if (strcmp(stage, "policy") == 0)
        return "That host takes no such stream, which push services of others need: look at its "
               "s2s.policy and s2s.domains (`musterctl config show s2s.`), and `musterctl "
               "federation list`.";
    return "Something else answers there, or the server is too busy: its log says more.";
}

/* The schedule. */

struct scheduled {
    struct command_call call;
    struct command_return back;
    enum outside_kind kind;
};

static struct timer due; /* used at the home of the duty */

static void scheduled_back(struct command_return *r)
{
    struct scheduled *s = CONTAINER_OF(r, struct scheduled, back);
    arena_destroy(&s->call.arena);
    mem_free(&s);
}

static void scheduled_finished(struct command_call *call, void *arg)
{
    struct scheduled *s = arg;
    if (call->err == E_SYNTAX) { /* its settings: it has not begun, so it has no result */
        alarm_raise(&alarms[s->kind], call->text);
        log_error(&log_tests, LOG_EV("test.refused"), LOG_C("test", kind_names[s->kind]),
                  LOG_S("why", call->text));
    }
    command_return(&s->back, worker_here(), scheduled_back);
}

static void schedule_run(struct worker *w, enum outside_kind kind)
{
    const struct command *c = command_find(slice_of(kind_names[kind]));
    struct scheduled *s;
    struct why why;
    if (c == NULL) /* its feature is not in this program */
        return;
    s = mem_new(struct scheduled);
    s->kind = kind;
    s->call = (struct command_call){ .command = c,
                                     .arena = arena_create(0),
                                     .worker = w,
                                     .who = principal_server,
                                     .finished = scheduled_finished,
                                     .arg = s };
    s->call.who.actor = slice_of(scheduler);
    if (command_bind(&s->call, NULL, NULL, 0, &why) == OK) {
        command_run(&s->call);
        return;
    }
    log_error(&log_tests, LOG_EV("test.refused"), LOG_C("test", kind_names[kind]),
              LOG_C("why", why.text));
    arena_destroy(&s->call.arena);
    mem_free(&s);
}

static void schedule_due(struct timer *t, struct loop *loop)
{
    for (unsigned kind = 0; kind < OUTSIDE_KINDS; kind++) {
        if (!is_scheduled((enum outside_kind)kind))
            alarm_clear(&alarms[kind]);
        else if (!running[kind])
            schedule_run(worker_here(), (enum outside_kind)kind);
    }
    timer_set(loop, t, (uint64_t)setting_int(&tests_every));
}

static void schedule_in(struct worker *w, uint64_t ms)
{
    uint64_t every = (uint64_t)setting_int(&tests_every);
    due.fn = schedule_due;
    timer_set(worker_loop(w), &due, every < ms ? every : ms);
}

static void schedule_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (duty_is_here(w, DUTY_TESTS))
        schedule_in(w, CHANGED_MS);
}

static void outside_start(struct worker *w)
{
    outside_users_start(w);
    if (duty_is_here(w, DUTY_TESTS))
        schedule_in(w, FIRST_MS);
}

static void outside_stop(struct worker *w)
{
    outside_users_stop(w);
    if (duty_is_here(w, DUTY_TESTS))
        timer_cancel(&due);
}

/* Commands. */

static void history_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the results could not be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        int64_t kind = store_int(b, 0, i, 0);
        command_row(call);
        users_add_time(call, "time", (uint64_t)store_int(b, 0, i, 1));
        command_text(call, "test",
                     slice_of(kind >= 0 && kind < OUTSIDE_KINDS ? kind_names[kind] : "unknown"));
        command_text(call, "target", slice_dup(call->arena, store_text(b, 0, i, 2)));
        command_text(call, "domain", slice_dup(call->arena, store_text(b, 0, i, 7)));
        command_text(call, "result",
                     store_int(b, 0, i, 3) != 0 ? SLICE("Failure") : SLICE("Success"));
        if (store_int(b, 0, i, 4) > 0)
            command_int(call, "latency_ms", (store_int(b, 0, i, 4) + 500) / 1000);
        command_text(call, "error", slice_dup(call->arena, store_text(b, 0, i, 5)));
        command_text(call, "diagnosis", slice_dup(call->arena, store_text(b, 0, i, 6)));
    }
    command_done(call, "%s", "");
}

static void run_history(struct command_call *call)
{
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &result_list, STORE_ANY_ROWS, SV_I(command_number(call, "test", -1)));
    store_submit(b, worker_loop(call->worker), 0, history_read, call);
}

static void user_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice jid = command_arg(call, "jid");
    bool added = call->command->args[1].name != NULL;
    (void)b;
    if (result == STORE_CONFLICT && added)
        users_fail_missing(call, jid);
    else if (result == STORE_CONFLICT)
        command_fail(call, E_NOTFOUND, "%.*s is no test user; `test users` shows all",
                     SLICE_ARG(jid));
    else if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), "it could not be stored");
    else {
        outside_users_changed(call->worker);
        EMIT(account.profile_changed, call->worker,
             jid); /* groups by rule are without it, or not */
        command_done(call, "%.*s is %s", SLICE_ARG(jid),
                     added ? "a test user" : "an ordinary user again");
    }
}

static void user_looked_for(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice jid = command_arg(call, "jid");
    if (result == STORE_OK && store_row_count(b, 0) == 0)
        users_fail_missing(call, jid);
    else if (result == STORE_OK)
        command_fail(call, E_CONFLICT, "this is not the password of %.*s: nothing has changed",
                     SLICE_ARG(jid));
    else
        command_fail_cause(call, err_of_store(result),
                           "the account could not be looked up, and nothing has changed");
}

/* Tests would fail, the first of them perhaps a day later. */
static void user_verified(void *arg, enum err e, const struct credentials *c)
{
    struct command_call *call = arg;
    struct store_batch *b;
    ensure(e != OK || c->account != 0);
    switch (e) {
    case OK:
        b = store_write(worker_store(call->worker), 0);
        STORE_ADD(b, &user_put, 1, SV_T(command_arg(call, "jid")), SV_I(clock_wall_us()),
                  SV_T(seal(command_arg(call, "password"), SEAL_CONTEXT, call->arena)));
        store_submit(b, worker_loop(call->worker), STORE_UNTIL_DONE, user_written, call);
        break;
    case E_AUTH:
        b = store_read(worker_store(call->worker), 0);
        STORE_ADD(b, &user_look, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")));
        store_submit(b, worker_loop(call->worker), 0, user_looked_for, call);
        break;
    case E_DENIED:
        command_fail(call, E_AGAIN, "too many wrong passwords for this account; try later");
        break;
    default:
        command_fail_cause(call, e, "nothing has changed");
    }
}

static void run_test_user_add(struct command_call *call)
{
    static const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
    slice password = command_arg(call, "password"), jid = command_arg(call, "jid"), prepared;
    struct throttle_try try;
    if (!access_may_touch(call, jid))
        return;
    if (password.len == 0 || password.len > TEXT_MAX || !seal_ready()) {
        command_fail(call, E_SYNTAX,
                     seal_ready() ? "the password of the account is needed, of at most 1023 bytes"
                                  : "the key in secrets.key cannot be used: see `alarm list`");
        return;
    }
    if (outside_user_count() >= OUTSIDE_USERS_MAX) {
        command_fail(call, E_LIMIT,
                     "there are %d test users, which is the most; `test user-del` removes one",
                     OUTSIDE_USERS_MAX);
        return;
    }
    if (jid_prep_password_given(password, call->arena, &prepared) != OK) {
        user_verified(call, E_AUTH, NULL);
        return;
    }
    throttle_try_init(&try, &nowhere, jid, NULL);
    credentials_verify(worker_auth(call->worker),
                       &(struct credentials_check){ jid, prepared, &try }, user_verified, call);
}

static void run_test_user_del(struct command_call *call)
{
    struct store_batch *b = store_write(worker_store(call->worker), 0);
    STORE_ADD(b, &user_drop, 1, SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(call->worker), STORE_UNTIL_DONE, user_written, call);
}

static void users_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the users could not be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "jid", slice_dup(call->arena, store_text(b, 0, i, 0)));
        users_add_time(call, "since", (uint64_t)store_int(b, 0, i, 1));
    }
    command_done(call, "%s", "");
}

static void run_users(struct command_call *call)
{
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    store_add(b, &user_list, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(call->worker), 0, users_read, call);
}

/* A waiter for the first user. */
struct user_wait {
    outside_user_fn *done;
    void *arg;
};

static void user_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct user_wait *wait = arg, w = *wait;
    slice password = { 0 };
    struct arena *tmp = arena_create(0);
    mem_free(&wait);
    if (result == STORE_OK && store_row_count(b, 0) > 0 &&
        unseal(&password, store_text(b, 0, 0, 2), SEAL_CONTEXT, tmp))
        w.done(w.arg, store_text(b, 0, 0, 0), password);
    else
        w.done(w.arg, (slice){ 0 }, (slice){ 0 });
    if (password.len > 0)
        mem_wipe((char *)(uintptr_t)password.ptr, password.len);
    arena_destroy(&tmp);
}

void outside_user(struct worker *w, outside_user_fn *done, void *arg)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    struct user_wait *wait = mem_new(struct user_wait);
    *wait = (struct user_wait){ done, arg };
    store_add(b, &user_list, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, user_read, wait);
}

static void outside_removing(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &user_forget, STORE_ANY_ROWS, SV_I(a->id));
}

static struct command history_command = {
    .name = "test history",
    .rest = "GET /tests/history",
    .effect = COMMAND_READS,
    .area = "tests",
    .args = (const struct command_arg[]){ { .name = "test",
                                            .kind = ARG_OPTIONAL,
                                            .type = PARAM_CHOICE,
                                            .choices = kind_names,
                                            .doc = "only results of this test" },
                                          { 0 } },
    .run = run_history,
    .doc =
        "Lists the last results of tests: 30 of imtest, fedtest and pushtest each, newest first.",
    .columns =
        (const struct command_column[]){
            { .name = "time", .type = PARAM_STAMP, .doc = "when it ended" },
            { .name = "test", .doc = "imtest, fedtest or pushtest" },
            { .name = "target", .doc = "the host that was tested" },
            { .name = "domain", .doc = "the domain that it reaches; empty: this server itself" },
            { .name = "result", .doc = "Success or Failure" },
            { .name = "latency_ms",
              .type = PARAM_INT,
              .unit = "ms",
              .optional = true,
              .doc = "how long it took; nothing if no connection was made" },
            { .name = "error", .doc = "what went wrong" },
            { .name = "diagnosis", .wide = true, .doc = "in which stage, and what to do" },
            { 0 } },
};
static struct command user_add_command = {
    .name = "test user-add",
    .effect = COMMAND_CHANGES,
    .area = "tests",
    .args =
        (const struct command_arg[]){
            { .name = "jid",
              .kind = ARG_POSITIONAL,
              .type = PARAM_USER,
              .doc = "the account, which must be there" },
            { .name = "password", .kind = ARG_SECRET, .type = PARAM_SECRET, .doc = "its password" },
            { 0 } },
    .home = "jid",
    .run = run_test_user_add,
    .doc = "Marks an account as one that tests log in with. imtest uses the first. Such accounts "
           "are not in the lists and counts of users and sessions, get no announcements, are not "
           "found by user search, and are in no group by its domains or rules. Their passwords "
           "are checked, and kept, sealed. There can be 100.",
};
static struct command user_del_command = {
    .name = "test user-del",
    .effect = COMMAND_CHANGES,
    .area = "tests",
    .args =
        (const struct command_arg[]){
            { .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_USER, .doc = "the account" },
            { 0 } },
    .home = "jid",
    .run = run_test_user_del,
    .doc = "Makes a test user an ordinary one. Its password is forgotten.",
};
static struct command users_command = {
    .name = "test users",
    .rest = "GET /tests/users",
    .effect = COMMAND_READS,
    .area = "tests",
    .run = run_users,
    .doc = "Lists the accounts that tests log in with. imtest uses the first.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the account" },
            { .name = "since", .type = PARAM_STAMP, .doc = "when it was marked" },
            { 0 } },
};

const struct feature outside_feature = {
    .name = "tests",
    .schema = &schema,
    .settings =
        (struct setting *const[]){ &tests_every, &imtest_target, &imtest_receiver, &fedtest_target,
                                   &fedtest_domain, &fedtest_proxy, &pushtest_edge,
                                   &pushtest_service, &pushtest_node, NULL },
    .commands = (struct command *const[]){ &history_command, &user_add_command, &user_del_command,
                                           &users_command, NULL },
    .alarms = (struct alarm *const[]){ &alarms[OUTSIDE_IM], &alarms[OUTSIDE_FEDERATION],
                                       &alarms[OUTSIDE_PUSH], NULL },
    .metrics = (struct metric *const[]){ &tests_passed, &tests_failed, &tests_latency, NULL },
    .logs = (struct log_area *const[]){ &log_tests, NULL },
    .messages = (const struct message_row *const[]){ &outside_users_message,
                                                     &outside_marked_message, NULL },
    .account.remove = outside_removing,
    .account.deleted = outside_users_deleted,
    .session.began = outside_session_began,
    .session.freed = outside_session_freed,
    .worker.slot = &outside_users_slot,
    .worker.start = outside_start,
    .worker.stop = outside_stop,
    .worker.ended = outside_users_ended,
};
