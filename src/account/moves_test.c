/* A slot moves between two nodes in one process, which share a database and are joined by
 * bus_local: sessions keep their streams and the tickets that their h waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "account/moves.h"
#include "base/buf.h"
#include "bus/bus_local.h"
#include "component/component_shown.h"
#include "core/test_live.h"
#include "home/slots.h"
#include "presence/caps.h"
#include <sqlite3.h>

enum { NODES = 2, WORKERS = 2 };

static const struct feature *const features[] = {
    &test_auth_feature, &account_feature,         &session_feature,
    &message_feature,   &roster_feature,          &presence_feature,
    &caps_feature,      &component_shown_feature, NULL,
};

static struct bus_local *bus;
static unsigned users;

static int start(void **state)
{
    static const char *const domains[] = { "localhost", NULL };
    (void)state;
    live_begin(features);
    bus = bus_local_create();
    live_open(0, WORKERS, domains);
    live_open_over(1, live.store[0], WORKERS, domains);
    for (unsigned n = 0; n < NODES; n++)
        node_join(live.node[n], bus);
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

/* Clients. */

static void chat(struct stream *from, const char *to, const char *text)
{
    live_send(from, arena_printf(live.tmp,
                                 "<message from='%s' to='%s' type='chat' id='%s'>"
                                 "<body>%s</body></message>",
                                 from->jid, to, text, text));
}

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

static const char *text_of(const char *word, unsigned i)
{
    return arena_printf(live.tmp, "%s-%u.", word, i);
}

/* Exactly these, in this order. */
static void expect_many(struct stream *s, const char *word, unsigned begin, unsigned end)
{
    for (unsigned i = begin; i < end; i++) {
        const char *text = live_expect(s, arena_printf(live.tmp, "<body>%s-", word));
        if (strstr(text, text_of(word, i)) == NULL)
            fail_msg("%s got %s, expected was %s", s->jid, text, text_of(word, i));
    }
}

static bool has(struct stream *s, const char *part)
{
    return live_has(s, (const char *const[LIVE_PARTS]){ part, "", "" });
}

/* An account whose home is that worker of that node. */
static const char *user(unsigned n, unsigned worker)
{
    for (;;) {
        uint32_t node;
        const char *jid = arena_printf(live.tmp, "u%u@localhost", users++);
        unsigned home = node_home(live.node[0], slice_of(jid), &node);
        if (home != worker || node != n + 1)
            continue;
        live_add(n, jid);
        return jid;
    }
}

static struct stream *login_at(unsigned n, unsigned worker, const char *bare)
{
    return live_bind(&live.node[n]->workers[worker],
                     &(struct bind_request){ .bare = slice_of(bare), .resource = SLICE("r") });
}

static struct stream *login(unsigned n, unsigned worker)
{
    return login_at(n, worker, user(n, worker));
}

