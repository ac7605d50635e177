/* Two nodes in one process, each with a database and workers of its own, joined by bus_local. Every
 * account is assigned to a node. Users are chosen so that the homes of two that talk are on any
 * worker of their nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "bus/bus_local.h"
#include "component/component_shown.h"
#include "core/test_live.h"
#include "home/duty.h"
#include "home/question.h"
#include "io/mesh.h"
#include "presence/caps.h"
#include "presence/presence_in.h"
#include "presence/roster_account.h"
#include <sqlite3.h>

enum { NODES = 2, WORKERS = 2 };

/* Answers of an account at once, and after a transaction of it. */

static void echo(struct iq *iq) { iq_result(iq, iq->payload.whole); }

static void echo_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    assert_int_equal(result, STORE_OK);
    echo(arg);
}

static void echo_later(struct iq *iq)
{
    struct iq *held = iq_hold(iq);
    struct store_batch *b = store_write(iq->worker->store, account_lane(iq->account));
    mailbox_save(iq->account, b);
    store_submit(b, iq->worker->loop, 0, echo_stored, held);
}

static const struct iq_rule echo_rules[] = {
    { TYPE_GET, "urn:test", "echo", IQ_TO_ACCOUNT, echo },
    { TYPE_SET, "urn:test", "echo", IQ_TO_ACCOUNT, echo_later },
    { 0 },
};

/* A question that is never answered. */
static void unanswered_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)w, (void)message, (void)from;
}
static const struct message_row unanswered_message = { .id = 250,
                                                       .scope = MESSAGE_CLUSTER,
                                                       .name = "unanswered",
                                                       .size = sizeof(struct message_nothing),
                                                       .fields = message_no_fields,
                                                       .run = unanswered_run,
                                                       .later = true };
/* A command that runs on every worker of every node: who is there. */
static void who_run(struct command_call *call)
{
    const struct worker *w = call->worker;
    command_row(call);
    command_int(call, "worker", w->node->id * 10 + w->index);
    command_text(call, "word", command_arg(call, "word"));
    command_bool(call, "odd", w->index % 2 == 1);
    call->left_out += w->index;
}

static void who_gathered(struct command_call *call)
{
    int64_t sum = 0, odd = 0, left_out = (int64_t)call->left_out;
    for (const struct command_row *r = command_take_rows(call); r != NULL; r = r->next) {
        sum += command_row_int(r, "worker");
        odd += slice_is(command_row_text(r, "odd"), "true");
        assert_true(slice_is(command_row_text(r, "word"), "\xc3\xa4 b"));
        assert_null(command_row_text(r, "sum").ptr);
    }
    command_row(call);
    command_int(call, "sum", sum * 100 + odd * 10 + left_out);
    command_done(call, "%s", "");
}

static struct command who_command = {
    .name = "who",
    .effect = COMMAND_READS,
    .area = "test",
    .args =
        (const struct command_arg[]){ { .name = "word", .kind = ARG_POSITIONAL, .doc = "a word" },
                                      { 0 } },
    .runs_at = COMMAND_EACH,
    .run = who_run,
    .gathered = who_gathered,
    .parts = (const struct command_column[]){ { .name = "worker", .type = PARAM_INT },
                                              { .name = "word" },
                                              { .name = "odd", .type = PARAM_BOOL },
                                              { 0 } },
    .columns = (const struct command_column[]){ { .name = "sum", .type = PARAM_INT }, { 0 } },
    .doc = "Shows who is there.",
};

/* Runs on the first node: its answer is as long as `each` for its row and again for its words. */
static void long_run(struct command_call *call)
{
    const size_t each = (size_t)command_number(call, "each", 0);
    char *text = arena_alloc(call->arena, 1, each + 1);
    memset(text, 'x', each);
    text[each] = '\0';
    command_row(call);
    command_text(call, "text", (slice){ text, each });
    command_done(call, "%s", text);
}

