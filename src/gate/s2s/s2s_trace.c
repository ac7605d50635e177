#include "gate/s2s/s2s_trace.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s_probe.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_words.h"
#include "io/loop.h"
#include "remote/foreign.h"
#include "remote/outgoing.h"
#include "xmpp/ns.h"
#include <stdio.h>

enum { WHY_BYTES = 512, LINK_BYTES = 512, PORT = 5269 };

/* The stream for stanzas ─▶ FINDING ─▶ a probe ─▶ the end; after a probe that fails early, the
 * next host. */
struct s2s_trace {
    struct s2s_test test; /* first */
    struct worker *worker;
    struct s2s_gate *gate;
    struct s2s_trace_want want;
    struct s2s_find *find;
    struct s2s_probe *probe;
    struct timer limit;
    struct loop_defer begin;
    struct store_op *stored; /* how many messages wait in the database is read */
    uint64_t since_us;
    enum s2s_stage stage; /* of the last step, */
    bool failed;          /* and whether that has failed */
    bool linked;          /* there is a stream for stanzas */
    bool connected, authenticating;
    bool accepted; /* the host that is tried, or was last, has accepted our certificate */
    enum s2s_external external;
    char said[EXTERNAL_SAID_MAX]; /* of s2s_external_failed() */
    const char *advice;           /* what to do about what has failed; NULL: what its stage says */
    char text[];                  /* of `want` */
};

static unsigned under_way[NODE_WORKERS_MAX]; /* each used by its worker */

static struct loop *trace_loop(const struct s2s_trace *t) { return worker_loop(t->worker); }

static uint64_t trace_us(const struct s2s_trace *t)
{
    return loop_now_us(trace_loop(t)) - t->since_us;
}

static void trace_tell(void *arg, enum s2s_stage stage, bool fine, slice text)
{
    struct s2s_trace *t = arg;
    t->stage = stage;
    t->failed = !fine;
    t->want.step(t->want.arg, &(struct s2s_trace_step){ stage, fine, trace_us(t) / 1000, text });
}

static void trace_free(struct s2s_trace *t)
{
    list_remove(&t->test.node);
    timer_cancel(&t->limit);
    loop_defer_cancel(&t->begin);
    store_cancel(&t->stored);
    s2s_find_cancel(&t->find);
    s2s_probe_end(&t->probe);
    under_way[worker_index(t->worker)]--;
    mem_free(&t);
}

/* The stream for stanzas, if its home is here. */
static void trace_link(const struct s2s_shown *s, void *arg)
{
    struct s2s_trace *t = arg;
    char line[LINK_BYTES];
    if (strcmp(s->direction, "out") != 0)
        return;
    snprintf(line, sizeof line,
             "the stream for stanzas: %s for %llu s, stanzas that wait in memory: %u%s%s%s%s%s%.*s",
             s->state, (unsigned long long)s->since_s, s->queue, *s->tls != '\0' ? ", " : "",
             s->tls, *s->auth != '\0' ? ", by " : "", s->auth,
             s->why.len > 0 ? "; last failure: " : "", (int)(s->why.len < 200 ? s->why.len : 200),
             s->why.ptr);
    t->linked = true;
    trace_tell(t, S2S_AT_LINK, true, (slice){ line, utf8_valid_len(slice_of(line)) });
}

static const char *trace_advice(const struct s2s_trace *t, enum s2s_stage stage, slice why)
{
    if (stage == S2S_AT_NONE || t->advice != NULL)
        return t->advice;
    if (t->accepted && (stage == S2S_AT_STREAM || stage == S2S_AT_NO_ANSWER))
        return "The other server has accepted our certificate, and then does not begin the stream "
               "for stanzas (RFC 6120 §6.4.6): ask its operator, its log says why.";
    const char *exact = s2s_stage_exact_advice(stage, why);
    return exact != NULL ? exact : s2s_demand_advice(t->want.remote, stage);
}

/* S2S_AT_NONE: it has reached the end. What has failed was told as a step. */
static void trace_end_told(struct s2s_trace *t, enum s2s_stage stage, slice why)
{
    struct s2s_trace_end end = { stage, why, t->connected, trace_us(t),
                                 trace_advice(t, stage, why) };
    t->want.ended(t->want.arg, &end);
    trace_free(t);
}

static void trace_end(struct s2s_trace *t, enum s2s_stage stage, slice why)
{
    trace_tell(t, stage, false, why);
    trace_end_told(t, stage, why);
}

static void trace_stop(struct s2s_test *test)
{
    trace_end((struct s2s_trace *)test, S2S_AT_POLICY, SLICE("this server is being stopped"));
}

