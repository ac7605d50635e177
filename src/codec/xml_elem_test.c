#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"

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

static void assert_text(slice found, const char *expected)
{
    if (!slice_is(found, expected))
        fail_msg("'%.*s', not '%s'", SLICE_ARG(found), expected);
}

static struct elem parse(const char *text)
{
    struct elem e;
    assert_true(elem_parse(&e, slice_of(text), SLICE("jabber:client")));
    return e;
}

static void walks_children(void **state)
{
    (void)state;
    struct elem m = parse(" <message to='b'>t<a/>u<![CDATA[<z/>]]><b  c='/'>x<b/></b >"
                          "<c xmlns='urn:c'/></message> tail");
    assert_text(m.name, "message");
    assert_text(m.ns_uri, "jabber:client");
    assert_text(m.start_tag, "<message to='b'>");
    static const char *const expected[] = { "<a/>", "<b  c='/'>x<b/></b >", "<c xmlns='urn:c'/>" };
    struct elem child;
    size_t i = 0;
    for (bool more = elem_first(&m, &child); more; more = elem_next(&child, &child), i++) {
        assert_true(i < 3);
        assert_text(child.whole, expected[i]);
        assert_ptr_equal(child.parent, &m);
    }
    assert_int_equal(i, 3);
    assert_false(elem_first(&child, &child));
    assert_false(elem_next(&m, &child));
}

static void finds_children_by_name(void **state)
{
    (void)state;
    struct elem m = parse("<m><x xmlns='urn:1'/><x xmlns='urn:2'/><y/></m>"), found;
    assert_true(elem_child(&m, "x", "urn:2", &found));
    assert_text(found.whole, "<x xmlns='urn:2'/>");
    assert_true(elem_child(&m, "x", NULL, &found));
    assert_text(found.ns_uri, "urn:1");
    assert_true(elem_child(&m, NULL, "jabber:client", &found));
    assert_true(elem_is(&found, "y", "jabber:client"));
    assert_false(elem_is(&found, "y", "urn:1"));
    assert_false(elem_is(&found, "x", NULL));
    assert_false(elem_child(&m, "y", "urn:1", &found));
    assert_false(elem_child(&m, "z", NULL, &found));
}

static void resolves_prefixes(void **state)
{
    (void)state;
    struct elem m = parse("<p:m xmlns:p='urn:p' xmlns='urn:d'><q xmlns:p=\"urn:q\"><p:a/></q>"
                          "<p:b/><c xmlns=''/><xml:d/><n:e/></p:m>");
    struct elem q, e;
    assert_text(m.ns_uri, "urn:p");
    assert_text(m.name, "m");
    assert_true(elem_first(&m, &q));
    assert_text(q.ns_uri, "urn:d");
    assert_true(elem_first(&q, &e));
    assert_text(e.ns_uri, "urn:q");
    assert_true(elem_next(&q, &e));
    assert_text(e.ns_uri, "urn:p");
    assert_true(elem_next(&e, &e));
    assert_text(e.ns_uri, "");
    assert_true(elem_next(&e, &e));
    assert_text(e.ns_uri, "http://www.w3.org/XML/1998/namespace");
    assert_false(elem_next(&e, &e)); /* not declared */
}

/* Children that stand below one element, of two prefixes in turn; one has its own declaration. */
static void resolves_in_a_row(void **state)
{
    (void)state;
    struct elem m =
        parse("<m xmlns:p='urn:p' xmlns:q='urn:q'><p:a/><q:a/><p:a/><q:a xmlns:q='urn:x'>"
              "<q:a/><p:a/></q:a><q:a/><p:a/></m>");
    static const char *const expected[] = { "urn:p", "urn:q", "urn:p", "urn:x", "urn:q", "urn:p" };
    struct elem e, below;
    size_t i = 0;
    for (bool more = elem_first(&m, &e); more; more = elem_next(&e, &e), i++) {
        assert_text(e.ns_uri, expected[i]);
        if (!elem_first(&e, &below))
            continue;
        assert_text(below.ns_uri, "urn:x");
        assert_true(elem_next(&below, &below));
        assert_text(below.ns_uri, "urn:p");
    }
    assert_int_equal(i, 6);
}

