/* Two nodes in one process, each with a database and workers of its own, joined by bus_local. Every
 * account is assigned to a node; streams only remember what they got. Users are chosen so that the
 * homes of two that talk are on any worker of their nodes. */
#include "auth/auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_local.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/frames.h"
#include "im/gate.h"
#include "im/node.h"
#include "im/presence.h"
#include "im/rows.h"
#include "im/users.h"
#include "im/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

enum { NODES = 2, WORKERS = 2, WAIT_S = 20, LINES_MAX = 512, STREAMS_MAX = 64 };

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
static const struct feature echo_feature = { .name = "echo", .iq = echo_rules };

static const struct feature auth_feature = {
    .name = "auth", .schema = &auth_schema, .settings = auth_settings, .metrics = auth_metrics
};
static const struct feature *const features[] = {
    &auth_feature,    &account_feature, &session_feature,
    &message_feature, &roster_feature,  &presence_feature,
    &users_feature,   &echo_feature,    NULL,
};

/* A client's stream, as the gate would have it. What is below `session` changes under the lock. */
struct stream {
    uint64_t id;
    struct worker *worker; /* where it is */
    char jid[96];
    uint64_t session;
    unsigned acks, refused;
    uint32_t h;   /* of the last acknowledgement */
    uint32_t got; /* stanzas */
    bool closed, enabled, resumed;
    char token[40];
    char *line[LINES_MAX]; /* NULL: taken by expect() */
    unsigned lines;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char folder[] = "/tmp/muster-nodes-XXXXXX";
static struct store *stores[NODES];
static struct node *nodes[NODES];
static struct bus_local *bus;
static struct arena *tmp; /* of one test */
static struct stream streams[STREAMS_MAX];
static unsigned stream_count, users;

/* The gate. */

static slice stream_key(const void *item)
{
    return (slice){ (const char *)&((const struct stream *)item)->id, sizeof(uint64_t) };
}
static void gate_start(struct worker *w) { map_init(&w->streams, stream_key); }
static void gate_stop(struct worker *w) { (void)w; }
static bool gate_idle(struct worker *w) { return w != NULL; }
static void gate_end(struct worker *w) { (void)w; }
static void gate_arrive(struct worker *w, void *conn) { fail_msg("%p %p", (void *)w, conn); }
static void gate_pressure(struct worker *w, bool on) { (void)w, (void)on; }

static void keep_line(struct stream *s, const struct down *d)
{
    size_t room = stanza_write_max(d->st, d->note);
    char *text = mem_alloc(room + 1);
    text[stanza_write(text, d->st, d->note)] = '\0';
    assert_true(s->lines < LINES_MAX);
    s->line[s->lines++] = text;
    s->got = d->num;
}

static void gate_down(struct stream *s, const struct down *d)
{
    assert_ptr_equal(worker_here(), s->worker);
    pthread_mutex_lock(&lock);
    switch (d->kind) {
    case DOWN_RESUMED:
    case DOWN_BOUND:
        snprintf(s->jid, sizeof s->jid, "%.*s", SLICE_ARG(d->text));
        s->resumed = d->kind == DOWN_RESUMED;
        s->h = d->num;
        s->session = d->session;
        break;
    case DOWN_STANZA:
        keep_line(s, d);
        break;
    case DOWN_ACK:
        s->acks++;
        s->h = d->num;
        break;
    case DOWN_ENABLED:
        snprintf(s->token, sizeof s->token, "%.*s", SLICE_ARG(d->text));
        s->enabled = true;
        break;
    case DOWN_REFUSED:
    case DOWN_NOT_RESUMED:
        s->refused = d->error;
        break;
    case DOWN_CLOSE:
        s->closed = true;
        break;
    default:
        break;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static const struct gate_ops gate = { gate_start,  gate_stop,     gate_idle, gate_down,
                                      gate_arrive, gate_pressure, NULL,      gate_end };

/* Start and end. */

static void register_rows(const struct feature *f)
{
    for (struct setting *const *s = f->settings; s != NULL && *s != NULL; s++)
        setting_register(*s);
    for (struct command *const *c = f->commands; c != NULL && *c != NULL; c++)
        command_register(*c);
    for (struct log_area *const *l = f->logs; l != NULL && *l != NULL; l++)
        log_register(*l);
}

static const char *path_of(unsigned n, const char *suffix)
{
    return arena_printf(tmp, "%s/%u.db%s", folder, n, suffix);
}

static void join(unsigned n)
{
    struct bus_local_member m = { .node = nodes[n]->id,
                                  .epoch = nodes[n]->epoch,
                                  .workers = WORKERS,
                                  .deliver = frames_receive };
    for (unsigned i = 0; i < WORKERS; i++) {
        m.worker[i].loop = nodes[n]->workers[i].loop;
        m.worker[i].arg = &nodes[n]->workers[i];
    }
    nodes[n]->bus = bus_local_join(bus, &m);
}

static int start_node(unsigned n, const struct store_schema *const *schemas)
{
    static const char *const domains[] = { "localhost", NULL };
    struct why why;
    struct store_conf conf = { .url = arena_printf(tmp, "sqlite:%s", path_of(n, "")),
                               .schemas = schemas };
    struct node_conf nc = {
        .id = n + 1, .name = "test", .domains = domains, .workers = WORKERS, .gate = &gate
    };
    if (store_open(&stores[n], &conf, &why) != OK) {
        print_error("%s\n", why.text);
        return -1;
    }
    nc.store = stores[n];
    return node_create(&nodes[n], &nc, &why) == OK ? 0 : -1;
}

static int start(void **state)
{
    static const struct store_schema *schemas[sizeof features / sizeof features[0]];
    struct why why;
    size_t count = 0;
    (void)state;
    log_register(&log_store);
    log_set_default(LOG_ERROR);
    for (const struct feature *const *f = features; *f != NULL; f++) {
        register_rows(*f);
        if ((*f)->schema != NULL)
            schemas[count++] = (*f)->schema;
    }
    features_set(features);
    if (mkdtemp(folder) == NULL)
        return -1;
    tmp = arena_create(0);
    bus = bus_local_create();
    for (unsigned n = 0; n < NODES; n++) {
        if (start_node(n, schemas) != 0)
            return -1;
        join(n);
    }
    for (unsigned n = 0; n < NODES; n++)
        if (node_start(nodes[n], &why) != OK)
            return -1;
    return 0;
}

static int stop(void **state)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    (void)state;
    for (unsigned n = 0; n < NODES; n++)
        node_stop(nodes[n]);
    bus_local_destroy(&bus);
    for (unsigned n = 0; n < NODES; n++) {
        for (unsigned i = 0; i < WORKERS; i++)
            map_fini(&nodes[n]->workers[i].streams);
        store_close(&stores[n]);
        node_destroy(&nodes[n]);
        for (unsigned i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
            unlink(path_of(n, suffixes[i]));
    }
    for (unsigned i = 0; i < stream_count; i++)
        for (unsigned k = 0; k < streams[i].lines; k++)
            mem_free(&streams[i].line[k]);
    arena_destroy(&tmp);
    rmdir(folder);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    arena_reset(tmp);
    return 0;
}

/* Waiting. */

static bool wait_change(const struct timespec *until)
{
    return pthread_cond_timedwait(&changed, &lock, until) == 0;
}

static struct timespec deadline(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    return until;
}

#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        struct timespec until = deadline();                                                        \
        pthread_mutex_lock(&lock);                                                                 \
        while (!(condition) && wait_change(&until))                                                \
            ;                                                                                      \
        bool there = (condition);                                                                  \
        pthread_mutex_unlock(&lock);                                                               \
        if (!there)                                                                                \
            fail_msg("waited in vain for %s", #condition);                                         \
    } while (0)

static int line_with(const struct stream *s, const char *part)
{
    for (unsigned i = 0; i < s->lines; i++)
        if (s->line[i] != NULL && strstr(s->line[i], part) != NULL)
            return (int)i;
    return -1;
}

/* Waits for a stanza with that text and takes it. */
static const char *expect(struct stream *s, const char *part)
{
    struct timespec until = deadline();
    const char *text = NULL;
    int i;
    pthread_mutex_lock(&lock);
    while ((i = line_with(s, part)) < 0 && wait_change(&until))
        ;
    if (i >= 0) {
        text = slice_cstr(tmp, slice_of(s->line[i]));
        mem_free(&s->line[i]);
    }
    pthread_mutex_unlock(&lock);
    if (text == NULL)
        fail_msg("%s did not get \"%s\"", s->jid, part);
    return text;
}

/* The oldest stanza that was not taken yet. */
static void expect_next(struct stream *s, const char *part)
{
    const char *text = expect(s, "<");
    if (strstr(text, part) == NULL)
        fail_msg("%s got %s, expected was \"%s\"", s->jid, text, part);
}

static bool has(struct stream *s, const char *part)
{
    pthread_mutex_lock(&lock);
    bool found = line_with(s, part) >= 0;
    pthread_mutex_unlock(&lock);
    return found;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

/* Clients. */

struct sending {
    struct stream *stream;
    struct up up;
    const char *xml;
    bool done;
};

static void send_there(struct worker *w, void *arg)
{
    struct sending *s = arg;
    struct session *session = session_find(w, s->stream->session);
    uint32_t at;
    struct jid jid = jid_split(slice_of(s->stream->jid));
    unsigned home = node_home(w->node, jid_bare(&jid), &at);
    if (s->xml != NULL)
        assert_int_equal(stanza_load(&s->up.st, slice_of(s->xml), w->xml, loop_scratch(w->loop)),
                         OK);
    if (at == w->node->id && home == w->index)
        session_up(session, &s->up);
    else
        session_up_remote(w, s->stream->id, at, s->stream->session, &s->up);
    pthread_mutex_lock(&lock);
    s->done = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void up(struct stream *s, enum up_kind kind, uint32_t num, const char *xml)
{
    struct sending *sending = arena_new(tmp, struct sending, 1);
    *sending = (struct sending){ .stream = s, .up = { .kind = kind, .num = num }, .xml = xml };
    node_call(s->worker->node, s->worker->index, send_there, sending);
    AWAIT(sending->done);
}

static void send_xml(struct stream *s, const char *xml) { up(s, UP_STANZA, 0, xml); }

static void chat(struct stream *from, const char *to, const char *text)
{
    send_xml(from, arena_printf(tmp,
                                "<message from='%s' to='%s' type='chat' id='%s'>"
                                "<body>%s</body></message>",
                                from->jid, to, text, text));
}

static void iq(struct stream *from, const char *type, const char *to, const char *id,
               const char *payload)
{
    send_xml(from, arena_printf(tmp, "<iq from='%s' to='%s' type='%s' id='%s'>%s</iq>", from->jid,
                                to, type, id, payload));
}

static void present(struct stream *from, const char *attributes)
{
    send_xml(from, arena_printf(tmp, "<presence from='%s' %s/>", from->jid, attributes));
}

#define PING "<ping xmlns='urn:xmpp:ping'/>"

static void enable(struct stream *s)
{
    up(s, UP_ENABLE, 1, NULL);
    AWAIT(s->enabled);
}

static void ask_h(struct stream *s)
{
    pthread_mutex_lock(&lock);
    unsigned before = s->acks;
    pthread_mutex_unlock(&lock);
    up(s, UP_REQUEST, 0, NULL);
    AWAIT(s->acks > before);
}

/* Everything that was on its way to `to` from `from` has arrived afterwards. */
static void barrier(struct stream *from, struct stream *to)
{
    static unsigned n;
    const char *id = arena_printf(tmp, "barrier%u", n++);
    iq(from, "get", to->jid, id, PING);
    expect(to, id);
}

static const char *bare_of(const struct stream *s)
{
    struct jid jid = jid_split(slice_of(s->jid));
    return slice_cstr(tmp, jid_bare(&jid));
}

struct run {
    struct command_call call;
    bool ended;
};

static void run_finished(struct command_call *call, void *arg)
{
    (void)call;
    pthread_mutex_lock(&lock);
    ((struct run *)arg)->ended = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
static void run_there(struct worker *w, void *arg)
{
    struct run *r = arg;
    r->call.worker = w;
    r->call.command->run(&r->call);
}

static void add_user(unsigned n, const char *jid)
{
    slice names[] = { SLICE("jid"), SLICE("password") };
    slice values[] = { slice_of(jid), SLICE("long-enough") };
    struct why why;
    struct run *r = arena_new(tmp, struct run, 1);
    *r = (struct run){ .call = { .command = command_find(SLICE("user add")),
                                 .arena = tmp,
                                 .actor = SLICE("test"),
                                 .finished = run_finished,
                                 .arg = r } };
    assert_int_equal(command_bind(&r->call, names, values, 2, &why), OK);
    node_call(nodes[n], 0, run_there, r);
    AWAIT(r->ended);
    assert_int_equal(r->call.err, OK);
}

/* An account whose home is that worker of that node. */
static const char *user(unsigned n, unsigned worker)
{
    for (;;) {
        const char *jid = arena_printf(tmp, "u%u@localhost", users++);
        if (node_slot(nodes[n], slice_of(jid)) % WORKERS != worker)
            continue;
        bus_local_assign(bus, slice_of(jid), nodes[n]->id);
        add_user(n, jid);
        return jid;
    }
}

struct binding {
    struct stream *stream;
    struct bind_request req;
};

static void bind_there(struct worker *w, void *arg)
{
    struct binding *b = arg;
    struct stream *s = b->stream;
    s->id = ++w->next_id << 16 | w->index;
    map_put(&w->streams, s);
    b->req.link = (struct link){ .local = s, .id = s->id, .node = w->node->id };
    session_bind(w, &b->req);
}

static struct stream *open_stream(unsigned n, unsigned worker, struct bind_request *req)
{
    struct stream *s = &streams[stream_count++];
    struct binding *b = arena_new(tmp, struct binding, 1);
    assert_true(stream_count <= STREAMS_MAX);
    s->worker = &nodes[n]->workers[worker];
    req->secure = true;
    req->peer = SLICE("192.0.2.1");
    *b = (struct binding){ s, *req };
    node_call(nodes[n], worker, bind_there, b);
    AWAIT(s->session != 0 || s->refused != 0);
    return s;
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
    assert_int_equal(sqlite3_open(path_of(n, ""), &db), SQLITE_OK);
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
        assert_has(expect(a, "thanks"), b->jid);
        assert_int_equal(a->got, 1);
        assert_int_equal(b->got, 2);
    }
}

static void test_order_of_many(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 1), *back = login(0, 1);
    for (unsigned i = 0; i < 200; i++)
        chat(i % 2 == 0 ? a : back, b->jid, arena_printf(tmp, "%s.%u.", i % 2 == 0 ? "a" : "b", i));
    unsigned next_a = 0, next_b = 1;
    for (unsigned i = 0; i < 200; i++) { /* order of each sender */
        const char *text = expect(b, "<message");
        unsigned *next = strstr(text, "id='a") != NULL ? &next_a : &next_b;
        assert_has(text, arena_printf(tmp, ".%u.", *next));
        *next += 2;
    }
}

/* A node knows its own slots; others send to where they would be by themselves. */
static void test_a_slot_that_was_moved(void **state)
{
    const char *bob = "moved@localhost";
    (void)state;
    unsigned slot = node_slot(nodes[1], slice_of(bob)), worker = 1 - slot % WORKERS;
    nodes[1]->slot_worker[slot] = (uint8_t)worker;
    bus_local_assign(bus, slice_of(bob), 2);
    add_user(1, bob);
    struct stream *a = login(0, 0), *b = login_at(1, worker, bob, "r");
    struct stream *far = login_at(0, 1, bob, "far");
    enable(a);
    for (unsigned i = 0; i < 10; i++)
        chat(a, b->jid, arena_printf(tmp, "m%u.", i));
    for (unsigned i = 0; i < 10; i++)
        expect_next(b, arena_printf(tmp, "m%u.", i));
    ask_h(a);
    AWAIT(a->h == 10);
    chat(a, far->jid, "to-far");
    expect(far, "to-far");
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct stream *a = login(0, 0);
    bus_local_assign(bus, SLICE("nobody@localhost"), 2);
    iq(a, "get", bare_of(a), "r1", "<query xmlns='jabber:iq:roster'/>");
    chat(a, "nobody@localhost", "lost");
    assert_has(expect(a, "lost"), "service-unavailable");
    iq(a, "get", "nobody@localhost", "q0", "<none xmlns='urn:none'/>");
    assert_has(expect(a, "q0"), "type='error'");
    present(a, "to='nobody@localhost' type='subscribe'");
    assert_has(expect(a, "unsubscribed"), "from='nobody@localhost'");
}

static void test_requests(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 0);
    iq(a, "get", b->jid, "p1", PING);
    assert_has(expect(b, "p1"), "urn:xmpp:ping");
    iq(b, "result", a->jid, "p1", "");
    assert_has(expect(a, "p1"), "type='result'");
    iq(a, "get", bare_of(b), "e1", "<echo xmlns='urn:test'>hello</echo>");
    assert_has(expect(a, "e1"), ">hello</echo>");
    iq(a, "set", bare_of(b), "e2", "<echo xmlns='urn:test'>later</echo>");
    assert_has(expect(a, "e2"), ">later</echo>");
    iq(a, "get", arena_printf(tmp, "%s/none", bare_of(b)), "p2", PING);
    assert_has(expect(a, "p2"), "service-unavailable");
}

/* A lock on the database of a node: nothing is committed there meanwhile. */
static sqlite3 *hold(unsigned n)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path_of(n, ""), &db), SQLITE_OK);
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
        expect(b, text); /* delivery does not wait */
        barrier(b, a);   /* the other node's part, if it is done, was told */
        ask_h(a);
        assert_int_equal(a->h, n);
        let_go(held);
        AWAIT(a->h == n + 1);
    }
    assert_int_equal(ask(0, "SELECT count(*) FROM message WHERE stanza LIKE '%held-%' AND rcpt = 0"
                            " AND sender <> 0 AND sender_entry <> 0 AND rcpt_entry = 0"),
                     2);
    assert_int_equal(ask(1,
                         "SELECT count(*) FROM message WHERE stanza LIKE '%held-%' AND sender = 0"
                         " AND rcpt <> 0 AND rcpt_entry <> 0 AND sender_entry = 0"),
                     2);
    assert_int_equal(
        ask(0, arena_printf(tmp, "SELECT count(*) FROM message WHERE remote = '%s'", bare_of(b))),
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
    AWAIT(a->h == 1);
    bus_local_fault(bus, 1, 2, BUS_LOSE, 1);
    chat(a, b->jid, "vanished");
    bus_local_fault(bus, 1, 2, BUS_REPEAT, 1);
    chat(a, b->jid, "last");
    expect(b, "first");
    expect(b, "last");
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
    AWAIT(a->h == 2);
    struct stream *b = login_at(1, 1, bob, "r");
    present(b, "");
    assert_has(expect(b, "kept1"), "urn:xmpp:delay");
    expect(b, "kept2");
}