static void trace_late(struct timer *timer, struct loop *loop)
{
    struct s2s_trace *t = CONTAINER_OF(timer, struct s2s_trace, limit);
    (void)loop;
    enum s2s_stage stage = t->authenticating  ? S2S_AT_AUTHENTICATION
                           : t->probe != NULL ? s2s_probe_stage(t->probe)
                           : t->find != NULL  ? s2s_find_stage(t->find)
                                              : S2S_AT_DNS;
    trace_end(t, stage,
              t->probe != NULL && t->accepted
                  ? SLICE("it has accepted our certificate, but does not go on with the stream in "
                          "the time that is given (--timeout)")
                  : SLICE("no answer in the time that is given (--timeout)"));
}

/* Authentication. */

static bool trace_begin_dialback(struct s2s_trace *t)
{
    char key[DIALBACK_KEY_LEN + 1];
    struct dialback d = { .receiving = t->want.remote,
                          .originating = t->want.local,
                          .stream_id = s2s_probe_id(t->probe) };
    if (d.stream_id.len == 0 || !s2s_key(key, &d, loop_scratch(trace_loop(t))))
        return false;
    t->authenticating = true;
    s2s_probe_now(t->probe, STREAM_ASK_DIALBACK);
    s2s_write_key(s2s_probe_stream(t->probe), t->want.local, t->want.remote, slice_of(key));
    return true;
}

static void trace_authenticate(struct s2s_trace *t)
{
    if (t->external == EXTERNAL_OFFERED) {
        t->authenticating = true;
        s2s_probe_now(t->probe, STREAM_ASK_SASL);
        s2s_write_external(s2s_probe_stream(t->probe), t->want.local);
    } else if (!s2s_demand_of(t->want.remote).dialback)
        trace_end(
            t, S2S_AT_AUTHENTICATION,
            slice_of(s2s_without_dialback(t->external, t->said, loop_scratch(trace_loop(t)))));
    else if (!trace_begin_dialback(t))
        trace_end(t, S2S_AT_AUTHENTICATION, SLICE("no key for dialback can be made"));
}

/* The stream. */

/* EXTERNAL, dialback and XEP-0288 come before authentication, XEP-0198 mostly behind it. */
static void trace_tell_offers(struct s2s_trace *t, const struct elem *features, bool authenticated)
{
    char line[256];
    struct elem child;
    bool external = s2s_offers_external(features, loop_scratch(trace_loop(t)));
    bool dialback = elem_child(features, "dialback", NS_DIALBACK_FEATURE, &child);
    bool both = elem_child(features, "bidi", "urn:xmpp:features:bidi", &child);
    bool sm = elem_child(features, "sm", NS_SM, &child);
    bool comes_again = !authenticated && t->external == EXTERNAL_OFFERED;
    int len = authenticated
                  ? snprintf(line, sizeof line, "XEP-0198: %s", sm ? "yes" : "no")
                  : snprintf(line, sizeof line, "EXTERNAL: %s, dialback: %s, XEP-0288: %s%s",
                             external ? "yes" : "no", dialback ? "yes" : "not announced",
                             both ? "yes" : "no",
                             sm            ? ", XEP-0198: yes"
                             : comes_again ? ""
                                           : ", XEP-0198: no");
    trace_tell(t, S2S_AT_OFFERS, true, (slice){ line, (size_t)len });
}

static void trace_features(void *arg, const struct elem *e, bool authenticated)
{
    struct s2s_trace *t = arg;
    if (!authenticated)
        t->external = !s2s_probe_is_secure(t->probe) || !s2s_demand_of(t->want.remote).external
                          ? EXTERNAL_NOT_WANTED
                      : s2s_offers_external(e, loop_scratch(trace_loop(t))) ? EXTERNAL_OFFERED
                                                                            : EXTERNAL_NOT_OFFERED;
    trace_tell_offers(t, e, authenticated);
    if (authenticated)
        trace_end_told(t, S2S_AT_NONE, (slice){ 0 });
    else
        trace_authenticate(t);
}

static void trace_sasl(void *arg, const struct elem *e)
{
    struct s2s_trace *t = arg;
    if (slice_is(e->name, "success")) {
        t->authenticating = false;
        t->accepted = true;
        trace_tell(t, S2S_AT_AUTHENTICATION, true, SLICE("by certificate (SASL EXTERNAL)"));
        s2s_probe_now(t->probe, STREAM_PASSED);
        s2s_probe_restart(t->probe);
        return;
    }
    t->external = s2s_external_failed(t->said, e, loop_scratch(trace_loop(t)));
    trace_tell(t, S2S_AT_AUTHENTICATION, false, slice_of(t->said));
    if (s2s_external_passes(t->external))
        t->advice = "The other server did not judge our certificate: its log says why. Stored "
                    "messages wait, and it is tried again.";
    s2s_probe_now(t->probe, STREAM_REFUSED);
    trace_authenticate(t);
}

