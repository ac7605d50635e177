/* pushtest: opens a stream to the host that it is about, as other servers do, whose answers come
 * that way; then sends a notification to a push service in the name of its domain, in the form and
 * on the way of those that announce messages (XEP-0357), and waits for the answer of the service.
 * If none is named, that is an endpoint of this server (ops/outside_endpoint.h).
 *
 * One at a time: ops/outside.h. Bounded by --timeout. */
#include "base/arena.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "ext/push/push.h"
#include "ext/push/push_form.h"
#include "home/ask.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/outside.h"
#include "ops/outside_endpoint.h"
#include "remote/foreign.h"
#include "xmpp/ns.h"
#include <stdio.h>

enum { WHY_BYTES = 256 };

struct pushtest {
    struct command_call *call;
    struct worker *worker;
    struct outside_result result;
    slice domain, service, node; /* domain: in whose name it is sent */
    uint64_t begun_us, since_us; /* the test; the notification, or the test if it stays here */
    slice said;                  /* the result, while the home of the link is asked, */
    slice brief;                 /* and what stands before a reason of the link */
    bool own;                    /* the service is the endpoint of this server */
    bool late;                   /* no answer has come */
    bool at_edge;                /* the stream to the own host is under way */
    const char *advice;          /* of the link that has failed; NULL: what the stage says */
};

static const char *pushtest_advice(const struct pushtest *t, const char *stage)
{
    if (strcmp(stage, "policy") == 0)
        return t->own ? "Change the setting, or wait and try again."
                      : "Change the setting, or test another service.";
    if (t->own)
        return "The test endpoint is part of this server, which is too busy or has just changed "
               "its nodes: wait and try again, and look at its log.";
    if (strcmp(stage, "no answer") == 0)
        return "`musterctl s2s trace` says whether the server of the push service can be reached; "
               "its answer needs a way back to this server.";
    return "Look at the address of the service and at the node; its operator knows both.";
}

static void pushtest_end(struct pushtest *t, const char *stage, slice error)
{
    t->result.stage = stage;
    t->result.error = error;
    t->result.advice = stage == NULL ? NULL
                       : t->at_edge  ? outside_edge_advice(stage)
                       : t->advice   ? t->advice
                                     : pushtest_advice(t, stage);
    t->result.note = t->own
                         ? "proved by the test endpoint of this server, which has got the "
                           "notification (XEP-0357); no push service of others was asked: that is "
                           "--service"
                         : "proved by the answer of the push service (XEP-0357)";
    if (t->own)
        outside_endpoint_close(t->worker);
    if (t->since_us != 0)
        t->result.latency_us = loop_now_us(worker_loop(t->worker)) - t->since_us;
    outside_end(t->call, OUTSIDE_PUSH, &t->result);
    mem_free(&t);
}

/* This server's own rules forbid it. */
static void pushtest_refuse(struct pushtest *t, slice error)
{
    t->result.err = E_CONFLICT;
    pushtest_end(t, "policy", error);
}

static void pushtest_is_busy(struct pushtest *t)
{
    t->result.err = E_AGAIN;
    pushtest_end(t, "policy", SLICE("this server is too busy; try again later"));
}

static void pushtest_drop(void *arg)
{
    struct pushtest *t = arg;
    mem_free(&t);
}

static void pushtest_lost(void *arg, const struct outside_lost *lost)
{
    struct pushtest *t = arg;
    bool silent = t->late && strcmp(lost->stage, "delivery") == 0; /* as far as its home knows */
    t->advice = silent ? NULL : lost->advice;
    t->result.err = lost->ours ? E_CONFLICT : OK;
    slice said = t->said;
    if (lost->why.len > 0) /* what an answer says is for users, and less */
        said = slice_of(
            arena_printf(t->call->arena, "%.*s: %.*s", SLICE_ARG(t->brief), SLICE_ARG(lost->why)));
    pushtest_end(t, silent ? "no answer" : lost->stage, said);
}

static uint32_t pushtest_left_ms(const struct pushtest *t)
{
    uint64_t ms = (uint64_t)command_number(t->call, "timeout", 45000),
             gone_ms = (loop_now_us(worker_loop(t->worker)) - t->begun_us) / 1000;
    return gone_ms < ms ? (uint32_t)(ms - gone_ms) : 1;
}

static void pushtest_ask_link(struct pushtest *t, slice said, slice brief)
{
    t->since_us = 0;
    t->said = slice_dup(t->call->arena, said);
    t->brief = slice_dup(t->call->arena, brief);
    outside_lost(t->worker, &(struct outside_lost_ask){ .from = t->domain,
                                                        .to = jid_bare_of(t->service),
                                                        .left_ms = pushtest_left_ms(t),
                                                        .told = pushtest_lost,
                                                        .drop = pushtest_drop,
                                                        .arg = t });
}

