#include "ext/upload/upload_type.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/http_read.h"
#include "ext/upload/upload.h"
#include "ext/upload/upload_private.h"

static size_t marked_span(slice text, const char *marks)
{
    size_t n = 0;
    while (n < text.len) {
        char c = text.ptr[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr(marks, c) != NULL);
        if (!plain)
            break;
        n++;
    }
    return n;
}

/* RFC 6838 §4.2 */
static bool is_type_name(slice text)
{
    return text.len > 0 && marked_span(text, "!#$&-^_.+") == text.len;
}

static bool is_plain_type(slice text)
{
    slice main, sub;
    return slice_cut(text, '/', &main, &sub) && is_type_name(main) && is_type_name(sub);
}

/* RFC 9110 §5.6.2 */
static size_t token_span(slice text) { return marked_span(text, "!#$%&'*+-.^_`|~"); }

/* RFC 9110 §5.6.4, of ASCII; 0: it does not end. */
static size_t quoted_span(slice text)
{
    ensure(text.len > 0 && text.ptr[0] == '"');
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '"')
            return i + 1;
        if (text.ptr[i] == '\\' && ++i == text.len)
            return 0;
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c >= 0x7f)
            return 0;
    }
    return 0;
}

static void add_lower(struct buf *out, slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c += 'a' - 'A';
        buf_append(out, &c, 1);
    }
}

/* One, up to what stands behind it. */
static bool read_parameter(slice *rest, struct buf *out)
{
    slice name = { rest->ptr, token_span(*rest) }, value = slice_from(*rest, name.len);
    if (name.len == 0 || value.len < 2 || value.ptr[0] != '=')
        return false;
    value = slice_from(value, 1);
    value.len = value.ptr[0] == '"' ? quoted_span(value) : token_span(value);
    if (value.len == 0)
        return false;
    buf_lit(out, "; ");
    add_lower(out, name);
    buf_lit(out, "=");
    buf_add(out, value);
    *rest = slice_from(*rest, name.len + 1 + value.len);
    return true;
}

/* RFC 9110 §5.6.6: an empty one says nothing. */
static bool read_parameters(slice rest, struct buf *out)
{
    for (rest = http_trim(rest); rest.len > 0; rest = http_trim(rest)) {
        if (rest.ptr[0] != ';' && !read_parameter(&rest, out))
            return false;
        rest = http_trim(rest);
        if (rest.len > 0 && rest.ptr[0] != ';')
            return false;
        rest = slice_from(rest, rest.len > 0);
    }
    return true;
}

enum err upload_type_read(slice text, struct arena *tmp, slice *out)
{
    slice plain, rest;
    struct buf b;
    bool more = slice_cut(text, ';', &plain, &rest);
    plain = http_trim(plain);
    if (!is_plain_type(plain))
        return E_SYNTAX;
    buf_init(&b, UPLOAD_TYPE_MAX);
    add_lower(&b, plain);
    bool right = (!more || read_parameters(rest, &b)) && !b.overflow;
    if (right)
        *out = slice_dup(tmp, buf_slice(&b));
    buf_fini(&b);
    return right ? OK : E_SYNTAX;
}

slice upload_type_plain(slice type)
{
    slice plain, rest;
    slice_cut(type, ';', &plain, &rest);
    return plain;
}

bool upload_types_ok(slice text)
{
    slice one;
    while (slice_word(&text, &one)) {
        slice main, sub;
        bool family = slice_cut(one, '/', &main, &sub) && slice_is(sub, "*") &&
                      (slice_is(main, "*") || is_type_name(main));
        if (!family && !slice_is(one, "*") && !is_plain_type(one))
            return false;
    }
    return true;
}

/* A type that is not said is application/octet-stream. */
bool upload_type_allowed(slice type)
{
    slice one, rest = slice_of(setting_text(&upload_types));
    slice plain = type.len > 0 ? upload_type_plain(type) : SLICE("application/octet-stream");
    while (slice_word(&rest, &one)) {
        bool all = slice_is(one, "*/*") || slice_is(one, "*");
        size_t family = one.len > 2 && one.ptr[one.len - 1] == '*' ? one.len - 1 : 0;
        if (all || slice_eq_nocase(one, plain) ||
            (family > 0 && plain.len >= family &&
             slice_eq_nocase((slice){ one.ptr, family }, (slice){ plain.ptr, family })))
            return true;
    }
    return false;
}
