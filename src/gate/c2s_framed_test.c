/* A stream without a connection whose way keeps what is written: no server is needed. */
#include "base/buf.h"
#include "core/core.h"
#include "core/gate.h"
#include "gate/c2s_bound.h"
#include "gate/c2s_framed.h"
#include "gate/c2s_stream.h"
#include "home/worker.h"
#include "xmpp/ns.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h> /* needs the three above */

static struct core core = { .budget.step = UINT64_MAX };
static struct worker worker;
static struct xstreams among;
static struct stream stream;
static struct buf out, headers, stanzas;

static void way_open(struct xstream *x, const struct xstream_header *h)
{
    (void)x;
    (void)h;
    buf_lit(&out, "[open]");
}
static void way_write(struct xstream *x, slice element)
{
    (void)x;
    buf_add(&out, element);
}
static void way_end(struct xstream *x)
{
    (void)x;
    buf_lit(&out, "[end]");
}
static const struct xstream_way way = { .open = way_open, .write = way_write, .end = way_end };

static void test_greet(struct xstream *x) { xstream_open(x, &(struct xstream_header){ 0 }); }

static void test_header(struct xstream *x, slice unit)
{
    assert_true(xstream_is_header(x, unit));
    buf_printf(&headers, "to=%.*s from=%.*s version=%.*s lang=%.*s;",
               SLICE_ARG(xstream_attr(x, unit, SLICE("to"))),
               SLICE_ARG(xstream_attr(x, unit, SLICE("from"))),
               SLICE_ARG(xstream_attr(x, unit, SLICE("version"))),
               SLICE_ARG(xstream_attr(x, unit, SLICE("xml:lang"))));
    test_greet(x);
    xstream_now(x, STREAM_GOT_HEADER);
}

static void test_element(struct xstream *x, const struct xstream_unit *u)
{
    if (u->step.action == STREAM_DO_SASL) {
        xstream_now(x, STREAM_PASSED);
        xstream_restart(x);
    } else {
        assert_int_equal(u->step.action, STREAM_DO_BIND);
        xstream_now(x, STREAM_ASK_BIND);
        xstream_now(x, STREAM_IS_BOUND);
    }
}

static void test_stanza(struct xstream *x, slice unit)
{
    (void)x;
    buf_add(&stanzas, unit);
}
static void test_gone(struct xstream *x, enum xstream_end why)
{
    (void)x;
    (void)why;
}
static void test_closing(struct xstream *x) { (void)x; }
static void test_failed(struct xstream *x, enum stream_error e, slice text)
{
    (void)x;
    (void)e;
    (void)text;
}

static const struct xstream_ops ops = { .greet = test_greet,
                                        .header = test_header,
                                        .element = test_element,
                                        .stanza = test_stanza,
                                        .gone = test_gone,
                                        .closing = test_closing,
                                        .failed = test_failed };

static int begin(void **state)
{
    (void)state;
    worker = (struct worker){ .loop = loop_create(0), .xml = xml_work_create(), .core = &core };
    xstreams_init(&among);
    stream = (struct stream){ .x = { .ops = &ops, .way = &way, .role = STREAM_FROM_FRAMED } };
    xstream_init(&stream.x, &worker, NULL);
    xstream_adopt(&stream.x, &worker, &among);
    buf_init(&out, 1 << 16);
    buf_init(&headers, 1 << 16);
    buf_init(&stanzas, 1 << 16);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    xstream_fini(&stream.x);
    buf_fini(&out);
    buf_fini(&headers);
    buf_fini(&stanzas);
    xml_work_destroy(&worker.xml);
    loop_destroy(&worker.loop);
    return 0;
}

static void is(const struct buf *b, const char *text)
{
    char got[4096];
    snprintf(got, sizeof got, "%.*s", SLICE_ARG(buf_slice(b)));
    assert_string_equal(got, text);
}

static const struct framed_header header = { .to = SLICE_INIT("a.test"),
                                             .from = SLICE_INIT("b@a.test/'<"),
                                             .version = SLICE_INIT("1.0") };

static bool read_text(const char *text)
{
    int32_t count = 0;
    return framed_read(&stream, slice_of(text), &count);
}

static void bind_it(void)
{
    framed_open(&stream, &header);
    assert_true(read_text("<auth xmlns='" NS_SASL "'/>"));
    assert_int_equal(stream.x.state, STREAM_AUTHED_OPEN);
    framed_open(&stream, &header);
    assert_true(read_text("<iq xmlns='jabber:client' type='set' id='1'/>"));
    assert_int_equal(stream.x.state, STREAM_BOUND);
}