static struct command long_command = {
    .name = "long",
    .effect = COMMAND_READS,
    .area = "test",
    .args = (const struct command_arg[]){ { .name = "each",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_INT,
                                            .max = 1 << 30,
                                            .doc = "bytes" },
                                          { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = long_run,
    .columns = (const struct command_column[]){ { .name = "text" }, { 0 } },
    .doc = "Gives a long answer.",
};

static const struct feature echo_feature = { .name = "echo",
                                             .iq = echo_rules,
                                             .messages = (const struct message_row *const[]){
                                                 &unanswered_message, NULL } };

static const struct feature *const features[] = {
    &test_auth_feature, &account_feature,
    &session_feature,   &message_feature,
    &roster_feature,    &presence_feature,
    &caps_feature,      &component_shown_feature,
    &echo_feature,      NULL,
};

static struct bus_local *bus;
static unsigned users;

/* Start and end. */

/* What each worker was told of the setting, and how often. */
static struct {
    int64_t value;
    unsigned times;
} told[NODES][WORKERS];

static void on_told(struct worker *w, const struct setting *s)
{
    pthread_mutex_lock(&live.lock);
    told[w->node->id - 1][w->index].value = setting_int(s);
    told[w->node->id - 1][w->index].times++;
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
}

static struct setting told_setting = {
    .name = "nodes.told", .scope = SCOPE_CLUSTER, .type = PARAM_INT, .max = 1000, .changed = on_told
};

static int start(void **state)
{
    static const char *const domains[] = { "localhost", NULL };
    (void)state;
    setting_register(&told_setting);
    command_register(&who_command);
    command_register(&long_command);
    live_begin(features);
    bus = bus_local_create();
    for (unsigned n = 0; n < NODES; n++) {
        live_open(n, WORKERS, domains);
        node_join(live.node[n], bus);
    }
    for (unsigned n = 0; n < NODES; n++)
        live_start(n);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    live_end_cluster(NODES, &bus);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    arena_reset(live.tmp);
    return 0;
}

/* Waiting. */

/* The oldest stanza that was not taken yet. */
static void expect_next(struct stream *s, const char *part)
{
    const char *text = live_expect(s, "<");
    if (strstr(text, part) == NULL)
        fail_msg("%s got %s, expected was \"%s\"", s->jid, text, part);
}

static bool has(struct stream *s, const char *part)
{
    return live_has(s, (const char *const[LIVE_PARTS]){ part, "", "" });
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

/* Clients. */

static void chat(struct stream *from, const char *to, const char *text)
{
    live_send(from, arena_printf(live.tmp,
                                 "<message from='%s' to='%s' type='chat' id='%s'>"
                                 "<body>%s</body></message>",
                                 from->jid, to, text, text));
}

static void iq(struct stream *from, const char *type, const char *to, const char *id,
               const char *payload)
{
    live_send(from, arena_printf(live.tmp, "<iq from='%s' to='%s' type='%s' id='%s'>%s</iq>",
                                 from->jid, to, type, id, payload));
}

static void present(struct stream *from, const char *attributes)
{
    live_send(from, arena_printf(live.tmp, "<presence from='%s' %s/>", from->jid, attributes));
}

#define PING "<ping xmlns='urn:xmpp:ping'/>"

static void enable(struct stream *s)
{
    live_up(s, UP_ENABLE, 1, NULL);
    LIVE_AWAIT(s->enabled);
}

static void ask_h(struct stream *s)
{
    pthread_mutex_lock(&live.lock);
    unsigned before = s->acks;
    pthread_mutex_unlock(&live.lock);
    live_up(s, UP_REQUEST, 0, NULL);
    LIVE_AWAIT(s->acks > before);
}

/* Everything that was on its way to `to` from `from` has arrived afterwards. */
static void barrier(struct stream *from, struct stream *to)
{
    static unsigned n;
    const char *id = arena_printf(live.tmp, "barrier%u", n++);
    iq(from, "get", to->jid, id, PING);
    live_expect(to, id);
}

static unsigned node_of(const char *jid)
{
    uint32_t node;
    (void)node_home(live.node[0], slice_of(jid), &node);
    return node - 1;
}

/* An account whose home is that worker of that node. */
static const char *user(unsigned n, unsigned worker)
{
    for (;;) {
        const char *jid = arena_printf(live.tmp, "u%u@localhost", users++);
        if (node_slot(slice_of(jid)) % WORKERS != worker || node_of(jid) != n)
            continue;
        live_add(n, jid);
        return jid;
    }
}

static struct stream *open_stream(unsigned n, unsigned worker, struct bind_request *req)
{
    return live_bind(&live.node[n]->workers[worker], req);
}

static struct stream *login_at(unsigned n, unsigned worker, const char *bare, const char *resource)
{
    return open_stream(
        n, worker,
        &(struct bind_request){ .bare = slice_of(bare), .resource = slice_of(resource) });
}

/* A new user and its stream, both at the home. */
static struct stream *login(unsigned n, unsigned worker)
{
    return login_at(n, worker, user(n, worker), "r");
}

/* What is in the table of a node, by a connection of its own. */
static int64_t ask(unsigned n, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(live_path(n), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

/* Tests. */

static void test_chat_between_all_workers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS * WORKERS; i++) {
        struct stream *a = login(0, i % WORKERS), *b = login(1, i / WORKERS);
        chat(a, b->jid, "hello");
        chat(a, b->jid, "again");
        expect_next(b, "hello");
        expect_next(b, "again");
        chat(b, a->jid, "thanks");
        assert_has(live_expect(a, "thanks"), b->jid);
        assert_int_equal(a->got, 1);
        assert_int_equal(b->got, 2);
    }
}

static void test_order_of_many(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 1), *back = login(0, 1);
    for (unsigned i = 0; i < 200; i++)
        chat(i % 2 == 0 ? a : back, b->jid,
             arena_printf(live.tmp, "%s.%u.", i % 2 == 0 ? "a" : "b", i));
    unsigned next_a = 0, next_b = 1;
    for (unsigned i = 0; i < 200; i++) { /* order of each sender */
        const char *text = live_expect(b, "<message");
        unsigned *next = strstr(text, "<body>a") != NULL ? &next_a : &next_b;
        assert_has(text, arena_printf(live.tmp, ".%u.", *next));
        *next += 2;
    }
}

/* A node knows its own slots; others send to where they would be by themselves. */
static void test_a_slot_that_was_moved(void **state)
{
    const char *bob = "moved@localhost";
    (void)state;
    unsigned slot = node_slot(slice_of(bob)), worker = 1 - slot % WORKERS;
    live.node[1]->slot_worker[slot] = (uint8_t)worker;
    bus_local_assign(bus, slot, 2);
    live_add(1, bob);
    struct stream *a = login(0, 0), *b = login_at(1, worker, bob, "r");
    struct stream *far = login_at(0, 1, bob, "far");
    enable(a);
    for (unsigned i = 0; i < 10; i++)
        chat(a, b->jid, arena_printf(live.tmp, "m%u.", i));
    for (unsigned i = 0; i < 10; i++)
        expect_next(b, arena_printf(live.tmp, "m%u.", i));
    ask_h(a);
    LIVE_AWAIT(a->h == 10);
    chat(a, far->jid, "to-far");
    live_expect(far, "to-far");
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct stream *a = login(0, 0);
    bus_local_assign(bus, node_slot(SLICE("nobody@localhost")), 2);
    iq(a, "get", a->bare, "r1", "<query xmlns='jabber:iq:roster'/>");
    chat(a, "nobody@localhost", "lost");
    assert_has(live_expect(a, "lost"), "service-unavailable");
    iq(a, "get", "nobody@localhost", "q0", "<none xmlns='urn:none'/>");
    assert_has(live_expect(a, "q0"), "type='error'");
    present(a, "to='nobody@localhost' type='subscribe'"); /* as to a user who does not answer */
    assert_has(live_expect(a, "ask='subscribe'"), "nobody@localhost");
}

static void test_requests(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 0);
    iq(a, "get", b->jid, "p1", PING);
    assert_has(live_expect(b, "p1"), "urn:xmpp:ping");
    iq(b, "result", a->jid, "p1", "");
    assert_has(live_expect(a, "p1"), "type='result'");
    iq(a, "get", b->bare, "e1", "<echo xmlns='urn:test'>hello</echo>");
    assert_has(live_expect(a, "e1"), ">hello</echo>");
    iq(a, "set", b->bare, "e2", "<echo xmlns='urn:test'>later</echo>");
    assert_has(live_expect(a, "e2"), ">later</echo>");
    iq(a, "get", arena_printf(live.tmp, "%s/none", b->bare), "p2", PING);
    assert_has(live_expect(a, "p2"), "service-unavailable");
}

/* A lock on the database of a node: nothing is committed there meanwhile. */
static sqlite3 *hold(unsigned n)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(live_path(n), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}
static void let_go(sqlite3 *db)
{
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* What is acknowledged is committed at both nodes, whichever comes last. */
static void test_acknowledged_means_committed_on_both(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 1);
    enable(a);
    for (unsigned n = 0; n < NODES; n++) {
        sqlite3 *held = hold(n);
        const char *text = n == 0 ? "held-here" : "held-there";
        chat(a, b->jid, text);
        live_expect(b, text); /* delivery does not wait */
        barrier(b, a);        /* the other node's part, if it is done, was told */
        ask_h(a);
        assert_int_equal(a->h, n);
        let_go(held);
        LIVE_AWAIT(a->h == n + 1);
    }
    assert_int_equal(ask(0, "SELECT count(*) FROM message WHERE stanza LIKE '%held-%' AND rcpt = 0"
                            " AND sender <> 0 AND sender_entry <> 0 AND rcpt_entry = 0"),
                     2);
    assert_int_equal(ask(1,
                         "SELECT count(*) FROM message WHERE stanza LIKE '%held-%' AND sender = 0"
                         " AND rcpt <> 0 AND rcpt_entry <> 0 AND sender_entry = 0"),
                     2);
    assert_int_equal(
        ask(0, arena_printf(live.tmp, "SELECT count(*) FROM message WHERE remote = '%s'", b->bare)),
        2);
}

static void test_a_lost_message_is_not_acknowledged(void **state)
{
    (void)state;
    struct stream *a = login(0, 1), *b = login(1, 0);
    struct bus_local_counters before = bus_local_count(bus, 2);
    enable(a);
    chat(a, b->jid, "first");
    ask_h(a);
    LIVE_AWAIT(a->h == 1);
    bus_local_fault(bus, 1, 2, BUS_LOSE, 1);
    chat(a, b->jid, "vanished");
    bus_local_fault(bus, 1, 2, BUS_REPEAT, 1);
    chat(a, b->jid, "last");
    live_expect(b, "first");
    live_expect(b, "last");
    barrier(a, b);
    assert_false(has(b, "vanished") || has(b, "last"));
    barrier(b, a);
    ask_h(a);
    assert_int_equal(a->h, 1); /* the longest prefix */
    struct bus_local_counters now = bus_local_count(bus, 2);
    assert_int_equal(now.lost - before.lost, 1);
    assert_int_equal(now.gaps - before.gaps, 1);
    assert_int_equal(now.repeats - before.repeats, 1);
}

static void test_offline_message(void **state)
{
    (void)state;
    struct stream *a = login(0, 0);
    const char *bob = user(1, 1);
    enable(a);
    chat(a, bob, "kept1");
    chat(a, bob, "kept2");
    ask_h(a);
    LIVE_AWAIT(a->h == 2);
    struct stream *b = login_at(1, 1, bob, "r");
    present(b, "");
    assert_has(live_expect(b, "kept1"), "urn:xmpp:delay");
    live_expect(b, "kept2");
}

static void subscribe_both(struct stream *a, struct stream *b)
{
    present(a, arena_printf(live.tmp, "to='%s' type='subscribe'", b->bare));
    live_expect(b, "type='subscribe'");
    present(b, arena_printf(live.tmp, "to='%s' type='subscribed'", a->bare));
    present(b, arena_printf(live.tmp, "to='%s' type='subscribe'", a->bare));
    live_expect(a, "type='subscribe'");
    present(a, arena_printf(live.tmp, "to='%s' type='subscribed'", b->bare));
}

static const char *presence_from(const struct stream *s)
{
    return arena_printf(live.tmp, "<presence from='%s'", s->jid);
}

static void test_subscription_and_presence(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 1);
    present(a, "");
    present(b, "");
    iq(a, "get", a->bare, "r1", "<query xmlns='jabber:iq:roster'/>");
    iq(b, "get", b->bare, "r1", "<query xmlns='jabber:iq:roster'/>");
    subscribe_both(a, b);
    live_expect(a, presence_from(b));
    live_expect(b, presence_from(a));
    live_expect(a, "subscription='both'");
    live_expect(b, "subscription='both'");

