#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define HEADER                                                                                     \
    "<stream:stream xmlns='jabber:client' to='example.test' version='1.0' "                        \
    "xmlns:stream='http://etherx.jabber.org/streams'>"
#define LEN(array) (sizeof(array) / sizeof(array)[0])

static struct xml_work *work;

static int make_work(void **state)
{
    (void)state;
    work = xml_work_create();
    return 0;
}

static int drop_work(void **state)
{
    (void)state;
    xml_work_destroy(&work);
    assert_null(work);
    return 0;
}

struct outcome {
    enum xml_unit last;
    enum xml_error error;
    unsigned stanzas, streams;
    size_t used, seen; /* seen: bytes shown when the last unit was returned */
};

/* Shows `text`, `step` bytes more whenever more is wanted, to a new reader. */
static struct outcome read_text(slice text, size_t step, const struct xml_limits *limits)
{
    struct outcome o = { .last = XML_MORE };
    struct xml_reader r;
    xml_reader_init(&r, limits);
    while (o.last != XML_ERROR && o.last != XML_END) {
        size_t used;
        o.last = xml_read(&r, work, (slice){ text.ptr + o.used, o.seen - o.used }, &used);
        assert_true(used == 0 || (o.last != XML_MORE && o.last != XML_ERROR));
        o.used += used;
        o.stanzas += o.last == XML_STANZA;
        o.streams += o.last == XML_STREAM;
        if (o.last == XML_MORE && o.seen == text.len)
            break;
        if (o.last == XML_MORE)
            o.seen += step < text.len - o.seen ? step : text.len - o.seen;
    }
    assert_int_equal(o.last == XML_ERROR, r.error != XML_OK && o.last != XML_END);
    if (o.last == XML_ERROR) {
        o.error = r.error;
        assert_non_null(r.what);
        assert_null(r.parked);
    }
    xml_reader_fini(&r);
    return o;
}

/* All at once, and byte by byte: the same must come out. */
static struct outcome read_both(slice text, const struct xml_limits *limits)
{
    struct outcome whole = read_text(text, text.len, limits), bytes = read_text(text, 1, limits);
    assert_int_equal(whole.last, bytes.last);
    assert_int_equal(whole.error, bytes.error);
    assert_int_equal(whole.stanzas, bytes.stanzas);
    assert_int_equal(whole.used, bytes.used);
    return bytes;
}

struct refusal {
    const char *text;
    enum xml_error error;
};

static void check_refusals(const char *before, const struct refusal *row, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buf text;
        buf_init(&text, 4096);
        buf_printf(&text, "%s%s", before, row[i].text);
        struct outcome o = read_both(buf_slice(&text), NULL);
        if (o.last != XML_ERROR || o.error != row[i].error)
            fail_msg("%s: %s, not %s", row[i].text, xml_error_name(o.error),
                     xml_error_name(row[i].error));
        buf_fini(&text);
    }
}

