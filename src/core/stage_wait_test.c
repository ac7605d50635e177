#include "account/account_life.h"
#include "base/rand.h"
#include "component/component_shown.h"
#include "core/stage_wait.h"
#include "core/test_node.h"
#include "home/ask.h"
#include "presence/caps.h"
#include "session/session_input.h"
#include "session/session_queue.h"
#include "session/session_wait.h"
#include "talk/message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

enum { LINES_MAX = 512, TEXT_BYTES = 64 };

struct stream {
    uint64_t id;
    char line[LINES_MAX][TEXT_BYTES]; /* ids of the stanzas that it got, in order */
    unsigned lines, errors;
    bool held, closed;
    uint32_t h;
    char token[40];
};

static struct test_node t;
static struct account *alice, *bob;
static struct stream a_stream, b_stream;
static struct session *a, *b;

static void gate_down(struct stream *s, const struct down *d)
{
    switch (d->kind) {
    case DOWN_STANZA:
        if (d->st->type == TYPE_ERROR)
            s->errors++;
        else if (d->st->id_len > 0 && s->lines < LINES_MAX)
            snprintf(s->line[s->lines++], TEXT_BYTES, "%.*s", SLICE_ARG(stanza_id(d->st)));
        break;
    case DOWN_HOLD:
    case DOWN_RELEASE:
        s->held = d->kind == DOWN_HOLD;
        break;
    case DOWN_ENABLED:
        snprintf(s->token, sizeof s->token, "%.*s", SLICE_ARG(d->text));
        break;
    case DOWN_RESUMED:
    case DOWN_ACK:
        s->h = d->num;
        break;
    case DOWN_CLOSE:
        s->closed = true;
        break;
    default:
        break;
    }
}
static const struct gate_ops gate = { .down = gate_down };

/* A feature that asks about each stanza whose id begins with '?' at CHECK, with '!' at ARCHIVE of
 * its sender, with '%' at that of its recipient. */
enum { OPEN_MAX = 8 };
static struct {
    struct stage_late late;
    uint64_t open[OPEN_MAX]; /* numbers of what it has asked, oldest first */
    char id[OPEN_MAX][TEXT_BYTES];
    unsigned count, asked;
    enum verdict at_once; /* the answer from inside; WAIT: there is none */
} asker;

static bool asks_about(const struct stanza *st, char mark)
{
    return st->id_len > 0 && st->id[0] == mark;
}

static enum verdict ask_about(struct worker *w, const struct stanza *st)
{
    uint64_t number = stage_wait(w, &asker.late);
    asker.asked++;
    if (asker.at_once != WAIT) {
        assert_true(stage_answer(w, number, asker.at_once, NULL,
                                 &(struct refusal){ .error = SE_NOT_ACCEPTABLE }));
        assert_false(stage_answer(w, number, PASS, NULL, NULL));
        return WAIT;
    }
    assert_true(asker.count < OPEN_MAX);
    snprintf(asker.id[asker.count], TEXT_BYTES, "%.*s", SLICE_ARG(stanza_id(st)));
    asker.open[asker.count++] = number;
    return WAIT;
}

static uint64_t asker_take(unsigned i)
{
    assert_true(i < asker.count);
    uint64_t number = asker.open[i];
    for (asker.count--; i < asker.count; i++) {
        asker.open[i] = asker.open[i + 1];
        memcpy(asker.id[i], asker.id[i + 1], TEXT_BYTES);
    }
    return number;
}

static enum verdict asker_check(struct session *s, struct stanza **st, struct refusal *why)
{
    (void)why;
    return asks_about(*st, '?') ? ask_about(s->account->worker, *st) : PASS;
}

static enum verdict asker_archive(struct account *of, const struct stanza *st, slice contact)
{
    (void)contact;
    return asks_about(st, of == alice ? '!' : '%') ? ask_about(of->worker, st) : PASS;
}

/* Behind it: it is asked only about what the other one lets pass. */
static unsigned behind;

static enum verdict behind_check(struct session *s, struct stanza **st, struct refusal *why)
{
    (void)s, (void)st, (void)why;
    behind++;
    return PASS;
}

