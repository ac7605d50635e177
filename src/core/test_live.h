/* test_live: what tests of running nodes share: one node or two with databases and threads of their
 * own, and a gate whose streams keep what they are told. The test's thread opens streams, sends and
 * waits. What a stream is told changes under live.lock. Included by one file of a test program,
 * after cmocka.h. */
#pragma once
#include "account/account_life.h"
#include "auth/credentials.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/mem.h"
#include "bus/bus_local.h"
#include "core/core.h"
#include "core/test_node.h"
#include "home/command_run.h"
#include "home/edge.h"
#include <time.h>

enum { LIVE_NODES_MAX = 2, LIVE_STREAMS_MAX = 64, LIVE_LINES_MAX = 512, LIVE_WAIT_S = 20 };

/* A client's stream, as the gate would have it. */
struct stream {
    uint64_t id;
    struct worker *worker;  /* where it is */
    char jid[96], bare[96]; /* once it is bound */
    uint64_t session;       /* 0: not bound yet */
    struct session *local;  /* its home is there, too; else NULL */
    unsigned acks, refused; /* acknowledgements; the error of a refusal */
    uint32_t h;             /* of the last acknowledgement */
    uint32_t got;           /* stanzas */
    bool closed, enabled, resumed;
    char token[40];
    char *line[LIVE_LINES_MAX]; /* stanzas that were not taken, in order */
    unsigned lines;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char folder[32];
    struct arena *tmp; /* of one test */
    struct store *store[LIVE_NODES_MAX];
    struct node *node[LIVE_NODES_MAX];
    struct stream stream[LIVE_STREAMS_MAX];
    unsigned streams;
} live = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* The gate. */

static inline void live_gate_start(void *own, struct worker *w)
{
    (void)own;
    map_init(&core_of(w)->streams, test_node_stream_key);
}

static inline void live_keep_line(struct stream *s, const struct down *d)
{
    char *text = mem_alloc(stanza_write_max(d->st, d->note) + 1);
    text[stanza_write(text, d->st, d->note)] = '\0';
    assert_true(s->lines < LIVE_LINES_MAX);
    s->line[s->lines++] = text;
    s->got = d->num;
}

static inline void live_bound(struct stream *s, const struct down *d)
{
    struct jid jid = jid_split(d->text);
    snprintf(s->jid, sizeof s->jid, "%.*s", SLICE_ARG(d->text));
    snprintf(s->bare, sizeof s->bare, "%.*s", SLICE_ARG(jid_bare(&jid)));
    s->resumed = d->kind == DOWN_RESUMED;
    s->h = d->num;
    s->session = d->session;
    s->local = d->local;
}

static inline void live_gate_down(struct stream *s, const struct down *d)
{
    assert_ptr_equal(worker_here(), s->worker);
    pthread_mutex_lock(&live.lock);
    if (!down_answers(d->kind))
        assert_int_equal(d->session, s->session);
    switch (d->kind) {
    case DOWN_RESUMED:
    case DOWN_BOUND:
        live_bound(s, d);
        break;
    case DOWN_STANZA:
        live_keep_line(s, d);
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
    case DOWN_MOVED:
        assert_true(s->local != NULL && s->session == d->session);
        s->local = NULL;
        break;
    case DOWN_CLOSE:
        s->local = NULL;
        s->closed = true;
        break;
    default:
        break;
    }
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
}

static const struct gate_ops live_gate = { .down = live_gate_down };
static const struct edge live_edge = { .name = "live", .start = live_gate_start };
static const struct edge_made live_edges[] = { { &live_edge, NULL }, { 0 } };

/* Start and end. */

static inline void live_begin(const struct feature *const *features)
{
    test_features_use(features);
    test_folder_make(live.folder);
    live.tmp = arena_create(0);
}

static inline const char *live_path(unsigned n)
{
    return arena_printf(live.tmp, "%s/db%u", live.folder, n);
}

/* Node n over that database, not running yet; its id is n + 1. */
static inline void live_open_over(unsigned n, struct store *store, unsigned workers,
                                  const char *const *domains)
{
    struct why why = { 0 };
    struct node_conf nc = { .id = n + 1,
                            .name = "test",
                            .domains = domains,
                            .workers = workers,
                            .first_loop = n * workers,
                            .store = store,
                            .gate = &live_gate,
                            .edges = live_edges };
    if (node_create(&live.node[n], &nc, &why) != OK)
        fail_msg("%s", why.text);
}

