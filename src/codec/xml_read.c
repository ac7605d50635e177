/* The reader is an explicit state machine (enum xml_mode) with one handler a mode. A handler goes
 * as far as it can from p and returns where it stopped; everything it must remember is in xml_state
 * as offsets into the unit, so a run may end behind any byte and go on later.
 *
 * A handler that cannot go on (error, unit complete, half a UTF-8 character at the end) lowers
 * state->end to where it stands, which ends the run. */
#include "codec/xml_read.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "codec/xml_char.h"
#include "codec/xml_state.h"
#include <stddef.h>

static const struct xml_limits default_limits = {
    .unit_bytes = 65536, .depth = 64, .attrs = 64, .name_bytes = 256
};
enum { DECLARATION_BYTES_MAX = 256 };

/* An unfinished unit between two calls: the front of xml_state and the used parts of the arrays,
 * one behind the other. Grows with the unit and is freed with it. */
struct xml_parked {
    size_t cap;
    char bytes[];
};

static uint32_t offset(const struct xml_state *s, const char *p) { return (uint32_t)(p - s->unit); }

static struct xml_span span_to(const struct xml_state *s, uint32_t from, const char *p)
{
    return (struct xml_span){ from, offset(s, p) - from };
}

static const char *stop(struct xml_state *s, const char *p) { return s->end = p; }

static const char *xml_state_fail(struct xml_state *s, const char *at, enum xml_error e,
                                  const char *what)
{
    s->mode = XML_UNIT_FAILED;
    s->error = e;
    s->what = what;
    return stop(s, at);
}

static const char *xml_read_malformed(struct xml_state *s, const char *p, const char *what)
{
    return xml_state_fail(s, p, XML_NOT_WELL_FORMED, what);
}

/* A byte where the scanners for text and values stop: white space, a character beyond ASCII, or
 * bad. Returns p itself if the run ends here. */
static const char *odd_char(struct xml_state *s, const char *p)
{
    if (xml_is(*p, XML_WHITE))
        return xml_skip_white(p, s->end);
    if (!xml_high(*p))
        return xml_read_malformed(s, p, "a control character");
    const char *behind = xml_skip_high(p, s->end);
    if (behind == s->end || !xml_high(*behind))
        return behind;
    uint32_t cp;
    int bytes = utf8_decode((slice){ behind, (size_t)(s->end - behind) }, &cp);
    if (bytes < 0)
        return stop(s, behind); /* the rest of the character comes with the next call */
    if (bytes == 0)
        return xml_state_fail(s, behind, XML_BAD_UTF8, "malformed UTF-8");
    return xml_read_malformed(s, behind, "a character that XML forbids");
}

/* Takes the character beyond ASCII of a name; stays at p if it ends the run. */
static const char *high_name_char(struct xml_state *s, const char *p, int class)
{
    uint32_t cp;
    int bytes = utf8_decode((slice){ p, (size_t)(s->end - p) }, &cp);
    if (bytes < 0)
        return stop(s, p);
    if (bytes == 0)
        return xml_state_fail(s, p, XML_BAD_UTF8, "malformed UTF-8");
    if (class == XML_NAME_START ? xml_name_start(cp) : xml_name_char(cp))
        return p + bytes;
    return xml_read_malformed(s, p, "a character that no name may have");
}

/* Goes on in the qualified name that began at s->token. Returns where it ends, or s->end. */
static const char *scan_name(struct xml_state *s, const char *p)
{
    const char *token = s->unit + s->token;
    while (p < s->end) {
        uint32_t done = (uint32_t)(p - token);
        bool first = done == 0 || (s->prefix_len > 0 && done == s->prefix_len + 1U);
        if (first && !xml_is(*p, XML_NAME_START)) {
            if (!xml_high(*p))
                return xml_read_malformed(s, p, "a name begins wrongly");
            p = high_name_char(s, p, XML_NAME_START);
            continue;
        }
        p = xml_skip_name(p, s->end);
        done = (uint32_t)(p - token);
        if (done > s->limits.name_bytes)
            return xml_state_fail(s, p, XML_TOO_BIG, "a name is too long");
        if (p == s->end)
            return p;
        if (xml_high(*p)) {
            p = high_name_char(s, p, XML_NAME);
        } else if (*p == ':') {
            if (s->prefix_len > 0)
                return xml_read_malformed(s, p, "a name with two colons");
            s->prefix_len = (uint16_t)done;
            p++;
        } else {
            return p;
        }
    }
    return p;
}

