#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_write.h"
#include "xmpp/disco_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int setup(void **state)
{
    *state = arena_create(0);
    return 0;
}

static int teardown(void **state)
{
    struct arena *tmp = *state;
    arena_destroy(&tmp);
    return 0;
}

static struct disco_info *client(struct arena *tmp)
{
    struct disco_info *d = arena_new(tmp, struct disco_info, 1);
    disco_add_feature(d, SLICE("http://jabber.org/protocol/muc"));
    disco_add_feature(d, SLICE("http://jabber.org/protocol/disco#items"));
    disco_add_feature(d, SLICE("http://jabber.org/protocol/caps"));
    disco_add_feature(d, SLICE("http://jabber.org/protocol/disco#info"));
    disco_add_feature(d, SLICE("http://jabber.org/protocol/caps"));
    return d;
}

static void assert_ver(const struct disco_info *d, const char *expected, struct arena *tmp)
{
    assert_string_equal(slice_cstr(tmp, disco_caps_ver(d, tmp)), expected);
}

/* XEP-0115 §5.2 */
static void test_simple_vector(void **state)
{
    struct disco_info *d = client(*state);
    disco_add_identity(d, SLICE("client"), SLICE("pc"), SLICE("Exodus 0.9.1"));
    assert_int_equal(d->feature_count, 4);
    assert_ver(d, "QgayPKawpkPSDYmwT/WM94uAlu0=", *state);
}

/* XEP-0115 §5.3: two languages, a form whose fields and values come unsorted */
static void test_complex_vector(void **state)
{
    struct disco_info *d = client(*state);
    disco_add_identity(d, SLICE("client"), SLICE("pc"), SLICE("Psi 0.11"));
    disco_add_identity(d, SLICE("client"), SLICE("pc"), SLICE("\xce\xa8 0.11"));
    d->identity[0].lang = SLICE("en");
    d->identity[1].lang = SLICE("el");
    d->form_type = SLICE("urn:xmpp:dataforms:softwareinfo");
    disco_add_value(disco_add_field(d, SLICE("software_version")), SLICE("0.11"));
    disco_add_value(disco_add_field(d, SLICE("os")), SLICE("Mac"));
    struct disco_field *ip = disco_add_field(d, SLICE("ip_version"));
    disco_add_value(ip, SLICE("ipv6"));
    disco_add_value(ip, SLICE("ipv4"));
    disco_add_value(disco_add_field(d, SLICE("software")), SLICE("Psi"));
    disco_add_value(disco_add_field(d, SLICE("os_version")), SLICE("10.5.1"));
    assert_ver(d, "q07IKJEyjvHSyhy//CH0CxmKi8w=", *state);
    assert_true(slice_is(d->field[0].var, "software_version")); /* hashing changed nothing */
}

static void test_hash_depends_on_every_part(void **state)
{
    struct disco_info *a = client(*state), *b = client(*state);
    disco_add_identity(a, SLICE("server"), SLICE("im"), SLICE("Muster"));
    disco_add_identity(b, SLICE("server"), SLICE("im"), SLICE("Muster"));
    slice ver = disco_caps_ver(a, *state);
    assert_true(slice_eq(ver, disco_caps_ver(b, *state)));
    disco_add_feature(b, SLICE("urn:xmpp:ping"));
    assert_false(slice_eq(ver, disco_caps_ver(b, *state)));
    a->form_type = SLICE("urn:form");
    disco_add_field(a, SLICE("v"));
    slice of_a = disco_caps_ver(a, *state);
    assert_false(slice_eq(ver, of_a));
    a->field[0].form = SLICE("urn:other");
    assert_false(slice_eq(of_a, disco_caps_ver(a, *state)));
}

static void assert_xml(const struct disco_info *d, slice node, const char *expected)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    disco_write_info(&x, d, node);
    buf_lit(&out, "\0");
    assert_string_equal(out.ptr, expected);
    buf_fini(&out);
}

static void test_write(void **state)
{
    struct disco_info *d = arena_new(*state, struct disco_info, 1);
    disco_add_identity(d, SLICE("server"), SLICE("im"), SLICE("M & N"));
    disco_add_feature(d, SLICE("urn:b"));
    disco_add_feature(d, SLICE("urn:a"));
    disco_add_feature(d, SLICE("urn:a:1"));
    assert_xml(d, SLICE(""),
               "<query xmlns='http://jabber.org/protocol/disco#info'>"
               "<identity category='server' type='im' name='M &amp; N'/>"
               "<feature var='urn:a'/><feature var='urn:a:1'/><feature var='urn:b'/></query>");
    d->form_type = SLICE("urn:form");
    struct disco_field *f = disco_add_field(d, SLICE("abuse-addresses"));
    disco_add_value(f, SLICE("mailto:a@b"));
    disco_add_value(f, SLICE("https://x/?a&b"));
    d->feature_count = 0;
    assert_xml(d, SLICE("n'1"),
               "<query xmlns='http://jabber.org/protocol/disco#info' node='n&apos;1'>"
               "<identity category='server' type='im' name='M &amp; N'/>"
               "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>"
               "<value>urn:form</value></field><field var='abuse-addresses'>"
               "<value>mailto:a@b</value><value>https://x/?a&amp;b</value></field></x></query>");
}

/* XEP-0115 §5.1 sorts forms by their type, whatever order they are told in. */
static void test_two_forms(void **state)
{
    struct disco_info *d[2];
    for (unsigned i = 0; i < 2; i++) {
        d[i] = arena_new(*state, struct disco_info, 1);
        d[i]->form_type = i == 0 ? SLICE("urn:b") : SLICE("urn:a");
        disco_add_value(disco_add_field(d[i], SLICE("v")), SLICE("1"));
        d[i]->form_type = i == 0 ? SLICE("urn:a") : SLICE("urn:b");
        disco_add_value(disco_add_field(d[i], SLICE("v")), SLICE("1"));
    }
    assert_true(slice_eq(disco_caps_ver(d[0], *state), disco_caps_ver(d[1], *state)));
#define FORM(type)                                                                                 \
    "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>" type     \
    "</value></field><field var='v'><value>1</value></field></x>"
    assert_xml(d[0], SLICE(""),
               "<query xmlns='http://jabber.org/protocol/disco#info'>" FORM("urn:b")
                   FORM("urn:a") "</query>");
}

static void test_values_are_bounded(void **state)
{
    struct disco_info *d = arena_new(*state, struct disco_info, 1);
    struct disco_field *f = disco_add_field(d, SLICE("v"));
    for (unsigned i = 0; i < DISCO_VALUES_MAX + 5; i++)
        disco_add_value(f, SLICE("x"));
    assert_int_equal(f->value_count, DISCO_VALUES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_simple_vector, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complex_vector, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hash_depends_on_every_part, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests_name("ext/disco_info", tests, NULL, NULL);
}
