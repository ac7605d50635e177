#include "codec/pie.h"
#include "base/ensure.h"

enum tag_kind { TAG_NONE, TAG_START, TAG_EMPTY, TAG_CLOSE, TAG_SKIP, TAG_BAD };

struct tag {
    enum tag_kind kind;
    slice whole, name; /* name: local */
};

void pie_init(struct pie *p, const struct pie *outer)
{
    *p = (struct pie){ .ns = NS_PIE };
    if (outer == NULL)
        return;
    memcpy(p->host, outer->host, sizeof p->host);
    memcpy(p->ns, outer->ns, sizeof p->ns);
    p->openfire = outer->openfire;
}

static bool pie_is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Behind `end`; ptr NULL: it is not there. */
static const char *behind(slice s, slice end)
{
    const char *at = s.len >= end.len ? memmem(s.ptr, s.len, end.ptr, end.len) : NULL;
    return at == NULL ? NULL : at + end.len;
}

/* The end of a tag, outside of quotes. */
static const char *pie_tag_end(slice s)
{
    char quote = '\0';
    for (size_t i = 1; i < s.len; i++) {
        if (quote != '\0')
            quote = s.ptr[i] == quote ? '\0' : quote;
        else if (s.ptr[i] == '"' || s.ptr[i] == '\'')
            quote = s.ptr[i];
        else if (s.ptr[i] == '>')
            return s.ptr + i + 1;
    }
    return NULL;
}

static slice local_name(slice tag)
{
    size_t from = tag.ptr[1] == '/' ? 2 : 1, to = from;
    while (to < tag.len && !pie_is_space(tag.ptr[to]) && tag.ptr[to] != '>' && tag.ptr[to] != '/')
        to++;
    slice name = { tag.ptr + from, to - from }, head, tail;
    return slice_cut(name, ':', &head, &tail) ? tail : name;
}

/* What begins at `<`. TAG_NONE: it is not complete. */
static struct tag tag_at(slice s)
{
    struct tag t = { .kind = TAG_NONE };
    const char *end;
    static const struct {
        slice begin, end;
    } skipped[] = { { SLICE_INIT("<!--"), SLICE_INIT("-->") },
                    { SLICE_INIT("<![CDATA["), SLICE_INIT("]]>") },
                    { SLICE_INIT("<?"), SLICE_INIT("?>") } };
    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++) {
        slice begin = skipped[i].begin;
        if (s.len < begin.len && memcmp(s.ptr, begin.ptr, s.len) == 0)
            return t;
        if (!slice_starts(s, begin))
            continue;
        end = behind(slice_from(s, begin.len), skipped[i].end);
        if (end != NULL)
            t = (struct tag){ TAG_SKIP, { s.ptr, (size_t)(end - s.ptr) }, { 0 } };
        return t;
    }
    if (s.len > 1 && s.ptr[1] == '!')
        return (struct tag){ .kind = TAG_BAD }; /* a DTD: RFC 6120 §11.1 */
    end = pie_tag_end(s);
    if (end == NULL)
        return t;
    t.whole = (slice){ s.ptr, (size_t)(end - s.ptr) };
    t.name = local_name(t.whole);
    t.kind = s.ptr[1] == '/' ? TAG_CLOSE : end[-2] == '/' ? TAG_EMPTY : TAG_START;
    if (t.name.len == 0)
        t.kind = TAG_BAD;
    return t;
}

/* The whole element that begins with this tag; len 0: it is not complete. */
static slice element_at(slice s, const struct tag *first)
{
    size_t at = first->whole.len, depth = 1;
    ensure(at > 0 && at <= s.len);
    if (first->kind == TAG_EMPTY)
        return first->whole;
    while (at < s.len) {
        const char *next = memchr(s.ptr + at, '<', s.len - at);
        if (next == NULL)
            break;
        at = (size_t)(next - s.ptr);
        struct tag t = tag_at(slice_from(s, at));
        if (t.kind == TAG_NONE || t.kind == TAG_BAD)
            return (slice){ t.kind == TAG_BAD ? s.ptr : NULL, 0 };
        at += t.whole.len;
        depth = depth + (t.kind == TAG_START) - (t.kind == TAG_CLOSE);
        if (depth == 0)
            return (slice){ s.ptr, at };
    }
    return (slice){ 0 };
}