static const char *at_unit(struct xml_state *s, const char *p)
{
    p = xml_skip_white(p, s->end); /* behind an XML declaration */
    if (p == s->end)
        return p;
    if (*p != '<')
        return xml_read_malformed(s, p, "text outside of stanzas");
    s->mode = XML_AT_MARKUP;
    s->tag = offset(s, p);
    return p + 1;
}

static const char *begin_element(struct xml_state *s, const char *p)
{
    struct xml_root *root = &s->work->root;
    if (s->depth == s->limits.depth)
        return xml_state_fail(s, p, XML_TOO_BIG, "elements are nested too deeply");
    if (s->depth == 1) {
        if (root->child_count == s->limits.children && !s->limits.many_children)
            return xml_state_fail(s, p, XML_TOO_BIG, "too many elements in a stanza");
        if (root->child_count == XML_CHILDREN_MAX)
            root->child_count--;
        s->work->child[root->child_count++] = (struct xml_child){ .whole = { s->tag, 0 } };
    }
    s->token = offset(s, p);
    s->prefix_len = 0;
    s->attr_count = s->prefixed_count = 0;
    s->mode = XML_IN_TAG_NAME;
    return p;
}

static const char *in_tag_name(struct xml_state *s, const char *p)
{
    p = scan_name(s, p);
    if (p == s->end)
        return p;
    struct xml_span name = span_to(s, s->token, p);
    s->open[s->depth++] = (struct xml_open){ name, s->prefix_len, s->binding_count };
    uint32_t skip = s->prefix_len > 0 ? s->prefix_len + 1U : 0;
    struct xml_span local = { name.at + skip, name.len - skip };
    if (s->depth == 1) {
        s->work->root.name = local;
        s->work->root.prefix_len = s->prefix_len;
    } else if (s->depth == 2) {
        s->work->child[s->work->root.child_count - 1].name = local;
    }
    s->mode = XML_IN_TAG;
    return p;
}

/* The element's end: `content_end` is the '<' of its end tag or the end of its only tag. */
static const char *end_element(struct xml_state *s, uint32_t content_end, const char *p)
{
    struct xml_root *root = &s->work->root;
    s->depth--;
    s->binding_count = s->open[s->depth].binding_count;
    s->mode = XML_IN_CONTENT;
    if (s->depth == 1) {
        struct xml_child *child = &s->work->child[root->child_count - 1];
        child->whole.len = offset(s, p) - child->whole.at;
    } else if (s->depth == 0) {
        root->content.len = content_end - root->content.at;
        s->mode = XML_UNIT_DONE;
        return stop(s, p);
    }
    return p;
}

/* At the '>' of a start tag, or of an empty element. */
static const char *end_start_tag(struct xml_state *s, const char *p)
{
    enum xml_mode was = s->mode;
    enum xml_error e;
    const char *wrong = xml_ns_finish_tag(s, &e);
    if (wrong != NULL)
        return xml_state_fail(s, p, e, wrong);
    p++;
    if (s->depth == 1) {
        s->work->root.start_tag = span_to(s, s->tag, p);
        s->work->root.content = (struct xml_span){ offset(s, p), 0 };
        s->work->root.attr_count = s->attr_count;
    }
    s->attr_count = 0;
    if (s->kind == XML_KIND_HEADER) {
        if (was == XML_AT_EMPTY_END)
            return xml_read_malformed(s, p, "the stream header is an empty element");
        s->mode = XML_UNIT_DONE;
        return stop(s, p);
    }
    s->mode = XML_IN_CONTENT;
    return was == XML_AT_EMPTY_END ? end_element(s, offset(s, p), p) : p;
}

static const char *at_empty_end(struct xml_state *s, const char *p)
{
    return *p == '>' ? end_start_tag(s, p) : xml_read_malformed(s, p, "a '/' inside of a tag");
}

static const char *in_tag(struct xml_state *s, const char *p)
{
    p = xml_skip_white(p, s->end);
    if (p == s->end)
        return p;
    if (*p == '>')
        return end_start_tag(s, p);
    if (*p == '/') {
        s->mode = XML_AT_EMPTY_END;
        return p + 1;
    }
    if (!xml_is(p[-1], XML_WHITE))
        return xml_read_malformed(s, p, "no space between attributes");
    if (s->attr_count == s->limits.attrs)
        return xml_state_fail(s, p, XML_TOO_BIG, "too many attributes");
    s->token = offset(s, p);
    s->prefix_len = 0;
    s->mode = XML_IN_ATTR_NAME;
    return p;
}

