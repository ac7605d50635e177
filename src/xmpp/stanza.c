#include "xmpp/stanza.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_char.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "xmpp/archive_id.h"
#include "xmpp/content_ns.h"
#include "xmpp/ns.h"

enum { ESCAPE_TO = 1, ESCAPE_FROM = 2, ESCAPE_ID = 4 };

struct metric stanza_bytes = { .name = "muster_stanza_bytes",
                               .kind = METRIC_GAUGE,
                               .help = "Memory of all stanzas, queued ones included." };

static const struct known_row {
    slice ns, name; /* name empty: any */
    enum known_child known;
} known_table[] = {
    { { 0 }, { "body", 4 }, KNOWN_BODY }, /* ns empty: the content namespace */
    { { 0 }, { "subject", 7 }, KNOWN_SUBJECT },
    { { 0 }, { "thread", 6 }, KNOWN_THREAD },
    { { 0 }, { "show", 4 }, KNOWN_SHOW },
    { { 0 }, { "status", 6 }, KNOWN_STATUS },
    { { 0 }, { "priority", 8 }, KNOWN_PRIORITY },
    { { 0 }, { "error", 5 }, KNOWN_ERROR },
    { SLICE_INIT(NS_HINTS), SLICE_INIT("no-store"), KNOWN_NO_STORE },
    { SLICE_INIT(NS_HINTS), SLICE_INIT("no-permanent-store"), KNOWN_NO_PERMANENT_STORE },
    { SLICE_INIT(NS_HINTS), SLICE_INIT("no-copy"), KNOWN_NO_COPY },
    { SLICE_INIT(NS_HINTS), SLICE_INIT("store"), KNOWN_STORE },
    { SLICE_INIT(NS_CARBONS), SLICE_INIT("received"), KNOWN_CARBON },
    { SLICE_INIT(NS_CARBONS), SLICE_INIT("sent"), KNOWN_CARBON },
    { SLICE_INIT(NS_CARBONS), SLICE_INIT("private"), KNOWN_PRIVATE },
    { SLICE_INIT(NS_SID), SLICE_INIT("stanza-id"), KNOWN_STANZA_ID },
    { SLICE_INIT(NS_SID), SLICE_INIT("origin-id"), KNOWN_ORIGIN_ID },
    { SLICE_INIT(NS_DELAY), SLICE_INIT("delay"), KNOWN_DELAY },
    { SLICE_INIT(NS_MUC_USER), SLICE_INIT("x"), KNOWN_MUC_USER },
    { SLICE_INIT(NS_RECEIPTS), SLICE_INIT("request"), KNOWN_RECEIPT_REQUEST },
    { SLICE_INIT(NS_RECEIPTS), SLICE_INIT("received"), KNOWN_RECEIPT },
    { SLICE_INIT(NS_CHAT_STATES), { 0 }, KNOWN_CHAT_STATE },
    { SLICE_INIT(NS_CHAT_MARKERS), SLICE_INIT("markable"), KNOWN_MARKABLE },
    { SLICE_INIT(NS_CHAT_MARKERS), { 0 }, KNOWN_MARKER },
    { SLICE_INIT(NS_OOB), SLICE_INIT("x"), KNOWN_OOB },
    { SLICE_INIT("eu.siacs.conversations.axolotl"), SLICE_INIT("encrypted"), KNOWN_ENCRYPTED },
    { SLICE_INIT("urn:xmpp:omemo:2"), SLICE_INIT("encrypted"), KNOWN_ENCRYPTED },
    { SLICE_INIT("urn:xmpp:openpgp:0"), SLICE_INIT("openpgp"), KNOWN_ENCRYPTED },
    { SLICE_INIT(NS_CAPS), SLICE_INIT("c"), KNOWN_CAPS },
    { SLICE_INIT(NS_DATA), SLICE_INIT("x"), KNOWN_DATA_FORM },
    { SLICE_INIT(NS_MUC), SLICE_INIT("x"), KNOWN_MUC },
    { SLICE_INIT(NS_OCCUPANT_ID), SLICE_INIT("occupant-id"), KNOWN_OCCUPANT_ID },
    { SLICE_INIT(NS_MAM), SLICE_INIT("result"), KNOWN_ARCHIVED },
    { SLICE_INIT(NS_TEST), SLICE_INIT("test"), KNOWN_TEST },
};

