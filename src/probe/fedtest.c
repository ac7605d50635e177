/* fedtest: connects to the server of another domain at a host that is given, as a partner would,
 * up to its authentication; then asks that domain something, whose answer comes back by its own
 * way. First it looks whether this server's own host takes connections of others.
 *
 * One at a time: ops/outside.h. Bounded by --timeout. */
#include "base/ensure.h"
#include "base/mem.h"
#include "gate/s2s/s2s_find.h"
#include "gate/s2s/s2s_trace.h"
#include "home/ask.h"
#include "home/duty.h"
#include "io/conn.h"
#include "ops/outside.h"
#include "probe/probe.h"
#include "xmpp/ns.h"
#include <stdio.h>

enum { DEFAULT_PORT = 5269, WHY_BYTES = 512 };

/* FINDING its own host ─▶ a trace ─▶ a ping. */
struct fedtest {
    struct s2s_test test; /* first */
    struct command_call *call;
    struct worker *worker;
    struct s2s_gate *gate;
    struct s2s_find *find;
    struct s2s_trace *trace; /* it ends by itself */
    struct ask *ask;
    struct outside_result result;
    slice domain, proxy;
    uint32_t timeout_ms;
    bool connected, over;
    uint64_t since_us;
    const char *stage;
    char said[WHY_BYTES], home[OUTSIDE_HOME_BYTES];
};

static struct loop *fedtest_loop(const struct fedtest *t) { return worker_loop(t->worker); }

static void fedtest_end(struct fedtest *t, const char *stage, slice error, const char *note)
{
    t->result.stage = stage;
    t->result.error = error.len > 0 ? slice_dup(t->call->arena, error) : (slice){ 0 };
    t->result.advice = stage != NULL ? s2s_trace_advice(stage) : NULL;
    t->result.note = note;
    t->result.latency_us = t->connected ? loop_now_us(fedtest_loop(t)) - t->since_us : 0;
    list_remove(&t->test.node);
    s2s_find_cancel(&t->find);
    if (t->ask != NULL)
        ask_cancel(&t->ask);
    t->over = true;
    outside_end(t->call, OUTSIDE_FEDERATION, &t->result);
    if (t->trace == NULL)
        mem_free(&t);
}

static void fedtest_stop(struct s2s_test *test)
{
    fedtest_end((struct fedtest *)test, "stream", SLICE("this server is being stopped"), NULL);
}

static void fedtest_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct fedtest *t = arg;
    struct elem e;
    slice name = { 0 };
    char text[WHY_BYTES];
    (void)w;
    t->ask = NULL;
    if (reply == NULL) {
        fedtest_end(t, "no answer", SLICE("a ping of the domain was not answered in time"), NULL);
        return;
    }
    if (reply->type == TYPE_ERROR && stanza_find(reply, "error", NS_CLIENT, &e) &&
        elem_first(&e, &e))
        name = e.name;
    if (slice_starts(name, SLICE("remote-server")) || slice_is(name, "not-allowed")) {
        int len = snprintf(text, sizeof text, "a ping of the domain was refused: %.*s",
                           (int)(name.len < 64 ? name.len : 64), name.ptr);
        fedtest_end(t, "no answer", (slice){ text, (size_t)len }, NULL);
        return;
    }
    fedtest_end(t, NULL, (slice){ 0 },
                "proved by a stream to the proxy, and by a ping of the domain that was answered "
                "(XEP-0199)");
}

static void fedtest_ping(struct fedtest *t)
{
    struct ask_request r = { .type = TYPE_GET,
                             .from = worker_node(t->worker)->domains[0],
                             .to = t->domain,
                             .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                             .timeout_ms = t->timeout_ms };
    if (outside_home(t->worker, t->home)) {
        r.home = slice_of(t->home);
        t->ask = ask_send(t->worker, &r, fedtest_answered, t);
    }
    if (t->ask == NULL)
        fedtest_end(t, "stream", SLICE("this server is too busy; try again later"), NULL);
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
    if (end->stage != NULL)
        fedtest_end(t, end->stage, end->why, NULL);
    else
        fedtest_ping(t);
}