    struct stream *a2 =
        login_at(0, 1, a->bare, "second"); /* the session is not where its stream is */
    present(a2, "");
    live_expect(b, presence_from(a2)); /* broadcast */
    live_expect(a2, presence_from(b)); /* probe */
    live_send(b,
              arena_printf(live.tmp, "<presence from='%s'><show>away</show></presence>", b->jid));
    assert_has(live_expect(a, presence_from(b)), "away");
    assert_has(live_expect(a2, presence_from(b)), "away");
    live_up(a2, UP_GONE, END_LOST, NULL);
    assert_has(live_expect(b, presence_from(a2)), "unavailable");
    live_up(b, UP_GONE, END_CLOSED, NULL);
    assert_has(live_expect(a, presence_from(b)), "unavailable");
}

/* The deletion is a write that nobody is told of. */
static void await_none(unsigned n, const char *sql)
{
    struct timespec until = live_deadline(), now, pause = { 0, 1000000 };
    do {
        nanosleep(&pause, NULL);
        clock_gettime(CLOCK_REALTIME, &now);
    } while (ask(n, sql) > 0 && now.tv_sec < until.tv_sec);
    assert_int_equal(ask(n, sql), 0);
}

/* The row that is kept until the other home has committed is on the sender's node. */
static void test_announcements_are_settled(void **state)
{
    (void)state;
    struct stream *a = login(0, 1), *b = login(1, 0);
    present(a, "");
    present(b, "");
    subscribe_both(a, b);
    live_expect(a, presence_from(b));
    live_expect(b, presence_from(a));
    await_none(0, "SELECT count(*) FROM roster_out");
    await_none(1, "SELECT count(*) FROM roster_out");
}