static const char *in_attr_name(struct xml_state *s, const char *p)
{
    p = scan_name(s, p);
    if (p == s->end)
        return p;
    struct xml_attr *attr = xml_state_attrs(s);
    struct xml_span name = span_to(s, s->token, p);
    for (unsigned i = 0; i < s->attr_count; i++) {
        if (attr[i].name.len == name.len &&
            memcmp(s->unit + attr[i].name.at, s->unit + name.at, name.len) == 0)
            return xml_read_malformed(s, p, "an attribute is there twice");
    }
    attr[s->attr_count].name = name;
    attr[s->attr_count].prefix_len = s->prefix_len;
    s->mode = XML_AT_EQUALS;
    return p;
}

static const char *at_equals(struct xml_state *s, const char *p)
{
    p = xml_skip_white(p, s->end);
    if (p == s->end)
        return p;
    if (*p != '=')
        return xml_read_malformed(s, p, "an attribute without a value");
    s->mode = XML_AT_QUOTE;
    return p + 1;
}

static const char *at_quote(struct xml_state *s, const char *p)
{
    p = xml_skip_white(p, s->end);
    if (p == s->end)
        return p;
    if (*p != '"' && *p != '\'')
        return xml_read_malformed(s, p, "an attribute's value without quotes");
    s->quote = *p++;
    s->token = offset(s, p);
    s->mode = XML_IN_ATTR_VALUE;
    return p;
}

static const char *end_attr(struct xml_state *s, const char *p)
{
    struct xml_attr *attr = &xml_state_attrs(s)[s->attr_count++];
    attr->value = span_to(s, s->token, p);
    attr->quote = s->quote;
    p++;
    attr->whole = span_to(s, attr->name.at, p);
    s->mode = XML_IN_TAG;

    uint32_t first = attr->prefix_len > 0 ? attr->prefix_len : attr->name.len;
    if (first == 5 && memcmp(s->unit + attr->name.at, "xmlns", 5) == 0) {
        enum xml_error e;
        const char *wrong = xml_ns_declare(s, attr, &e);
        return wrong == NULL ? p : xml_state_fail(s, p, e, wrong);
    }
    if (attr->prefix_len > 0)
        s->prefixed_count++;
    return p;
}

static const char *begin_ref(struct xml_state *s, const char *p)
{
    s->after_ref = s->mode;
    s->mode = XML_IN_REF;
    s->ref = offset(s, p + 1);
    return p + 1;
}

static const char *in_attr_value(struct xml_state *s, const char *p)
{
    while (p < s->end) {
        p = xml_skip_value(p, s->end, s->quote);
        if (p == s->end)
            return p;
        if (*p == s->quote)
            return end_attr(s, p);
        if (*p == '&')
            return begin_ref(s, p);
        if (*p == '<')
            return xml_read_malformed(s, p, "a '<' in an attribute");
        p = odd_char(s, p);
    }
    return p;
}

static const char *in_content(struct xml_state *s, const char *p)
{
    while (p < s->end) {
        p = xml_skip_text(p, s->end);
        if (p == s->end)
            return p;
        if (*p == '<') {
            s->mode = XML_AT_MARKUP;
            s->tag = offset(s, p);
            return p + 1;
        }
        if (*p == '&')
            return begin_ref(s, p);
        if (*p == '>') { /* a start tag stands before, so there are two bytes to look back at */
            if (p[-1] == ']' && p[-2] == ']')
                return xml_read_malformed(s, p, "a ']]>' in text");
            p++;
        } else {
            p = odd_char(s, p);
        }
    }
    return p;
}

/* Whether the reference that began at `body` may go on with the byte at p. */
static bool is_ref_byte(const char *body, const char *p)
{
    if (p == body)
        return *p == '#' || xml_is(*p, XML_NAME_START);
    if (*body != '#')
        return xml_is(*p, XML_NAME);
    if (*p >= '0' && *p <= '9')
        return true;
    if (p == body + 1)
        return *p == 'x';
    return body[1] == 'x' && ((*p >= 'a' && *p <= 'f') || (*p >= 'A' && *p <= 'F'));
}

