#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(struct buf *out, const char *expected)
{
    assert_false(out->overflow);
    if (!slice_is(buf_slice(out), expected))
        fail_msg("found %.*s, expected %s", SLICE_ARG(buf_slice(out)), expected);
    buf_clear(out);
}

static void writes_elements(void **state)
{
    (void)state;
    struct buf out;
    struct xml_write x;
    buf_init(&out, XML_PART_MAX);
    xml_write_to(&x, &out);
    xml_empty(&x, "a", NULL);
    expect(&out, "<a/>");
    xml_open(&x, "a", "urn:x");
    xml_attr(&x, "b", SLICE("'<"));
    xml_attr(&x, "c", SLICE(""));
    xml_attr_some(&x, "d", SLICE("1"));
    xml_attr_some(&x, "e", (slice){ 0 });
    xml_attr_int(&x, "f", INT64_MIN);
    xml_open(&x, "g", NULL);
    xml_empty(&x, "h", "urn:y");
    xml_empty(&x, "i", NULL);
    xml_close(&x);
    xml_element(&x, "j", SLICE("&"));
    xml_element(&x, "k", (slice){ 0 });
    xml_element_some(&x, "l", SLICE(""));
    xml_element_some(&x, "m", SLICE("n"));
    xml_element_int(&x, "o", -7);
    xml_raw(&x, SLICE("<p/>"));
    xml_close(&x);
    assert_int_equal(x.depth, 0);
    expect(&out, "<a xmlns='urn:x' b='&apos;&lt;' c='' d='1' f='-9223372036854775808'>"
                 "<g><h xmlns='urn:y'/><i/></g><j>&amp;</j><k/><m>n</m><o>-7</o><p/></a>");
    buf_fini(&out);
}

/* Functions that append to the buffer do so behind the start tag. */
static void content_is_in_the_element(void **state)
{
    (void)state;
    struct buf out;
    struct xml_write x;
    buf_init(&out, XML_PART_MAX);
    xml_write_to(&x, &out);
    xml_open(&x, "a", NULL);
    buf_lit(xml_content(&x), "<b/>");
    buf_lit(xml_content(&x), "<c/>");
    xml_close(&x);
    expect(&out, "<a><b/><c/></a>");
    xml_open(&x, "a", NULL);
    xml_content(&x);
    xml_close(&x);
    expect(&out, "<a></a>");
    buf_fini(&out);
}

/* Nothing is written by halves: what is there at an overflow is a prefix of the whole. */
static void overflows_once(void **state)
{
    (void)state;
    static const char whole[] = "<query xmlns='urn:x' a='1&amp;2'><b>&lt;3</b></query>";
    for (size_t max = 1; max < sizeof whole; max++) {
        struct buf out;
        struct xml_write x;
        buf_init(&out, max);
        xml_write_to(&x, &out);
        xml_open(&x, "query", "urn:x");
        xml_attr(&x, "a", SLICE("1&2"));
        xml_element(&x, "b", SLICE("<3"));
        xml_close(&x);
        assert_int_equal(out.overflow, max < sizeof whole - 1);
        assert_true(out.len <= max);
        assert_memory_equal(out.ptr, whole, out.len);
        buf_fini(&out);
    }
}

static void escapes_characters(void **state)
{
    (void)state;
    struct buf out;
    struct arena *arena = arena_create(0);
    static const slice nasty = SLICE_INIT("<a b=\"c\">'&'\n\t\r");
    struct xml_write x;
    buf_init(&out, XML_PART_MAX);
    assert_true(xml_needs_escape(SLICE("a'b")));
    assert_false(xml_needs_escape(SLICE("a b;#\xc3\xa9")));
    assert_false(xml_needs_escape(SLICE("")));
    xml_escape(&out, nasty);
    assert_true(slice_eq(xml_unescape_text(buf_slice(&out), arena), nasty));
    assert_true(slice_eq(xml_unescape_attr(buf_slice(&out), arena), nasty));
    expect(&out, "&lt;a b=&quot;c&quot;&gt;&apos;&amp;&apos;&#10;&#9;&#13;");
    xml_write_to(&x, &out);
    xml_open(&x, "a", NULL);
    xml_attr(&x, "b", nasty);
    xml_text(&x, nasty);
    xml_close(&x);
    expect(&out, "<a b='&lt;a b=&quot;c&quot;&gt;&apos;&amp;&apos;&#10;&#9;&#13;'>"
                 "&lt;a b=&quot;c&quot;&gt;&apos;&amp;&apos;\n\t&#13;</a>");
    static const slice forbidden = SLICE_INIT("a\0b\x01\t<\xff\xc3\xa9\xed\xa0\x80\xef\xbf\xbf"
                                              "c\xe2\x82");
    xml_escape_clean(&out, forbidden);
    expect(&out, "ab\t&lt;\xc3\xa9"
                 "c");
    xml_open(&x, "a", NULL);
    xml_text_clean(&x, forbidden);
    xml_close(&x);
    expect(&out, "<a>ab\t&lt;\xc3\xa9"
                 "c</a>");
    buf_fini(&out);
    arena_destroy(&arena);
}

static void tells_what_can_be_text(void **state)
{
    (void)state;
    assert_true(xml_is_text(SLICE("")));
    assert_true(xml_is_text(SLICE("a\t\r\n<\xc3\xa9\xf0\x9f\x8d\xb5")));
    static const slice bad[] = {
        SLICE_INIT("a\0"),          SLICE_INIT("\x1b"), SLICE_INIT("\xef\xbf\xbe"),
        SLICE_INIT("\xed\xa0\x80"), SLICE_INIT("\xff"), SLICE_INIT("a\xc3"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(xml_is_text(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_elements),        cmocka_unit_test(content_is_in_the_element),
        cmocka_unit_test(overflows_once),         cmocka_unit_test(escapes_characters),
        cmocka_unit_test(tells_what_can_be_text),
    };
    return cmocka_run_group_tests_name("xml_write", tests, NULL, NULL);
}