static bool is_content_ns(slice ns)
{
    return slice_eq(ns, SLICE(NS_CLIENT)) || slice_eq(ns, SLICE(NS_SERVER)) ||
           slice_eq(ns, SLICE(NS_COMPONENT));
}

static enum known_child stanza_known_of(slice ns, slice name)
{
    if (is_content_ns(ns))
        ns.len = 0;
    for (size_t i = 0; i < sizeof known_table / sizeof *known_table; i++) {
        const struct known_row *r = &known_table[i];
        if (r->ns.len == ns.len && (r->name.len == 0 || r->name.len == name.len) &&
            slice_eq(r->ns, ns) && (r->name.len == 0 || slice_eq(r->name, name)))
            return r->known;
    }
    return KNOWN_PAYLOAD;
}

/* The pieces of a stanza before they are laid out in one block. */
struct parts {
    enum stanza_kind kind;
    enum stanza_type type;
    slice to, from, id, lang;
    uint32_t other_len, content_len, children;
    bool bad_to, bad_from, arrived;
    enum stanza_refused refused_kind;
};

static size_t bare_len(slice jid)
{
    const char *slash = jid.len == 0 ? NULL : memchr(jid.ptr, '/', jid.len);
    return slash == NULL ? jid.len : (size_t)(slash - jid.ptr);
}

/* White space given as references would be normalised to spaces by the next reader (XML 1.0
 * §3.3.3); addresses have none. */
static bool id_needs_escape(slice id)
{
    for (size_t i = 0; i < id.len; i++)
        if (id.ptr[i] == '\t' || id.ptr[i] == '\n' || id.ptr[i] == '\r')
            return true;
    return xml_needs_escape(id);
}

/* Everything but `other` and `content`, whose room is there to be filled by the caller. */
static struct stanza *lay_out(const struct parts *p, char **other, char **content)
{
    size_t head = sizeof(struct stanza) + p->children * sizeof(struct stanza_child);
    size_t text = p->to.len + p->from.len + p->id.len + p->lang.len + p->other_len + p->content_len;
    struct stanza *s = mem_alloc(head + text);

    memset(s, 0, sizeof *s);
    s->bytes = (uint32_t)(head + text);
    metric_add(&stanza_bytes, s->bytes);
    atomic_init(&s->refs, 1);
    s->kind = (uint8_t)p->kind;
    s->type = (uint8_t)p->type;
    s->escape = (uint8_t)((xml_needs_escape(p->to) ? ESCAPE_TO : 0) |
                          (xml_needs_escape(p->from) ? ESCAPE_FROM : 0) |
                          (id_needs_escape(p->id) ? ESCAPE_ID : 0));
    s->bad_to = p->bad_to;
    s->bad_from = p->bad_from;
    s->arrived = p->arrived;
    s->refused_kind = (uint8_t)p->refused_kind;
    s->to_len = (uint16_t)p->to.len;
    s->to_bare_len = (uint16_t)bare_len(p->to);
    s->from_len = (uint16_t)p->from.len;
    s->from_bare_len = (uint16_t)bare_len(p->from);
    s->id_len = (uint32_t)p->id.len;
    s->lang_len = (uint32_t)p->lang.len;
    s->other_len = p->other_len;
    s->content_len = p->content_len;
    char *at = (char *)s + head;
    s->to = slice_lay(&at, p->to).ptr;
    s->from = slice_lay(&at, p->from).ptr;
    s->id = slice_lay(&at, p->id).ptr;
    s->lang = slice_lay(&at, p->lang).ptr;
    s->other = *other = at;
    s->content = *content = at + p->other_len;
    return s;
}

void stanza_free_(struct stanza *s)
{
    metric_add(&stanza_bytes, -(int64_t)s->bytes);
    mem_free(&s);
}

static bool stanza_kind_of(slice name, enum stanza_kind *out)
{
    for (int k = STANZA_MESSAGE; k <= STANZA_IQ; k++)
        if (slice_is(name, stanza_kind_name((enum stanza_kind)k))) {
            *out = (enum stanza_kind)k;
            return true;
        }
    return false;
}

