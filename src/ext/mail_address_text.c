#include "ext/mail_address_text.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "http/parse.h"
#include "xmpp/jid.h"
#include <string.h>

struct mail_address_text {
    struct buf *out;
    const char *at, *end, *kept; /* `kept`: what is before it is in `out` */
    mail_address_fn *fn;
    void *arg;
    struct arena *tmp;
    bool changed;
    bool of_users; /* values of the field of a form (XEP-0004) that it is in are addresses */
    bool of_impp;  /* it is in an <impp/> of a vCard (XEP-0292) */
    /* Columns of the form that it is in whose values are addresses. */
    bool of_columns; /* it is where a form says what its columns are */
    unsigned columns;
    slice column[MAIL_ADDRESS_COLUMNS];
};

/* An element that has more than addresses. */
enum text_kind { TEXT_OTHER, TEXT_FIELD, TEXT_REFERENCE };
/* What the attributes of a field say. */
struct text_field {
    slice var;
    bool of_users, typed; /* by its name or type; by its type */
};

static bool text_is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool text_is_among(slice name, const char *const *names)
{
    while (*names != NULL && !slice_is(name, *names))
        names++;
    return *names != NULL;
}

/* Another text comes in place of `raw`. */
static void text_instead_of(struct mail_address_text *t, slice raw)
{
    ensure(raw.ptr >= t->kept && raw.ptr + raw.len <= t->end);
    buf_append(t->out, t->kept, (size_t)(raw.ptr - t->kept));
    t->kept = raw.ptr + raw.len;
    t->changed = true;
}

/* `text` is what `raw` means, without escapes. A text that is no JID stays as it is. */
static void text_address(struct mail_address_text *t, slice raw, slice text)
{
    struct jid jid;
    if (raw.len == 0 || jid_parse(&jid, text, t->tmp) != OK)
        return;
    slice other = t->fn(t->arg, jid_bare(&jid));
    if (other.ptr == NULL)
        return;
    text_instead_of(t, raw);
    xml_escape(t->out, other);
    if (!jid_is_bare(&jid)) {
        buf_lit(t->out, "/");
        xml_escape(t->out, jid.resource);
    }
}

/* RFC 5122 §2.2: what nodes and hosts have as it is, and the `@` between them. */
static void text_encode(struct buf *out, slice bare)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-._~!$()*+,;=@:[]";
    for (size_t i = 0; i < bare.len; i++)
        if (memchr(plain, bare.ptr[i], sizeof plain - 1) != NULL)
            buf_append(out, bare.ptr + i, 1);
        else
            buf_printf(out, "%%%02X", (unsigned)(uint8_t)bare.ptr[i]);
}

/* Replaces the bare address of an XMPP URI (RFC 5122), which mentions have (XEP-0372 §3.1), as
 * text_address() does. The rest stays. A URI that says as whom to go there stays as it is. */
static void text_uri(struct mail_address_text *t, slice raw, slice text)
{
    struct jid jid;
    slice scheme, rest, bare;
    size_t len = 0;
    if (!slice_cut(text, ':', &scheme, &rest) || !slice_eq_nocase(scheme, SLICE("xmpp")))
        return;
    while (len < rest.len && strchr("/?#", rest.ptr[len]) == NULL)
        len++;
    if (len == 0 || http_percent_decode((slice){ rest.ptr, len }, t->tmp, &bare) != OK ||
        jid_parse(&jid, bare, t->tmp) != OK || !jid_is_bare(&jid))
        return;
    slice other = t->fn(t->arg, jid_bare(&jid));
    if (other.ptr == NULL)
        return;
    text_instead_of(t, raw);
    buf_lit(t->out, "xmpp:");
    text_encode(t->out, other);
    xml_escape(t->out, slice_from(rest, len));
}

/* Fields are known by their names, too: neither a form that is submitted nor the items of a result
 * need say the types of their fields (XEP-0004 §3.3, §3.4). */
static bool text_var_names_users(slice var)
{
    static const char *const vars[] = {
        "muc#jid",
        "muc#register_jid",
        "muc#roomconfig_roomadmins",
        "muc#roomconfig_roomowners",
        "muc#roominfo_contactjid",
        "muster#roomconfig_contactjid",
        "hats#jid",
        "pubsub#contact",
        "pubsub#creator",
        "pubsub#owner",
        "pubsub#publisher",
        "pubsub#replyto",
        "pubsub#subscriber_jid",
        "with", /* XEP-0313 */
        "jid",  /* XEP-0055 */
        /* XEP-0133 */
        "accountjid",
        "accountjids",
        "adminjids",
        "blacklistjids",
        "whitelistjids",
        NULL,
    };
    return text_is_among(var, vars);
}

static void text_field_attribute(struct text_field *f, slice attribute, slice value)
{
    if (slice_is(attribute, "type"))
        f->typed = slice_starts(value, SLICE("jid-"));
    else if (slice_is(attribute, "var"))
        f->var = value;
}

/* Behind the attributes of a field. */
static void text_field_is(struct mail_address_text *t, const struct text_field *f)
{
    ensure(t->columns <= MAIL_ADDRESS_COLUMNS);
    t->of_users = f->typed || text_var_names_users(f->var);
    if (t->of_columns && f->typed && t->columns < MAIL_ADDRESS_COLUMNS)
        t->column[t->columns++] = f->var;
    for (unsigned i = 0; !t->of_users && i < t->columns; i++)
        t->of_users = slice_eq(t->column[i], f->var);
}

