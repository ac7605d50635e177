/* imtest: logs in at a host as a client does, sends a message to somebody at another server, and
 * waits for the proof that it has arrived: the receipt of the receiver (XEP-0184), or, where that
 * sends none, the answer of that domain to a ping behind the message (XEP-0199).
 *
 * One at a time: ops/outside.h. Bounded by --timeout. */
#include "base/arena.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/xml_write.h"
#include "gate/c2s.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/s2s_home.h"
#include "gate/s2s/s2s_probe.h"
#include "gate/s2s/s2s_trace.h"
#include "home/duty.h"
#include "io/work.h"
#include "ops/outside.h"
#include "probe/probe.h"
#include "remote/foreign.h"
#include "xmpp/ns.h"
#include "xmpp/scram_client.h"
#include <errno.h>
#include <stdio.h>

enum { DEFAULT_PORT = 5222, DIRECT_PORT = 5223, RECEIPT_MS = 2000, WHY_BYTES = 512, ID_BYTES = 8 };

struct imtest {
    struct s2s_test test; /* first */
    struct command_call *call;
    struct worker *worker;
    struct s2s_gate *gate;
    struct s2s_find *find;
    struct s2s_probe *probe;
    struct scram_client *scram;
    struct work work; /* computes the proof */
    struct timer limit, receipt;
    struct outside_result result;
    struct outside_host target;
    struct jid user, receiver;
    slice password;
    bool tls; /* from the first byte */
    bool connected, computing, proved, bound;
    bool asking;  /* the database, for the user; or the home of the link, for what has failed */
    bool pinged;  /* the ping was lost, not the message */
    bool refused; /* `said` is the error of the message or of the ping */
    bool late;    /* ... or that none has come in time */
    bool over;    /* ended while one of these goes on */
    uint64_t since_us, ping_us;
    const char *stage;    /* of the last step of the search */
    char said[WHY_BYTES]; /* the last failure of it, or the error that has come: */
    size_t condition;     /* so many bytes of that are its condition */
    const char *advice;   /* what to do about what has failed; NULL: what its stage says */
    char id[2 * ID_BYTES + 1];
};

static struct loop *imtest_loop(const struct imtest *t) { return worker_loop(t->worker); }
static struct arena *imtest_scratch(const struct imtest *t) { return loop_scratch(imtest_loop(t)); }

static void imtest_free(struct imtest *t)
{
    scram_client_free(&t->scram);
    mem_free(&t);
}

static const char *imtest_advice(const char *stage)
{
    static const struct {
        const char *stage, *advice;
    } rows[] = {
        { "user", "Mark an account with `musterctl test user-add`, or give --user and "
                  "--password-file." },
        { "dns", "Look for a typing error in the target, and at its A and AAAA records." },
        { "tcp", "Look whether the server listens there (`listen` in the node file), and for a "
                 "firewall in between; --port says another port." },
        { "tls", "Look whether a version, a cipher and a group are allowed to clients and to this "
                 "server alike (`musterctl tls list`), and at the certificates of the target: "
                 "`musterctl cert list`." },
        { "certificate", "Clients will refuse it, too: `musterctl cert check` says what to do." },
        { "authentication", "Give the right password; for a test user by `musterctl test "
                            "user-add` again." },
        { "policy", "Look at s2s.policy, s2s.domains and `musterctl federation list`, at the rule "
                    "of this user (`musterctl federation show JID`) and of the department "
                    "(`musterctl s2s-group list`), or ask the other operator: that server may have "
                    "such rules, too." },
        { "delivery",
          "The operator of the target finds the stage: `musterctl s2s trace` there says "
          "why the partner cannot be reached." },
        { "receiver", "Look for a typing error in the receiver. The account may also be not there "
                      "or disabled, or "
                      "may not federate, or blocks this user: ask the other operator." },
        { "stream", "The target has ended the stream, or does not answer: its log says more. "
                    "host-unknown: it does not serve the domain of the user." },
        { "no answer", "`musterctl s2s trace` says whether the partner can be reached; its answer "
                       "may need a way back to this server: DNS records and port 5269." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].stage, stage) == 0)
            return rows[i].advice;
    return "The log of the target says more.";
}