/* A lock on the database: nothing is committed meanwhile. */
static sqlite3 *hold(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(live_path(0), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void let_go(sqlite3 *db)
{
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Moves. */

struct moving {
    unsigned slot;
    uint32_t node;
    enum err err;
    bool over;
};

static void moved(struct worker *w, enum err e, void *arg)
{
    struct moving *m = arg;
    (void)w;
    m->err = e;
    live_set(&m->over);
}

static void move_there(struct worker *w, void *arg)
{
    struct moving *m = arg;
    slot_move(w, m->slot, m->node, moved, m);
}

/* Begins; the home is that worker of node n. */
static struct moving *move(unsigned n, unsigned worker, const char *bare)
{
    struct moving *m = arena_new(live.tmp, struct moving, 1);
    *m = (struct moving){ .slot = node_slot(slice_of(bare)), .node = NODES - n };
    node_call(live.node[n], worker, move_there, m);
    return m;
}

static void await_moved(struct moving *m)
{
    LIVE_AWAIT(m->over);
    assert_int_equal(m->err, OK);
}

struct look {
    const char *bare;
    bool done;
    unsigned sessions;
};

static void look_there(struct worker *w, void *arg)
{
    struct look *l = arg;
    const struct account *a = account_find(w, slice_of(l->bare));
    l->sessions = a == NULL ? 0 : account_sessions(a);
    live_set(&l->done);
}

static unsigned sessions_at(unsigned n, unsigned worker, const char *bare)
{
    struct look *l = arena_new(live.tmp, struct look, 1);
    *l = (struct look){ .bare = bare };
    node_call(live.node[n], worker, look_there, l);
    LIVE_AWAIT(l->done);
    return l->sessions;
}

/* What the registry of one node says. */
static void assign(unsigned n, const char *bare, uint32_t node)
{
    node_assign_slot(live.node[n], node_slot(slice_of(bare)), node);
}

/* Tests. */

/* The stream stays where it is, and what it said before counts when that is committed. */
static void tickets_move(struct stream *a, unsigned home, struct stream *b)
{
    enable(a);
    sqlite3 *held = hold();
    chat(a, b->jid, "pending-0.");
    chat(a, b->jid, "pending-1.");
    expect_many(b, "pending", 0, 2); /* delivery does not wait */
    ask_h(a);
    assert_int_equal(a->h, 0);
    await_moved(move(0, home, a->bare));
    chat(a, b->jid, "pending-2.");
    live_up(a, UP_REQUEST, 0, NULL);
    let_go(held); /* the account is read there behind what it has written here */
    expect_many(b, "pending", 2, 3);
    LIVE_AWAIT(a->h == 3);
    assert_int_equal(sessions_at(0, home, a->bare), 0);
    assert_int_equal(sessions_at(1, home, a->bare), 1);
    chat(b, a->jid, "back-0.");
    expect_many(a, "back", 0, 1);
    assert_false(has(b, "pending") || a->closed);
}

static void test_tickets_with_a_stream_at_the_home(void **state)
{
    (void)state;
    struct stream *a = login(0, 1);
    tickets_move(a, 1, login(1, 0));
}

static void test_tickets_with_a_stream_elsewhere(void **state)
{
    (void)state;
    struct stream *a = login_at(0, 0, user(0, 1));
    tickets_move(a, 1, login(1, 0));
    a = login_at(1, 1, user(0, 1)); /* at the new home */
    tickets_move(a, 1, login(0, 0));
}

/* All talk while it moves there and back. */
static void test_order_while_it_moves(void **state)
{
    enum { ALL = 90, ROUNDS = 3 };
    (void)state;
    struct stream *a = login_at(0, 0, user(0, 1)), *from[NODES * WORKERS];
    enable(a);
    for (unsigned i = 0; i < NODES * WORKERS; i++)
        from[i] = login(i / WORKERS, i % WORKERS);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct moving *m = NULL;
        for (unsigned i = 0; i < ALL; i++) {
            if (i == ALL / 3)
                m = move(round % 2, 1, a->bare);
            for (unsigned k = 0; k < NODES * WORKERS; k++)
                chat(from[k], a->jid, arena_printf(live.tmp, "to%u-%u.", k, i));
            chat(a, from[0]->jid, text_of("said", i));
        }
        await_moved(m);
        for (unsigned k = 0; k < NODES * WORKERS; k++)
            expect_many(a, arena_printf(live.tmp, "to%u", k), 0, ALL);
        expect_many(from[0], "said", 0, ALL);
        live_up(a, UP_ACK, a->got, NULL);
        ask_h(a);
        LIVE_AWAIT(a->h == (round + 1) * ALL);
    }
    assert_false(has(a, "<message") || has(from[0], "<message") || a->closed);
    assert_int_equal(a->got, ROUNDS * ALL * NODES * WORKERS);
}

static void bob_comes(struct worker *w, void *arg)
{
    struct look *l = arg;
    slot_comes(w, node_slot(slice_of(l->bare)), 1, 1);
    live_set(&l->done);
}

static void bob_came(struct worker *w, void *arg)
{
    slot_came(w, node_slot(slice_of(((struct look *)arg)->bare)));
}

/* What the old home passes on was sent before what comes by itself. */
static void test_what_the_old_home_passes_on_is_first(void **state)
{
    (void)state;
    struct stream *old = login(0, 1), *other = login(0, 0);
    struct stream *bob = login(1, 1), *near = login(1, 1);
    struct look l = { .bare = bob->bare };
    node_call(live.node[1], 1, bob_comes, &l);
    LIVE_AWAIT(l.done);
    chat(other, bob->jid, "held-1.");
    chat(other, near->jid, "near-0.");
    expect_many(near, "near", 0, 1);
    chat(old, bob->jid, "held-0.");
    chat(old, near->jid, "near-1.");
    expect_many(near, "near", 1, 2);
    assert_false(has(bob, "held"));
    node_call(live.node[1], 1, bob_came, &l);
    expect_many(bob, "held", 0, 2);
}

static void test_a_session_is_resumed_where_it_has_moved(void **state)
{
    (void)state;
    struct stream *a = login_at(0, 0, user(0, 1)), *b = login(0, 0);
    enable(a);
    chat(b, a->jid, "while-0.");
    expect_many(a, "while", 0, 1);
    live_up(a, UP_GONE, END_LOST, NULL);
    chat(b, a->jid, "while-1.");
    await_moved(move(0, 1, a->bare));
    chat(b, a->jid, "while-2.");
    struct stream *c = live_bind(
        &live.node[0]->workers[0],
        &(struct bind_request){
            .bare = slice_of(a->bare), .resource = slice_of(a->token), .h = 1, .resume = true });
    assert_true(c->resumed);
    expect_many(c, "while", 1, 3);
}

/* Each of two nodes says that the other is the home: nothing circles, and everybody is answered. */
static void test_nodes_that_do_not_agree(void **state)
{
    (void)state;
    struct stream *b = login(0, 0), *a = login_at(0, 0, user(0, 1));
    const char *bare = a->bare;
    enable(b);
    assign(0, bare, 2);
    struct bus_local_counters before = bus_local_count(bus, 1);
    chat(b, bare, "nowhere-0.");
    assert_non_null(strstr(live_expect(b, "nowhere"), "resource-constraint"));
    ask_h(b);
    LIVE_AWAIT(b->h == 1);
    assert_in_range(bus_local_count(bus, 1).delivered - before.delivered, 1, 10);
    struct stream *c =
        live_bind(&live.node[0]->workers[0],
                  &(struct bind_request){ .bare = slice_of(bare), .resource = SLICE("second") });
    assert_int_equal(c->refused, SE_RESOURCE_CONSTRAINT);
    live_up(a, UP_REQUEST, 0, NULL);
    LIVE_AWAIT(a->closed);
    assign(0, bare, 1);
    chat(b, bare, "again-0.");
    ask_h(b);
    LIVE_AWAIT(b->h == 2);
    assert_false(has(b, "error"));
}

/* What fails. */

static void change_account(const char *bare, const char *what)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(live_path(0), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    const char *sql = arena_printf(live.tmp, "UPDATE account SET %s WHERE jid = '%s'", what, bare);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
}

/* Nobody has the session any more: its client hears of that, although it says nothing. */
static void test_streams_of_sessions_that_cannot_come(void **state)
{
    (void)state;
    struct stream *a = login_at(0, 0, user(0, 1)), *b = login_at(1, 0, user(0, 1));
    change_account(a->bare, "disabled = 1");
    await_moved(move(0, 1, a->bare));
    LIVE_AWAIT(a->closed);
    change_account(b->bare, "id = id + 1000000"); /* it was made anew */
    await_moved(move(0, 1, b->bare));
    LIVE_AWAIT(b->closed);
}

struct blocking {
    bool begun, go, over;
};

static void block_there(struct worker *w, void *arg)
{
    struct blocking *b = arg;
    (void)w;
    live_set(&b->begun);
    LIVE_AWAIT(b->go);
    live_set(&b->over);
}

/* A move from worker 1 of node 0 of which everything has come but the end: another worker of the
 * old home does not answer. */
static struct moving *move_halfway(struct blocking *b, const char *bare)
{
    struct stream *old = login(0, 1), *new = login(1, 1);
    node_call(live.node[0], 0, block_there, b);
    LIVE_AWAIT(b->begun);
    struct moving *m = move(0, 1, bare);
    while (sessions_at(0, 1, bare) > 0)
        ;
    chat(old, new->jid, "behind-0.");
    expect_many(new, "behind", 0, 1);
    assert_int_equal(sessions_at(1, 1, bare), 0);
    return m;
}

static void let_go_on(struct blocking *b, struct moving *m)
{
    live_set(&b->go);
    LIVE_AWAIT(b->over);
    await_moved(m);
}

static void node_1_gone(struct worker *w, void *arg)
{
    node_gone(w, 1);
    live_set(arg);
}

/* What has come from it goes on, but for sessions whose streams were there. */
static void test_the_old_home_is_gone(void **state)
{
    struct blocking b = { 0 };
    bool done = false;
    (void)state;
    struct stream *here = login_at(1, 0, user(0, 1)), *c = login(1, 0);
    live_bind(&live.node[0]->workers[0],
              &(struct bind_request){ .bare = slice_of(here->bare), .resource = SLICE("lost") });
    struct moving *m = move_halfway(&b, here->bare);
    node_call(live.node[1], 1, node_1_gone, &done);
    LIVE_AWAIT(done);
    chat(c, here->jid, "now-0.");
    expect_many(here, "now", 0, 1);
    assert_int_equal(sessions_at(1, 1, here->bare), 1);
    let_go_on(&b, m);
}

/* It has not heard where the slot is, but has all of it. */
static void test_the_end_says_where_the_slot_is(void **state)
{
    struct blocking b = { 0 };
    (void)state;
    struct stream *a = login_at(0, 0, user(0, 1)), *c = login(1, 0);
    struct moving *m = move_halfway(&b, a->bare);
    assign(1, a->bare, 1);
    let_go_on(&b, m);
    chat(c, a->jid, "found-0.");
    expect_many(a, "found", 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_tickets_with_a_stream_at_the_home, reset),
        cmocka_unit_test_setup(test_tickets_with_a_stream_elsewhere, reset),
        cmocka_unit_test_setup(test_order_while_it_moves, reset),
        cmocka_unit_test_setup(test_what_the_old_home_passes_on_is_first, reset),
        cmocka_unit_test_setup(test_a_session_is_resumed_where_it_has_moved, reset),
        cmocka_unit_test_setup(test_nodes_that_do_not_agree, reset),
        cmocka_unit_test_setup(test_streams_of_sessions_that_cannot_come, reset),
        cmocka_unit_test_setup(test_the_old_home_is_gone, reset),
        cmocka_unit_test_setup(test_the_end_says_where_the_slot_is, reset),
    };
    return cmocka_run_group_tests_name("account/moves", tests, start, stop);
}
