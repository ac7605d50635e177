#include "base/arena.h"
#include "base/buf.h"
#include "ext/mail_address_text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs the three above */

static slice to_mail(void *arg, slice bare)
{
    (void)arg;
    return slice_is(bare, "alice@a.test") ? SLICE("alice.smith@a.test")
           : slice_is(bare, "odd@a.test") ? SLICE("m\xc3\xbcller#!@a.test")
                                          : (slice){ 0 };
}

static void check(const char *in, const char *expected)
{
    struct arena *a = arena_create(0);
    struct buf b;
    buf_init(&b, 4096);
    bool changed = mail_address_replace(&b, slice_of(in), to_mail, NULL, a);
    assert_int_equal(changed, strcmp(in, expected) != 0);
    assert_true(slice_eq(buf_fit(&b), slice_of(expected)));
    buf_fini(&b);
    arena_destroy(&a);
}
static void test_replaces(void **state)
{
    (void)state;
    check("<message from='alice@a.test/x' to='bob@b.test'/>",
          "<message from='alice.smith@a.test/x' to='bob@b.test'/>");
    check("<x a=\"1\" ><item jid = \"alice@a.test\"/>by='alice@a.test'</x>",
          "<x a=\"1\" ><item jid = \"alice.smith@a.test\"/>by='alice@a.test'</x>");
    check("<x from='b' to='alice@a.test' by='alice@a.test'/>",
          "<x from='b' to='alice.smith@a.test' by='alice.smith@a.test'/>");
    check("<x initiator='alice@a.test/x' responder='alice@a.test' creator='initiator'/>",
          "<x initiator='alice.smith@a.test/x' responder='alice.smith@a.test' "
          "creator='initiator'/>");
}
#define FORM(field, value)                                                                         \
    "<x xmlns='jabber:x:data'><field " field "><value>" value "</value></field></x>"
static void test_replaces_in_forms(void **state)
{
    (void)state;
    check(FORM("type='jid-single' var='a'", "alice@a.test"),
          FORM("type='jid-single' var='a'", "alice.smith@a.test"));
    check(FORM("var=\"muc#roomconfig_roomadmins\" type='jid-multi'", "alice@a.test/x"),
          FORM("var=\"muc#roomconfig_roomadmins\" type='jid-multi'", "alice.smith@a.test/x"));
    check(FORM("var='with'", "b@a.test</value><value >alice@a.test"),
          FORM("var='with'", "b@a.test</value><value >alice.smith@a.test"));
    check(FORM("var='subject'", "alice@a.test"), FORM("var='subject'", "alice@a.test"));
    check(FORM("type='jid-single'/><field var='b'", "alice@a.test"),
          FORM("type='jid-single'/><field var='b'", "alice@a.test"));
    check(FORM("var='with'", "x") "<value>alice@a.test</value>",
          FORM("var='with'", "x") "<value>alice@a.test</value>");
    check(FORM("var='with'", "to alice@a.test"), FORM("var='with'", "to alice@a.test"));
    check("<field var='with'><value>alice@a.test", "<field var='with'><value>alice@a.test");
    check("<field var='with'><value/>alice@a.test", "<field var='with'><value/>alice@a.test");
    check("<field var='with'><value />alice@a.test<a/>",
          "<field var='with'><value />alice@a.test<a/>");
    check("<field var='with'><value>", "<field var='with'><value>");
}
#define TABLE(columns, cell)                                                                       \
    "<x xmlns='jabber:x:data'><reported>" columns "</reported>"                                    \
    "<item><field var='a'><value>" cell "</value></field></item></x>"
