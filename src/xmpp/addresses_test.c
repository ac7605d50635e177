#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/addresses.h"
#include "xmpp/ns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena *tmp;
static struct addresses list;

static int setup(void **state)
{
    (void)state;
    tmp = arena_create(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&tmp);
    return 0;
}

static bool read(const char *inner)
{
    struct elem e;
    const char *xml = arena_printf(tmp, "<addresses xmlns='" NS_ADDRESS "'>%s</addresses>", inner);
    assert_true(elem_parse(&e, slice_of(xml), SLICE(NS_CLIENT)));
    return addresses_read(&list, &e, tmp);
}

static void assert_written(unsigned to, const char *inner)
{
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    addresses_write(&x, &list, to);
    const char *xml = arena_printf(tmp, "<addresses xmlns='" NS_ADDRESS "'>%s</addresses>", inner);
    assert_int_equal(b.len, strlen(xml));
    assert_memory_equal(b.ptr, xml, b.len);
    buf_fini(&b);
}

static void test_read(void **state)
{
    (void)state;
    assert_true(
        read("<address type='to' jid='Bob@Example.ORG/x' desc='B &amp; b'/> <other/>"
             "<address type='cc' jid='c@d' node='n' delivered='true'><x xmlns='y'/></address>"
             "<address type='bcc' uri='urn:x'/><address type='noreply'/>"
             "<address type='replyto' jid='r@d'/><address type='replyroom' jid='m@d'/>"));
    assert_int_equal(list.count, 6);
    assert_true(slice_is(list.of[0].jid, "bob@example.org/x"));
    assert_true(slice_is(list.of[0].desc, "B & b"));
    assert_true(list.of[1].delivered && !list.of[0].delivered);
    assert_true(slice_is(list.of[1].node, "n"));
    assert_true(slice_is(list.of[2].uri, "urn:x"));
    assert_true(address_is_recipient(&list.of[2]) && !address_is_recipient(&list.of[4]));
}

static void test_bad(void **state)
{
    static const struct {
        const char *inner;
        enum stanza_error error;
    } rows[] = {
        { "", SE_BAD_REQUEST },
        { "<address jid='a@b'/>", SE_BAD_REQUEST },
        { "<address type='xx' jid='a@b'/>", SE_BAD_REQUEST },
        { "<address type='to'/>", SE_BAD_REQUEST },
        { "<address type='to' desc='x'/>", SE_BAD_REQUEST },
        { "<address type='to' jid='a@b' uri='urn:x'/>", SE_BAD_REQUEST },
        { "<address type='to' node='a' uri='urn:x'/>", SE_BAD_REQUEST },
        { "<address type='to' jid='@b'/>", SE_JID_MALFORMED },
        { "<address type='to' jid='a b@c d'/>", SE_JID_MALFORMED },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_false(read(rows[i].inner));
        assert_int_equal(list.error, rows[i].error);
        assert_true(list.text.len > 0);
    }
}

static void test_too_many(void **state)
{
    struct buf b;
    struct xml_write x;
    (void)state;
    xml_begin(&x, &b, XML_PART_MAX);
    for (unsigned i = 0; i <= ADDRESSES_MAX; i++)
        buf_printf(&b, "<address type='to' jid='u%u@d'/>", i);
    buf_append(&b, "", 1);
    assert_false(read(b.ptr));
    assert_int_equal(list.error, SE_NOT_ACCEPTABLE);
    buf_fini(&b);
}

static void test_written_for_each(void **state)
{
    (void)state;
    assert_true(read("<address type='to' jid='a@b' desc='&apos;'/><address type='bcc' jid='c@b'/>"
                     "<address type='bcc' jid='d@b'/><address type='noreply'/>"));
    const char *open = "<address type='to' jid='a@b' desc='&apos;' delivered='true'/>";
    assert_written(ADDRESSES_MAX, arena_printf(tmp, "%s<address type='noreply'/>", open));
    assert_written(2, arena_printf(tmp,
                                   "%s<address type='bcc' jid='d@b' delivered='true'/>"
                                   "<address type='noreply'/>",
                                   open));
}

static void test_each_once(void **state)
{
    (void)state;
    assert_true(read("<address type='replyto' jid='a@b'/>"));
    assert_true(addresses_add(&list, ADDRESS_CC, SLICE("a@b")));
    assert_false(addresses_add(&list, ADDRESS_TO, SLICE("a@b")));
    assert_int_equal(list.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_written_for_each, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_once, setup, teardown),
    };
    return cmocka_run_group_tests_name("xmpp/addresses", tests, NULL, NULL);
}
