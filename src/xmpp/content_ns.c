#include "xmpp/content_ns.h"
#include "xmpp/ns.h"

static bool content_is_white(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Behind "<name" of the start tag at `at`. */
static size_t tag_attrs(slice text, size_t at)
{
    while (at < text.len && !content_is_white(text.ptr[at]) && text.ptr[at] != '>' &&
           text.ptr[at] != '/')
        at++;
    return at;
}

/* The next attribute of the tag; `at` goes behind it. false: `at` is at the end of the tag. */
static bool tag_attr(slice text, size_t *at, slice *name, slice *value)
{
    size_t i = *at;
    while (i < text.len && content_is_white(text.ptr[i]))
        i++;
    *at = i;
    if (i == text.len || text.ptr[i] == '>' || text.ptr[i] == '/')
        return false;
    *name = (slice){ text.ptr + i, 0 };
    for (; i < text.len && text.ptr[i] != '=' && !content_is_white(text.ptr[i]); i++)
        name->len++;
    while (i < text.len && text.ptr[i] != '"' && text.ptr[i] != '\'')
        i++;
    if (i == text.len)
        return false;
    const char *end = memchr(text.ptr + i + 1, text.ptr[i], text.len - i - 1);
    if (end == NULL)
        return false;
    *value = (slice){ text.ptr + i + 1, (size_t)(end - text.ptr) - i - 1 };
    *at = (size_t)(end + 1 - text.ptr);
    return true;
}

struct content_cut content_prefix(slice unit, const struct xml_child *child)
{
    struct content_cut cut = { .start = { 0, 0 } };
    slice whole = xml_at(unit, child->whole), name, value;
    uint32_t len = child->name.at - child->whole.at - 1;
    if (len == 0)
        return cut;
    for (size_t at = tag_attrs(whole, 0); tag_attr(whole, &at, &name, &value);)
        if (slice_is(name, "xmlns"))
            return cut;
    cut.start = (struct xml_span){ child->whole.at + 1, len };
    const char *last = memrchr(whole.ptr, '<', whole.len);
    if (last != whole.ptr) /* else it is <x/> */
        cut.end = (struct xml_span){ (uint32_t)(last + 2 - unit.ptr), len };
    return cut;
}

void content_from_server(char *text, size_t len)
{
    static const slice cdata = SLICE_INIT("<![CDATA[");
    _Static_assert(sizeof NS_SERVER == sizeof NS_CLIENT, "written in place");
    slice all = { text, len }, name, value;
    if (memmem(text, len, NS_SERVER, sizeof NS_SERVER - 1) == NULL)
        return;
    for (size_t at = 0; at < len;) {
        const char *tag = memchr(text + at, '<', len - at);
        if (tag == NULL)
            return;
        at = (size_t)(tag - text);
        if (slice_starts(slice_from(all, at), cdata)) {
            const char *end = memmem(tag, len - at, "]]>", 3);
            at = end == NULL ? len : (size_t)(end + 3 - text);
            continue;
        }
        at++;
        if (at < len && text[at] == '/')
            continue;
        for (at = tag_attrs(all, at); tag_attr(all, &at, &name, &value);)
            if (slice_is(value, NS_SERVER) &&
                (slice_is(name, "xmlns") || slice_starts(name, SLICE("xmlns:"))))
                memcpy(text + (value.ptr - text), NS_CLIENT, sizeof NS_CLIENT - 1);
    }
}