static void test_directed_presence(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 0);
    present(b, "");
    present(a, arena_printf(live.tmp, "to='%s'", b->jid));
    live_expect(b, presence_from(a));
    live_up(a, UP_GONE, END_CLOSED, NULL);
    assert_has(live_expect(b, presence_from(a)), "unavailable");
}

static struct stream *resume(unsigned n, unsigned worker, const char *bare, const char *token)
{
    return open_stream(
        n, worker,
        &(struct bind_request){
            .bare = slice_of(bare), .resource = slice_of(token), .h = 1, .resume = true });
}

/* The stream is on one node, the session on the other. */
static void test_stream_on_another_node(void **state)
{
    (void)state;
    struct stream *a = login(0, 1), *near = login(0, 0), *home = login(1, 0);
    const char *bob = user(1, 0);
    struct stream *b = login_at(0, 0, bob, "far");
    assert_string_equal(b->jid, arena_printf(live.tmp, "%s/far", bob));
    enable(b);
    chat(a, b->jid, "to-far");
    assert_has(live_expect(b, "to-far"), "stanza-id");
    chat(b, a->jid, "from-far");
    live_expect(a, "from-far");
    ask_h(b);
    LIVE_AWAIT(b->h == 1);
    live_up(b, UP_ACK, 1, NULL);
    chat(a, b->jid, "unacked");
    live_expect(b, "unacked");

    live_up(b, UP_GONE, END_LOST, NULL);
    barrier(near, home); /* by the way that b's end takes */
    chat(a, b->jid, "while-away");
    struct stream *c = resume(1, 1, bob, b->token);
    assert_true(c->resumed);
    assert_string_equal(c->jid, b->jid);
    expect_next(c, "unacked");
    expect_next(c, "while-away");
    assert_int_equal(resume(0, 1, bob, "0123456789abcdef")->refused, SE_ITEM_NOT_FOUND);
}