enum root_attr { ATTR_TO, ATTR_FROM, ATTR_ID, ATTR_TYPE, ATTR_LANG, ATTR_XMLNS, ATTR_OTHER };

static enum root_attr root_attr(slice name)
{
    static const slice names[] = { { "to", 2 },   { "from", 4 },     { "id", 2 },
                                   { "type", 4 }, { "xml:lang", 8 }, { "xmlns", 5 } };
    for (int i = 0; i < ATTR_OTHER; i++)
        if (slice_eq(name, names[i]))
            return (enum root_attr)i;
    return ATTR_OTHER;
}

/* What a prefix stands for, as it is declared here: content of a stream between servers is content
 * of ours. */
static slice prefix_uri(slice uri)
{
    _Static_assert(sizeof NS_SERVER == sizeof NS_CLIENT, "fill_other() writes it in place");
    return slice_is(uri, NS_SERVER) ? SLICE(NS_CLIENT) : uri;
}

/* Declarations of the stream's prefixes that the stanza uses (architecture §5). */
static char *put_prefixes(char *at, const struct stanza_source *src, size_t *len)
{
    size_t n = 0;
    unsigned used = src->reader == NULL ? 0 : src->work->root.stream_prefixes_used;
    for (unsigned i = 0; used != 0; i++, used >>= 1) {
        slice uri, prefix = xml_stream_prefix(src->reader, i, &uri);
        if ((used & 1) == 0 || prefix.len == 0)
            continue;
        uri = prefix_uri(uri);
        if (at != NULL) {
            const slice piece[] = { SLICE(" xmlns:"), prefix, SLICE("=\""), uri, SLICE("\"") };
            for (size_t k = 0; k < sizeof piece / sizeof *piece; k++) {
                memcpy(at, piece[k].ptr, piece[k].len);
                at += piece[k].len;
            }
        }
        n += sizeof " xmlns:=\"\"" - 1 + prefix.len + uri.len;
    }
    *len = n;
    return at;
}

static enum err stanza_read_address(slice raw, struct arena *tmp, slice *out)
{
    struct jid jid;
    enum err e = jid_parse(&jid, xml_unescape_attr(raw, tmp), tmp);
    *out = jid.full;
    return e;
}

/* Of an address that is not a JID, what stands before the resource, where that is one: the answer
 * comes from there (XEP-0045 §7.2.1 of a room). */
static slice bare_address(slice raw, struct arena *tmp)
{
    slice bare;
    enum err e = stanza_read_address((slice){ raw.ptr, bare_len(raw) }, tmp, &bare);
    return e == OK ? bare : (slice){ 0 };
}

static enum err read_attrs(struct parts *p, const struct stanza_source *src, struct arena *tmp)
{
    const struct xml_work *w = src->work;
    slice type = { 0 };
    p->from = src->from;
    if (p->kind != STANZA_PRESENCE) /* presence without `to` is a broadcast (RFC 6121 §4.2) */
        p->to = src->default_to;
    p->lang = src->lang;
    for (unsigned i = 0; i < w->root.attr_count; i++) {
        const struct xml_attr *a = &w->attr[i];
        slice value = xml_at(src->unit, a->value);
        enum err e = OK;
        switch (root_attr(xml_at(src->unit, a->name))) {
        case ATTR_TO:
            p->bad_to = stanza_read_address(value, tmp, &p->to) != OK;
            if (p->bad_to)
                p->to = bare_address(value, tmp);
            break;
        case ATTR_FROM:
            if (src->from.ptr == NULL)
                p->bad_from = stanza_read_address(value, tmp, &p->from) != OK;
            if (p->bad_from)
                p->from = (slice){ 0 };
            break;
        case ATTR_ID:
            p->id = xml_unescape_attr(value, tmp);
            break;
        case ATTR_TYPE:
            type = xml_unescape_attr(value, tmp);
            break;
        case ATTR_LANG:
            p->lang = value;
            break;
        case ATTR_XMLNS: /* it is not carried: children that are in it would change into ours */
            e = is_content_ns(value) ? OK : E_UNSUPPORTED;
            break;
        case ATTR_OTHER:
            p->other_len += a->whole.len + 1;
            break;
        }
        if (e != OK)
            return e;
    }
    if (xml_needs_escape(p->lang))
        p->lang = (slice){ 0 };
    size_t declared;
    put_prefixes(NULL, src, &declared);
    p->other_len += (uint32_t)declared;
    p->type = stanza_type_of(p->kind, type);
    return OK;
}