#define ERROR(condition, text)                                                                     \
    "<stream:error><" condition " xmlns='" NS_STREAM_ERROR "'/><text xmlns='" NS_STREAM_ERROR      \
    "'>" text "</text></stream:error>[end]"

static void a_header_is_made_up_for_the_reader(void **state)
{
    (void)state;
    framed_open(&stream, &header);
    is(&headers, "to=a.test from=b@a.test/'< version=1.0 lang=;");
    is(&out, "[open]");
    assert_int_equal(stream.x.state, STREAM_FEATURES);
}

static void elements_stand_alone_after_each_header(void **state)
{
    (void)state;
    bind_it();
    assert_true(read_text("<message xmlns='jabber:client'/> \r\n"));
    assert_true(read_text("<presence/>"));
    is(&stanzas, "<message xmlns='jabber:client'/><presence/>");
    is(&out, "[open][open]");
}

static void a_second_header_ends_it(void **state)
{
    (void)state;
    framed_open(&stream, &header);
    framed_open(&stream, &header);
    is(&out, "[open]" ERROR("not-well-formed", "a second stream header"));
    assert_int_equal(stream.x.state, STREAM_CLOSED);
}

/* RFC 7395 §3.3.3 */
static void one_element_comes_at_a_time(void **state)
{
    (void)state;
    bind_it();
    assert_false(read_text("<message/><message/>"));
    is(&stanzas, "<message/>");
    is(&out, "[open][open]" ERROR("not-well-formed", "one whole element must come at a time"));
}

static void an_unfinished_element_ends_it(void **state)
{
    (void)state;
    bind_it();
    assert_false(read_text("<message>"));
    is(&stanzas, "");
    is(&out, "[open][open]" ERROR("not-well-formed", "one whole element must come at a time"));
}

static void a_header_that_is_too_long_is_refused(void **state)
{
    static char name[70000];
    struct framed_header h = header;
    (void)state;
    memset(name, 'a', sizeof name);
    h.to = (slice){ name, sizeof name };
    framed_open(&stream, &h);
    is(&headers, "");
    is(&out, "[open]" ERROR("policy-violation", "the header is too long"));
}

static void what_an_element_lacks_is_added(void **state)
{
    static const struct {
        const char *element, *tag, *xmlns, *rest;
    } cases[] = {
        { "<iq id='1'/>", "<iq", " xmlns='" NS_CLIENT "'", " id='1'/>" },
        { "<message/>", "<message", " xmlns='" NS_CLIENT "'", "/>" },
        { "<presence>a</presence>", "<presence", " xmlns='" NS_CLIENT "'", ">a</presence>" },
        { "<stream:features/>", "<stream:features", " xmlns:stream='" NS_STREAM "'", "/>" },
        { "<stream:error>a</stream:error>", "<stream:error", " xmlns:stream='" NS_STREAM "'",
          ">a</stream:error>" },
        { "<iqs/>", "<iqs", "", "/>" },
        { "<r xmlns='" NS_SM "'/>", "<r", "", " xmlns='" NS_SM "'/>" },
        { "<success\nxmlns='x'/>", "<success", "", "\nxmlns='x'/>" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct framed f = framed_split(slice_of(cases[i].element));
        assert_true(slice_is(f.tag, cases[i].tag));
        assert_true(slice_is(f.xmlns, cases[i].xmlns));
        assert_true(slice_is(f.rest, cases[i].rest));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

static void down(enum down_kind kind, uint64_t session)
{
    bound_down(&stream, &(struct down){ .kind = kind, .session = session });
}

/* The number of a stream may have been that of another one, before its node was started again. */
static void words_of_another_session_are_ignored(void **state)
{
    enum { OWN = 7, OTHER = 8 };
    (void)state;
    bind_it();
    stream.session_id = OWN;
    buf_clear(&out);
    down(DOWN_REQUEST, OTHER);
    down(DOWN_CLOSE, OTHER);
    assert_int_equal(stream.x.state, STREAM_BOUND);
    is(&out, "");
    down(DOWN_REQUEST, OWN);
    down(DOWN_REQUEST, 0); /* of an older release */
    is(&out, "<r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>");
    stream.session_id = 0; /* not bound yet */
    down(DOWN_REQUEST, OTHER);
    is(&out, "<r xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_header_is_made_up_for_the_reader),
        TEST(elements_stand_alone_after_each_header),
        TEST(a_second_header_ends_it),
        TEST(one_element_comes_at_a_time),
        TEST(an_unfinished_element_ends_it),
        TEST(a_header_that_is_too_long_is_refused),
        TEST(what_an_element_lacks_is_added),
        TEST(words_of_another_session_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
