#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "xmpp/stanza.h"
#include <expat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct xml_work *work;
static struct arena *tmp;

static int start(void **state)
{
    (void)state;
    work = xml_work_create();
    tmp = arena_create(0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    xml_work_destroy(&work);
    arena_destroy(&tmp);
    return 0;
}

#define STREAMS  "http://etherx.jabber.org/streams"
#define HEADER   "<stream:stream xmlns='jabber:client' xmlns:stream='" STREAMS "'"
#define NO_SLICE ((slice){ NULL, 0 })

/* The stanza that stands behind the header in a stream. */
static enum err read_in(struct stanza **out, const char *header, const char *xml,
                        struct stanza_source src)
{
    struct xml_reader r;
    size_t used;
    xml_reader_init(&r, NULL);
    assert_int_equal(xml_read(&r, work, slice_of(header), &used), XML_STREAM);
    assert_int_equal(xml_read(&r, work, slice_of(xml), &used), XML_STANZA);
    src.unit = slice_of(xml);
    src.work = work;
    src.reader = &r;
    enum err e = stanza_read(out, &src, tmp);
    xml_reader_fini(&r);
    return e;
}

static struct stanza *read_from(const char *xml, const char *from)
{
    struct stanza *s;
    struct stanza_source src = { .from = slice_of(from) };
    assert_int_equal(read_in(&s, HEADER ">", xml, src), OK);
    return s;
}

static struct stanza *read_one(const char *xml) { return read_from(xml, NULL); }

static struct stanza *load(const char *text)
{
    struct stanza *s;
    assert_int_equal(stanza_load(&s, slice_of(text), work, tmp), OK);
    return s;
}

static const char *written(const struct stanza *s, const struct stanza_note *note)
{
    size_t max = stanza_write_max(s, note);
    char *out = arena_alloc(tmp, max + 1, 1);
    size_t n = stanza_write(out, s, note);
    assert_true(n <= max);
    out[n] = '\0';
    XML_Parser p = XML_ParserCreateNS("UTF-8", '\n');
    if (XML_Parse(p, out, (int)n, 1) != XML_STATUS_OK)
        fail_msg("not well-formed: %s", out);
    XML_ParserFree(p);
    return out;
}

/* Reads, writes; the text loaded and written again is the same. */
static void assert_reads(const char *xml, const char *expected)
{
    struct stanza *s = read_one(xml), *again;
    assert_string_equal(written(s, NULL), expected);
    again = load(expected);
    assert_string_equal(written(again, NULL), expected);
    assert_int_equal(again->known, s->known);
    stanza_unref(&s);
    stanza_unref(&again);
}

static void test_fields(void **state)
{
    (void)state;
    struct stanza *s = read_one("<message to='Bob@Example.test/x' from='a@example.test' id='i1' "
                                "type='chat' xml:lang='de' dir='up'><body>hi</body></message>");
    assert_int_equal(s->kind, STANZA_MESSAGE);
    assert_int_equal(s->type, TYPE_CHAT);
    assert_true(slice_is(stanza_to(s), "bob@example.test/x"));
    assert_true(slice_is(stanza_to_bare(s), "bob@example.test"));
    assert_false(stanza_to_is_bare(s));
    assert_true(slice_is(stanza_from(s), "a@example.test"));
    assert_true(slice_is(stanza_from_bare(s), "a@example.test"));
    assert_true(slice_is(stanza_id(s), "i1"));
    assert_true(slice_is((slice){ s->lang, s->lang_len }, "de"));
    assert_true(slice_is(stanza_content(s), "<body>hi</body>"));
    assert_string_equal(written(s, NULL),
                        "<message from='a@example.test' to='bob@example.test/x' id='i1' "
                        "type='chat' xml:lang='de' dir='up'><body>hi</body></message>");
    stanza_unref(&s);
    assert_null(s);
}

static void test_defaults(void **state)
{
    struct stanza *s;
    struct stanza_source src = { .from = SLICE("a@b.example/r"),
                                 .default_to = SLICE("a@b.example"),
                                 .lang = SLICE("en") };
    (void)state;
    assert_int_equal(read_in(&s, HEADER ">", "<iq from='x@y' id='1' type='get'/>", src), OK);
    assert_string_equal(written(s, NULL), "<iq from='a@b.example/r' to='a@b.example' id='1' "
                                          "type='get' xml:lang='en'></iq>");
    stanza_unref(&s);
    assert_int_equal(read_in(&s, HEADER ">", "<presence xml:lang='fr'/>", src), OK);
    assert_string_equal(written(s, NULL),
                        "<presence from='a@b.example/r' xml:lang='fr'></presence>");
    stanza_unref(&s);
}

static void test_redundant_namespaces_are_dropped(void **state)
{
    (void)state;
    assert_reads("<message xmlns='jabber:client' to='a@b'>"
                 "<body xmlns='jabber:client'>1</body><x xmlns='urn:x'><y xmlns='urn:x'/></x>"
                 "</message>",
                 "<message to='a@b'><body>1</body><x xmlns='urn:x'><y xmlns='urn:x'/></x>"
                 "</message>");
    assert_reads("<message to='a@b'><body xmlns=''/></message>",
                 "<message to='a@b'><body xmlns=''/></message>");
}

static void test_prefixes_of_the_stream_are_declared(void **state)
{
    struct stanza *s;
    struct elem e;
    (void)state;
    assert_int_equal(read_in(&s, HEADER " xmlns:r='jabber:iq:roster' xmlns:unused='urn:u'>",
                             "<iq to='a@b' id='1' type='get'><r:query/></iq>",
                             (struct stanza_source){ 0 }),
                     OK);
    const char *text = written(s, NULL);
    assert_string_equal(text, "<iq to='a@b' id='1' type='get' xmlns:r=\"jabber:iq:roster\">"
                              "<r:query/></iq>");
    for (unsigned i = 0; i < 2; i++) {
        assert_true(stanza_payload(s, &e));
        assert_true(elem_is(&e, "query", "jabber:iq:roster"));
        stanza_unref(&s);
        s = load(text);
    }
    stanza_unref(&s);
}

static void test_prefixes_of_the_stanza_hold_in_children(void **state)
{
    struct elem e;
    struct buf out;
    (void)state;
    struct stanza *s = read_one("<iq id='1' type='set' xmlns:v='vcard-temp' xmlns:n='urn:n'>"
                                "<v:vCard><v:FN>A</v:FN></v:vCard></iq>");
    assert_true(stanza_payload(s, &e));
    assert_true(elem_is(&e, "vCard", "vcard-temp"));
    buf_init(&out, 1000);
    elem_extract(&e, &out);
    assert_string_equal(slice_cstr(tmp, buf_slice(&out)),
                        "<v:vCard xmlns='jabber:client' xmlns:v='vcard-temp'>"
                        "<v:FN>A</v:FN></v:vCard>");
    buf_fini(&out);
    stanza_unref(&s);
}

/* Content of another stream's namespace is of ours here, whatever its prefix. */
static void test_prefixes_of_content_namespaces(void **state)
{
    struct stanza *s = read_one("<s:message to='a@b' xmlns:s='jabber:server'><s:body>x</s:body>"
                                "</s:message>");
    (void)state;
    assert_string_equal(written(s, NULL), "<message to='a@b' xmlns:s='jabber:client'>"
                                          "<body>x</body></message>");
    stanza_unref(&s);
    assert_int_equal(read_in(&s, HEADER " xmlns:s='jabber:server'>",
                             "<message to='a@b'><s:body>x</s:body></message>",
                             (struct stanza_source){ 0 }),
                     OK);
    assert_string_equal(written(s, NULL), "<message to='a@b' xmlns:s=\"jabber:client\">"
                                          "<body>x</body></message>");
    stanza_unref(&s);
}

/* What a stanza of another server has in the namespace of that stream, at any depth, is of ours. */
static void test_content_of_another_server(void **state)
{
    static const char header[] = "<stream:stream xmlns='jabber:server' xmlns:stream='" STREAMS "'>";
    static const struct {
        const char *in, *out;
    } rows[] = {
        { "<body xmlns='jabber:server'>x</body>", "<body>x</body>" },
        { "<s:body xmlns:s='jabber:server'>x</s:body >",
          "<body xmlns:s='jabber:client'>x</body >" },
        { "a<s:body xmlns:s='jabber:server' />b<s:subject xmlns:s=\"jabber:server\">y"
          "</s:subject>c",
          "a<body xmlns:s='jabber:client' />b<subject xmlns:s=\"jabber:client\">y</subject>c" },
        { "<c:body xmlns:c='jabber:client'><![CDATA[</c:body>]]></c:body>",
          "<body xmlns:c='jabber:client'><![CDATA[</c:body>]]></body>" },
        { "<s:error xmlns:s='jabber:server' type='cancel'><gone xmlns='urn:e'/></s:error>",
          "<error xmlns:s='jabber:client' type='cancel'><gone xmlns='urn:e'/></error>" },
        { "<s:x xmlns:s='jabber:server' xmlns = 'urn:y'><z/></s:x>",
          "<s:x xmlns:s='jabber:client' xmlns = 'urn:y'><z/></s:x>" },
        { "<f xmlns='urn:f'><message xmlns='jabber:server'><body>x</body></message></f>",
          "<f xmlns='urn:f'><message xmlns='jabber:client'><body>x</body></message></f>" },
        { "<f xmlns='urn:f'><message xmlns='jabber:client'><body>x</body></message></f>",
          "<f xmlns='urn:f'><message xmlns='jabber:client'><body>x</body></message></f>" },
        { "<f xmlns='urn:f'><s:m xmlns:s='jabber:server' a='>xmlns=\"jabber:server\"'/></f>",
          "<f xmlns='urn:f'><s:m xmlns:s='jabber:client' a='>xmlns=\"jabber:server\"'/></f>" },
        { "<body><![CDATA[<x xmlns='jabber:server'>]]> xmlns='jabber:server'</body>",
          "<body><![CDATA[<x xmlns='jabber:server'>]]> xmlns='jabber:server'</body>" },
        { "<x xmlns='jabber:server:dialback'/>", "<x xmlns='jabber:server:dialback'/>" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stanza *s;
        const char *in = arena_printf(tmp, "<message to='a@b'>%s</message>", rows[i].in);
        assert_int_equal(read_in(&s, header, in, (struct stanza_source){ 0 }), OK);
        assert_string_equal(written(s, NULL),
                            arena_printf(tmp, "<message to='a@b'>%s</message>", rows[i].out));
        struct stanza *again = load(written(s, NULL));
        assert_int_equal(again->known, s->known);
        stanza_unref(&again);
        stanza_unref(&s);
    }
}

/* A prefix would keep the namespace of clients in the stream of a server. */
static void test_content_with_a_prefix_to_any_stream(void **state)
{
    struct stanza *s = read_one("<message to='a@b'><c:body xmlns:c='jabber:client'>x</c:body>"
                                "<x xmlns='urn:x'><c:m xmlns:c='jabber:client'/></x></message>");
    (void)state;
    assert_string_equal(written(s, NULL),
                        "<message to='a@b'><body xmlns:c='jabber:client'>x</body>"
                        "<x xmlns='urn:x'><c:m xmlns:c='jabber:client'/></x></message>");
    stanza_unref(&s);
}

static void test_known_children(void **state)
{
    (void)state;
    static const struct {
        const char *xml;
        uint32_t known;
    } rows[] = {
        { "<body/><subject/>", KNOWN(BODY) | KNOWN(SUBJECT) },
        { "<body xmlns='urn:else'/>", KNOWN(PAYLOAD) },
        { "<no-store xmlns='urn:xmpp:hints'/>", KNOWN(NO_STORE) },
        { "<store xmlns='urn:xmpp:hints'/><body/>", KNOWN(STORE) | KNOWN(BODY) },
        { "<request xmlns='urn:xmpp:receipts'/>", KNOWN(RECEIPT_REQUEST) },
        { "<received xmlns='urn:xmpp:receipts'/>", KNOWN(RECEIPT) },
        { "<composing xmlns='http://jabber.org/protocol/chatstates'/>", KNOWN(CHAT_STATE) },
        { "<markable xmlns='urn:xmpp:chat-markers:0'/>", KNOWN(MARKABLE) },
        { "<displayed xmlns='urn:xmpp:chat-markers:0'/>", KNOWN(MARKER) },
        { "<delay xmlns='urn:xmpp:delay'/>", KNOWN(DELAY) },
        { "<p:delay xmlns:p='urn:xmpp:delay'/>", KNOWN(DELAY) },
        { "text", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stanza *s = read_one(arena_printf(tmp, "<message>%s</message>", rows[i].xml));
        struct stanza *made = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, NO_SLICE, NO_SLICE, NO_SLICE,
                                          slice_of(rows[i].xml));
        assert_int_equal(s->known, rows[i].known);
        assert_int_equal(made->known, rows[i].known);
        stanza_unref(&s);
        stanza_unref(&made);
    }
}

static void test_child_text(void **state)
{
    (void)state;
    struct stanza *s =
        read_one("<message><subject>a&amp;b</subject><body>1<![CDATA[<2>]]></body></message>");
    assert_true(slice_is(stanza_child_text(s, KNOWN_SUBJECT, tmp), "a&b"));
    assert_true(slice_is(stanza_child_text(s, KNOWN_BODY, tmp), "1<2>"));
    assert_int_equal(stanza_child_text(s, KNOWN_THREAD, tmp).len, 0);
    stanza_unref(&s);
}

static void test_find(void **state)
{
    (void)state;
    static const char *const found[] = {
        "<x xmlns='urn:a'/>",     "<x xmlns='urn:a'></x>",
        "<x\txmlns='urn:a'/>",    "<x\nxmlns='urn:a'/>",
        "<p:x xmlns:p='urn:a'/>", "<body>1</body><x xmlns='urn:b'/> <x xmlns='urn:a' id='2'>t</x>",
    };
    static const char *const absent[] = {
        "",
        "<x/>",
        "<xx xmlns='urn:a'/>",
        "<x:y xmlns:x='urn:a'/>",
        "<a.x xmlns='urn:a'/>",
        "<y xmlns='urn:a'><x xmlns='urn:a'/></y>",
        "<p:x xmlns:p='urn:b' xmlns='urn:a'/>",
    };
    struct elem e;
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        struct stanza *s = read_one(arena_printf(tmp, "<message>%s</message>", found[i]));
        assert_true(stanza_find(s, "x", "urn:a", &e));
        assert_true(slice_is(e.name, "x"));
        stanza_unref(&s);
    }
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        struct stanza *s = read_one(arena_printf(tmp, "<message>%s</message>", absent[i]));
        assert_false(stanza_find(s, "x", "urn:a", &e));
        stanza_unref(&s);
    }
}

