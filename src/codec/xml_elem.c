#include "codec/xml_elem.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/utf8.h"
#include "codec/xml_char.h"
#include <stdatomic.h>

#define NS_XML "http://www.w3.org/XML/1998/namespace"

static slice between(const char *from, const char *to)
{
    return (slice){ from, (size_t)(to - from) };
}
static const char *xml_elem_end_of(slice s) { return s.ptr + s.len; }

/* To the first `c`; NULL: there is none. */
static const char *xml_elem_find(const char *p, const char *end, char c)
{
    return p < end ? memchr(p, c, (size_t)(end - p)) : NULL;
}

/* Behind the '>' of the tag that begins at p. A '>' between quotes does not end it. */
static const char *tag_end(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '>')
            return p + 1;
        if (*p != '"' && *p != '\'')
            continue;
        p = xml_elem_find(p + 1, end, *p);
        if (p == NULL)
            return NULL;
    }
    return NULL;
}

/* The CDATA section that begins at p; false: none does, or it does not end. */
static bool cdata_at(const char *p, const char *end, slice *inside, const char **behind)
{
    slice opening = SLICE("<![CDATA["), text = between(p, end);
    if (!slice_starts(text, opening))
        return false;
    p += opening.len;
    const char *close = memmem(p, (size_t)(end - p), "]]>", 3);
    if (close == NULL)
        return false;
    *inside = between(p, close);
    *behind = close + 3;
    return true;
}

static bool begins_element(const char *p, const char *end)
{
    return end - p >= 3 && *p == '<' && (xml_is(p[1], XML_NAME_START) || xml_high(p[1]));
}

/* Behind the content that begins at p, at its end tag. */
static const char *content_end(const char *p, const char *end)
{
    for (size_t open = 0; (p = xml_elem_find(p, end, '<')) != NULL;) {
        const char *markup = p;
        slice inside;
        if (end - p >= 2 && p[1] == '/') {
            if (open-- == 0)
                return markup;
            p = tag_end(p, end);
        } else if (begins_element(p, end)) {
            p = tag_end(p, end);
            open += p != NULL && p[-2] != '/';
        } else if (!cdata_at(p, end, &inside, &p)) {
            return NULL;
        }
        if (p == NULL)
            return NULL;
    }
    return NULL;
}

/* The whole name of the tag that begins at p. */
static slice tag_name(const char *p, const char *end)
{
    const char *from = p + 1;
    for (p = from; p < end && (xml_is(*p, XML_NAME) || xml_high(*p) || *p == ':');)
        p++;
    return between(from, p);
}

struct attr {
    slice name, value;
};

/* Takes the attribute at *p, if there is another one. */
static bool xml_elem_take_attr(const char **p, const char *end, struct attr *out)
{
    const char *from = xml_skip_white(*p, end);
    if (from == end || *from == '/' || *from == '>')
        return false;
    const char *equals = xml_elem_find(from, end, '=');
    if (equals == NULL)
        return false;
    const char *name_end = equals;
    while (name_end > from && xml_is(name_end[-1], XML_WHITE))
        name_end--;
    const char *open = xml_skip_white(equals + 1, end);
    if (open == end || (*open != '"' && *open != '\''))
        return false;
    const char *close = xml_elem_find(open + 1, end, *open);
    if (close == NULL)
        return false;
    *out = (struct attr){ between(from, name_end), between(open + 1, close) };
    *p = close + 1;
    return true;
}

static const char *attrs_of(const struct elem *e) { return xml_elem_end_of(e->name); }

slice elem_attr_raw(const struct elem *e, const char *name)
{
    struct attr attr;
    for (const char *p = attrs_of(e);
         xml_elem_take_attr(&p, xml_elem_end_of(e->start_tag), &attr);) {
        if (slice_is(attr.name, name))
            return attr.value;
    }
    return (slice){ NULL, 0 };
}

/* The prefix that an attribute declares: empty for xmlns="". */
static bool is_declaration(slice name, slice *prefix)
{
    if (!slice_starts(name, SLICE("xmlns")) || (name.len > 5 && name.ptr[5] != ':'))
        return false;
    *prefix = slice_from(name, 6);
    return true;
}