/* A stanza to the domain becomes two, as with XEP-0033. */
static bool two_to_server(struct session *s, struct stanza *st, struct origin o, unsigned *awaited)
{
    static const char *const ends[] = { "1", "2" };
    char id[TEXT_BYTES];
    *awaited = 0;
    if (st->kind != STANZA_MESSAGE)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        snprintf(id, sizeof id, "%.*s%s", SLICE_ARG(stanza_id(st)), ends[i]);
        *awaited += session_said(
            s, stanza_change(st, &(struct stanza_change){ .to = bob->jid, .id = slice_of(id) }), o);
    }
    stanza_unref(&st);
    return true;
}

static unsigned noted; /* stanzas that bob had when the nonza ran */
static void note(struct session *s)
{
    (void)s;
    noted = b_stream.lines;
}

static const struct feature asker_feature = {
    .name = "asker",
    .stage.check = asker_check,
    .stage.archive = asker_archive,
    .nonzas = (const struct nonza[]){ { NONZA_CSI_ACTIVE, "urn:x", "note", note }, { 0 } },
    .session.to_server = two_to_server
};
static const struct feature behind_feature = { .name = "behind", .stage.check = behind_check };
static const struct feature *const with_asker[] = { &test_auth_feature,
                                                    &account_feature,
                                                    &session_feature,
                                                    &message_feature,
                                                    &roster_feature,
                                                    &presence_feature,
                                                    &caps_feature,
                                                    &component_shown_feature,
                                                    &asker_feature,
                                                    &behind_feature,
                                                    NULL };

static struct stanza *chat(const char *to, const char *id, size_t bytes)
{
    static char text[300 * 1024];
    int n =
        snprintf(text, sizeof text,
                 "<message from='alice@localhost/r' to='%s' type='chat' id='%s'><body>", to, id);
    memset(text + n, 'x', bytes);
    snprintf(text + n + bytes, sizeof text - (size_t)n - bytes, "</body></message>");
    return test_node_stanza(&t, text);
}

static void send(const char *id)
{
    session_up(a, &(struct up){ .kind = UP_STANZA, .st = chat("bob@localhost", id, 2) });
}

static void answer_one(unsigned i, enum verdict v)
{
    uint64_t number = asker_take(i);
    struct refusal why = { .error = SE_NOT_ACCEPTABLE };
    assert_true(stage_answer(t.w, number, v, NULL, &why));
    assert_false(stage_answer(t.w, number, v, NULL, &why)); /* once */
}

static void answer(enum verdict v) { answer_one(0, v); }

static void settle(void)
{
    test_node_run(&t, test_node_is_idle, t.store);
    test_node_tick(&t); /* acknowledgements */
    if (account_session(bob, SLICE("r")) == b)
        session_up(b, &(struct up){ .kind = UP_WRITTEN, .num = b->out_count });
}

static uint32_t handled(void)
{
    session_up(a, &(struct up){ .kind = UP_REQUEST });
    settle();
    return a_stream.h;
}

static void expect(const char *const *ids)
{
    unsigned n = 0;
    for (; ids[n] != NULL; n++) {
        assert_true(n < b_stream.lines);
        assert_string_equal(b_stream.line[n], ids[n]);
    }
    assert_int_equal(b_stream.lines, n);
}
#define EXPECT(...) expect((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static int begin(void **state)
{
    (void)state;
    memset(&a_stream, 0, sizeof a_stream);
    memset(&b_stream, 0, sizeof b_stream);
    memset(&asker, 0, sizeof asker);
    asker.late = (struct stage_late){ .ms = 600000, .verdict = DROP };
    asker.at_once = WAIT;
    noted = 0;
    a = test_node_bind(&t, alice, &a_stream, "r");
    b = test_node_bind(&t, bob, &b_stream, "r");
    session_up(b, &(struct up){ .kind = UP_STANZA,
                                .st = test_node_stanza(&t, "<presence from='bob@localhost/r'/>") });
    session_up(a, &(struct up){ .kind = UP_ENABLE, .num = 90 });
    settle();
    assert_int_equal(b_stream.lines, 0);
    behind = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    settle();
    account_end_sessions(alice, NULL, END_CLOSED);
    account_end_sessions(bob, NULL, END_CLOSED);
    settle();
    assert_int_equal(t.node->stage_waits, 0);
    assert_int_equal(core_of(t.w)->waiting.count, 0);
    assert_int_equal(core_of(t.w)->waits.map.count, 0);
    return 0;
}

