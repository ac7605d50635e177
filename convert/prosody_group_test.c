#include "convert/prosody.h"
#include "convert/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct output output;
static struct why why;

/* The lines as one text. */
static char *read_groups(slice text, enum err expected)
{
    static char all[4096];
    size_t i, n = 0;
    const json_t *line;
    test_output_begin(&output);
    assert_int_equal(prosody_groups_read(&output, text, &why), expected);
    json_t *lines = test_output_end(&output);
    all[0] = '\0';
    json_array_foreach(lines, i, line)
    {
        n += json_dumpb(line, all + n, sizeof all - n - 1, JSON_COMPACT);
        all[n++] = '\n';
        all[n] = '\0';
    }
    json_decref(lines);
    return all;
}

/* The last line needs no end, and others may end as on Windows. */
static void test_groups_and_members(void **state)
{
    (void)state;
    assert_string_equal(
        read_groups(SLICE("a@x\r\n [ One ] \r\n# c@x\r\nb@x = B=B\t\r\n\n"
                          "[+One]\nc@x c = C\n[a]b]\n[+ d]"),
                    OK),
        "{\"type\":\"member\",\"group\":\"default\",\"host\":\"\",\"jid\":\"a@x\"}\n"
        "{\"type\":\"member\",\"group\":\"One\",\"host\":\"\",\"jid\":\"b@x\"}\n"
        "{\"type\":\"member\",\"group\":\"One\",\"host\":\"\",\"jid\":\"c@x\"}\n"
        "{\"type\":\"group\",\"name\":\"default\",\"host\":\"\",\"members\":true,\"all\":false,"
        "\"lost\":[]}\n"
        "{\"type\":\"group\",\"name\":\"One\",\"host\":\"\",\"members\":false,\"all\":true,"
        "\"lost\":[\"nicknames of members: 2; contacts have the names of profiles here\"]}\n"
        "{\"type\":\"group\",\"name\":\"a]b\",\"host\":\"\",\"members\":true,\"all\":false,"
        "\"lost\":[]}\n"
        "{\"type\":\"group\",\"name\":\"d\",\"host\":\"\",\"members\":false,\"all\":true,"
        "\"lost\":[]}\n");
}

static void test_a_long_line_is_quoted_in_whole_characters(void **state)
{
    char text[201] = "[";
    (void)state;
    for (size_t i = 1; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    read_groups((slice){ text, sizeof text }, E_SYNTAX);
    assert_true(slice_starts(slice_of(why.text), SLICE("line 1: found \"[\xc3\xa9")));
    assert_non_null(strstr(why.text, "\xc3\xa9\", expected [NAME] or [+NAME]"));
}

static void test_too_many_groups(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i <= OUTPUT_GROUPS_MAX; i++)
        buf_printf(&text, "[%u]\n", i);
    read_groups(buf_fit(&text), E_LIMIT);
    assert_string_equal(why.text, "found more than 10000 groups or 1000000 members of groups");
    buf_fini(&text);
}

static void test_nothing(void **state)
{
    (void)state;
    assert_string_equal(read_groups((slice){ 0 }, OK), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_and_members),
        cmocka_unit_test(test_a_long_line_is_quoted_in_whole_characters),
        cmocka_unit_test(test_too_many_groups),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