static slice declaration_in(slice attrs, slice prefix)
{
    struct attr attr;
    slice declared;
    for (const char *p = attrs.ptr; xml_elem_take_attr(&p, xml_elem_end_of(attrs), &attr);) {
        if (is_declaration(attr.name, &declared) && slice_eq(declared, prefix))
            return attr.value;
    }
    return (slice){ NULL, 0 };
}

static slice own_declaration(const struct elem *e, slice prefix)
{
    return declaration_in(between(attrs_of(e), xml_elem_end_of(e->start_tag)), prefix);
}

/* The raw name that the prefix is bound to at `e`; ptr NULL: it is not declared. */
static slice xml_elem_resolve(const struct elem *e, slice prefix)
{
    if (slice_is(prefix, "xml"))
        return SLICE(NS_XML);
    for (;; e = e->parent) {
        slice name = own_declaration(e, prefix);
        if (name.ptr != NULL)
            return name;
        if (e->parent == NULL)
            break;
    }
    return e->outer.len > 0 ? declaration_in(e->outer, prefix) : (slice){ NULL, 0 };
}

/* A memory of namespaces that are declared around elements. Thousands of elements may stand below
 * hundreds of attributes, which would be read again for each. An entry belongs to one walk of one
 * text by one thread, and to one parent in it. */
enum { KNOWN_BITS = 9, KNOWN_TRIES = 4, KNOWN = (1 << KNOWN_BITS) + KNOWN_TRIES - 1 };
struct known_ns {
    uint64_t walk;
    const char *parent; /* where it begins */
    slice prefix, ns_uri;
};
static _Thread_local struct known_ns known[KNOWN];

/* A number that no other walk has. */
static uint64_t next_walk(void)
{
    static _Atomic uint64_t threads;
    static _Thread_local uint64_t last;
    if (last == 0)
        last = (atomic_fetch_add(&threads, 1) + 1) << 48;
    return ++last;
}

/* The same as xml_elem_resolve() of the parent. */
static slice resolve_around(const struct elem *parent, slice prefix)
{
    const char *at = parent->whole.ptr;
    uint64_t hash = (hash_keyed(prefix) ^ (uintptr_t)at) * 0x9e3779b97f4a7c15;
    struct known_ns *first = &known[hash >> (64 - KNOWN_BITS)], *free = first;
    for (struct known_ns *k = first; k < first + KNOWN_TRIES; k++) {
        if (k->walk != parent->walk)
            free = k;
        else if (k->parent == at && slice_eq(k->prefix, prefix))
            return k->ns_uri;
    }
    *free = (struct known_ns){ parent->walk, at, prefix, xml_elem_resolve(parent, prefix) };
    return free->ns_uri;
}

static slice namespace_of(const struct elem *e, slice prefix)
{
    slice own = own_declaration(e, prefix);
    if (own.ptr != NULL)
        return own;
    return e->walk == 0 || e->parent == NULL ? xml_elem_resolve(e, prefix)
                                             : resolve_around(e->parent, prefix);
}

/* `e` has what is inherited. */
static bool parse_at(struct elem *out, struct elem e, slice text)
{
    const char *p = text.ptr, *end = xml_elem_end_of(text);
    if (!begins_element(p, end))
        return false;
    const char *behind = tag_end(p, end);
    if (behind == NULL)
        return false;

    e.start_tag = between(p, behind);
    e.content = between(behind, behind);
    if (behind[-2] != '/') {
        const char *close = content_end(behind, end);
        if (close == NULL)
            return false;
        e.content.len = (size_t)(close - behind);
        behind = tag_end(close, end);
        if (behind == NULL)
            return false;
    }
    e.whole = between(p, behind);
    slice name = tag_name(p, xml_elem_end_of(e.start_tag)), prefix;
    bool prefixed = slice_cut(name, ':', &prefix, &e.name);
    if (!prefixed)
        e.name = name;
    else if (prefix.len == 0 || e.name.len == 0)
        return false;
    slice own = own_declaration(&e, SLICE(""));
    if (own.ptr != NULL)
        e.ns = own;
    e.ns_uri = prefixed ? namespace_of(&e, prefix) : e.ns;
    *out = e;
    return e.ns_uri.ptr != NULL;
}