static void test_nobody_waits(void **state)
{
    (void)state;
    send("m1");
    assert_false(a->waits);
    settle();
    EXPECT("m1");
    assert_int_equal(handled(), 1);
}

/* RFC 6120 §10.1. */
static void test_later_stanzas_do_not_overtake(void **state)
{
    (void)state;
    send("m1");
    send("?2");
    send("m3");
    send("?4");
    send("m5");
    settle();
    EXPECT("m1");
    assert_int_equal(handled(), 1); /* it is not handled before it went on */
    answer(PASS);
    settle();
    EXPECT("m1", "?2", "m3");
    assert_string_equal(asker.id[0], "?4");
    assert_int_equal(handled(), 3);
    answer(PASS);
    settle();
    EXPECT("m1", "?2", "m3", "?4", "m5");
    assert_int_equal(handled(), 5);
    assert_int_equal(asker.asked, 2); /* once about each */
    assert_int_equal(behind, 5);
}

static void test_refused_and_dropped(void **state)
{
    (void)state;
    send("?1");
    send("?2");
    send("m3");
    answer(REFUSE);
    assert_int_equal(a_stream.errors, 1);
    answer(DROP);
    settle();
    EXPECT("m3");
    assert_int_equal(handled(), 3);
    assert_int_equal(behind, 1);
}

static void test_answered_at_once(void **state)
{
    (void)state;
    asker.at_once = PASS;
    send("?1");
    asker.at_once = REFUSE;
    send("?2");
    asker.at_once = DROP;
    send("?3");
    assert_false(a->waits);
    assert_int_equal(a_stream.errors, 1);
    settle();
    EXPECT("?1");
    assert_int_equal(handled(), 3);
    asker.at_once = WAIT;
    send("?4");
    asker.at_once = REFUSE;
    send("?5");
    answer(PASS);
    assert_int_equal(a_stream.errors, 2);
    settle();
    EXPECT("?1", "?4");
    assert_int_equal(handled(), 5);
}

static void test_replaced(void **state)
{
    (void)state;
    send("?1");
    uint64_t number = asker_take(0);
    assert_true(stage_answer(t.w, number, PASS, chat("bob@localhost", "other", 2), NULL));
    settle();
    EXPECT("other");
    assert_false(stage_answer(t.w, number, PASS, chat("bob@localhost", "late", 2), NULL));
    settle();
    EXPECT("other");
}

static bool nothing_waits(void *unused) { return unused == NULL && !a->waits; }

static void test_no_answer(void **state)
{
    (void)state;
    asker.late = (struct stage_late){ .ms = 1, .verdict = PASS }; /* fails open */
    send("?1");
    test_node_run(&t, nothing_waits, NULL);
    asker_take(0);
    settle();
    EXPECT("?1");
    asker.late = (struct stage_late){ .ms = 1,
                                      .verdict = REFUSE,
                                      .why = { .error = SE_RESOURCE_CONSTRAINT } };
    send("?2");
    test_node_run(&t, nothing_waits, NULL);
    assert_int_equal(a_stream.errors, 1);
    EXPECT("?1");
    assert_false(stage_answer(t.w, asker_take(0), PASS, NULL, NULL));
    assert_int_equal(handled(), 2);
}

/* The whole and its parts: the second part waits for the first, and later ones for both. */
static void test_one_becomes_two(void **state)
{
    (void)state;
    session_up(a, &(struct up){ .kind = UP_STANZA, .st = chat("localhost", "?x", 2) });
    send("m2");
    answer(PASS); /* the whole */
    settle();
    EXPECT();
    answer(PASS);
    settle();
    EXPECT("?x1");
    assert_int_equal(handled(), 0);
    answer(PASS);
    settle();
    EXPECT("?x1", "?x2", "m2");
    assert_int_equal(handled(), 2);
}

static void test_other_kinds_wait_too(void **state)
{
    uint32_t number;
    (void)state;
    assert_true(nonza_find(SLICE("urn:x"), SLICE("note"), &number));
    send("?1");
    session_up(a, &(struct up){ .kind = UP_NONZA, .num = number });
    session_up(a,
               &(struct up){ .kind = UP_STANZA,
                             .st = test_node_stanza(&t, "<presence from='alice@localhost/r'/>") });
    assert_false(a->available);
    answer(PASS);
    assert_int_equal(noted, 1);
    assert_true(a->available);
    settle();
    assert_int_equal(handled(), 2);
}