#define JID_COLUMN "<field var='&#97;' type='jid-single'/>"
static void test_replaces_in_columns(void **state)
{
    static const char cells[] = "<field var='a'><value>alice@a.test</value></field>";
    char in[4096], out[4096];
    (void)state;
    check(TABLE(JID_COLUMN, "alice@a.test"), TABLE(JID_COLUMN, "alice.smith@a.test"));
    check(TABLE("<field type='jid-multi' var='b'/>" JID_COLUMN, "alice@a.test"),
          TABLE("<field type='jid-multi' var='b'/>" JID_COLUMN, "alice.smith@a.test"));
    check(TABLE("<field var='b' type='jid-single'/><field var='a'/>", "alice@a.test"),
          TABLE("<field var='b' type='jid-single'/><field var='a'/>", "alice@a.test"));
    /* Of another form; and one that only this table has. */
    snprintf(in, sizeof in, TABLE(JID_COLUMN, "b") "<x>%s</x>", cells);
    check(in, in);
    snprintf(in, sizeof in, "<x><reported/>" JID_COLUMN "%s</x>", cells);
    check(in, in);
    snprintf(in, sizeof in, "<x><reported>" JID_COLUMN "</reported><item>%s</item>%s</x>", cells,
             cells);
    snprintf(out, sizeof out, "<x><reported>" JID_COLUMN "</reported><item>%s</item>%s</x>",
             "<field var='a'><value>alice.smith@a.test</value></field>",
             "<field var='a'><value>alice.smith@a.test</value></field>");
    check(in, out);
    check("<field var='with' type='list-single'><option><value>alice@a.test</value></option>",
          "<field var='with' type='list-single'><option><value>alice.smith@a.test</value>"
          "</option>");
    check("<field var='a' type='list-multi'><option><value>alice@a.test</value></option>",
          "<field var='a' type='list-multi'><option><value>alice@a.test</value></option>");
}
#define MENTION(uri) "<reference type='mention' uri='" uri "'/>"
#define IMPP(uri)    "<impp><parameters/><uri>" uri "</uri></impp>"
static void test_replaces_in_links_and_cards(void **state)
{
    static const char *const same[] = { MENTION("alice@a.test"),
                                        MENTION("xmpp:bob@a.test"),
                                        MENTION("mailto:alice@a.test"),
                                        MENTION("xmpp:"),
                                        MENTION("xmpp:?message"),
                                        MENTION("xmpp:alice%4"),
                                        MENTION("xmpp:alice%zz@a.test"),
                                        MENTION("xmpp:%00@a.test"),
                                        MENTION("xmpp://alice@a.test/bob@b.test"),
                                        MENTION("xmpp:room@a.test?join;from=alice@a.test"),
                                        "<oob uri='xmpp:alice@a.test'/>",
                                        "<uri>xmpp:alice@a.test</uri>",
                                        "<impp/><uri>xmpp:alice@a.test</uri>",
                                        IMPP("b") "<uri>xmpp:alice@a.test</uri>",
                                        IMPP("alice@a.test"),
                                        "<JABBERID/>alice@a.test",
                                        "<NICKNAME>alice@a.test</NICKNAME>" };
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        check(same[i], same[i]);
    check(MENTION("xmpp:alice@a.test"), MENTION("xmpp:alice.smith@a.test"));
    check(MENTION("XMPP:Alice@a.test/a%20b?message;body=1&amp;x#y"),
          MENTION("xmpp:alice.smith@a.test/a%20b?message;body=1&amp;x#y"));
    check(MENTION("xmpp:%61lice&#37;40a.test"), MENTION("xmpp:alice.smith@a.test"));
    check("<r:reference anchor='xmpp:alice@a.test?;node=n'/>",
          "<r:reference anchor='xmpp:alice.smith@a.test?;node=n'/>");
    check(MENTION("xmpp:odd@a.test"), MENTION("xmpp:m%C3%BCller%23!@a.test"));
    check("<JABBERID>alice@a.test/x</JABBERID>", "<JABBERID>alice.smith@a.test/x</JABBERID>");
    check(IMPP("xmpp:alice@a.test"), IMPP("xmpp:alice.smith@a.test"));
    check("<d:impp><d:uri><![CDATA[xmpp:alice@a.test?message]]></d:uri></d:impp>",
          "<d:impp><d:uri>xmpp:alice.smith@a.test?message</d:uri></d:impp>");
}
#define SMITH FORM("var='with'", "alice.smith@a.test")
static void test_replaces_however_it_is_written(void **state)
{
    (void)state;
    check("<x from='&#97;lice&#x40;A.test' to='ALICE@a.test/&lt;&apos;X'/>",
          "<x from='alice.smith@a.test' to='alice.smith@a.test/&lt;&apos;X'/>");
    check(FORM("var='with'", "Alice@A.TEST"), SMITH);
    check(FORM("var='with'", "&#97;lice&#64;a.test"), SMITH);
    check(FORM("var='with'", "<![CDATA[alice@a.test]]>"), SMITH);
    check(FORM("var='with'", "al<![CDATA[]]><![CDATA[ice]]>@a.t&#101;st"), SMITH);
    check(FORM("var='&#119;ith'", "alice@a.test"), FORM("var='&#119;ith'", "alice.smith@a.test"));
    check("<d:field a:b='' var='hats#jid'><d:value>alice@a.test</d:value></d:field>",
          "<d:field a:b='' var='hats#jid'><d:value>alice.smith@a.test</d:value></d:field>");
    check("<d:field var='with'></d:field><d:value>alice@a.test</d:value>",
          "<d:field var='with'></d:field><d:value>alice@a.test</d:value>");
}
static void test_keeps(void **state)
{
    static const char *const same[] = { "",
                                        "text",
                                        "<body>alice@a.test</body>",
                                        "<x node='alice@a.test'/>",
                                        "<x from='alice@a.test.de'/>",
                                        "<![CDATA[<x from='alice@a.test'/>]]>",
                                        "<![CDATA[<x from='alice@a.test'/>",
                                        "<",
                                        "<x from",
                                        "<x from=",
                                        "<x from='alice@a.test",
                                        "<x from=alice@a.test>",
                                        "<x from='alice@a.test/'/>",
                                        "<x from=''/>",
                                        "<field var='with'><value>alice@a.test<a/></value>",
                                        "<field var='with'><value><![CDATA[alice@a.test",
                                        "<field var='with'></value>alice@a.test</value>",
                                        "<x title='&gt; from=&apos;alice@a.test'/>",
                                        "<x title=\" from='alice@a.test' \"/>" };
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        check(same[i], same[i]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(test_replaces),
                                               cmocka_unit_test(test_replaces_in_forms),
                                               cmocka_unit_test(test_replaces_in_columns),
                                               cmocka_unit_test(test_replaces_in_links_and_cards),
                                               cmocka_unit_test(
                                                   test_replaces_however_it_is_written),
                                               cmocka_unit_test(test_keeps) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
