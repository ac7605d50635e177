#include "ext/mail_address_text.h"
#include "base/buf.h"
#include <string.h>

struct mail_address_text {
    struct buf *out;
    const char *at, *end, *kept; /* `kept`: what is before it is in `out` */
    mail_address_fn *fn;
    void *arg;
    bool changed;
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

static void text_value(struct mail_address_text *t, slice value)
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

/* One attribute, behind the blanks before it. false: there is none. */
static bool text_attribute(struct mail_address_text *t)
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
    if (close != NULL && text_names_user(attribute))
        text_value(t, (slice){ value, (size_t)(close - value) });
    return close != NULL;
}

/* From behind a `<` to behind its tag. */
static void text_tag(struct mail_address_text *t)
{
    while (t->at < t->end && *t->at != '>' && !text_is_blank(*t->at))
        t->at++;
    while (t->at < t->end && *t->at != '>') {
        if (text_is_blank(*t->at) || *t->at == '/')
            t->at++;
        else if (!text_attribute(t))
            return;
    }
}

bool mail_address_replace(struct buf *out, slice xml, mail_address_fn *fn, void *arg)
{
    static const slice cdata = { "<![CDATA[", 9 };
    struct mail_address_text t = { out, xml.ptr, xml.ptr + xml.len, xml.ptr, fn, arg, false };
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