static void fedtest_trace(struct fedtest *t)
{
    t->since_us = loop_now_us(fedtest_loop(t));
    t->trace = s2s_trace_start(
        t->worker, &(struct s2s_trace_want){ .local = worker_node(t->worker)->domains[0],
                                             .remote = t->domain,
                                             .host = t->proxy,
                                             .timeout_ms = t->timeout_ms,
                                             .ended = fedtest_traced,
                                             .arg = t });
    if (t->trace == NULL)
        fedtest_end(t, "stream", SLICE("this server is too busy; try again later"), NULL);
}

static void fedtest_told(void *arg, const char *stage, bool fine, slice text)
{
    struct fedtest *t = arg;
    t->stage = strcmp(stage, "route") == 0 ? "tcp" : stage;
    if (!fine)
        snprintf(t->said, sizeof t->said, "%.*s", SLICE_ARG(text));
}

static void fedtest_found(void *arg, const struct s2s_found *found)
{
    struct fedtest *t = arg;
    if (found->conn != NULL) { /* it takes connections: that is all there is to see */
        conn_abort(found->conn);
        s2s_find_cancel(&t->find);
        fedtest_trace(t);
        return;
    }
    t->find = NULL;
    fedtest_end(t, t->stage, *t->said != '\0' ? slice_of(t->said) : found->why, NULL);
}

static void run_fedtest(struct command_call *call)
{
    struct worker *w = call->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    slice target = outside_arg(call, "target", OUTSIDE_FEDERATION),
          domain = outside_arg(call, "domain", OUTSIDE_FEDERATION),
          proxy = outside_arg(call, "proxy", OUTSIDE_FEDERATION), prepared;
    if (target.len == 0 || proxy.len == 0 ||
        jid_prep_domain(domain, call->arena, &prepared) != OK) {
        command_fail(call, E_SYNTAX,
                     "--target, a host of this server, --domain, a domain of "
                     "another one, and --proxy, the host of that, are needed");
        return;
    }
    if (g == NULL || s2s_worker(g, w)->out.stopped || !outside_begin(call, OUTSIDE_FEDERATION)) {
        if (!call->ended)
            command_fail(call, E_DOWN, "this server is being stopped");
        return;
    }
    struct fedtest *t = mem_new(struct fedtest);
    uint16_t port = outside_knows(w, target) ? s2s_port(g) : 0;
    t->call = call;
    t->worker = w;
    t->gate = g;
    t->domain = prepared;
    t->proxy = proxy;
    t->timeout_ms = (uint32_t)command_number(call, "timeout", 30000) / 2;
    t->stage = "dns";
    t->result.target = target;
    t->result.unknown = port == 0;
    t->result.port = port == 0 ? DEFAULT_PORT : port;
    t->test.stop = fedtest_stop;
    list_append(&s2s_worker(g, w)->tests, &t->test.node);
    t->find = s2s_find_host(g, w, &(struct s2s_find_at){ target, t->result.port, false },
                            fedtest_found, t);
    s2s_find_watch(t->find, fedtest_told);
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
              .max = 255,
              .doc = "the host of this server at which others reach it; default: fedtest.target" },
            { .name = "domain",
              .kind = ARG_OPTION,
              .type = PARAM_DOMAIN,
              .doc = "the domain of another server; default: fedtest.domain" },
            { .name = "proxy",
              .kind = ARG_OPTION,
              .type = PARAM_TEXT,
              .max = 255,
              .doc = "the host of that server, with :PORT if that is not 5269; default: "
                     "fedtest.proxy" },
            { .name = "timeout",
              .kind = ARG_OPTION,
              .type = PARAM_MS,
              .def = 30000,
              .min = 2000,
              .max = 100000,
              .doc = "how long it may take" },
            { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_TESTS,
    .run = run_fedtest,
    .record = true,
    .report = true,
    .doc = "Tests federation with a domain. It looks whether the own host takes connections, "
           "opens a stream to the domain at the host that is given, and asks the domain something "
           "whose answer needs the way back.",
    .columns = outside_columns,
};
