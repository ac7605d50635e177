#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/form.h"
#include "xmpp/jid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define X(type)  "<x xmlns='jabber:x:data' type='" type "'>"
#define KIND(ns) "<field var='FORM_TYPE' type='hidden'><value>" ns "</value></field>"

static struct arena *arena;
static struct buf out;
static struct xml_write x;

static int setup(void **state)
{
    (void)state;
    arena = arena_create(0);
    xml_begin(&x, &out, XML_PART_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&arena);
    buf_fini(&out);
    return 0;
}

static bool parse(struct form *f, const char *text)
{
    struct elem e;
    assert_true(elem_parse(&e, slice_of(text), SLICE("jabber:client")));
    return form_parse(f, &e, arena);
}

static void assert_text(slice found, const char *expected)
{
    if (!slice_is(found, expected))
        fail_msg("'%.*s', not '%s'", SLICE_ARG(found), expected);
}

static void assert_wrong(const struct form *f, enum stanza_error error, const char *part)
{
    const char *text = slice_cstr(arena, f->text);
    assert_int_equal(f->error, error);
    if (strstr(text, part) == NULL)
        fail_msg("'%s' does not say '%s'", text, part);
}

static const char *const sizes[] = { "small", "medium", "large", NULL };

static const char bot[] = X("submit")
    KIND("urn:bot") "<title>ignored</title>"
                    "<field type='fixed'><value>Section</value></field>"
                    "<field var='name'><value>R &amp; D</value></field>"
                    "<field var='lines' "
                    "type='text-multi'><value>one</value><value/><value>three</value></field>"
                    "<field var='public'><value>1</value></field>"
                    "<field var='max'><value>20</value></field>"
                    "<field var='since'><value>2010-06-07T00:00:00Z</value></field>"
                    "<field var='size' type='list-single'><value>large</value></field>"
                    "<field var='sizes' "
                    "type='list-multi'><value>small</value><value>large</value></field>"
                    "<field var='owner' "
                    "type='jid-single'><value>Romeo@Montague.example/Home</value></field>"
                    "<field var='people' "
                    "type='jid-multi'><value>a@b.example</value><value>A@B.example</value>"
                    "<value>c.example</value></field>"
                    "<field var='nothing'/>"
                    "</x>";

static void reads_every_type(void **state)
{
    (void)state;
    struct form f;
    slice text, lines;
    bool yes = false;
    int64_t max = 0, since = 0;
    unsigned size = 0, count = 0;
    uint32_t set = 0;
    struct jid owner;
    const slice *people;
    assert_true(parse(&f, bot));
    assert_true(form_expect(&f, "urn:bot"));
    assert_true(form_text(&f, "name", &text));
    assert_text(text, "R & D");
    assert_true(form_lines(&f, "lines", &lines));
    assert_text(lines, "one\n\nthree");
    assert_true(form_bool(&f, "public", &yes) && yes);
    assert_true(form_int(&f, "max", 1, 20, &max));
    assert_int_equal(max, 20);
    assert_true(form_time(&f, "since", &since));
    assert_int_equal(since, 1275868800000000);
    assert_true(form_choice(&f, "size", sizes, &size));
    assert_int_equal(size, 2);
    assert_true(form_choices(&f, "sizes", sizes, &set));
    assert_int_equal(set, 5);
    assert_true(form_jid(&f, "owner", &owner));
    assert_text(owner.full, "romeo@montague.example/Home");
    assert_true(form_jids(&f, "people", &people, &count));
    assert_int_equal(count, 2);
    assert_text(people[1], "c.example");
    assert_int_equal(f.error, SE_NONE);
}

static void absent_is_not_wrong(void **state)
{
    (void)state;
    struct form f;
    slice text = SLICE("as it was");
    bool yes = true;
    unsigned count = 7;
    const slice *values;
    assert_true(parse(&f, bot));
    assert_false(form_text(&f, "nothing", &text));
    assert_false(form_bool(&f, "nowhere", &yes));
    assert_false(form_values(&f, "nowhere", &values, &count));
    assert_text(text, "as it was");
    assert_true(yes && count == 7);
    assert_true(form_jids(&f, "nothing", &values, &count)); /* an empty list */
    assert_int_equal(count, 0);
    assert_int_equal(f.error, SE_NONE);
}

