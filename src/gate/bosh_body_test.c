#include "base/arena.h"
#include "codec/xml_read.h"
#include "gate/bosh_body.h"
#include "xmpp/ns.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h> /* needs the three above */

static struct xml_work *work;
static struct arena *tmp;
static struct bosh_body body;

/* <body/> with these attributes and children. */
static bool read_body(const char *attrs, const char *children)
{
    const char *text =
        arena_printf(tmp, "<body xmlns='" NS_HTTPBIND "' %s>%s</body>", attrs, children);
    return bosh_body_read(&body, slice_of(text), work, tmp);
}

static void all_attributes_are_read(void **state)
{
    (void)state;
    assert_true(read_body("rid='7' sid='s1' to='a.test' from='b@a.test' xml:lang='de' wait='60' "
                          "hold='1' pause='0' ack='6' ver='1.6' content='text/plain' key='k' "
                          "newkey='n' type='terminate' xmlns:xmpp='" NS_XBOSH
                          "' xmpp:version='1.0' xmpp:restart='true'",
                          ""));
    assert_int_equal(body.rid, 7);
    assert_int_equal(body.wait, 60);
    assert_int_equal(body.hold, 1);
    assert_int_equal(body.pause, 0);
    assert_int_equal(body.ack, 6);
    assert_true(slice_is(body.sid, "s1") && slice_is(body.to, "a.test"));
    assert_true(slice_is(body.from, "b@a.test") && slice_is(body.lang, "de"));
    assert_true(slice_is(body.ver, "1.6") && slice_is(body.version, "1.0"));
    assert_true(slice_is(body.content, "text/plain"));
    assert_true(slice_is(body.key, "k") && slice_is(body.newkey, "n"));
    assert_true(body.terminate && body.restart && !body.own_prefixes);
}

static void what_is_absent_is_told_apart(void **state)
{
    (void)state;
    assert_true(read_body("rid='1'", ""));
    assert_int_equal(body.wait, -1);
    assert_int_equal(body.hold, -1);
    assert_int_equal(body.pause, -1);
    assert_int_equal(body.ack, -1);
    assert_null(body.sid.ptr);
    assert_null(body.to.ptr);
    assert_null(body.key.ptr);
    assert_false(body.terminate || body.restart);
    assert_true(read_body("rid='1' sid='' type='other' restart='true'", ""));
    assert_non_null(body.sid.ptr);
    assert_false(body.terminate || body.restart);
}

/* XEP-0124 §14.1 */
static void numbers_have_their_bounds(void **state)
{
    static const char *const good[] = {
        "rid='1'",
        "rid='9007199254740991'",
        "rid='1' wait='0'",
        "rid='1' wait='1048576' hold='1048576' pause='1048576'",
        "rid='1' ack='9007199254740991'",
        "rid='1' ack='0'",
    };
    static const char *const bad[] = {
        "",
        "rid=''",
        "rid='0'",
        "rid='-1'",
        "rid='x'",
        "rid='1.5'",
        "rid='9007199254740992'",
        "rid='99999999999999999999'",
        "rid='1' wait='-1'",
        "rid='1' wait='1048577'",
        "rid='1' hold='x'",
        "rid='1' pause=''",
        "rid='1' ack='-1'",
        "rid='1' ack='9007199254740992'",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!read_body(good[i], ""))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (read_body(bad[i], ""))
            fail_msg("taken: %s", bad[i]);
}

static void only_a_body_is_one(void **state)
{
    static const char *const bad[] = {
        "",
        " \n ",
        "body",
        "<body rid='1'/>",
        "<body xmlns='jabber:client' rid='1'/>",
        "<bodies xmlns='" NS_HTTPBIND "' rid='1'/>",
        "<body xmlns='" NS_HTTPBIND "' rid='1'>",
        "<body xmlns='" NS_HTTPBIND "' rid='1'><a></body>",
        "<body xmlns='" NS_HTTPBIND "' rid='1'/><body xmlns='" NS_HTTPBIND "' rid='2'/>",
        "<!-- one --><body xmlns='" NS_HTTPBIND "' rid='1'/>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (bosh_body_read(&body, slice_of(bad[i]), work, tmp))
            fail_msg("taken: %s", bad[i]);
    assert_true(bosh_body_read(&body, SLICE(" \r\n<h:body xmlns:h='" NS_HTTPBIND "' rid='1'/>"),
                               work, tmp));
}

/* Children that use them cannot be taken as they stand. */
static void prefixes_of_its_own_are_noticed(void **state)
{
    (void)state;
    assert_true(read_body("rid='1' xmlns:xmpp='" NS_XBOSH "' xmlns:stream='" NS_STREAM "'", ""));
    assert_false(body.own_prefixes);
    assert_true(read_body("rid='1' xmlns:x='urn:x'", "<x:a/>"));
    assert_true(body.own_prefixes);
}

static void children_come_in_their_order(void **state)
{
    struct elem child;
    unsigned count = 0;
    char text[4096] = "";
    (void)state;
    for (int i = 0; i < 100; i++) /* more than the reader lists */
        snprintf(text + strlen(text), sizeof text - strlen(text), "<m id='%d'/>", i);
    assert_true(read_body("rid='1'", text));
    for (bool more = elem_first(&body.elem, &child); more; more = elem_next(&child, &child)) {
        int64_t id;
        assert_true(slice_int(elem_attr(&child, "id", tmp), &id));
        assert_int_equal(id, count++);
    }
    assert_int_equal(count, 100);
}

static int begin(void **state)
{
    (void)state;
    work = xml_work_create();
    tmp = arena_create(0);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    xml_work_destroy(&work);
    arena_destroy(&tmp);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_attributes_are_read),
        cmocka_unit_test(what_is_absent_is_told_apart),
        cmocka_unit_test(numbers_have_their_bounds),
        cmocka_unit_test(only_a_body_is_one),
        cmocka_unit_test(prefixes_of_its_own_are_noticed),
        cmocka_unit_test(children_come_in_their_order),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
