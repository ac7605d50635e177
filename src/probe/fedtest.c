/* fedtest: connects to the server of another domain at a host that is given, as a partner would,
 * up to its authentication; then asks that domain something, whose answer comes back by its own
 * way, or on the same stream (XEP-0288). First it opens a stream to this server's own host, as
 * others do.
 *
 * One at a time: ops/outside.h. Bounded by --timeout. */
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_home.h"
#include "gate/s2s/s2s_trace.h"
#include "home/ask.h"
#include "home/duty.h"
#include "ops/outside.h"
#include "probe/edge.h"
#include "probe/probe.h"
#include "xmpp/ns.h"
#include <stdio.h>

enum { DEFAULT_PORT = 5269, DEFAULT_MS = 30000, WHY_BYTES = 512 };

/* A stream to its own host ─▶ a trace ─▶ a ping. */
struct fedtest {
    struct s2s_test test; /* first */
    struct command_call *call;
    struct worker *worker;
    struct edge_try *edge;
    struct s2s_trace *trace; /* it ends by itself */
    struct ask *ask;
    struct outside_result result;
    slice local, domain, proxy; /* local: in whose name it speaks */
    uint64_t begun_us;
    bool connected, over;
    bool pinging;         /* ask_send() has not returned yet */
    bool asking;          /* the home of the link, for where that has failed */
    bool at_edge;         /* where it has failed */
    char said[WHY_BYTES]; /* the last failure of the trace to connect, with the number of the error;
                           * or what became of the ping */
    const char *advice;   /* of the trace that has failed; NULL: what its stage says */
    uint64_t since_us;
    char home[OUTSIDE_HOME_BYTES];
};

static struct loop *fedtest_loop(const struct fedtest *t) { return worker_loop(t->worker); }

static uint32_t fedtest_left_ms(const struct fedtest *t)
{
    uint64_t ms = (uint64_t)command_number(t->call, "timeout", DEFAULT_MS),
             gone_ms = (loop_now_us(fedtest_loop(t)) - t->begun_us) / 1000;
    return gone_ms < ms ? (uint32_t)(ms - gone_ms) : 1;
}

static void fedtest_end(struct fedtest *t, const char *stage, slice error, const char *note)
{
    t->result.stage = stage;
    t->result.error = error.len > 0 ? slice_dup(t->call->arena, error) : (slice){ 0 };
    t->result.advice = stage == NULL ? NULL : t->at_edge ? outside_edge_advice(stage) : t->advice;
    t->result.note = note;
    t->result.latency_us = t->connected ? loop_now_us(fedtest_loop(t)) - t->since_us : 0;
    list_remove(&t->test.node);
    edge_cancel(&t->edge);
    if (t->ask != NULL)
        ask_cancel(&t->ask);
    t->over = true;
    outside_end(t->call, OUTSIDE_FEDERATION, &t->result);
    if (t->trace == NULL && !t->pinging && !t->asking)
        mem_free(&t);
}

static void fedtest_fail(struct fedtest *t, enum s2s_stage stage, slice error)
{
    if (s2s_stage_is_ours(stage))
        t->result.err = E_CONFLICT;
    t->advice = t->advice != NULL ? t->advice : s2s_stage_advice(stage);
    fedtest_end(t, s2s_stage_name(stage), error, NULL);
}

static void fedtest_stop(struct s2s_test *test)
{
    struct fedtest *t = (struct fedtest *)test;
    t->result.err = E_DOWN;
    fedtest_fail(t, S2S_AT_STREAM, SLICE("this server is being stopped"));
}

static void fedtest_is_busy(struct fedtest *t)
{
    t->result.err = E_AGAIN;
    fedtest_fail(t, S2S_AT_STREAM, SLICE("this server is too busy; try again later"));
}

static void fedtest_drop(void *arg)
{
    struct fedtest *t = arg;
    mem_free(&t);
}