static void refuses_what_is_not_well_formed(void **state)
{
    (void)state;
    static const struct refusal row[] = {
        { "<a></b>", XML_NOT_WELL_FORMED },
        { "<a></ab>", XML_NOT_WELL_FORMED },
        { "<ab></a>", XML_NOT_WELL_FORMED },
        { "<a><b></a></b>", XML_NOT_WELL_FORMED },
        { "<a></ a>", XML_NOT_WELL_FORMED },
        { "</stream>", XML_NOT_WELL_FORMED },
        { "<a b='1' b='2'/>", XML_NOT_WELL_FORMED },
        { "<m><a b='1' c='' b='2'/></m>", XML_NOT_WELL_FORMED },
        { "<a xmlns:p='urn:x' xmlns:q='urn:x' p:b='1' q:b='2'/>", XML_NOT_WELL_FORMED },
        { "<a xmlns:p='jabber:client' xmlns:q='jabber:server' p:b='1' q:b='2'/>",
          XML_NOT_WELL_FORMED },
        { "<m xmlns:p='jabber:server'><a xmlns:q='jabber:client' q:b='1' p:b='2'/></m>",
          XML_NOT_WELL_FORMED },
        { "<a b='1'c='2'/>", XML_NOT_WELL_FORMED },
        { "<a b/>", XML_NOT_WELL_FORMED },
        { "<a b=c/>", XML_NOT_WELL_FORMED },
        { "<a b='<'/>", XML_NOT_WELL_FORMED },
        { "<a / >", XML_NOT_WELL_FORMED },
        { "< a/>", XML_NOT_WELL_FORMED },
        { "<1a/>", XML_NOT_WELL_FORMED },
        { "<-a/>", XML_NOT_WELL_FORMED },
        { "<a$/>", XML_NOT_WELL_FORMED },
        { "<a 1='2'/>", XML_NOT_WELL_FORMED },
        { "<:a/>", XML_NOT_WELL_FORMED },
        { "<stream:/>", XML_NOT_WELL_FORMED },
        { "<stream:1/>", XML_NOT_WELL_FORMED },
        { "<stream:a:b/>", XML_NOT_WELL_FORMED },
        { "<\xc3\x97/>", XML_NOT_WELL_FORMED }, /* U+00D7 is no letter */
        { "<\xcc\x80/>", XML_NOT_WELL_FORMED }, /* U+0300 may not begin a name */
        { "<a>]]></a>", XML_NOT_WELL_FORMED },
        { "<a>x]]]></a>", XML_NOT_WELL_FORMED },
        { "<a>\x01</a>", XML_NOT_WELL_FORMED },
        { "<a b='\x1f'/>", XML_NOT_WELL_FORMED },
        { "<a>\xef\xbf\xbe</a>", XML_NOT_WELL_FORMED }, /* U+FFFE */
        { "<a>\xef\xbf\xbf</a>", XML_NOT_WELL_FORMED },
        { "<a>&</a>", XML_NOT_WELL_FORMED },
        { "<a>&;</a>", XML_NOT_WELL_FORMED },
        { "<a>& lt;</a>", XML_NOT_WELL_FORMED },
        { "<a>&lt</a>", XML_NOT_WELL_FORMED },
        { "<a>&#;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#x;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#a;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#X20;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#0;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#31;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#xD800;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#xFFFF;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#x110000;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#xG;</a>", XML_NOT_WELL_FORMED },
        { "<a>&#4294967361;</a>", XML_NOT_WELL_FORMED }, /* 2^32 + 'A' */
        { "<a b='&#8;'/>", XML_NOT_WELL_FORMED },
        { "text", XML_NOT_WELL_FORMED },
        { "<a/>text", XML_NOT_WELL_FORMED },
        { "<a/>&#32;", XML_NOT_WELL_FORMED },
        { "</stream:stream x='1'>", XML_NOT_WELL_FORMED },
    };
    check_refusals(HEADER, row, LEN(row));
}

static void refuses_what_xmpp_restricts(void **state)
{
    (void)state;
    static const struct refusal in_stream[] = {
        { "<a><!-- comment --></a>", XML_RESTRICTED },
        { "<!-- comment -->", XML_RESTRICTED },
        { "<a><?php ?></a>", XML_RESTRICTED },
        { "<?xml version='1.0'?>", XML_RESTRICTED },
        { "<!DOCTYPE a>", XML_RESTRICTED },
        { "<a>&nbsp;</a>", XML_RESTRICTED },
        { "<a b='&nbsp;'/>", XML_RESTRICTED },
        { "<a>&LT;</a>", XML_RESTRICTED },
        { "<![CDATA[ ]]>", XML_RESTRICTED },
        { "<a><![cdata[]]></a>", XML_RESTRICTED },
    };
    static const struct refusal at_start[] = {
        { "<!DOCTYPE lolz [<!ENTITY lol 'lol'><!ENTITY lol2 '&lol;&lol;&lol;&lol;'>]>" HEADER,
          XML_RESTRICTED },
        { "<?xml version='1.0'?><!DOCTYPE x>" HEADER, XML_RESTRICTED },
        { "<?xml version='1.0'?><?xml version='1.0'?>" HEADER, XML_RESTRICTED },
        { "<?php?>" HEADER, XML_RESTRICTED },
        { "<?xmlversion='1.0'?>" HEADER, XML_RESTRICTED },
        { "<?xml version='1.0' encoding='ISO-8859-1'?>" HEADER, XML_BAD_ENCODING },
        { "<?xml version='1.0' encoding='UTF-16'?>" HEADER, XML_BAD_ENCODING },
        { "<?xml?>" HEADER, XML_RESTRICTED },
        { "<?xml ?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='1.0'>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='2.0'?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='1.'?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='1.0' encoding='UTF-8' version='1.0'?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='1.0' standalone='maybe'?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='1.x'?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version '1.0'?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version=1.0?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='1.0?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version=?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml encoding='UTF-8'?>" HEADER, XML_NOT_WELL_FORMED },
        { "<?xml version='1.0' x='y'?>" HEADER, XML_NOT_WELL_FORMED },
        { "\xef\xbb\xbf" HEADER, XML_NOT_WELL_FORMED },
        { "</stream:stream>", XML_NOT_WELL_FORMED },
        { "<stream/>", XML_NOT_WELL_FORMED },
        { "GET / HTTP/1.1\r\n", XML_NOT_WELL_FORMED },
        { "\x16\x03\x01", XML_NOT_WELL_FORMED }, /* TLS on a plain port */
    };
    check_refusals(HEADER, in_stream, LEN(in_stream));
    check_refusals("", at_start, LEN(at_start));
}

