#include "ext/mail_address_text.h"
#include "base/buf.h"
#include <string.h>

struct mail_address_text {
    struct buf *out;
    const char *at, *end, *kept; /* `kept`: what is before it is in `out` */
    mail_address_fn *fn;
    void *arg;
    bool changed;
    bool of_users; /* values of the field of a form (XEP-0004) that it is in are addresses */
};

static bool text_is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool text_names_user(slice attribute)
{
    static const char *const names[] = { "from", "to", "jid", "by", "publisher" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (slice_is(attribute, names[i]))
            return true;
    return false;
}

static void text_address(struct mail_address_text *t, slice value)
{
    const char *slash = value.len > 0 ? memchr(value.ptr, '/', value.len) : NULL;
    slice bare = { value.ptr, slash == NULL ? value.len : (size_t)(slash - value.ptr) };
    slice other = bare.len > 0 ? t->fn(t->arg, bare) : (slice){ 0 };
    if (other.ptr == NULL)
        return;
    buf_append(t->out, t->kept, (size_t)(bare.ptr - t->kept));
    buf_add(t->out, other);
    t->kept = bare.ptr + bare.len;
    t->changed = true;
}

/* A form that is submitted need not say the types of its fields (XEP-0004 §3.3). */
static bool text_field_names_users(slice attribute, slice value)
{
    static const char *const vars[] = {
        "muc#roomconfig_roomadmins",
        "muc#roomconfig_roomowners",
        "muc#jid",
        "muc#roominfo_contactjid",
        "pubsub#subscriber_jid",
        "pubsub#owner",
        "pubsub#creator",
        "pubsub#publisher",
        "pubsub#contact",
        "with",
    };
    if (slice_is(attribute, "type"))
        return slice_starts(value, SLICE("jid-"));
    for (size_t i = 0; slice_is(attribute, "var") && i < sizeof vars / sizeof vars[0]; i++)
        if (slice_is(value, vars[i]))
            return true;
    return false;
}

/* One attribute, behind the blanks before it. false: there is none. */
static bool text_attribute(struct mail_address_text *t, bool of_field)
{
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
    slice found = { value, (size_t)(close - value) };
    if (text_names_user(attribute))
        text_address(t, found);
    t->of_users |= of_field && text_field_names_users(attribute, found);
    return true;
}

/* At the end of a tag. */
static void text_content(struct mail_address_text *t)
{
    const char *text = t->at + 1, *close = memchr(t->at, '<', (size_t)(t->end - t->at));
    if (close != NULL)
        text_address(t, (slice){ text, (size_t)(close - text) });
}

/* From behind a `<` to behind its tag. */
static void text_tag(struct mail_address_text *t)
{
    const char *start = t->at;
    while (t->at < t->end && *t->at != '>' && !text_is_blank(*t->at))
        t->at++;
    slice name = { start, (size_t)(t->at - start) };
    bool field = slice_is(name, "field");
    if (field || slice_is(name, "/field"))
        t->of_users = false;
    while (t->at < t->end && *t->at != '>') {
        if (text_is_blank(*t->at) || *t->at == '/')
            t->at++;
        else if (!text_attribute(t, field))
            return;
    }
    if (t->of_users && slice_is(name, "value") && t->at < t->end && t->at[-1] != '/')
        text_content(t);
}

bool mail_address_replace(struct buf *out, slice xml, mail_address_fn *fn, void *arg)
{
    static const slice cdata = { "<![CDATA[", 9 };
    struct mail_address_text t = {
        out, xml.ptr, xml.ptr + xml.len, xml.ptr, fn, arg, false, false
    };
    while (t.at < t.end && (t.at = memchr(t.at, '<', (size_t)(t.end - t.at))) != NULL) {
        slice rest = { t.at, (size_t)(t.end - t.at) };
        if (slice_starts(rest, cdata)) {
            const char *close = memmem(rest.ptr, rest.len, "]]>", 3);
            t.at = close == NULL ? t.end : close + 3;
        } else {
            t.at++;
            text_tag(&t);
        }
    }
    buf_append(out, t.kept, (size_t)(xml.ptr + xml.len - t.kept));
    return t.changed;
}