static void test_what_waits_is_bounded(void **state)
{
    char id[TEXT_BYTES];
    (void)state;
    send("?0");
    for (unsigned i = 1; i < 1023; i++) {
        snprintf(id, sizeof id, "m%u", i);
        send(id);
    }
    assert_false(a_stream.held);
    send("last");
    assert_true(a_stream.held);
    answer(PASS);
    settle();
    assert_false(a_stream.held);
    assert_int_equal(handled(), 1024);
    /* by bytes */
    send("?1");
    for (unsigned i = 0; i < 3; i++)
        session_up(a, &(struct up){ .kind = UP_STANZA, .st = chat("bob@localhost", "l", 100000) });
    assert_true(a_stream.held);
    assert_true(session_wait_bytes(a) > SESSION_WAIT_BYTES);
    answer(PASS);
    assert_false(a_stream.held);
}

/* It counts for the share of its account. */
static void test_memory(void **state)
{
    (void)state;
    uint64_t share = core_of(t.w)->budget.share;
    core_of(t.w)->budget.share = 200000;
    send("?1");
    session_up(a, &(struct up){ .kind = UP_STANZA, .st = chat("bob@localhost", "m", 250000) });
    test_node_tick(&t);
    core_of(t.w)->budget.share = share;
    assert_true(a_stream.closed);
    assert_null(account_session(alice, SLICE("r")));
    assert_false(stage_answer(t.w, asker_take(0), PASS, NULL, NULL));
    settle();
    EXPECT();
}

/* A session that is thrown out loses what waits: nothing of it was acknowledged. */
static void test_the_session_ends(void **state)
{
    (void)state;
    send("?1");
    send("m2");
    session_end(a, END_KICKED);
    assert_false(stage_answer(t.w, asker_take(0), PASS, NULL, NULL));
    settle();
    EXPECT();
}

/* Who closes the stream has said it all the same. */
static void test_the_client_leaves(void **state)
{
    (void)state;
    send("?1");
    send("?2");
    session_up(a, &(struct up){ .kind = UP_GONE, .num = END_CLOSED });
    assert_ptr_equal(account_session(alice, SLICE("r")), a);
    assert_int_equal(a->sm, 1); /* it cannot come back */
    answer(PASS);
    answer(PASS);
    settle();
    EXPECT("?1", "?2");
    assert_null(account_session(alice, SLICE("r")));
}

static void resume(void)
{
    uint32_t h = a_stream.h;
    char token[sizeof a_stream.token];
    memcpy(token, a_stream.token, sizeof token);
    session_up(a, &(struct up){ .kind = UP_GONE, .num = END_LOST });
    map_del(&core_of(t.w)->streams, test_node_stream_key(&a_stream));
    session_bind(t.w, &(struct bind_request){ .link = test_node_stream(&t, &a_stream),
                                              .bare = alice->jid,
                                              .resource = slice_of(token),
                                              .resume = true,
                                              .peer = SLICE("192.0.2.1") });
    assert_int_equal(a->state, SESSION_ATTACHED);
    assert_true(a_stream.h >= h);
}

/* XEP-0198 §5: the client repeats what h does not cover, and it is handled once. */
static void test_resumed_while_it_waits(void **state)
{
    (void)state;
    send("m1");
    send("?2");
    send("m3");
    settle();
    resume();
    assert_int_equal(a_stream.h, 1);
    send("?2");
    send("m3");
    send("m4");
    assert_int_equal(handled(), 1);
    answer(PASS);
    settle();
    EXPECT("m1", "?2", "m3", "m4");
    assert_int_equal(handled(), 4);
    assert_int_equal(asker.asked, 1);
    resume();
    assert_int_equal(a_stream.h, 4);
}

/* Saved for a planned restart: its client says again what waited. */
static void test_dropped_for_a_restart(void **state)
{
    (void)state;
    send("?1");
    session_wait_drop(a);
    assert_false(a->waits);
    assert_int_equal(handled(), 0);
}