static void test_escaping(void **state)
{
    (void)state;
    struct stanza *s = read_one("<message to='b.example/&apos;&lt;&amp;&gt;&quot;' "
                                "id='a&#9;b&#10;&#13;&apos;'/>");
    assert_true(slice_is(stanza_to(s), "b.example/'<&>\""));
    assert_true(slice_is(stanza_id(s), "a\tb\n\r'"));
    const char *text = written(s, NULL);
    assert_string_equal(text, "<message to='b.example/&apos;&lt;&amp;&gt;&quot;' "
                              "id='a&#9;b&#10;&#13;&apos;'></message>");
    stanza_unref(&s);
    s = load(text);
    assert_true(slice_is(stanza_id(s), "a\tb\n\r'"));
    stanza_unref(&s);
    s = read_one("<message id='a&#9;b'/>"); /* white space alone is escaped too */
    assert_string_equal(written(s, NULL), "<message id='a&#9;b'></message>");
    stanza_unref(&s);
    assert_reads("<message id=\"it's\" x=\"it's\" y='\"'/>",
                 "<message id='it&apos;s' x=\"it's\" y='\"'></message>");
}

static void test_notes(void **state)
{
    (void)state;
    struct stanza *s = read_one("<message to='a@b' type='chat'><body/></message>");
    struct stanza_note note = { .archive_id = 1234567, .by = SLICE("o'n@b.example") };
    assert_string_equal(written(s, &note),
                        "<message to='a@b' type='chat'><body/><stanza-id xmlns='urn:xmpp:sid:0' "
                        "by='o&apos;n@b.example' id='e52a3562301ddcc0'/></message>");
    note.archive_id = 0;
    note.delay_us = 1000000;
    assert_string_equal(written(s, &note),
                        "<message to='a@b' type='chat'><body/><delay xmlns='urn:xmpp:delay' "
                        "from='b.example' stamp='1970-01-01T00:00:01.000000Z'/></message>");
    note = (struct stanza_note){ .to = SLICE("c@d/\"") };
    assert_string_equal(written(s, &note),
                        "<message to='c@d/&quot;' type='chat'><body/></message>");
    stanza_unref(&s);
}

