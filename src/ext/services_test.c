/* The services, accounts and sessions on a whole node: one worker over a fresh database, with
 * streams that only remember what they got. */
#include "auth/auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/log.h"
#include "base/metric.h"
#include "ext/ext.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/gate.h"
#include "im/node.h"
#include "im/preauth.h"
#include "im/presence.h"
#include "im/rows.h"
#include "im/users.h"
#include "im/worker.h"
#include "xmpp/ns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWER_MAX = 256 << 10, WAIT_S = 20 };

static const struct feature auth_feature = {
    .name = "auth",
    .schema = &auth_schema,
    .settings = auth_settings,
    .metrics = auth_metrics,
};
static const struct feature *const features[] = {
    &auth_feature,   &account_feature,  &session_feature, &message_feature,
    &roster_feature, &presence_feature, &users_feature,   &disco_feature,
    &last_feature,   &ping_feature,     &private_feature, &register_feature,
    &time_feature,   &vcard_feature,    &version_feature, NULL,
};

/* A client's stream, as the gate would have it. */
struct stream {
    uint64_t id;
    struct session *session;
    char jid[64];
    bool closed;
};

/* What the main thread waits for; the worker fills it in. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned last_id;
    char id[16];             /* of the IQ that is awaited */
    char answer[ANSWER_MAX]; /* empty: not there yet */
} seen = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, "", "" };

static char folder[] = "/tmp/muster-services-XXXXXX";
static struct store *store;
static struct node *node;
static struct arena *tmp; /* of one test */

static void note(void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&seen.lock);
    fn(arg);
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void await(bool (*there)(const void *arg), const void *arg)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&seen.lock);
    int rc = 0;
    while (!there(arg) && rc == 0)
        rc = pthread_cond_timedwait(&seen.changed, &seen.lock, &until);
    pthread_mutex_unlock(&seen.lock);
    assert_int_equal(rc, 0);
}

static void set_answer(void *arg)
{
    const slice *text = arg;
    assert_true(text->len < ANSWER_MAX);
    memcpy(seen.answer, text->ptr, text->len);
    seen.answer[text->len] = '\0';
}
static bool has_answer(const void *arg)
{
    (void)arg;
    return seen.answer[0] != '\0';
}
static const char *await_answer(void)
{
    await(has_answer, NULL);
    return slice_dup(tmp, slice_of(seen.answer)).ptr;
}
static void clear_answer(void *arg)
{
    (void)arg;
    seen.answer[0] = '\0';
}

/* The gate. */

static slice stream_key(const void *stream)
{
    return (slice){ (const char *)&((const struct stream *)stream)->id, sizeof(uint64_t) };
}
static void gate_start(struct worker *w) { map_init(&w->streams, stream_key); }
static void gate_stop(struct worker *w) { map_fini(&w->streams); }
static void gate_none(struct worker *w) { (void)w; }
static bool gate_idle(struct worker *w)
{
    (void)w;
    return true;
}
static void gate_arrive(struct worker *w, void *conn)
{
    (void)w;
    (void)conn;
}
static void gate_pressure(struct worker *w, bool on)
{
    (void)w;
    (void)on;
}

static void set_closed(void *arg) { ((struct stream *)arg)->closed = true; }
static bool is_closed(const void *arg) { return ((const struct stream *)arg)->closed; }
static bool is_bound(const void *arg) { return ((const struct stream *)arg)->session != NULL; }

static void got_stanza(const struct stanza *st)
{
    struct buf out;
    if (st->kind != STANZA_IQ || !slice_is(stanza_id(st), seen.id))
        return;
    buf_init(&out, ANSWER_MAX);
    stanza_store(&out, st);
    slice text = buf_slice(&out);
    note(set_answer, &text);
    buf_fini(&out);
}

struct bound {
    struct stream *stream;
    struct session *session;
};
static void set_bound(void *arg)
{
    const struct bound *b = arg;
    b->stream->session = b->session;
}