static const char *in_ref(struct xml_state *s, const char *p)
{
    const char *body = s->unit + s->ref;
    while (p < s->end && is_ref_byte(body, p)) {
        if (++p - body > XML_REF_BYTES_MAX)
            return xml_state_fail(s, p, XML_TOO_BIG, "a reference is too long");
    }
    if (p == s->end)
        return p;
    if (*p != ';' || p == body)
        return xml_read_malformed(s, p, "a '&' that begins no reference");
    if (xml_ref((slice){ body, (size_t)(p - body) }) == 0) {
        if (*body == '#')
            return xml_read_malformed(s, p, "a reference to no legal character");
        /* RFC 6120 §11.1: no entity references but the predefined ones */
        return xml_state_fail(s, p, XML_RESTRICTED, "an entity that is not predefined");
    }
    s->mode = s->after_ref;
    return p + 1;
}

static const char *in_bang(struct xml_state *s, const char *p)
{
    static const char opening[] = "[CDATA[";
    for (; p < s->end; p++) {
        uint32_t done = offset(s, p) - s->token;
        if (done == sizeof opening - 1) {
            s->mode = XML_IN_CDATA;
            return p;
        }
        if (*p != opening[done]) /* RFC 6120 §11.1 */
            return xml_state_fail(s, p, XML_RESTRICTED, "a comment or document type declaration");
    }
    return p;
}

static const char *in_cdata(struct xml_state *s, const char *p)
{
    while (p < s->end) {
        p = xml_skip_text(p, s->end);
        if (p == s->end)
            return p;
        if (*p == '>') {
            bool ends = p[-1] == ']' && p[-2] == ']';
            p++;
            if (ends) {
                s->mode = XML_IN_CONTENT;
                return p;
            }
        } else if (*p == '<' || *p == '&') {
            p++;
        } else {
            p = odd_char(s, p);
        }
    }
    return p;
}

static slice end_name(const struct xml_state *s)
{
    if (s->depth == 0)
        return xml_ns_stream_tag(s->stream);
    struct xml_span name = s->open[s->depth - 1].name;
    return (slice){ s->unit + name.at, name.len };
}

static const char *in_end_name(struct xml_state *s, const char *p)
{
    slice name = end_name(s);
    size_t done = offset(s, p) - s->token;
    size_t left = name.len - done, seen = (size_t)(s->end - p);
    size_t now = left < seen ? left : seen;
    if (memcmp(p, name.ptr + done, now) != 0)
        return xml_read_malformed(s, p, "an end tag that does not match");
    if (now == left)
        s->mode = XML_AT_END_CLOSE;
    return p + now;
}

static const char *at_end_close(struct xml_state *s, const char *p)
{
    p = xml_skip_white(p, s->end);
    if (p == s->end)
        return p;
    if (*p != '>')
        return xml_read_malformed(s, p, "an end tag that does not match");
    p++;
    if (s->depth > 0)
        return end_element(s, s->tag, p);
    s->mode = XML_UNIT_DONE;
    return stop(s, p);
}

static const char *at_markup(struct xml_state *s, const char *p)
{
    if (xml_is(*p, XML_NAME_START) || xml_high(*p))
        return begin_element(s, p);
    s->token = offset(s, p) + 1;
    if (*p == '/') {
        if (s->depth == 0 && s->kind != XML_KIND_STANZA)
            return xml_read_malformed(s, p, "an end tag without a start tag");
        s->mode = XML_IN_END_NAME;
        return p + 1;
    }
    if (*p == '!') {
        if (s->depth == 0)
            return xml_state_fail(s, p, XML_RESTRICTED, "a declaration outside of stanzas");
        s->mode = XML_IN_BANG;
        return p + 1;
    }
    if (*p == '?') {
        if (s->kind != XML_KIND_HEADER || s->tag > 0)
            return xml_state_fail(s, p, XML_RESTRICTED, "a processing instruction");
        s->mode = XML_IN_DECLARATION;
        return p + 1;
    }
    return xml_read_malformed(s, p, "a '<' that begins no tag");
}

/* Takes ` name = "value"` off the front of a declaration. */
static bool take_pseudo_attr(slice *in, slice name, slice *value)
{
    const char *end = in->ptr + in->len, *p = xml_skip_white(in->ptr, end);
    if (p == in->ptr || !slice_starts((slice){ p, (size_t)(end - p) }, name))
        return false;
    p = xml_skip_white(p + name.len, end);
    if (p == end || *p++ != '=')
        return false;
    p = xml_skip_white(p, end);
    if (p == end || (*p != '"' && *p != '\''))
        return false;
    const char *close = memchr(p + 1, *p, (size_t)(end - p) - 1);
    if (close == NULL)
        return false;
    *value = (slice){ p + 1, (size_t)(close - p) - 1 };
    *in = slice_from(*in, (size_t)(close + 1 - in->ptr));
    return true;
}

