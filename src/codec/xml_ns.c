/* Namespaces in XML 1.0 (third edition) for xml_read. Bindings are kept as spans of the unit. Only
 * a pair of prefixed attributes with one local name needs namespace names compared (§6.3); only
 * then are they, and each binding is looked up among the others once, so that hostile tags stay
 * cheap. */
#include "base/buf.h"
#include "base/mem.h"
#include "codec/xml_char.h"
#include "codec/xml_state.h"

#define NS_XML   "http://www.w3.org/XML/1998/namespace"
#define NS_XMLNS "http://www.w3.org/2000/xmlns/"

struct xml_stream_ns {
    struct xml_span tag, default_ns;
    struct xml_span prefix[XML_STREAM_PREFIXES_MAX], name[XML_STREAM_PREFIXES_MAX];
    uint32_t count;
    const char *bytes; /* behind the struct, or static */
};

/* The namespaces that nearly every client declares: static, so that an idle stream needs no memory
 * for them. */
static const struct xml_stream_ns client_stream = {
    .tag = { 0, 13 },
    .default_ns = { 45, 13 },
    .prefix = { { 0, 6 } },
    .name = { { 13, 32 } },
    .count = 1,
    .bytes = "stream:streamhttp://etherx.jabber.org/streamsjabber:client",
};

static bool xml_ns_is_plain(char c) { return c != '&' && !xml_is(c, XML_WHITE); }

/* Equal after references and white space are resolved: two spellings of one name are one name. */
static bool same_name(slice a, slice b)
{
    while (a.len > 0 && b.len > 0) {
        if (xml_ns_is_plain(a.ptr[0]) && xml_ns_is_plain(b.ptr[0])) {
            if (a.ptr[0] != b.ptr[0])
                return false;
            a = slice_from(a, 1);
            b = slice_from(b, 1);
        } else if (xml_next(&a, XML_IN_VALUE) != xml_next(&b, XML_IN_VALUE)) {
            return false;
        }
    }
    return a.len == b.len;
}

static bool is_content(slice name)
{
    return slice_is(name, "jabber:client") || slice_is(name, "jabber:server");
}

/* One name for attributes. The two content namespaces are one: a stanza that crosses from a stream
 * of servers to one of clients changes from one into the other, and its attributes must still
 * differ then. */
static bool one_namespace(slice a, slice b)
{
    return same_name(a, b) || (is_content(a) && is_content(b));
}

static slice in_unit(const struct xml_state *s, struct xml_span span)
{
    return (slice){ s->unit + span.at, span.len };
}

static slice bound_name(const struct xml_state *s, int bound)
{
    if (bound == XML_BOUND_XML)
        return SLICE(NS_XML);
    if (bound == XML_BOUND_STREAM)
        return s->outer_ns;
    if (bound < XML_BINDINGS_MAX)
        return in_unit(s, s->binding[bound].name);
    slice name;
    xml_ns_stream_prefix(s->stream, (unsigned)(bound - XML_BOUND_STREAM_PREFIX), &name);
    return name;
}

static int lookup(struct xml_state *s, slice prefix)
{
    for (int i = (int)s->binding_count - 1; i >= 0; i--) {
        if (slice_eq(in_unit(s, s->binding[i].prefix), prefix))
            return i;
    }
    if (prefix.len == 0)
        return XML_BOUND_STREAM;
    if (slice_is(prefix, "xml"))
        return XML_BOUND_XML;
    for (unsigned i = 0; i < XML_STREAM_PREFIXES_MAX; i++) {
        slice name, known = xml_ns_stream_prefix(s->stream, i, &name);
        if (known.len == 0)
            break;
        if (!slice_eq(known, prefix))
            continue;
        s->work->root.stream_prefixes_used |= (uint8_t)(1U << i);
        return XML_BOUND_STREAM_PREFIX + (int)i;
    }
    return XML_BOUND_NONE;
}

/* A second spelling of a namespace is the same namespace for clients, but names are compared as
 * they are spelled elsewhere in this server: an element that only the server may add would get
 * through. What a name of an entity stands for, nobody's namespace has. */
static bool is_disguised(slice name)
{
    return memchr(name.ptr, '&', name.len) != NULL && memmem(name.ptr, name.len, "&#", 2) != NULL;
}

/* Namespaces in XML §3: what xml and xmlns may be bound to, and nothing else to their names. */
static const char *check_reserved(slice prefix, slice name)
{
    if (slice_is(prefix, "xmlns"))
        return "the prefix xmlns must not be declared";
    if (slice_is(prefix, "xml"))
        return same_name(name, SLICE(NS_XML)) ? NULL : "the prefix xml is bound to another name";
    if (prefix.len > 0 && name.len == 0)
        return "a prefix cannot be bound to no namespace";
    if (same_name(name, SLICE(NS_XML)) || same_name(name, SLICE(NS_XMLNS)))
        return "a reserved namespace is bound to another prefix";
    return NULL;
}

