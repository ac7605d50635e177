#include "base/buf.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "xmpp/stanza_error.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

#define STANZAS "urn:ietf:params:xml:ns:xmpp-stanzas"
#define STREAMS "urn:ietf:params:xml:ns:xmpp-streams"

static void expect(struct buf *out, const char *text)
{
    if (!slice_is(buf_slice(out), text))
        fail_msg("%.*s", SLICE_ARG(buf_slice(out)));
    buf_clear(out);
}

static void writes_stanza_errors(void **state)
{
    (void)state;
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    stanza_error_write(&x, SE_SERVICE_UNAVAILABLE, NULL, (slice){ 0 });
    expect(&out, "<error type='cancel'><service-unavailable xmlns='" STANZAS "'/></error>");
    stanza_error_write(&x, SE_POLICY_VIOLATION, "wait", SLICE("a < b & c"));
    expect(&out, "<error type='wait'><policy-violation xmlns='" STANZAS "'/>"
                 "<text xmlns='" STANZAS "'>a &lt; b &amp; c</text></error>");
    stanza_error_write_parts(
        &x, &(struct stanza_error_parts){ .error = SE_CONFLICT, .by = SLICE("r@c.example/'") });
    expect(&out,
           "<error type='cancel' by='r@c.example/&apos;'><conflict xmlns='" STANZAS "'/></error>");
    buf_fini(&out);
}

static void writes_stream_errors(void **state)
{
    (void)state;
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    stream_error_write(&x, XE_SYSTEM_SHUTDOWN, (slice){ 0 }, (slice){ 0 });
    expect(&out, "<stream:error><system-shutdown xmlns='" STREAMS "'/></stream:error>");
    stream_error_write(&x, XE_CONFLICT, SLICE("replaced"), SLICE("<a/>"));
    expect(&out, "<stream:error><conflict xmlns='" STREAMS "'/>"
                 "<text xmlns='" STREAMS "'>replaced</text><a/></stream:error>");
    buf_fini(&out);
}

static void every_condition_has_a_name(void **state)
{
    (void)state;
    for (unsigned e = SE_NONE + 1; e < STANZA_ERROR_COUNT; e++) {
        enum stanza_error se = (enum stanza_error)e;
        assert_int_equal(stanza_error_find(slice_of(stanza_error_name(se))), se);
        assert_true(strlen(stanza_error_type(se)) >= 4);
    }
    assert_int_equal(stanza_error_find(SLICE("no-such-thing")), SE_NONE);
    assert_int_equal(stanza_error_find(SLICE("")), SE_NONE);
    for (unsigned e = XE_NONE + 1; e < STREAM_ERROR_COUNT; e++)
        assert_true(strlen(stream_error_name((enum stream_error)e)) >= 5);
}

static void translates_errors(void **state)
{
    (void)state;
    assert_int_equal(stanza_error_of(OK), SE_NONE);
    for (unsigned e = OK + 1; e < ERR_COUNT; e++)
        assert_int_not_equal(stanza_error_of((enum err)e), SE_NONE);
    /* a store that does not answer: the client may try again */
    assert_string_equal(stanza_error_type(stanza_error_of(E_TIMEOUT)), "wait");
    assert_string_equal(stanza_error_type(stanza_error_of(E_DOWN)), "wait");
    assert_string_equal(stanza_error_type(stanza_error_of(E_FULL)), "wait");
    assert_int_equal(stream_error_of_xml(XML_OK), XE_NONE);
    assert_int_equal(stream_error_of_xml(XML_RESTRICTED), XE_RESTRICTED_XML);
    assert_int_equal(stream_error_of_xml(XML_NOT_WELL_FORMED), XE_NOT_WELL_FORMED);
    assert_int_equal(stream_error_of_xml(XML_TOO_BIG), XE_POLICY_VIOLATION);
    assert_int_equal(stream_error_of_xml(XML_BAD_UTF8), XE_UNSUPPORTED_ENCODING);
    assert_int_equal(stream_error_of_xml(XML_BAD_NAMESPACE), XE_BAD_NAMESPACE_PREFIX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_stanza_errors),
        cmocka_unit_test(writes_stream_errors),
        cmocka_unit_test(every_condition_has_a_name),
        cmocka_unit_test(translates_errors),
    };
    return cmocka_run_group_tests_name("stanza_error", tests, NULL, NULL);
}