/* The value of an attribute without prefix, as written. */
slice pie_attr(slice tag, slice name)
{
    for (size_t i = 1; i + name.len + 2 < tag.len; i++) {
        if (tag.ptr[i] == '"' || tag.ptr[i] == '\'') {
            const char *end = memchr(tag.ptr + i + 1, tag.ptr[i], tag.len - i - 1);
            if (end == NULL)
                break;
            i = (size_t)(end - tag.ptr);
            continue;
        }
        if (!pie_is_space(tag.ptr[i]) || !slice_starts(slice_from(tag, i + 1), name))
            continue;
        size_t at = i + 1 + name.len;
        while (at < tag.len && (pie_is_space(tag.ptr[at]) || tag.ptr[at] == '='))
            at++;
        if (at >= tag.len || (tag.ptr[at] != '"' && tag.ptr[at] != '\''))
            continue;
        const char *end = memchr(tag.ptr + at + 1, tag.ptr[at], tag.len - at - 1);
        if (end != NULL)
            return (slice){ tag.ptr + at + 1, (size_t)(end - tag.ptr) - at - 1 };
    }
    return (slice){ 0 };
}

static bool keep(char *out, size_t cap, slice value)
{
    if (value.len >= cap)
        return false;
    if (value.len > 0)
        memcpy(out, value.ptr, value.len);
    out[value.len] = '\0';
    return true;
}

static enum pie_unit pie_fail(struct pie *p, const char *what)
{
    why_set(&p->why, "%s", what);
    return PIE_ERROR;
}

/* RFC 6120 §11.6: UTF-8 alone. The declaration names another encoding; p->why says so. */
static bool is_encoded_otherwise(struct pie *p, slice declaration)
{
    slice encoding = pie_attr(declaration, SLICE("encoding"));
    bool fine = encoding.len == 0 || slice_eq_nocase(encoding, SLICE("UTF-8")) ||
                slice_eq_nocase(encoding, SLICE("US-ASCII"));
    if (fine)
        return false;
    encoding.len = encoding.len < 40 ? encoding.len : 40;
    why_set(
        &p->why,
        "the file is in %.*s, but only UTF-8 is read: convert it with `iconv -f %.*s -t UTF-8`, "
        "and write UTF-8 in its first line",
        SLICE_ARG(encoding), SLICE_ARG(encoding));
    return true;
}

/* With or without a byte order mark. */
static bool is_utf16(slice s)
{
    return s.len >= 2 && (memcmp(s.ptr, "\xff\xfe", 2) == 0 || memcmp(s.ptr, "\xfe\xff", 2) == 0 ||
                          memcmp(s.ptr, "<\0", 2) == 0 || memcmp(s.ptr, "\0<", 2) == 0);
}

/* An element of the format with a prefix, or in another namespace; p->why says so. */
static bool named_wrongly(struct pie *p, const struct tag *t)
{
    slice ns = pie_attr(t->whole, SLICE("xmlns"));
    slice name = slice_from(t->whole, 1); /* with its prefix */
    name.len = (size_t)(t->name.ptr + t->name.len - name.ptr);
    if (name.len > t->name.len)
        why_set(&p->why,
                "found <%.*s> with a prefix, which is not read: write the elements of XEP-0227 "
                "without prefixes, with xmlns='" NS_PIE "'",
                (int)(name.len < 60 ? name.len : 60), name.ptr);
    else if (ns.len > 0 && !slice_is(ns, NS_PIE) && !slice_is(ns, NS_PIE_OLD))
        why_set(&p->why, "found the namespace \"%.*s\" of <%.*s>, expected " NS_PIE,
                (int)(ns.len < 100 ? ns.len : 100), ns.ptr, SLICE_ARG(t->name));
    else
        return false;
    return true;
}

