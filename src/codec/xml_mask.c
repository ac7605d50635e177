#include "codec/xml_mask.h"
#include "base/buf.h"

#define CDATA_BEGIN SLICE("<![CDATA[")
#define CDATA_END   SLICE("]]>")

/* Where `what` begins in s; s.len: nowhere. */
static size_t mask_find(slice s, slice what)
{
    size_t at = 0;
    while (at < s.len && !slice_starts(slice_from(s, at), what))
        at++;
    return at;
}

static size_t mask_find_char(slice s, char c)
{
    const char *at = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;
    return at == NULL ? s.len : (size_t)(at - s.ptr);
}

static void mask_value(struct buf *out, size_t len)
{
    if (len > 0)
        buf_printf(out, "[%zu]", len);
}

static bool mask_shows_attr(slice name)
{
    /* not `name`: that is what a user calls a contact, a room or a bookmark */
    static const char *const shown[] = { "id",  "type",     "to", "from",  "jid", "node",
                                         "var", "xml:lang", "h",  "stamp", "by" };
    if (slice_is(name, "xmlns") || slice_starts(name, SLICE("xmlns:")))
        return true;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        if (slice_is(name, shown[i]))
            return true;
    return false;
}

static bool is_name_end(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '/' || c == '>' || c == '=';
}

static slice mask_name(slice s)
{
    size_t len = 0;
    while (len < s.len && !is_name_end(s.ptr[len]))
        len++;
    return (slice){ s.ptr, len };
}

/* A tag, which begins with '<': returns its length. */
static size_t mask_tag(struct buf *out, slice xml)
{
    size_t at = 1;
    slice name = { 0 };
    buf_lit(out, "<");
    while (at < xml.len && xml.ptr[at] != '>') {
        char c = xml.ptr[at];
        slice rest = slice_from(xml, at + 1);
        if (c == '\'' || c == '"') {
            size_t len = mask_find_char(rest, c);
            buf_append(out, &c, 1);
            if (mask_shows_attr(name))
                buf_append(out, rest.ptr, len);
            else
                mask_value(out, len);
            if (len < rest.len)
                buf_append(out, &c, 1);
            at += 1 + len + (len < rest.len ? 1 : 0);
        } else if (is_name_end(c)) {
            buf_append(out, &c, 1);
            at++;
        } else {
            name = mask_name(slice_from(xml, at));
            buf_add(out, name);
            at += name.len;
        }
    }
    if (at < xml.len)
        buf_lit(out, ">");
    return at < xml.len ? at + 1 : at;
}

/* Text up to the next tag, with CDATA sections (XML 1.0 §2.7): its length. */
static size_t mask_text_len(slice xml)
{
    size_t at = 0;
    while (at < xml.len) {
        slice rest = slice_from(xml, at);
        if (slice_starts(rest, CDATA_BEGIN)) {
            size_t end = mask_find(rest, CDATA_END);
            at += end < rest.len ? end + CDATA_END.len : end;
        } else if (rest.ptr[0] == '<') {
            break;
        } else {
            at++;
        }
    }
    return at;
}

void xml_mask(struct buf *out, slice xml, enum xml_mask how)
{
    slice inner = { 0 }; /* name of the tag before the text */
    while (xml.len > 0) {
        size_t text = mask_text_len(xml);
        if (how == XML_MASK_BUT_BODIES && (slice_is(inner, "body") || slice_is(inner, "subject")))
            buf_append(out, xml.ptr, text);
        else
            mask_value(out, text);
        xml = slice_from(xml, text);
        if (xml.len == 0)
            return;
        inner = mask_name(slice_from(xml, 1));
        xml = slice_from(xml, mask_tag(out, xml));
    }
}
