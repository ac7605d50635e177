#include "core/feature_check.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "account/account_life.h"
#include "base/alarm.h"
#include "base/command.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/command_form.h"
#include "core/feature.h"
#include "core/preauth.h"
#include "home/host.h"
#include "http/server.h"

static void on_request(struct iq *iq) { (void)iq; }
static void on_element(struct session *s) { (void)s; }

static void on_bind(struct session *s, const struct elem *e, struct buf *bound)
{
    (void)s, (void)e, (void)bound;
}

static void on_fan(struct worker *w, slice jid, uint32_t number, struct stanza *st, slice tag)
{
    (void)w, (void)jid, (void)number, (void)st, (void)tag;
}

/* Whether the two agree; else the words of the disagreement. */
static const char *said(const struct feature *one, const struct feature *two)
{
    static struct why why;
    return features_agree((const struct feature *const[]){ one, two, NULL }, &why) ? NULL
                                                                                   : why.text;
}

/* A feature with these rows beside another that has them, too. */
#define assert_refused(words, ...)                                                                 \
    do {                                                                                           \
        const struct feature one_ = { .name = "one", __VA_ARGS__ };                                \
        const struct feature two_ = { .name = "two", __VA_ARGS__ };                                \
        const struct feature none_ = { .name = "none" };                                           \
        assert_null(said(&one_, &none_));                                                          \
        const char *said_ = said(&one_, &two_);                                                    \
        assert_non_null(said_);                                                                    \
        assert_string_equal(said_, "features one and two both have " words);                       \
    } while (0)

static void test_names(void **state)
{
    static const struct feature one = { .name = "one" }, other = { .name = "one" };
    (void)state;
    assert_string_equal(said(&one, &other), "features one and one both have the name one");
}

static const struct iq_rule get_self[] = {
    { TYPE_GET, "urn:x", "query", IQ_TO_SELF | IQ_TO_ROOM, on_request }, { 0 }
};

static void test_requests(void **state)
{
    (void)state;
    assert_refused("the request <query xmlns='urn:x'/> of type get to oneself", .iq = get_self);
}

/* The kind of address, the type, the name and the namespace each make another rule. */
static void test_other_requests(void **state)
{
    static const struct iq_rule others[] = {
        { TYPE_GET, "urn:x", "query", IQ_TO_SERVER | IQ_TO_ACCOUNT | IQ_TO_HOST, on_request },
        { TYPE_SET, "urn:x", "query", IQ_TO_SELF, on_request },
        { TYPE_GET, "urn:x", "other", IQ_TO_SELF, on_request },
        { TYPE_GET, "urn:x:longer", "query", IQ_TO_SELF, on_request },
        { 0 },
    };
    static const struct host host[] = { { .label = "h", .iq = get_self }, { 0 } };
    static const struct feature one = { .name = "one", .iq = get_self };
    static const struct feature two = { .name = "two", .iq = others, .hosts = host };
    (void)state;
    assert_null(said(&one, &two));
}

static void test_requests_at_a_host(void **state)
{
    static const struct iq_rule twice[] = {
        { TYPE_SET, "urn:x", "query", IQ_TO_HOST, on_request },
        { TYPE_SET, "urn:x", "query", IQ_TO_HOST | IQ_TO_ROOM, on_request },
        { 0 },
    };
    static const struct host host[] = { { .label = "h", .iq = twice }, { 0 } };
    static const struct feature one = { .name = "one", .hosts = host }, two = { .name = "two" };
    (void)state;
    assert_string_equal(said(&one, &two), "features one and one both have the request <query "
                                          "xmlns='urn:x'/> of type set to a service at h");
}

static void test_hosts(void **state)
{
    static const struct host host[] = { { .label = "pubsub" }, { 0 } };
    (void)state;
    assert_refused("the host pubsub", .hosts = host);
}

static void test_elements(void **state)
{
    static const struct nonza nonza[] = { { NONZA_CSI_ACTIVE, "urn:x", "active", on_element },
                                          { 0 } };
    static const struct nonza other[] = { { NONZA_CSI_ACTIVE, "urn:x", "other", on_element },
                                          { 0 } };
    static const struct feature one = { .name = "one", .nonzas = nonza };
    static const struct feature two = { .name = "two", .nonzas = other };
    static const struct bind2_rule rule[] = { { "urn:x", "enable", on_bind, NULL }, { 0 } };
    (void)state;
    assert_refused("the element <active xmlns='urn:x'/>", .nonzas = nonza);
    assert_string_equal(said(&one, &two), "features one and two both have the element of number 0");
    assert_refused("<enable xmlns='urn:x'/> within <bind/>", .bind2 = rule);
}

