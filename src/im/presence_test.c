/* Rosters, presence and subscriptions on a running node with two workers: clients are streams of a
 * gate that writes down what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "auth/auth.h"
#include "base/buf.h"
#include "base/mem.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/gate.h"
#include "im/node.h"
#include "im/presence.h"
#include "im/roster.h"
#include "im/rows.h"
#include "im/server.h"
#include "im/subscription.h"
#include "im/worker.h"
#include "xmpp/ns.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_S = 10, WORKERS = 2 };

/* A client: what it was sent and has not expected yet. */
struct stream {
    const char *bare, *resource;
    uint64_t id;
    struct worker *worker;
    struct session *session;
    struct buf got; /* each stanza ends with a NUL */
    bool bound, closed, gone;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct node *node;
static struct store *store;
static char dir[64];

static void gate_down(struct stream *c, const struct down *d)
{
    pthread_mutex_lock(&lock);
    if (d->kind == DOWN_BOUND) {
        c->session = d->local;
        c->bound = true;
    } else if (d->kind == DOWN_REFUSED) {
        fprintf(stderr, "refused: %s %.*s\n", stanza_error_name(d->error), SLICE_ARG(d->text));
    } else if (d->kind == DOWN_CLOSE) {
        c->closed = true;
    } else if (d->kind == DOWN_STANZA) {
        char *at = buf_reserve(&c->got, stanza_write_max(d->st, d->note) + 1);
        size_t len = stanza_write(at, d->st, d->note);
        at[len] = '\0';
        c->got.len += len + 1;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
static slice stream_key(const void *stream)
{
    const struct stream *c = stream;
    return (slice){ (const char *)&c->id, sizeof c->id };
}
static void gate_start(struct worker *w) { map_init(&w->streams, stream_key); }
static void gate_stop(struct worker *w) { map_fini(&w->streams); }
static void gate_end(struct worker *w) { (void)w; }
static bool gate_idle(struct worker *w) { return w != NULL; }
static void gate_arrive(struct worker *w, void *conn) { (void)w, (void)conn; }
static void gate_pressure(struct worker *w, bool on) { (void)w, (void)on; }

static const struct gate_ops gate = { .start = gate_start,
                                      .stop = gate_stop,
                                      .idle = gate_idle,
                                      .down = gate_down,
                                      .arrive = gate_arrive,
                                      .pressure = gate_pressure,
                                      .end = gate_end };

/* Takes out the first stanza that has all three texts. */
static bool take(struct stream *c, const char *const parts[3])
{
    for (size_t at = 0; at < c->got.len;) {
        char *text = c->got.ptr + at;
        size_t len = strlen(text) + 1;
        if (strstr(text, parts[0]) != NULL && strstr(text, parts[1]) != NULL &&
            strstr(text, parts[2]) != NULL) {
            memmove(text, text + len, c->got.len - at - len);
            c->got.len -= len;
            return true;
        }
        at += len;
    }
    return false;
}

static void wait_for(const char *what, bool *flag, struct stream *c, const char *const parts[3])
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&lock);
    int late = 0;
    while (late == 0 && !(flag != NULL ? *flag : take(c, parts)))
        late = pthread_cond_timedwait(&changed, &lock, &until);
    for (size_t at = 0; late != 0 && c != NULL && at < c->got.len;
         at += strlen(c->got.ptr + at) + 1)
        fprintf(stderr, "%s has: %s\n", c->bare, c->got.ptr + at);
    pthread_mutex_unlock(&lock);
    if (late != 0)
        fail_msg("%s: nothing like %s %s %s", what, parts[0], parts[1], parts[2]);
}

static void expect(struct stream *c, const char *one, const char *two, const char *three)
{
    wait_for(c->bare, NULL, c, (const char *const[]){ one, two, three });
}

static void expect_none(struct stream *c, const char *one, const char *two, const char *three)
{
    pthread_mutex_lock(&lock);
    bool found = take(c, (const char *const[]){ one, two, three });
    pthread_mutex_unlock(&lock);
    if (found)
        fail_msg("%s got %s %s %s", c->bare, one, two, three);
}

/* Runs on the home of an account. */

static struct worker *home(const char *bare)
{
    uint32_t id;
    return &node->workers[node_home(node, slice_of(bare), &id)];
}

struct order {
    struct stream *client;
    struct stanza *st;
};

static void bind_it(struct worker *w, void *arg)
{
    struct stream *c = arg;
    c->id = ++w->next_id << 16 | w->index;
    map_put(&w->streams, c);
    struct bind_request req = { .link = { c, c->id, node->id },
                                .bare = slice_of(c->bare),
                                .resource = slice_of(c->resource),
                                .peer = SLICE("::1") };
    session_bind(w, &req);
}

static void give_it(struct worker *w, void *arg)
{
    struct order *o = arg;
    (void)w;
    session_up(o->client->session, &(struct up){ .kind = UP_STANZA, .st = o->st });
    mem_free(&o);
}

static void end_it(struct worker *w, void *arg)
{
    struct stream *c = arg;
    map_del(&w->streams, stream_key(c));
    if (!c->closed) /* else the session ended it */
        session_up(c->session, &(struct up){ .kind = UP_GONE, .num = END_CLOSED });
    pthread_mutex_lock(&lock);
    c->gone = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void send(struct stream *c, struct stanza *st)
{
    struct order *o = mem_new(struct order);
    *o = (struct order){ c, st };
    node_call(node, c->worker->index, give_it, o);
}

static void presence(struct stream *c, const char *to, enum stanza_type type, const char *content)
{
    send(c, stanza_make(STANZA_PRESENCE, type, c->session->jid, slice_of(to), (slice){ 0 },
                        slice_of(content)));
}

static void roster(struct stream *c, enum stanza_type type, const char *item)
{
    char xml[512];
    int len = snprintf(xml, sizeof xml, "<query xmlns='" NS_ROSTER "'>%s</query>", item);
    send(c, stanza_make(STANZA_IQ, type, c->session->jid, slice_of(c->bare), SLICE("r"),
                        (slice){ xml, (size_t)len }));
    expect(c, "<iq", "id='r'", "type='result'");
}

static void login(struct stream *c, const char *bare, const char *resource)
{
    *c = (struct stream){ .bare = bare, .resource = resource, .worker = home(bare) };
    buf_init(&c->got, 1 << 20);
    node_call(node, c->worker->index, bind_it, c);
    wait_for("bind", &c->bound, c, (const char *const[]){ "", "", "" });
    assert_non_null(c->session);
    roster(c, TYPE_GET, "");
    presence(c, "", TYPE_AVAILABLE, "");
    expect(c, "<presence", resource, bare); /* its own echo */
}

static void logout(struct stream *c)
{
    node_call(node, c->worker->index, end_it, c);
    wait_for("end", &c->gone, c, (const char *const[]){ "", "", "" });
    buf_fini(&c->got);
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

static const struct feature *const features[] = { &account_feature,  &session_feature,
                                                  &message_feature,  &roster_feature,
                                                  &presence_feature, NULL };

static void register_all(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    for (struct setting *const *s = auth_settings; *s != NULL; s++)
        setting_register(*s);
    for (const struct feature *const *f = features; *f != NULL; f++) {
        for (struct setting *const *s = (*f)->settings; s != NULL && *s != NULL; s++)
            setting_register(*s);
        for (struct metric *const *m = (*f)->metrics; m != NULL && *m != NULL; m++)
            metric_register(*m);
    }
    features_set(features);
}

static void start(void)
{
    static const char *const domains[] = { "x.test", NULL };
    static const struct store_schema *schemas[16] = { &auth_schema, &test_schema };
    unsigned count = 2;
    char url[96];
    struct why why;
    for (const struct feature *const *f = features; *f != NULL; f++)
        if ((*f)->schema != NULL)
            schemas[count++] = (*f)->schema;
    snprintf(url, sizeof url, "sqlite:%s/db", dir);
    struct store_conf conf = { .url = url, .schemas = schemas };
    if (store_open(&store, &conf, &why) != OK)
        fail_msg("%s", why.text);
    struct node_conf node_conf = {
        .id = 1, .name = "n", .domains = domains, .workers = WORKERS, .store = store, .gate = &gate
    };
    if (node_create(&node, &node_conf, &why) != OK || node_start(node, &why) != OK)
        fail_msg("%s", why.text);
}

static void stop(void)
{
    node_stop(node);
    store_close(&store);
    node_destroy(&node);
}

static int setup(void **state)
{
    static const char *const users[] = { "alice@x.test", "bob@x.test", "carol@x.test",
                                         "dave@x.test", "erin@x.test" };
    (void)state;
    register_all();
    snprintf(dir, sizeof dir, "/tmp/presence_test.XXXXXX");
    assert_non_null(mkdtemp(dir));
    start();
    struct store_batch *b = store_write(store, 1);
    for (int i = 0; i < 5; i++)
        STORE_ADD(b, &stmt_user, 1, SV_I(i + 1), SV_T(slice_of(users[i])));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    return 0;
}

static int teardown(void **state)
{
    static const char *const files[] = { "db", "db-wal", "db-shm" };
    char path[96];
    (void)state;
    stop();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
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
    struct store_batch *b = store_read(store, 0);
    store_add(b, &stmt_left, STORE_ANY_ROWS, NULL, 0);
    assert_int_equal(store_run(b, see_left, &n), STORE_OK);
    return n;
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
    expect(one, "<presence", other->resource, "");
}

static void test_subscription(void **state)
{
    struct stream alice, bob;
    (void)state;
    login(&alice, "alice@x.test", "phone");
    login(&bob, "bob@x.test", "desk");
    befriend(&alice, &bob);
    assert_int_equal(left(), 0);
    presence(&bob, "", TYPE_AVAILABLE, "<show>away</show>");
    expect(&alice, "bob@x.test/desk", "to='alice@x.test'", "<show>away</show>");
    presence(&alice, "", TYPE_AVAILABLE, "<show>dnd</show>");
    expect(&alice, "alice@x.test/phone", "<show>dnd</show>", "");
    expect_none(&bob, "<show>dnd</show>", "", "");
    logout(&bob);
    expect(&alice, "bob@x.test/desk", "type='unavailable'", "");
    logout(&alice);
}

/* Many pairs, so that both workers are the home of askers and of asked. */
static void test_all_pairs(void **state)
{
    static const char *const users[] = { "alice@x.test", "bob@x.test", "carol@x.test",
                                         "dave@x.test", "erin@x.test" };
    struct stream c[5];
    (void)state;
    for (int i = 0; i < 5; i++)
        login(&c[i], users[i], "r");
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++)
            if (i != k)
                befriend(&c[i], &c[k]);
    assert_int_equal(left(), 0);
    for (int i = 0; i < 5; i++) {
        presence(&c[i], "", TYPE_AVAILABLE, "<status>seen</status>");
        for (int k = 0; k < 5; k++)
            expect(&c[k], users[i], "<status>seen</status>", "");
    }
    for (int i = 0; i < 5; i++)
        logout(&c[i]);
    login(&c[0], users[0], "new"); /* probes are answered from loaded accounts alone */
    login(&c[1], users[1], "new");
    expect(&c[0], "bob@x.test/new", "<presence", "");
    expect(&c[1], "alice@x.test/new", "<presence", "");
    logout(&c[0]);
    logout(&c[1]);
}

static void test_request_waits(void **state)
{
    struct stream alice, bob;
    (void)state;
    login(&alice, "alice@x.test", "phone");
    presence(&alice, "bob@x.test/ignored", TYPE_SUBSCRIBE, "<status>hello</status>");
    expect(&alice, "<iq", "ask='subscribe'", "bob@x.test");
    for (int i = 0; i < 2; i++) {
        login(&bob, "bob@x.test", "desk");
        expect(&bob, "type='subscribe'", "from='alice@x.test'", "<status>hello</status>");
        logout(&bob);
    }
    login(&bob, "bob@x.test", "desk");
    presence(&bob, "alice@x.test", TYPE_UNSUBSCRIBED, "");
    expect(&alice, "type='unsubscribed'", "bob@x.test", "");
    logout(&bob);
    login(&bob, "bob@x.test", "desk");
    roster(&bob, TYPE_GET, "");
    expect_none(&bob, "type='subscribe'", "hello", "");
    assert_int_equal(left(), 0);
    logout(&alice);
    logout(&bob);
}

static void test_removal(void **state)
{
    struct stream alice, bob;
    (void)state;
    login(&alice, "alice@x.test", "phone");
    login(&bob, "bob@x.test", "desk");
    befriend(&alice, &bob);
    befriend(&bob, &alice);
    roster(&alice, TYPE_SET, "<item jid='bob@x.test' subscription='remove'/>");
    expect(&alice, "<iq", "subscription='remove'", "bob@x.test");
    expect(&bob, "type='unsubscribe'", "alice@x.test", "");
    expect(&bob, "type='unsubscribed'", "alice@x.test", "");
    expect(&bob, "<iq", "subscription='to'", "alice@x.test");
    expect(&bob, "<iq", "subscription='none'", "alice@x.test");
    expect(&bob, "type='unavailable'", "alice@x.test/phone", "");
    expect(&alice, "type='unavailable'", "bob@x.test/desk", "");
    assert_int_equal(left(), 0);
    logout(&alice);
    logout(&bob);
}

static void test_unknown_user(void **state)
{
    struct stream alice;
    (void)state;
    login(&alice, "alice@x.test", "phone");
    presence(&alice, "nobody@x.test", TYPE_SUBSCRIBE, "");
    expect(&alice, "<iq", "ask='subscribe'", "nobody@x.test");
    expect(&alice, "type='unsubscribed'", "nobody@x.test", "");
    expect(&alice, "<iq", "subscription='none'/>", "nobody@x.test");
    presence(&alice, "romeo@elsewhere.test", TYPE_SUBSCRIBE, "");
    expect(&alice, "<iq", "ask='subscribe'", "romeo@elsewhere.test");
    expect(&alice, "type='error'", "remote-server-not-found", "romeo@elsewhere.test");
    logout(&alice);
    assert_int_equal(left(), 0);
}

static void test_limits(void **state)
{
    struct stream alice, bob, carol;
    struct why why;
    (void)state;
    assert_int_equal(setting_set(&roster_watchers_max, SLICE("1"), &why), OK);
    login(&alice, "alice@x.test", "phone");
    login(&bob, "bob@x.test", "desk");
    login(&carol, "carol@x.test", "desk");
    befriend(&alice, &carol);
    presence(&bob, "carol@x.test", TYPE_SUBSCRIBE, "");
    expect(&bob, "type='error'", "policy-violation", "roster.watchers-max (1)");
    expect(&bob, "type='unsubscribed'", "carol@x.test", "");
    setting_reset(&roster_watchers_max);

    assert_int_equal(setting_set(&roster_contacts_max, SLICE("1"), &why), OK);
    presence(&alice, "bob@x.test", TYPE_SUBSCRIBE, "");
    expect(&alice, "type='error'", "policy-violation", "roster.contacts-max (1)");
    setting_reset(&roster_contacts_max);
    presence(&alice, "", TYPE_AVAILABLE, "<priority>128</priority>");
    expect(&alice, "type='error'", "bad-request", "priority");
    logout(&alice);
    logout(&bob);
    logout(&carol);
}

static void test_directed(void **state)
{
    struct stream alice, bob;
    (void)state;
    login(&alice, "alice@x.test", "phone");
    login(&bob, "bob@x.test", "desk");
    presence(&alice, "bob@x.test/desk", TYPE_AVAILABLE, "<status>direct</status>");
    expect(&bob, "<status>direct</status>", "alice@x.test/phone", "");
    for (int i = 0; i < DIRECTED_MAX; i++) {
        char to[64];
        snprintf(to, sizeof to, "bob@x.test/r%d", i);
        presence(&alice, to, TYPE_AVAILABLE, "");
    }
    expect(&alice, "type='error'", "policy-violation", "/r255");
    logout(&alice);
    expect(&bob, "type='unavailable'", "alice@x.test/phone", "");
    logout(&bob);
}

static void removed(void *arg, enum err e)
{
    pthread_mutex_lock(&lock);
    *(bool *)arg = e == OK;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void remove_now(struct account *a, enum err e, void *arg)
{
    assert_int_equal(e, OK);
    account_remove(a, removed, arg);
}

static void remove_alice(struct worker *w, void *arg)
{
    account_with(w, SLICE("alice@x.test"), remove_now, arg);
}

static void test_account_removed(void **state)
{
    struct stream alice, bob, carol;
    bool done = false;
    (void)state;
    login(&alice, "alice@x.test", "phone");
    login(&bob, "bob@x.test", "desk");
    login(&carol, "carol@x.test", "desk");
    befriend(&alice, &bob);
    befriend(&bob, &alice);
    roster(&carol, TYPE_SET, "<item jid='alice@x.test' name='only in the book'/>");
    node_call(node, home("alice@x.test")->index, remove_alice, &done);
    wait_for("removal", &done, &alice, (const char *const[]){ "", "", "" });
    wait_for("close", &alice.closed, &alice, (const char *const[]){ "", "", "" });
    expect(&bob, "type='unavailable'", "alice@x.test/phone", "");
    expect(&bob, "<iq", "subscription='remove'", "alice@x.test");
    expect(&carol, "<iq", "subscription='remove'", "alice@x.test");
    assert_int_equal(left(), 0);
    logout(&alice);
    logout(&bob);
    logout(&carol);
}

/* An announcement that was committed when the process died reaches the other side after the start.
 */
static void test_replay(void **state)
{
    struct stream alice, bob;
    (void)state;
    login(&alice, "alice@x.test", "phone");
    presence(&alice, "bob@x.test", TYPE_SUBSCRIBE, "");
    expect(&alice, "<iq", "ask='subscribe'", "bob@x.test");
    login(&bob, "bob@x.test", "desk");
    expect(&bob, "type='subscribe'", "alice@x.test", "");
    presence(&bob, "alice@x.test", TYPE_UNSUBSCRIBED, "");
    expect(&alice, "<iq", "subscription='none'/>", "");
    presence(&alice, "bob@x.test", TYPE_SUBSCRIBE, "");
    expect(&alice, "<iq", "ask='subscribe'", "bob@x.test");
    expect(&bob, "type='subscribe'", "alice@x.test", "");
    presence(&bob, "alice@x.test", TYPE_SUBSCRIBED, "");
    expect(&alice, "type='subscribed'", "", "");
    logout(&alice);
    logout(&bob);

    struct store_batch *b = store_write(store, 1);
    STORE_ADD(b, &stmt_lost, 1, SV_T(SLICE("bob@x.test")), SV_T(SLICE("carol@x.test")),
              SV_T(SLICE("<presence from='bob@x.test' to='carol@x.test' type='subscribe'/>")),
              SV_I(0), SV_I(SUB_SUBSCRIBE)); /* bob's roster says otherwise */
    STORE_ADD(b, &stmt_lost, 1, SV_T(SLICE("alice@x.test")), SV_T(SLICE("carol@x.test")),
              SV_T(SLICE("<presence from='alice@x.test' to='carol@x.test' type='unsubscribed'/>")),
              SV_I(1), SV_I(SUB_UNSUBSCRIBED)); /* repeats are harmless */
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    stop();
    start();
    for (int i = 0; i < 1000 && left() > 0; i++)
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    assert_int_equal(left(), 0);
    login(&bob, "bob@x.test", "desk");
    login(&alice, "alice@x.test", "phone");
    expect(&alice, "<presence", "bob@x.test/desk", "");
    logout(&alice);
    logout(&bob);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_subscription), CASE(test_all_pairs),       CASE(test_request_waits),
        CASE(test_removal),      CASE(test_unknown_user),    CASE(test_limits),
        CASE(test_directed),     CASE(test_account_removed), CASE(test_replay),
    };
    return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
