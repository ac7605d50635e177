/* Loading, and what a login that is older than the account gets. */
#include "account/account.h"
#include "account/account_actor.h"
#include "account/account_life.h"
#include "base/mem.h"
#include "core/core.h"
#include "core/test_node.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct stream {
    uint64_t id;
    unsigned bound, refused;
};

static struct test_node t;
static struct stream stream;

static void gate_down(struct stream *s, const struct down *d)
{
    s->bound += d->kind == DOWN_BOUND;
    s->refused += d->kind == DOWN_REFUSED;
}
static const struct gate_ops gate = { .down = gate_down };

static int start(void **state)
{
    (void)state;
    test_node_open(&t, &gate);
    return 0;
}
static int stop(void **state)
{
    (void)state;
    test_node_close(&t);
    return 0;
}

struct change {
    bool done;
    enum err e;
    int64_t generation;
};

static void changed(void *arg, enum err e, const struct credentials *c)
{
    struct change *change = arg;
    *change = (struct change){ true, e, c == NULL ? 0 : c->generation };
}
static bool is_changed(void *arg) { return ((struct change *)arg)->done; }

static int64_t change_password(slice jid)
{
    struct change c = { 0 };
    credentials_set(&t.w->auth, jid, SLICE("another-one"), changed, &c);
    test_node_run(&t, is_changed, &c);
    assert_int_equal(c.e, OK);
    return c.generation;
}

/* As after a minute in which nobody was there. */
static void forget(struct account *a)
{
    account_unpin(a);
    assert_true(mailbox_clean(a));
    actor_unload(&a->actor);
}

static bool is_answered(void *arg)
{
    const struct stream *s = arg;
    return s->bound + s->refused > 0;
}

static bool binds(const char *jid, int64_t id, int64_t generation)
{
    map_del(&core_of(t.w)->streams, test_node_stream_key(&stream));
    stream = (struct stream){ 0 };
    session_bind(t.w, &(struct bind_request){ .link = test_node_stream(&t, &stream),
                                              .bare = slice_of(jid),
                                              .resource = SLICE("r"),
                                              .account_id = id,
                                              .generation = generation,
                                              .peer = SLICE("192.0.2.1") });
    test_node_run(&t, is_answered, &stream);
    assert_int_equal(stream.bound + stream.refused, 1);
    return stream.bound == 1;
}

/* Whoever authenticated with the old password does not bind, however long ago it was changed. */
static void test_an_old_password(void **state)
{
    static const char jid[] = "u1@localhost";
    (void)state;
    struct account *a = test_node_account(&t, jid);
    int64_t id = a->id;
    assert_true(binds(jid, id, 0));
    int64_t generation = change_password(slice_of(jid));
    assert_int_equal(generation, 1);
    assert_int_equal(account_password_changed(a, NULL, generation), 1);
    assert_false(binds(jid, id, 0));
    forget(a);
    assert_null(account_find(t.w, slice_of(jid)));
    assert_false(binds(jid, id, 0));
    assert_true(binds(jid, id, 1));
    session_end(account_session(account_find(t.w, slice_of(jid)), SLICE("r")), END_CLOSED);
}

static void tell(const char *jid, size_t bytes)
{
    char *xml = mem_alloc(bytes + 200);
    int n = snprintf(xml, 200, "<message from='x@localhost/r' to='%s' type='chat'><body>", jid);
    memset(xml + n, 'x', bytes);
    snprintf(xml + n + bytes, 100, "</body></message>");
    (void)account_receive(t.w, test_node_stanza(&t, xml), ORIGIN_NONE, 0, 0);
    mem_free(&xml);
}

static bool is_loaded(void *arg) { return ((struct account *)arg)->state != ACTOR_LOADING; }

