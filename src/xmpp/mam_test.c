#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/mam.h"
#include "xmpp/ns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

/* Ids as clients see them, without a key. */
#define ID_1 "c1dd95f9d01944fa"
#define ID_2 "984e3d7f2b098ae5"
#define ID_3 "b604d736a2df8a28"
#define ID_4 "7eccd351b4f55bb1"
#define ID_5 "1df5f191ad8dcbde"
#define ID_6 "25c7095cffad5c0a"
#define ID_7 "99719ac4be25f95a"
#define ID_9 "7bcc0c86aa5fb493"

static struct mam_query read_text(const char *text)
{
    struct elem e;
    struct mam_query q;
    assert_true(elem_parse(&e, slice_of(text), SLICE(NS_CLIENT)));
    mam_query_read(&q, &e, (struct mam_limits){ 50, 100 }, arena);
    return q;
}

#define QUERY(inner) "<query xmlns='" NS_MAM "'>" inner "</query>"
#define FORM(fields)                                                                               \
    "<x xmlns='" NS_DATA "' type='submit'><field var='FORM_TYPE'><value>" NS_MAM                   \
    "</value></field>" fields "</x>"
#define FIELD(var, value) "<field var='" var "'><value>" value "</value></field>"
#define PAGE(inner)       "<set xmlns='" NS_RSM "'>" inner "</set>"

static void a_query_that_says_nothing_asks_for_the_first_page(void **state)
{
    (void)state;
    struct mam_query q = read_text(QUERY(""));
    assert_int_equal(q.error, SE_NONE);
    assert_true(q.id.ptr == NULL && q.with.full.len == 0 && q.words.len == 0);
    assert_true(q.start_us == INT64_MIN && q.end_us == INT64_MAX);
    assert_true(q.after == 0 && q.before == INT64_MAX);
    assert_true(q.limit == 50 && q.open && !q.backwards && !q.flip);
    assert_int_equal(q.want_count, 0);
}

static void all_filters_are_read(void **state)
{
    (void)state;
    struct mam_query q = read_text("<query xmlns='" NS_MAM "' queryid='a&amp;b'>" FORM(
        FIELD("with", "A@localhost/x") FIELD("start", "1970-01-01T00:00:01Z")
            FIELD("end", "1970-01-01T00:00:02Z") FIELD("after-id", ID_5) FIELD("before-id", ID_9)
                FIELD("include-groupchat", "true") FIELD(MAM_FULLTEXT_FIELD, "some words"))
                                       PAGE("<max>7</max><after>" ID_6
                                            "</after>") "<flip-page/></query>");
    assert_int_equal(q.error, SE_NONE);
    assert_true(slice_is(q.id, "a&b") && slice_is(q.with.full, "a@localhost/x"));
    assert_true(q.start_us == 1000000 && q.end_us == 2000000);
    assert_true(q.after == 6 && q.before == 9 && q.limit == 7);
    assert_true(slice_is(q.words, "some words") && q.flip && !q.open && !q.backwards);
    assert_int_equal(q.want_count, 3);
    assert_true(q.want[0].as == MAM_WANT_AFTER && q.want[0].id == 5);
    assert_true(q.want[1].as == MAM_WANT_BEFORE && q.want[1].id == 9);
}

static void ids_come_first_among_what_must_be_there(void **state)
{
    (void)state;
    struct mam_query q = read_text(QUERY(FORM("<field var='ids'><value>" ID_3 "</value><value>" ID_1
                                              "</value></field>" FIELD("before-id", ID_9))));
    assert_int_equal(q.error, SE_NONE);
    assert_true(q.id_count == 2 && q.want_count == 3);
    assert_true(q.want[0].id == 3 && q.want[1].id == 1 && q.want[1].as == MAM_WANT_ID);
}

