#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/command_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void run_nothing(struct command_call *c) { command_done(c, "%s", ""); }

static const char *const on_off[] = { "on", "off", NULL };
static bool is_long(slice text) { return text.len > 20; }

static const struct command_arg trace_args[] = {
    { .name = "area", .kind = ARG_POSITIONAL, .doc = "the part of the server" },
    { .name = "state",
      .kind = ARG_OPTIONAL,
      .type = PARAM_CHOICE,
      .choices = on_off,
      .doc = "on or off" },
    { .name = "jid", .kind = ARG_OPTION, .type = PARAM_USER, .doc = "only this account" },
    { .name = "only_once", .kind = ARG_FLAG, .type = PARAM_BOOL, .doc = "no questions" },
    { .name = "password",
      .kind = ARG_SECRET,
      .type = PARAM_SECRET,
      .check = is_long,
      .form = "a long one",
      .doc = "the password" },
    { 0 },
};
static const struct command_column trace_columns[] = { { .name = "jid" },
                                                       { .name = "none" },
                                                       { .name = "up", .type = PARAM_BOOL },
                                                       { .name = "n", .type = PARAM_INT },
                                                       { 0 } };
static struct command trace = { .name = "log trace",
                                .effect = COMMAND_CHANGES,
                                .area = "log",
                                .columns = trace_columns,
                                .args = trace_args,
                                .run = run_nothing,
                                .doc = "Traces an area: what happens there." };
static struct command status = { .name = "status",
                                 .effect = COMMAND_READS,
                                 .area = "server",
                                 .run = run_nothing,
                                 .doc = "Shows the state." };

static int finished_count;
static void on_finished(struct command_call *c, void *arg)
{
    assert_ptr_equal(arg, &finished_count);
    assert_true(c->ended);
    finished_count++;
}

static struct command_call call;

static int begin(void **state)
{
    (void)state;
    finished_count = 0;
    call = (struct command_call){
        .command = &trace, .arena = arena_create(0), .finished = on_finished, .arg = &finished_count
    };
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_destroy(&call.arena);
    return 0;
}

static void arguments_are_bound_and_copied(void **state)
{
    (void)state;
    char area[] = "c2s";
    const slice names[] = { SLICE("only_once"), SLICE("area"), SLICE("jid") };
    const slice values[] = { { 0 }, { area, 3 }, SLICE("") };
    struct why why;
    assert_int_equal(command_bind(&call, names, values, 3, &why), OK);
    area[0] = 'x';
    assert_string_equal(command_arg(&call, "area").ptr, "c2s");
    assert_true(command_flag(&call, "only_once"));
    assert_null(command_arg(&call, "state").ptr);
    assert_non_null(command_arg(&call, "jid").ptr); /* given, though empty */
    assert_int_equal(command_arg(&call, "jid").len, 0);

    const slice off[] = { SLICE("false"), SLICE("c2s"), SLICE("x") };
    assert_int_equal(command_bind(&call, names, off, 3, &why), OK);
    assert_false(command_flag(&call, "only_once"));
}

static void wrong_arguments_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *names[3], *values[3];
        const char *why;
    } rows[] = {
        { { "jid" }, { "a@b" }, "log trace: area is missing: the part of the server" },
        { { "area", "color" },
          { "c2s", "red" },
          "log trace: found argument \"color\", allowed area, state, jid, only_once, password" },
        { { "area", "area" }, { "c2s", "sm" }, "log trace: area: found twice, allowed once" },
        { { "area", "state" },
          { "c2s", "maybe" },
          "log trace: state: found \"maybe\", allowed one of: on, off" },
        { { "area", "only_once" },
          { "c2s", "1" },
          "log trace: only_once: found \"1\", allowed true or false" },
        { { "area", "only-once" },
          { "c2s", "1" },
          "log trace: found argument \"only-once\", allowed only_once" },
        { { "area", "jid" },
          { "c2s", "a\x01" },
          "log trace: jid: found a control character, or no UTF-8, allowed text" },
        { { "area", "jid" },
          { "c2s", "\xff" },
          "log trace: jid: found a control character, or no UTF-8, allowed text" },
        { { "area", "password" },
          { "c2s", "hunter2" },
          "log trace: password: found \"(secret)\", allowed a long one" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slice names[3], values[3];
        size_t count = 0;
        for (; count < 3 && rows[i].names[count] != NULL; count++) {
            names[count] = slice_of(rows[i].names[count]);
            values[count] = slice_of(rows[i].values[count]);
        }
        struct why why;
        assert_int_equal(command_bind(&call, names, values, count, &why), E_SYNTAX);
        assert_string_equal(why.text, rows[i].why);
    }
}

/* At a command line, names have hyphens. */
static void wrong_words_are_named(void **state)
{
    (void)state;
    struct why why;
    const slice names[] = { SLICE("area"), SLICE("only_once") };
    const slice values[] = { SLICE("c2s"), SLICE("1") };
    call.typed = true;
    assert_int_equal(command_bind(&call, names, values, 2, &why), E_SYNTAX);
    assert_string_equal(why.text, "log trace: only-once: found \"1\", allowed on or off");
}

