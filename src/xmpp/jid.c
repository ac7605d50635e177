#include "xmpp/jid.h"
#include "base/arena.h"
#include "xmpp/precis.h"
#include <arpa/inet.h>

/* What an ASCII byte is to each part: bits. A part whose bytes all have its bit is prepared
 * already, which is the usual case and needs neither ICU nor a copy. */
enum { LOCAL = 1, DOMAIN = 2, RESOURCE = 4 };
enum { R = RESOURCE, T = LOCAL | RESOURCE, A = LOCAL | DOMAIN | RESOURCE };

/* RFC 7622 §3.3.1: no " & ' / : < > @ in a localpart; IdentifierClass has no space; upper case is
 * mapped. §3.2: letters, digits, hyphen and the dots between labels in a domainpart. */
/* clang-format off */
static const uint8_t classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 0x00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 0x10 */
    R, T, R, T, T, T, R, R, T, T, T, T, T, A, A, R, /* 0x20 */
    A, A, A, A, A, A, A, A, A, A, R, T, R, T, R, T, /* 0x30 */
    R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, /* 0x40 */
    R, R, R, R, R, R, R, R, R, R, R, T, T, T, T, T, /* 0x50 */
    T, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, /* 0x60 */
    A, A, A, A, A, A, A, A, A, A, A, T, T, T, T, 0, /* 0x70 */
};
/* clang-format on */

enum { LABEL_MAX = 63 }; /* bytes, RFC 1035 §2.3.4 */

static bool jid_all_of(slice s, unsigned class)
{
    for (size_t i = 0; i < s.len; i++)
        class &= classes[(unsigned char)s.ptr[i]];
    return class != 0;
}

static bool is_ascii(slice s)
{
    unsigned char all = 0;
    for (size_t i = 0; i < s.len; i++)
        all |= (unsigned char)s.ptr[i];
    return all < 0x80;
}

static slice lower_ascii(slice s, struct arena *tmp)
{
    char *out = arena_alloc(tmp, 1, s.len);
    for (size_t i = 0; i < s.len; i++)
        out[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] | 0x20) : s.ptr[i];
    return (slice){ out, s.len };
}

static bool jid_part_fits(slice s) { return s.len > 0 && s.len <= JID_PART_MAX; }

/* Separators that mapping may have brought in: a fullwidth '@', say. */
static bool no_separators(slice local)
{
    for (size_t i = 0; i < local.len; i++)
        if (classes[(unsigned char)local.ptr[i]] == R)
            return false;
    return true;
}

enum err jid_prep_local(slice text, struct arena *tmp, slice *out)
{
    *out = text;
    if (jid_part_fits(text) && jid_all_of(text, LOCAL))
        return OK;
    if (!is_ascii(text))
        return precis_username(text, tmp, out) == OK && no_separators(*out) ? OK : E_SYNTAX;
    if (!jid_part_fits(text))
        return E_SYNTAX;
    *out = lower_ascii(text, tmp);
    return jid_all_of(*out, LOCAL) ? OK : E_SYNTAX;
}

/* A label of letters, digits and hyphens (RFC 5890 §2.3.1). */
static bool label_ok(slice label)
{
    return label.len > 0 && label.len <= LABEL_MAX && label.ptr[0] != '-' &&
           label.ptr[label.len - 1] != '-';
}

enum name { NAME_BAD, NAME_PLAIN, NAME_ENCODED /* an A-label is in it */ };

/* `domain` is lower case and has no byte but those of DOMAIN. */
static enum name jid_name_of(slice domain)
{
    enum name name = NAME_PLAIN;
    for (size_t at = 0, start = 0; at <= domain.len; at++) {
        if (at < domain.len && domain.ptr[at] != '.')
            continue;
        slice label = { domain.ptr + start, at - start };
        if (!label_ok(label))
            return NAME_BAD;
        if (slice_starts(label, SLICE("xn--")))
            name = NAME_ENCODED;
        start = at + 1;
    }
    return name;
}

/* "[2001:db8::1]", in the form of RFC 5952. An IPv4 address in IPv6 (RFC 4291 §2.5.5.2) is the host
 * of that address, and is written as such: one form for each host. */