/* One attribute, behind the blanks before it. false: there is none. */
static bool text_attribute(struct mail_address_text *t, enum text_kind kind, struct text_field *f)
{
    static const char *const users[] = { "from",      "to",        "jid",       "by",
                                         "publisher", "initiator", "responder", NULL };
    static const char *const links[] = { "uri", "anchor", NULL };
    const char *name = t->at, *value;
    while (t->at < t->end && *t->at != '=' && *t->at != '>' && *t->at != '/' &&
           !text_is_blank(*t->at))
        t->at++;
    slice attribute = { name, (size_t)(t->at - name) };
    while (t->at < t->end && (text_is_blank(*t->at) || *t->at == '='))
        t->at++;
    if (attribute.len == 0 || t->at == t->end || (*t->at != '\'' && *t->at != '"'))
        return false;
    value = t->at + 1;
    const char *close = memchr(value, *t->at, (size_t)(t->end - value));
    t->at = close == NULL ? t->end : close + 1;
    if (close == NULL)
        return false;
    slice raw = { value, (size_t)(close - value) };
    if (text_is_among(attribute, users))
        text_address(t, raw, xml_unescape_attr(raw, t->tmp));
    else if (kind == TEXT_FIELD)
        text_field_attribute(f, attribute, xml_unescape_attr(raw, t->tmp));
    else if (kind == TEXT_REFERENCE && text_is_among(attribute, links))
        text_uri(t, raw, xml_unescape_attr(raw, t->tmp));
    return true;
}

/* Behind the CDATA section that begins at `p`, or to the end; NULL: none begins there. */
static const char *text_behind_cdata(const struct mail_address_text *t, const char *p)
{
    slice rest = { p, (size_t)(t->end - p) };
    if (!slice_starts(rest, SLICE("<![CDATA[")))
        return NULL;
    const char *close = memmem(rest.ptr, rest.len, "]]>", 3);
    return close == NULL ? t->end : close + 3;
}

/* At the end of a start tag: text up to an end tag. */
typedef void text_fn(struct mail_address_text *t, slice raw, slice text);
static void text_content(struct mail_address_text *t, text_fn *fn)
{
    const char *text = t->at + 1, *p = text, *behind;
    while ((p = memchr(p, '<', (size_t)(t->end - p))) != NULL &&
           (behind = text_behind_cdata(t, p)) != NULL)
        p = behind;
    if (p == NULL || t->end - p < 2 || p[1] != '/')
        return;
    struct elem value = { .content = { text, (size_t)(p - text) } };
    fn(t, value.content, elem_text(&value, t->tmp));
    t->at = p;
}

/* Where forms and cards begin and end. */
static void text_enters(struct mail_address_text *t, slice name, bool ends)
{
    if (slice_is(name, "x"))
        t->columns = 0;
    if (slice_is(name, "x") || slice_is(name, "item") || slice_is(name, "reported"))
        t->of_columns = slice_is(name, "reported") && !ends;
    if (slice_is(name, "impp"))
        t->of_impp = !ends;
    if (slice_is(name, "field"))
        t->of_users = false;
}

/* What the character data of an element is; NULL: no address. */
static text_fn *text_content_of(const struct mail_address_text *t, slice name)
{
    if (slice_is(name, "value"))
        return t->of_users ? text_address : NULL;
    if (slice_is(name, "uri"))
        return t->of_impp ? text_uri : NULL;
    return slice_is(name, "JABBERID") ? text_address : NULL; /* XEP-0054 */
}

/* From behind a `<` to behind its tag, or to the `>` of it. */
static void text_tag(struct mail_address_text *t)
{
    bool ends = t->at < t->end && *t->at == '/';
    const char *start = t->at += ends;
    while (t->at < t->end && *t->at != '>' && *t->at != '/' && !text_is_blank(*t->at))
        t->at++;
    slice name = { start, (size_t)(t->at - start) }, prefix, local;
    if (slice_cut(name, ':', &prefix, &local))
        name = local;
    enum text_kind kind = slice_is(name, "field")       ? TEXT_FIELD
                          : slice_is(name, "reference") ? TEXT_REFERENCE
                                                        : TEXT_OTHER;
    struct text_field field = { 0 };
    text_enters(t, name, ends);
    while (t->at < t->end && *t->at != '>') {
        if (text_is_blank(*t->at) || *t->at == '/')
            t->at++;
        else if (!text_attribute(t, kind, &field))
            return;
    }
    bool is_empty = t->at == t->end || t->at[-1] == '/';
    if (kind == TEXT_FIELD && !ends)
        text_field_is(t, &field);
    if (is_empty) /* as one that ends at once */
        text_enters(t, name, true);
    text_fn *content = ends || is_empty ? NULL : text_content_of(t, name);
    if (content != NULL)
        text_content(t, content);
}

bool mail_address_replace(struct buf *out, slice xml, mail_address_fn *fn, void *arg,
                          struct arena *tmp)
{
    struct mail_address_text t = {
        .out = out, .at = xml.ptr, .end = xml.ptr + xml.len, .kept = xml.ptr, fn, arg, tmp
    };
    while (t.at < t.end && (t.at = memchr(t.at, '<', (size_t)(t.end - t.at))) != NULL) {
        const char *behind = text_behind_cdata(&t, t.at);
        if (behind != NULL) {
            t.at = behind;
        } else {
            t.at++;
            text_tag(&t);
        }
    }
    buf_append(out, t.kept, (size_t)(xml.ptr + xml.len - t.kept));
    return t.changed;
}
