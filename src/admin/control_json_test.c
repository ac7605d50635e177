#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void run(struct command_call *call) { (void)call; }
static void finished(struct command_call *call, void *arg)
{
    (void)call;
    ++*(int *)arg;
}

static struct command add = {
    .effect = COMMAND_CHANGES,
    .area = "tests",
    .columns = (const struct command_column[]){ { .name = "jid" },
                                                { .name = "count", .type = PARAM_INT },
                                                { .name = "up", .type = PARAM_BOOL },
                                                { 0 } },
    .name = "user add",
    .args =
        (const struct command_arg[]){
            { .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_USER, .doc = "address" },
            { .name = "password", .kind = ARG_SECRET, .type = PARAM_SECRET, .doc = "password" },
            { .name = "role",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = (const char *const[]){ "user", "admin", NULL },
              .doc = "role" },
            { .name = "force", .kind = ARG_FLAG, .type = PARAM_BOOL, .doc = "whatever" },
            { 0 },
        },
    .run = run,
    .doc = "Adds an account.",
};

struct fixture {
    struct command_call call;
    struct why why;
    struct buf out;
    int ended;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){ .ended = 0 };
    f.call = (struct command_call){
        .command = &add, .arena = arena_create(0), .finished = finished, .arg = &f.ended
    };
    buf_init(&f.out, 65536);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_destroy(&f->call.arena);
    buf_fini(&f->out);
    return 0;
}

static int register_rows(void **state)
{
    (void)state;
    command_register(&add);
    return 0;
}

static enum err parse(struct fixture *f, const char *line)
{
    return control_parse(slice_of(line), &f->call, &f->why);
}

static void a_request_is_bound(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "{\"command\":\"user add\",\"args\":{\"jid\":\"\\u00e4@b\","
                              "\"password\":\"p\",\"force\":true}}"),
                     OK);
    assert_ptr_equal(f->call.command, &add);
    assert_true(slice_is(command_arg(&f->call, "jid"), "\xc3\xa4@b"));
    assert_true(slice_is(command_arg(&f->call, "password"), "p"));
    assert_null(command_arg(&f->call, "role").ptr);
    assert_true(command_flag(&f->call, "force"));
}

static void numbers_are_not_taken_as_text(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "{\"command\":\"user add\",\"args\":{\"jid\":-12}}"), E_SYNTAX);
    assert_string_equal(f->why.text, "jid: found a number, allowed a text");
    assert_string_equal(f->call.culprit, "jid");
}

static void wrong_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *line;
        enum err err;
        const char *text;
    } rows[] = {
        { "", E_SYNTAX, "not JSON" },
        { "{", E_SYNTAX, "not JSON" },
        { "[]", E_SYNTAX, "without a command" },
        { "{\"command\":5}", E_SYNTAX, "without a command" },
        { "{\"command\":\"user add\",\"args\":[]}", E_SYNTAX, "without a command" },
        { "{\"command\":\"user ad\"}", E_NOTFOUND, "user ad: no such command" },
        { "{\"command\":\"user add\"}", E_SYNTAX, "jid is missing" },
        { "{\"command\":\"user add\",\"args\":{\"jid\":null}}", E_SYNTAX, "jid: found a value" },
        { "{\"command\":\"user add\",\"args\":{\"jid\":\"a\",\"x\":\"b\"}}", E_SYNTAX, "\"x\"" },
        { "{\"command\":\"user add\",\"args\":{\"jid\":\"a\",\"role\":\"b\"}}", E_SYNTAX,
          "user, admin" },
        { "{\"command\":\"a\",\"command\":\"b\"}", E_SYNTAX, "a name that is given twice" },
        { "{\"command\":\"user add\",\"args\":{\"1\":1,\"2\":1,\"3\":1,\"4\":1,\"5\":1,\"6\":1,"
          "\"7\":1,\"8\":1,\"9\":1,\"10\":1,\"11\":1,\"12\":1,\"13\":1,\"14\":1,\"15\":1,"
          "\"16\":1,\"17\":1,\"18\":1}}",
          E_LIMIT, "more than 16 arguments" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(parse(f, rows[i].line), rows[i].err);
        if (strstr(f->why.text, rows[i].text) == NULL)
            fail_msg("%s: %s", rows[i].line, f->why.text);
    }
}