static void fill_other(char *at, const struct stanza_source *src)
{
    const struct xml_work *w = src->work;
    size_t declared;
    for (unsigned i = 0; i < w->root.attr_count; i++) {
        const struct xml_attr *a = &w->attr[i];
        if (root_attr(xml_at(src->unit, a->name)) != ATTR_OTHER)
            continue;
        *at++ = ' ';
        memcpy(at, src->unit.ptr + a->whole.at, a->whole.len);
        if (slice_starts(xml_at(src->unit, a->name), SLICE("xmlns:"))) {
            slice uri = prefix_uri(xml_at(src->unit, a->value));
            memcpy(at + (a->value.at - a->whole.at), uri.ptr, uri.len);
        }
        at += a->whole.len;
    }
    put_prefixes(at, src, &declared);
}

static slice name_space(const struct stanza_source *src, uint8_t ns_stream, struct xml_span ns)
{
    if (ns_stream == XML_NS_STREAM)
        return SLICE(NS_CLIENT);
    return src->reader == NULL ? xml_at(src->unit, ns)
                               : xml_ns(src->reader, src->unit, ns_stream, ns);
}

static slice child_ns(const struct stanza_source *src, const struct xml_child *c)
{
    return name_space(src, c->ns_stream, c->ns);
}

/* The part that is left out of a child: a declaration that says what is inherited, or a prefix. */
static struct content_cut child_cut(const struct stanza_source *src, const struct xml_child *c)
{
    if (c->own_xmlns.len > 0)
        return (struct content_cut){ .start = c->own_xmlns };
    if (c->name.at == c->whole.at + 1 || !is_content_ns(child_ns(src, c)))
        return (struct content_cut){ .start = { 0, 0 } };
    return content_prefix(src->unit, c);
}

/* Copies up to a span, which is left out. */
static char *fill_up_to(char *at, const struct stanza_source *src, uint32_t *from,
                        struct xml_span out)
{
    if (out.len == 0)
        return at;
    memcpy(at, src->unit.ptr + *from, out.at - *from);
    at += out.at - *from;
    *from = out.at + out.len;
    return at;
}

static bool is_of_server(const struct stanza_source *src)
{
    return src->reader != NULL && slice_is(xml_stream_default_ns(src->reader), NS_SERVER);
}

/* Copies the children in content-namespace form and notes where each one is. */
static void fill_content(struct stanza *s, char *at, const struct stanza_source *src)
{
    const struct xml_work *w = src->work;
    char *start = at;
    uint32_t from = w->root.content.at;

    for (unsigned i = 0; i < w->root.child_count; i++) {
        const struct xml_child *c = &w->child[i];
        struct content_cut cut = child_cut(src, c);
        at = fill_up_to(at, src, &from, cut.start);
        at = fill_up_to(at, src, &from, cut.end);
        size_t end = c->whole.at + c->whole.len - from;
        memcpy(at, src->unit.ptr + from, end);
        at += end;
        from = c->whole.at + c->whole.len;
        struct stanza_child *sc = &s->child[i];
        sc->len = c->whole.len - cut.start.len - cut.end.len;
        sc->at = (uint32_t)(at - start) - sc->len;
        sc->known = stanza_known_of(child_ns(src, c), xml_at(src->unit, c->name));
        s->known |= 1ull << sc->known;
    }
    memcpy(at, src->unit.ptr + from, w->root.content.at + w->root.content.len - from);
    s->child_count = (uint8_t)w->root.child_count;
    if (is_of_server(src))
        content_from_server(start, s->content_len);
}

enum err stanza_read(struct stanza **out, const struct stanza_source *src, struct arena *tmp)
{
    const struct xml_root *root = &src->work->root;
    struct parts p = { 0 };
    bool in_content = root->ns_stream == XML_NS_STREAM ||
                      is_content_ns(name_space(src, root->ns_stream, root->ns));
    if (!in_content || !stanza_kind_of(xml_at(src->unit, root->name), &p.kind))
        return E_UNSUPPORTED;
    enum err e = read_attrs(&p, src, tmp);
    if (e != OK)
        return e;
    p.children = root->child_count;
    p.content_len = root->content.len;
    for (unsigned i = 0; i < root->child_count; i++) {
        struct content_cut cut = child_cut(src, &src->work->child[i]);
        p.content_len -= cut.start.len + cut.end.len;
    }
    char *other, *content;
    struct stanza *s = lay_out(&p, &other, &content);
    if (p.other_len > 0)
        fill_other(other, src);
    if (p.content_len > 0)
        fill_content(s, content, src);
    *out = s;
    return OK;
}