static void a_command_may_have_no_arguments(void **state)
{
    (void)state;
    struct why why;
    const slice name = SLICE("x"), value = SLICE("y");
    call.command = &status;
    assert_int_equal(command_bind(&call, NULL, NULL, 0, &why), OK);
    assert_int_equal(command_bind(&call, &name, &value, 1, &why), E_SYNTAX);
    assert_string_equal(why.text, "status: found argument \"x\", allowed no arguments");
}

static void rows_hold_fields_in_order(void **state)
{
    (void)state;
    char jid[] = "a@b";
    for (int row = 0; row < 3; row++) {
        command_row(&call);
        command_text(&call, "jid", (slice){ jid, 3 });
        command_text(&call, "none", (slice){ 0 });
        command_bool(&call, "up", row == 1);
        for (int i = 0; i < 20; i++) /* more than the first room of a row */
            command_int(&call, "n", -100 * row - i);
    }
    jid[0] = 'x';
    command_done(&call, "%d rows", 3);
    assert_int_equal(finished_count, 1);
    assert_int_equal(call.err, OK);
    assert_true(slice_is(call.text, "3 rows"));

    int number = 0;
    for (struct command_row *r = call.rows; r != NULL; r = r->next, number++) {
        assert_int_equal(r->count, 23);
        assert_true(slice_is(r->fields[0].str, "a@b"));
        assert_int_equal(r->fields[0].kind, FIELD_TEXT);
        assert_non_null(r->fields[1].str.ptr);
        assert_true(slice_is(r->fields[2].str, number == 1 ? "true" : "false"));
        assert_int_equal(r->fields[2].kind, FIELD_BOOL);
        int64_t value = 0;
        assert_true(slice_int(r->fields[22].str, &value));
        assert_int_equal(value, -100 * number - 19);
        assert_int_equal(r->fields[22].kind, FIELD_INT);
    }
    assert_int_equal(number, 3);
}

static void rows_are_taken_kept_and_limited(void **state)
{
    (void)state;
    struct command_row *r, *next;
    for (int64_t n = 0; n < 10; n++) {
        command_row(&call);
        command_int(&call, "n", n);
    }
    r = command_take_rows(&call);
    assert_null(call.rows);
    for (; r != NULL; r = next) {
        next = r->next;
        if (command_row_int(r, "n") % 2 == 1)
            command_keep_row(&call, r);
    }
    command_limit_rows(&call, 3);
    assert_int_equal(call.left_out, 2);
    command_row(&call);
    command_text(&call, "jid", SLICE("a@b"));
    int64_t n = 1;
    for (r = call.rows; r->next != NULL; r = r->next, n += 2)
        assert_int_equal(command_row_int(r, "n"), n);
    assert_int_equal(n, 7);
    assert_int_equal(command_row_int(r, "n"), 0);
    assert_null(command_row_text(r, "n").ptr);
    assert_true(slice_is(command_row_text(r, "jid"), "a@b"));
    command_done(&call, "%s", "");
}

static void page_of(slice after, uint32_t max, const char *expected, const char *next)
{
    static const char *const names[] = { "c", "a", "d", "b", "ab" };
    struct arena *arena = arena_create(0);
    struct command_call page = {
        .command = &trace, .arena = arena, .finished = on_finished, .arg = &finished_count
    };
    char found[16] = "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        command_row(&page);
        command_text(&page, "jid", slice_of(names[i]));
    }
    command_done_page(&page, "jid", after, max);
    for (const struct command_row *r = page.rows; r != NULL; r = r->next)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s ",
                 slice_cstr(arena, command_row_text(r, "jid")));
    assert_string_equal(found, expected);
    assert_int_equal(page.err, OK);
    if (next == NULL)
        assert_null(page.next.ptr);
    else
        assert_true(slice_is(page.next, next));
    arena_destroy(&arena);
}

static void rows_in_pages(void **state)
{
    (void)state;
    page_of((slice){ 0 }, 5, "a ab b c d ", NULL);
    page_of((slice){ 0 }, 2, "a ab ", "ab");
    page_of(SLICE("ab"), 2, "b c ", "c");
    page_of(SLICE("aa"), 9, "ab b c d ", NULL);
    page_of(SLICE("c"), 1, "d ", NULL);
    page_of(SLICE("d"), 1, "", NULL);
}

/* As they come from another node. */
static void fields_have_the_type_of_their_column(void **state)
{
    (void)state;
    command_row(&call);
    assert_true(command_field(&call, SLICE("jid"), SLICE("12")));
    assert_true(command_field(&call, SLICE("none"), (slice){ 0 }));
    assert_true(command_field(&call, SLICE("up"), SLICE("false")));
    assert_true(command_field(&call, SLICE("n"), SLICE("-7")));
    assert_false(command_field(&call, SLICE("up"), SLICE("12")));
    assert_false(command_field(&call, SLICE("n"), SLICE("many")));
    assert_false(command_field(&call, SLICE("other"), SLICE("")));
    assert_int_equal(call.rows->count, 4);
    assert_int_equal(call.rows->fields[0].kind, FIELD_TEXT);
    assert_int_equal(call.rows->fields[2].kind, FIELD_BOOL);
    assert_int_equal(call.rows->fields[3].kind, FIELD_INT);
    assert_int_equal(command_row_int(call.rows, "n"), -7);
    command_done(&call, "%s", "");
}