static void pushtest_is_late(struct pushtest *t)
{
    slice said = SLICE("the push service has not answered in time");
    t->late = true;
    if (foreign_is(t->worker, jid_split(t->service).domain)) {
        pushtest_ask_link(t, said, said);
        return;
    }
    t->since_us = 0;
    pushtest_end(t, "no answer", said);
}

static void pushtest_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct pushtest *t = arg;
    struct elem error, condition, text;
    slice name = SLICE("no condition"), words = SLICE("");
    char line[WHY_BYTES];
    if (reply == NULL) {
        pushtest_is_late(t);
        return;
    }
    if (reply->type == TYPE_RESULT) {
        pushtest_end(t, NULL, (slice){ 0 });
        return;
    }
    if (stanza_find(reply, "error", NS_CLIENT, &error)) {
        if (elem_first(&error, &condition))
            name = condition.name;
        if (elem_child(&error, "text", NS_STANZA_ERROR, &text))
            words = elem_text(&text, loop_scratch(worker_loop(w)));
    }
    int len = snprintf(line, sizeof line, "the push service has refused it: %.*s%s%.*s",
                       (int)(name.len < 64 ? name.len : 64), name.ptr, words.len > 0 ? ": " : "",
                       (int)(words.len < 96 ? words.len : 96), words.ptr);
    if (slice_starts(name, SLICE("remote-server"))) {
        pushtest_ask_link(t, (slice){ line, (size_t)len }, name);
        return;
    }
    t->advice = outside_limit_advice(name);
    pushtest_end(t, t->advice != NULL || slice_is(name, "not-allowed") ? "policy" : "receiver",
                 (slice){ line, (size_t)len });
}

static void pushtest_send(struct pushtest *t)
{
    struct buf b;
    struct xml_write x;
    char home[OUTSIDE_HOME_BYTES];
    xml_begin(&x, &b, XML_PART_MAX);
    push_open(&x, t->node);
    push_summary(&x, 1, t->domain, (slice){ 0 });
    push_close(&x, (slice){ 0 });
    struct ask_request r = { .type = TYPE_SET,
                             .from = t->domain,
                             .to = t->service,
                             .payload = buf_fit(&b),
                             .timeout_ms = pushtest_left_ms(t),
                             .drop = pushtest_drop };
    t->since_us = t->own ? t->begun_us : loop_now_us(worker_loop(t->worker));
    bool sent = false;
    if (outside_home(t->worker, home)) {
        r.home = slice_of(home);
        sent = ask_send(t->worker, &r, pushtest_answered, t) != NULL;
    }
    buf_fini(&b);
    if (!sent)
        pushtest_is_busy(t);
}

static void pushtest_edge(void *arg, const char *stage, slice why)
{
    struct pushtest *t = arg;
    if (stage != NULL) {
        pushtest_end(t, stage, slice_dup(t->call->arena, why));
        return;
    }
    t->at_edge = false;
    pushtest_send(t);
}

/* The own host may refuse a stream of that domain, too, and says less. */
static bool pushtest_is_banned(struct pushtest *t)
{
    slice remote = jid_split(t->service).domain;
    const struct foreign_ban *ban =
        foreign_is(t->worker, remote) ? foreign_ban(t->worker, t->domain, remote) : NULL;
    if (ban == NULL)
        return false;
    t->advice = ban->advice;
    pushtest_refuse(t, slice_of(ban->why));
    return true;
}

static void pushtest_begin(struct pushtest *t, slice edge)
{
    if (pushtest_is_banned(t))
        return;
    if (foreign_is(t->worker, jid_split(t->service).domain)) /* a failure of before: not of now */
        outside_retry(t->worker, t->domain, jid_split(t->service).domain);
    t->at_edge = outside_edge_open(&(struct outside_edge){ .worker = t->worker,
                                                           .host = edge,
                                                           .domain = t->domain,
                                                           .from = jid_split(t->service).domain,
                                                           .timeout_ms = pushtest_left_ms(t),
                                                           .done = pushtest_edge,
                                                           .arg = t },
                                   &t->result);
    if (!t->at_edge)
        pushtest_refuse(t, SLICE("this server has no edge for other servers, or is being "
                                 "stopped"));
}

struct pushtest_args {
    slice edge, service, node; /* service empty: the endpoint of this server */
    struct outside_host host;
};