enum err stanza_load(struct stanza **out, slice text, struct xml_work *work, struct arena *tmp)
{
    /* what was accepted once has grown (gate/stanza_limits.h) */
    static const struct xml_limits limits = {
        .unit_bytes = 64u << 20, .depth = UINT16_MAX, .attrs = UINT16_MAX, .name_bytes = 4096
    };
    struct stanza_source src = { .unit = text, .work = work };
    if (xml_read_element(work, text, SLICE(NS_CLIENT), &limits) != OK)
        return E_CORRUPT;
    if (stanza_read(out, &src, tmp) != OK)
        return E_CORRUPT;
    if (!(*out)->bad_from)
        return OK;
    stanza_unref(out);
    return E_CORRUPT;
}

/* The children of text of ours, so that rules see them; a stanza of ours has few. */
static uint32_t index_children(struct stanza_child *child, uint64_t *known, slice content)
{
    struct elem root, e;
    uint32_t n = 0;
    if (content.len == 0 || !elem_parse(&root, content, SLICE(NS_CLIENT)))
        return 0;
    e = root;
    for (;;) {
        if (child != NULL) {
            child[n].at = (uint32_t)(e.whole.ptr - content.ptr);
            child[n].len = (uint32_t)e.whole.len;
            child[n].known = stanza_known_of(e.ns_uri, e.name);
            *known |= 1ull << child[n].known;
        }
        slice rest = slice_from(content, (size_t)(e.whole.ptr + e.whole.len - content.ptr));
        if (++n == XML_CHILDREN_MAX || !elem_parse(&e, rest, SLICE(NS_CLIENT)))
            return n;
    }
}

struct stanza *stanza_make(enum stanza_kind kind, enum stanza_type type, slice from, slice to,
                           slice id, slice content)
{
    struct parts p = { .kind = kind, .type = type, .to = to, .from = from, .id = id };
    ensure(to.len <= JID_MAX && from.len <= JID_MAX);
    p.content_len = (uint32_t)content.len;
    p.children = index_children(NULL, NULL, content);
    char *other, *text;
    struct stanza *s = lay_out(&p, &other, &text);
    if (content.len > 0)
        memcpy(text, content.ptr, content.len);
    s->child_count = (uint8_t)index_children(s->child, &s->known, stanza_content(s));
    return s;
}

struct stanza *stanza_make_buf(enum stanza_kind kind, enum stanza_type type, slice from, slice to,
                               slice id, struct buf *content)
{
    struct stanza *st = NULL;
    slice text = buf_fit(content);
    if (!content->overflow)
        st = stanza_make(kind, type, from, to, id, text);
    buf_fini(content);
    return st;
}

/* Behind the others, where `at` is in the content; there is room for so many. */
static void add_children(struct stanza *c, char *at, slice xml)
{
    struct stanza_child more[XML_CHILDREN_MAX];
    uint32_t n = index_children(more, &c->known, xml);
    if (n == 0)
        return;
    memcpy(at, xml.ptr, xml.len);
    for (uint32_t i = 0; i < n; i++) {
        more[i].at += (uint32_t)(at - c->content);
        c->child[c->child_count++] = more[i];
    }
}

/* The differences of a copy: its addresses (ptr NULL: kept), the children that it lacks (bits of
 * `drop`), and more. */
struct edit {
    slice from, to, id;
    uint64_t drop;
    slice more;
};