static void refuses_bad_utf8(void **state)
{
    (void)state;
    static const struct refusal row[] = {
        { "<a>\x80</a>", XML_BAD_UTF8 },             /* a continuation alone */
        { "<a>\xc3</a>", XML_BAD_UTF8 },             /* cut off */
        { "<a>\xc0\xaf</a>", XML_BAD_UTF8 },         /* overlong */
        { "<a>\xe0\x80\xaf</a>", XML_BAD_UTF8 },     /* overlong */
        { "<a>\xed\xa0\x80</a>", XML_BAD_UTF8 },     /* a surrogate */
        { "<a>\xf4\x90\x80\x80</a>", XML_BAD_UTF8 }, /* above U+10FFFF */
        { "<a>\xff</a>", XML_BAD_UTF8 },
        { "<a b='\xe4'/>", XML_BAD_UTF8 },
        { "<\xe4/>", XML_BAD_UTF8 },
        { "<a \xe4='1'/>", XML_BAD_UTF8 },
        { "<a\xe4/>", XML_BAD_UTF8 },
        { "<a><![CDATA[\xe4]]></a>", XML_BAD_UTF8 },
    };
    check_refusals(HEADER, row, LEN(row));
}

static void refuses_wrong_namespaces(void **state)
{
    (void)state;
    static const struct refusal row[] = {
        { "<p:a/>", XML_BAD_NAMESPACE },
        { "<a p:b='1'/>", XML_BAD_NAMESPACE },
        { "<a><p:b xmlns:p='urn:p'/><p:c/></a>", XML_BAD_NAMESPACE },
        { "<xmlns:a/>", XML_BAD_NAMESPACE },
        { "<a xmlns:p=''/>", XML_BAD_NAMESPACE },
        { "<a xmlns:xmlns='urn:p'/>", XML_BAD_NAMESPACE },
        { "<a xmlns:xml='urn:p'/>", XML_BAD_NAMESPACE },
        { "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", XML_BAD_NAMESPACE },
        { "<a xmlns:p='http://www.w3.org/XML/1998/n&#97;mespace'/>", XML_BAD_NAMESPACE },
        { "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", XML_BAD_NAMESPACE },
        { "<a xmlns='http://www.w3.org/2000/xmlns/'/>", XML_BAD_NAMESPACE },
        { "<a xmlns:p='urn:p' xmlns:q='urn:p' p:b='1' q:b='2'/>", XML_NOT_WELL_FORMED },
        { "<a xmlns:p='urn:p' xmlns:q='urn:&#x70;' p:b='1' q:b='2'/>", XML_BAD_NAMESPACE },
        { "<a><b xmlns='urn:&#112;'/></a>", XML_BAD_NAMESPACE },
        { "<a xmlns:p='urn:p' xmlns:q='urn:q' xmlns:r='urn:q' p:b='' q:b='' r:b=''/>",
          XML_NOT_WELL_FORMED },
        { "<a xmlns:p='http://etherx.jabber.org/streams' p:b='1' stream:b='2'/>",
          XML_NOT_WELL_FORMED },
    };
    check_refusals(HEADER, row, LEN(row));
}

