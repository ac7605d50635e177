/* Differential: the reader against expat in namespace mode. Both read the same bytes as a stream;
 * the events (elements and attributes with resolved names, resolved text) must be the same as far
 * as the reader has got, and either both refuse or none. The reader's events come from walking its
 * units with xml_elem, every element written out with elem_extract() and read again by itself, so
 * these are tested too. The first byte decides how the rest is split; one call, split calls and one
 * byte at a time must give the same.
 *
 * Where the two may differ:
 * - restricted XML, encodings other than UTF-8, limits: the reader refuses, expat may not;
 * - a byte order mark, versions other than 1.x, text or CDATA between stanzas, <stream/>: likewise;
 * - name characters: the fifth edition has more than the fourth, which expat knows;
 * - white space before the XML declaration: expat refuses;
 * - the reader sees some errors before the token is complete, expat an error in an unfinished XML
 *   declaration;
 * - namespaces written with character references: the reader refuses;
 * - attributes that differ only in that they are of jabber:client and jabber:server: likewise;
 * - behind the stream's end nothing is compared. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "codec/xml_char.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include <expat.h>

enum { LOG_BYTES_MAX = 1 << 24, INPUT_BYTES_MAX = 8192 };
#define NS_XML "http://www.w3.org/XML/1998/namespace"

/* Marks of the event log: characters that no XML text has. Text stands between them as it is. */
#define IN_NS   "\x01"
#define ELEMENT "\x02"
#define ATTR    "\x03"
#define VALUE   "\x04"
#define CONTENT "\x05"
#define END     "\x06"

struct reading {
    struct buf log;
    struct arena *arena;
    struct xml_work *work, *again;
    struct elem stream; /* parent of the stanzas */
    slice stream_text;  /* from its header on */
    enum xml_unit last;
    enum xml_error error;
    const char *what;
    size_t seen; /* bytes shown when the last unit was returned */
    size_t used;
    unsigned stanzas;
    bool incomplete; /* an element with its inherited declarations had too many attributes */
};

static void log_name(struct reading *g, slice ns, slice local)
{
    ns = xml_unescape_attr(ns, g->arena);
    if (ns.len > 0) {
        buf_add(&g->log, ns);
        buf_lit(&g->log, IN_NS);
    }
    buf_add(&g->log, local);
}

/* The namespace that the prefix is bound to by one of these attributes. */
static slice declared(const struct xml_work *w, slice text, slice prefix)
{
    if (slice_is(prefix, "xml"))
        return SLICE(NS_XML);
    for (unsigned i = 0; i < w->root.attr_count; i++) {
        slice name = xml_at(text, w->attr[i].name);
        if (slice_starts(name, SLICE("xmlns:")) && slice_eq(slice_from(name, 6), prefix))
            return xml_at(text, w->attr[i].value);
    }
    return SLICE(ELEMENT); /* not declared: no such event in the other log */
}

static void log_start(struct reading *g, const struct xml_work *w, slice text, slice ns)
{
    buf_lit(&g->log, ELEMENT);
    log_name(g, ns, xml_at(text, w->root.name));
    for (unsigned i = 0; i < w->root.attr_count; i++) {
        const struct xml_attr *attr = &w->attr[i];
        slice name = xml_at(text, attr->name), value = xml_at(text, attr->value);
        slice whole = xml_at(text, attr->whole);
        ensure(whole.ptr == name.ptr && whole.ptr + whole.len == value.ptr + value.len + 1);
        ensure(whole.ptr[whole.len - 1] == attr->quote && value.ptr[-1] == attr->quote);
        slice prefix = { name.ptr, attr->prefix_len };
        if (slice_is(name, "xmlns") || slice_is(prefix, "xmlns"))
            continue;
        buf_lit(&g->log, ATTR);
        if (prefix.len > 0)
            log_name(g, declared(w, text, prefix), slice_from(name, prefix.len + 1));
        else
            buf_add(&g->log, name);
        buf_lit(&g->log, VALUE);
        buf_add(&g->log, xml_unescape_attr(value, g->arena));
    }
    buf_lit(&g->log, CONTENT);
}

/* The element by itself is an element again, with the same name. */
static void log_elem_start(struct reading *g, const struct elem *e)
{
    static const struct xml_limits most = { 1 << 24, 65535, 65535, 65535, 0, 0, false };
    struct buf alone;
    buf_init(&alone, LOG_BYTES_MAX);
    elem_extract(e, &alone);
    enum err err = xml_read_element(g->again, buf_slice(&alone), SLICE(""), &most);
    ensure(err == OK || err == E_LIMIT);
    struct elem copy;
    bool parsed = elem_parse(&copy, buf_slice(&alone), SLICE(""));
    ensure(parsed && slice_eq(copy.name, e->name) && slice_eq(copy.content, e->content));
    ensure(
        slice_eq(xml_unescape_attr(copy.ns_uri, g->arena), xml_unescape_attr(e->ns_uri, g->arena)));
    if (err == OK)
        log_start(g, g->again, buf_slice(&alone), e->ns_uri);
    else
        g->incomplete = true;
    buf_fini(&alone);
}