/* What an earlier stream said arrives when another has resumed the session. */
static void test_resumed_before_the_old_stream_ended(void **state)
{
    (void)state;
    struct stream *a = login(0, 1), *near = login(0, 0), *home = login(1, 0);
    const char *bob = user(1, 0);
    struct stream *b = login_at(0, 0, bob, "far");
    enable(b);
    chat(a, b->jid, "1");
    live_expect(b, "id='1'");
    struct stream *c = resume(1, 1, bob, b->token);
    assert_true(c->resumed);
    LIVE_AWAIT(b->closed);
    chat(b, a->jid, "stale"); /* c's client repeats it: it was not counted */
    live_up(b, UP_GONE, END_LOST, NULL);
    barrier(near, home);
    chat(a, c->jid, "2");
    live_expect(c, "id='2'");
    chat(c, a->jid, "counted");
    live_expect(a, "counted");
    assert_false(has(a, "stale"));
    ask_h(c);
    LIVE_AWAIT(c->h == 1);
}

/* What only the reader saw crosses with the stanza (RFC 6120 §8.3.3.8). */
static void spoil(struct worker *w, void *arg)
{
    struct live_sending *s = arg;
    struct stanza *st;
    assert_int_equal(stanza_load(&st, slice_of(s->xml), w->xml, loop_scratch(w->loop)), OK);
    st->bad_to = true;
    link_send_up(w, s->stream->id, s->stream->session, &(struct up){ .kind = UP_STANZA, .st = st });
}