static void expect_reply(struct fixture *f, const char *expected)
{
    control_reply(&f->out, &f->call);
    assert_true(slice_is(buf_slice(&f->out), expected));
}

static void rows_become_objects(void **state)
{
    struct fixture *f = *state;
    command_row(&f->call);
    command_text(&f->call, "jid", SLICE("a\"\\\n\x01\xff\xc3\xa4"));
    command_int(&f->call, "count", -7);
    command_row(&f->call);
    command_bool(&f->call, "up", true);
    command_done(&f->call, "2 rows");
    assert_int_equal(f->ended, 1);
    expect_reply(f, "{\"ok\":true,\"text\":\"2 rows\",\"rows\":[{\"jid\":\"a\\\"\\\\\\n\\u0001"
                    "\xef\xbf\xbd\xc3\xa4\",\"count\":-7},{\"up\":true}]}\n");
}

static void faults_are_found_between_escapes(void **state)
{
    struct fixture *f = *state;
    control_text(&f->out, SLICE("\\\xff\xff\"a\"\xc3\\\xc3\xa4\"\xe2\x82"));
    assert_true(slice_is(buf_slice(&f->out),
                         "\"\\\\\xef\xbf\xbd\xef\xbf\xbd\\\"a\\\"\xef\xbf\xbd\\\\\xc3\xa4\\\""
                         "\xef\xbf\xbd\xef\xbf\xbd\""));
}

static void expect_text(struct fixture *f, const char *text)
{
    assert_true(slice_is(buf_slice(&f->out), text));
    buf_clear(&f->out);
}

static void what_lacks_a_node_says_so(void **state)
{
    struct fixture *f = *state;
    command_row(&f->call);
    command_int(&f->call, "count", 1);
    f->call.incomplete = true;
    command_done_more(&f->call, SLICE("a@b"));
    control_page(&f->out, &f->call, SLICE("c"));
    expect_text(f, "{\"items\":[{\"count\":1}],\"next\":\"c\",\"text\":\"" COMMAND_INCOMPLETE
                   "\",\"incomplete\":true}");
    control_record(&f->out, &f->call);
    expect_text(f, "{\"count\":1,\"incomplete\":true}");
    expect_reply(
        f, "{\"ok\":true,\"text\":\"there are more: go on with --after a@b; " COMMAND_INCOMPLETE
           "\",\"incomplete\":true,\"rows\":[{\"count\":1}],\"next\":\"a@b\"}\n");
}

static void a_page_says_whether_there_is_another(void **state)
{
    struct fixture *f = *state;
    command_row(&f->call);
    command_int(&f->call, "count", 1);
    command_done(&f->call, "%s", "that is all");
    control_page(&f->out, &f->call, (slice){ 0 });
    expect_text(f, "{\"items\":[{\"count\":1}],\"text\":\"that is all\"}");
    control_page(&f->out, &f->call, SLICE("c"));
    expect_text(f, "{\"items\":[{\"count\":1}],\"next\":\"c\"}");
    control_record(&f->out, &f->call);
    expect_text(f, "{\"count\":1}");
}

static void a_failure_names_its_error(void **state)
{
    struct fixture *f = *state;
    command_fail(&f->call, E_EXISTS, "%s is there", "a@b");
    expect_reply(f, "{\"ok\":false,\"error\":\"exists\",\"text\":\"a@b is there\"}\n");
}

static void an_empty_reply_is_complete(void **state)
{
    struct fixture *f = *state;
    command_done(&f->call, "%s", "");
    expect_reply(f, "{\"ok\":true,\"text\":\"\",\"rows\":[]}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_is_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_are_not_taken_as_text, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_requests_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_become_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(faults_are_found_between_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_lacks_a_node_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_page_says_whether_there_is_another, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_names_its_error, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_reply_is_complete, setup, teardown),
    };
    return cmocka_run_group_tests_name("control_json", tests, register_rows, NULL);
}