static void pages_go_both_ways_and_have_a_maximum(void **state)
{
    (void)state;
    struct mam_query q = read_text(QUERY(PAGE("<before/><max>1000</max>")));
    assert_true(q.error == SE_NONE && q.backwards && q.open && q.limit == 100);
    q = read_text(QUERY(PAGE("<before>" ID_4 "</before><max>0</max>")));
    assert_true(q.error == SE_NONE && q.backwards && !q.open && q.limit == 0 && q.before == 4);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum stanza_error error;
    } rows[] = {
        { QUERY(FORM(FIELD("with", "@"))), SE_BAD_REQUEST },
        { QUERY(FORM(FIELD("start", "yesterday"))), SE_BAD_REQUEST },
        { QUERY(FORM(FIELD("colour", "red"))), SE_FEATURE_NOT_IMPLEMENTED },
        { QUERY(FORM(FIELD("after-id", "x"))), SE_ITEM_NOT_FOUND },
        { QUERY(FORM(FIELD("ids", "05"))), SE_ITEM_NOT_FOUND },
        { QUERY(FORM(FIELD("ids", ID_5) FIELD(MAM_FULLTEXT_FIELD, "w"))), SE_BAD_REQUEST },
        { QUERY("<x xmlns='" NS_DATA "' type='form'/>"), SE_BAD_REQUEST },
        { QUERY("<x xmlns='" NS_DATA "' type='submit'/>"), SE_BAD_REQUEST },
        { QUERY(PAGE("<index>3</index>")), SE_FEATURE_NOT_IMPLEMENTED },
        { QUERY(PAGE("<max>x</max>")), SE_BAD_REQUEST },
        { QUERY(PAGE("<after>none</after>")), SE_ITEM_NOT_FOUND },
        { "<query xmlns='" NS_MAM "' node='n'/>", SE_ITEM_NOT_FOUND },
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mam_query q = read_text(rows[i].text);
        assert_int_equal(q.error, rows[i].error);
        assert_true(q.text.len > 0);
    }
}

static void too_many_ids_are_refused(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_lit(&text, "<query xmlns='" NS_MAM "'><x xmlns='" NS_DATA
                   "' type='submit'>" FIELD("FORM_TYPE", NS_MAM) "<field var='ids'>");
    for (unsigned i = 1; i <= MAM_IDS_MAX + 1; i++)
        buf_printf(&text, "<value>%016x</value>", i);
    buf_lit(&text, "</field></x></query>");
    struct mam_query q = read_text(slice_cstr(arena, buf_slice(&text)));
    assert_int_equal(q.error, SE_BAD_REQUEST);
    assert_true(q.want_count <= MAM_IDS_MAX);
    buf_fini(&text);
}

static void expect(const char *text)
{
    assert_string_equal(slice_cstr(arena, buf_slice(&out)), text);
    buf_clear(&out);
}

#define RESULT                                                                                     \
    "<result xmlns='urn:xmpp:mam:2' queryid='a&amp;b' id='" ID_7 "'><forwarded "                   \
    "xmlns='urn:xmpp:forward:0'>"                                                                  \
    "<delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:01.000000Z'/>"

static void answers_are_written(void **state)
{
    (void)state;
    struct mam_query q = { .id = SLICE("a&b") };
    mam_result_write(&x, &q, 7, 1000000, SLICE("<message from='a'><body>x</body></message>"));
    expect(RESULT "<message xmlns='jabber:client' from='a'><body>x</body></message>"
                  "</forwarded></result>");
    mam_result_write(&x, &q, 7, 1000000, (slice){ 0 });
    expect(RESULT "</forwarded></result>");
    mam_fin_write(&x, &(struct mam_fin){ .count = -1, .unstable = true });
    expect("<fin xmlns='urn:xmpp:mam:2' stable='false'><set xmlns='" NS_RSM "'/></fin>");
    mam_fin_write(&x, &(struct mam_fin){ 3, 4, 2, true, false });
    expect("<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='" NS_RSM
           "'><first index='0'>" ID_3 "</first><last>" ID_4 "</last><count>2</count></set></fin>");
    mam_metadata_write(&x, NULL, NULL);
    expect("<metadata xmlns='urn:xmpp:mam:2'/>");
    mam_metadata_write(&x, &(struct mam_end){ 1, 0 }, &(struct mam_end){ 2, 1000000 });
    expect("<metadata xmlns='urn:xmpp:mam:2'>"
           "<start id='" ID_1 "' timestamp='1970-01-01T00:00:00.000000Z'/>"
           "<end id='" ID_2 "' timestamp='1970-01-01T00:00:01.000000Z'/></metadata>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_query_that_says_nothing_asks_for_the_first_page, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(all_filters_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_come_first_among_what_must_be_there, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_go_both_ways_and_have_a_maximum, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_ids_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_are_written, setup, teardown),
    };
    return cmocka_run_group_tests_name("xmpp/mam", tests, NULL, NULL);
}