static void test_archive_of_the_sender(void **state)
{
    (void)state;
    uint64_t newest = alice->mailbox.last_id;
    send("!1");
    send("m2");
    settle();
    EXPECT();
    assert_int_equal(handled(), 0);
    answer(PASS);
    settle();
    EXPECT("!1", "m2");
    assert_int_equal(handled(), 2);
    assert_true(alice->mailbox.last_id > newest);
    newest = alice->mailbox.last_id;
    send("!3");
    answer(DROP);
    settle();
    EXPECT("!1", "m2", "!3");
    assert_int_equal(alice->mailbox.last_id, newest); /* no entry */
    assert_int_equal(handled(), 3);
    assert_int_equal(asker.asked, 2);
}

static struct stanza *presence_of(const char *id)
{
    char text[200];
    snprintf(text, sizeof text, "<presence from='alice@localhost/r' id='%s'/>", id);
    return test_node_stanza(&t, text);
}

/* All that comes to the account waits, too, however it comes. */
static void test_archive_of_the_recipient(void **state)
{
    (void)state;
    send("%1");
    send("m2");
    struct stanza *st = presence_of("p3");
    presence_arrive(t.w, bob->jid, st);
    stanza_unref(&st);
    settle();
    EXPECT();
    assert_int_equal(handled(), 0);
    answer(PASS);
    settle();
    EXPECT("%1", "m2", "p3");
    assert_int_equal(handled(), 2);
    send("%4");
    send("%5");
    answer(DROP);
    assert_true(mailbox_hides(bob, mailbox_newest(bob)));
    answer(PASS);
    assert_false(mailbox_hides(bob, mailbox_newest(bob)));
    settle();
    EXPECT("%1", "m2", "p3", "%4", "%5");
    assert_int_equal(handled(), 4);
}

static void ask_answered_by_client(struct worker *w, void *arg, const struct stanza *reply)
{
    (void)w;
    *(bool *)arg = reply != NULL && reply->type == TYPE_RESULT;
}

/* The client that is asked in the name of the account answers to its address. */
static void test_the_answer_does_not_wait(void **state)
{
    bool came = false;
    char text[200];
    (void)state;
    send("%1");
    ask_send(t.w,
             &(struct ask_request){ .type = TYPE_GET,
                                    .from = bob->jid,
                                    .to = SLICE("alice@localhost/r"),
                                    .payload = SLICE("<x xmlns='urn:x'/>"),
                                    .timeout_ms = 600000 },
             ask_answered_by_client, &came);
    assert_int_equal(a_stream.lines, 1);
    snprintf(text, sizeof text,
             "<iq type='result' id='%s' from='alice@localhost/r' to='bob@localhost'/>",
             a_stream.line[0]);
    session_up(a, &(struct up){ .kind = UP_STANZA, .st = test_node_stanza(&t, text) });
    assert_true(came);
    EXPECT();
    answer(PASS);
    settle();
    EXPECT("%1");
}

/* Its session ends, and what it had not stored is to be stored now: a second question. */
static void test_two_wait_at_one_account(void **state)
{
    struct why why;
    (void)state;
    session_up(b, &(struct up){ .kind = UP_ENABLE }); /* it does not acknowledge */
    assert_int_equal(setting_set(&im_durable_ack, SLICE("off"), &why), OK);
    send("%1");
    EXPECT("%1");
    assert_int_equal(setting_set(&im_durable_ack, SLICE("on"), &why), OK);
    send("%2");
    send("m3");
    session_end(b, END_LOST);
    assert_int_equal(asker.count, 2);
    assert_int_equal(bob->actor.pauses, 2);
    uint32_t open = bob->mailbox.open;
    answer_one(1, PASS);
    assert_int_equal(bob->mailbox.open, open + 1);
    assert_int_equal(bob->actor.inbox_stanzas, 1);
    answer(PASS);
    assert_int_equal(bob->mailbox.open, open + 3);
    settle();
    assert_int_equal(handled(), 3);
    mailbox_settle_archived(bob);
}

/* A client that was thrown out says it again: it is no repeat of what was not handled. */
static void test_said_again_after_the_end(void **state)
{
    static const char said[] =
        "<message from='alice@localhost/r' to='bob@localhost' type='chat' id='!1'><body>x</body>"
        "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>";
    (void)state;
    session_up(a, &(struct up){ .kind = UP_STANZA, .st = test_node_stanza(&t, said) });
    session_end(a, END_KICKED);
    asker_take(0);
    a = test_node_bind(&t, alice, &a_stream, "r");
    uint64_t newest = alice->mailbox.last_id;
    session_up(a, &(struct up){ .kind = UP_STANZA, .st = test_node_stanza(&t, said) });
    answer(PASS);
    assert_true(alice->mailbox.last_id > newest); /* it has an entry */
    settle();
    EXPECT("!1");
}

