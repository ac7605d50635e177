/* Rosters, presence and subscriptions on a running node of two workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "account/account_actor.h"
#include "account/account_life.h"
#include "component/component_shown.h"
#include "core/test_live.h"
#include "presence/caps.h"
#include "presence/directed.h"
#include "presence/presence_in.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/roster_out.h"
#include "presence/subscription.h"
#include "xmpp/ns.h"

enum { WORKERS = 2 };

static void expect(struct stream *c, const char *one, const char *two, const char *three)
{
    live_expect_all(c, (const char *const[LIVE_PARTS]){ one, two, three });
}

static void expect_none(struct stream *c, const char *one, const char *two, const char *three)
{
    if (live_has(c, (const char *const[LIVE_PARTS]){ one, two, three }))
        fail_msg("%s got %s %s %s", c->jid, one, two, three);
}

static struct worker *home(const char *bare)
{
    uint32_t id;
    return &live.node[0]->workers[node_home(live.node[0], slice_of(bare), &id)];
}

static const char *resource(const struct stream *c) { return strchr(c->jid, '/') + 1; }

static void presence(struct stream *c, const char *to, enum stanza_type type, const char *content)
{
    const char *name = stanza_type_name(type);
    const char *address = *to == '\0' ? "" : arena_printf(live.tmp, " to='%s'", to);
    const char *kind = name == NULL ? "" : arena_printf(live.tmp, " type='%s'", name);
    live_send(c, arena_printf(live.tmp, "<presence from='%s'%s%s>%s</presence>", c->jid, address,
                              kind, content));
}

static void roster(struct stream *c, enum stanza_type type, const char *item)
{
    live_send(c, arena_printf(live.tmp,
                              "<iq from='%s' to='%s' id='r' type='%s'><query xmlns='" NS_ROSTER
                              "'>%s</query></iq>",
                              c->jid, c->bare, stanza_type_name(type), item));
    expect(c, "<iq", "id='r'", "type='result'");
}

static struct stream *login(const char *bare, const char *name)
{
    struct stream *c = live_bind(
        home(bare), &(struct bind_request){ .bare = slice_of(bare), .resource = slice_of(name) });
    assert_true(c->session != 0);
    roster(c, TYPE_GET, "");
    presence(c, "", TYPE_AVAILABLE, "");
    expect(c, "<presence", name, bare); /* its own echo */
    return c;
}

static void logout(struct stream *c)
{
    if (!c->closed) /* else the session ended it */
        live_up(c, UP_GONE, END_CLOSED, NULL);
}

/* Fixture: fresh database, five users. */

static struct store_stmt stmt_user = {
    .name = "test.user",
    .params = "it",
    .cols = "",
    .sql = "INSERT INTO account (id, jid, created_us, disabled) VALUES ($1, $2, 0, 0)",
};
static struct store_stmt stmt_lost = {
    .name = "test.lost",
    .params = "tttii",
    .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, stanza, axis, verb) VALUES ($1, $2, $3, $4, $5)",
};
static struct store_stmt stmt_left = {
    .name = "test.left", .params = "", .cols = "i", .sql = "SELECT count(*) FROM roster_out"
};
static struct store_stmt *const test_stmts[] = { &stmt_user, &stmt_lost, &stmt_left, NULL };
static const struct store_schema test_schema = { .feature = "test", .stmts = test_stmts };

static const struct feature test_feature = { .name = "test", .schema = &test_schema };
static const struct feature *const features[] = { &test_auth_feature, &account_feature,
                                                  &session_feature,   &message_feature,
                                                  &roster_feature,    &presence_feature,
                                                  &caps_feature,      &component_shown_feature,
                                                  &test_feature,      NULL };

static void start(void)
{
    static const char *const domains[] = { "x.test", NULL };
    live_open(0, WORKERS, domains);
    live_start(0);
}

static void stop(void)
{
    node_stop(live.node[0]);
    live_close(0);
}

static int setup(void **state)
{
    static const char *const users[] = { "alice@x.test", "bob@x.test", "carol@x.test",
                                         "dave@x.test", "erin@x.test" };
    (void)state;
    live_begin(features);
    start();
    struct store_batch *b = store_write(live.store[0], 1);
    for (int i = 0; i < 5; i++)
        STORE_ADD(b, &stmt_user, 1, SV_I(i + 1), SV_T(slice_of(users[i])));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop();
    live_end();
    return 0;
}

static void see_left(void *arg, enum store_result result, const struct store_batch *b)
{
    assert_int_equal(result, STORE_OK);
    *(int64_t *)arg = store_int(b, 0, 0, 0);
}