static struct stanza *copy_with(const struct stanza *s, const struct edit *edit)
{
    uint64_t drop = edit->drop;
    struct parts p = { .kind = (enum stanza_kind)s->kind,
                       .type = (enum stanza_type)s->type,
                       .to = edit->to.ptr == NULL ? stanza_to(s) : edit->to,
                       .from = edit->from.ptr == NULL ? stanza_from(s) : edit->from,
                       .id = edit->id.ptr == NULL ? stanza_id(s) : edit->id,
                       .lang = { s->lang, s->lang_len },
                       .arrived = s->arrived,
                       .refused_kind = (enum stanza_refused)s->refused_kind,
                       .other_len = s->other_len,
                       .content_len = s->content_len + (uint32_t)edit->more.len,
                       .children = index_children(NULL, NULL, edit->more),
                       .bad_to = s->bad_to && edit->to.ptr == NULL,
                       .bad_from = s->bad_from && edit->from.ptr == NULL };
    for (unsigned i = 0; i < s->child_count; i++) {
        bool keep = (drop >> i & 1) == 0;
        p.children += keep;
        p.content_len -= keep ? 0 : s->child[i].len;
    }
    char *other, *at;
    struct stanza *c = lay_out(&p, &other, &at);
    if (s->other_len > 0)
        memcpy(other, s->other, s->other_len);
    uint32_t from_at = 0, gone = 0;
    for (unsigned i = 0; i <= s->child_count; i++) {
        bool last = i == s->child_count;
        bool dropped = !last && (drop >> i & 1) != 0;
        uint32_t end = last ? s->content_len : s->child[i].at + (dropped ? 0 : s->child[i].len);
        if (end > from_at)
            memcpy(at, s->content + from_at, end - from_at);
        at += end - from_at;
        from_at = dropped ? end + s->child[i].len : end;
        gone += dropped ? s->child[i].len : 0;
        if (last || dropped)
            continue;
        c->child[c->child_count] = s->child[i];
        c->child[c->child_count].at -= gone;
        c->known |= 1ull << s->child[i].known;
        c->child_count++;
    }
    add_children(c, at, edit->more);
    return c;
}

struct stanza *stanza_readdress(const struct stanza *s, slice from, slice to)
{
    return copy_with(s, &(struct edit){ .from = from, .to = to });
}

struct stanza *stanza_append_to(const struct stanza *s, slice to, slice xml)
{
    /* with more than the reader takes it could not be read from the database */
    slice more = s->child_count < XML_CHILDREN_MAX ? xml : (slice){ 0 };
    return copy_with(s, &(struct edit){ .to = to, .more = more });
}

struct stanza *stanza_append(const struct stanza *s, slice xml)
{
    return stanza_append_to(s, (slice){ 0 }, xml);
}

enum stanza_error stanza_condition(const struct stanza *error)
{
    struct elem e, condition;
    return stanza_child(error, KNOWN_ERROR, &e) && elem_first(&e, &condition)
               ? stanza_error_find(condition.name)
               : SE_NONE;
}

static enum stanza_refused refused_of(const struct stanza *s)
{
    if (s->kind != STANZA_PRESENCE)
        return REFUSED_OTHER;
    switch (s->type) {
    case TYPE_AVAILABLE:
        return s->refused_kind == REFUSED_SAID ? REFUSED_OTHER : REFUSED_AVAILABLE;
    case TYPE_UNAVAILABLE:
        return s->refused_kind == REFUSED_SAID ? REFUSED_SAID : REFUSED_UNAVAILABLE;
    case TYPE_PROBE:
        return REFUSED_PROBE;
    default:
        return REFUSED_OTHER;
    }
}

struct stanza *stanza_make_error(const struct stanza *s, enum stanza_error e, slice text)
{
    return stanza_make_error_with(s, e, NULL, text, (slice){ 0 });
}

struct stanza *stanza_make_error_with(const struct stanza *s, enum stanza_error e, const char *type,
                                      slice text, slice app_xml)
{
    if (s->type == TYPE_ERROR || s->from_len == 0 ||
        (s->kind == STANZA_IQ && s->type == TYPE_RESULT))
        return NULL; /* RFC 6120 §8.3.1: an error is never answered by an error */
    struct buf b;
    struct xml_write x;
    struct stanza_error_parts parts = {
        .error = e, .type = type, .text = text, .app_xml = app_xml
    };
    xml_begin(&x, &b, XML_STANZA_MAX);
    stanza_error_write_parts(&x, &parts);
    struct stanza *error = stanza_make_buf((enum stanza_kind)s->kind, TYPE_ERROR, stanza_to(s),
                                           stanza_from(s), stanza_id(s), &b);
    if (error != NULL)
        error->refused_kind = (uint8_t)refused_of(s);
    return error;
}