/* While an account is loaded, what comes for it waits; not without end. */
static void test_the_inbox_is_limited_in_bytes(void **state)
{
    static const char jid[] = "nobody@localhost";
    enum { LARGE = 300 << 10, MOST = 6 << 20 };
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        tell(jid, LARGE);
    struct account *a = account_of(actors_find(&core_of(t.w)->accounts, slice_of(jid)));
    assert_int_equal(a->state, ACTOR_LOADING);
    assert_true(a->actor.inbox_stanzas > 10 && a->actor.inbox_stanzas < 100);
    assert_true(a->actor.inbox_bytes > 4 << 20 && a->actor.inbox_bytes < MOST);
    assert_true(metric_read(&stanza_bytes) < 2 * MOST);
    account_pin(a);
    test_node_run(&t, is_loaded, a);
    assert_int_equal(a->actor.inbox_stanzas, 0);
    assert_int_equal(a->actor.inbox_bytes, 0);
    account_unpin(a);
}

/* A login may come before its home hears of the new password; from then on the old one is out. */
static void test_a_new_password_that_is_not_known_yet(void **state)
{
    static const char jid[] = "u2@localhost";
    (void)state;
    struct account *a = test_node_account(&t, jid);
    assert_int_equal(change_password(slice_of(jid)), 1);
    assert_true(binds(jid, a->id, 1));
    assert_false(binds(jid, a->id, 0));
    session_end(account_session(a, SLICE("r")), END_CLOSED);
}

static void remove_row(struct account *a)
{
    struct store_batch *b = store_write(t.store, credentials_lane(a->jid));
    credentials_add_delete(b, a->id);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
}

static void note(struct account *a, enum err e, void *arg)
{
    assert_int_equal(e, OK);
    *(struct account **)arg = a->state == ACTOR_READY ? a : NULL;
}

/* The account was made anew since a client authenticated. Its load begins with an id that is gone,
 * and whatever waits for it must not hear that there is no such account. */
static void test_an_id_that_is_gone(void **state)
{
    static const char jid[] = "u3@localhost";
    struct account *found = NULL;
    (void)state;
    struct account *a = test_node_account(&t, jid);
    int64_t id = a->id;
    remove_row(a);
    forget(a);
    a = test_node_account(&t, jid);
    assert_int_not_equal(a->id, id);
    int64_t now = a->id;
    forget(a);
    map_del(&core_of(t.w)->streams, test_node_stream_key(&stream));
    stream = (struct stream){ 0 };
    session_bind(t.w, &(struct bind_request){ .link = test_node_stream(&t, &stream),
                                              .bare = SLICE("u3@localhost"),
                                              .account_id = id,
                                              .peer = SLICE("192.0.2.1") });
    account_with(t.w, slice_of(jid), note, &found);
    test_node_run(&t, is_answered, &stream);
    assert_int_equal(stream.refused, 1);
    assert_non_null(found);
    assert_int_equal(found->id, now);
}

/* Somebody looked just before the account came to be, and the answer is under way. */
static void test_an_answer_that_is_too_old(void **state)
{
    static const char jid[] = "u4@localhost";
    struct account *found = NULL;
    char path[64];
    sqlite3 *other;
    (void)state;
    account_with(t.w, slice_of(jid), note, &found);
    struct store_batch *b = store_read(t.store, credentials_lane(slice_of(jid)));
    STORE_ADD(b, account_stmts[0], STORE_ANY_ROWS, SV_T(slice_of(jid)));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK); /* behind the look-up */
    snprintf(path, sizeof path, "%s/db", t.dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other,
                                  "INSERT INTO account(jid, created_us, disabled)"
                                  " VALUES('u4@localhost', 0, 0)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(other);
    account_forget(t.w, slice_of(jid));
    test_node_run(&t, test_node_is_idle, t.store);
    assert_non_null(found);
}

static void disabled(void *arg, enum err e)
{
    assert_int_equal(e, OK);
    *(bool *)arg = true;
}
static bool is_true(void *arg) { return *(bool *)arg; }

static void disable(struct account *a)
{
    bool done = false;
    account_disable(a, disabled, &done);
    test_node_run(&t, is_true, &done);
    assert_int_equal(a->state, ACTOR_ABSENT);
}