static void test_bad_stanzas_on_another_node(void **state)
{
    (void)state;
    const char *bob = user(1, 1);
    struct stream *b = login_at(0, 0, bob, "far");
    struct live_sending s = { .stream = b };
    s.xml = arena_printf(live.tmp, "<iq from='%s' id='bad-to' type='get'>" PING "</iq>", b->jid);
    node_call(live.node[0], 0, spoil, &s);
    assert_has(live_expect(b, "bad-to"), "jid-malformed");
    present(b, "type='nonsense' id='bad-type'");
    assert_has(live_expect(b, "bad-type"), "bad-request");
}

/* A question to a node that is gone ends, and says so first. */
struct asking {
    bool asked, lost, done;
};

static void was_lost(struct worker *w, void *arg)
{
    struct asking *a = arg;
    (void)w;
    assert_false(a->done);
    live_set(&a->lost);
}

static void was_done(struct worker *w, void *arg)
{
    (void)w;
    live_set(&((struct asking *)arg)->done);
}

static void ask_there(struct worker *w, void *arg)
{
    struct asking *a = arg;
    home_ask_at(w, 2, 1, &unanswered_message, &(struct message_nothing){ 0 },
                &(struct asker){ .done = was_done, .lost = was_lost, .arg = a });
    live_set(&a->asked);
}

static void node_is_gone(struct worker *w, void *arg)
{
    (void)arg;
    node_gone(w, 3); /* another one */
    node_gone(w, 2);
}

static void test_a_question_to_a_node_that_is_gone(void **state)
{
    struct asking a = { 0 };
    (void)state;
    node_call(live.node[0], 0, ask_there, &a);
    LIVE_AWAIT(a.asked);
    assert_false(a.lost || a.done);
    node_call(live.node[0], 0, node_is_gone, NULL);
    LIVE_AWAIT(a.done);
    assert_true(a.lost);
}

/* The stream is on the node that is gone: nobody says that it has ended. */
static void test_sessions_with_streams_on_a_node_that_is_gone(void **state)
{
    (void)state;
    struct stream *bob = login(0, 1), *near = login(0, 0);
    struct stream *far = login_at(1, 0, near->bare, "far");
    present(bob, "");
    present(near, "");
    present(far, "");
    subscribe_both(bob, near);
    live_expect(bob, presence_from(far));
    live_expect(bob, presence_from(near));
    for (unsigned i = 0; i < WORKERS; i++)
        node_call(live.node[0], i, node_is_gone, NULL);
    const char *text = live_expect(bob, "unavailable");
    assert_has(text, far->jid);
    chat(bob, near->jid, "still here");
    live_expect(near, "still here");
    assert_false(has(bob, "unavailable"));
}