static void test_readdress(void **state)
{
    (void)state;
    struct stanza *s = read_one("<message to='a@b' from='c@d' id='1' type='chat' x='y'>"
                                "<body/>\n<thread/></message>");
    struct stanza *t = stanza_readdress(s, NO_SLICE, SLICE("e@f/g"));
    assert_string_equal(written(t, NULL), "<message from='c@d' to='e@f/g' id='1' type='chat' "
                                          "x='y'><body/>\n<thread/></message>");
    assert_int_equal(t->known, s->known);
    assert_int_equal(t->child_count, 2);
    stanza_unref(&s);
    stanza_unref(&t);
}

static bool is_by(enum known_child known, const struct elem *e, void *by)
{
    assert_int_equal(known, KNOWN_STANZA_ID);
    return slice_is(elem_attr(e, "by", tmp), by);
}

static void test_without(void **state)
{
    char by[] = "a@b";
    (void)state;
    struct stanza *s = read_one("<message to='a@b'> <stanza-id xmlns='urn:xmpp:sid:0' by='a@b'/>"
                                "<body/><stanza-id xmlns='urn:xmpp:sid:0' by='c@d'/>!"
                                "<s:stanza-id xmlns:s='urn:xmpp:sid:0' by='a@b'/></message>");
    struct stanza *t = stanza_without(stanza_ref(s), KNOWN(STANZA_ID), is_by, by);
    assert_string_equal(written(t, NULL), "<message to='a@b'> <body/><stanza-id "
                                          "xmlns='urn:xmpp:sid:0' by='c@d'/>!</message>");
    assert_int_equal(t->child_count, 2);
    assert_ptr_not_equal(t, s);
    assert_ptr_equal(stanza_without(t, KNOWN(STANZA_ID), is_by, by), t);
    assert_ptr_equal(stanza_without(t, KNOWN(DELAY), is_by, by), t);
    stanza_unref(&t);
    stanza_unref(&s);
}