static void gate_down(struct stream *s, const struct down *d)
{
    if (d->kind == DOWN_STANZA)
        got_stanza(d->st);
    else if (d->kind == DOWN_BOUND)
        note(set_bound, &(struct bound){ s, d->local });
    else if (d->kind == DOWN_CLOSE || d->kind == DOWN_REFUSED)
        note(set_closed, s);
}

static const struct gate_ops gate = {
    .start = gate_start,
    .stop = gate_stop,
    .idle = gate_idle,
    .down = gate_down,
    .arrive = gate_arrive,
    .pressure = gate_pressure,
    .end = gate_none,
};

/* Start and end. */

static void register_rows(const struct feature *f)
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

static void set(const char *name, const char *value)
{
    struct why why;
    struct setting *s = setting_find(slice_of(name));
    assert_non_null(s);
    assert_int_equal(setting_set(s, slice_of(value), &why), OK);
}

static int start(void **state)
{
    static const struct store_schema *schemas[sizeof features / sizeof features[0]];
    static const char *const domains[] = { "localhost", "other.example", NULL };
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
    set("auth.scram-iterations", "4096");
    if (mkdtemp(folder) == NULL)
        return -1;
    tmp = arena_create(0);
    struct store_conf conf = { .url = arena_printf(tmp, "sqlite:%s/muster.db", folder),
                               .schemas = schemas };
    struct node_conf nc = {
        .id = 1, .name = "test", .domains = domains, .workers = 1, .gate = &gate
    };
    if (store_open(&store, &conf, &why) != OK) {
        print_error("%s\n", why.text);
        return -1;
    }
    nc.store = store;
    return node_create(&node, &nc, &why) == OK && node_start(node, &why) == OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    node_stop(node);
    store_close(&store);
    node_destroy(&node);
    arena_destroy(&tmp);
    static const char *const files[] = { "muster.db", "muster.db-wal", "muster.db-shm" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    arena_reset(tmp);
    return 0;
}

/* Clients. */

struct sending {
    struct stream *stream;
    const char *xml;
};

static void send_there(struct worker *w, void *arg)
{
    struct sending *s = arg;
    struct stanza *st;
    struct arena *scratch = arena_create(0);
    assert_int_equal(stanza_load(&st, slice_of(s->xml), w->xml, scratch), OK);
    arena_destroy(&scratch);
    session_up(s->stream->session, &(struct up){ .kind = UP_STANZA, .st = st });
}

/* `xml` lives until it has been handled: it is in `tmp`. */
static void send_xml(struct stream *s, const char *xml)
{
    struct sending *sending = arena_new(tmp, struct sending, 1);
    *sending = (struct sending){ s, xml };
    node_call(node, 0, send_there, sending);
}

static const char *iq_xml(const char *from, const char *kind, const char *to, const char *payload)
{
    pthread_mutex_lock(&seen.lock);
    snprintf(seen.id, sizeof seen.id, "q%u", ++seen.last_id);
    clear_answer(NULL);
    pthread_mutex_unlock(&seen.lock);
    slice bare, resource;
    slice_cut(slice_of(from), '/', &bare, &resource);
    if (to == NULL)
        to = slice_cstr(tmp, bare);
    return arena_printf(tmp, "<iq from='%s' to='%s' id='%s' type='%s'>%s</iq>", from, to, seen.id,
                        kind, payload);
}

/* The answer's text. to NULL: the own account. */
static const char *ask(struct stream *s, const char *kind, const char *to, const char *payload)
{
    send_xml(s, iq_xml(s->jid, kind, to, payload));
    return await_answer();
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}
static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" is in: %s", part, text);
}
#define ASK(stream, kind, to, payload, part) assert_has(ask(stream, kind, to, payload), part)

static void bind_there(struct worker *w, void *arg)
{
    struct stream *s = arg;
    struct jid jid = jid_split(slice_of(s->jid));
    s->id = ++w->next_id << 16;
    map_put(&w->streams, s);
    session_bind(w, &(struct bind_request){ .link = { .local = s, .id = s->id, .node = 1 },
                                            .bare = jid_bare(&jid),
                                            .resource = jid.resource,
                                            .secure = true,
                                            .peer = SLICE("192.0.2.1") });
}