/* Logs what is between two child elements: an element without them. */
static void log_text(struct reading *g, const struct elem *e, const char *from, const char *to)
{
    struct elem part = *e;
    part.content = (slice){ from, (size_t)(to - from) };
    buf_add(&g->log, elem_text(&part, g->arena));
}

static void log_elem(struct reading *g, const struct elem *e)
{
    log_elem_start(g, e);
    const char *at = e->content.ptr;
    struct elem child;
    for (bool more = elem_first(e, &child); more; more = elem_next(&child, &child)) {
        log_text(g, e, at, child.whole.ptr);
        log_elem(g, &child);
        at = child.whole.ptr + child.whole.len;
    }
    log_text(g, e, at, e->content.ptr + e->content.len);
    buf_lit(&g->log, END);
}

static void check_ns(struct reading *g, const struct xml_reader *r, slice unit, uint8_t source,
                     struct xml_span ns, const struct elem *e)
{
    slice name = xml_ns(r, unit, source, ns);
    ensure(slice_eq(xml_unescape_attr(name, g->arena), xml_unescape_attr(e->ns_uri, g->arena)));
}

static void check_own_xmlns(slice unit, struct xml_span own)
{
    slice text = xml_at(unit, own);
    ensure(text.len == 0 ||
           (xml_is(text.ptr[0], XML_WHITE) && slice_starts(slice_from(text, 1), SLICE("xmlns"))));
}

static void on_stanza(struct reading *g, const struct xml_reader *r, slice unit)
{
    const struct xml_root *root = &g->work->root;
    struct elem top, child;
    g->stream.content = unit;
    bool found = elem_first(&g->stream, &top);
    ensure(found && slice_eq(top.whole, unit));
    ensure(slice_eq(top.name, xml_at(unit, root->name)));
    ensure(slice_eq(top.start_tag, xml_at(unit, root->start_tag)));
    ensure(slice_eq(top.content, xml_at(unit, root->content)));
    check_ns(g, r, unit, root->ns_stream, root->ns, &top);
    check_own_xmlns(unit, root->own_xmlns);
    bool more = elem_first(&top, &child);
    for (unsigned i = 0; i < root->child_count; i++) {
        const struct xml_child *c = &g->work->child[i];
        ensure(more && child.whole.ptr == unit.ptr + c->whole.at);
        ensure(child.whole.len == c->whole.len && slice_eq(child.name, xml_at(unit, c->name)));
        check_ns(g, r, unit, c->ns_stream, c->ns, &child);
        check_own_xmlns(unit, c->own_xmlns);
        more = elem_next(&child, &child);
    }
    ensure(!more);
    log_elem(g, &top);
    g->stanzas++;
}

static void on_stream(struct reading *g, const struct xml_reader *r, slice unit)
{
    const struct xml_root *root = &g->work->root;
    slice ns = xml_ns(r, unit, root->ns_stream, root->ns);
    g->stream = (struct elem){ .start_tag = xml_at(unit, root->start_tag),
                               .name = xml_at(unit, root->name),
                               .ns = xml_stream_default_ns(r),
                               .ns_uri = ns };
    log_start(g, g->work, unit, ns);
}

/* Shows `text` to a new reader; `step` bytes more a call, or, if 0, by a generator from `seed`. */
static void read_stream(struct reading *g, slice text, size_t step, uint32_t seed)
{
    struct xml_reader r;
    xml_reader_init(&r, NULL);
    while (g->last != XML_END && g->last != XML_ERROR) {
        size_t used;
        slice shown = { text.ptr + g->used, g->seen - g->used };
        g->last = xml_read(&r, g->work, shown, &used);
        slice unit = { shown.ptr, used };
        g->used += used;
        if (g->last == XML_STREAM)
            on_stream(g, &r, unit);
        else if (g->last == XML_STANZA)
            on_stanza(g, &r, unit);
        if (g->last != XML_MORE)
            continue;
        if (g->seen == text.len)
            break;
        seed = seed * 1664525 + 1013904223;
        size_t more = step > 0 ? step : 1 + (seed >> 28);
        g->seen += more < text.len - g->seen ? more : text.len - g->seen;
    }
    g->error = g->last == XML_ERROR ? r.error : XML_OK;
    g->what = r.what;
    xml_reader_fini(&r);
}

static void reading_init(struct reading *g)
{
    *g = (struct reading){ .arena = arena_create(0),
                           .work = xml_work_create(),
                           .again = xml_work_create() };
    buf_init(&g->log, LOG_BYTES_MAX);
}

static void reading_fini(struct reading *g)
{
    buf_fini(&g->log);
    arena_destroy(&g->arena);
    xml_work_destroy(&g->work);
    xml_work_destroy(&g->again);
}

struct oracle {
    struct buf log;
    unsigned depth, stanzas;
    enum XML_Error error;
    size_t at; /* of the error, or of the token that is not complete */
};