static void an_incomplete_answer_says_so(void **state)
{
    (void)state;
    call.incomplete = true;
    command_done(&call, "%d rows", 3);
    assert_true(
        slice_is(call.text, "3 rows; a node did not answer, and what it has is missing here"));
}

static void failure_has_error_and_text(void **state)
{
    (void)state;
    command_fail(&call, E_NOTFOUND, "no account %s", "a@b");
    assert_int_equal(finished_count, 1);
    assert_int_equal(call.err, E_NOTFOUND);
    assert_true(slice_is(call.text, "no account a@b"));
    assert_null(call.rows);
}

static void commands_are_found_and_listed_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(command_first(), &trace);
    assert_ptr_equal(trace.next, &status);
    assert_ptr_equal(command_find(SLICE("log trace")), &trace);
    assert_null(command_find(SLICE("log")));
}

static void the_first_clause_is_brief(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        { "Shows the state.", "Shows the state" },
        { "Traces an area: what happens there.", "Traces an area" },
        { "Lists reports (XEP-0377), oldest first.", "Lists reports" },
        { "Deletes what muc.cleanup-days names. At once.", "Deletes what muc.cleanup-days names" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        slice brief = command_brief(texts[i][0]);
        assert_true(slice_is(brief, texts[i][1]));
    }
}

static void paths_that_differ_in_names_alone_clash(void **state)
{
    (void)state;
    const char *both = "GET /users/{jid}/roster, PUT /users/{jid}/roster/{contacts}";
    assert_true(command_rest_clashes(both, "DELETE /users/{jid}/roster/{contact}"));
    assert_true(command_rest_clashes("DELETE /users/{user}", "GET /users, GET /users/{jid}"));
    assert_false(command_rest_clashes(both, "DELETE /users/{jid}/roster/{contacts}"));
    assert_false(command_rest_clashes(both, "GET /users/{user}"));
    assert_false(command_rest_clashes(both, "GET /users/{user}/rosters"));
    assert_false(command_rest_clashes(both, "GET /users/{user}/groups/{group}"));
    assert_false(command_rest_clashes("GET /users/full", "GET /users/{user}"));
}

static void name_doc(struct buf *out, const struct command_arg *a)
{
    buf_printf(out, "<%s>", a->doc);
}

static void options_have_other_names(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        { "give --only-once if it is meant", "give <no questions> if it is meant" },
        { "`--only-once`, or --only-ones, --password-file", "<no questions>, or --only-ones, "
                                                            "--password-file" },
        { "only `log trace c2s --only-once --jid` does", "only `log trace c2s` with <no questions> "
                                                         "and <only this account> does" },
        { "`musterctl log trace c2s` --jid", "`musterctl log trace c2s` <only this account>" },
        { "`x --jid` and `status --all`", "`x --jid` and `status --all`" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct buf out;
        buf_init(&out, 256);
        command_options_named(&out, &trace, slice_of(texts[i][0]), name_doc);
        assert_true(slice_is(buf_slice(&out), texts[i][1]));
        buf_fini(&out);
    }
}

static void blanks_are_no_reason(void **state)
{
    (void)state;
    assert_true(command_is_reason(SLICE("abc")));
    assert_true(command_is_reason(SLICE(" \tcase 4711\n")));
    assert_true(command_is_reason(SLICE("\xc3\xa4\xc3\xb6\xc3\xbc")));
    static const char *const none[] = { "",
                                        "ab",
                                        " a b ",
                                        "\t \n ",
                                        "\xc3\xa4\xc3\xa4",
                                        "ab\xff",
                                        "\xc2\xa0\xe3\x80\x80\xe2\x80\x8b\xef\xbb\xbf" };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_false(command_is_reason(slice_of(none[i])));
}

int main(void)
{
    command_register(&status);
    command_register(&trace);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arguments_are_bound_and_copied, begin, end),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_named, begin, end),
        cmocka_unit_test_setup_teardown(wrong_words_are_named, begin, end),
        cmocka_unit_test_setup_teardown(a_command_may_have_no_arguments, begin, end),
        cmocka_unit_test_setup_teardown(rows_hold_fields_in_order, begin, end),
        cmocka_unit_test_setup_teardown(rows_are_taken_kept_and_limited, begin, end),
        cmocka_unit_test_setup_teardown(fields_have_the_type_of_their_column, begin, end),
        cmocka_unit_test_setup_teardown(an_incomplete_answer_says_so, begin, end),
        cmocka_unit_test_setup_teardown(failure_has_error_and_text, begin, end),
        cmocka_unit_test(commands_are_found_and_listed_by_name),
        cmocka_unit_test(rows_in_pages),
        cmocka_unit_test(the_first_clause_is_brief),
        cmocka_unit_test(paths_that_differ_in_names_alone_clash),
        cmocka_unit_test(options_have_other_names),
        cmocka_unit_test(blanks_are_no_reason),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