static size_t escaped_max(slice s, bool escape) { return escape ? s.len * 6 : s.len; }

size_t stanza_write_max(const struct stanza *s, const struct stanza_note *note)
{
    size_t n = 192 + s->lang_len + s->other_len + s->content_len;
    n += escaped_max(stanza_from(s), s->escape & ESCAPE_FROM);
    n += escaped_max(stanza_id(s), s->escape & ESCAPE_ID);
    n += escaped_max(stanza_to(s), s->escape & ESCAPE_TO);
    if (note != NULL)
        n += 256 + note->by.len * 12 + note->to.len * 6;
    return n;
}

static inline char *stanza_put(char *at, slice s)
{
    memcpy(at, s.ptr, s.len);
    return at + s.len;
}
#define PUT_LIT(at, lit) stanza_put((at), SLICE(lit))

static char *put_escaped(char *at, slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            at = PUT_LIT(at, "&amp;");
            break;
        case '<':
            at = PUT_LIT(at, "&lt;");
            break;
        case '>':
            at = PUT_LIT(at, "&gt;");
            break;
        case '\'':
            at = PUT_LIT(at, "&apos;");
            break;
        case '"':
            at = PUT_LIT(at, "&quot;");
            break;
        case '\t':
            at = PUT_LIT(at, "&#9;");
            break;
        case '\n':
            at = PUT_LIT(at, "&#10;");
            break;
        case '\r':
            at = PUT_LIT(at, "&#13;");
            break;
        default:
            *at++ = s.ptr[i];
        }
    }
    return at;
}

static char *stanza_put_value(char *at, slice s, bool escape)
{
    at = escape ? put_escaped(at, s) : stanza_put(at, s);
    *at++ = '\'';
    return at;
}

static char *put_notes(char *at, const struct stanza_note *note)
{
    if (note->archive_id != 0) {
        at = PUT_LIT(at, "<stanza-id xmlns='" NS_SID "' by='"); /* escaped */
        at = stanza_put_value(at, note->by, true);
        at = PUT_LIT(at, " id='");
        archive_id_write(at, note->archive_id);
        at += ARCHIVE_ID_LEN;
        at = PUT_LIT(at, "'/>");
    }
    if (note->delay_us != 0) {
        char stamp[CLOCK_STAMP_LEN];
        slice domain = jid_split(note->by).domain;
        clock_stamp(stamp, note->delay_us);
        at = PUT_LIT(at, "<delay xmlns='" NS_DELAY "' from='"); /* escaped */
        at = stanza_put_value(at, domain, true);
        at = PUT_LIT(at, " stamp='");
        at = stanza_put(at, slice_of(stamp));
        at = PUT_LIT(at, "'/>");
    }
    return at;
}

static size_t write_as(char *out, const struct stanza *s, const struct stanza_note *note,
                       slice xmlns)
{
    static const slice open[] = { { "<message", 8 }, { "<presence", 9 }, { "<iq", 3 } };
    static const slice close[] = { { "</message>", 10 }, { "</presence>", 11 }, { "</iq>", 5 } };
    bool replaced = note != NULL && note->to.ptr != NULL;
    slice to = replaced ? note->to : stanza_to(s);
    const char *type = stanza_type_name((enum stanza_type)s->type);
    char *at = stanza_put(stanza_put(out, open[s->kind]), xmlns);

    if (s->from_len > 0) {
        at = PUT_LIT(at, " from='");
        at = stanza_put_value(at, stanza_from(s), s->escape & ESCAPE_FROM);
    }
    if (to.len > 0) {
        at = PUT_LIT(at, " to='");
        at = stanza_put_value(at, to, replaced || (s->escape & ESCAPE_TO));
    }
    if (s->id_len > 0) {
        at = PUT_LIT(at, " id='");
        at = stanza_put_value(at, stanza_id(s), s->escape & ESCAPE_ID);
    }
    if (type != NULL) {
        at = PUT_LIT(at, " type='");
        at = stanza_put_value(at, slice_of(type), false);
    }
    if (s->lang_len > 0) {
        at = PUT_LIT(at, " xml:lang='");
        at = stanza_put_value(at, (slice){ s->lang, s->lang_len }, false);
    }
    if (s->other_len > 0)
        at = stanza_put(at, (slice){ s->other, s->other_len });
    *at++ = '>';
    at = stanza_put(at, stanza_content(s));
    if (note != NULL)
        at = put_notes(at, note);
    at = stanza_put(at, close[s->kind]);
    return (size_t)(at - out);
}