static void on_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
    struct oracle *o = arg;
    buf_printf(&o->log, ELEMENT "%s", name);
    for (; attrs[0] != NULL; attrs += 2) {
        buf_printf(&o->log, ATTR "%s", attrs[0]);
        buf_printf(&o->log, VALUE "%s", attrs[1]);
    }
    buf_lit(&o->log, CONTENT);
    o->depth++;
}

static void on_end(void *arg, const XML_Char *name)
{
    struct oracle *o = arg;
    (void)name;
    o->depth--;
    if (o->depth > 0)
        buf_lit(&o->log, END);
    o->stanzas += o->depth == 1;
}

static void on_text(void *arg, const XML_Char *text, int len)
{
    struct oracle *o = arg;
    if (o->depth > 1)
        buf_append(&o->log, text, (size_t)len);
}

static void ask_oracle(struct oracle *o, slice text)
{
    XML_Parser p = XML_ParserCreateNS("UTF-8", IN_NS[0]);
    *o = (struct oracle){ .depth = 0 };
    buf_init(&o->log, LOG_BYTES_MAX);
    XML_SetUserData(p, o);
    XML_SetElementHandler(p, on_start, on_end);
    XML_SetCharacterDataHandler(p, on_text);
    if (XML_Parse(p, text.ptr, (int)text.len, XML_FALSE) != XML_STATUS_OK)
        o->error = XML_GetErrorCode(p);
    o->at = (size_t)XML_GetCurrentByteIndex(p);
    XML_ParserFree(p);
}

/* A character that is one of names, but not for expat. */
static bool is_newer_name_char(slice text, size_t at)
{
    uint32_t cp;
    return xml_high(slice_from(text, at).ptr[0]) && utf8_decode(slice_from(text, at), &cp) > 0 &&
           xml_name_char(cp);
}

/* Whether expat may refuse what the reader took. */
static bool may_refuse(const struct oracle *o, slice text)
{
    if (o->error == XML_ERROR_MISPLACED_XML_PI)
        return true;
    if (o->error == XML_ERROR_INVALID_TOKEN && o->at < text.len && is_newer_name_char(text, o->at))
        return true;
    const char *end = text.ptr + text.len, *first = xml_skip_white(text.ptr, end);
    return slice_starts(slice_from(text, (size_t)(first - text.ptr)), SLICE("<?")) &&
           memchr(first, '>', (size_t)(end - first)) == NULL;
}

/* Whether expat may take what the reader refused when byte `seen` - 1 came. */
static bool may_take(const struct oracle *o, const struct reading *g)
{
    static const char *const stricter[] = {
        "text outside of stanzas", "the stream header is an empty element",
        "a malformed XML declaration", "a namespace is written with character references",
        "two attributes differ in their content namespace only"
    };
    for (size_t i = 0; i < sizeof stricter / sizeof stricter[0]; i++) {
        if (strcmp(g->what, stricter[i]) == 0)
            return true;
    }
    return g->error == XML_RESTRICTED || g->error == XML_TOO_BIG || g->error == XML_BAD_ENCODING ||
           o->at < g->seen;
}

static void compare(const struct reading *g, slice text)
{
    struct oracle o;
    ask_oracle(&o, g->last == XML_END ? (slice){ text.ptr, g->used } : text);
    slice ours = buf_slice(&g->log), theirs = buf_slice(&o.log);
    bool excused = o.error != XML_ERROR_NONE && may_refuse(&o, text);
    ensure(g->incomplete || slice_starts(theirs, ours) || (excused && slice_starts(ours, theirs)));
    if (g->error == XML_OK && o.error != XML_ERROR_NONE)
        ensure(excused);
    if (g->error == XML_OK && o.error == XML_ERROR_NONE)
        ensure(g->stanzas == o.stanzas);
    if (g->error != XML_OK && o.error == XML_ERROR_NONE)
        ensure(may_take(&o, g));
    buf_fini(&o.log);
}

static void same(const struct reading *a, const struct reading *b)
{
    ensure(a->last == b->last && a->error == b->error && a->what == b->what);
    ensure(a->used == b->used && a->stanzas == b->stanzas);
    ensure(slice_eq(buf_slice(&a->log), buf_slice(&b->log)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_BYTES_MAX)
        return 0;
    slice text = { (const char *)data + 1, size - 1 };
    if ((uint8_t)text.ptr[0] >= 0xef) /* byte order marks */
        return 0;
    struct reading whole, split, bytes;
    reading_init(&whole);
    reading_init(&split);
    reading_init(&bytes);
    read_stream(&whole, text, text.len, 0);
    read_stream(&split, text, 0, data[0]);
    read_stream(&bytes, text, 1, 0);
    same(&whole, &split);
    same(&whole, &bytes);
    compare(&bytes, text);
    reading_fini(&whole);
    reading_fini(&split);
    reading_fini(&bytes);
    return 0;
}