/* An element whose prefix is declared further out is found out as well. */
static void test_without_prefixed(void **state)
{
    char by[] = "a@b";
    struct stanza *s;
    (void)state;
    s = read_one("<message to='a@b' xmlns:s='urn:xmpp:sid:0'><s:stanza-id by='a@b'/></message>");
    s = stanza_without(s, KNOWN(STANZA_ID), is_by, by);
    assert_int_equal(s->child_count, 0);
    stanza_unref(&s);
    assert_int_equal(read_in(&s, HEADER " xmlns:s='urn:xmpp:sid:0'>",
                             "<message to='a@b'><s:stanza-id by='a@b'/></message>",
                             (struct stanza_source){ 0 }),
                     OK);
    s = stanza_without(s, KNOWN(STANZA_ID), is_by, by);
    assert_int_equal(s->child_count, 0);
    stanza_unref(&s);
}

/* Never more children than can be read again. */
static void test_append(void **state)
{
    const char *text = "<presence from='a@b/c' xmlns:n='urn:n' xml:lang='en'>";
    (void)state;
    for (unsigned i = 1; i < XML_CHILDREN_MAX; i++)
        text = arena_printf(tmp, "%s<n:x/>", text);
    struct stanza *s = read_one(arena_printf(tmp, "%s</presence>", text));
    struct stanza *one = stanza_append(s, SLICE("<show>away</show>"));
    struct stanza *two = stanza_append(one, SLICE("<status/>"));
    assert_non_null(strstr(written(one, NULL), " xml:lang='en' xmlns:n='urn:n'>"));
    assert_true(stanza_has(one, KNOWN(SHOW)));
    assert_int_equal(two->child_count, XML_CHILDREN_MAX);
    struct stanza *again = load(written(two, NULL));
    assert_int_equal(again->child_count, XML_CHILDREN_MAX);
    stanza_unref(&again);
    stanza_unref(&two);
    stanza_unref(&one);
    stanza_unref(&s);
}