/* stage NULL: a success. */
static void imtest_end(struct imtest *t, const char *stage, slice error, const char *note)
{
    uint64_t now = loop_now_us(imtest_loop(t));
    t->result.stage = stage;
    t->result.error = error.len > 0 ? slice_dup(t->call->arena, error) : (slice){ 0 };
    t->result.advice = stage == NULL || t->advice != NULL ? t->advice : imtest_advice(stage);
    t->result.note = note;
    t->result.latency_us = t->connected ? (t->ping_us != 0 ? t->ping_us : now) - t->since_us : 0;
    list_remove(&t->test.node);
    timer_cancel(&t->limit);
    timer_cancel(&t->receipt);
    s2s_find_cancel(&t->find);
    s2s_probe_end(&t->probe);
    t->over = true;
    if (t->computing && work_cancel(worker_work(t->worker), &t->work))
        t->computing = false;
    outside_end(t->call, OUTSIDE_IM, &t->result);
    if (!t->computing && !t->asking)
        imtest_free(t);
}

__attribute__((format(printf, 3, 4))) static void imtest_fail(struct imtest *t, const char *stage,
                                                              const char *fmt, ...)
{
    char text[WHY_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    imtest_end(t, stage, slice_of(text), NULL);
}

static void imtest_stop(struct s2s_test *test)
{
    ((struct imtest *)test)->result.err = E_DOWN;
    imtest_fail((struct imtest *)test, "stream", "this server is being stopped");
}

/* The stage if nobody knows where the link has failed, or whether it has. */
static const char *imtest_unknown(const struct imtest *t)
{
    return t->late ? "no answer" : "delivery";
}

static void imtest_drop(void *arg) { imtest_free(arg); }

/* The same, and which setting it is that forbids it for the domain of the user. */
static const char *imtest_rule_advice(const struct imtest *t, const struct outside_lost *lost)
{
    ensure(lost->setting == NULL || lost->ours);
    if (lost->setting == NULL)
        return lost->advice;
    return arena_printf(t->call->arena, "%s `musterctl get %s@%.*s` shows what holds for %.*s.",
                        lost->advice, lost->setting, SLICE_ARG(t->user.domain),
                        SLICE_ARG(t->user.domain));
}

static const struct {
    const char *words, *rule;
} imtest_rules[] = {
    { FOREIGN_NOT_USER, "The rule of this user forbids it" },
    { FOREIGN_NOT_DEPARTMENT,
      "The rule of the department of this user forbids it (`musterctl s2s-group list`)" },
    { FOREIGN_NOT_GROUP,
      "The rule of a group of this user forbids it (`musterctl federation show` names the group)" },
    { FOREIGN_NOT_USERS, "federation.users is off for the domain of this user" },
    { FOREIGN_NOT_ADDRESS, "The receiver, or its domain, is blocked (`musterctl federation list`, "
                           "federation.blocklist)" },
};

/* The server of the user has refused what the user sends: the rule that forbids it, by the text. */
static const char *imtest_user_advice(const struct imtest *t, slice words)
{
    ensure(t->bound && t->advice == NULL);
    for (size_t i = 0; i < sizeof imtest_rules / sizeof *imtest_rules; i++)
        if (slice_is(words, imtest_rules[i].words))
            return arena_printf(t->call->arena,
                                "%s: `musterctl federation show %.*s` shows the rules of the user.",
                                imtest_rules[i].rule, SLICE_ARG(jid_bare(&t->user)));
    return NULL;
}

static void imtest_lost(void *arg, const struct outside_lost *lost)
{
    struct imtest *t = arg;
    t->asking = false;
    if (t->over) {
        imtest_free(t);
        return;
    }
    bool known = strcmp(lost->stage, "delivery") != 0;
    if (known || !t->late)
        t->advice = imtest_rule_advice(t, lost);
    t->result.err = lost->ours ? E_CONFLICT : OK;
    if (lost->why.len == 0)
        imtest_fail(t, known ? lost->stage : imtest_unknown(t), "%s", t->said);
    else if (t->late)
        imtest_fail(t, lost->stage, "%s: %.*s", t->said, SLICE_ARG(lost->why));
    else /* what users are told says less */
        imtest_fail(t, lost->stage, "%.*s: %.*s", (int)t->condition, t->said, SLICE_ARG(lost->why));
}

/* The link from here to the receiver has failed, if the message took that. */
static void imtest_link_failed(struct imtest *t)
{
    if (!s2s_is_ours(t->worker, t->user.domain)) {
        imtest_fail(t, imtest_unknown(t), "%s", t->said);
        return;
    }
    t->asking = true;
    outside_lost(t->worker, &(struct outside_lost_ask){
                                .from = jid_bare(&t->user),
                                .to = t->pinged ? t->receiver.domain : jid_bare(&t->receiver),
                                .left_ms = timer_left_ms(imtest_loop(t), &t->limit),
                                .told = imtest_lost,
                                .drop = imtest_drop,
                                .arg = t });
}

/* Nothing has come, not even an error: perhaps the message waits for a link that fails. */
static void imtest_unanswered(struct imtest *t)
{
    t->refused = t->late = true;
    snprintf(t->said, sizeof t->said, "the message was sent, and %.*s has not answered in time",
             SLICE_ARG(t->receiver.domain));
    imtest_link_failed(t);
}

static void imtest_late(struct timer *timer, struct loop *loop)
{
    struct imtest *t = CONTAINER_OF(timer, struct imtest, limit);
    (void)loop;
    if (t->refused)
        imtest_fail(t, imtest_unknown(t), "%s", t->said);
    else if (t->bound && t->ping_us != 0)
        imtest_end(t, NULL, (slice){ 0 }, "proved by a ping behind the message");
    else if (t->bound)
        imtest_unanswered(t);
    else if (t->connected)
        imtest_fail(t, "stream", "the target has not answered in time");
    else if (t->find != NULL && s2s_find_stage(t->find) == S2S_AT_DNS)
        imtest_fail(t, s2s_stage_name(S2S_AT_DNS), "the DNS has not answered in time");
    else
        imtest_fail(t, t->find != NULL ? s2s_stage_name(S2S_AT_TCP) : t->stage,
                    "%s:%u: %s (errno %d)%s%s", slice_cstr(t->call->arena, t->result.target),
                    t->result.port, strerror(ETIMEDOUT), ETIMEDOUT, *t->said != '\0' ? "; " : "",
                    t->said);
}

/* After the login. */

static void imtest_no_receipt(struct timer *timer, struct loop *loop)
{
    struct imtest *t = CONTAINER_OF(timer, struct imtest, receipt);
    (void)loop;
    imtest_end(t, NULL, (slice){ 0 },
               "proved by the answer to a ping behind the message (XEP-0199): the "
               "receiver has sent no receipt");
}

static void imtest_write(struct imtest *t, struct xml_write *w)
{
    xml_close_all(w);
    s2s_probe_write(t->probe, buf_fit(w->out));
    buf_fini(w->out);
}

/* Until when it may be sent: the server of the user knows that (gate/s2s/s2s_confirm.c), so that
 * the receiver does not get it when the test has failed. */
static void imtest_write_end(const struct imtest *t, struct xml_write *w)
{
    char until[CLOCK_STAMP_LEN];
    ensure(timer_is_set(&t->limit));
    clock_stamp(until,
                loop_wall_us(imtest_loop(t)) + timer_left_ms(imtest_loop(t), &t->limit) * 1000);
    xml_open_with(w, "test", NS_TEST, "until", slice_of(until));
    xml_close(w);
}

static void imtest_send(struct imtest *t)
{
    struct buf b;
    struct xml_write w;
    slice to = jid_bare(&t->receiver);
    s2s_probe_now(t->probe, STREAM_IS_BOUND);
    t->bound = true;
    s2s_probe_write(t->probe, SLICE("<presence><priority>-1</priority></presence>"));
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open_with(&w, "message", NULL, "to", to);
    xml_attr(&w, "type", SLICE("chat"));
    xml_attr(&w, "id", slice_of(t->id));
    xml_element(&w, "body",
                SLICE("This is a test of the way between two servers. Please ignore "
                      "it."));
    xml_empty(&w, "request", NS_RECEIPTS);
    imtest_write_end(t, &w);
    imtest_write(t, &w);
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open_with(&w, "iq", NULL, "to", to); /* so it takes the same link as the message */
    xml_attr(&w, "type", SLICE("get"));
    xml_attr(&w, "id", slice_of(t->id));
    xml_empty(&w, "ping", NS_PING);
    imtest_write(t, &w);
}

/* `said` was refused. */
static void imtest_ends_refused(struct imtest *t, enum stanza_error e)
{
    switch (e) {
    case SE_NOT_ALLOWED:
    case SE_FORBIDDEN:
    case SE_POLICY_VIOLATION:
    case SE_RESOURCE_CONSTRAINT:
    case SE_SUBSCRIPTION_REQUIRED:
        if (s2s_is_ours(t->worker, t->user.domain) &&
            s2s_ban(t->worker, t->user.domain, t->receiver.domain) != NULL)
            imtest_link_failed(t);
        else /* the other server may have refused it */
            imtest_fail(t, "policy", "%s", t->said);
        break;
    case SE_REMOTE_SERVER_NOT_FOUND:
    case SE_REMOTE_SERVER_TIMEOUT:
        imtest_link_failed(t);
        break;
    default:
        imtest_fail(t, "receiver", "%s", t->said);
    }
}

static void imtest_refused(struct imtest *t, const struct elem *e)
{
    struct elem error, condition, text;
    slice name = SLICE("no condition"), words = { 0 };
    if (elem_child(e, "error", NS_CLIENT, &error)) {
        if (elem_first(&error, &condition))
            name = condition.name;
        if (elem_child(&error, "text", NS_STANZA_ERROR, &text))
            words = elem_text(&text, imtest_scratch(t));
    }
    t->refused = true;
    timer_cancel(&t->receipt);
    t->condition = name.len < 64 ? name.len : 64;
    snprintf(t->said, sizeof t->said, "%.*s%s%.*s", (int)t->condition, name.ptr,
             words.len > 0 ? ": " : "", (int)(words.len < 300 ? words.len : 300), words.ptr);
    t->advice = outside_limit_advice(name);
    if (s2s_is_ours(t->worker, t->user.domain) && t->advice == NULL)
        t->advice = imtest_user_advice(t, words);
    imtest_ends_refused(t, stanza_error_find(name));
}

static bool imtest_is_lost(const struct elem *e)
{
    struct elem error, condition;
    return elem_child(e, "error", NS_CLIENT, &error) && elem_first(&error, &condition) &&
           probe_is_lost(condition.name);
}

/* From anybody of the domain of the receiver, who may be known there by another address: our number
 * is in it, which nobody guesses. */
static void imtest_message(struct imtest *t, const struct elem *e, bool error)
{
    struct elem received;
    if (error)
        imtest_refused(t, e);
    else if (elem_child(e, "received", NS_RECEIPTS, &received) &&
             slice_is(elem_attr(&received, "id", imtest_scratch(t)), t->id))
        t->ping_us = 0,
        imtest_end(t, NULL, (slice){ 0 }, "proved by the receipt of the receiver (XEP-0184)");
}

static void imtest_heard(struct imtest *t, const struct elem *e)
{
    struct arena *tmp = imtest_scratch(t);
    slice from = elem_attr(e, "from", tmp);
    bool same = slice_is(elem_attr(e, "id", tmp), t->id),
         error = slice_is(elem_attr(e, "type", tmp), "error");
    if (slice_is(e->name, "message") && slice_eq(jid_split(from).domain, t->receiver.domain)) {
        if (same || !error)
            imtest_message(t, e, error);
    } else if (slice_is(e->name, "iq") && same &&
               slice_eq(jid_split(from).domain, t->receiver.domain)) {
        if (error && imtest_is_lost(e)) {
            t->pinged = true;
            imtest_refused(t, e);
            return;
        }
        t->ping_us = loop_now_us(imtest_loop(t));
        timer_set(imtest_loop(t), &t->receipt, RECEIPT_MS);
    }
}

static void imtest_answer(void *arg, const struct elem *e)
{
    struct imtest *t = arg;
    if (t->refused) /* the rest is known */
        return;
    if (t->bound)
        imtest_heard(t, e);
    else if (slice_is(elem_attr(e, "type", imtest_scratch(t)), "result"))
        imtest_send(t);
    else if (slice_is(e->name, "iq"))
        imtest_fail(t, "stream", "the target gives no session to this user");
}

/* The login. */

static void imtest_proof(struct work *w)
{
    scram_client_compute(CONTAINER_OF(w, struct imtest, work)->scram);
}

static void imtest_say(struct imtest *t, const char *name, const char *mechanism, slice message)
{
    struct buf b, text;
    struct xml_write w;
    buf_init(&text, XML_PART_MAX);
    base64_encode(&text, message);
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, name, NS_SASL);
    if (mechanism != NULL)
        xml_attr(&w, "mechanism", slice_of(mechanism));
    xml_text(&w, buf_fit(&text));
    imtest_write(t, &w);
    buf_fini(&text);
}