/* The same over a database of its own. */
static inline void live_open(unsigned n, unsigned workers, const char *const *domains)
{
    static const unsigned char key[SEAL_KEY_BYTES] = "the key of these tests";
    struct why why = { 0 };
    seal_use(key);
    struct store_conf conf = { .url = arena_printf(live.tmp, "sqlite:%s", live_path(n)),
                               .schemas = test_schemas };
    if (store_open(&live.store[n], &conf, &why) != OK)
        fail_msg("%s", why.text);
    live_open_over(n, live.store[n], workers, domains);
}

static inline void live_start(unsigned n)
{
    struct why why;
    if (node_start(live.node[n], &why) != OK)
        fail_msg("%s", why.text);
}

/* A node that was stopped. */
static inline void live_close(unsigned n)
{
    for (unsigned i = 0; i < live.node[n]->worker_count; i++)
        map_fini(&core_of(&live.node[n]->workers[i])->streams);
    store_close(&live.store[n]);
    node_destroy(&live.node[n]);
}

static inline void live_end(void)
{
    for (unsigned i = 0; i < live.streams; i++)
        for (unsigned k = 0; k < live.stream[i].lines; k++)
            mem_free(&live.stream[i].line[k]);
    memset(live.stream, 0, sizeof live.stream);
    live.streams = 0;
    arena_destroy(&live.tmp);
    test_folder_remove(live.folder);
}

/* The end of nodes that are joined by a bus. */
static inline void live_end_cluster(unsigned nodes, struct bus_local **bus)
{
    for (unsigned n = 0; n < nodes; n++)
        node_stop(live.node[n]);
    for (unsigned n = nodes; n-- > 0;)
        bus_local_leave(*bus, live.node[n]->id); /* what a node says at its end goes nowhere */
    for (unsigned n = 0; n < nodes; n++)
        live_close(n);
    bus_local_destroy(bus);
    live_end();
}

/* Waiting. */

static inline struct timespec live_deadline(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIVE_WAIT_S;
    return until;
}

static inline bool live_wait(const struct timespec *until)
{
    return pthread_cond_timedwait(&live.changed, &live.lock, until) == 0;
}