/* A copy keeps what it is not told to change: above all its addresses. */
static void test_copies_keep_their_addresses(void **state)
{
    static const struct {
        const char *text, *to;
        bool bad;
    } of[] = {
        { "<presence from='a@b/c' to='r@conference.b/n' id='1' xml:lang='de'><show>away</show>"
          "</presence>",
          "r@conference.b/n", false },
        { "<message from='a@b/c' to='d@e' type='chat'><show>away</show></message>", "d@e", false },
        { "<iq from='a@b/c' to='d@e/f' id='2' type='get'><show>away</show></iq>", "d@e/f", false },
        { "<presence from='a@b/c'><show>away</show></presence>", "", false },
        { "<presence from='a@b/c' to='@'><show>away</show></presence>", "", true },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct stanza *s = read_one(of[i].text);
        struct stanza *copies[] = {
            stanza_append(s, SLICE("<x/>")),
            stanza_append_to(s, NO_SLICE, SLICE("<x/>")),
            stanza_readdress(s, NO_SLICE, NO_SLICE),
            stanza_change(s, &(struct stanza_change){ .more = SLICE_INIT("<x/>") }),
            stanza_without(stanza_ref(s), s->known, NULL, NULL),
        };
        for (unsigned k = 0; k < sizeof copies / sizeof copies[0]; k++) {
            struct stanza *c = copies[k];
            assert_true(slice_is(stanza_to(c), of[i].to));
            assert_true(slice_is(stanza_from(c), "a@b/c"));
            assert_true(slice_eq(stanza_id(c), stanza_id(s)));
            assert_int_equal(c->kind, s->kind);
            assert_int_equal(c->type, s->type);
            assert_int_equal(c->lang_len, s->lang_len);
            assert_int_equal(c->bad_to, of[i].bad);
            stanza_unref(&c);
        }
        struct stanza *other = stanza_append_to(s, SLICE("x@y"), SLICE("<x/>"));
        assert_true(slice_is(stanza_to(other), "x@y"));
        assert_false(other->bad_to);
        stanza_unref(&other);
        stanza_unref(&s);
    }
}