static void takes_what_is_well_formed(void **state)
{
    (void)state;
    static const char *const row[] = {
        "<a/>",
        "<a />",
        "<a\r\n\tb = '1'\nc=\"2\" />",
        "<a></a \n>",
        "<a b='>\"' c=\"'\"/>",
        "<a>]] ]> ]]&gt; &#93;]&gt;</a>",
        "<a>&lt;&gt;&amp;&quot;&apos;&#9;&#x10FFFF;&#00000000065;&#xaFfC;</a>",
        "<a><![CDATA[<&]]]]><![CDATA[>]]>></a>",
        "<a><![CDATA[]]></a>",
        "<a>\x7f\xc2\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd\xf4\x8f\xbf\xbf</a>",
        "<gr\xc3\xb6\xc3\x9f.e \xd0\xb8=''/>",
        "<a-._1\xc2\xb7/>",
        "<\xf0\x90\x80\x80/>",
        "<stream:features/>",
        "<stream:a stream:b='1' b='2'/>",
        "<a xml:lang='en'><xml:b/></a>",
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns:p='urn:p' xmlns:q='urn:q' p:b='1' q:b='2' b='3'/>",
        "<p:a xmlns:p='urn:p'><p:b xmlns:p='urn:q'/><p:c/></p:a>",
        "<a xmlns:p='urn:p&amp;' xmlns:q='urn:p' xmlns:r='urn:p&amp;&amp;' p:b='' q:b='' r:b=''/>",
        "<a xmlns=''><b/></a>",
        "<a b='x' a='y'/>",
    };
    for (size_t i = 0; i < LEN(row); i++) {
        struct buf text;
        buf_init(&text, 4096);
        buf_printf(&text, "<?xml version='1.0' encoding='utf-8'?> " HEADER " \r\n%s\t", row[i]);
        struct outcome o = read_both(buf_slice(&text), NULL);
        if (o.last != XML_MORE || o.stanzas != 1 || o.used != text.len)
            fail_msg("%s: %s", row[i], xml_error_name(o.error));
        buf_lit(&text, "</stream:stream >");
        o = read_both(buf_slice(&text), NULL);
        assert_int_equal(o.last, XML_END);
        assert_int_equal(o.used, text.len);
        buf_fini(&text);
    }
}

static void is_never_satisfied_by_a_part(void **state)
{
    (void)state;
    slice text = SLICE(HEADER "<message to='b' xml:lang='de'><body>&amp;\xc3\xa9<![CDATA[]]]]>"
                              "</body><p:x xmlns:p='urn:p' p:y=''/></message>");
    for (size_t len = 0; len < text.len; len++) {
        struct outcome o = read_both((slice){ text.ptr, len }, NULL);
        assert_int_equal(o.last, XML_MORE);
        assert_int_equal(o.stanzas, 0);
        assert_int_equal(o.streams, len >= sizeof HEADER - 1);
    }
    for (size_t step = 1; step <= text.len; step++)
        assert_int_equal(read_text(text, step, NULL).stanzas, 1);
}

static struct xml_reader open_stream(const char *header, const struct xml_limits *limits)
{
    struct xml_reader r;
    size_t used;
    xml_reader_init(&r, limits);
    assert_int_equal(xml_read(&r, work, slice_of(header), &used), XML_STREAM);
    assert_int_equal(used, strlen(header));
    return r;
}

static void assert_span(slice unit, struct xml_span span, const char *expected)
{
    slice found = xml_at(unit, span);
    if (!slice_is(found, expected))
        fail_msg("'%.*s', not '%s'", SLICE_ARG(found), expected);
}

static void assert_stanza_spans(const struct xml_reader *r, slice unit)
{
    const struct xml_root *root = &work->root;
    assert_span(unit, root->name, "message");
    assert_span(unit, root->own_xmlns, " xmlns='jabber:client'");
    assert_span(unit, root->start_tag,
                "<message to='bob' xmlns='jabber:client' xml:lang = \"en\">");
    assert_span(unit, root->content,
                "<body>Hi</body> <x xmlns='urn:x'><y/></x>"
                "<stream:z\n xmlns=\"jabber:client\"/>");
    assert_int_equal(root->prefix_len, 0);
    assert_int_equal(root->stream_prefixes_used, 1);
    assert_true(slice_is(xml_ns(r, unit, root->ns_stream, root->ns), "jabber:client"));

    assert_int_equal(root->attr_count, 3);
    assert_span(unit, work->attr[0].whole, "to='bob'");
    assert_span(unit, work->attr[0].value, "bob");
    assert_int_equal(work->attr[0].quote, '\'');
    assert_span(unit, work->attr[2].whole, "xml:lang = \"en\"");
    assert_span(unit, work->attr[2].name, "xml:lang");
    assert_int_equal(work->attr[2].prefix_len, 3);
    assert_int_equal(work->attr[2].quote, '"');

    static const struct {
        const char *whole, *name, *ns, *own_xmlns;
        uint8_t source;
    } child[] = {
        { "<body>Hi</body>", "body", "jabber:client", "", XML_NS_UNIT },
        { "<x xmlns='urn:x'><y/></x>", "x", "urn:x", "", XML_NS_UNIT },
        { "<stream:z\n xmlns=\"jabber:client\"/>", "z", "http://etherx.jabber.org/streams",
          " xmlns=\"jabber:client\"", XML_NS_STREAM_PREFIX },
    };
    assert_int_equal(root->child_count, LEN(child));
    for (size_t i = 0; i < LEN(child); i++) {
        const struct xml_child *c = &work->child[i];
        assert_span(unit, c->whole, child[i].whole);
        assert_span(unit, c->name, child[i].name);
        assert_span(unit, c->own_xmlns, child[i].own_xmlns);
        assert_int_equal(c->ns_stream, child[i].source);
        assert_true(slice_is(xml_ns(r, unit, c->ns_stream, c->ns), child[i].ns));
    }
}

