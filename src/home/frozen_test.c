#include "home/frozen.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "codec/xml_read.h"
#include "home/jids.h"
#include "store/renaming.h"
#include "xmpp/stanza.h"

struct thing {
    uint32_t number;
    slice jid, list, text;
    struct stanza *st;
};
static const struct message_field thing_fields[] = {
    F_U32(struct thing, number, 1000),  F_BARE(struct thing, jid),
    F_JIDS(struct thing, list),         F_TEXT(struct thing, text, 100),
    F_STANZA_OR_NONE(struct thing, st), { 0 },
};
static const struct frozen_row thing_row = { FROZEN_OWN,   "thing", sizeof(struct thing),
                                             thing_fields, NULL,    NULL };
static const struct message_field note_fields[] = { F_TEXT(struct thing, text, 100), { 0 } };
static const struct frozen_row note_row = { FROZEN_OWN + 1, "note", sizeof(struct thing),
                                            note_fields,    NULL,   NULL };
static const struct frozen_row *const rows[] = { &thing_row, &note_row, NULL };
static const struct frozen_row *const fewer[] = { &thing_row, NULL };
static const struct frozen_kind kind = { 2, rows }, later = { 3, rows }, simple = { 2, fewer };

static struct buf bytes;
static struct frozen_reading r;
static struct why why;

#define STANZA "<message from='a@x.test/r' to='b@x.test'><body>a@x.test</body></message>"

static slice frozen(const struct thing *thing)
{
    buf_clear(&bytes);
    frozen_begin(&bytes, &kind);
    frozen_add(&bytes, &thing_row, thing);
    frozen_add(&bytes, &note_row, &(struct thing){ .text = SLICE("note") });
    frozen_end(&bytes);
    assert_false(bytes.overflow);
    return buf_slice(&bytes);
}

static enum err read_as(const struct frozen_kind *as, struct frozen *f, slice from)
{
    arena_reset(r.tmp);
    r.rest = from;
    return frozen_read(f, as, &r, &why);
}

static struct thing sample(void)
{
    static char packed[256];
    static struct buf list;
    struct thing thing = { .number = 7, .jid = SLICE("a@x.test"), .text = SLICE("a@x.test says") };
    buf_init(&list, sizeof packed);
    jids_add(&list, SLICE("a@x.test/one"), 1);
    jids_add(&list, SLICE("ab@x.test"), 2);
    memcpy(packed, list.ptr, list.len);
    thing.list = (slice){ packed, list.len };
    buf_fini(&list);
    assert_int_equal(stanza_load(&thing.st, SLICE(STANZA), r.xml, r.tmp), OK);
    return thing;
}