static enum err prep_ipv6(slice text, struct arena *tmp, slice *out)
{
    struct in6_addr address;
    char in[INET6_ADDRSTRLEN], canonical[INET6_ADDRSTRLEN];
    if (text.len < 4 || text.len - 2 >= sizeof in || text.ptr[text.len - 1] != ']')
        return E_SYNTAX;
    memcpy(in, text.ptr + 1, text.len - 2);
    in[text.len - 2] = 0;
    if (memchr(in, 0, text.len - 2) != NULL || inet_pton(AF_INET6, in, &address) != 1 ||
        inet_ntop(AF_INET6, &address, canonical, sizeof canonical) == NULL)
        return E_SYNTAX;
    *out = text;
    if (IN6_IS_ADDR_V4MAPPED(&address))
        *out = slice_of(arena_printf(tmp, "%s", canonical + strlen("::ffff:")));
    else if (!slice_is((slice){ text.ptr + 1, text.len - 2 }, canonical))
        *out = slice_of(arena_printf(tmp, "[%s]", canonical));
    return OK;
}

/* RFC 7622 §3.2: one final dot is no part of the name. */
static slice without_final_dot(slice domain)
{
    if (domain.len > 0 && domain.ptr[domain.len - 1] == '.')
        domain.len--;
    return domain;
}

static enum err prep_encoded(slice text, struct arena *tmp, slice *out)
{
    if (precis_domain(text, tmp, out) != OK)
        return E_SYNTAX;
    *out = without_final_dot(*out);
    /* ASCII that came out of mappings obeys the same rules as ASCII that came in */
    if (is_ascii(*out) && (!jid_all_of(*out, DOMAIN) || jid_name_of(*out) != NAME_PLAIN))
        return E_SYNTAX;
    return jid_part_fits(*out) ? OK : E_SYNTAX;
}

enum err jid_prep_domain(slice text, struct arena *tmp, slice *out)
{
    if (text.len > 0 && text.ptr[0] == '[')
        return prep_ipv6(text, tmp, out);
    if (!is_ascii(text))
        return prep_encoded(text, tmp, out);
    *out = without_final_dot(text);
    if (!jid_part_fits(*out))
        return E_SYNTAX;
    if (!jid_all_of(*out, DOMAIN))
        *out = lower_ascii(*out, tmp);
    if (!jid_all_of(*out, DOMAIN))
        return E_SYNTAX;
    enum name name = jid_name_of(*out);
    if (name == NAME_ENCODED)
        return prep_encoded(*out, tmp, out);
    return name == NAME_PLAIN ? OK : E_SYNTAX;
}

enum err jid_prep_resource(slice text, struct arena *tmp, slice *out)
{
    *out = text;
    if (jid_part_fits(text) && jid_all_of(text, RESOURCE))
        return OK;
    return is_ascii(text) ? E_SYNTAX : precis_opaque(text, tmp, out);
}

enum err jid_prep_password(slice text, struct arena *tmp, slice *out)
{
    return jid_prep_resource(text, tmp, out);
}

const char *jid_password_problem(slice text, struct arena *tmp)
{
    return precis_opaque_problem(text, tmp);
}

enum err jid_prep_password_sasl(slice text, struct arena *tmp, slice *out)
{
    *out = text;
    if (jid_part_fits(text) && jid_all_of(text, RESOURCE))
        return OK;
    return is_ascii(text) ? E_SYNTAX : precis_saslprep(text, tmp, out);
}

enum err jid_prep_password_given(slice text, struct arena *tmp, slice *out)
{
    return jid_prep_password(text, tmp, out) == OK ? OK : jid_prep_password_sasl(text, tmp, out);
}

bool jid_is_address(slice domain)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr v4;
    if (domain.len == 0 || domain.ptr[0] == '[')
        return true;
    if (domain.len >= sizeof text)
        return false;
    memcpy(text, domain.ptr, domain.len);
    text[domain.len] = '\0';
    return inet_pton(AF_INET, text, &v4) == 1;
}

bool jid_may_have_below(slice domain)
{
    size_t n = domain.len;
    while (n > 0 && domain.ptr[n - 1] >= '0' && domain.ptr[n - 1] <= '9')
        n--;
    bool number = n < domain.len && (n == 0 || domain.ptr[n - 1] == '.');
    return !number && !jid_is_address(domain);
}

slice jid_bare_of(slice text)
{
    const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    return slash == NULL ? text : (slice){ text.ptr, (size_t)(slash - text.ptr) };
}

/* RFC 7622 §3.1: the first '/' begins the resourcepart; the first '@' before it ends the localpart.
 */
struct jid jid_split(slice text)
{
    struct jid j = { .full = text, .domain = text };
    const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    if (slash != NULL) {
        j.domain.len = (size_t)(slash - text.ptr);
        j.resource = (slice){ slash + 1, text.len - j.domain.len - 1 };
    }
    const char *at = j.domain.len > 0 ? memchr(text.ptr, '@', j.domain.len) : NULL;
    if (at != NULL) {
        j.local = (slice){ text.ptr, (size_t)(at - text.ptr) };
        j.domain = slice_from(j.domain, j.local.len + 1);
    }
    return j;
}