static struct stream *login(const char *jid)
{
    /* outlives the test: its session is still there at the end */
    static struct stream streams[64];
    static unsigned used;
    struct stream *s = &streams[used++];
    assert_true(used < sizeof streams / sizeof streams[0]);
    snprintf(s->jid, sizeof s->jid, "%s", jid);
    node_call(node, 0, bind_there, s);
    await(is_bound, s);
    return s;
}

static void present(struct stream *s, const char *attributes, const char *content)
{
    send_xml(
        s, arena_printf(tmp, "<presence from='%s' %s>%s</presence>", s->jid, attributes, content));
}

/* Commands. */

struct run {
    struct command_call call;
    _Atomic bool ended;
};

static bool has_ended(const void *arg) { return ((const struct run *)arg)->ended; }
static void set_ended(void *arg) { ((struct run *)arg)->ended = true; }
static void run_finished(struct command_call *call, void *arg)
{
    (void)call;
    note(set_ended, arg);
}
static void run_there(struct worker *w, void *arg)
{
    struct run *r = arg;
    r->call.worker = w;
    r->call.command->run(&r->call);
}

/* Arguments as name, value, name, value. The call's arena is `tmp`, so one runs at a time. */
static struct command_call *run(const char *name, const char *const *args)
{
    slice names[COMMAND_ARGS_MAX], values[COMMAND_ARGS_MAX];
    size_t count = 0;
    struct why why;
    struct run *r = arena_new(tmp, struct run, 1);
    r->call = (struct command_call){ .command = command_find(slice_of(name)),
                                     .arena = tmp,
                                     .actor = SLICE("test"),
                                     .finished = run_finished,
                                     .arg = r };
    assert_non_null(r->call.command);
    for (; args[2 * count] != NULL; count++) {
        names[count] = slice_of(args[2 * count]);
        values[count] = slice_of(args[2 * count + 1]);
    }
    assert_int_equal(command_bind(&r->call, names, values, count, &why), OK);
    node_call(node, 0, run_there, r);
    await(has_ended, r);
    return &r->call;
}
#define RUN(name, ...) run(name, (const char *const[]){ __VA_ARGS__, NULL })

static void add_user(const char *jid)
{
    assert_int_equal(RUN("user add", "jid", jid, "password", "secret")->err, OK);
}

static const char *field_of(const struct command_row *row, const char *key)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (strcmp(row->fields[i].key, key) == 0)
            return row->fields[i].str.ptr;
    return NULL;
}

static const struct command_row *row_of(const struct command_call *call, const char *jid)
{
    for (const struct command_row *r = call->rows; r != NULL; r = r->next)
        if (strcmp(field_of(r, "jid"), jid) == 0)
            return r;
    return NULL;
}

/* `from` sees `to`'s presence afterwards. Approved in advance (RFC 6121 §3.4), so only the commits
 * are to be waited for. */
static void subscribe(struct stream *from, struct stream *to)
{
    struct jid a = jid_split(slice_of(from->jid)), b = jid_split(slice_of(to->jid));
    slice contact = jid_bare(&b), watcher = jid_bare(&a);
    const char *address = slice_cstr(tmp, contact);
    uint64_t until_us = clock_mono_us() + WAIT_S * 1000000ull;
    present(to, arena_printf(tmp, "to='%.*s' type='subscribed'", SLICE_ARG(watcher)), "");
    present(from, arena_printf(tmp, "to='%s' type='subscribe'", address), "");
    while (strstr(ask(from, "get", address, "<query xmlns='jabber:iq:last'/>"), "result") == NULL)
        assert_true(clock_mono_us() < until_us);
}

/* Tests. */

