/* test_node: what unit tests and benches of this folder share: a node of one worker over a fresh
 * database, whose loop runs on the calling thread while something is waited for. No thread is
 * started, so a test looks at accounts and sessions between two runs. A `struct stream` of its user
 * begins with a uint64_t, its id. */
#pragma once
#include "account/account.h"
#include "auth/auth.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/metric.h"
#include "component/component_shown.h"
#include "core/core.h"
#include "core/feature.h"
#include "core/gate.h"
#include "core/node_life.h"
#include "core/rows.h"
#include "home/connection.h"
#include "home/message.h"
#include "home/node.h"
#include "home/worker.h"
#include "presence/caps.h"
#include "presence/presence.h"
#include "presence/presence_in.h"
#include "presence/roster_account.h"
#include "session/link.h"
#include "session/session_struct.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEST_FOLDER_BYTES = 32 };

struct test_node {
    char dir[TEST_FOLDER_BYTES];
    struct store *store;
    struct node *node;
    struct worker *w;
};

static const struct feature test_auth_feature = { .name = "auth",
                                                  .schema = &auth_schema,
                                                  .settings = auth_settings,
                                                  .metrics = auth_metrics,
                                                  .logs = auth_logs };
static const struct feature *const test_features[] = {
    &test_auth_feature, &account_feature,         &session_feature,
    &message_feature,   &roster_feature,          &presence_feature,
    &caps_feature,      &component_shown_feature, NULL,
};

enum { TEST_FEATURES_MAX = 256 };
static const struct store_schema *test_schemas[TEST_FEATURES_MAX + 1]; /* of the features in use */

static inline void test_feature_register(const struct feature *f)
{
    for (struct setting *const *s = f->settings; s != NULL && *s != NULL; s++)
        setting_register(*s);
    for (struct command *const *c = f->commands; c != NULL && *c != NULL; c++)
        command_register(*c);
    for (struct metric *const *m = f->metrics; m != NULL && *m != NULL; m++)
        metric_register(*m);
    for (struct log_area *const *l = f->logs; l != NULL && *l != NULL; l++)
        log_register(*l);
}

/* These are all features of the program; only the first call counts. */
static inline void test_features_use(const struct feature *const *list)
{
    static bool done;
    size_t count = 0;
    if (done)
        return;
    done = true;
    log_register(&log_store);
    log_set_default(LOG_ERROR);
    for (; list[count] != NULL; count++)
        test_feature_register(list[count]);
    features_set(list);
    count = 0;
    for (const struct feature *const *f = list; *f != NULL; f++)
        if ((*f)->schema != NULL) {
            ensure(count < TEST_FEATURES_MAX);
            test_schemas[count++] = (*f)->schema;
        }
}

static inline void test_folder_make(char folder[TEST_FOLDER_BYTES])
{
    snprintf(folder, TEST_FOLDER_BYTES, "/tmp/muster-im-XXXXXX");
    ensure(mkdtemp(folder) != NULL);
}

static inline void test_folder_remove(const char *folder)
{
    char path[TEST_FOLDER_BYTES + 256 + 2];
    DIR *dir = opendir(folder);
    ensure(dir != NULL);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path); /* fails for . and .. */
    }
    closedir(dir);
    rmdir(folder);
}

/* Runs the loop until fn(arg) is true. */
typedef bool test_node_fn(void *arg);
struct test_node_run {
    struct loop_post post;
    test_node_fn *fn;
    void *arg;
};

static inline void test_node_look(struct loop_post *p, struct loop *loop)
{
    struct test_node_run *r = CONTAINER_OF(p, struct test_node_run, post);
    if (r->fn(r->arg))
        loop_stop(loop);
    else
        loop_post(loop, p);
}

static inline void test_node_run(struct test_node *t, test_node_fn *fn, void *arg)
{
    struct test_node_run r = { .post.fn = test_node_look, .fn = fn, .arg = arg };
    loop_post(t->w->loop, &r.post);
    loop_run(t->w->loop);
}

static inline bool test_node_nothing(void *unused) { return unused == NULL; }

/* One tick: what is due is done, so is what was deferred. */
static inline void test_node_tick(struct test_node *t)
{
    test_node_run(t, test_node_nothing, NULL);
}

