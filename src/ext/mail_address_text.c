#include "ext/mail_address_text.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
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
};

static bool text_is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool text_is_among(slice name, const char *const *names)
{
    while (*names != NULL && !slice_is(name, *names))
        names++;
    return *names != NULL;
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
    buf_append(t->out, t->kept, (size_t)(raw.ptr - t->kept));
    xml_escape(t->out, other);
    if (!jid_is_bare(&jid)) {
        buf_lit(t->out, "/");
        xml_escape(t->out, jid.resource);
    }
    t->kept = raw.ptr + raw.len;
    t->changed = true;
}

/* Fields are known by their names, too: neither a form that is submitted nor the items of a result
 * need say the types of their fields (XEP-0004 §3.3, §3.4). */
static bool text_field_names_users(slice attribute, slice value)
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
    return slice_is(attribute, "type") ? slice_starts(value, SLICE("jid-"))
                                       : slice_is(attribute, "var") && text_is_among(value, vars);
}

/* One attribute, behind the blanks before it. false: there is none. */
static bool text_attribute(struct mail_address_text *t, bool of_field)
{
    static const char *const users[] = { "from",      "to",        "jid",       "by",
                                         "publisher", "initiator", "responder", NULL };
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
    else if (of_field)
        t->of_users |= text_field_names_users(attribute, xml_unescape_attr(raw, t->tmp));
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
static void text_content(struct mail_address_text *t)
{
    const char *text = t->at + 1, *p = text, *behind;
    while ((p = memchr(p, '<', (size_t)(t->end - p))) != NULL &&
           (behind = text_behind_cdata(t, p)) != NULL)
        p = behind;
    if (p == NULL || t->end - p < 2 || p[1] != '/')
        return;
    struct elem value = { .content = { text, (size_t)(p - text) } };
    text_address(t, value.content, elem_text(&value, t->tmp));
    t->at = p;
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
    bool field = slice_is(name, "field");
    if (field)
        t->of_users = false;
    while (t->at < t->end && *t->at != '>') {
        if (text_is_blank(*t->at) || *t->at == '/')
            t->at++;
        else if (!text_attribute(t, field))
            return;
    }
    if (t->of_users && !ends && slice_is(name, "value") && t->at < t->end && t->at[-1] != '/')
        text_content(t);
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