static void says_which_field_is_wrong(void **state)
{
    (void)state;
    struct form f;
    bool yes;
    int64_t n = 7;
    unsigned option;
    uint32_t set;
    struct jid j;
    const slice *values;
    assert_true(parse(&f, bot));
    assert_false(form_int(&f, "max", 1, 19, &n));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'max' has to be a number from 1 to 19");
    assert_int_equal(n, 7);
    assert_false(form_bool(&f, "name", &yes)); /* the first one is what is said */
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'max'");

    assert_true(parse(&f, bot));
    assert_false(form_bool(&f, "name", &yes));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'name' has to be 'true' or 'false'");
    assert_true(parse(&f, bot));
    assert_false(form_choice(&f, "name", sizes, &option));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'name'");
    assert_true(parse(&f, bot));
    assert_false(form_choices(&f, "lines", sizes, &set));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'lines'");
    assert_true(parse(&f, bot));
    assert_false(form_jid(&f, "name", &j));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'name' is not an address");
    assert_true(parse(&f, bot));
    assert_false(form_jids(&f, "lines", &values, &option));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'lines'");
    assert_true(parse(&f, bot));
    assert_false(form_time(&f, "name", &n));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "XEP-0082");
    assert_true(parse(&f, bot));
    assert_false(form_int(&f, "lines", 0, 9, &n)); /* three values */
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "'lines' can have one value only");
}

static void refuses_what_is_not_a_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } wrong[] = {
        { "<x xmlns='jabber:x:oob'/>", "not a form" },
        { "<x xmlns='jabber:x:data'/>", "no type" },
        { X("sumbit") "</x>", "no type" },
        { X("submit") "<field><value>1</value></field></x>", "no 'var'" },
        { X("submit") "<field var='a'/><field var='a'/></x>", "there twice" },
    };
    struct form f;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(parse(&f, wrong[i].text));
        assert_wrong(&f, SE_BAD_REQUEST, wrong[i].part);
    }
}

static void expects_a_submitted_form_of_its_type(void **state)
{
    (void)state;
    struct form f;
    assert_true(parse(&f, bot));
    assert_false(form_expect(&f, "urn:other"));
    assert_wrong(&f, SE_BAD_REQUEST, "urn:other");
    assert_true(parse(&f, X("submit") "<field var='a'/></x>"));
    assert_false(form_expect(&f, "urn:bot"));
    assert_true(parse(&f, X("cancel") "</x>"));
    assert_int_equal(f.kind, FORM_CANCEL);
    assert_false(form_expect(&f, "urn:bot"));
    assert_wrong(&f, SE_BAD_REQUEST, "submit");
}

static void finds_unknown_fields(void **state)
{
    (void)state;
    struct form f;
    static const char *const known[] = { "a", "b", NULL };
    assert_true(parse(&f, X("submit") KIND("urn:bot") "<field var='b'/></x>"));
    assert_true(form_only(&f, known, SE_FEATURE_NOT_IMPLEMENTED));
    assert_true(parse(&f, X("submit") "<field var='b'/><field var='c'/></x>"));
    assert_false(form_only(&f, known, SE_FEATURE_NOT_IMPLEMENTED));
    assert_wrong(&f, SE_FEATURE_NOT_IMPLEMENTED, "'c' is not known");
}

/* A name that is cut for the text must stay UTF-8. */
static void cuts_long_names_between_characters(void **state)
{
    (void)state;
    struct form f;
    bool yes;
    static const char *const none[] = { NULL };
    char *var = arena_printf(arena, "x"), *text;
    for (int i = 0; i < 150; i++)
        var = arena_printf(arena, "%s\xc3\xa4", var);
    text = arena_printf(arena, X("submit") "<field var='%s'><value>?</value></field></x>", var);
    assert_true(parse(&f, text));
    assert_false(form_bool(&f, var, &yes));
    assert_wrong(&f, SE_NOT_ACCEPTABLE, "\xc3\xa4' has");
    assert_true(parse(&f, text));
    assert_false(form_only(&f, none, SE_BAD_REQUEST));
    assert_wrong(&f, SE_BAD_REQUEST, "\xc3\xa4' is");
}

static void has_limits(void **state)
{
    (void)state;
    struct form f;
    struct elem e;
    buf_lit(&out, X("submit"));
    for (int i = 0; i <= FORM_FIELDS_MAX; i++)
        buf_printf(&out, "<field var='f%d'/>", i);
    buf_lit(&out, "</x>");
    assert_true(elem_parse(&e, buf_slice(&out), SLICE("")));
    assert_false(form_parse(&f, &e, arena));
    assert_wrong(&f, SE_BAD_REQUEST, "more than 256 fields");

    buf_clear(&out);
    buf_lit(&out, X("submit") "<field var='a'><value>1</value></field><field var='b'>");
    for (int i = 0; i < FORM_VALUES_MAX; i++)
        buf_lit(&out, "<value/>");
    buf_lit(&out, "</field></x>");
    assert_true(elem_parse(&e, buf_slice(&out), SLICE("")));
    assert_false(form_parse(&f, &e, arena));
    assert_wrong(&f, SE_BAD_REQUEST, "more than 1024 values");
}