static void fedtest_lost(void *arg, const struct outside_lost *lost)
{
    struct fedtest *t = arg;
    bool known = strcmp(lost->stage, "delivery") != 0;
    t->asking = false;
    if (t->over) {
        mem_free(&t);
        return;
    }
    t->advice = known ? lost->advice : s2s_stage_advice(S2S_AT_NO_ANSWER);
    t->result.err = lost->ours ? E_CONFLICT : OK;
    const char *said = lost->why.len == 0 ? t->said
                                          : arena_printf(t->call->arena, "%s: %.*s", t->said,
                                                         SLICE_ARG(lost->why));
    fedtest_end(t, known ? lost->stage : s2s_stage_name(S2S_AT_NO_ANSWER), slice_of(said), NULL);
}

/* The ping has gone by the stream for stanzas, not by the proxy: that may have failed elsewhere. */
static void fedtest_link_failed(struct fedtest *t)
{
    t->asking = true;
    outside_lost(t->worker, &(struct outside_lost_ask){ .from = t->local,
                                                        .to = t->domain,
                                                        .left_ms = fedtest_left_ms(t),
                                                        .told = fedtest_lost,
                                                        .drop = fedtest_drop,
                                                        .arg = t });
}

static void fedtest_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct fedtest *t = arg;
    struct elem e;
    slice name = { 0 };
    (void)w;
    t->ask = NULL;
    if (reply == NULL) {
        snprintf(t->said, sizeof t->said, "a ping of the domain was not answered in time");
        fedtest_link_failed(t);
        return;
    }
    if (reply->type == TYPE_ERROR && stanza_find(reply, "error", NS_CLIENT, &e) &&
        elem_first(&e, &e))
        name = e.name;
    if (probe_is_lost(name)) {
        snprintf(t->said, sizeof t->said, "a ping of the domain was refused: %.*s",
                 (int)(name.len < 64 ? name.len : 64), name.ptr);
        fedtest_link_failed(t);
        return;
    }
    fedtest_end(t, NULL, (slice){ 0 },
                "proved by a stream to the proxy, and by a ping of the domain that was answered "
                "(XEP-0199)");
}

static void fedtest_ping(struct fedtest *t)
{
    struct ask_request r = { .type = TYPE_GET,
                             .from = t->local,
                             .to = t->domain,
                             .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                             .timeout_ms = fedtest_left_ms(t) };
    if (outside_home(t->worker, t->home)) {
        r.home = slice_of(t->home);
        t->pinging = true; /* this server may refuse it at once */
        struct ask *a = ask_send(t->worker, &r, fedtest_answered, t);
        t->pinging = false;
        if (t->over && !t->asking)
            mem_free(&t);
        if (t == NULL || t->asking)
            return;
        t->ask = a;
    }
    if (t->ask == NULL)
        fedtest_is_busy(t);
}

static void fedtest_step(void *arg, const struct s2s_trace_step *step)
{
    struct fedtest *t = arg;
    if (!step->fine && step->stage == S2S_AT_TCP)
        snprintf(t->said, sizeof t->said, "%.*s", SLICE_ARG(step->text));
}

static void fedtest_traced(void *arg, const struct s2s_trace_end *end)
{
    struct fedtest *t = arg;
    t->trace = NULL;
    if (t->over) {
        mem_free(&t);
        return;
    }
    t->connected = end->connected;
    t->advice = end->advice;
    if (end->stage != S2S_AT_NONE)
        fedtest_fail(t, end->stage,
                     end->stage == S2S_AT_TCP && *t->said != '\0' ? slice_of(t->said) : end->why);
    else
        fedtest_ping(t);
}

static void fedtest_trace(struct fedtest *t)
{
    s2s_retry(t->worker, t->local, t->domain); /* a failure of before says nothing of now */
    t->since_us = loop_now_us(fedtest_loop(t));
    t->trace =
        s2s_trace_start(t->worker, &(struct s2s_trace_want){ .local = t->local,
                                                             .remote = t->domain,
                                                             .host = t->proxy,
                                                             .timeout_ms = fedtest_left_ms(t),
                                                             .step = fedtest_step,
                                                             .ended = fedtest_traced,
                                                             .arg = t });
    if (t->trace == NULL)
        fedtest_is_busy(t);
}

static void fedtest_edge(void *arg, const char *stage, slice why)
{
    struct fedtest *t = arg;
    t->edge = NULL;
    if (stage == NULL) {
        fedtest_trace(t);
        return;
    }
    t->at_edge = true;
    fedtest_end(t, stage, why, NULL);
}

