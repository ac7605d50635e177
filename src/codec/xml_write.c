#include "codec/xml_write.h"
#include "base/utf8.h"
#include "codec/xml_char.h"

enum { IN_TEXT = 1, IN_ATTR = 2 };

static const struct {
    uint8_t len; /* at most 6 */
    char text[7];
} escapes[256] = {
    ['&'] = { 5, "&amp;" },
    ['<'] = { 4, "&lt;" },
    ['>'] = { 4, "&gt;" },
    ['\''] = { 6, "&apos;" },
    ['"'] = { 6, "&quot;" },
    /* readers would make line feeds of the first and spaces of all three (XML 1.0 §2.11, §3.3.3) */
    ['\r'] = { 5, "&#13;" },
    ['\n'] = { 5, "&#10;" },
    ['\t'] = { 4, "&#9;" },
};
/* Where each is escaped. */
static const uint8_t escaped[256] = {
    ['&'] = IN_TEXT | IN_ATTR,  ['<'] = IN_TEXT | IN_ATTR, ['>'] = IN_TEXT | IN_ATTR,
    ['\''] = IN_TEXT | IN_ATTR, ['"'] = IN_TEXT | IN_ATTR, ['\r'] = IN_TEXT | IN_ATTR,
    ['\n'] = IN_ATTR,           ['\t'] = IN_ATTR,
};

/* How many of the first bytes need no escape. */
static size_t plain_len(slice text, uint8_t where)
{
    size_t i = 0;
    while (i < text.len && (escaped[(uint8_t)text.ptr[i]] & where) == 0)
        i++;
    return i;
}

/* The same, and copies them. */
static inline size_t copy_plain(char *to, slice text, uint8_t where)
{
    size_t i = 0;
    for (; i < text.len && (escaped[(uint8_t)text.ptr[i]] & where) == 0; i++)
        to[i] = text.ptr[i];
    return i;
}

static void write_escaped(struct buf *out, slice text, uint8_t where)
{
    for (size_t plain; (plain = plain_len(text, where)) < text.len;
         text = slice_from(text, plain + 1)) {
        uint8_t c = (uint8_t)text.ptr[plain];
        buf_append(out, text.ptr, plain);
        buf_append(out, escapes[c].text, escapes[c].len);
    }
    buf_add(out, text);
}

bool xml_needs_escape(slice text) { return plain_len(text, IN_ATTR) < text.len; }

void xml_escape(struct buf *out, slice text) { write_escaped(out, text, IN_ATTR); }

bool xml_is_text(slice text)
{
    while (text.len > 0) {
        uint32_t cp;
        int bytes = utf8_decode(text, &cp);
        if (bytes <= 0 || !xml_char(cp))
            return false;
        text = slice_from(text, (size_t)bytes);
    }
    return true;
}

void xml_escape_clean(struct buf *out, slice text)
{
    while (text.len > 0) {
        uint32_t cp;
        int bytes = utf8_decode(text, &cp);
        size_t len = bytes > 0 ? (size_t)bytes : 1;
        if (bytes > 0 && xml_char(cp))
            write_escaped(out, (slice){ text.ptr, len }, IN_TEXT);
        text = slice_from(text, len);
    }
}

static inline char *write_room(struct buf *out, size_t bytes)
{
    if (bytes <= out->cap - out->len && !out->overflow && out->ptr != NULL)
        return out->ptr + out->len;
    return buf_reserve(out, bytes);
}

void xml_open_sized(struct xml_write *x, slice name, slice ns)
{
    static const slice xmlns = SLICE_INIT(" xmlns='");
    ensure(x->depth < XML_WRITE_DEPTH_MAX && name.len > 0);
    ensure_debug(!xml_needs_escape(ns));
    x->name[x->depth] = name.ptr;
    x->name_len[x->depth++] = name.len;
    char *at = write_room(x->out, name.len + xmlns.len + ns.len + 3), *begin = at;
    if (at == NULL)
        return;
    if (x->in_tag)
        *at++ = '>';
    *at++ = '<';
    slice_lay(&at, name);
    if (ns.len > 0) {
        slice_lay(&at, xmlns);
        slice_lay(&at, ns);
        *at++ = '\'';
    }
    x->out->len += (size_t)(at - begin);
    x->in_tag = true;
}

void xml_close(struct xml_write *x)
{
    ensure(x->depth > 0);
    slice name = { x->name[--x->depth], x->name_len[x->depth] };
    char *at = write_room(x->out, name.len + 3), *begin = at;
    if (at == NULL)
        return;
    if (x->in_tag) {
        *at++ = '/';
    } else {
        *at++ = '<';
        *at++ = '/';
        slice_lay(&at, name);
    }
    *at++ = '>';
    x->out->len += (size_t)(at - begin);
    x->in_tag = false;
}

void xml_close_all(struct xml_write *x)
{
    while (x->depth > 0)
        xml_close(x);
}

void xml_attr_sized(struct xml_write *x, slice name, slice value)
{
    struct buf *out = x->out;
    char *at = write_room(out, name.len + value.len + 4), *begin = at;
    if (at == NULL)
        return;
    ensure(x->in_tag);
    *at++ = ' ';
    slice_lay(&at, name);
    *at++ = '=';
    *at++ = '\'';
    size_t plain = copy_plain(at, value, IN_ATTR);
    at += plain;
    if (plain == value.len)
        *at++ = '\'';
    out->len += (size_t)(at - begin);
    if (plain < value.len) {
        write_escaped(out, slice_from(value, plain), IN_ATTR);
        buf_lit(out, "'");
    }
}

void xml_attr_some(struct xml_write *x, const char *name, slice value)
{
    if (value.len > 0)
        xml_attr(x, name, value);
}

/* Returns the digits. */
static slice number(char text[24], int64_t value)
{
    struct buf digits = { .ptr = text, .cap = 24, .max = 24 };
    buf_int(&digits, value);
    return buf_slice(&digits);
}

void xml_attr_int(struct xml_write *x, const char *name, int64_t value)
{
    char text[24];
    xml_attr(x, name, number(text, value));
}

void xml_text(struct xml_write *x, slice text) { write_escaped(xml_content(x), text, IN_TEXT); }

void xml_text_clean(struct xml_write *x, slice text) { xml_escape_clean(xml_content(x), text); }

void xml_raw(struct xml_write *x, slice xml) { buf_add(xml_content(x), xml); }

void xml_element(struct xml_write *x, const char *name, slice text)
{
    xml_open(x, name, NULL);
    if (text.len > 0)
        xml_text(x, text);
    xml_close(x);
}

void xml_element_some(struct xml_write *x, const char *name, slice text)
{
    if (text.len > 0)
        xml_element(x, name, text);
}

void xml_element_int(struct xml_write *x, const char *name, int64_t value)
{
    char text[24];
    xml_element(x, name, number(text, value));
}

void xml_empty(struct xml_write *x, const char *name, const char *ns)
{
    xml_open(x, name, ns);
    xml_close(x);
}