/* Announcements that were not confirmed. */
static int64_t left(void)
{
    int64_t n = -1;
    struct store_batch *b = store_read(live.store[0], 0);
    store_add(b, &stmt_left, STORE_ANY_ROWS, NULL, 0);
    assert_int_equal(store_run(b, see_left, &n), STORE_OK);
    return n;
}

/* They are confirmed after the users have been told. */
static void expect_none_left(void)
{
    for (int i = 0; i < 1000 && left() > 0; i++)
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    assert_int_equal(left(), 0);
}

/* one asks, other grants. */
static void befriend(struct stream *one, struct stream *other)
{
    presence(one, other->bare, TYPE_SUBSCRIBE, "");
    expect(one, "<iq", "ask='subscribe'", other->bare);
    expect(other, "type='subscribe'", one->bare, "");
    presence(other, one->bare, TYPE_SUBSCRIBED, "");
    expect(other, "<iq", "subscription=", one->bare);
    expect(one, "type='subscribed'", other->bare, "");
    expect(one, "<iq", "subscription=", other->bare);
    expect(one, "<presence", resource(other), "");
}

static void test_subscription(void **state)
{
    struct stream *alice, *bob;
    (void)state;
    alice = login("alice@x.test", "phone");
    bob = login("bob@x.test", "desk");
    befriend(alice, bob);
    expect_none_left();
    presence(bob, "", TYPE_AVAILABLE, "<show>away</show>");
    expect(alice, "bob@x.test/desk", "to='alice@x.test'", "<show>away</show>");
    presence(alice, "", TYPE_AVAILABLE, "<show>dnd</show>");
    expect(alice, "alice@x.test/phone", "<show>dnd</show>", "");
    expect_none(bob, "<show>dnd</show>", "", "");
    logout(bob);
    expect(alice, "bob@x.test/desk", "type='unavailable'", "");
    logout(alice);
}

/* Many pairs, so that both workers are the home of askers and of asked. */
static void test_all_pairs(void **state)
{
    static const char *const users[] = { "alice@x.test", "bob@x.test", "carol@x.test",
                                         "dave@x.test", "erin@x.test" };
    struct stream *c[5];
    (void)state;
    for (int i = 0; i < 5; i++)
        c[i] = login(users[i], "r");
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++)
            if (i != k)
                befriend(c[i], c[k]);
    expect_none_left();
    for (int i = 0; i < 5; i++) {
        presence(c[i], "", TYPE_AVAILABLE, "<status>seen</status>");
        for (int k = 0; k < 5; k++)
            expect(c[k], users[i], "<status>seen</status>", "");
    }
    for (int i = 0; i < 5; i++)
        logout(c[i]);
    c[0] = login(users[0], "new"); /* probes are answered from loaded accounts alone */
    c[1] = login(users[1], "new");
    expect(c[0], "bob@x.test/new", "<presence", "");
    expect(c[1], "alice@x.test/new", "<presence", "");
    logout(c[0]);
    logout(c[1]);
}

static void test_request_waits(void **state)
{
    struct stream *alice, *bob;
    (void)state;
    alice = login("alice@x.test", "phone");
    presence(alice, "bob@x.test/ignored", TYPE_SUBSCRIBE, "<status>hello</status>");
    expect(alice, "<iq", "ask='subscribe'", "bob@x.test");
    for (int i = 0; i < 2; i++) {
        bob = login("bob@x.test", "desk");
        expect(bob, "type='subscribe'", "from='alice@x.test'", "<status>hello</status>");
        logout(bob);
    }
    bob = login("bob@x.test", "desk");
    presence(bob, "alice@x.test", TYPE_UNSUBSCRIBED, "");
    expect(alice, "type='unsubscribed'", "bob@x.test", "");
    logout(bob);
    bob = login("bob@x.test", "desk");
    roster(bob, TYPE_GET, "");
    expect_none(bob, "type='subscribe'", "hello", "");
    expect_none_left();
    logout(alice);
    logout(bob);
}

static void test_removal(void **state)
{
    struct stream *alice, *bob;
    (void)state;
    alice = login("alice@x.test", "phone");
    bob = login("bob@x.test", "desk");
    befriend(alice, bob);
    befriend(bob, alice);
    roster(alice, TYPE_SET, "<item jid='bob@x.test' subscription='remove'/>");
    expect(alice, "<iq", "subscription='remove'", "bob@x.test");
    expect(bob, "type='unsubscribe'", "alice@x.test", "");
    expect(bob, "type='unsubscribed'", "alice@x.test", "");
    expect(bob, "<iq", "subscription='to'", "alice@x.test");
    expect(bob, "<iq", "subscription='none'", "alice@x.test");
    expect(bob, "type='unavailable'", "alice@x.test/phone", "");
    expect(alice, "type='unavailable'", "bob@x.test/desk", "");
    expect_none_left();
    logout(alice);
    logout(bob);
}