static void test_errors_tell_what_was_refused(void **state)
{
    static const struct {
        const char *presence;
        enum stanza_refused refused;
    } cases[] = {
        { "<presence to='a@b' from='c@d/e'/>", REFUSED_AVAILABLE },
        { "<presence to='a@b' from='c@d/e' type='unavailable'/>", REFUSED_UNAVAILABLE },
        { "<presence to='a@b' from='c@d/e' type='probe'/>", REFUSED_PROBE },
        { "<presence to='a@b' from='c@d/e' type='subscribe'/>", REFUSED_OTHER },
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct stanza *said = read_one(cases[i].presence);
        said->refused_kind = REFUSED_SAID;
        struct stanza *of_said = stanza_make_error(said, SE_FORBIDDEN, NO_SLICE);
        assert_int_equal(of_said->refused_kind, i == 0 ? REFUSED_OTHER : REFUSED_SAID);
        stanza_unref(&of_said);
        stanza_unref(&said);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stanza *s = read_one(cases[i].presence),
                      *e = stanza_make_error(s, SE_FORBIDDEN, NO_SLICE);
        struct stanza *copy = stanza_readdress(e, SLICE("x@y"), NO_SLICE);
        assert_int_equal(e->refused_kind, cases[i].refused);
        assert_int_equal(copy->refused_kind, cases[i].refused);
        stanza_unref(&copy);
        stanza_unref(&e);
        stanza_unref(&s);
    }
}