/* `1.` and digits: a processor of XML 1.0 reads later ones as 1.0 (XML 1.0 §2.8). */
static bool is_version(slice version)
{
    if (!slice_starts(version, SLICE("1.")) || version.len == 2)
        return false;
    for (size_t i = 2; i < version.len; i++) {
        if (version.ptr[i] < '0' || version.ptr[i] > '9')
            return false;
    }
    return true;
}

/* XML 1.0 §2.8 and §4.3.3; `in` is what stands between "<?xml" and "?>". */
static enum xml_error check_declaration(slice in)
{
    slice version, encoding = SLICE("UTF-8"), standalone = SLICE("no");
    if (!take_pseudo_attr(&in, SLICE("version"), &version) || !is_version(version))
        return XML_NOT_WELL_FORMED;
    (void)take_pseudo_attr(&in, SLICE("encoding"), &encoding);
    (void)take_pseudo_attr(&in, SLICE("standalone"), &standalone);
    if (xml_skip_white(in.ptr, in.ptr + in.len) != in.ptr + in.len)
        return XML_NOT_WELL_FORMED;
    if (!slice_is(standalone, "yes") && !slice_is(standalone, "no"))
        return XML_NOT_WELL_FORMED;
    /* RFC 6120 §11.6: UTF-8 and no other */
    return slice_eq_nocase(encoding, SLICE("UTF-8")) ? XML_OK : XML_BAD_ENCODING;
}

static const char *in_declaration(struct xml_state *s, const char *p)
{
    const char *close = memchr(p, '>', (size_t)(s->end - p));
    p = close == NULL ? s->end : close;
    if (offset(s, p) >= DECLARATION_BYTES_MAX)
        return xml_state_fail(s, p, XML_TOO_BIG, "the XML declaration is too long");
    if (close == NULL)
        return p;
    slice in = { s->unit + 2, offset(s, p) - 2 };
    if (in.len < 5 || !slice_starts(in, SLICE("xml")) || !xml_is(in.ptr[3], XML_WHITE))
        return xml_state_fail(s, p, XML_RESTRICTED, "a processing instruction");
    if (p[-1] != '?')
        return xml_read_malformed(s, p, "a malformed XML declaration");
    enum xml_error e = check_declaration((slice){ in.ptr + 3, in.len - 4 });
    if (e == XML_BAD_ENCODING)
        return xml_state_fail(s, p, e, "an encoding other than UTF-8");
    if (e != XML_OK)
        return xml_read_malformed(s, p, "a malformed XML declaration");
    s->mode = XML_AT_UNIT;
    return p + 1;
}

static const char *xml_read_step(struct xml_state *s, const char *p)
{
    switch (s->mode) {
    case XML_AT_UNIT:
        return at_unit(s, p);
    case XML_IN_DECLARATION:
        return in_declaration(s, p);
    case XML_AT_MARKUP:
        return at_markup(s, p);
    case XML_IN_TAG_NAME:
        return in_tag_name(s, p);
    case XML_IN_TAG:
        return in_tag(s, p);
    case XML_IN_ATTR_NAME:
        return in_attr_name(s, p);
    case XML_AT_EQUALS:
        return at_equals(s, p);
    case XML_AT_QUOTE:
        return at_quote(s, p);
    case XML_IN_ATTR_VALUE:
        return in_attr_value(s, p);
    case XML_AT_EMPTY_END:
        return at_empty_end(s, p);
    case XML_IN_CONTENT:
        return in_content(s, p);
    case XML_IN_REF:
        return in_ref(s, p);
    case XML_IN_BANG:
        return in_bang(s, p);
    case XML_IN_CDATA:
        return in_cdata(s, p);
    case XML_IN_END_NAME:
        return in_end_name(s, p);
    case XML_AT_END_CLOSE:
        return at_end_close(s, p);
    case XML_UNIT_DONE:
    case XML_UNIT_FAILED:
        break;
    }
    return stop(s, p);
}

