/* The services, accounts and sessions on a running node of one worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "component/component_shown.h"
#include "core/preauth.h"
#include "core/test_live.h"
#include "ext/ext.h"
#include "ops/users.h"
#include "presence/caps.h"
#include "presence/presence_in.h"
#include "presence/roster_account.h"
#include "xmpp/ns.h"

static const struct feature *const features[] = {
    &test_auth_feature, &account_feature,
    &session_feature,   &message_feature,
    &roster_feature,    &presence_feature,
    &caps_feature,      &component_shown_feature,
    &users_feature,     &disco_feature,
    &last_feature,      &ping_feature,
    &private_feature,   &register_feature,
    &time_feature,      &vcard_feature,
    &version_feature,   NULL,
};

static void set(const char *name, const char *value)
{
    struct why why;
    struct setting *s = setting_find(slice_of(name));
    assert_non_null(s);
    assert_int_equal(setting_set(s, slice_of(value), &why), OK);
}

static int start(void **state)
{
    static const char *const domains[] = { "localhost", "other.example", NULL };
    (void)state;
    live_begin(features);
    set("auth.scram-iterations", "4096");
    live_open(0, 1, domains);
    live_start(0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    node_stop(live.node[0]);
    live_close(0);
    live_end();
    return 0;
}

static int reset(void **state)
{
    (void)state;
    arena_reset(live.tmp);
    return 0;
}

/* Clients. */