static void assert_who(const struct command_call *call, int64_t sum, const char *text)
{
    assert_int_equal(call->err, OK);
    assert_true(slice_is(call->text, text));
    assert_non_null(call->rows);
    assert_null(call->rows->next);
    assert_int_equal(command_row_int(call->rows, "sum"), sum);
}

static void test_a_command_on_every_worker(void **state)
{
    static const char *const args[] = { "word", "\xc3\xa4 b", NULL };
    (void)state;
    for (unsigned n = 0; n < NODES; n++)
        assert_who(live_run(n, "who", args), (10 + 11 + 20 + 21) * 100 + 2 * 10 + 2, "");
}

/* The other node is asked and gone before it has answered. */
static void test_a_command_on_those_that_are_there(void **state)
{
    struct live_run *r = arena_new(live.tmp, struct live_run, 1);
    const slice name = SLICE("word"), value = SLICE("\xc3\xa4 b");
    struct why why;
    (void)state;
    r->call = (struct command_call){ .command = &who_command,
                                     .arena = live.tmp,
                                     .who = principal_server,
                                     .finished = live_run_finished,
                                     .arg = r };
    assert_int_equal(command_bind(&r->call, &name, &value, 1, &why), OK);
    bus_local_fault(bus, 1, 2, BUS_LOSE, WORKERS);
    node_call(live.node[0], 0, live_run_there, r);
    node_call(live.node[0], 0, node_is_gone, NULL);
    LIVE_AWAIT(r->ended);
    assert_who(&r->call, (10 + 11) * 100 + 10 + 1,
               "a node did not answer, and what it has is missing here");
}

/* An answer is a message, which has an end. */
static void test_a_command_with_a_long_answer(void **state)
{
    static const char *const some[] = { "each", "15000000", NULL };
    static const char *const more[] = { "each", "17000000", NULL };
    static const char *const most[] = { "each", "34000000", NULL };
    (void)state;
    const struct command_call *call = live_run(1, "long", some);
    assert_int_equal(call->err, OK);
    assert_int_equal(call->text.len, 15000000);
    assert_int_equal(command_row_text(call->rows, "text").len, 15000000);
    for (unsigned i = 0; i < 2; i++) {
        call = live_run(1, "long", i == 0 ? more : most);
        assert_int_equal(call->err, E_LIMIT);
        assert_true(slice_is(call->text, "the answer is too long; ask for less"));
        assert_null(call->rows);
    }
}

/* What the workers of a node have said to each other. */
struct road {
    uint64_t sent[WORKERS][WORKERS], received[WORKERS][WORKERS], delivered;
    bool done;
};

static void count_here(struct worker *w, void *arg)
{
    struct road *r = arg;
    for (unsigned i = 0; i < WORKERS; i++) {
        r->sent[w->index][i] = mesh_count(w->port, i).sent;
        r->received[i][w->index] = mesh_count(w->port, i).received;
    }
    r->delivered += w->delivered;
    live_set(&r->done);
}

static struct road road_of(unsigned n)
{
    struct road r = { 0 };
    for (unsigned i = 0; i < WORKERS; i++) {
        r.done = false;
        node_call(live.node[n], i, count_here, &r);
        LIVE_AWAIT(r.done);
    }
    return r;
}

/* Each frame was received and was a message. */
static bool is_at_rest(const struct road *r)
{
    uint64_t frames = 0;
    for (unsigned from = 0; from < WORKERS; from++)
        for (unsigned to = 0; to < WORKERS; to++) {
            if (r->sent[from][to] != r->received[from][to])
                return false;
            frames += r->received[from][to];
        }
    return frames == r->delivered;
}

/* Between two workers there is one FIFO: all that they say to each other is a frame of the mesh,
 * and each frame was a message. Chats, presence, subscriptions and requests between all workers,
 * each by a stream that is not at the home of its session. */