static inline slice test_node_stream_key(const void *stream)
{
    return (slice){ stream, sizeof(uint64_t) };
}

/* Over the database that is in its folder, or a new one. t.w is the first of its workers; others
 * run only while t.w is one of them. */
static inline void test_node_start_with(struct test_node *t, const struct gate_ops *gate,
                                        unsigned workers)
{
    static const char *const domains[] = { "localhost", NULL };
    char url[64];
    struct why why;
    snprintf(url, sizeof url, "sqlite:%s/db", t->dir);
    struct store_conf conf = { .url = url, .schemas = test_schemas };
    struct node_conf nc = {
        .id = 1, .name = "test", .domains = domains, .workers = workers, .gate = gate
    };
    ensure(store_open(&t->store, &conf, &why) == OK);
    nc.store = t->store;
    ensure(node_create(&t->node, &nc, &why) == OK);
    t->w = &t->node->workers[0];
    map_init(&core_of(t->w)->streams, test_node_stream_key);
    test_node_tick(t); /* it is told the time */
}

static inline void test_node_start(struct test_node *t, const struct gate_ops *gate)
{
    test_node_start_with(t, gate, 1);
}

static inline void test_node_open(struct test_node *t, const struct gate_ops *gate)
{
    test_features_use(test_features);
    test_folder_make(t->dir);
    test_node_start(t, gate);
}

static inline bool test_node_is_idle(void *store) { return !store_busy(store); }

/* The database stays. */
static inline void test_node_stop(struct test_node *t)
{
    test_node_run(t, test_node_is_idle, t->store);
    map_fini(&core_of(t->w)->streams);
    store_close(&t->store);
    node_destroy(&t->node);
}

static inline void test_node_close(struct test_node *t)
{
    test_node_stop(t);
    test_folder_remove(t->dir);
}

struct test_node_account {
    bool created;
    struct account *account;
};

static inline void test_node_created(void *arg, enum err e, const struct credentials *c)
{
    (void)c;
    ensure(e == OK);
    ((struct test_node_account *)arg)->created = true;
}
static inline bool test_node_is_created(void *arg)
{
    return ((struct test_node_account *)arg)->created;
}
static inline void test_node_found(struct account *a, enum err e, void *arg)
{
    ensure(e == OK && a->state == ACTOR_READY);
    ((struct test_node_account *)arg)->account = a;
}
static inline bool test_node_is_found(void *arg)
{
    return ((struct test_node_account *)arg)->account != NULL;
}

/* An account that is there, loaded and kept so. */
static inline struct account *test_node_load(struct test_node *t, const char *jid)
{
    struct test_node_account ta = { 0 };
    account_with(t->w, slice_of(jid), test_node_found, &ta);
    test_node_run(t, test_node_is_found, &ta);
    account_pin(ta.account);
    return ta.account;
}

/* A new account, loaded and kept so. */
static inline struct account *test_node_account(struct test_node *t, const char *jid)
{
    struct test_node_account ta = { 0 };
    credentials_create(&t->w->auth, slice_of(jid), SLICE("long-enough"), test_node_created, &ta);
    test_node_run(t, test_node_is_created, &ta);
    return test_node_load(t, jid);
}

/* Makes a stream known; the gate's `down` gets it. */
static inline struct link test_node_stream(struct test_node *t, struct stream *s)
{
    struct link link = { .local = s, .id = connection_new_id(t->w), .node = 1 };
    memcpy(s, &link.id, sizeof link.id);
    map_put(&core_of(t->w)->streams, s);
    return link;
}

/* A session of it, carried by that stream. */
static inline struct session *test_node_bind(struct test_node *t, struct account *a,
                                             struct stream *s, const char *resource)
{
    session_bind(a->worker, &(struct bind_request){ .link = test_node_stream(t, s),
                                                    .bare = a->jid,
                                                    .resource = slice_of(resource),
                                                    .peer = SLICE("192.0.2.1") });
    return account_session(a, slice_of(resource));
}

static inline struct stanza *test_node_stanza(struct test_node *t, const char *xml)
{
    struct stanza *st;
    ensure(stanza_load(&st, slice_of(xml), t->w->xml, loop_scratch(t->w->loop)) == OK);
    return st;
}
