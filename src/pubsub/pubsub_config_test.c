#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "pubsub/pubsub_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;
static const struct ps_limits limits = { 1000, 65536 };

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

#define F(var, value) "<field var='pubsub#" var "'><value>" value "</value></field>"

static struct form parse(const char *fields)
{
    struct form f;
    struct elem x;
    const char *xml =
        arena_printf(arena,
                     "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
                     "<value>http://jabber.org/protocol/pubsub#node_config</value></field>%s</x>",
                     fields);
    assert_true(elem_parse(&x, slice_of(xml), SLICE("")));
    assert_true(form_parse(&f, &x, arena));
    return f;
}

static void test_submit(void **state)
{
    struct ps_config c;
    struct form f = parse(
        F("access_model", "whitelist") F("max_items", "max") F("item_expire", "60")
            F("persist_items", "false") F("title", "a\nb")
                F("unknown", "x") "<field var='pubsub#roster_groups_allowed'><value>one</value>"
                                  "<value>two words</value></field>");
    (void)state;
    ps_config_default(&c, PS_PEP);
    assert_true(ps_config_submit(&c, &f, &limits));
    assert_int_equal(c.access, PS_WHITELIST);
    assert_int_equal(c.max_items, PS_MAX);
    assert_int_equal(c.item_expire, 60);
    assert_false(c.persist_items);
    assert_true(slice_is(c.text[PS_TITLE], "a b"));
    assert_true(ps_list_has(c.text[PS_GROUPS], SLICE("two words")));
    assert_false(ps_list_has(c.text[PS_GROUPS], SLICE("two")));
    assert_int_equal(c.publish, PS_PUBLISHERS);
}

static void test_wrong_values(void **state)
{
    static const char *const wrong[] = {
        F("access_model", "nobody"),  F("max_items", "0"),
        F("max_items", "1001"),       F("max_items", "-1"),
        F("max_items", "many"),       F("persist_items", "perhaps"),
        F("item_expire", "-5"),       F("max_payload_size", "65537"),
        F("node_type", "collection"), F("contact", "a@"),
    };
    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ps_config c;
        struct form f = parse(wrong[i]);
        ps_config_default(&c, PS_HOST);
        assert_false(ps_config_submit(&c, &f, &limits));
        assert_int_not_equal(f.error, SE_NONE);
    }
}

static void test_preconditions(void **state)
{
    struct ps_config c;
    struct form f = parse(F("access_model", "presence") F("max_items", "1"));
    (void)state;
    ps_config_default(&c, PS_PEP);
    assert_true(ps_config_meets(&c, &f, &limits));
    f = parse(F("access_model", "open"));
    assert_false(ps_config_meets(&c, &f, &limits));
    f = parse(F("no_such_field", "1"));
    assert_false(ps_config_meets(&c, &f, &limits));
    f = parse(F("max_items", "max"));
    assert_false(ps_config_meets(&c, &f, &limits));
    f = parse(F("persist_items", "1"));
    assert_true(ps_config_meets(&c, &f, &limits));
    f = parse("");
    assert_true(ps_config_meets(&c, &f, &limits));
}

static void assert_same(const struct ps_config *a, const struct ps_config *b)
{
    assert_memory_equal(a, b, offsetof(struct ps_config, text));
    for (unsigned i = 0; i < PS_TEXTS; i++)
        assert_true(slice_eq(a->text[i], b->text[i]));
}

/* What is written can be read again: as stored text, as a form, as a copy. */
static void test_round_trips(void **state)
{
    struct ps_config c, again, kept;
    struct buf text;
    struct elem x;
    struct form f =
        parse(F("access_model", "roster") F("title", "T = 1") F("item_expire", "7")
                  F("notify_sub", "1") F("itemreply", "publisher") F("notification_type", "normal")
                      F("max_items", "12") F("send_last_published_item", "never")
                          F("language", "de") "<field var='pubsub#contact'><value>a@b.example"
                                              "</value><value>c.example</value></field>");
    (void)state;
    for (unsigned kind = PS_PEP; kind <= PS_HOST; kind++) {
        ps_config_default(&c, (enum ps_kind)kind);
        buf_init(&text, 65536);
        ps_config_store(&text, &c, (enum ps_kind)kind);
        assert_int_equal(text.len, 0); /* the defaults take no room */
        assert_true(ps_config_submit(&c, &f, &limits));
        ps_config_store(&text, &c, (enum ps_kind)kind);
        ps_config_load(&again, (enum ps_kind)kind, buf_slice(&text));
        assert_same(&c, &again);
        ps_config_keep(&kept, &again);
        buf_fini(&text);
        assert_same(&c, &kept);
        struct xml_write w;
        xml_begin(&w, &text, XML_PART_MAX);
        ps_config_write(&w, &kept);
        struct form back;
        assert_true(elem_parse(&x, buf_slice(&text), SLICE("")));
        assert_true(form_parse(&back, &x, arena));
        ps_config_default(&again, (enum ps_kind)kind);
        assert_true(ps_config_submit(&again, &back, &limits));
        assert_same(&c, &again);
        buf_fini(&text);
        ps_config_fini(&kept);
    }
}

static void test_damaged_text(void **state)
{
    struct ps_config c, def;
    (void)state;
    ps_config_default(&def, PS_PEP);
    ps_config_load(&c, PS_PEP,
                   SLICE("access_model=king\nmax_items=-3\nno line\n=\nitem_expire=99999999999\n"
                         "max_items=x\nunknown=1\nnot ended"));
    assert_same(&c, &def);
}

static void test_options(void **state)
{
    bool deliver = true;
    struct form f;
    struct elem x;
    (void)state;
    assert_true(
        elem_parse(&x,
                   SLICE("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
                         "http://jabber.org/protocol/pubsub#subscribe_options</value></field>" F(
                             "deliver", "0") "</x>"),
                   SLICE("")));
    assert_true(form_parse(&f, &x, arena));
    assert_true(ps_options_submit(&deliver, &f));
    assert_false(deliver);
    f = parse("");
    assert_false(ps_options_submit(&deliver, &f)); /* another FORM_TYPE */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_submit, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_wrong_values, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_preconditions, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_round_trips, make_arena, drop_arena),
        cmocka_unit_test(test_damaged_text),
        cmocka_unit_test_setup_teardown(test_options, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