static void subscribe_both(struct stream *a, struct stream *b)
{
    present(a, arena_printf(tmp, "to='%s' type='subscribe'", bare_of(b)));
    expect(b, "type='subscribe'");
    present(b, arena_printf(tmp, "to='%s' type='subscribed'", bare_of(a)));
    present(b, arena_printf(tmp, "to='%s' type='subscribe'", bare_of(a)));
    expect(a, "type='subscribe'");
    present(a, arena_printf(tmp, "to='%s' type='subscribed'", bare_of(b)));
}

static const char *presence_from(const struct stream *s)
{
    return arena_printf(tmp, "<presence from='%s'", s->jid);
}

static void test_subscription_and_presence(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 1);
    present(a, "");
    present(b, "");
    iq(a, "get", bare_of(a), "r1", "<query xmlns='jabber:iq:roster'/>");
    iq(b, "get", bare_of(b), "r1", "<query xmlns='jabber:iq:roster'/>");
    subscribe_both(a, b);
    expect(a, presence_from(b));
    expect(b, presence_from(a));
    expect(a, "subscription='both'");
    expect(b, "subscription='both'");

    struct stream *a2 =
        login_at(0, 1, bare_of(a), "second"); /* the session is not where its stream is */
    present(a2, "");
    expect(b, presence_from(a2)); /* broadcast */
    expect(a2, presence_from(b)); /* probe */
    send_xml(b, arena_printf(tmp, "<presence from='%s'><show>away</show></presence>", b->jid));
    assert_has(expect(a, presence_from(b)), "away");
    assert_has(expect(a2, presence_from(b)), "away");
    up(a2, UP_GONE, END_LOST, NULL);
    assert_has(expect(b, presence_from(a2)), "unavailable");
    up(b, UP_GONE, END_CLOSED, NULL);
    assert_has(expect(a, presence_from(b)), "unavailable");
}