static void enable(struct account *a)
{
    struct store_batch *b = store_write(t.store, credentials_lane(a->jid));
    STORE_ADD(b, &account_put_disabled, 1, SV_I(a->id), SV_I(ACCOUNT_ENABLED));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    account_forget(t.w, a->jid);
}

/* A disabled account stays in memory, ABSENT, while something pins it. When it is enabled again, it
 * loads at the next request or message. */
static void test_enabled_while_it_is_pinned(void **state)
{
    struct account *found = NULL;
    (void)state;
    struct account *a = test_node_account(&t, "u5@localhost");
    disable(a);
    account_with(t.w, a->jid, note, &found);
    assert_null(found);
    enable(a);
    account_with(t.w, a->jid, note, &found);
    test_node_run(&t, is_loaded, a);
    assert_ptr_equal(found, a);
    disable(a);
    enable(a);
    tell("u5@localhost", 1);
    test_node_run(&t, is_loaded, a);
    assert_int_equal(a->state, ACTOR_READY);
    assert_true(mailbox_has_open(a));
    test_node_run(&t, test_node_is_idle, t.store);
}

static void find_it(struct account *a, enum err e, void *arg)
{
    assert_int_equal(e, OK);
    *(struct account **)arg = account_find(t.w, a->jid);
}

/* Events and requests of a moment in which it handles what has waited are not for nobody. */
static void test_found_while_more_waits_for_it(void **state)
{
    struct account *first = NULL, *second = NULL;
    (void)state;
    struct account *a = test_node_account(&t, "u7@localhost");
    actor_pause(&a->actor);
    account_with(t.w, a->jid, find_it, &first);
    account_with(t.w, a->jid, find_it, &second);
    actor_unpause(&a->actor);
    actor_go_on(&a->actor);
    assert_ptr_equal(first, a);
    assert_ptr_equal(second, a);
}

/* Two want to delete a disabled account, and the second one comes to the first one's. */
static void test_let_in_twice_for_its_deletion(void **state)
{
    struct account *found = NULL, *again = NULL;
    (void)state;
    struct account *a = test_node_account(&t, "u6@localhost");
    account_pin(a);
    disable(a);
    account_admit(t.w, a->jid, note, &found);
    test_node_run(&t, is_loaded, a);
    assert_ptr_equal(found, a);
    account_admit(t.w, a->jid, note, &again);
    assert_ptr_equal(again, a);
    assert_true(a->admitted);
    assert_false(account_stays(a));
    account_unpin(a);
}

static unsigned visited;

static void visit(struct account *a, slice arg)
{
    assert_int_equal(a->state, ACTOR_READY);
    assert_true(slice_is(arg, "argument"));
    visited += slice_starts(a->jid, SLICE("visited"));
}

/* Those that are there, and those that are being loaded; nobody else. */
static void test_all_accounts_of_a_worker(void **state)
{
    char text[] = "argument";
    struct account *found = NULL;
    (void)state;
    forget(test_node_account(&t, "visited1@localhost"));
    (void)test_node_account(&t, "visited2@localhost");
    account_with(t.w, SLICE("visited1@localhost"), note, &found);
    account_with(t.w, SLICE("visited3@localhost"), note, &found); /* does not exist */
    accounts_each(t.w, visit, slice_of(text));
    assert_int_equal(visited, 1);
    memset(text, 'x', sizeof text - 1);
    test_node_run(&t, test_node_is_idle, t.store);
    assert_int_equal(visited, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_inbox_is_limited_in_bytes),
        cmocka_unit_test(test_an_old_password),
        cmocka_unit_test(test_a_new_password_that_is_not_known_yet),
        cmocka_unit_test(test_an_id_that_is_gone),
        cmocka_unit_test(test_an_answer_that_is_too_old),
        cmocka_unit_test(test_enabled_while_it_is_pinned),
        cmocka_unit_test(test_found_while_more_waits_for_it),
        cmocka_unit_test(test_let_in_twice_for_its_deletion),
        cmocka_unit_test(test_all_accounts_of_a_worker),
    };
    return cmocka_run_group_tests_name("account/account", tests, start, stop);
}