static void test_what_discovery_shows(void **state)
{
    static const char *const vars[] = { "urn:x", NULL };
    static const char *const pep[] = { "pubsub pep", NULL }, *const named[] = { "pubsub pep Ours",
                                                                                NULL };
    static const struct disco_form form = { .type = "urn:x:form" };
    static const struct feature of_server = { .name = "one", .disco = vars, .identities = pep };
    static const struct feature of_others = {
        .name = "two", .disco = vars, .disco_account = vars, .identities_account = named
    };
    static const struct feature again = { .name = "three",
                                          .disco_account = vars,
                                          .identities_account = pep };
    (void)state;
    assert_refused("the identity pubsub/pep of the server", .identities = pep);
    assert_refused("the form urn:x:form", .form = &form);
    assert_refused("the stream feature <x xmlns='urn:x'/>", .stream_feature = "<x xmlns='urn:x'/>");
    assert_null(said(&of_server, &of_others));
    assert_string_equal(said(&of_others, &again),
                        "features two and three both have the identity pubsub/pep of accounts");
}

static void test_commands(void **state)
{
    static const struct command_form rows[] = { { .node = "urn:x" }, { 0 } };
    (void)state;
    assert_refused("the ad-hoc command urn:x", .command_forms = rows);
}

static void test_tags(void **state)
{
    static const struct fan_tag tag[] = { { 'm', on_fan }, { 0 } };
    static const struct fan_tag other[] = { { 'n', on_fan }, { 0 } };
    static const struct feature one = { .name = "one", .fans = tag };
    static const struct feature two = { .name = "two", .fans = other };
    (void)state;
    assert_refused("fans tagged m", .fans = tag);
    assert_null(said(&one, &two));
}

static void test_statements(void **state)
{
    static struct store_stmt stmt = { .name = "x.read" }, again = { .name = "x.read" };
    static struct store_stmt *const stmts[] = { &stmt, NULL }, *const agains[] = { &again, NULL };
    static const struct store_schema schema = { .feature = "x", .stmts = stmts };
    static const struct store_schema other = { .feature = "y", .stmts = agains };
    static const struct feature one = { .name = "one", .schema = &schema };
    static const struct feature two = { .name = "two", .schema = &other };
    (void)state;
    assert_refused("the tables of x", .schema = &schema);
    assert_string_equal(said(&one, &two), "features one and two both have the statement x.read");
}

static void test_what_operators_see(void **state)
{
    static struct setting setting = { .name = "x.on" };
    static struct command command = { .name = "x add" };
    static struct metric metric = { .name = "muster_x" };
    static const struct metric_family families[] = { { .name = "muster_x_domain" }, { 0 } };
    static struct alarm alarm = { .name = "x.full" };
    static struct log_area area = { .name = "x" };
    (void)state;
    assert_refused("the setting x.on", .settings = (struct setting *const[]){ &setting, NULL });
    assert_refused("the command x add", .commands = (struct command *const[]){ &command, NULL });
    assert_refused("the metric muster_x", .metrics = (struct metric *const[]){ &metric, NULL });
    assert_refused("the metric muster_x_domain", .families = families);
    assert_refused("the alarm x.full", .alarms = (struct alarm *const[]){ &alarm, NULL });
    assert_refused("the log area x", .logs = (struct log_area *const[]){ &area, NULL });
}

static void on_page(struct http_request *r) { (void)r; }

static void test_pages(void **state)
{
    static const struct setting moved = { .name = "x.path", .type = PARAM_TEXT, .def_text = "/x" };
    static const struct http_route fixed[] = { { .path = "/x", .handle = on_page }, { 0 } };
    static const struct http_route chosen[] = { { .path_from = &moved, .handle = on_page }, { 0 } };
    static const struct http_route below[] = { { .path = "/x/", .handle = on_page }, { 0 } };
    static const struct feature one = { .name = "one", .http = fixed };
    static const struct feature two = { .name = "two", .http = chosen };
    static const struct feature other = { .name = "other", .http = below };
    (void)state;
    assert_refused("the page /x", .http = fixed);
    assert_string_equal(said(&one, &two), "features one and two both have the page /x");
    assert_null(said(&one, &other));
}

/* A page with a listener of its own is not on the others; other pages of its group are on both. */
static void test_pages_of_a_group(void **state)
{
    static const struct http_route own[] = {
        { .path = "/x", .group = "g", .flags = HTTP_OWN_LISTENER, .handle = on_page }, { 0 }
    };
    static const struct http_route all[] = { { .path = "/x", .handle = on_page }, { 0 } };
    static const struct http_route both[] = { { .path = "/x", .group = "g", .handle = on_page },
                                              { 0 } };
    static const struct feature one = { .name = "one", .http = own };
    static const struct feature two = { .name = "two", .http = all };
    static const struct feature other = { .name = "other", .http = both };
    (void)state;
    assert_refused("the page /x on listeners of g", .http = own);
    assert_null(said(&one, &two));
    assert_string_equal(said(&one, &other),
                        "features one and other both have the page /x on listeners of g");
    assert_string_equal(said(&two, &other), "features two and other both have the page /x");
}

static void test_what_one_feature_has(void **state)
{
    static const struct preauth preauth = { 0 };
    (void)state;
    const struct template_part templates = { 0 };
    assert_refused("what templates give", .one.templates = &templates);
    assert_refused("requests before authentication", .one.preauth = &preauth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_other_requests),
        cmocka_unit_test(test_requests_at_a_host),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_what_discovery_shows),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_what_operators_see),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_pages_of_a_group),
        cmocka_unit_test(test_what_one_feature_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