struct fedtest_args {
    struct outside_host target, proxy;
    slice domain; /* prepared */
};

/* Reads what the call names. false: it has failed. */
static bool fedtest_read_args(struct command_call *call, struct fedtest_args *args)
{
    slice target = outside_arg(call, "target", OUTSIDE_FEDERATION),
          domain = outside_arg(call, "domain", OUTSIDE_FEDERATION),
          proxy = outside_arg(call, "proxy", OUTSIDE_FEDERATION);
    if (target.len == 0 || proxy.len == 0 ||
        jid_prep_domain(domain, call->arena, &args->domain) != OK)
        command_fail(call, E_SYNTAX,
                     "--target, a host of this server, --domain, a domain of "
                     "another one, and --proxy, the host of that, are needed (or "
                     "fedtest.target, fedtest.domain and fedtest.proxy)");
    else if (!outside_host_read(&args->target, target, call->arena) ||
             !outside_host_read(&args->proxy, proxy, call->arena))
        command_fail(call, E_SYNTAX, "--target and --proxy: allowed: " OUTSIDE_HOST_FORM);
    else
        return true;
    return false;
}

static void run_fedtest(struct command_call *call)
{
    struct worker *w = call->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    struct fedtest_args args;
    if (!fedtest_read_args(call, &args))
        return;
    if (g == NULL || s2s_worker(g, w)->out.stopped || !outside_begin(call, OUTSIDE_FEDERATION)) {
        if (!call->ended)
            command_fail(call, E_DOWN, "this server is being stopped");
        return;
    }
    struct fedtest *t = mem_new(struct fedtest);
    t->call = call;
    t->worker = w;
    t->local = outside_domain(w, args.target.host);
    t->domain = args.domain;
    t->proxy = args.proxy.address;
    t->begun_us = loop_now_us(worker_loop(w));
    t->result.target = outside_arg(call, "target", OUTSIDE_FEDERATION);
    t->test.stop = fedtest_stop;
    list_append(&s2s_worker(g, w)->tests, &t->test.node);
    if (s2s_ban(w, t->local, t->domain) != NULL) { /* the trace says why */
        fedtest_trace(t);
        return;
    }
    t->edge = edge_open(&(struct outside_edge){ .worker = w,
                                                .host = t->result.target,
                                                .domain = t->local,
                                                .from = t->domain,
                                                .timeout_ms = fedtest_left_ms(t),
                                                .done = fedtest_edge,
                                                .arg = t },
                        &t->result);
    ensure(t->edge != NULL);
}

struct command fedtest_command = {
    .name = "fedtest",
    .effect = COMMAND_CHANGES,
    .area = "tests",
    .args =
        (const struct command_arg[]){
            { .name = "target",
              .kind = ARG_OPTION,
              .type = PARAM_TEXT,
              .example = "chat.example.org",
              .max = 255,
              .doc = "the host of this server at which others reach it; default: fedtest.target" },
            { .name = "domain",
              .kind = ARG_OPTION,
              .type = PARAM_DOMAIN,
              .example = "partner.example",
              .doc = "the domain of another server; default: fedtest.domain" },
            { .name = "proxy",
              .kind = ARG_OPTION,
              .type = PARAM_TEXT,
              .example = "xmpp.partner.example",
              .max = 255,
              .doc = "the host of that server, with :PORT if that is not 5269; default: "
                     "fedtest.proxy" },
            { .name = "timeout",
              .kind = ARG_OPTION,
              .type = PARAM_MS,
              .def = DEFAULT_MS,
              .min = 1000,
              .max = 100000,
              .doc = "how long it may take" },
            { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_TESTS,
    .run = run_fedtest,
    .record = true,
    .report = true,
    .doc =
        "Tests federation with a domain. It opens a stream to the own host, as other servers "
        "do, opens a stream to the domain at the host that is given, and sends a ping to the "
        "domain. "
        "Its answer needs the way back, unless stanzas go both ways on one connection (s2s.bidi).",
    .columns = outside_columns,
};