static void spans_are_exact(void **state)
{
    (void)state;
    slice unit = SLICE("<message to='bob' xmlns='jabber:client' xml:lang = \"en\"><body>Hi</body> "
                       "<x xmlns='urn:x'><y/></x><stream:z\n xmlns=\"jabber:client\"/></message>");
    size_t used;
    for (size_t cut = 1; cut <= unit.len; cut++) {
        struct xml_reader r = open_stream(HEADER, NULL);
        if (cut < unit.len) {
            assert_int_equal(xml_read(&r, work, (slice){ unit.ptr, cut }, &used), XML_MORE);
            assert_non_null(r.parked);
            struct xml_reader other = open_stream(HEADER, NULL); /* overwrites the work */
            xml_reader_fini(&other);
        }
        assert_int_equal(xml_read(&r, work, unit, &used), XML_STANZA);
        assert_int_equal(used, unit.len);
        assert_null(r.parked);
        assert_stanza_spans(&r, unit);
        xml_reader_fini(&r);
    }
}

static void roots_have_their_namespaces(void **state)
{
    (void)state;
    static const struct {
        const char *text, *ns, *own_xmlns;
        uint8_t source, prefixes_used;
    } row[] = {
        { "<a/>", "jabber:client", "", XML_NS_STREAM, 0 },
        { "<a xmlns='jabber:client'/>", "jabber:client", " xmlns='jabber:client'", XML_NS_UNIT, 0 },
        { "<a xmlns='urn:a'/>", "urn:a", "", XML_NS_UNIT, 0 },
        { "<a xmlns=''/>", "", "", XML_NS_UNIT, 0 },
        { "<stream:a/>", "http://etherx.jabber.org/streams", "", XML_NS_STREAM_PREFIX, 1 },
        { "<a><b><c stream:d=''/></b></a>", "jabber:client", "", XML_NS_STREAM, 1 },
        { "<stream:a xmlns:stream='urn:s'/>", "urn:s", "", XML_NS_UNIT, 0 },
        { "<xml:a/>", "http://www.w3.org/XML/1998/namespace", "", XML_NS_XML, 0 },
    };
    struct xml_reader r = open_stream(HEADER, NULL);
    for (size_t i = 0; i < LEN(row); i++) {
        slice unit = slice_of(row[i].text);
        size_t used;
        assert_int_equal(xml_read(&r, work, unit, &used), XML_STANZA);
        const struct xml_root *root = &work->root;
        assert_int_equal(root->ns_stream, row[i].source);
        assert_true(slice_is(xml_ns(&r, unit, root->ns_stream, root->ns), row[i].ns));
        assert_span(unit, root->own_xmlns, row[i].own_xmlns);
        assert_int_equal(root->stream_prefixes_used, row[i].prefixes_used);
    }
    xml_reader_fini(&r);
}

static void headers_are_remembered(void **state)
{
    (void)state;
    struct xml_reader client = open_stream(HEADER, NULL);
    struct xml_reader swapped = open_stream("<stream:stream "
                                            "xmlns:stream='http://etherx.jabber.org/streams' "
                                            "xmlns='jabber:client'>",
                                            NULL);
    assert_ptr_equal(client.stream, swapped.stream); /* idle streams own nothing */
    slice ns;
    assert_true(slice_is(xml_stream_default_ns(&client), "jabber:client"));
    assert_true(slice_is(xml_stream_prefix(&client, 0, &ns), "stream"));
    assert_true(slice_is(ns, "http://etherx.jabber.org/streams"));
    assert_int_equal(xml_stream_prefix(&client, 1, &ns).len, 0);

    struct xml_reader server = open_stream("<?xml version='1.0'?>\n<s:stream "
                                           "xmlns:s='http://etherx.jabber.org/streams' "
                                           "xmlns=\"it's\" xmlns:db='jabber:server:dialback' "
                                           "xmlns:xml='http://www.w3.org/XML/1998/namespace'>",
                                           NULL);
    assert_ptr_not_equal(server.stream, client.stream);
    assert_true(slice_is(xml_stream_default_ns(&server), "it&apos;s"));
    assert_true(slice_is(xml_stream_prefix(&server, 1, &ns), "db"));
    assert_true(slice_is(ns, "jabber:server:dialback"));
    assert_int_equal(xml_stream_prefix(&server, 2, &ns).len, 0);
    size_t used;
    assert_int_equal(xml_read(&server, work, SLICE("<db:result/>"), &used), XML_STANZA);
    assert_int_equal(work->root.stream_prefixes_used, 2);
    assert_int_equal(work->root.ns_stream, XML_NS_STREAM_PREFIX + 1);
    assert_int_equal(xml_read(&server, work, SLICE("</s:stream>"), &used), XML_END);
    assert_int_equal(xml_read(&server, work, SLICE(" "), &used), XML_ERROR);

    xml_reader_restart(&server);
    assert_int_equal(xml_stream_default_ns(&server).len, 0);
    assert_int_equal(xml_read(&server, work, slice_of(HEADER), &used), XML_STREAM);
    assert_ptr_equal(server.stream, client.stream);
    xml_reader_fini(&client);
    xml_reader_fini(&swapped);
    xml_reader_fini(&server);
}