size_t stanza_write(char *out, const struct stanza *s, const struct stanza_note *note)
{
    return write_as(out, s, note, (slice){ "", 0 });
}

size_t stanza_write_alone(char *out, const struct stanza *s, const struct stanza_note *note)
{
    return write_as(out, s, note, SLICE(" xmlns='" NS_CLIENT "'"));
}

void stanza_forward(struct buf *out, const struct stanza *s, const struct stanza_note *note)
{
    char *at = buf_reserve(out, stanza_write_max(s, note));
    if (at != NULL)
        out->len += stanza_write_alone(at, s, note);
}

void stanza_store(struct buf *out, const struct stanza *s)
{
    char *at = buf_reserve(out, stanza_write_max(s, NULL));
    if (at != NULL)
        out->len += stanza_write(at, s, NULL);
}

static bool child_elem(const struct stanza *s, unsigned i, struct elem *out)
{
    slice text = { s->content + s->child[i].at, s->child[i].len };
    /* it may use a prefix that the stanza or the stream declared */
    return elem_parse_within(out, text, SLICE(NS_CLIENT), (slice){ s->other, s->other_len });
}

bool stanza_child(const struct stanza *s, enum known_child known, struct elem *out)
{
    for (unsigned i = 0; i < s->child_count; i++)
        if (s->child[i].known == known)
            return child_elem(s, i, out);
    return false;
}

bool stanza_payload(const struct stanza *s, struct elem *out)
{
    return s->child_count > 0 && child_elem(s, 0, out);
}

/* Whether its local name is this one, by the bytes of its start tag. Features ask each message for
 * a child that few have, and to read all of its children for that costs more than to route it. */
static bool stanza_child_is_named(const struct stanza *s, unsigned i, const char *name)
{
    const char *p = s->content + s->child[i].at, *end = p + s->child[i].len, *local = ++p;
    for (; p < end && *p != '>' && *p != '/' && !xml_is(*p, XML_WHITE); p++)
        if (*p == ':')
            local = p + 1;
    return slice_is((slice){ local, (size_t)(p - local) }, name);
}

bool stanza_find(const struct stanza *s, const char *name, const char *ns, struct elem *out)
{
    for (unsigned i = 0; i < s->child_count; i++)
        if (stanza_child_is_named(s, i, name) && child_elem(s, i, out) && elem_is(out, name, ns))
            return true;
    return false;
}

slice stanza_child_text(const struct stanza *s, enum known_child known, struct arena *tmp)
{
    struct elem e;
    if (!stanza_child(s, known, &e))
        return (slice){ "", 0 };
    return elem_text(&e, tmp);
}

/* A bit for each child that is unwanted. */
static uint64_t drops(const struct stanza *s, uint64_t known, stanza_child_fn *unwanted, void *arg)
{
    uint64_t drop = 0;
    for (unsigned i = 0; stanza_has(s, known) && i < s->child_count; i++) {
        struct elem e;
        if ((known >> s->child[i].known & 1) != 0 && child_elem(s, i, &e) &&
            (unwanted == NULL || unwanted((enum known_child)s->child[i].known, &e, arg)))
            drop |= 1ull << i;
    }
    return drop;
}

struct stanza *stanza_change(const struct stanza *s, const struct stanza_change *c)
{
    return copy_with(s, &(struct edit){ .from = c->from,
                                        .to = c->to,
                                        .id = c->id,
                                        .drop = drops(s, c->known, c->unwanted, c->arg),
                                        .more = c->more });
}

struct stanza *stanza_without(struct stanza *s, uint64_t known, stanza_child_fn *unwanted,
                              void *arg)
{
    uint64_t drop = drops(s, known, unwanted, arg);
    if (drop == 0)
        return s;
    struct stanza *c = copy_with(s, &(struct edit){ .drop = drop });
    stanza_unref(&s);
    return c;
}