/* What the call names. false: it has failed. */
static bool pushtest_read_args(struct command_call *call, struct pushtest_args *args)
{
    struct jid jid = { 0 };
    slice service = outside_arg(call, "service", OUTSIDE_PUSH);
    args->edge = outside_arg(call, "edge", OUTSIDE_PUSH);
    args->node = outside_arg(call, "node", OUTSIDE_PUSH);
    if (args->edge.len == 0)
        command_fail(call, E_SYNTAX, "--edge, a host of this server, is needed (or pushtest.edge)");
    else if (service.len > 0 && jid_parse(&jid, service, call->arena) != OK)
        command_fail(call, E_SYNTAX,
                     "pushtest.service: found %.*s, expected the address of a push service",
                     SLICE_ARG(service));
    else if (service.len == 0 && command_arg(call, "node").len > 0)
        command_fail(call, E_SYNTAX, "--node is a node of a push service: give --service, too");
    else if (!outside_host_read(&args->host, args->edge, call->arena))
        command_fail(call, E_SYNTAX, "--edge: allowed: " OUTSIDE_HOST_FORM);
    args->service = jid.full;
    return !call->ended;
}

/* A domain of that name goes before the endpoint, and gets its notifications. */
static bool pushtest_is_hidden(struct pushtest *t)
{
    slice at = outside_endpoint_domain(t->domain, t->call->arena);
    if (!t->own || !node_serves(worker_node(t->worker), at))
        return false;
    t->advice = "Give --service, the address of a push service, or the host of another domain of "
                "this server (--edge).";
    pushtest_refuse(t, slice_of(arena_printf(t->call->arena,
                                             "%.*s is a domain of this server, so the test "
                                             "endpoint cannot be there",
                                             SLICE_ARG(at))));
    return true;
}

static bool pushtest_has_endpoint(struct pushtest *t)
{
    struct outside_endpoint e;
    if (!t->own)
        return true;
    if (!outside_endpoint_open(t->worker, t->domain, t->call->arena, &e))
        return false;
    t->service = e.service;
    t->node = e.node;
    return true;
}

static void run_pushtest(struct command_call *call)
{
    struct pushtest_args args;
    if (!pushtest_read_args(call, &args) || !outside_begin(call, OUTSIDE_PUSH))
        return;
    struct pushtest *t = mem_new(struct pushtest);
    t->call = call;
    t->worker = call->worker;
    t->begun_us = loop_now_us(worker_loop(t->worker));
    t->result.target = args.edge;
    t->domain = outside_domain(call->worker, args.host.host);
    t->service = args.service;
    t->node = args.node.len > 0 ? args.node : SLICE("test");
    t->own = args.service.len == 0;
    if (!setting_bool(&push_enabled))
        pushtest_refuse(t, SLICE("push.enabled is off"));
    else if (!t->own && !push_service_allowed(t->service))
        pushtest_refuse(t, SLICE("push.services does not name this service"));
    else if (pushtest_is_hidden(t))
        return;
    else if (!pushtest_has_endpoint(t))
        pushtest_is_busy(t);
    else
        pushtest_begin(t, args.edge);
}

struct command pushtest_command = {
    .name = "pushtest",
    .effect = COMMAND_CHANGES,
    .area = "tests",
    .args =
        (const struct command_arg[]){
            { .name = "edge",
              .kind = ARG_OPTION,
              .type = PARAM_TEXT,
              .example = "chat.example.org",
              .max = 255,
              .doc = "the host of this server at which others reach it; default: pushtest.edge" },
            { .name = "service",
              .kind = ARG_OPTION,
              .type = PARAM_JID,
              .example = "push.partner.example",
              .doc =
                  "the address of the push service; default: pushtest.service, or a test endpoint "
                  "of this server" },
            { .name = "node",
              .kind = ARG_OPTION,
              .type = PARAM_TEXT,
              .max = 1023,
              .doc = "the node of --service that a device would name; default: pushtest.node, or "
                     "test" },
            { .name = "timeout",
              .kind = ARG_OPTION,
              .type = PARAM_MS,
              .def = 45000,
              .min = 1000,
              .max = 100000,
              .doc = "how long it may take" },
            { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_TESTS,
    .run = run_pushtest,
    .record = true,
    .report = true,
    .doc = "Tests push notifications. It opens a stream to the own host, as other servers do, then "
           "sends a notification to a push service, as for a message of a user whose device is "
           "away, and waits for the answer. Without --service that is a test endpoint of this "
           "server, and no other server is asked.",
    .columns = outside_columns,
};