static void imtest_proof_done(struct work *w)
{
    struct imtest *t = CONTAINER_OF(w, struct imtest, work);
    t->computing = false;
    if (t->over)
        imtest_free(t);
    else if (w->skipped)
        imtest_fail(t, "stream", "this server is being stopped");
    else
        imtest_say(t, "response", NULL, scram_client_final(t->scram));
}

static void imtest_challenge(struct imtest *t, slice message)
{
    if (scram_client_challenge(t->scram, message) != OK) {
        imtest_fail(t, "authentication", "the target has sent a challenge that is not SCRAM");
        return;
    }
    t->work = (struct work){ .run = imtest_proof, .done = imtest_proof_done, .may_skip = true };
    t->computing = true;
    if (work_submit(worker_work(t->worker), imtest_loop(t), &t->work) == OK)
        return;
    t->computing = false;
    t->result.err = E_AGAIN;
    imtest_fail(t, "stream", "this server is too busy for a login; try again later");
}

static void imtest_sasl(void *arg, const struct elem *e)
{
    struct imtest *t = arg;
    struct buf bytes;
    struct elem condition;
    buf_init(&bytes, SCRAM_CLIENT_BYTES);
    bool fine = base64_decode(&bytes, elem_text(e, imtest_scratch(t))) == OK;
    if (slice_is(e->name, "failure")) {
        slice name = elem_first(e, &condition) ? condition.name : e->name;
        if (slice_is(name, "account-disabled")) /* RFC 6120 §6.5.2 */
            t->advice = "Allow the account to log in again: `musterctl user enable`.";
        imtest_fail(t, "authentication", "%.*s: %.*s is refused",
                    (int)(name.len < 64 ? name.len : 64), name.ptr, SLICE_ARG(jid_bare(&t->user)));
    } else if (fine && slice_is(e->name, "challenge")) {
        imtest_challenge(t, buf_fit(&bytes));
    } else if (fine && slice_is(e->name, "success") &&
               scram_client_is_proved(t->scram, buf_fit(&bytes))) {
        s2s_probe_now(t->probe, STREAM_PASSED);
        s2s_probe_restart(t->probe);
    } else {
        imtest_fail(t, "authentication", "the target has not proved that it knows the password");
    }
    buf_fini(&bytes);
}