static void test_user_add(void **state)
{
    (void)state;
    static const struct {
        const char *jid, *password;
        enum err err;
        const char *text;
    } rows[] = {
        { "ada@localhost", "p", OK, "account ada@localhost added" },
        { "ADA@LocalHost", "p", E_EXISTS, "exists already" },
        { "ada@other.example", "p", OK, "added" },
        { "ada@elsewhere", "p", E_NOTFOUND, "localhost, other.example" },
        { "ada", "p", E_SYNTAX, "such as alice@localhost" },
        { "@localhost", "p", E_SYNTAX, "found @localhost" },
        { "a b@localhost", "p", E_SYNTAX, "found a b@localhost" },
        { "bob@localhost/x", "p", E_SYNTAX, "without resource: bob@localhost" },
        { "bob@localhost", "", E_SYNTAX, "password is needed" },
        { "bob@localhost", "a\x07", E_SYNTAX, "control characters" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct command_call *c = RUN("user add", "jid", rows[i].jid, "password", rows[i].password);
        assert_int_equal(c->err, rows[i].err);
        assert_has(c->text.ptr, rows[i].text);
    }
    assert_int_equal(RUN("user add", "jid", "bob@localhost")->err, E_SYNTAX);
}

static void test_user_list(void **state)
{
    (void)state;
    add_user("list1@localhost");
    add_user("list2@other.example");
    struct command_call *c = RUN("user list", NULL);
    assert_non_null(row_of(c, "list1@localhost"));
    assert_non_null(row_of(c, "list2@other.example"));
    c = RUN("user list", "domain", "Other.Example");
    assert_null(row_of(c, "list1@localhost"));
    assert_string_equal(field_of(row_of(c, "list2@other.example"), "disabled"), "false");
    c = RUN("user list", "domain", "other.example", "after", "list1@other.example");
    assert_non_null(row_of(c, "list2@other.example"));
    c = RUN("user list", "domain", "other.example", "after", "list2@other.example");
    assert_null(c->rows);
    assert_int_equal(RUN("user list", "domain", "nowhere.example")->err, E_NOTFOUND);
}

static void test_user_password_ends_sessions(void **state)
{
    (void)state;
    add_user("pia@localhost");
    struct stream *one = login("pia@localhost/1"), *two = login("pia@localhost/2");
    struct command_call *c = RUN("user password", "jid", "pia@localhost", "password", "another");
    assert_int_equal(c->err, OK);
    assert_has(c->text.ptr, "sessions ended: 2");
    assert_true(one->closed && two->closed);
    c = RUN("user password", "jid", "nobody@localhost", "password", "x");
    assert_int_equal(c->err, E_NOTFOUND);
    assert_has(c->text.ptr, "no account nobody@localhost");
}

static void test_sessions(void **state)
{
    (void)state;
    add_user("sam@localhost");
    struct stream *one = login("sam@localhost/1"), *two = login("sam@localhost/2");
    present(one, "", "<priority>7</priority>");
    ASK(one, "get", NULL, "<ping xmlns='urn:xmpp:ping'/>", "result");
    struct command_call *c = RUN("session list", "user", "sam@localhost");
    const struct command_row *r = row_of(c, "sam@localhost/1");
    assert_string_equal(field_of(r, "state"), "connected");
    assert_string_equal(field_of(r, "priority"), "7");
    assert_string_equal(field_of(r, "address"), "192.0.2.1");
    assert_string_equal(field_of(r, "tls"), "true");
    assert_string_equal(field_of(row_of(c, "sam@localhost/2"), "priority"), "unavailable");
    assert_non_null(row_of(RUN("session list", NULL), "sam@localhost/2"));
    assert_null(RUN("session list", "user", "nobody@localhost")->rows);

    c = RUN("session kick", "jid", "sam@localhost/2", "reason", "test");
    assert_int_equal(c->err, OK);
    assert_true(two->closed);
    assert_false(one->closed);
    assert_int_equal(RUN("session kick", "jid", "sam@localhost/2")->err, E_NOTFOUND);
    assert_has(RUN("session kick", "jid", "sam@localhost")->text.ptr, "sessions ended: 1");
    assert_true(one->closed);
}

#define INFO  "<query xmlns='" NS_DISCO_INFO "'/>"
#define ITEMS "<query xmlns='" NS_DISCO_ITEMS "'/>"

static void test_disco(void **state)
{
    (void)state;
    add_user("dan@localhost");
    add_user("dot@localhost");
    struct stream *dan = login("dan@localhost/d"), *dot = login("dot@localhost/t");
    const char *server = ask(dan, "get", "localhost", INFO);
    assert_has(server, "<identity category='server' type='im' name='Muster'/>");
    assert_has(server, "<feature var='urn:xmpp:ping'/>");
    assert_has(server, "<feature var='" NS_DISCO_INFO "'/>");
    assert_lacks(server, NS_DATA);
    ASK(dan, "get", NULL, INFO, "<identity category='account' type='registered'/>");
    ASK(dan, "get", "localhost", "<query xmlns='" NS_DISCO_INFO "' node='x'/>", "item-not-found");
    ASK(dan, "get", "localhost", ITEMS, "<query xmlns='" NS_DISCO_ITEMS "'></query>");
    /* XEP-0030 §8: the same for a stranger and for nobody */
    ASK(dan, "get", "dot@localhost", INFO, "service-unavailable");
    ASK(dan, "get", "nobody@localhost", INFO, "service-unavailable");
    present(dot, "", "");
    ASK(dot, "get", NULL, ITEMS, "<item jid='dot@localhost/t'/>");
    ASK(dan, "get", "dot@localhost", ITEMS, "disco#items'></query>");
    ASK(dan, "get", "nobody@localhost", ITEMS, "disco#items'></query>");
    subscribe(dan, dot);
    ASK(dan, "get", "dot@localhost", INFO, "registered");
    ASK(dan, "get", "dot@localhost", ITEMS, "<item jid='dot@localhost/t'/>");

    set("contact.abuse", " mailto:a@localhost  https://x.example/?a&b ");
    ASK(dan, "get", "localhost", INFO,
        "<field var='abuse-addresses'><value>mailto:a@localhost</value>"
        "<value>https://x.example/?a&amp;b</value></field>");
    set("contact.abuse", "");
}

static void test_caps(void **state)
{
    (void)state;
    add_user("cap@localhost");
    struct stream *cap = login("cap@localhost/c");
    struct buf out;
    buf_init(&out, 4096);
    disco_feature.stream_features(&out);
    slice rest = buf_slice(&out), head, node_name, ver;
    assert_true(slice_starts(rest, SLICE("<c xmlns='" NS_CAPS "' hash='sha-1' node='")));
    slice_cut(slice_from(rest, strlen("<c xmlns='" NS_CAPS "' hash='sha-1' node='")), '\'',
              &node_name, &rest);
    slice_cut(rest, '\'', &head, &rest);
    slice_cut(rest, '\'', &ver, &rest);
    const char *query = arena_printf(tmp, "<query xmlns='" NS_DISCO_INFO "' node='%.*s#%.*s'",
                                     SLICE_ARG(node_name), SLICE_ARG(ver));
    const char *answer = ask(cap, "get", "localhost", arena_printf(tmp, "%s/>", query));
    assert_has(answer, "category='server'");
    assert_has(answer, query);
    buf_fini(&out);
}

static void test_ping_version_time(void **state)
{
    (void)state;
    add_user("tim@localhost");
    add_user("tom@localhost");
    struct stream *tim = login("tim@localhost/t");
    static const char ping[] = "<ping xmlns='urn:xmpp:ping'/>";
    ASK(tim, "get", "localhost", ping, "type='result'></iq>");
    ASK(tim, "get", NULL, ping, "type='result'></iq>");
    ASK(tim, "get", "tom@localhost", ping, "service-unavailable");
    ASK(tim, "get", "nobody@localhost", ping, "service-unavailable");
    ASK(tim, "set", "localhost", ping, "service-unavailable");

    static const char version[] = "<query xmlns='" NS_VERSION "'/>";
    ASK(tim, "get", "localhost", version,
        "<name>Muster</name><version>" MUSTER_VERSION "</version></query>");
    set("version.show-os", "on");
    ASK(tim, "get", "localhost", version, "<os>Linux ");
    set("version.show-os", "off");

    setenv("TZ", "ABC+05:45", 1); /* west of Greenwich: the sign is the other one */
    tzset();
    const char *time = ask(tim, "get", "localhost", "<time xmlns='" NS_TIME "'/>");
    assert_has(time, "<tzo>-05:45</tzo><utc>20");
    assert_has(time, "Z</utc></time>");
}

static void test_last(void **state)
{
    (void)state;
    add_user("lea@localhost");
    add_user("lou@localhost");
    static const char last[] = "<query xmlns='" NS_LAST "'/>";
    struct stream *lea = login("lea@localhost/l"), *lou = login("lou@localhost/o");
    ASK(lea, "get", "localhost", last, "seconds='");
    ASK(lea, "get", NULL, last, "item-not-found"); /* never available */
    ASK(lea, "get", "lou@localhost", last, "forbidden");
    ASK(lea, "get", "nobody@localhost", last, "forbidden");
    present(lea, "", "");
    present(lou, "", "");
    subscribe(lea, lou);
    ASK(lea, "get", "lou@localhost", last, "seconds='0'></query>");
    struct stream *second = login("lou@localhost/2");
    present(second, "", "");
    present(lou, "type='unavailable'", "<status>one is left</status>");
    ASK(second, "get", NULL, last, "seconds='0'></query>");
    present(second, "type='unavailable'", "<status>tea &amp; cake</status>");
    ASK(second, "get", NULL, last, ">tea &amp; cake</query>");
    ASK(lea, "get", "lou@localhost", last, "seconds='0'>tea &amp; cake</query>");
}

static void test_vcard(void **state)
{
    (void)state;
    add_user("vic@localhost");
    add_user("val@localhost");
    static const char get[] = "<vCard xmlns='vcard-temp'/>";
    static const char card[] = "<vCard xmlns='vcard-temp'><FN>V &lt; W</FN>"
                               "<X xmlns='urn:x' a='1'><y/></X></vCard>";
    struct stream *vic = login("vic@localhost/v"), *val = login("val@localhost/w");
    ASK(vic, "get", NULL, get, "item-not-found");
    ASK(val, "get", "vic@localhost", get, "service-unavailable");
    ASK(val, "get", "nobody@localhost", get, "service-unavailable");
    ASK(vic, "set", NULL, card, "type='result'></iq>");
    ASK(vic, "get", NULL, get, card);
    ASK(val, "get", "vic@localhost", get, card);
    ASK(val, "set", "vic@localhost", card, "forbidden");
    ASK(val, "set", "localhost", card, "forbidden");
    set("vcard.bytes-max", "1KiB");
    const char *large = arena_printf(tmp, "<vCard xmlns='vcard-temp'><FN>%01200d</FN></vCard>", 1);
    ASK(vic, "set", NULL, large, "policy-violation");
    ASK(vic, "get", NULL, get, card);
    set("vcard.bytes-max", "64KiB");
    ASK(vic, "set", NULL, large, "result");
}

#define PRIVATE(inner) "<query xmlns='jabber:iq:private'>" inner "</query>"

static void test_private(void **state)
{
    (void)state;
    add_user("pat@localhost");
    add_user("pam@localhost");
    struct stream *pat = login("pat@localhost/p"), *pam = login("pam@localhost/q");
    ASK(pat, "set", NULL, PRIVATE("<a xmlns='urn:a'>1</a><b xmlns='urn:a'>2</b>"), "result");
    ASK(pat, "get", NULL, PRIVATE("<a xmlns='urn:a'/>"), PRIVATE("<a xmlns='urn:a'>1</a>"));
    ASK(pat, "set", NULL, PRIVATE("<a xmlns='urn:a'>3</a>"), "result");
    ASK(pat, "get", NULL, PRIVATE("<b xmlns='urn:a'/><a xmlns='urn:a'/><c xmlns='urn:c'/>"),
        PRIVATE("<b xmlns='urn:a'>2</b><a xmlns='urn:a'>3</a><c xmlns='urn:c'/>"));
    ASK(pam, "get", NULL, PRIVATE("<a xmlns='urn:a'/>"), PRIVATE("<a xmlns='urn:a'/>"));
    ASK(pam, "get", "pat@localhost", PRIVATE("<a xmlns='urn:a'/>"), "forbidden");
    ASK(pam, "set", "pat@localhost", PRIVATE("<a xmlns='urn:a'/>"), "forbidden");
    ASK(pam, "get", "nobody@localhost", PRIVATE("<a xmlns='urn:a'/>"), "forbidden");
    ASK(pam, "set", "localhost", PRIVATE("<a xmlns='urn:a'/>"), "forbidden");
    ASK(pat, "get", NULL, PRIVATE(""), "not-acceptable");
    ASK(pat, "set", NULL, PRIVATE("<a/>"), "not-acceptable");
    ASK(pat, "set", NULL, PRIVATE("<a xmlns='jabber:iq:roster'/>"), "not-acceptable");
    ASK(pat, "set", NULL, PRIVATE("<a xmlns=''/>"), "not-acceptable");

    set("private.elements-max",
        "2"); /* both are taken; a third is refused with all that came with it */
    ASK(pat, "set", NULL, PRIVATE("<a xmlns='urn:a'>4</a><c xmlns='urn:c'/>"), "policy-violation");
    ASK(pat, "get", NULL, PRIVATE("<a xmlns='urn:a'/>"), "<a xmlns='urn:a'>3</a>");
    set("private.elements-max", "100");
    set("private.bytes-max", "4KiB");
    ASK(pat, "set", NULL, arena_printf(tmp, PRIVATE("<a xmlns='urn:a'>%04200d</a>"), 1),
        "policy-violation");
    ASK(pat, "set", NULL, PRIVATE("<a xmlns='urn:a'>5</a>"), "result");
    set("private.bytes-max", "1MiB");
}

#define REGISTER(inner) "<query xmlns='jabber:iq:register'>" inner "</query>"

static void test_password_change(void **state)
{
    (void)state;
    add_user("rob@localhost");
    struct stream *rob = login("rob@localhost/r"), *other = login("rob@localhost/s");
    ASK(rob, "get", NULL, REGISTER(""), "<registered/>");
    ASK(rob, "get", "localhost", REGISTER(""), "<username>rob</username><password/>");
    ASK(rob, "get", "other.example", REGISTER(""), "service-unavailable");
    static const struct {
        const char *query, *answer;
    } rows[] = {
        { REGISTER(""), "bad-request" },
        { REGISTER("<username>rob</username><password/>"), "bad-request" },
        { REGISTER("<username>rob</username><password>short</password>"), "8 characters" },
        { REGISTER("<username>ada</username><password>long-enough</password>"), "not-allowed" },
        { REGISTER("<username>@</username><password>long-enough</password>"), "not-allowed" },
        { REGISTER("<remove/><username>rob</username>"), "bad-request" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ASK(rob, "set", NULL, rows[i].query, rows[i].answer);
    static const char change[] =
        REGISTER("<username>ROB</username><password>long-enough</password>");
    set("register.password-change", "off");
    ASK(rob, "set", "localhost", change, "not-allowed");
    set("register.password-change", "on");
    assert_false(other->closed);
    ASK(rob, "set", "localhost", change, "type='result'></iq>");
    assert_true(other->closed);
    assert_false(rob->closed);
}

static void test_removal(void **state)
{
    (void)state;
    add_user("ron@localhost");
    struct stream *ron = login("ron@localhost/r");
    ASK(ron, "set", NULL, "<vCard xmlns='vcard-temp'><FN>R</FN></vCard>", "result");
    ASK(ron, "set", NULL, PRIVATE("<a xmlns='urn:a'>1</a>"), "result");
    present(ron, "", "");
    set("register.remove", "off");
    ASK(ron, "set", NULL, REGISTER("<remove/>"), "not-allowed");
    set("register.remove", "on");
    ASK(ron, "set", NULL, REGISTER("<remove/>"), "type='result'></iq>");
    await(is_closed, ron);
    assert_null(row_of(RUN("user list", NULL), "ron@localhost"));
    assert_int_equal(RUN("user del", "jid", "ron@localhost")->err, E_NOTFOUND);

    add_user("ron@localhost"); /* a namesake starts with nothing */
    ron = login("ron@localhost/r");
    ASK(ron, "get", NULL, "<vCard xmlns='vcard-temp'/>", "item-not-found");
    ASK(ron, "get", NULL, PRIVATE("<a xmlns='urn:a'/>"), "<a xmlns='urn:a'/>");
    ASK(ron, "get", NULL, "<query xmlns='" NS_LAST "'/>", "item-not-found");
    assert_int_equal(RUN("user del", "jid", "ron@localhost")->err, OK);
    await(is_closed, ron);
}

/* Registration before authentication. */

static void signup_reply(void *arg, slice xml)
{
    (void)arg;
    note(set_answer, &xml);
}

static void signup_there(struct worker *w, void *arg)
{
    struct stanza *st;
    struct arena *scratch = arena_create(0);
    assert_int_equal(stanza_load(&st, slice_of(arg), w->xml, scratch), OK);
    preauth_hook->iq(w, st, SLICE("localhost"), SLICE("192.0.2.7"), signup_reply, NULL);
    stanza_unref(&st);
    arena_destroy(&scratch);
}

static const char *signup(const char *kind, const char *payload)
{
    note(clear_answer, NULL);
    char *xml = arena_printf(tmp, "<iq id='reg' type='%s'>%s</iq>", kind, payload);
    node_call(node, 0, signup_there, xml);
    return await_answer();
}
#define SIGNUP(kind, payload, part) assert_has(signup(kind, payload), part)

static void test_registration(void **state)
{
    struct buf out;
    (void)state;
    static const char eve[] = REGISTER("<username>Eve</username><password>evil-eve</password>");
    buf_init(&out, 1024);
    assert_non_null(preauth_hook);
    assert_false(preauth_hook->feature(&out, true)); /* off by default */
    SIGNUP("set", eve, "service-unavailable");
    set("register.enabled", "on");
    assert_false(preauth_hook->feature(&out, false));
    assert_int_equal(out.len, 0);
    assert_true(preauth_hook->feature(&out, true));
    assert_true(slice_is(buf_slice(&out), "<register xmlns='" NS_REGISTER_FEATURE "'/>"));
    buf_fini(&out);

    SIGNUP("get", REGISTER(""), "<username/><password/>");
    SIGNUP("get", "<ping xmlns='urn:xmpp:ping'/>", "not-authorized");
    SIGNUP("set", REGISTER("<remove/>"), "unexpected-request");
    SIGNUP("set", REGISTER("<username>eve</username>"), "not-acceptable");
    SIGNUP("set", REGISTER("<username>eve</username><password></password>"), "not-acceptable");
    SIGNUP("set", REGISTER("<username>e v</username><password>evil-eve</password>"),
           "not-acceptable");
    SIGNUP("set", REGISTER("<username>eve</username><password>short</password>"), "8 characters");
    assert_string_equal(signup("set", eve), "<iq from='localhost' id='reg' type='result'></iq>");
    SIGNUP("set", eve, "<conflict ");
    assert_non_null(row_of(RUN("user list", NULL), "eve@localhost"));
    struct stream *s = login("eve@localhost/e");
    ASK(s, "get", NULL, "<ping xmlns='urn:xmpp:ping'/>", "result");

    set("register.per-address-per-hour", "3"); /* two were used above */
    SIGNUP("set", eve, "<conflict ");
    SIGNUP("set", eve, "not-acceptable");
    set("register.per-address-per-hour", "none");
    SIGNUP("set", eve, "<conflict ");
    set("register.enabled", "off");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_user_add, reset),
        cmocka_unit_test_setup(test_user_list, reset),
        cmocka_unit_test_setup(test_user_password_ends_sessions, reset),
        cmocka_unit_test_setup(test_sessions, reset),
        cmocka_unit_test_setup(test_disco, reset),
        cmocka_unit_test_setup(test_caps, reset),
        cmocka_unit_test_setup(test_ping_version_time, reset),
        cmocka_unit_test_setup(test_last, reset),
        cmocka_unit_test_setup(test_vcard, reset),
        cmocka_unit_test_setup(test_private, reset),
        cmocka_unit_test_setup(test_password_change, reset),
        cmocka_unit_test_setup(test_removal, reset),
        cmocka_unit_test_setup(test_registration, reset),
    };
    return cmocka_run_group_tests_name("ext/services", tests, start, stop);
}