static void a_child_may_be_missing(void **state)
{
    (void)state;
    struct form f;
    struct elem query;
    assert_true(elem_parse(&query, SLICE("<query xmlns='urn:q'/>"), SLICE("")));
    assert_false(form_parse_child(&f, &query, arena));
    assert_int_equal(f.error, SE_NONE);
    assert_true(
        elem_parse(&query, SLICE("<q><x xmlns='jabber:x:data' type='oops'/></q>"), SLICE("")));
    assert_false(form_parse_child(&f, &query, arena));
    assert_int_equal(f.error, SE_BAD_REQUEST);
    assert_true(elem_parse(&query, SLICE("<q>" X("cancel") "</x></q>"), SLICE("")));
    assert_true(form_parse_child(&f, &query, arena));
}

static void writes_a_form(void **state)
{
    (void)state;
    static const struct form_option options[] = { { "1", "one" }, { "none", NULL }, { 0 } };
    static const struct form_row rows[] = {
        { .var = "who", .type = FORM_JID_SINGLE, .label = "It's <who>?", .required = true },
        { .var = "max", .type = FORM_LIST_SINGLE, .desc = "How many", .options = options },
        { .var = "ids", .type = FORM_LIST_MULTI, .extra = "<v/>" },
    };
    form_open_titled(&x, FORM_FORM, "urn:bot", "Bot", "Fill & send");
    form_ask(&x, &rows[0]);
    form_ask_value(&x, &rows[1], SLICE("none"));
    form_ask_open(&x, &rows[2]);
    form_value(&x, SLICE("a"));
    form_value(&x, SLICE("b"));
    form_field_close(&x);
    form_close(&x);
    assert_text(
        buf_slice(&out),
        X("form") "<title>Bot</title><instructions>Fill &amp; send</instructions>"
                  "<field var='FORM_TYPE' type='hidden'><value>urn:bot</value></field>"
                  "<field var='who' type='jid-single' label='It&apos;s "
                  "&lt;who&gt;?'><required/></field>"
                  "<field var='max' type='list-single'><desc>How many</desc>"
                  "<option "
                  "label='one'><value>1</value></option><option><value>none</value></option>"
                  "<value>none</value></field>"
                  "<field var='ids' "
                  "type='list-multi'><v/><value>a</value><value>b</value></field></x>");
}

static void writes_a_table(void **state)
{
    (void)state;
    static const struct form_row columns[] = {
        { .var = "jid", .type = FORM_JID_SINGLE, .label = "Address" },
        { .var = "n", .type = FORM_TEXT_SINGLE },
    };
    form_open(&x, FORM_RESULT, NULL);
    form_reported(&x, columns, 2);
    form_item_open(&x);
    form_put(&x, "jid", SLICE("a@b"));
    form_put_int(&x, "n", -3);
    form_item_close(&x);
    form_close(&x);
    assert_text(buf_slice(&out),
                X("result") "<reported><field var='jid' type='jid-single' label='Address'/>"
                            "<field var='n' type='text-single'/></reported>"
                            "<item><field var='jid'><value>a@b</value></field>"
                            "<field var='n'><value>-3</value></field></item></x>");
}

static void reads_what_it_writes(void **state)
{
    (void)state;
    struct form f;
    slice text;
    form_open(&x, FORM_SUBMIT, "urn:bot");
    form_put(&x, "t", SLICE("<&>'\""));
    form_put_open(&x, "none", FORM_JID_MULTI);
    form_field_close(&x);
    form_close(&x);
    buf_lit(&out, "\0");
    assert_true(parse(&f, out.ptr));
    assert_true(form_expect(&f, "urn:bot"));
    assert_true(form_text(&f, "t", &text));
    assert_text(text, "<&>'\"");
    assert_int_equal(f.field_count, 3);
    assert_int_equal(f.field[0].type, FORM_HIDDEN);
    assert_int_equal(f.field[2].type, FORM_JID_MULTI);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_every_type),
        T(absent_is_not_wrong),
        T(says_which_field_is_wrong),
        T(refuses_what_is_not_a_form),
        T(expects_a_submitted_form_of_its_type),
        T(finds_unknown_fields),
        T(cuts_long_names_between_characters),
        T(has_limits),
        T(a_child_may_be_missing),
        T(writes_a_form),
        T(writes_a_table),
        T(reads_what_it_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