/* A namespace of one text is not taken for the next text at the same address. */
static void forgets_what_was_there(void **state)
{
    (void)state;
    static const char *const declared[] = { "urn:1", "urn:2", NULL, "urn:3" };
    char text[64];
    for (size_t i = 0; i < sizeof declared / sizeof declared[0]; i++) {
        bool is = declared[i] != NULL;
        snprintf(text, sizeof text, "<m xmlns:%s='%s'><p:a/></m>", is ? "p" : "r",
                 is ? declared[i] : "urn:0");
        struct elem m = parse(text), e;
        assert_int_equal(elem_first(&m, &e), is);
        if (is)
            assert_text(e.ns_uri, declared[i]);
    }
}

static void reads_attributes(void **state)
{
    (void)state;
    struct elem e = parse("<a b='1&amp;2' b2 = \"x>'y\"\n xml:lang='de' c='' d='\t\r\n&#9;z'/>");
    assert_text(elem_attr_raw(&e, "b"), "1&amp;2");
    assert_text(elem_attr(&e, "b", arena), "1&2");
    assert_text(elem_attr(&e, "b2", arena), "x>'y");
    assert_text(elem_attr(&e, "xml:lang", arena), "de");
    assert_text(elem_attr(&e, "d", arena), "  \tz"); /* XML 1.0 §3.3.3 */
    assert_non_null(elem_attr(&e, "c", arena).ptr);
    assert_null(elem_attr(&e, "lang", arena).ptr);
    assert_null(elem_attr_raw(&e, "x").ptr);
    assert_ptr_equal(elem_attr(&e, "xml:lang", arena).ptr, elem_attr_raw(&e, "xml:lang").ptr);
}

static void reads_text(void **state)
{
    (void)state;
    static const char *const row[][2] = {
        { "<a/>", "" },
        { "<a></a>", "" },
        { "<a>plain</a>", "plain" },
        { "<a>&lt;&amp;&gt;&#xE9;&#128512;</a>", "<&>\xc3\xa9\xf0\x9f\x98\x80" },
        { "<a>1\r\n2\r3\n\r</a>", "1\n2\n3\n\n" },
        { "<a>1&#13;\n2</a>", "1\r\n2" },
        { "<a>x<b>no</b>y<c/>z</a>", "xyz" },
        { "<a><![CDATA[<&amp;>\r\n\r]]>&amp;<![CDATA[]]></a>", "<&amp;>\n\n&" },
        { "<a>x<![CDATA[</a>]]><b><![CDATA[</b>]]></b></a>", "x</a>" },
        { "<a>&bad;&</a>", "&bad;&" }, /* damaged, but not lost */
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct elem e = parse(row[i][0]);
        assert_text(elem_text(&e, arena), row[i][1]);
    }
    struct elem e = parse("<a>borrowed</a>");
    assert_ptr_equal(elem_text(&e, arena).ptr, e.content.ptr);
}

static void damaged_text_has_no_elements(void **state)
{
    (void)state;
    static const char *const row[] = {
        "",
        "a",
        "<",
        "<a",
        "<a>",
        "<a b='>",
        "</a>",
        "<a><b></a",
        "<a><!-- --></a>",
        "<a><![CDATA[</a>",
        "<a><",
        "<1/>",
        "a<b/>",
        "<:a/>",
        "<a:/>",
        "<p:a/>",
    };
    struct elem none;
    assert_false(elem_parse(&none, (slice){ 0 }, SLICE("jabber:client")));
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct elem e;
        if (elem_parse(&e, slice_of(row[i]), SLICE("jabber:client")))
            fail_msg("%s", row[i]);
    }
    struct elem a = parse("<a><b></a>x</a>"), b; /* names are not matched, depth is */
    assert_false(elem_first(&a, &b) && elem_next(&b, &b));
}