static void trace_answer(void *arg, const struct elem *e)
{
    struct s2s_trace *t = arg;
    struct arena *tmp = loop_scratch(trace_loop(t));
    if (!elem_is(e, "result", NS_DIALBACK) || !t->authenticating)
        return;
    if (slice_is(elem_attr(e, "type", tmp), "valid")) {
        trace_tell(t, S2S_AT_AUTHENTICATION, true, SLICE("by dialback"));
        trace_end_told(t, S2S_AT_NONE, (slice){ 0 });
        return;
    }
    trace_end(t, S2S_AT_AUTHENTICATION, slice_of(s2s_key_refused(e, t->external, t->said, tmp)));
}

/* The host was of no use: the next one, as the real link does. */
static void trace_ended(void *arg, enum s2s_stage stage, slice why)
{
    struct s2s_trace *t = arg;
    char text[WHY_BYTES];
    t->probe = NULL;
    t->authenticating = false;
    size_t len = why.len < sizeof text ? why.len : sizeof text;
    memcpy(text, why.ptr, len);
    why = (slice){ text, len };
    if (t->find != NULL) {
        trace_tell(t, stage, false, why);
        if (s2s_find_go_on(t->find, stage, why, S2S_SOFT))
            return;
        trace_end_told(t, stage, why);
        return;
    }
    trace_end(t, stage, why);
}

static void trace_elsewhere(void *arg, slice host)
{
    struct s2s_trace *t = arg;
    if (t->find != NULL)
        s2s_find_see_other(t->find, host);
}

static const struct s2s_probe_ops trace_ops = { .told = trace_tell,
                                                .features = trace_features,
                                                .sasl = trace_sasl,
                                                .answer = trace_answer,
                                                .ended = trace_ended,
                                                .elsewhere = trace_elsewhere };

/* What allows the connection that was found to do without TLS; NULL: nothing. */
static const char *trace_plain(const struct s2s_trace *t)
{
    const struct s2s_demand demand = s2s_demand_of(t->want.remote);
    if (!demand.tls)
        return S2S_PLAIN_BY_SETTING;
    return !demand.firm && s2s_find_may_be_plain(t->find) ? "the static route allows it" : NULL;
}

static void trace_found(void *arg, const struct s2s_found *found)
{
    struct s2s_trace *t = arg;
    if (found->conn == NULL) {
        t->find = NULL;
        if (t->failed)
            trace_end_told(t, found->stage, found->why);
        else
            trace_end(t, found->stage, found->why);
        return;
    }
    t->connected = true;
    t->accepted = false;
    t->probe = s2s_probe_start(t->gate, t->worker, found->conn,
                               &(struct s2s_probe_want){ .ns = NS_SERVER,
                                                         .tls = found->tls,
                                                         .from = t->want.local,
                                                         .to = t->want.remote,
                                                         .name = t->want.remote,
                                                         .alpn = "xmpp-server",
                                                         .plain = trace_plain(t),
                                                         .need_right = true },
                               &trace_ops, t);
}

static void trace_starts(struct s2s_trace *t)
{
    const struct foreign_ban *ban = s2s_ban(t->worker, t->want.local, t->want.remote);
    if (ban != NULL) {
        t->advice = ban->advice;
        trace_end(t, S2S_AT_POLICY, slice_of(ban->why));
        return;
    }
    trace_tell(t, S2S_AT_POLICY, true, SLICE("it is allowed (s2s.policy, and nothing blocks it)"));
    if (t->want.host.len > 0)
        t->find = s2s_find_host(t->gate, t->worker,
                                &(struct s2s_find_at){ t->want.host, PORT, false }, trace_found, t);
    else
        t->find = s2s_find_start(
            t->gate, t->worker,
            &(struct s2s_find_for){ .domain = t->want.remote, .anew = true, .known = true },
            trace_found, t);
    s2s_find_watch(t->find, trace_tell);
}

/* Without an answer of the database the trace goes on. */
static void trace_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct s2s_trace *t = arg;
    char line[128];
    t->stored = NULL;
    int64_t count = result == STORE_OK ? store_int(b, 0, 0, 0) : 0;
    int len = snprintf(line, sizeof line, "stored messages that are not confirmed: %lld%s",
                       (long long)count, count == OUTGOING_TOTAL_MAX ? " or more" : "");
    if (count > 0)
        trace_tell(t, S2S_AT_LINK, true, (slice){ line, (size_t)len });
    else if (!t->linked)
        trace_tell(t, S2S_AT_LINK, true,
                   SLICE("there is no stream for stanzas, and none is needed"));
    trace_starts(t);
}

static void trace_looks(struct loop_defer *d)
{
    struct s2s_trace *t = CONTAINER_OF(d, struct s2s_trace, begin);
    const struct s2s_peer *p = s2s_peer_find(t->worker, t->want.local, t->want.remote, false);
    if (p != NULL)
        s2s_peer_show(p, trace_link, t);
    struct store_batch *b = store_read(worker_store(t->worker), 0);
    outgoing_total(b, t->want.remote);
    t->stored = store_submit(b, trace_loop(t), 0, trace_counted, t);
}