static void test_unknown_user(void **state)
{
    struct stream *alice;
    (void)state;
    alice = login("alice@x.test", "phone");
    presence(alice, "nobody@x.test", TYPE_SUBSCRIBE, "");
    expect(alice, "<iq", "ask='subscribe'", "nobody@x.test");
    presence(alice, "romeo@elsewhere.test", TYPE_SUBSCRIBE, "");
    expect(alice, "<iq", "ask='subscribe'", "romeo@elsewhere.test");
    expect(alice, "type='error'", "remote-server-not-found", "romeo@elsewhere.test");
    expect(alice, "<iq", "subscription='none'/>", "romeo@elsewhere.test");
    logout(alice);
    expect_none_left();
}

static void test_limits(void **state)
{
    struct stream *alice, *bob, *carol;
    struct why why;
    (void)state;
    assert_int_equal(setting_set(&roster_watchers_max, SLICE("1"), &why), OK);
    alice = login("alice@x.test", "phone");
    bob = login("bob@x.test", "desk");
    carol = login("carol@x.test", "desk");
    befriend(alice, carol);
    presence(bob, "carol@x.test", TYPE_SUBSCRIBE, "");
    expect(bob, "type='error'", "policy-violation", "roster.watchers-max (1)");
    expect(bob, "type='unsubscribed'", "carol@x.test", "");
    setting_reset(&roster_watchers_max);

    assert_int_equal(setting_set(&roster_contacts_max, SLICE("1"), &why), OK);
    presence(alice, "bob@x.test", TYPE_SUBSCRIBE, "");
    expect(alice, "type='error'", "policy-violation", "roster.contacts-max (1)");
    setting_reset(&roster_contacts_max);
    presence(alice, "", TYPE_AVAILABLE, "<priority>128</priority>");
    expect(alice, "type='error'", "bad-request", "priority");
    logout(alice);
    logout(bob);
    logout(carol);
}

static void test_directed(void **state)
{
    struct stream *alice, *bob;
    struct why why;
    (void)state;
    alice = login("alice@x.test", "phone");
    bob = login("bob@x.test", "desk");
    presence(alice, "bob@x.test/desk", TYPE_AVAILABLE, "<status>direct</status>");
    expect(bob, "<status>direct</status>", "alice@x.test/phone", "");
    assert_int_equal(setting_set(&directed_max, SLICE("16"), &why), OK);
    for (int i = 0; i < 16; i++) {
        char to[64];
        snprintf(to, sizeof to, "bob@x.test/r%d", i);
        presence(alice, to, TYPE_AVAILABLE, "");
    }
    expect(alice, "type='error'", "policy-violation", "/r15");
    setting_reset(&directed_max);
    logout(alice);
    expect(bob, "type='unavailable'", "alice@x.test/phone", "");
    logout(bob);
}

static void removed(void *arg, enum err e)
{
    assert_int_equal(e, OK);
    live_set(arg);
}

static void remove_now(struct account *a, enum err e, void *arg)
{
    assert_int_equal(e, OK);
    account_remove(a, REMOVING_DELETES, removed, NULL, arg);
}

static void remove_alice(struct worker *w, void *arg)
{
    account_with(w, SLICE("alice@x.test"), remove_now, arg);
}

static void test_account_removed(void **state)
{
    struct stream *alice, *bob, *carol;
    bool done = false;
    (void)state;
    alice = login("alice@x.test", "phone");
    bob = login("bob@x.test", "desk");
    carol = login("carol@x.test", "desk");
    befriend(alice, bob);
    befriend(bob, alice);
    roster(carol, TYPE_SET, "<item jid='alice@x.test' name='only in the book'/>");
    node_call(live.node[0], home("alice@x.test")->index, remove_alice, &done);
    LIVE_AWAIT(done);
    LIVE_AWAIT(alice->closed);
    expect(bob, "type='unavailable'", "alice@x.test/phone", "");
    expect(bob, "<iq", "subscription='remove'", "alice@x.test");
    expect(carol, "<iq", "subscription='remove'", "alice@x.test");
    expect_none_left();
    logout(alice);
    logout(bob);
    logout(carol);
}

/* An announcement that was committed when the process died reaches the other side after the start.
 */