bool elem_parse_within(struct elem *out, slice text, slice default_ns, slice outer)
{
    if (text.len == 0) /* it may have no address */
        return false;
    const char *p = xml_skip_white(text.ptr, xml_elem_end_of(text));
    struct elem top = { .ns = default_ns.len > 0 ? default_ns : SLICE(""),
                        .outer = outer,
                        .walk = next_walk() };
    return parse_at(out, top, between(p, xml_elem_end_of(text)));
}

bool elem_parse(struct elem *out, slice text, slice default_ns)
{
    return elem_parse_within(out, text, default_ns, (slice){ NULL, 0 });
}

static struct elem child_of(const struct elem *parent)
{
    return (struct elem){ .parent = parent, .ns = parent->ns, .walk = parent->walk };
}

/* The first element of the parent's content that begins at or behind p. */
static bool find_element(struct elem *out, const struct elem *parent, const char *p)
{
    const char *end = xml_elem_end_of(parent->content);
    slice inside;
    while ((p = xml_elem_find(p, end, '<')) != NULL) {
        if (!cdata_at(p, end, &inside, &p))
            return parse_at(out, child_of(parent), between(p, end));
    }
    return false;
}

bool elem_first(const struct elem *parent, struct elem *out)
{
    return find_element(out, parent, parent->content.ptr);
}

bool elem_next(const struct elem *current, struct elem *out)
{
    return current->parent != NULL &&
           find_element(out, current->parent, xml_elem_end_of(current->whole));
}

bool elem_is(const struct elem *e, const char *name, const char *ns)
{
    return (name == NULL || slice_is(e->name, name)) && (ns == NULL || slice_is(e->ns_uri, ns));
}

bool elem_child(const struct elem *parent, const char *name, const char *ns, struct elem *out)
{
    bool found = elem_first(parent, out);
    while (found && !elem_is(out, name, ns))
        found = elem_next(out, out);
    return found;
}

/* Appends `raw` resolved; never longer than it was. Returns the new end of the output. */
static char *unescape(char *to, slice raw, enum xml_context context)
{
    while (raw.len > 0) {
        char c = raw.ptr[0];
        if (c != '&' && c != '\r' && (context == XML_IN_TEXT || !xml_is(c, XML_WHITE))) {
            *to++ = c;
            raw = slice_from(raw, 1);
        } else {
            to += utf8_encode(to, xml_next(&raw, context));
        }
    }
    return to;
}

static slice unescaped(slice raw, struct arena *tmp, enum xml_context context)
{
    bool plain = memchr(raw.ptr, '&', raw.len) == NULL && memchr(raw.ptr, '\r', raw.len) == NULL;
    if (plain && context == XML_IN_VALUE)
        plain = memchr(raw.ptr, '\n', raw.len) == NULL && memchr(raw.ptr, '\t', raw.len) == NULL;
    if (plain)
        return raw;
    char *out = arena_alloc_raw(tmp, raw.len);
    return between(out, unescape(out, raw, context));
}

slice xml_unescape_text(slice raw, struct arena *tmp)
{
    return raw.len == 0 ? raw : unescaped(raw, tmp, XML_IN_TEXT);
}

slice xml_unescape_attr(slice raw, struct arena *tmp)
{
    return raw.len == 0 ? raw : unescaped(raw, tmp, XML_IN_VALUE);
}

slice elem_attr(const struct elem *e, const char *name, struct arena *tmp)
{
    return xml_unescape_attr(elem_attr_raw(e, name), tmp);
}

/* Line ends are normalised in CDATA sections too (XML 1.0 §2.11), references are none. */
static char *copy_cdata(char *to, slice inside)
{
    for (size_t i = 0; i < inside.len; i++) {
        if (inside.ptr[i] != '\r')
            *to++ = inside.ptr[i];
        else if (i + 1 == inside.len || inside.ptr[i + 1] != '\n')
            *to++ = '\n';
    }
    return to;
}

slice elem_text(const struct elem *e, struct arena *tmp)
{
    const char *p = e->content.ptr, *end = xml_elem_end_of(e->content),
               *markup = xml_elem_find(p, end, '<');
    if (markup == NULL)
        return xml_unescape_text(e->content, tmp);

    char *out = arena_alloc_raw(tmp, e->content.len), *to = out;
    slice inside;
    struct elem child;
    for (; markup != NULL; markup = xml_elem_find(p, end, '<')) {
        to = unescape(to, between(p, markup), XML_IN_TEXT);
        if (cdata_at(markup, end, &inside, &p)) {
            to = copy_cdata(to, inside);
            continue;
        }
        if (!parse_at(&child, child_of(e), between(markup, end)))
            return between(out, to);
        p = xml_elem_end_of(child.whole);
    }
    return between(out, unescape(to, between(p, end), XML_IN_TEXT));
}