static bool imtest_offers(const struct elem *features, const char *name, struct arena *tmp)
{
    struct elem mechanisms, m;
    if (!elem_child(features, "mechanisms", NS_SASL, &mechanisms))
        return false;
    for (bool more = elem_first(&mechanisms, &m); more; more = elem_next(&m, &m))
        if (slice_is(elem_text(&m, tmp), name))
            return true;
    return false;
}

static void imtest_login(struct imtest *t, const struct elem *features)
{
    static const enum sasl_mech mechs[] = { SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_512,
                                            SASL_SCRAM_SHA_1 };
    char nonce[33];
    for (size_t i = 0; i < sizeof mechs / sizeof mechs[0]; i++) {
        if (!imtest_offers(features, sasl_mech_name(mechs[i]), imtest_scratch(t)))
            continue;
        rand_hex(nonce, 16);
        t->scram = scram_client_create(sasl_mech_hash(mechs[i]), t->user.local, t->password,
                                       slice_of(nonce));
        s2s_probe_now(t->probe, STREAM_ASK_SASL);
        imtest_say(t, "auth", sasl_mech_name(mechs[i]), scram_client_first(t->scram));
        return;
    }
    imtest_fail(t, "authentication", "the target offers no SCRAM to log in with");
}

static void imtest_features(void *arg, const struct elem *e, bool authenticated)
{
    struct imtest *t = arg;
    struct buf b;
    struct xml_write w;
    if (!authenticated) {
        imtest_login(t, e);
        return;
    }
    s2s_probe_now(t->probe, STREAM_ASK_BIND);
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open_with(&w, "iq", NULL, "type", SLICE("set"));
    xml_attr(&w, "id", SLICE("bind"));
    xml_empty(&w, "bind", NS_BIND);
    imtest_write(t, &w);
}