/* The answer's text. to NULL: the own account. */
static const char *ask(struct stream *s, const char *kind, const char *to, const char *payload)
{
    static unsigned last_id;
    const char *id = arena_printf(live.tmp, "q%u", ++last_id);
    live_send(s, arena_printf(live.tmp, "<iq from='%s' to='%s' id='%s' type='%s'>%s</iq>", s->jid,
                              to == NULL ? s->bare : to, id, kind, payload));
    return live_expect(s, arena_printf(live.tmp, " id='%s'", id));
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

static struct stream *login(const char *jid)
{
    struct jid j = jid_split(slice_of(jid));
    return live_bind(&live.node[0]->workers[0],
                     &(struct bind_request){ .bare = jid_bare(&j), .resource = j.resource });
}

static void present(struct stream *s, const char *attributes, const char *content)
{
    live_send(s, arena_printf(live.tmp, "<presence from='%s' %s>%s</presence>", s->jid, attributes,
                              content));
}

/* Commands. */

#define RUN(name, ...) live_run(0, name, (const char *const[]){ __VA_ARGS__, NULL })

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
    const char *address = slice_cstr(live.tmp, contact);
    uint64_t until_us = clock_mono_us() + LIVE_WAIT_S * 1000000ull;
    present(to, arena_printf(live.tmp, "to='%.*s' type='subscribed'", SLICE_ARG(watcher)), "");
    present(from, arena_printf(live.tmp, "to='%s' type='subscribe'", address), "");
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
    struct command_call *c = RUN("session list", "jid", "sam@localhost");
    const struct command_row *r = row_of(c, "sam@localhost/1");
    assert_string_equal(field_of(r, "state"), "connected");
    assert_string_equal(field_of(r, "priority"), "7");
    assert_string_equal(field_of(r, "address"), "192.0.2.1");
    assert_string_equal(field_of(r, "tls"), "true");
    assert_string_equal(field_of(row_of(c, "sam@localhost/2"), "priority"), "unavailable");
    assert_non_null(row_of(RUN("session list", NULL), "sam@localhost/2"));
    c = RUN("session list", "jid", "nobody@localhost");
    assert_int_equal(c->err, E_NOTFOUND);
    assert_has(c->text.ptr, "no account nobody@localhost");

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
    ASK(dan, "get", "localhost", ITEMS, "<query xmlns='" NS_DISCO_ITEMS "'/>");
    /* XEP-0030 §8: the same for a stranger and for nobody */
    ASK(dan, "get", "dot@localhost", INFO, "service-unavailable");
    ASK(dan, "get", "nobody@localhost", INFO, "service-unavailable");
    present(dot, "", "");
    ASK(dot, "get", NULL, ITEMS, "<item jid='dot@localhost/t'/>");
    ASK(dan, "get", "dot@localhost", ITEMS, "disco#items'/>");
    ASK(dan, "get", "nobody@localhost", ITEMS, "disco#items'/>");
    subscribe(dan, dot);
    ASK(dan, "get", "dot@localhost", INFO, "registered");
    ASK(dan, "get", "dot@localhost", ITEMS, "<item jid='dot@localhost/t'/>");

    set("contact.abuse", " mailto:a@localhost  https://x.example/?a&b ");
    ASK(dan, "get", "localhost", INFO,
        "<field var='abuse-addresses' type='list-multi'><value>mailto:a@localhost</value>"
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
    const char *query = arena_printf(live.tmp, "<query xmlns='" NS_DISCO_INFO "' node='%.*s#%.*s'",
                                     SLICE_ARG(node_name), SLICE_ARG(ver));
    const char *answer = ask(cap, "get", "localhost", arena_printf(live.tmp, "%s/>", query));
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
    const char *large =
        arena_printf(live.tmp, "<vCard xmlns='vcard-temp'><FN>%01200d</FN></vCard>", 1);
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
    ASK(pat, "set", NULL, arena_printf(live.tmp, PRIVATE("<a xmlns='urn:a'>%04200d</a>"), 1),
        "policy-violation");
    ASK(pat, "set", NULL, PRIVATE("<a xmlns='urn:a'>5</a>"), "result");
    set("private.bytes-max", "1MiB");
}

#define REGISTER(inner) "<query xmlns='jabber:iq:register'>" inner "</query>"

static void test_password_change(void **state)
{
    (void)state;
    add_user("rob@localhost");
    set("register.ask-password", "never");
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
    set("register.ask-password", "never");
    struct stream *ron = login("ron@localhost/r");
    ASK(ron, "set", NULL, "<vCard xmlns='vcard-temp'><FN>R</FN></vCard>", "result");
    ASK(ron, "set", NULL, PRIVATE("<a xmlns='urn:a'>1</a>"), "result");
    present(ron, "", "");
    set("register.remove", "off");
    ASK(ron, "set", NULL, REGISTER("<remove/>"), "not-allowed");
    set("register.remove", "on");
    ASK(ron, "set", NULL, REGISTER("<remove/>"), "type='result'></iq>");
    LIVE_AWAIT(ron->closed);
    assert_null(row_of(RUN("user list", NULL), "ron@localhost"));
    assert_int_equal(RUN("user del", "jid", "ron@localhost")->err, E_NOTFOUND);

    add_user("ron@localhost"); /* a namesake starts with nothing */
    ron = login("ron@localhost/r");
    ASK(ron, "get", NULL, "<vCard xmlns='vcard-temp'/>", "item-not-found");
    ASK(ron, "get", NULL, PRIVATE("<a xmlns='urn:a'/>"), "<a xmlns='urn:a'/>");
    ASK(ron, "get", NULL, "<query xmlns='" NS_LAST "'/>", "item-not-found");
    assert_int_equal(RUN("user del", "jid", "ron@localhost")->err, OK);
    LIVE_AWAIT(ron->closed);
}

/* Registration before authentication. */

struct signup {
    const char *xml, *answer;
    bool answered;
};

static void signup_reply(void *arg, slice xml, slice note)
{
    (void)note;
    struct signup *s = arg;
    s->answer = slice_cstr(live.tmp, xml);
    live_set(&s->answered);
}

static void signup_there(struct worker *w, void *arg)
{
    struct signup *s = arg;
    struct stanza *st;
    struct arena *scratch = arena_create(0);
    assert_int_equal(stanza_load(&st, slice_of(s->xml), w->xml, scratch), OK);
    register_feature.one.preauth->iq(&(struct preauth_request){ .worker = w,
                                                                .st = st,
                                                                .domain = SLICE("localhost"),
                                                                .address = SLICE("192.0.2.7"),
                                                                .note = SLICE("") },
                                     signup_reply, s);
    stanza_unref(&st);
    arena_destroy(&scratch);
}

static const char *signup(const char *kind, const char *payload)
{
    struct signup *s = arena_new(live.tmp, struct signup, 1);
    s->xml = arena_printf(live.tmp, "<iq id='reg' type='%s'>%s</iq>", kind, payload);
    node_call(live.node[0], 0, signup_there, s);
    LIVE_AWAIT(s->answered);
    return s->answer;
}
#define SIGNUP(kind, payload, part) assert_has(signup(kind, payload), part)

static void test_registration(void **state)
{
    struct buf out;
    (void)state;
    static const char eve[] = REGISTER("<username>Eve</username><password>evil-eve</password>");
    buf_init(&out, 1024);
    assert_false(
        register_feature.one.preauth->feature(&out, SLICE("x.test"), true)); /* off by default */
    SIGNUP("set", eve, "service-unavailable");
    set("register.enabled", "on");
    assert_false(register_feature.one.preauth->feature(&out, SLICE("x.test"), false));
    assert_int_equal(out.len, 0);
    assert_true(register_feature.one.preauth->feature(&out, SLICE("x.test"), true));
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