static char *jid_put(char *at, slice s)
{
    memcpy(at, s.ptr, s.len);
    return at + s.len;
}

/* `full` is made anew of the prepared parts. */
static void jid_join(struct jid *j, struct arena *tmp)
{
    size_t max = j->local.len + 1 + j->domain.len + 1 + j->resource.len;
    char *text = arena_alloc(tmp, 1, max), *at = text;
    if (j->local.len > 0) {
        at = jid_put(at, j->local);
        *at++ = '@';
    }
    at = jid_put(at, j->domain);
    if (j->resource.len > 0) {
        *at++ = '/';
        at = jid_put(at, j->resource);
    }
    *j = jid_split((slice){ text, (size_t)(at - text) });
}

enum err jid_parse(struct jid *out, slice text, struct arena *tmp)
{
    struct jid raw = jid_split(text), j = raw;
    /* A separator with nothing beside it: "@domain", "domain/" */
    if ((raw.local.ptr != NULL && jid_prep_local(raw.local, tmp, &j.local) != OK) ||
        jid_prep_domain(raw.domain, tmp, &j.domain) != OK ||
        (raw.resource.ptr != NULL && jid_prep_resource(raw.resource, tmp, &j.resource) != OK))
        return E_SYNTAX;
    bool borrowed = j.local.ptr == raw.local.ptr && j.domain.ptr == raw.domain.ptr &&
                    j.domain.len == raw.domain.len && j.resource.ptr == raw.resource.ptr;
    if (!borrowed)
        jid_join(&j, tmp);
    *out = j;
    return OK;
}

slice jid_bare(const struct jid *j)
{
    size_t local = j->local.len > 0 ? j->local.len + 1 : 0;
    return (slice){ j->full.ptr, local + j->domain.len };
}

bool jid_words_suit(slice list, bool (*suits)(const struct jid *j))
{
    struct arena *tmp = arena_create(0);
    bool right = true;
    slice one;
    while (right && slice_word(&list, &one)) {
        struct jid jid;
        right = jid_parse(&jid, one, tmp) == OK && slice_eq(jid.full, one) &&
                (suits == NULL || suits(&jid));
    }
    arena_destroy(&tmp);
    return right;
}

/* XEP-0106 §3: the ten characters and their escapes */
static const char escaped[] = " \"&'/:<>@\\";
static const char hex[][3] = { "20", "22", "26", "27", "2f", "3a", "3c", "3e", "40", "5c" };
enum { ESCAPES = sizeof hex / sizeof hex[0] };

/* The character that the escape at s.ptr stands for; 0: none is there. */
static char escape_at(slice s)
{
    if (s.len < 3 || s.ptr[0] != '\\')
        return 0;
    for (size_t i = 0; i < ESCAPES; i++)
        if (memcmp(s.ptr + 1, hex[i], 2) == 0)
            return escaped[i];
    return 0;
}

/* A localpart neither begins nor ends with a space, XEP-0106 §2. */
static slice jid_trim(slice s)
{
    while (s.len > 0 && s.ptr[0] == ' ')
        s = slice_from(s, 1);
    while (s.len > 0 && s.ptr[s.len - 1] == ' ')
        s.len--;
    return s;
}

slice jid_escape(slice text, struct arena *tmp)
{
    slice s = jid_trim(text);
    char *out = arena_alloc(tmp, 3, s.len), *at = out;
    for (size_t i = 0; i < s.len; i++) {
        const char *found = memchr(escaped, s.ptr[i], ESCAPES);
        /* §4.2: a backslash only where it would be read as an escape */
        if (found != NULL && (*found != '\\' || escape_at(slice_from(s, i)) != 0)) {
            *at++ = '\\';
            at = jid_put(at, (slice){ hex[found - escaped], 2 });
        } else {
            *at++ = s.ptr[i];
        }
    }
    return (slice){ out, (size_t)(at - out) };
}

slice jid_unescape(slice local, struct arena *tmp)
{
    char *out = arena_alloc(tmp, 1, local.len), *at = out;
    for (size_t i = 0; i < local.len;) {
        char c = escape_at(slice_from(local, i));
        bool edge = i == 0 || i + 3 == local.len; /* §4.2: no \20 at either end */
        if (c == 0 || (c == ' ' && edge)) {
            *at++ = local.ptr[i++];
        } else {
            *at++ = c;
            i += 3;
        }
    }
    return (slice){ out, (size_t)(at - out) };
}