static void readers_share_one_work(void **state)
{
    (void)state;
    slice unit[2] = { SLICE("<message to='a' id='1'><body>one &amp; two</body><x/></message>"),
                      SLICE("<iq type='get'><q xmlns='urn:q' a='' b=''><i><j/></i></q></iq>") };
    struct xml_reader r[2] = { open_stream(HEADER, NULL), open_stream(HEADER, NULL) };
    bool done[2] = { false, false };
    size_t used;
    for (size_t seen = 1; !done[0] || !done[1]; seen++) {
        for (int i = 0; i < 2; i++) {
            if (done[i])
                continue;
            enum xml_unit u = xml_read(&r[i], work, (slice){ unit[i].ptr, seen }, &used);
            done[i] = seen == unit[i].len;
            assert_int_equal(u, done[i] ? XML_STANZA : XML_MORE);
        }
    }
    assert_span(unit[0], work->child[0].whole, "<body>one &amp; two</body>");
    xml_reader_fini(&r[0]);
    xml_reader_fini(&r[1]);
}

/* Every '*' stands for the number of the repetition. */
static void repeat(struct buf *out, const char *text, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        for (const char *p = text; *p != '\0'; p++) {
            if (*p == '*')
                buf_printf(out, "%u", i);
            else
                buf_append(out, p, 1);
        }
    }
}

/* `before`, `times` times `text` with its number, `behind`: too big, or not if once less. */
static void check_limit(const struct xml_limits *limits, const char *before, const char *text,
                        unsigned times, const char *behind)
{
    for (unsigned over = 0; over < 2; over++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        buf_printf(&b, "%s", before);
        repeat(&b, text, times + over);
        buf_printf(&b, "%s", behind);
        struct outcome o = read_both(buf_slice(&b), limits);
        if (over == 0 && o.last == XML_ERROR)
            fail_msg("%s x %u: %s", text, times, xml_error_name(o.error));
        if (over == 1)
            assert_int_equal(o.error, XML_TOO_BIG);
        buf_fini(&b);
    }
}

static void limits_hold_exactly(void **state)
{
    (void)state;
    static const struct xml_limits small = { 1 << 20, 5, 3, 10, 0, 0, false };
    static const struct xml_limits most = {
        1 << 20, UINT16_MAX, UINT16_MAX, UINT16_MAX, false, 0, 0
    };
    static const struct xml_limits few = { .unit_bytes = 1 << 20,
                                           .depth = 64,
                                           .attrs = 64,
                                           .name_bytes = 256,
                                           .bindings = 7,
                                           .children = 4 };
    check_limit(NULL, HEADER, "<a>", 64, "");
    check_limit(&small, "<s xmlns='urn:s'>", "<a>", 5, "");
    check_limit(&most, HEADER, "<a>", XML_DEPTH_MAX, "");
    check_limit(NULL, HEADER "<a", " a*=''", 64, "/>");
    check_limit(NULL, HEADER "<a><b", " a*=''", 64, "/></a>");
    check_limit(&small, "<s><a", " a*=''", 3, "/>");
    check_limit(&most, HEADER "<a", " a*=''", XML_ROOT_ATTRS_MAX, "/>");
    check_limit(NULL, HEADER "<", "a", 256, "/>");
    check_limit(NULL, HEADER "<a ", "a", 256, "=''/>");
    check_limit(&small, "<s><p:", "a", 8, " xmlns:p='urn:p'/>");
    check_limit(NULL, HEADER "<a>", "<b/>", XML_CHILDREN_MAX, "</a>");
    check_limit(&most, HEADER "<a>", "<b xmlns:p*='urn:p'>", XML_BINDINGS_MAX, "");
    check_limit(&few, HEADER "<a>", "<b xmlns:p*='urn:p'/>", 4, "</a>");
    check_limit(&few, HEADER "<a>", "<b><c xmlns:p*='urn:p'>", 7, "");
    check_limit(NULL, "<s xmlns='urn:s'", " xmlns:p*='urn:p'", XML_STREAM_PREFIXES_MAX, ">");
    check_limit(NULL, "<s xmlns='", "s", XML_STREAM_NS_BYTES - 1, "'>");
    check_limit(NULL, HEADER "<a>&#", "0", 29, "65;</a>");
    check_limit(NULL, "<?xml version='1.0'", " ", 235, "?><s>");
}

