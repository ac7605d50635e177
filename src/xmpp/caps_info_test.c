#include "base/arena.h"
#include "codec/xml_elem.h"
#include "xmpp/caps_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena *arena;

static int make_arena(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}
static int drop_arena(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

#define QUERY(inner) "<query xmlns='http://jabber.org/protocol/disco#info'>" inner "</query>"
#define FEATURE(var) "<feature var='" var "'/>"

static bool verify(enum caps_version version, const char *algo, const char *value, const char *xml)
{
    struct elem query;
    struct caps_key key = { .version = version, .algo = slice_of(algo), .value = slice_of(value) };
    assert_true(elem_parse(&query, slice_of(xml), SLICE("jabber:client")));
    return caps_verify(&key, &query, arena);
}

/* XEP-0115 §5.2 */
static const char exodus[] =
    QUERY("<identity category='client' type='pc' name='Exodus 0.9.1'/>" FEATURE(
        "http://jabber.org/protocol/caps") FEATURE("http://jabber.org/protocol/disco#info")
              FEATURE("http://jabber.org/protocol/disco#items")
                  FEATURE("http://jabber.org/protocol/muc"));
static const char exodus_ver[] = "QgayPKawpkPSDYmwT/WM94uAlu0=";

#define FIELD(var, values) "<field var='" var "'>" values "</field>"
/* §5.3; the order of things does not matter */
static const char psi[] = QUERY(
    "<identity xml:lang='el' category='client' type='pc' name='\316\250 0.11'/>"
    "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>" FEATURE(
        "http://jabber.org/protocol/muc") FEATURE("http://jabber.org/protocol/disco#items")
        FEATURE("http://jabber.org/protocol/disco#info") FEATURE(
            "http://jabber.org/protocol/caps") "<x xmlns='jabber:x:data' type='result'>"
                                               "<field var='FORM_TYPE' "
                                               "type='hidden'><value>urn:xmpp:dataforms:"
                                               "softwareinfo</value>"
                                               "</field>" FIELD("os_version",
                                                                "<value>10.5.1</value>")
                                                   FIELD("software_version", "<value>0.11</value>")
                                                       FIELD(
                                                           "ip_version",
                                                           "<value>ipv6</value><value>ipv4</value>")
                                                           FIELD("os", "<value>Mac</value>")
                                                               FIELD("software",
                                                                     "<value>Psi</value>") "</x>");

static void test_examples_of_xep_0115(void **state)
{
    (void)state;
    assert_true(verify(CAPS_1, "sha-1", exodus_ver, exodus));
    assert_true(verify(CAPS_1, "SHA-1", exodus_ver, exodus));
    assert_true(verify(CAPS_1, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", psi));
    assert_false(verify(CAPS_1, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", exodus));
    assert_false(verify(CAPS_1, "sha-256", exodus_ver, exodus));
    assert_false(verify(CAPS_1, "md5", exodus_ver, exodus));
}

/* XEP-0390 §4.5.1 */
static const char bombus[] = QUERY(
    "<identity category='client' name='BombusMod' type='mobile'/>" FEATURE(
        "http://jabber.org/protocol/si") FEATURE("http://jabber.org/protocol/bytestreams")
        FEATURE("http://jabber.org/protocol/chatstates")
            FEATURE("http://jabber.org/protocol/disco#info")
                FEATURE("http://jabber.org/protocol/disco#items") FEATURE("urn:xmpp:ping")
                    FEATURE("jabber:iq:time") FEATURE("jabber:iq:privacy")
                        FEATURE("jabber:iq:version") FEATURE("http://jabber.org/protocol/rosterx")
                            FEATURE("urn:xmpp:time") FEATURE("jabber:x:oob")
                                FEATURE("http://jabber.org/protocol/ibb")
                                    FEATURE("http://jabber.org/protocol/si/profile/file-transfer")
                                        FEATURE("urn:xmpp:receipts") FEATURE("jabber:iq:roster")
                                            FEATURE("jabber:iq:last"));

static void test_example_of_xep_0390(void **state)
{
    (void)state;
    assert_true(verify(CAPS_2, "sha-256", "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=", bombus));
    assert_true(verify(CAPS_2, "sha3-256", "79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q=", bombus));
    assert_false(verify(CAPS_2, "sha-256", "79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q=", bombus));
}

/* What is ill-formed has no hash: XEP-0115 §5.4, XEP-0390 §4.1. */
static void test_ill_formed(void **state)
{
    static const char *const first[] = {
        QUERY(FEATURE("a") FEATURE("a")),
        QUERY("<identity category='a' type='b'/><identity category='a' type='b'/>"),
        QUERY(FEATURE("a&lt;b")),
        QUERY("<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value>"
              "<value>b</value></field></x>"),
    };
    static const char *const second[] = {
        QUERY(FEATURE("a") "<other xmlns='urn:other'/>"),
        QUERY("<x xmlns='jabber:x:data'><field var='a'><value>b</value></field></x>"),
        QUERY("<x xmlns='jabber:x:data'><reported/></x>"),
    };
    struct elem query;
    (void)state;
    /* no value at all is right for them; the empty query has a right one */
    for (unsigned i = 0; i < sizeof first / sizeof first[0]; i++) {
        assert_true(elem_parse(&query, slice_of(first[i]), SLICE("jabber:client")));
        assert_false(verify(CAPS_1, "sha-1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", first[i]));
    }
    for (unsigned i = 0; i < sizeof second / sizeof second[0]; i++)
        assert_false(verify(CAPS_2, "sha-256", "x", second[i]));
    assert_true(verify(CAPS_1, "sha-1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", QUERY("")));
    /* a form without a hidden FORM_TYPE counts for nothing in the first version */
    assert_true(verify(CAPS_1, "sha-1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
                       QUERY("<x xmlns='jabber:x:data'><field var='a'><value>b</value></field>"
                             "</x>")));
}

static void test_limits(void **state)
{
    struct elem query;
    struct caps_key key = { .version = CAPS_1, .algo = SLICE("sha-1"), .value = SLICE("x") };
    char *xml = arena_alloc(arena, 1, 200000);
    size_t len = 0;
    (void)state;
    len += (size_t)snprintf(xml, 200000, "<query xmlns='http://jabber.org/protocol/disco#info'>");
    for (int i = 0; i < CAPS_PARTS_MAX + 10; i++)
        len += (size_t)snprintf(xml + len, 200000 - len, "<feature var='f%d+notify'/>", i);
    snprintf(xml + len, 200000 - len, "</query>");
    assert_true(elem_parse(&query, slice_of(xml), SLICE("jabber:client")));
    assert_false(caps_verify(&key, &query, arena));
    const slice *nodes;
    assert_int_equal(caps_wanted(&query, arena, &nodes), CAPS_PARTS_MAX);
}

static void test_wanted(void **state)
{
    struct elem query;
    const slice *nodes;
    const char *xml = QUERY(FEATURE("b+notify") FEATURE("c") FEATURE("+notify") FEATURE("a+notify")
                                FEATURE("b+notify"));
    (void)state;
    assert_true(elem_parse(&query, slice_of(xml), SLICE("jabber:client")));
    assert_int_equal(caps_wanted(&query, arena, &nodes), 2);
    assert_true(slice_is(nodes[0], "a") && slice_is(nodes[1], "b"));
}

static void test_keys(void **state)
{
    struct elem c;
    struct caps_key key;
    (void)state;
    assert_true(elem_parse(&c, SLICE("<c node='urn:n' ver='v' hash='sha-1'/>"), SLICE("")));
    assert_true(caps_key_1(&key, &c, arena));
    assert_true(slice_is(key.node, "urn:n#v") && slice_is(key.algo, "sha-1"));
    assert_true(elem_parse(&c, SLICE("<c ver='v'/>"), SLICE("")));
    assert_false(caps_key_1(&key, &c, arena));
    assert_true(elem_parse(&c,
                           SLICE("<c xmlns='urn:xmpp:caps'>"
                                 "<hash xmlns='urn:xmpp:hashes:2' algo='sha-1'>one</hash>"
                                 "<hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>two</hash>"
                                 "<hash xmlns='urn:xmpp:hashes:2' algo='unheard-of'>three</hash>"
                                 "</c>"),
                           SLICE("")));
    assert_true(caps_key_2(&key, &c, arena));
    assert_true(slice_is(key.node, "urn:xmpp:caps#sha-256.two"));
    assert_true(elem_parse(&c, SLICE("<c xmlns='urn:xmpp:caps'/>"), SLICE("")));
    assert_false(caps_key_2(&key, &c, arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_examples_of_xep_0115, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_example_of_xep_0390, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_ill_formed, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_limits, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_wanted, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_keys, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