/* The row that is kept until the other home has committed is on the sender's node. */
static void test_announcements_are_settled(void **state)
{
    static const char rows[] = "SELECT count(*) FROM roster_out";
    (void)state;
    struct stream *a = login(0, 1), *b = login(1, 0);
    present(a, "");
    present(b, "");
    subscribe_both(a, b);
    expect(a, presence_from(b));
    expect(b, presence_from(a));
    struct timespec until = deadline(), now, pause = { 0, 1000000 };
    do { /* the deletion is a write that nobody is told of */
        nanosleep(&pause, NULL);
        clock_gettime(CLOCK_REALTIME, &now);
    } while (ask(0, rows) + ask(1, rows) > 0 && now.tv_sec < until.tv_sec);
    assert_int_equal(ask(0, rows), 0);
    assert_int_equal(ask(1, rows), 0);
}

static void test_directed_presence(void **state)
{
    (void)state;
    struct stream *a = login(0, 0), *b = login(1, 0);
    present(b, "");
    present(a, arena_printf(tmp, "to='%s'", b->jid));
    expect(b, presence_from(a));
    up(a, UP_GONE, END_CLOSED, NULL);
    assert_has(expect(b, presence_from(a)), "unavailable");
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
    assert_string_equal(b->jid, arena_printf(tmp, "%s/far", bob));
    enable(b);
    chat(a, b->jid, "to-far");
    assert_has(expect(b, "to-far"), "stanza-id");
    chat(b, a->jid, "from-far");
    expect(a, "from-far");
    ask_h(b);
    AWAIT(b->h == 1);
    up(b, UP_ACK, 1, NULL);
    chat(a, b->jid, "unacked");
    expect(b, "unacked");

    up(b, UP_GONE, END_LOST, NULL);
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
    expect(b, "id='1'");
    struct stream *c = resume(1, 1, bob, b->token);
    assert_true(c->resumed);
    AWAIT(b->closed);
    chat(b, a->jid, "stale"); /* c's client repeats it: it was not counted */
    up(b, UP_GONE, END_LOST, NULL);
    barrier(near, home);
    chat(a, c->jid, "2");
    expect(c, "id='2'");
    chat(c, a->jid, "counted");
    expect(a, "counted");
    assert_false(has(a, "stale"));
    ask_h(c);
    AWAIT(c->h == 1);
}

/* What only the reader saw crosses with the stanza (RFC 6120 §8.3.3.8). */
static void spoil(struct worker *w, void *arg)
{
    struct sending *s = arg;
    struct stanza *st;
    assert_int_equal(stanza_load(&st, slice_of(s->xml), w->xml, loop_scratch(w->loop)), OK);
    st->bad_to = true;
    session_up_remote(w, s->stream->id, 2, s->stream->session,
                      &(struct up){ .kind = UP_STANZA, .st = st });
}

static void test_bad_stanzas_on_another_node(void **state)
{
    (void)state;
    const char *bob = user(1, 1);
    struct stream *b = login_at(0, 0, bob, "far");
    struct sending s = { .stream = b };
    s.xml = arena_printf(tmp, "<iq from='%s' id='bad-to' type='get'>" PING "</iq>", b->jid);
    node_call(nodes[0], 0, spoil, &s);
    assert_has(expect(b, "bad-to"), "jid-malformed");
    present(b, "type='nonsense' id='bad-type'");
    assert_has(expect(b, "bad-type"), "bad-request");
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
    };
    return cmocka_run_group_tests_name("im/nodes", tests, start, stop);
}