/* The last child is where the reader of an unlisted one would look. */
static void many_children_are_read_if_allowed(void **state)
{
    (void)state;
    static const struct xml_limits limits = {
        .unit_bytes = 1 << 20, .depth = 64, .attrs = 64, .name_bytes = 256, .many_children = true
    };
    enum { MANY = 3 * XML_CHILDREN_MAX };
    struct xml_work *own = xml_work_create();
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_lit(&b, "<a xmlns='urn:a'>");
    for (int i = 0; i < MANY; i++)
        buf_printf(&b, "<b%d xmlns='urn:b%d'><c xmlns='urn:c'/></b%d>", i, i, i);
    buf_lit(&b, "</a>");
    slice unit = buf_slice(&b);
    assert_int_equal(xml_read_element(own, unit, (slice){ "", 0 }, NULL), E_LIMIT);
    assert_int_equal(xml_read_element(own, unit, (slice){ "", 0 }, &limits), OK);
    assert_int_equal(own->root.child_count, XML_CHILDREN_MAX);
    for (int i = 0; i < XML_CHILDREN_MAX; i++) {
        char name[16];
        const struct xml_child *child = &own->child[i];
        snprintf(name, sizeof name, "b%d", i < XML_CHILDREN_MAX - 1 ? i : MANY - 1);
        assert_true(slice_is((slice){ unit.ptr + child->name.at, child->name.len }, name));
        assert_int_equal(unit.ptr[child->whole.at + child->whole.len - 1], '>');
    }
    struct elem e, child;
    int seen = 0;
    assert_true(elem_parse(&e, unit, (slice){ "", 0 }));
    for (bool more = elem_first(&e, &child); more; more = elem_next(&child, &child))
        seen++;
    assert_int_equal(seen, MANY);
    buf_fini(&b);
    xml_work_destroy(&own);
}

static void stanzas_are_refused_once_too_long(void **state)
{
    (void)state;
    static const struct xml_limits limits = { sizeof HEADER - 1, 64, 64, 256, 0, 0, false };
    struct buf b;
    buf_init(&b, 4096);
    buf_lit(&b, HEADER "<a>");
    repeat(&b, "x", sizeof HEADER - 1 - 7);
    size_t content_end = b.len;
    buf_lit(&b, "</a><b/>");
    struct outcome o = read_both(buf_slice(&b), &limits);
    assert_int_equal(o.stanzas, 2); /* one that is exactly as long as it may be */

    b.len = content_end;
    buf_lit(&b, "y</a><b/>");
    o = read_both(buf_slice(&b), &limits);
    assert_int_equal(o.error, XML_TOO_BIG);
    assert_int_equal(o.seen, 2 * (sizeof HEADER - 1)); /* before the rest came */
    buf_fini(&b);

    struct xml_reader r = open_stream(HEADER, &limits);
    static const struct xml_limits wider = { 1000, 64, 64, 256, 0, 0, false };
    xml_reader_set_limits(&r, &wider);
    size_t used;
    slice text = SLICE("<a b='0123456789012345678901234567890123456789012345678901234567890123456"
                       "7890123456789012345678901234567890123456789012345678901234567890123456'/>");
    assert_true(text.len > limits.unit_bytes);
    assert_int_equal(xml_read(&r, work, text, &used), XML_STANZA);
    xml_reader_fini(&r);
}