struct s2s_trace *s2s_trace_start(struct worker *w, const struct s2s_trace_want *want)
{
    struct s2s_gate *g = s2s_gate_of(w);
    ensure(worker_is_here(w));
    if (g == NULL || s2s_worker(g, w)->out.stopped || under_way[worker_index(w)] >= TRACES_MAX)
        return NULL;
    struct s2s_trace *t =
        mem_zalloc(sizeof *t + want->local.len + want->remote.len + want->host.len);
    under_way[worker_index(w)]++;
    t->worker = w;
    t->gate = g;
    t->want = *want;
    char *at = t->text;
    t->want.local = slice_lay(&at, want->local);
    t->want.remote = slice_lay(&at, want->remote);
    t->want.host = slice_lay(&at, want->host);
    t->since_us = loop_now_us(worker_loop(w));
    t->limit.fn = trace_late;
    timer_set(worker_loop(w), &t->limit, want->timeout_ms);
    t->test.stop = trace_stop;
    list_append(&s2s_worker(g, w)->tests, &t->test.node);
    t->begin.fn = trace_looks;
    loop_defer(worker_loop(w), &t->begin);
    return t;
}

/* The command. */

static void trace_row(void *arg, const struct s2s_trace_step *step)
{
    struct command_call *call = arg;
    char at[24];
    snprintf(at, sizeof at, "%llu ms", (unsigned long long)step->at_ms);
    command_row(call);
    command_text(call, "at", slice_dup(call->arena, slice_of(at)));
    command_text(call, "stage", slice_of(s2s_stage_name(step->stage)));
    command_text(call, "result", step->fine ? SLICE("ok") : SLICE("failed"));
    command_text(call, "text", slice_dup(call->arena, step->text));
}

static void trace_done(void *arg, const struct s2s_trace_end *end)
{
    struct command_call *call = arg;
    if (end->stage == S2S_AT_NONE)
        command_done(call, "it can be reached (%.3f s)", (double)end->took_us / 1e6);
    else
        command_fail(call, s2s_stage_is_ours(end->stage) ? E_CONFLICT : E_OUTSIDE,
                     "it cannot be reached (%s)\n%s", s2s_stage_name(end->stage), end->advice);
}

static void run_s2s_trace(struct command_call *call)
{
    struct worker *w = call->worker;
    const struct node *n = worker_node(w);
    slice local = command_arg(call, "local");
    struct s2s_trace_want want = { .local = local.ptr != NULL ? local : n->domains[0],
                                   .remote = command_arg(call, "domain"),
                                   .timeout_ms = (uint32_t)command_number(call, "timeout", 30000),
                                   .step = trace_row,
                                   .ended = trace_done,
                                   .arg = call };
    if (!s2s_is_ours(w, want.local))
        command_fail(call, E_NOTFOUND,
                     "%.*s is no domain of this server; `musterctl status` shows "
                     "them",
                     SLICE_ARG(want.local));
    else if (s2s_is_ours(w, want.remote))
        command_fail(call, E_UNSUPPORTED, "%.*s is served here: give the domain of another server",
                     SLICE_ARG(want.remote));
    else if (s2s_trace_start(w, &want) == NULL)
        command_fail(call, E_LIMIT, "%d traces are under way, or the server stops; try again later",
                     TRACES_MAX);
}

struct command s2s_trace_command = {
    .name = "s2s trace",
    .rest = "GET /federation/domains/{domain}/trace",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = (const struct command_arg[]){ { .name = "domain",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_DOMAIN,
                                            .refers = REFERS_PARTNER,
                                            .doc = "the domain of another server" },
                                          { .name = "local",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_DOMAIN,
                                            .doc = "the domain of this server that asks; default: "
                                                   "the first" },
                                          { .name = "timeout",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_MS,
                                            .def = 30000,
                                            .min = 1000,
                                            .max = 100000,
                                            .doc = "how long it may take" },
                                          { 0 } },
    .home = "domain",
    .run = run_s2s_trace,
    .report = true,
    .doc = "Says why a server can or cannot be reached. It makes a connection of its own, as for "
           "stanzas, asks the DNS anew, and shows each stage with its time; streams that exist "
           "stay as "
           "they are.",
    .columns =
        (const struct command_column[]){
            { .name = "at", .doc = "time since the start, in ms" },
            { .name = "stage",
              .doc =
                  "policy, route, dns, tcp, tls, certificate, authentication, offers (features), "
                  "stream, no answer, link (the stream for stanzas)" },
            { .name = "result", .doc = "ok or failed" },
            { .name = "text", .doc = "what was found" },
            { 0 } },
};