/* Reads on from s->pos in `text`, which begins with the unit. */
static void xml_read_run(struct xml_state *s, slice text)
{
    size_t seen = text.len < s->limits.unit_bytes ? text.len : s->limits.unit_bytes;
    ensure(s->pos <= text.len); /* the caller keeps the bytes of an unfinished unit */
    s->unit = text.ptr;
    s->end = s->unit + seen;
    const char *p = s->unit + s->pos;
    while (p < s->end)
        p = xml_read_step(s, p);
    s->pos = offset(s, p);
    if (s->mode < XML_UNIT_DONE && text.len >= s->limits.unit_bytes)
        xml_state_fail(s, p, XML_TOO_BIG, "a stanza is too long");
}

static void begin_unit(struct xml_work *w, enum xml_kind kind)
{
    struct xml_state *s = w->state;
    memset(s, 0, offsetof(struct xml_state, open));
    s->kind = kind;
    w->root = (struct xml_root){ .attr_count = 0 };
}

struct part {
    void *ptr;
    size_t bytes;
};
enum { FIXED_PARTS = 2, PARTS = 7 };

/* The used parts of the working state. The lengths of the parts after FIXED_PARTS follow from
 * it. */
static size_t list_parts(struct xml_work *w, struct part part[PARTS])
{
    struct xml_state *s = w->state;
    size_t tag = s->attr_count + 1U; /* and the unfinished one */
    tag = tag < XML_ROOT_ATTRS_MAX ? tag : XML_ROOT_ATTRS_MAX;
    size_t root = w->root.attr_count > tag ? w->root.attr_count : tag;
    part[0] = (struct part){ s, offsetof(struct xml_state, open) };
    part[1] = (struct part){ &w->root, sizeof w->root };
    part[2] = (struct part){ s->open, s->depth * sizeof s->open[0] };
    part[3] = (struct part){ s->binding, s->binding_count * sizeof s->binding[0] };
    part[4] = (struct part){ w->attr, root * sizeof w->attr[0] };
    part[5] = (struct part){ s->inner, s->depth > 1 ? tag * sizeof s->inner[0] : 0 };
    part[6] = (struct part){ w->child, w->root.child_count * sizeof w->child[0] };
    size_t bytes = 0;
    for (size_t i = 0; i < PARTS; i++)
        bytes += part[i].bytes;
    return bytes;
}

static void park(struct xml_reader *r, struct xml_work *w)
{
    struct part part[PARTS];
    size_t bytes = list_parts(w, part);
    if (r->parked == NULL || r->parked->cap < bytes) {
        mem_free(&r->parked);
        r->parked = mem_alloc(sizeof *r->parked + bytes);
        r->parked->cap = bytes;
    }
    char *to = r->parked->bytes;
    for (size_t i = 0; i < PARTS; to += part[i].bytes, i++)
        memcpy(to, part[i].ptr, part[i].bytes);
}

static void unpark(const struct xml_reader *r, struct xml_work *w)
{
    struct part part[PARTS];
    const char *from = r->parked->bytes;
    list_parts(w, part);
    for (size_t i = 0; i < PARTS; from += part[i].bytes, i++) {
        if (i == FIXED_PARTS)
            list_parts(w, part);
        memcpy(part[i].ptr, from, part[i].bytes);
    }
}

static struct xml_limits clamp(const struct xml_limits *limits)
{
    struct xml_limits l = limits == NULL ? default_limits : *limits;
    l.depth = l.depth < XML_DEPTH_MAX ? l.depth : XML_DEPTH_MAX;
    l.attrs = l.attrs < XML_ROOT_ATTRS_MAX ? l.attrs : XML_ROOT_ATTRS_MAX;
    if (l.bindings == 0)
        l.bindings = XML_BINDINGS_MAX;
    if (l.children == 0 || l.children > XML_CHILDREN_MAX)
        l.children = XML_CHILDREN_MAX;
    return l;
}

struct xml_work *xml_work_create(void)
{
    struct xml_work *w = mem_new(struct xml_work);
    w->state = mem_new(struct xml_state);
    w->state->work = w;
    return w;
}

void xml_work_destroy(struct xml_work **w)
{
    if (*w == NULL)
        return;
    mem_free(&(*w)->state);
    mem_free(w);
}

void xml_reader_init(struct xml_reader *r, const struct xml_limits *limits)
{
    *r = (struct xml_reader){ .limits = clamp(limits) };
}

void xml_reader_fini(struct xml_reader *r) { xml_reader_restart(r); }