/* A start tag above users. */
static enum pie_unit enter(struct pie *p, const struct tag *t)
{
    slice ns = pie_attr(t->whole, SLICE("xmlns"));
    bool host = slice_is(t->name, "host") || slice_is(t->name, "Openfire");
    ensure(p->depth < 2 && !p->over);
    if (ns.len > 0 && !keep(p->ns, sizeof p->ns, ns))
        return pie_fail(p, "the namespace of the root is none of XEP-0227");
    if (host && !keep(p->host, sizeof p->host, pie_attr(t->whole, SLICE("jid"))))
        return pie_fail(p, "the jid of a host is too long");
    p->host_is_root = p->depth == 0 && host;
    p->depth = host ? 2 : 1;
    if (t->kind == TAG_EMPTY) {
        p->over = p->depth == 1 || p->host_is_root;
        p->depth = p->over ? 0 : 1;
    }
    return PIE_MORE;
}

static enum pie_unit leave(struct pie *p)
{
    if (p->depth == 0)
        return pie_fail(p, "an element ends that has not begun");
    p->over = p->depth == 1 || p->host_is_root;
    p->depth--;
    return PIE_MORE;
}

/* PIE_MORE with `used` beyond 0: go on. */
static enum pie_unit pie_tag(struct pie *p, slice s, const struct tag *t, size_t *used, slice *unit)
{
    bool above = p->depth == 0 ? slice_is(t->name, "server-data") || slice_is(t->name, "host") ||
                                     (p->openfire && slice_is(t->name, "Openfire"))
                               : p->depth == 1 && slice_is(t->name, "host");
    if (t->kind == TAG_CLOSE || above) {
        *used = t->whole.len;
        if (t->kind == TAG_CLOSE)
            return leave(p);
        return named_wrongly(p, t) ? PIE_ERROR : enter(p, t);
    }
    bool user =
        p->depth != 1 && (slice_is(t->name, "user") || (p->openfire && slice_is(t->name, "User")));
    if (p->depth == 0 && !user)
        return pie_fail(p, p->openfire
                               ? "the root is no <Openfire/>, and none of XEP-0227"
                               : "the root is no <server-data/>, <host/> or <user/> (XEP-0227)");
    if (user && named_wrongly(p, t))
        return PIE_ERROR;
    slice whole = element_at(s, t);
    if (whole.len == 0 && whole.ptr != NULL)
        return pie_fail(p, "an element has a part that XMPP does not know");
    if (whole.len == 0)
        return PIE_MORE;
    *used = whole.len;
    p->over = p->depth == 0;
    *unit = user ? whole : t->name;
    if (user)
        return PIE_USER;
    if (!slice_is(t->name, "include"))
        return PIE_OTHER;
    *unit = pie_attr(t->whole, SLICE("href"));
    return PIE_INCLUDE;
}

enum pie_unit pie_next(struct pie *p, slice buf, bool last, size_t *used, slice *unit)
{
    *used = 0;
    *unit = (slice){ 0 };
    if (!p->begun && buf.len < 2 && !last)
        return PIE_MORE;
    if (!p->begun && is_utf16(buf))
        return pie_fail(p, "the file is in UTF-16, but only UTF-8 is read: convert it with `iconv "
                           "-f UTF-16 -t UTF-8`, and write UTF-8 in its first line");
    p->begun = true;
    for (;;) {
        ensure(*used <= buf.len);
        slice s = slice_from(buf, *used);
        const char *at = s.len > 0 && !p->over ? memchr(s.ptr, '<', s.len) : NULL;
        if (p->over)
            return PIE_END;
        if (at == NULL) {
            *used = buf.len;
            return last ? pie_fail(p, "the file ends before its root") : PIE_MORE;
        }
        *used += (size_t)(at - s.ptr);
        s = slice_from(buf, *used);
        struct tag t = tag_at(s);
        size_t step = 0;
        enum pie_unit u = PIE_MORE;
        if (t.kind == TAG_BAD)
            return pie_fail(p, "found a document type or a tag without name");
        if (t.kind == TAG_SKIP && p->depth == 0 && slice_starts(t.whole, SLICE("<?xml ")) &&
            is_encoded_otherwise(p, t.whole))
            return PIE_ERROR;
        if (t.kind == TAG_SKIP)
            step = t.whole.len;
        else if (t.kind != TAG_NONE)
            u = pie_tag(p, s, &t, &step, unit);
        *used += step;
        if (u != PIE_MORE)
            return u;
        if (step > 0)
            continue;
        if (last)
            return pie_fail(p, "the file ends within an element");
        return s.len > PIE_ELEMENT_MAX ? pie_fail(p, "an element has more than 128 MiB") : PIE_MORE;
    }
}