static int begin(void **state)
{
    (void)state;
    r.xml = xml_work_create();
    r.tmp = arena_create(0);
    buf_init(&bytes, 1 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    xml_work_destroy(&r.xml);
    arena_destroy(&r.tmp);
    buf_fini(&bytes);
    return 0;
}

static void test_there_and_back(void **state)
{
    struct thing thing = sample();
    struct frozen f;
    (void)state;
    assert_int_equal(read_as(&kind, &f, frozen(&thing)), OK);
    assert_int_equal(f.count, 2);
    assert_ptr_equal(f.record[0].row, &thing_row);
    const struct thing *back = f.record[0].data;
    assert_int_equal(back->number, 7);
    assert_true(slice_eq(back->jid, thing.jid) && slice_eq(back->list, thing.list));
    assert_true(slice_is(stanza_from(back->st), "a@x.test/r"));
    assert_true(slice_is(((const struct thing *)f.record[1].data)->text, "note"));
    frozen_release(&f);
    stanza_unref(&thing.st);
}

static void test_a_record_that_is_not_known_is_skipped(void **state)
{
    struct thing thing = sample();
    struct frozen f;
    (void)state;
    assert_int_equal(read_as(&simple, &f, frozen(&thing)), OK);
    assert_int_equal(f.count, 1);
    frozen_release(&f);
    stanza_unref(&thing.st);
}

static void refused(const struct frozen_kind *as, slice from, enum err e, const char *text)
{
    struct frozen f;
    why.text[0] = '\0';
    assert_int_equal(read_as(as, &f, from), e);
    if (strstr(why.text, text) == NULL)
        fail_msg("found: %s", why.text);
    assert_int_equal(f.count, 0);
}

static void test_another_version(void **state)
{
    struct thing thing = sample();
    (void)state;
    refused(&later, frozen(&thing), E_UNSUPPORTED, "found version 2, known is version 3");
    stanza_unref(&thing.st);
}

/* Wherever they are cut, also between two records; and with something behind. */
static void test_cut_short(void **state)
{
    struct thing thing = sample();
    (void)state;
    slice all = frozen(&thing);
    for (size_t len = 0; len < all.len; len++) {
        slice part = slice_keep((slice){ all.ptr, len }); /* nothing may be read behind it */
        refused(&kind, part, E_CORRUPT, "");
        slice_release(&part);
    }
    buf_lit(&bytes, "\x04\0\0\0\0");
    refused(&kind, buf_slice(&bytes), E_CORRUPT, "do not end behind record 3");
    stanza_unref(&thing.st);
}

static void test_out_of_range(void **state)
{
    struct thing thing = sample();
    (void)state;
    thing.number = 1001;
    refused(&kind, frozen(&thing), E_CORRUPT, "record thing: field number is out of range");
    thing.number = 1;
    thing.jid = SLICE("A@x.test");
    refused(&kind, frozen(&thing), E_CORRUPT, "record thing: field jid is out of range");
    refused(&kind, SLICE("text"), E_CORRUPT, "do not begin with a version");
    stanza_unref(&thing.st);
}

/* Whole records, so that each part can be looked into alone. */
static void test_parts(void **state)
{
    struct thing thing = sample();
    struct buf joined;
    struct frozen f;
    (void)state;
    buf_init(&joined, 1 << 20);
    buf_clear(&bytes);
    frozen_begin(&bytes, &kind);
    for (int i = 0; i < 100; i++)
        frozen_add(&bytes, &thing_row, &thing);
    frozen_end(&bytes);
    unsigned parts = 0;
    for (slice rest = buf_slice(&bytes); rest.len > 0; parts++) {
        slice part = frozen_part(&rest, 1000);
        assert_in_range(part.len, 1, 1000);
        struct frozen_reading one = { kind.row, r.xml, r.tmp, part };
        struct frozen_record record;
        enum err e;
        while ((e = frozen_next(&one, &record, &why)) == OK)
            frozen_drop(&record);
        assert_int_equal(e, E_EOF);
        buf_add(&joined, part);
    }
    assert_true(parts > 10);
    assert_int_equal(read_as(&kind, &f, buf_slice(&joined)), OK);
    assert_int_equal(f.count, 100);
    frozen_release(&f);
    slice long_one = buf_slice(&bytes), damaged = SLICE("damaged");
    (void)frozen_part(&long_one, 1000);
    assert_true(frozen_part(&long_one, 1).len > 1);
    assert_int_equal(frozen_part(&damaged, 1).len, strlen("damaged"));
    buf_fini(&joined);
    stanza_unref(&thing.st);
}

/* In addresses and stanzas, by the whole address; not in texts. */
static void test_another_address(void **state)
{
    struct thing thing = sample();
    struct frozen f;
    struct buf out;
    slice jid, list;
    uint32_t number;
    (void)state;
    buf_init(&out, 1 << 20);
    struct frozen_reading part = { simple.row, r.xml, r.tmp, frozen(&thing) };
    struct renaming renaming = renaming_begin(r.tmp, "a@x.test", "longer@y.test", NULL);
    assert_int_equal(frozen_rename(&out, &part, &renaming, &why), OK);
    assert_int_equal(read_as(&kind, &f, buf_slice(&out)), OK);
    const struct thing *back = f.record[0].data;
    assert_true(slice_is(back->jid, "longer@y.test") && slice_is(back->text, "a@x.test says"));
    list = back->list;
    assert_true(jids_next(&list, &jid, &number) && slice_is(jid, "longer@y.test/one"));
    assert_int_equal(number, 1);
    assert_true(jids_next(&list, &jid, &number) && slice_is(jid, "ab@x.test"));
    assert_true(slice_is(stanza_from(back->st), "longer@y.test/r"));
    assert_true(slice_is(stanza_to(back->st), "b@x.test"));
    assert_true(slice_is(((const struct thing *)f.record[1].data)->text, "note"));
    frozen_release(&f);
    buf_fini(&out);
    stanza_unref(&thing.st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_a_record_that_is_not_known_is_skipped),
        cmocka_unit_test(test_another_version),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_out_of_range),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_another_address),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