static void extracts_self_contained_text(void **state)
{
    (void)state;
    struct elem m = parse("<m xmlns:p=\"it's\" xmlns:q='urn:q' xmlns:pp='urn:pp' xmlns='urn:d'>"
                          "<a x='1'>t<p:b pp:c=''/></a><p:e xmlns:p='urn:x' xmlns=''/><f/></m>");
    struct elem e;
    struct buf out;
    buf_init(&out, 4096);
    assert_true(elem_first(&m, &e));
    elem_extract(&e, &out);
    assert_text(buf_slice(&out), "<a xmlns='urn:d' xmlns:p='it&apos;s' xmlns:pp='urn:pp' x='1'>"
                                 "t<p:b pp:c=''/></a>");
    buf_clear(&out);
    assert_true(elem_next(&e, &e));
    elem_extract(&e, &out);
    assert_text(buf_slice(&out), "<p:e xmlns:p='urn:x' xmlns=''/>");
    buf_clear(&out);
    assert_true(elem_next(&e, &e));
    elem_extract(&e, &out);
    assert_text(buf_slice(&out), "<f xmlns='urn:d'/>");
    static const char *const names[] = { "p:x", "1 -p:x", "a.p:x", "\u201cp:x\u201d", "字p:x" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[96];
        snprintf(text, sizeof text, "<m xmlns:p='urn:p'><a>%s</a></m>", names[i]);
        m = parse(text);
        buf_clear(&out);
        assert_true(elem_first(&m, &e));
        elem_extract(&e, &out);
        assert_true(
            slice_starts(buf_slice(&out), SLICE("<a xmlns='jabber:client' xmlns:p='urn:p'>")));
    }
    buf_clear(&out);
    e = parse("<body>x</body>");
    elem_extract(&e, &out);
    assert_text(buf_slice(&out), "<body xmlns='jabber:client'>x</body>");
    buf_fini(&out);
}

/* As many declarations as a stanza can have, of which the element uses some: in a name, in an
 * attribute, in text (a QName), and one that a nearer one hides. */
static void extracts_from_below_many_declarations(void **state)
{
    (void)state;
    enum { DECLARATIONS = 250 };
    struct buf text, out;
    buf_init(&text, 65536);
    buf_init(&out, 65536);
    buf_lit(&text, "<m");
    for (int i = 0; i < DECLARATIONS; i++)
        buf_printf(&text, " xmlns:p%d='urn:%d'", i, i);
    buf_lit(&text, "><n xmlns:p7='urn:near'><p249:e p0:b='p1:x' c='ap2:y'>p3:z p7: :p4 "
                   "<p5:f xmlns:p5='urn:own'/></p249:e></n></m>");
    struct elem m, n, e;
    assert_true(elem_parse(&m, buf_slice(&text), SLICE("jabber:client")));
    assert_true(elem_first(&m, &n) && elem_first(&n, &e));
    elem_extract(&e, &out);
    assert_text(buf_slice(&out),
                "<p249:e xmlns='jabber:client' xmlns:p7='urn:near' xmlns:p0='urn:0' "
                "xmlns:p1='urn:1' xmlns:p3='urn:3' xmlns:p5='urn:5' xmlns:p249='urn:249' "
                "p0:b='p1:x' c='ap2:y'>p3:z p7: :p4 <p5:f xmlns:p5='urn:own'/></p249:e>");
    buf_fini(&text);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_children),
        cmocka_unit_test(finds_children_by_name),
        cmocka_unit_test(resolves_prefixes),
        cmocka_unit_test(resolves_in_a_row),
        cmocka_unit_test(forgets_what_was_there),
        cmocka_unit_test(reads_attributes),
        cmocka_unit_test(reads_text),
        cmocka_unit_test(damaged_text_has_no_elements),
        cmocka_unit_test(extracts_self_contained_text),
        cmocka_unit_test(extracts_from_below_many_declarations),
    };
    return cmocka_run_group_tests_name("xml_elem", tests, make_arena, drop_arena);
}