static void test_one_road(void **state)
{
    struct stream *s[WORKERS];
    const char *bare[WORKERS];
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++)
        bare[i] = user(0, i);
    struct road before = road_of(0);
    for (unsigned i = 0; i < WORKERS; i++) {
        s[i] = login_at(0, (i + 1) % WORKERS, bare[i], "r");
        present(s[i], "");
    }
    subscribe_both(s[0], s[1]);
    live_expect(s[0], presence_from(s[1]));
    live_expect(s[1], presence_from(s[0]));
    for (unsigned i = 0; i < WORKERS; i++) {
        struct stream *to = s[(i + 1) % WORKERS];
        chat(s[i], to->jid, "by-road");
        live_expect(to, "by-road");
        iq(s[i], "get", to->bare, "road", "<echo xmlns='urn:test'>hello</echo>");
        live_expect(s[i], "road");
        barrier(s[i], to);
    }
    struct timespec until = live_deadline(), now;
    struct road after;
    do { /* what is acknowledged when it is stored may still be on its way */
        after = road_of(0);
        clock_gettime(CLOCK_REALTIME, &now);
    } while (!is_at_rest(&after) && now.tv_sec < until.tv_sec);
    assert_true(is_at_rest(&after));
    assert_true(after.delivered > before.delivered + 20);
}

static bool all_told(int64_t value)
{
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned i = 0; i < WORKERS; i++)
            if (told[n][i].value != value)
                return false;
    return true;
}

static void set_told(struct worker *w, void *arg)
{
    struct why why;
    (void)w;
    ensure(setting_set(&told_setting, slice_of(arg), &why) == OK);
}

/* Each worker of each node hears of each change in the end, whoever made it; of several in a row
 * perhaps once; of one that changes nothing never. */
static void test_all_workers_hear_of_settings(void **state)
{
    struct why why;
    unsigned times = 0;
    (void)state;
    set_told(NULL, "1"); /* main's thread */
    LIVE_AWAIT(all_told(1));
    node_call(live.node[0], 1, set_told, "2");
    LIVE_AWAIT(all_told(2));
    assert_int_equal(told[1][0].times, 2);
    set_told(NULL, "2");
    for (unsigned i = 3; i <= 100; i++) {
        char text[8];
        snprintf(text, sizeof text, "%u", i);
        assert_int_equal(setting_set(&told_setting, slice_of(text), &why), OK);
    }
    LIVE_AWAIT(all_told(100));
    setting_reset(&told_setting);
    LIVE_AWAIT(all_told(0));
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned i = 0; i < WORKERS; i++)
            times += told[n][i].times;
    assert_in_range(times, 4 * NODES * WORKERS, 101 * NODES * WORKERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_chat_between_all_workers, reset),
        cmocka_unit_test_setup(test_order_of_many, reset),
        cmocka_unit_test_setup(test_a_slot_that_was_moved, reset),
        cmocka_unit_test_setup(test_nobody_there, reset),
        cmocka_unit_test_setup(test_requests, reset),
        cmocka_unit_test_setup(test_acknowledged_means_committed_on_both, reset),
        cmocka_unit_test_setup(test_a_lost_message_is_not_acknowledged, reset),
        cmocka_unit_test_setup(test_offline_message, reset),
        cmocka_unit_test_setup(test_subscription_and_presence, reset),
        cmocka_unit_test_setup(test_announcements_are_settled, reset),
        cmocka_unit_test_setup(test_directed_presence, reset),
        cmocka_unit_test_setup(test_stream_on_another_node, reset),
        cmocka_unit_test_setup(test_resumed_before_the_old_stream_ended, reset),
        cmocka_unit_test_setup(test_bad_stanzas_on_another_node, reset),
        cmocka_unit_test_setup(test_a_question_to_a_node_that_is_gone, reset),
        cmocka_unit_test_setup(test_sessions_with_streams_on_a_node_that_is_gone, reset),
        cmocka_unit_test_setup(test_a_command_on_every_worker, reset),
        cmocka_unit_test_setup(test_a_command_with_a_long_answer, reset),
        cmocka_unit_test_setup(test_a_command_on_those_that_are_there, reset),
        cmocka_unit_test_setup(test_one_road, reset),
        cmocka_unit_test_setup(test_all_workers_hear_of_settings, reset),
    };
    return cmocka_run_group_tests_name("core/nodes", tests, start, stop);
}