/* An xmlns that says what is inherited anyway; with the white space before it. */
static struct xml_span redundant(struct xml_state *s, const struct xml_attr *attr)
{
    slice inherited = bound_name(s, lookup(s, SLICE("")));
    if (!slice_eq(inherited, in_unit(s, attr->value)))
        return (struct xml_span){ 0, 0 };
    return (struct xml_span){ attr->whole.at - 1, attr->whole.len + 1 };
}

const char *xml_ns_declare(struct xml_state *s, const struct xml_attr *attr, enum xml_error *e)
{
    struct xml_span prefix = { attr->name.at + 6, attr->name.len - 6 };
    if (attr->prefix_len == 0)
        prefix = (struct xml_span){ attr->name.at, 0 };
    *e = XML_BAD_NAMESPACE;
    const char *wrong = check_reserved(in_unit(s, prefix), in_unit(s, attr->value));
    if (wrong != NULL)
        return wrong;
    if (is_disguised(in_unit(s, attr->value)))
        return "a namespace is written with character references";
    if (s->binding_count == s->limits.bindings) {
        *e = XML_TOO_BIG;
        return "too many namespace declarations";
    }
    if (prefix.len == 0 && s->depth == 1)
        s->work->root.own_xmlns = redundant(s, attr);
    if (prefix.len == 0 && s->depth == 2)
        s->work->child[s->work->root.child_count - 1].own_xmlns = redundant(s, attr);
    s->binding[s->binding_count++] = (struct xml_binding){ prefix, attr->value, XML_BOUND_NONE };
    return NULL;
}

/* The first of all bindings of the same namespace, so that equal names have equal numbers. */
static int canonical(struct xml_state *s, int bound)
{
    if (bound == XML_BOUND_XML)
        return bound;
    if (bound < XML_BINDINGS_MAX && s->binding[bound].same_as != XML_BOUND_NONE)
        return s->binding[bound].same_as;

    slice name = bound_name(s, bound);
    int same = bound;
    for (unsigned i = 0; same == bound && i < XML_STREAM_PREFIXES_MAX; i++) {
        slice other, prefix = xml_ns_stream_prefix(s->stream, i, &other);
        if (prefix.len > 0 && one_namespace(other, name))
            same = XML_BOUND_STREAM_PREFIX + (int)i;
        if (prefix.len == 0 || XML_BOUND_STREAM_PREFIX + (int)i == bound)
            break;
    }
    if (bound >= XML_BINDINGS_MAX)
        return same;
    for (int i = 0; same == bound && i < bound; i++) {
        if (one_namespace(in_unit(s, s->binding[i].name), name))
            same = i;
    }
    s->binding[bound].same_as = (int16_t)same;
    return same;
}

/* Every prefix is declared, and no two attributes have one expanded name (§6.3), nor will have one
 * in another stream. */
static const char *finish_attrs(struct xml_state *s, enum xml_error *e)
{
    const struct xml_attr *attr = xml_state_attrs(s);
    int bound[XML_ROOT_ATTRS_MAX];
    for (unsigned i = 0; i < s->attr_count; i++) {
        slice name = in_unit(s, attr[i].name), prefix = { name.ptr, attr[i].prefix_len };
        bound[i] = XML_BOUND_NONE;
        if (prefix.len == 0 || slice_is(prefix, "xmlns"))
            continue;
        bound[i] = lookup(s, prefix);
        if (bound[i] == XML_BOUND_NONE)
            return "an attribute's prefix is not declared";
        slice local = slice_from(name, prefix.len + 1);
        for (unsigned j = 0; j < i; j++) {
            if (bound[j] == XML_BOUND_NONE ||
                !slice_eq(local, slice_from(in_unit(s, attr[j].name), attr[j].prefix_len + 1U)))
                continue;
            if (canonical(s, bound[i]) == canonical(s, bound[j])) {
                *e = XML_NOT_WELL_FORMED;
                return same_name(bound_name(s, bound[i]), bound_name(s, bound[j]))
                           ? "two attributes have one expanded name"
                           : "two attributes differ in their content namespace only";
            }
        }
    }
    return NULL;
}

static uint8_t ns_source(int bound)
{
    if (bound < XML_BINDINGS_MAX)
        return XML_NS_UNIT;
    if (bound == XML_BOUND_XML)
        return XML_NS_XML;
    return (uint8_t)(XML_NS_STREAM + (bound - XML_BOUND_STREAM));
}