/* The way to the target. */

static void imtest_told(void *arg, enum s2s_stage stage, bool fine, slice text)
{
    struct imtest *t = arg;
    t->stage = s2s_stage_name(stage == S2S_AT_ROUTE ? S2S_AT_TCP : stage);
    if (!fine)
        snprintf(t->said, sizeof t->said, "%.*s", SLICE_ARG(text));
}

static void imtest_probe_ended(void *arg, enum s2s_stage stage, slice why)
{
    struct imtest *t = arg;
    t->probe = NULL;
    imtest_fail(t, s2s_stage_name(stage), "%.*s", SLICE_ARG(why));
}

static const struct s2s_probe_ops imtest_ops = { imtest_told,   imtest_features,    imtest_sasl,
                                                 imtest_answer, imtest_probe_ended, NULL };

static void imtest_found(void *arg, const struct s2s_found *found)
{
    struct imtest *t = arg;
    if (found->conn == NULL) {
        t->find = NULL;
        imtest_fail(t, t->stage, "%.*s", (int)(*t->said != '\0' ? strlen(t->said) : found->why.len),
                    *t->said != '\0' ? t->said : found->why.ptr);
        return;
    }
    t->connected = true;
    t->probe = s2s_probe_start(t->gate, t->worker, found->conn,
                               &(struct s2s_probe_want){ .ns = NS_CLIENT,
                                                         .tls = found->tls,
                                                         .to = t->user.domain,
                                                         .name = t->user.domain,
                                                         .alpn = "xmpp-client",
                                                         .need_right = true },
                               &imtest_ops, t);
}