void xml_reader_restart(struct xml_reader *r)
{
    mem_free(&r->parked);
    xml_ns_drop_stream(&r->stream);
    r->error = XML_OK;
    r->what = NULL;
}

void xml_reader_set_limits(struct xml_reader *r, const struct xml_limits *limits)
{
    r->limits = clamp(limits);
}

static enum xml_unit xml_read_fail(struct xml_reader *r, enum xml_error e, const char *what)
{
    mem_free(&r->parked);
    r->error = e;
    r->what = what;
    return XML_ERROR;
}

static enum xml_unit xml_read_finish(struct xml_reader *r, const struct xml_state *s)
{
    mem_free(&r->parked);
    if (s->kind == XML_KIND_HEADER) {
        const char *wrong = xml_ns_keep_stream(s, &r->stream);
        return wrong == NULL ? XML_STREAM : xml_read_fail(r, XML_TOO_BIG, wrong);
    }
    if (s->work->root.start_tag.len > 0)
        return XML_STANZA;
    r->error = XML_NOT_WELL_FORMED; /* of whatever follows; the unit itself is fine */
    r->what = "data behind the end of the stream";
    return XML_END;
}

enum xml_unit xml_read(struct xml_reader *r, struct xml_work *w, slice buf, size_t *used)
{
    *used = 0;
    if (r->error != XML_OK)
        return XML_ERROR;
    if (buf.len == 0)
        return XML_MORE;
    if (r->parked != NULL) {
        unpark(r, w);
    } else {
        *used = (size_t)(xml_skip_white(buf.ptr, buf.ptr + buf.len) - buf.ptr);
        if (*used > 0)
            return XML_SPACE;
        begin_unit(w, r->stream == NULL ? XML_KIND_HEADER : XML_KIND_STANZA);
    }

    struct xml_state *s = w->state;
    s->limits = r->limits;
    s->stream = r->stream;
    s->outer_ns = xml_ns_stream_default(r->stream);
    xml_read_run(s, buf);
    if (s->mode == XML_UNIT_FAILED)
        return xml_read_fail(r, s->error, s->what);
    if (s->mode != XML_UNIT_DONE) {
        park(r, w);
        return XML_MORE;
    }
    enum xml_unit unit = xml_read_finish(r, s);
    *used = unit == XML_ERROR ? 0 : s->pos;
    return unit;
}

enum err xml_read_element(struct xml_work *w, slice text, slice default_ns,
                          const struct xml_limits *limits)
{
    struct xml_state *s = w->state;
    begin_unit(w, XML_KIND_ELEMENT);
    s->limits = clamp(limits);
    s->stream = NULL;
    s->outer_ns = default_ns;
    xml_read_run(s, text);
    if (s->mode == XML_UNIT_FAILED)
        return s->error == XML_TOO_BIG ? E_LIMIT : E_SYNTAX;
    const char *end = text.ptr + text.len;
    if (s->mode != XML_UNIT_DONE || xml_skip_white(text.ptr + s->pos, end) != end)
        return E_SYNTAX;
    return OK;
}

slice xml_stream_default_ns(const struct xml_reader *r) { return xml_ns_stream_default(r->stream); }

slice xml_stream_prefix(const struct xml_reader *r, unsigned i, slice *ns)
{
    return xml_ns_stream_prefix(r->stream, i, ns);
}

slice xml_ns(const struct xml_reader *r, slice unit, uint8_t ns_stream, struct xml_span ns)
{
    slice name = xml_at(unit, ns);
    if (ns_stream == XML_NS_XML)
        return SLICE("http://www.w3.org/XML/1998/namespace");
    if (ns_stream == XML_NS_STREAM)
        return xml_stream_default_ns(r);
    if (ns_stream >= XML_NS_STREAM_PREFIX)
        xml_stream_prefix(r, ns_stream - (unsigned)XML_NS_STREAM_PREFIX, &name);
    return name;
}

const char *xml_error_name(enum xml_error e)
{
    static const char *const name[] = {
        [XML_OK] = "ok",
        [XML_NOT_WELL_FORMED] = "not-well-formed",
        [XML_RESTRICTED] = "restricted-xml",
        [XML_BAD_UTF8] = "bad-utf8",
        [XML_BAD_ENCODING] = "unsupported-encoding",
        [XML_BAD_NAMESPACE] = "bad-namespace",
        [XML_TOO_BIG] = "too-big",
    };
    return name[e];
}