const char *xml_ns_finish_tag(struct xml_state *s, enum xml_error *e)
{
    *e = XML_BAD_NAMESPACE;
    const struct xml_open *tag = &s->open[s->depth - 1];
    if (s->depth <= 2 || tag->prefix_len > 0) {
        slice prefix = { s->unit + tag->name.at, tag->prefix_len };
        int bound = lookup(s, prefix);
        if (bound == XML_BOUND_NONE)
            return "an element's prefix is not declared"; /* xmlns too is declared nowhere */
        struct xml_span ns = { 0, 0 };
        if (bound < XML_BINDINGS_MAX)
            ns = s->binding[bound].name;
        struct xml_root *root = &s->work->root;
        if (s->depth == 1) {
            root->ns = ns;
            root->ns_stream = ns_source(bound);
        } else if (s->depth == 2) {
            s->work->child[root->child_count - 1].ns = ns;
            s->work->child[root->child_count - 1].ns_stream = ns_source(bound);
        }
    }
    return s->prefixed_count > 0 ? finish_attrs(s, e) : NULL;
}

/* Copies with quotes replaced, so that the value can be written again between quotes of any kind.
 */
static struct xml_span xml_ns_keep(struct buf *bytes, slice text)
{
    uint32_t at = (uint32_t)bytes->len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            buf_lit(bytes, "&quot;");
        else if (text.ptr[i] == '\'')
            buf_lit(bytes, "&apos;");
        else
            buf_append(bytes, text.ptr + i, 1);
    }
    return (struct xml_span){ at, (uint32_t)bytes->len - at };
}

static bool is_client_stream(const struct xml_state *s)
{
    const struct xml_binding *first = &s->binding[0], *second = &s->binding[1];
    if (s->binding_count != 2 || !slice_is(in_unit(s, s->open[0].name), "stream:stream"))
        return false;
    if (first->prefix.len > 0) {
        first = second;
        second = &s->binding[0];
    }
    return first->prefix.len == 0 && slice_is(in_unit(s, first->name), "jabber:client") &&
           slice_is(in_unit(s, second->name), "http://etherx.jabber.org/streams");
}

static const char *keep_bindings(const struct xml_state *s, struct xml_stream_ns *ns,
                                 struct buf *bytes)
{
    ns->tag = xml_ns_keep(bytes, in_unit(s, s->open[0].name));
    for (unsigned i = 0; i < s->binding_count; i++) {
        slice prefix = in_unit(s, s->binding[i].prefix), name = in_unit(s, s->binding[i].name);
        if (prefix.len == 0) {
            ns->default_ns = xml_ns_keep(bytes, name);
        } else if (!slice_is(prefix, "xml")) {
            if (ns->count == XML_STREAM_PREFIXES_MAX)
                return "the stream header declares too many prefixes";
            ns->prefix[ns->count] = xml_ns_keep(bytes, prefix);
            ns->name[ns->count++] = xml_ns_keep(bytes, name);
        }
    }
    return bytes->overflow ? "the stream header's namespaces are too long" : NULL;
}

const char *xml_ns_keep_stream(const struct xml_state *s, const struct xml_stream_ns **out)
{
    *out = &client_stream;
    if (is_client_stream(s))
        return NULL;

    *out = NULL;
    struct xml_stream_ns ns = { .count = 0 };
    struct buf bytes;
    buf_init(&bytes, XML_STREAM_NS_BYTES);
    const char *wrong = keep_bindings(s, &ns, &bytes);
    if (wrong == NULL) {
        struct xml_stream_ns *kept = mem_alloc(sizeof *kept + bytes.len);
        *kept = ns;
        kept->bytes = memcpy(kept + 1, bytes.ptr, bytes.len);
        *out = kept;
    }
    buf_fini(&bytes);
    return wrong;
}

void xml_ns_drop_stream(const struct xml_stream_ns **ns)
{
    if (*ns != &client_stream)
        mem_free_((void *)*ns);
    *ns = NULL;
}

slice xml_ns_stream_tag(const struct xml_stream_ns *ns)
{
    return ns == NULL ? SLICE("") : (slice){ ns->bytes + ns->tag.at, ns->tag.len };
}

slice xml_ns_stream_default(const struct xml_stream_ns *ns)
{
    return ns == NULL ? SLICE("") : (slice){ ns->bytes + ns->default_ns.at, ns->default_ns.len };
}

slice xml_ns_stream_prefix(const struct xml_stream_ns *ns, unsigned i, slice *name)
{
    *name = SLICE("");
    if (ns == NULL || i >= ns->count)
        return SLICE("");
    *name = (slice){ ns->bytes + ns->name[i].at, ns->name[i].len };
    return (slice){ ns->bytes + ns->prefix[i].at, ns->prefix[i].len };
}