static void imtest_connect(struct imtest *t)
{
    if (s2s_is_ours(t->worker, t->user.domain)) /* a failure of before says nothing of now */
        s2s_retry(t->worker, t->user.domain, t->receiver.domain);
    t->since_us = loop_now_us(imtest_loop(t));
    t->stage = "dns";
    t->find = s2s_find_host(t->gate, t->worker,
                            &(struct s2s_find_at){ t->target.host, t->result.port, t->tls },
                            imtest_found, t);
    s2s_find_watch(t->find, imtest_told);
}

/* Whether the message would take no way between two servers. */
static bool imtest_stays(const struct imtest *t)
{
    return slice_eq(t->user.domain, t->receiver.domain) ||
           (s2s_is_ours(t->worker, t->user.domain) && s2s_is_ours(t->worker, t->receiver.domain));
}

/* The first test user, or what was given. */
static void imtest_user(void *arg, slice jid, slice password)
{
    struct imtest *t = arg;
    slice prepared;
    if (t->over) {
        imtest_free(t);
        return;
    }
    struct arena *arena = t->call->arena;
    t->asking = false;
    t->result.err = E_CONFLICT;
    if (jid.len == 0 || password.len == 0)
        imtest_fail(t, "user", "there is no test user, and none is given, so nobody can log in");
    else if (jid_parse(&t->user, slice_dup(arena, jid), arena) != OK ||
             (jid_prep_password_sasl(password, arena, &prepared) != OK && /* RFC 5802 §2.2 */
              jid_prep_password(password, arena, &prepared) != OK))
        imtest_fail(t, "user", "the name or the password of the user cannot be used");
    else if (imtest_stays(t)) {
        t->advice = "Give a receiver at another server.";
        imtest_fail(t, "receiver", "%.*s is at the server of %.*s: nothing leaves it",
                    SLICE_ARG(t->receiver.domain), SLICE_ARG(jid_bare(&t->user)));
    } else {
        t->result.err = OK;
        t->password = slice_dup(arena, prepared);
        imtest_connect(t);
    }
}