static void removed(void *arg, enum err e)
{
    assert_int_equal(e, OK);
    *(bool *)arg = true;
}
static bool is_true(void *flag) { return *(bool *)flag; }

static void test_the_recipient_is_deleted_meanwhile(void **state)
{
    bool done = false;
    struct account *dave = test_node_account(&t, "dave@localhost");
    (void)state;
    session_up(a, &(struct up){ .kind = UP_STANZA, .st = chat("dave@localhost", "%1", 2) });
    account_remove(dave, REMOVING_DELETES, removed, NULL, &done);
    test_node_run(&t, is_true, &done);
    assert_int_equal(dave->state, ACTOR_ABSENT);
    answer(PASS);
    assert_int_equal(a_stream.errors, 1);
    settle();
    assert_int_equal(handled(), 1);
    account_unpin(dave);
}

/* Whatever comes when, all that pass arrive once, in the order in which they were said, and h is
 * what was handled. */
static void test_any_order(void **state)
{
    enum { STEPS = 400 };
    static const char marks[] = "mm?!%";
    uint64_t random = rand_u64();
    char said[LINES_MAX][TEXT_BYTES], dropped[LINES_MAX] = { 0 };
    unsigned count = 0, at = 0;
    (void)state;
    print_message("seed %llu\n", (unsigned long long)random);
    for (unsigned i = 0; i < STEPS; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        unsigned pick = (unsigned)(random >> 33) % 100, other = (unsigned)(random >> 40);
        if (pick < 45) {
            snprintf(said[count], TEXT_BYTES, "%c%u", marks[pick % 5], count);
            send(said[count++]);
        } else if (pick < 80 && asker.count > 0) {
            int64_t n;
            unsigned which = other % asker.count;
            assert_true(slice_int(slice_of(asker.id[which] + 1), &n));
            dropped[n] = pick >= 70 && asker.id[which][0] == '?';
            answer_one(which, pick >= 70 ? DROP : PASS);
        } else if (pick < 95) {
            settle();
        } else {
            settle();
            resume();
            for (unsigned k = a_stream.h; k < count; k++)
                send(said[k]);
        }
    }
    while (asker.count > 0)
        answer(PASS);
    settle();
    assert_int_equal(handled(), count);
    for (unsigned n = 0; n < count; n++)
        if (!dropped[n])
            assert_string_equal(b_stream.line[at++], said[n]);
    assert_int_equal(b_stream.lines, at);
}

static int start(void **state)
{
    (void)state;
    test_features_use(with_asker);
    test_node_open(&t, &gate);
    alice = test_node_account(&t, "alice@localhost");
    bob = test_node_account(&t, "bob@localhost");
    return 0;
}

/* With something that waits. */
static int stop(void **state)
{
    begin(state);
    send("%1");
    send("?2");
    send("m3");
    test_node_close(&t);
    return 0;
}

int main(void)
{
#define WAIT_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        WAIT_TEST(test_nobody_waits),
        WAIT_TEST(test_later_stanzas_do_not_overtake),
        WAIT_TEST(test_refused_and_dropped),
        WAIT_TEST(test_answered_at_once),
        WAIT_TEST(test_replaced),
        WAIT_TEST(test_no_answer),
        WAIT_TEST(test_one_becomes_two),
        WAIT_TEST(test_other_kinds_wait_too),
        WAIT_TEST(test_what_waits_is_bounded),
        WAIT_TEST(test_memory),
        WAIT_TEST(test_the_session_ends),
        WAIT_TEST(test_the_client_leaves),
        WAIT_TEST(test_resumed_while_it_waits),
        WAIT_TEST(test_dropped_for_a_restart),
        WAIT_TEST(test_archive_of_the_sender),
        WAIT_TEST(test_archive_of_the_recipient),
        WAIT_TEST(test_the_answer_does_not_wait),
        WAIT_TEST(test_the_recipient_is_deleted_meanwhile),
        WAIT_TEST(test_two_wait_at_one_account),
        WAIT_TEST(test_said_again_after_the_end),
        WAIT_TEST(test_any_order),
    };
    return cmocka_run_group_tests_name("stage_wait", tests, start, stop);
}
