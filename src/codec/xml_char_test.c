#include "base/utf8.h"
#include "codec/xml_char.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool name_byte(char c) { return xml_is(c, XML_NAME); }
static bool text_byte(char c) { return !xml_odd(c) && c != '<' && c != '>' && c != '&'; }
static bool value_byte(char c) { return !xml_odd(c) && c != '<' && c != '"' && c != '&'; }

/* Every byte at every place: the wide scanners stop where the definition says, and never go beyond
 * the end. */
static void scanners_stop_where_they_should(void **state)
{
    (void)state;
    char text[48];
    const char *end = text + sizeof text;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < sizeof text; at++) {
            memset(text, 'a', sizeof text);
            text[at] = (char)byte;
            const char *stop = text + at;
            assert_ptr_equal(xml_skip_name(text, end), name_byte(*stop) ? end : stop);
            assert_ptr_equal(xml_skip_text(text, end), text_byte(*stop) ? end : stop);
            assert_ptr_equal(xml_skip_value(text, end, '"'), value_byte(*stop) ? end : stop);
            assert_ptr_equal(xml_skip_text(text, stop), stop);
            assert_ptr_equal(xml_skip_name(text, stop), stop);
            assert_ptr_equal(xml_skip_value(text, stop, '"'), stop);
        }
    }
}

static void ascii_classes(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool more = (c >= '0' && c <= '9') || c == '-' || c == '.';
        assert_int_equal(xml_is((char)c, XML_NAME_START), letter);
        assert_int_equal(xml_is((char)c, XML_NAME), letter || more);
        assert_int_equal(xml_is((char)c, XML_WHITE),
                         c == ' ' || c == '\t' || c == '\r' || c == '\n');
    }
}

static void ranges_beyond_ascii(void **state)
{
    (void)state;
    static const struct {
        uint32_t cp;
        int start, name, is_char;
    } row[] = {
        { 0, 0, 0, 0 },       { 0x1f, 0, 0, 0 },     { 0x7f, 0, 0, 1 },     { 0xaa, 0, 0, 1 },
        { 0xb7, 0, 1, 1 },    { 0xbf, 0, 0, 1 },     { 0xc0, 1, 1, 1 },     { 0xd7, 0, 0, 1 },
        { 0xf7, 0, 0, 1 },    { 0x2ff, 1, 1, 1 },    { 0x300, 0, 1, 1 },    { 0x36f, 0, 1, 1 },
        { 0x370, 1, 1, 1 },   { 0x37e, 0, 0, 1 },    { 0x1fff, 1, 1, 1 },   { 0x2000, 0, 0, 1 },
        { 0x200c, 1, 1, 1 },  { 0x203f, 0, 1, 1 },   { 0x2040, 0, 1, 1 },   { 0x2041, 0, 0, 1 },
        { 0x3000, 0, 0, 1 },  { 0x3001, 1, 1, 1 },   { 0xd7ff, 1, 1, 1 },   { 0xd800, 0, 0, 0 },
        { 0xdfff, 0, 0, 0 },  { 0xe000, 0, 0, 1 },   { 0xfdd0, 0, 0, 1 },   { 0xfffd, 1, 1, 1 },
        { 0xfffe, 0, 0, 0 },  { 0xffff, 0, 0, 0 },   { 0x10000, 1, 1, 1 },  { 0xeffff, 1, 1, 1 },
        { 0xf0000, 0, 0, 1 }, { 0x10ffff, 0, 0, 1 }, { 0x110000, 0, 0, 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (xml_name_start(row[i].cp) != row[i].start || xml_name_char(row[i].cp) != row[i].name ||
            xml_char(row[i].cp) != row[i].is_char)
            fail_msg("U+%04X", row[i].cp);
    }
}

static void references(void **state)
{
    (void)state;
    assert_int_equal(xml_ref(SLICE("amp")), '&');
    assert_int_equal(xml_ref(SLICE("lt")), '<');
    assert_int_equal(xml_ref(SLICE("gt")), '>');
    assert_int_equal(xml_ref(SLICE("apos")), '\'');
    assert_int_equal(xml_ref(SLICE("quot")), '"');
    assert_int_equal(xml_ref(SLICE("#65")), 'A');
    assert_int_equal(xml_ref(SLICE("#x1F600")), 0x1f600);
    assert_int_equal(xml_ref(SLICE("#x0001f600")), 0x1f600);
    static const char *const wrong[] = { "",   "am",     "ampx",     "#",
                                         "#x", "#xg",    "#6a",      "#-1",
                                         "#0", "#xD800", "#x110000", "#99999999999999999999" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(xml_ref(slice_of(wrong[i])), 0);
}

static void high_characters(void **state)
{
    (void)state;
    slice text = SLICE("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"
                       "a");
    assert_ptr_equal(xml_skip_high(text.ptr, text.ptr + text.len), text.ptr + 9);
    for (size_t len = 0; len < 9; len++) {
        size_t whole = len < 2 ? 0 : len < 5 ? 2 : 5;
        assert_ptr_equal(xml_skip_high(text.ptr, text.ptr + len), text.ptr + whole);
    }
    text = SLICE("\xc3\xa9\xef\xbf\xbe");
    assert_ptr_equal(xml_skip_high(text.ptr, text.ptr + text.len), text.ptr + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scanners_stop_where_they_should),
        cmocka_unit_test(ascii_classes),
        cmocka_unit_test(ranges_beyond_ascii),
        cmocka_unit_test(references),
        cmocka_unit_test(high_characters),
    };
    return cmocka_run_group_tests_name("xml_char", tests, NULL, NULL);
}