static void white_space_is_consumed(void **state)
{
    (void)state;
    struct xml_reader r;
    size_t used;
    xml_reader_init(&r, NULL);
    assert_int_equal(xml_read(&r, work, SLICE(""), &used), XML_MORE);
    assert_int_equal(xml_read(&r, work, SLICE("\n<?xml version='1.0'?>"), &used), XML_SPACE);
    assert_int_equal(used, 1);
    xml_reader_restart(&r);
    assert_int_equal(xml_read(&r, work, slice_of(HEADER), &used), XML_STREAM);
    assert_int_equal(xml_read(&r, work, SLICE(" \t\r\n<a"), &used), XML_SPACE);
    assert_int_equal(used, 4);
    assert_null(r.parked);
    xml_reader_fini(&r);
}

static void errors_stay(void **state)
{
    (void)state;
    struct xml_reader r = open_stream(HEADER, NULL);
    size_t used;
    assert_int_equal(xml_read(&r, work, SLICE("<a><b"), &used), XML_MORE);
    assert_int_equal(xml_read(&r, work, SLICE("<a><b<"), &used), XML_ERROR);
    assert_int_equal(xml_read(&r, work, SLICE("<a/>"), &used), XML_ERROR);
    assert_int_equal(used, 0);
    assert_int_equal(r.error, XML_NOT_WELL_FORMED);
    xml_reader_restart(&r);
    assert_int_equal(xml_read(&r, work, slice_of(HEADER), &used), XML_STREAM);
    xml_reader_fini(&r);
}

static void single_elements(void **state)
{
    (void)state;
    static const struct xml_limits small = { 24, 2, 1, 8, 0, 0, false };
    slice client = SLICE("jabber:client");
    slice text = SLICE(" <message xmlns='jabber:client' a=''><b/><x xmlns=''/></message>\n");
    assert_int_equal(xml_read_element(work, text, client, NULL), OK);
    assert_span(text, work->root.own_xmlns, " xmlns='jabber:client'");
    assert_int_equal(work->root.child_count, 2);
    assert_span(text, work->child[1].whole, "<x xmlns=''/>");
    assert_int_equal(xml_read_element(work, SLICE("<a/>"), client, NULL), OK);
    assert_int_equal(work->root.ns_stream, XML_NS_STREAM);
    assert_int_equal(xml_read_element(work, SLICE("<a b=''><c/></a>"), client, &small), OK);

    assert_int_equal(xml_read_element(work, SLICE("<a b='' c=''/>"), client, &small), E_LIMIT);
    assert_int_equal(xml_read_element(work, SLICE("<a><b><c/></b></a>"), client, &small), E_LIMIT);
    assert_int_equal(xml_read_element(work, SLICE("<a>01234567890123456789"), client, &small),
                     E_SYNTAX);
    assert_int_equal(xml_read_element(work, SLICE("<a>012345678901234567890123"), client, &small),
                     E_LIMIT);
    static const char *const wrong[] = {
        "",
        " ",
        "a",
        "<a>",
        "<a/><b/>",
        "<a/>b",
        "</a>",
        "<?xml version='1.0'?><a/>",
        "<stream:a/>",
        "<a>&x;</a>",
        "<!-- --><a/>",
    };
    for (size_t i = 0; i < LEN(wrong); i++)
        assert_int_equal(xml_read_element(work, slice_of(wrong[i]), client, NULL), E_SYNTAX);
}

static void errors_have_names(void **state)
{
    (void)state;
    assert_string_equal(xml_error_name(XML_OK), "ok");
    assert_string_equal(xml_error_name(XML_NOT_WELL_FORMED), "not-well-formed");
    assert_string_equal(xml_error_name(XML_TOO_BIG), "too-big");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_well_formed),
        cmocka_unit_test(refuses_what_xmpp_restricts),
        cmocka_unit_test(refuses_bad_utf8),
        cmocka_unit_test(refuses_wrong_namespaces),
        cmocka_unit_test(takes_what_is_well_formed),
        cmocka_unit_test(is_never_satisfied_by_a_part),
        cmocka_unit_test(spans_are_exact),
        cmocka_unit_test(roots_have_their_namespaces),
        cmocka_unit_test(headers_are_remembered),
        cmocka_unit_test(readers_share_one_work),
        cmocka_unit_test(limits_hold_exactly),
        cmocka_unit_test(many_children_are_read_if_allowed),
        cmocka_unit_test(stanzas_are_refused_once_too_long),
        cmocka_unit_test(white_space_is_consumed),
        cmocka_unit_test(errors_stay),
        cmocka_unit_test(single_elements),
        cmocka_unit_test(errors_have_names),
    };
    return cmocka_run_group_tests_name("xml_read", tests, make_work, drop_work);
}