static void test_errors(void **state)
{
    (void)state;
    struct stanza *s = read_one("<iq to='a@b' from='c@d/e' id='&lt;' type='get'><x/></iq>");
    struct stanza *e = stanza_make_error(s, SE_FORBIDDEN, SLICE("no < way"));
    assert_int_equal(e->refused_kind, REFUSED_OTHER);
    assert_string_equal(written(e, NULL),
                        "<iq from='a@b' to='c@d/e' id='&lt;' type='error'><error type='auth'>"
                        "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                        "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no &lt; way</text>"
                        "</error></iq>");
    assert_int_equal(e->known, KNOWN(ERROR));
    assert_null(stanza_make_error(e, SE_FORBIDDEN, NO_SLICE)); /* RFC 6120 §8.3.1 */
    stanza_unref(&e);
    stanza_unref(&s);
    s = read_one("<iq to='a@b' from='c@d/e' id='1' type='result'/>");
    assert_null(stanza_make_error(s, SE_FORBIDDEN, NO_SLICE));
    stanza_unref(&s);
    s = read_one("<message to='a@b'/>"); /* nobody to tell */
    assert_null(stanza_make_error(s, SE_FORBIDDEN, NO_SLICE));
    stanza_unref(&s);
}

static void test_bad_addresses(void **state)
{
    struct stanza *s;
    (void)state;
    s = read_one("<message to='@b' from='c@d'><body/></message>");
    assert_true(s->bad_to);
    assert_int_equal(s->to_len, 0);
    stanza_unref(&s);
    s = read_one("<message to='A@b/' from='c@d'><body/></message>");
    assert_true(s->bad_to);
    assert_true(slice_is(stanza_to(s), "a@b"));
    stanza_unref(&s);
    s = read_one("<message from='@' to='a@b'/>");
    assert_true(s->bad_from);
    assert_false(s->bad_to);
    assert_int_equal(s->from_len, 0);
    stanza_unref(&s);
    s = read_one("<message from='a@b/\u2764\ufe0f' to='a@b'/>");
    assert_true(s->bad_from);
    assert_int_equal(s->from_len, 0);
    struct stanza *named = stanza_readdress(s, SLICE("b"), NO_SLICE);
    assert_false(named->bad_from);
    stanza_unref(&named);
    stanza_unref(&s);
    assert_int_equal(stanza_load(&s, SLICE("<message from='@' to='a@b'/>"), work, tmp), E_CORRUPT);
}

static void test_roots_that_are_no_stanzas(void **state)
{
    static const char *const roots[] = { "<message xmlns='urn:x'/>", "<messages/>", "<MESSAGE/>",
                                         "<stream:message/>",
                                         "<c:message xmlns:c='jabber:client' xmlns='urn:x'/>" };
    struct stanza *s;
    (void)state;
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        assert_int_equal(read_in(&s, HEADER ">", roots[i], (struct stanza_source){ 0 }),
                         E_UNSUPPORTED);
    assert_reads("<message xmlns='jabber:server' id='1'><body/></message>",
                 "<message id='1'><body/></message>");
}

static void test_damaged_text(void **state)
{
    static const char *const texts[] = {
        "",        "<message",      "<message></iq>",      "message",           "<x:iq/>",
        "<body/>", "<message to='", "<message from='@'/>", "<!-- --><message/>"
    };
    struct stanza *s;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(stanza_load(&s, slice_of(texts[i]), work, tmp), E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_redundant_namespaces_are_dropped),
        cmocka_unit_test(test_prefixes_of_the_stream_are_declared),
        cmocka_unit_test(test_prefixes_of_the_stanza_hold_in_children),
        cmocka_unit_test(test_prefixes_of_content_namespaces),
        cmocka_unit_test(test_content_of_another_server),
        cmocka_unit_test(test_content_with_a_prefix_to_any_stream),
        cmocka_unit_test(test_known_children),
        cmocka_unit_test(test_child_text),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_readdress),
        cmocka_unit_test(test_without),
        cmocka_unit_test(test_without_prefixed),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_copies_keep_their_addresses),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_errors_tell_what_was_refused),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_roots_that_are_no_stanzas),
        cmocka_unit_test(test_damaged_text),
    };
    return cmocka_run_group_tests_name("xmpp/stanza", tests, start, stop);
}