static void test_replay(void **state)
{
    struct stream *alice, *bob;
    (void)state;
    alice = login("alice@x.test", "phone");
    presence(alice, "bob@x.test", TYPE_SUBSCRIBE, "");
    expect(alice, "<iq", "ask='subscribe'", "bob@x.test");
    bob = login("bob@x.test", "desk");
    expect(bob, "type='subscribe'", "alice@x.test", "");
    presence(bob, "alice@x.test", TYPE_UNSUBSCRIBED, "");
    expect(alice, "<iq", "subscription='none'/>", "");
    presence(alice, "bob@x.test", TYPE_SUBSCRIBE, "");
    expect(alice, "<iq", "ask='subscribe'", "bob@x.test");
    expect(bob, "type='subscribe'", "alice@x.test", "");
    presence(bob, "alice@x.test", TYPE_SUBSCRIBED, "");
    expect(alice, "type='subscribed'", "", "");
    logout(alice);
    logout(bob);

    struct store_batch *b = store_write(live.store[0], 1);
    STORE_ADD(b, &stmt_lost, 1, SV_T(SLICE("bob@x.test")), SV_T(SLICE("carol@x.test")),
              SV_T(SLICE("<presence from='bob@x.test' to='carol@x.test' type='subscribe'/>")),
              SV_I(AXIS_WISH), SV_I(SUB_SUBSCRIBE)); /* bob's roster says otherwise */
    STORE_ADD(b, &stmt_lost, 1, SV_T(SLICE("alice@x.test")), SV_T(SLICE("carol@x.test")),
              SV_T(SLICE("<presence from='alice@x.test' to='carol@x.test' type='unsubscribed'/>")),
              SV_I(AXIS_GRANT), SV_I(SUB_UNSUBSCRIBED)); /* repeats are harmless */
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    stop();
    start();
    expect_none_left();
    bob = login("bob@x.test", "desk");
    alice = login("alice@x.test", "phone");
    expect(alice, "<presence", "bob@x.test/desk", "");
    logout(alice);
    logout(bob);
}

/* More than may wait for bob, who is being loaded, and then the word. */
static void fill_inbox(struct worker *w, void *done)
{
    struct stanza *word = stanza_make(STANZA_PRESENCE, TYPE_UNSUBSCRIBED, SLICE("alice@x.test"),
                                      SLICE("bob@x.test"), (slice){ 0 }, (slice){ 0 });
    for (int i = 0; i < ACTOR_INBOX_MAX; i++)
        (void)account_receive(w,
                              stanza_make(STANZA_MESSAGE, TYPE_ERROR, SLICE("alice@x.test"),
                                          SLICE("bob@x.test"), (slice){ 0 }, (slice){ 0 }),
                              ORIGIN_NONE, 0, 0);
    (void)account_receive(w, word, ORIGIN_NONE, 0, 0);
    live_set(done);
}

static void test_word_that_finds_the_inbox_full(void **state)
{
    struct stream *alice;
    bool done = false;
    (void)state;
    alice = login("alice@x.test", "phone");
    struct store_batch *b = store_write(live.store[0], 1);
    STORE_ADD(b, &stmt_lost, 1, SV_T(SLICE("alice@x.test")), SV_T(SLICE("bob@x.test")),
              SV_T(SLICE("<presence from='alice@x.test' to='bob@x.test' type='unsubscribed'/>")),
              SV_I(AXIS_GRANT), SV_I(SUB_UNSUBSCRIBED));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    node_call(live.node[0], home("bob@x.test")->index, fill_inbox, &done);
    LIVE_AWAIT(done);
    expect_none_left();
    logout(alice);
}

/* Presence that comes while bob has handled the first of two things that waited for him. */
static void presence_between(struct account *a, enum err e, void *unused)
{
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_AVAILABLE, SLICE("alice@x.test/phone"),
                                    (slice){ 0 }, (slice){ 0 }, SLICE("<status>between</status>"));
    (void)e, (void)unused;
    presence_arrive(a->worker, a->jid, st);
    stanza_unref(&st);
}

static void nothing_more(struct account *a, enum err e, void *done)
{
    (void)a, (void)e;
    live_set(done);
}

static void behind_a_pause(struct worker *w, void *done)
{
    struct account *a = account_find(w, SLICE("bob@x.test"));
    actor_pause(&a->actor);
    account_with(w, a->jid, presence_between, NULL);
    account_with(w, a->jid, nothing_more, done);
    actor_unpause(&a->actor);
    actor_go_on(&a->actor);
}

static void test_presence_while_more_waits(void **state)
{
    struct stream *bob;
    bool done = false;
    (void)state;
    bob = login("bob@x.test", "desk");
    node_call(live.node[0], home("bob@x.test")->index, behind_a_pause, &done);
    LIVE_AWAIT(done);
    expect(bob, "alice@x.test/phone", "<status>between</status>", "");
    logout(bob);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_subscription),
        CASE(test_all_pairs),
        CASE(test_request_waits),
        CASE(test_removal),
        CASE(test_unknown_user),
        CASE(test_limits),
        CASE(test_directed),
        CASE(test_account_removed),
        CASE(test_replay),
        CASE(test_word_that_finds_the_inbox_full),
        CASE(test_presence_while_more_waits),
    };
    return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