#define LIVE_AWAIT(condition)                                                                      \
    do {                                                                                           \
        struct timespec until_ = live_deadline();                                                  \
        pthread_mutex_lock(&live.lock);                                                            \
        while (!(condition) && live_wait(&until_))                                                 \
            ;                                                                                      \
        bool there_ = (condition);                                                                 \
        pthread_mutex_unlock(&live.lock);                                                          \
        if (!there_)                                                                               \
            fail_msg("waited in vain for %s", #condition);                                         \
    } while (0)

/* Sets what another thread waits for. */
static inline void live_set(bool *flag)
{
    pthread_mutex_lock(&live.lock);
    *flag = true;
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
}

enum { LIVE_PARTS = 3 };

static inline int live_line_with(const struct stream *s, const char *const parts[LIVE_PARTS])
{
    for (unsigned i = 0; i < s->lines; i++)
        if (strstr(s->line[i], parts[0]) != NULL && strstr(s->line[i], parts[1]) != NULL &&
            strstr(s->line[i], parts[2]) != NULL)
            return (int)i;
    return -1;
}

/* Waits for a stanza with these texts and takes it. */
static inline const char *live_expect_all(struct stream *s, const char *const parts[LIVE_PARTS])
{
    struct timespec until = live_deadline();
    const char *text = NULL;
    int i;
    pthread_mutex_lock(&live.lock);
    while ((i = live_line_with(s, parts)) < 0 && live_wait(&until))
        ;
    if (i >= 0) {
        text = slice_cstr(live.tmp, slice_of(s->line[i]));
        mem_free(&s->line[i]);
        memmove(&s->line[i], &s->line[i + 1], (--s->lines - (unsigned)i) * sizeof s->line[0]);
    }
    for (unsigned k = 0; i < 0 && k < s->lines; k++)
        print_error("%s has: %s\n", s->jid, s->line[k]);
    pthread_mutex_unlock(&live.lock);
    if (text == NULL)
        fail_msg("%s did not get %s %s %s", s->jid, parts[0], parts[1], parts[2]);
    return text;
}

static inline const char *live_expect(struct stream *s, const char *part)
{
    return live_expect_all(s, (const char *const[LIVE_PARTS]){ part, "", "" });
}

static inline bool live_has(struct stream *s, const char *const parts[LIVE_PARTS])
{
    pthread_mutex_lock(&live.lock);
    bool found = live_line_with(s, parts) >= 0;
    pthread_mutex_unlock(&live.lock);
    return found;
}

/* Clients. */

struct live_sending {
    struct stream *stream;
    struct up up;
    const char *xml;
    bool done;
};

static inline void live_send_there(struct worker *w, void *arg)
{
    struct live_sending *s = arg;
    if (s->xml != NULL) {
        struct arena *scratch = arena_create(0);
        assert_int_equal(stanza_load(&s->up.st, slice_of(s->xml), w->xml, scratch), OK);
        arena_destroy(&scratch);
    }
    if (s->stream->local != NULL && session_find(w, s->stream->session) == s->stream->local)
        session_up(s->stream->local, &s->up);
    else
        link_send_up(w, s->stream->id, s->stream->session, &s->up);
    live_set(&s->done);
}

/* Says it to the session, from the worker of the stream; done when it returns. */
static inline void live_up(struct stream *s, enum up_kind kind, uint32_t num, const char *xml)
{
    struct live_sending *sending = arena_new(live.tmp, struct live_sending, 1);
    *sending = (struct live_sending){ .stream = s, .up = { .kind = kind, .num = num }, .xml = xml };
    node_call(s->worker->node, s->worker->index, live_send_there, sending);
    LIVE_AWAIT(sending->done);
}

static inline void live_send(struct stream *s, const char *xml) { live_up(s, UP_STANZA, 0, xml); }

struct live_binding {
    struct stream *stream;
    struct bind_request req;
};

static inline void live_bind_there(struct worker *w, void *arg)
{
    struct live_binding *b = arg;
    struct stream *s = b->stream;
    s->id = connection_new_id(w);
    map_put(&core_of(w)->streams, s);
    b->req.link = (struct link){ .local = s, .id = s->id, .node = w->node->id };
    session_bind(w, &b->req);
}

/* A stream on that worker, bound (or resumed) or refused. It lives until live_end(). */
static inline struct stream *live_bind(struct worker *w, struct bind_request *req)
{
    struct stream *s = &live.stream[live.streams++];
    struct live_binding *b = arena_new(live.tmp, struct live_binding, 1);
    assert_true(live.streams <= LIVE_STREAMS_MAX);
    s->worker = w;
    req->secure = true;
    req->peer = SLICE("192.0.2.1");
    *b = (struct live_binding){ s, *req };
    node_call(w->node, w->index, live_bind_there, b);
    LIVE_AWAIT(s->session != 0 || s->refused != 0);
    return s;
}

/* Accounts. */

struct live_account {
    const char *jid;
    struct worker *worker;
    bool made;
};

static inline void live_account_made(void *arg, enum err e, const struct credentials *c)
{
    struct live_account *a = arg;
    (void)c;
    ensure(e == OK);
    account_created(a->worker, slice_of(a->jid), false);
    live_set(&a->made);
}

static inline void live_account_make(struct worker *w, void *arg)
{
    struct live_account *a = arg;
    a->worker = w;
    credentials_create(worker_auth(w), slice_of(a->jid), SLICE("long-enough"), live_account_made,
                       a);
}

/* Makes an account in the database of a node. */
static inline void live_add(unsigned n, const char *jid)
{
    struct live_account a = { .jid = jid };
    node_call(live.node[n], 0, live_account_make, &a);
    LIVE_AWAIT(a.made);
}

/* Commands. */

struct live_run {
    struct command_call call;
    bool ended;
};

static inline void live_run_finished(struct command_call *call, void *arg)
{
    (void)call;
    live_set(&((struct live_run *)arg)->ended);
}

static inline void live_run_there(struct worker *w, void *arg)
{
    struct live_run *r = arg;
    r->call.worker = w;
    command_run(&r->call);
}

/* Arguments as name, value, name, value; NULL ends them. The call's arena is live.tmp, so one runs
 * at a time. */
static inline struct command_call *live_run(unsigned n, const char *name, const char *const *args)
{
    slice names[COMMAND_ARGS_MAX], values[COMMAND_ARGS_MAX];
    size_t count = 0;
    struct why why;
    struct live_run *r = arena_new(live.tmp, struct live_run, 1);
    r->call = (struct command_call){ .command = command_find(slice_of(name)),
                                     .arena = live.tmp,
                                     .who = principal_server,
                                     .finished = live_run_finished,
                                     .arg = r };
    assert_non_null(r->call.command);
    for (; args[2 * count] != NULL; count++) {
        names[count] = slice_of(args[2 * count]);
        values[count] = slice_of(args[2 * count + 1]);
    }
    assert_int_equal(command_bind(&r->call, names, values, count, &why), OK);
    node_call(live.node[n], 0, live_run_there, r);
    LIVE_AWAIT(r->ended);
    return &r->call;
}