/* Writes a raw value, which may stand between quotes of the other kind in the input. */
static void write_declaration(struct buf *out, slice prefix, slice raw)
{
    buf_lit(out, " xmlns");
    if (prefix.len > 0)
        buf_lit(out, ":");
    buf_add(out, prefix);
    buf_lit(out, "='");
    slice head;
    while (slice_cut(raw, '\'', &head, &raw)) {
        buf_add(out, head);
        buf_lit(out, "&apos;");
    }
    buf_add(out, head);
    buf_lit(out, "'");
}

/* Declarations around an element, found by their prefixes. */
struct inherited {
    slice prefix, value;
    bool used;
};
enum { INHERITED_MAX = 64 };
struct inheritance {
    struct inherited list[INHERITED_MAX];
    unsigned count;
    struct map by_prefix;
};

static slice inherited_key(const void *item) { return ((const struct inherited *)item)->prefix; }

static void inherited_use(struct inheritance *all, slice prefix)
{
    struct inherited *i = map_get(&all->by_prefix, prefix);
    if (i != NULL)
        i->used = true;
}

/* Whatever stands before a ':' may be one, also in a value or in text: to declare it does no harm,
 * and a QName there needs it. One walk, as many may be declared around a long text. */
static void inherited_mark(struct inheritance *all, slice text)
{
    const char *end = xml_elem_end_of(text), *last = text.ptr;
    for (const char *p = text.ptr; (p = xml_elem_find(p, end, ':')) != NULL; last = ++p) {
        const char *from = p;
        while (from > last && (xml_is(from[-1], XML_NAME) || xml_high(from[-1])))
            from--;
        const char *word = p; /* in text, the name may begin behind one of these */
        while (word > from && word[-1] != '-' && word[-1] != '.' && !xml_high(word[-1]))
            word--;
        inherited_use(all, between(from, p));
        inherited_use(all, between(word, p));
    }
}

/* Writes those that `e` uses, and that no nearer one hides. */
static void inherited_write(struct inheritance *all, const struct elem *e, struct buf *out)
{
    if (all->count > 0)
        inherited_mark(all, e->whole);
    for (unsigned i = 0; i < all->count; i++) {
        slice prefix = all->list[i].prefix, value = all->list[i].value;
        if (all->list[i].used && xml_elem_resolve(e, prefix).ptr == value.ptr)
            write_declaration(out, prefix, value);
    }
    all->count = 0;
    map_fini(&all->by_prefix);
    map_init(&all->by_prefix, inherited_key);
}

static void inherited_add(struct inheritance *all, const struct elem *e, slice attrs,
                          struct buf *out)
{
    struct attr attr;
    slice prefix;
    for (const char *p = attrs.ptr; xml_elem_take_attr(&p, xml_elem_end_of(attrs), &attr);) {
        if (!is_declaration(attr.name, &prefix) || prefix.len == 0 ||
            map_get(&all->by_prefix, prefix) != NULL) /* a nearer one hides it */
            continue;
        all->list[all->count] = (struct inherited){ prefix, attr.value, false };
        map_put(&all->by_prefix, &all->list[all->count++]);
        if (all->count == INHERITED_MAX)
            inherited_write(all, e, out);
    }
}

void elem_extract(const struct elem *e, struct buf *out)
{
    const char *insert = attrs_of(e);
    buf_add(out, between(e->whole.ptr, insert));
    if (own_declaration(e, SLICE("")).ptr == NULL)
        write_declaration(out, SLICE(""), e->ns);
    struct inheritance all;
    all.count = 0;
    map_init(&all.by_prefix, inherited_key);
    const struct elem *up = e;
    while (up->parent != NULL) {
        up = up->parent;
        inherited_add(&all, e, between(attrs_of(up), xml_elem_end_of(up->start_tag)), out);
    }
    if (up->outer.len > 0)
        inherited_add(&all, e, up->outer, out);
    inherited_write(&all, e, out);
    map_fini(&all.by_prefix);
    buf_add(out, between(insert, xml_elem_end_of(e->whole)));
}