/* Port and kind of the target: as given, as configured, or the default. */
static void imtest_target(struct imtest *t)
{
    int64_t port = command_number(t->call, "port", t->target.port);
    if (port == 0 && outside_knows(t->worker, t->target.host))
        port = c2s_port(worker_node(t->worker), &t->tls);
    t->result.unknown = port == 0;
    t->result.port = (uint16_t)(port == 0 ? DEFAULT_PORT : port);
    t->tls = t->tls || port == DIRECT_PORT;
}

/* Reads what the call names. false: it has failed. */
static bool imtest_args(struct command_call *call, struct outside_host *host, struct jid *to)
{
    slice target = outside_arg(call, "target", OUTSIDE_IM),
          receiver = outside_arg(call, "receiver", OUTSIDE_IM);
    if (target.len == 0 || receiver.len == 0 || jid_parse(to, receiver, call->arena) != OK ||
        to->local.len == 0)
        command_fail(call, E_SYNTAX,
                     "--target, a host, and --receiver, an address such as "
                     "friend@partner.example, are needed (or imtest.target and "
                     "imtest.receiver)");
    else if (!outside_host_read(host, target, call->arena))
        command_fail(call, E_SYNTAX, "--target: allowed: " OUTSIDE_HOST_FORM);
    else if (command_arg(call, "user").ptr != NULL && command_arg(call, "password").len == 0)
        command_fail(call, E_SYNTAX, "--user needs the password of that user: --password%s",
                     principal_is_remote(&call->who) ? "" : "-file FILE or --stdin");
    else
        return true;
    return false;
}

static void run_imtest(struct command_call *call)
{
    struct worker *w = call->worker;
    struct s2s_gate *g = s2s_gate_of(w);
    slice user = command_arg(call, "user");
    struct outside_host host;
    struct jid to;
    if (!imtest_args(call, &host, &to))
        return;
    if (g == NULL || s2s_worker(g, w)->out.stopped || !outside_begin(call, OUTSIDE_IM)) {
        if (!call->ended)
            command_fail(call, E_DOWN, "this server is being stopped");
        return;
    }
    struct imtest *t = mem_new(struct imtest);
    t->call = call;
    t->worker = w;
    t->gate = g;
    t->receiver = to;
    t->target = host;
    t->result.target = outside_arg(call, "target", OUTSIDE_IM);
    t->test.stop = imtest_stop;
    t->limit.fn = imtest_late;
    t->receipt.fn = imtest_no_receipt;
    t->stage = "dns";
    rand_hex(t->id, ID_BYTES);
    list_append(&s2s_worker(g, w)->tests, &t->test.node);
    timer_set(worker_loop(w), &t->limit, (uint64_t)command_number(call, "timeout", 45000));
    imtest_target(t);
    if (user.ptr != NULL) {
        imtest_user(t, user, command_arg(call, "password"));
    } else {
        t->asking = true;
        outside_user(w, imtest_user, t);
    }
}

struct command imtest_command = {
    .name = "imtest",
    .effect = COMMAND_CHANGES,
    .area = "tests",
    .args =
        (const struct command_arg[]){
            { .name = "target",
              .kind = ARG_OPTION,
              .type = PARAM_TEXT,
              .example = "chat.example.org",
              .max = 255,
              .doc = "the host to log in at; default: imtest.target" },
            { .name = "receiver",
              .kind = ARG_OPTION,
              .type = PARAM_BARE,
              .example = "friend@partner.example",
              .doc = "who gets the message, at another server; default: imtest.receiver" },
            { .name = "user",
              .kind = ARG_OPTION,
              .type = PARAM_BARE,
              .doc = "who sends it; default: the first test user" },
            { .name = "password",
              .kind = ARG_SECRET_MADE,
              .unmade = true,
              .type = PARAM_SECRET,
              .doc = "the password of that user, which --user needs" },
            { .name = "port",
              .kind = ARG_OPTION,
              .type = PARAM_INT,
              .min = 1,
              .max = 65535,
              .doc = "the port of the target; default: that of the configuration, or 5222" },
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
    .run = run_imtest,
    .record = true,
    .report = true,
    .doc = "Tests messages to another server. It logs in at the "
           "target as a client does, sends a message to the receiver, and waits for a receipt; "
           "where none comes, for the answer of that server to a ping behind the message.",
    .columns = outside_columns,
};
