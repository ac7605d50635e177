#include "codec/http_read.h"
#include "base/arena.h"

enum state {
    START,
    START_LF,
    VERB,
    TARGET,
    VERSION,
    VERSION_LF,
    FIELD, /* the first byte of a line */
    NAME,
    VALUE,
    VALUE_LF,
    HEAD_LF,
    HEAD_DONE, /* its LF is still to be taken */
    DATA,
    DATA_LAST, /* its last byte is still to be taken */
    SIZE,      /* chunked, RFC 9112 §7.1 */
    SIZE_LF,
    EXT_NAME,
    EXT_VALUE,
    CHUNK,
    CHUNK_CR,
    CHUNK_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DEAD
};

enum { SIZE_DIGITS_MAX = 16, LENGTH_DIGITS_MAX = 18, HTTP_HOST_MAX = 255 };

/* What a byte may be part of: a token (RFC 9110 §5.6.2), the value of a field (§5.5), a target. */
enum { T = 1, V = 2, U = 4 };
#define TV (T | V | U)
#define VU (V | U)
/* clang-format off */
static const uint8_t kinds[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    V, TV, VU, TV, TV, TV, TV, TV, VU, VU, TV, TV, VU, TV, TV, VU, /*  !"#$%&'()*+,-./ */
    TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, VU, VU, VU, VU, VU, VU, /* 0-9 :;<=>? */
    VU, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV,
    TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, VU, VU, VU, TV, TV, /* P-Z [\]^_ */
    TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV,
    TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, TV, VU, TV, VU, TV, 0, /* p-z {|}~ DEL */
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
};
/* clang-format on */

static bool is(char c, uint8_t kind) { return (kinds[(unsigned char)c] & kind) != 0; }

static size_t http_read_run(slice in, uint8_t kind)
{
    size_t n = 0;
    while (n < in.len && is(in.ptr[n], kind))
        n++;
    return n;
}

slice http_trim(slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

void http_head_init(struct http_head *head, size_t bytes_max)
{
    head->bytes_max = bytes_max;
    head->target = head->path = head->query = head->host = (struct http_span){ 0 };
    head->field_count = 0;
    head->method = METHOD_UNKNOWN;
    head->minor = 1;
    head->keep_alive = false;
    head->body_len = 0;
    buf_init(&head->text, HTTP_TARGET_MAX + bytes_max);
}

void http_head_fini(struct http_head *head) { buf_fini(&head->text); }

/* Both, with a comma between them. */
static slice http_read_join(slice a, slice b, struct arena *tmp)
{
    char *text = arena_alloc_raw(tmp, a.len + 2 + b.len);
    memcpy(text, a.ptr, a.len);
    memcpy(text + a.len, ", ", 2);
    memcpy(text + a.len + 2, b.ptr, b.len);
    return (slice){ text, a.len + 2 + b.len };
}

slice http_field(const struct http_head *head, const char *name, struct arena *tmp)
{
    slice all = { 0 };
    for (unsigned i = 0; i < head->field_count; i++) {
        slice value = http_span(head, head->field[i].value);
        if (slice_eq_nocase(http_span(head, head->field[i].name), slice_of(name)))
            all = all.ptr == NULL ? value : http_read_join(all, value, tmp);
    }
    return all;
}

void http_reader_init(struct http_reader *r) { *r = (struct http_reader){ .state = START }; }

static enum http_read bad(struct http_reader *r, struct http_step *out, unsigned status)
{
    r->state = DEAD;
    out->status = status;
    return HTTP_READ_BAD;
}

static enum http_read go(struct http_reader *r, enum state state)
{
    r->state = (uint8_t)state;
    r->got = 0;
    return HTTP_READ_MORE;
}

/* The request line (RFC 9112 §3). */

static enum http_method method_of(slice word)
{
    static const char *const names[] = {
        [METHOD_GET] = "GET",        [METHOD_HEAD] = "HEAD",     [METHOD_POST] = "POST",
        [METHOD_PUT] = "PUT",        [METHOD_DELETE] = "DELETE", [METHOD_PATCH] = "PATCH",
        [METHOD_OPTIONS] = "OPTIONS"
    };
    for (unsigned i = METHOD_GET; i <= METHOD_OPTIONS; i++)
        if (slice_is(word, names[i]))
            return (enum http_method)i;
    return METHOD_UNKNOWN;
}

static enum http_read method(struct http_reader *r, struct http_head *head, slice in,
                             struct http_step *out)
{
    char c = in.ptr[0];
    out->used++;
    if (c == ' ' && r->got > 0) {
        head->method = (uint8_t)method_of((slice){ r->word, r->got });
        return go(r, TARGET);
    }
    if (!is(c, T))
        return bad(r, out, 400);
    if (r->got == sizeof r->word) /* longer than all that we know */
        return bad(r, out, 501);
    r->word[r->got++] = c;
    return HTTP_READ_MORE;
}

static enum http_read target(struct http_reader *r, struct http_head *head, slice in,
                             struct http_step *out)
{
    size_t n = http_read_run(in, U);
    out->used += n;
    if (n > HTTP_TARGET_MAX - head->target.len)
        return bad(r, out, 414);
    buf_append(&head->text, in.ptr, n);
    head->target.len += (uint32_t)n;
    if (n == in.len)
        return HTTP_READ_MORE;
    out->used++;
    if (in.ptr[n] == '\r' && head->target.len > 0) /* HTTP/0.9 */
        return bad(r, out, 505);
    if (in.ptr[n] != ' ' || head->target.len == 0)
        return bad(r, out, 400);
    return go(r, VERSION);
}

/* RFC 9112 §2.3 */
static enum http_read http_read_version(struct http_reader *r, struct http_head *head, slice in,
                                        struct http_step *out)
{
    static const char form[] = "HTTP/1.1";
    char c = in.ptr[0];
    out->used++;
    if (r->got == sizeof r->word) {
        if (c != '\r')
            return bad(r, out, 400);
        if (r->word[5] != '1' || r->word[7] > '1')
            return bad(r, out, 505);
        head->minor = (uint8_t)(r->word[7] - '0');
        return head->method == METHOD_UNKNOWN ? bad(r, out, 501) : go(r, VERSION_LF);
    }
    if (r->got == 5 || r->got == 7 ? c < '0' || c > '9' : c != form[r->got])
        return bad(r, out, 400);
    r->word[r->got++] = c;
    return HTTP_READ_MORE;
}

static struct http_span span_of(const struct http_head *head, slice s)
{
    return (struct http_span){ (uint32_t)(s.ptr - head->text.ptr), (uint32_t)s.len };
}

/* Whether a host has only characters that are safe in links and logs. */
static bool host_valid(slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            strchr(".-_:[]", c) == NULL)
            return false;
    }
    return host.len <= HTTP_HOST_MAX;
}

/* The target in its forms (RFC 9112 §3.2); the authority form is for CONNECT. */
static bool split_target(struct http_head *head)
{
    static const slice schemes[] = { SLICE_INIT("http://"), SLICE_INIT("https://") };
    slice target = http_span(head, head->target), path, query;
    if (head->method == METHOD_OPTIONS && slice_is(target, "*")) {
        head->path = head->target;
        return true;
    }
    for (unsigned i = 0; i < 2; i++) {
        size_t n = schemes[i].len;
        if (target.len <= n || !slice_eq_nocase((slice){ target.ptr, n }, schemes[i]))
            continue;
        slice rest = slice_from(target, n), host = rest;
        slice_cut(rest, '/', &host, &path);
        if (host.len == 0 || !host_valid(host)) /* RFC 9110 §4.2.1 */
            return false;
        head->host = span_of(head, host);
        target = slice_from(rest, host.len);
    }
    if ((target.len > 0 || head->host.len == 0) && target.ptr[0] != '/')
        return false;
    slice_cut(target, '?', &path, &query);
    head->path = span_of(head, path);
    head->query = span_of(head, slice_from(target, path.len + (path.len < target.len)));
    return memchr(target.ptr, '#', target.len) == NULL;
}

/* The fields that describe the message (RFC 9112 §6.3, §9.3). */

/* Fields of one value: a proxy may take the last where we took the first (RFC 9110 §5.3). */
static const slice one_only[] = {
    SLICE_INIT("authorization"),
    SLICE_INIT("content-type"),
    SLICE_INIT("cookie"),
    SLICE_INIT("origin"),
    SLICE_INIT("range"),
    SLICE_INIT("x-csrf-token"),
    SLICE_INIT("x-console-idle"),
    SLICE_INIT("last-event-id"),
    SLICE_INIT("access-control-request-method"),
    SLICE_INIT("sec-websocket-key"),     /* RFC 6455 §11.3.1 */
    SLICE_INIT("sec-websocket-version"), /* §11.3.5 */
};

struct framing {
    unsigned hosts, lengths, codings;
    unsigned seen; /* a bit for each of one_only */
    bool close, keep, chunked;
    unsigned status;
};

static int64_t content_length(slice value, struct framing *f)
{
    int64_t n = 0;
    if (value.len == 0)
        f->status = 400;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') /* no sign, no list */
            f->status = 400;
        else if (i < LENGTH_DIGITS_MAX)
            n = n * 10 + (value.ptr[i] - '0');
    }
    if (value.len > LENGTH_DIGITS_MAX && f->status == 0)
        f->status = 413;
    return n;
}

static void connection(slice list, struct framing *f)
{
    slice item;
    while (list.len > 0) {
        slice_cut(list, ',', &item, &list);
        item = http_trim(item);
        f->close = f->close || slice_eq_nocase(item, SLICE("close"));
        f->keep = f->keep || slice_eq_nocase(item, SLICE("keep-alive"));
    }
}

static void only_once(slice name, struct framing *f)
{
    for (unsigned i = 0; i < sizeof one_only / sizeof one_only[0]; i++) {
        if (name.len != one_only[i].len || !slice_eq_nocase(name, one_only[i]))
            continue;
        if ((f->seen & 1u << i) != 0)
            f->status = 400;
        f->seen |= 1u << i;
    }
}

static void http_read_look_at(struct http_head *head, const struct http_field *field,
                              struct framing *f)
{
    slice name = http_span(head, field->name), value = http_span(head, field->value);
    only_once(name, f);
    switch (name.len) {
    case sizeof "host" - 1:
        if (slice_eq_nocase(name, SLICE("host"))) {
            f->hosts++;
            f->status = host_valid(value) ? f->status : 400;
            if (head->host.len == 0) /* RFC 9112 §3.2.2: that of the target goes before */
                head->host = field->value;
        }
        break;
    case sizeof "connection" - 1:
        if (slice_eq_nocase(name, SLICE("connection")))
            connection(value, f);
        break;
    case sizeof "content-length" - 1:
        if (slice_eq_nocase(name, SLICE("content-length"))) {
            f->lengths++;
            head->body_len = content_length(value, f);
        }
        break;
    case sizeof "transfer-encoding" - 1:
        if (slice_eq_nocase(name, SLICE("transfer-encoding"))) {
            f->codings++;
            f->chunked = slice_eq_nocase(value, SLICE("chunked"));
        }
        break;
    default:
        break;
    }
}

static unsigned frame(struct http_head *head)
{
    struct framing f = { 0 };
    if (!split_target(head))
        return 400;
    for (unsigned i = 0; i < head->field_count; i++)
        http_read_look_at(head, &head->field[i], &f);
    if (f.status != 0)
        return f.status;
    if (f.hosts > 1 || (f.hosts == 0 && head->minor > 0)) /* RFC 9112 §3.2 */
        return 400;
    if (f.lengths > 1 || (f.lengths > 0 && f.codings > 0)) /* §6.2, §6.3 */
        return 400;
    if (f.codings > 0 && head->minor == 0) /* §6.1 */
        return 400;
    if (f.codings > 1 || (f.codings > 0 && !f.chunked))
        return 501;
    if (f.codings > 0)
        head->body_len = -1;
    head->keep_alive = !f.close && (head->minor > 0 || f.keep);
    return 0;
}

/* Fields, kept or of a trailer (RFC 9112 §5, §7.1.2). */

static bool http_read_add(struct http_head *head, struct http_span *span, slice piece)
{
    size_t limit = head->target.len + head->bytes_max;
    if (piece.len > limit - head->text.len)
        return false;
    buf_add(&head->text, piece);
    span->len += (uint32_t)piece.len;
    return !head->text.overflow;
}

static enum http_read http_read_field(struct http_reader *r, struct http_head *head, slice in,
                                      struct http_step *out)
{
    if (in.ptr[0] == '\r') {
        out->used++;
        return go(r, HEAD_LF);
    }
    if (!is(in.ptr[0], T)) { /* §2.2, §5.2: no blank before a field, no folded line */
        out->used++;
        return bad(r, out, 400);
    }
    if (head->field_count == HTTP_FIELDS_MAX)
        return bad(r, out, 431);
    struct http_field *f = &head->field[head->field_count++];
    f->name = (struct http_span){ (uint32_t)head->text.len, 0 };
    return go(r, NAME);
}

static enum http_read http_read_name(struct http_reader *r, struct http_head *head, slice in,
                                     struct http_step *out)
{
    struct http_field *f = &head->field[head->field_count - 1];
    size_t n = http_read_run(in, T);
    out->used += n;
    if (!http_read_add(head, &f->name, (slice){ in.ptr, n }))
        return bad(r, out, 431);
    if (n == in.len)
        return HTTP_READ_MORE;
    out->used++;
    if (in.ptr[n] != ':') /* §5.1: no blank before it */
        return bad(r, out, 400);
    f->value = (struct http_span){ (uint32_t)head->text.len, 0 };
    return go(r, VALUE);
}

static enum http_read http_read_value(struct http_reader *r, struct http_head *head, slice in,
                                      struct http_step *out)
{
    struct http_field *f = &head->field[head->field_count - 1];
    size_t n = http_read_run(in, V);
    out->used += n;
    if (!http_read_add(head, &f->value, (slice){ in.ptr, n }))
        return bad(r, out, 431);
    if (n == in.len)
        return HTTP_READ_MORE;
    out->used++;
    if (in.ptr[n] != '\r')
        return bad(r, out, 400);
    slice text = http_trim(http_span(head, f->value)); /* §5.5 */
    f->value.at = (uint32_t)(text.ptr - head->text.ptr);
    f->value.len = (uint32_t)text.len;
    return go(r, VALUE_LF);
}

static enum http_read head_lf(struct http_reader *r, struct http_head *head, slice in,
                              struct http_step *out)
{
    unsigned status = in.ptr[0] == '\n' ? frame(head) : 400;
    if (status != 0) {
        out->used++;
        return bad(r, out, status);
    }
    r->chunked = head->body_len < 0;
    r->left = r->chunked ? 0 : (uint64_t)head->body_len;
    r->extra = 0;
    go(r, HEAD_DONE);
    return HTTP_READ_HEAD;
}

/* The body (RFC 9112 §6, §7.1). */

static enum http_read http_read_end(struct http_reader *r)
{
    r->blank = false;
    go(r, START);
    return HTTP_READ_END;
}

static enum http_read head_done(struct http_reader *r, struct http_step *out)
{
    out->used++;
    if (r->chunked)
        return go(r, SIZE);
    return r->left > 0 ? go(r, DATA) : http_read_end(r);
}

static enum http_read data(struct http_reader *r, slice in, struct http_step *out)
{
    size_t n = in.len < r->left ? in.len : (size_t)r->left;
    bool last = n == r->left && !r->chunked;
    out->body = (slice){ in.ptr, n };
    out->used += n - last;
    r->left -= n;
    if (last)
        go(r, DATA_LAST);
    else if (r->left == 0)
        go(r, CHUNK_CR);
    return HTTP_READ_BODY;
}

static int http_read_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum http_read size(struct http_reader *r, slice in, struct http_step *out)
{
    char c = in.ptr[0];
    int digit = http_read_hex(c);
    out->used++;
    if (r->got == 0)
        r->left = 0;
    if (digit >= 0) {
        if (r->got++ == SIZE_DIGITS_MAX || r->left > (uint64_t)INT64_MAX >> 4)
            return bad(r, out, 413);
        r->left = r->left << 4 | (uint64_t)digit;
        return HTTP_READ_MORE;
    }
    if (r->got == 0 || (c != '\r' && c != ';'))
        return bad(r, out, 400);
    return go(r, c == ';' ? EXT_NAME : SIZE_LF);
}

/* RFC 9112 §7.1.1: extensions are skipped. Those with blanks or quoted values are refused, because
 * parsers disagree about them. */
static enum http_read extension(struct http_reader *r, slice in, struct http_step *out)
{
    char c = in.ptr[0];
    out->used++;
    if (r->extra == HTTP_EXTRA_MAX)
        return bad(r, out, 431);
    r->extra++;
    if (is(c, T)) {
        r->got = 1;
        return HTTP_READ_MORE;
    }
    if (r->got == 0)
        return bad(r, out, 400);
    if (c == '=' && r->state == EXT_NAME)
        return go(r, EXT_VALUE);
    return c == ';' ? go(r, EXT_NAME) : c == '\r' ? go(r, SIZE_LF) : bad(r, out, 400);
}

/* Trailers must not contain fields that frame a message (RFC 9110 §6.5.1). Names are compared byte
 * by byte as they arrive: r->word[i] says whether framing_name[i] still matches. */
static const char *const framing_name[] = { "content-length", "transfer-encoding" };
enum { FRAMING_NAMES = sizeof framing_name / sizeof framing_name[0], FRAMING_NAME_MAX = 17 };

static void compare_name(struct http_reader *r, slice piece)
{
    for (size_t k = 0; k < piece.len && r->got <= FRAMING_NAME_MAX; k++, r->got++)
        for (unsigned i = 0; i < FRAMING_NAMES; i++)
            if (r->got >= strlen(framing_name[i]) ||
                (piece.ptr[k] | 0x20) != framing_name[i][r->got])
                r->word[i] = 0;
}

static bool frames(const struct http_reader *r)
{
    for (unsigned i = 0; i < FRAMING_NAMES; i++)
        if (r->word[i] != 0 && r->got == strlen(framing_name[i]))
            return true;
    return false;
}

/* Fields of a trailer are checked and ignored (RFC 9110 §6.5). */
static enum http_read trailer(struct http_reader *r, slice in, struct http_step *out)
{
    uint8_t kind = r->state == TRAILER_VALUE ? V : T;
    size_t n = r->state == TRAILER ? 0 : http_read_run(in, kind);
    out->used += n;
    if (n > HTTP_EXTRA_MAX - r->extra)
        return bad(r, out, 431);
    r->extra += (uint32_t)n;
    if (r->state == TRAILER_NAME)
        compare_name(r, (slice){ in.ptr, n });
    if (r->state == TRAILER && is(in.ptr[0], T)) {
        memset(r->word, 1, sizeof r->word);
        return go(r, TRAILER_NAME);
    }
    if (n == in.len)
        return HTTP_READ_MORE;
    char c = in.ptr[n];
    out->used++;
    if (r->state == TRAILER_NAME && c == ':' && !frames(r))
        return go(r, TRAILER_VALUE);
    if (r->state != TRAILER_NAME && c == '\r')
        return go(r, r->state == TRAILER ? END_LF : TRAILER_LF);
    return bad(r, out, 400);
}

/* One byte that must be there, and the state behind it. */
static enum http_read must(struct http_reader *r, slice in, struct http_step *out)
{
    bool cr = r->state == CHUNK_CR;
    out->used++;
    if (in.ptr[0] != (cr ? '\r' : '\n'))
        return bad(r, out, 400);
    switch (r->state) {
    case START_LF:
        return go(r, START);
    case VERSION_LF:
    case VALUE_LF:
        return go(r, FIELD);
    case SIZE_LF:
        return go(r, r->left > 0 ? CHUNK : TRAILER);
    case CHUNK_CR:
        return go(r, CHUNK_LF);
    case CHUNK_LF:
        return go(r, SIZE);
    case TRAILER_LF:
        return go(r, TRAILER);
    default: /* END_LF */
        return http_read_end(r);
    }
}

/* RFC 9112 §2.2: one empty line before a request is skipped. */
static enum http_read http_read_start(struct http_reader *r, slice in, struct http_step *out)
{
    if (in.ptr[0] == '\r' && !r->blank) {
        out->used++;
        r->blank = true;
        return go(r, START_LF);
    }
    go(r, VERB);
    return HTTP_READ_BEGIN;
}

static enum http_read http_read_step(struct http_reader *r, struct http_head *head, slice in,
                                     struct http_step *out)
{
    switch (r->state) {
    case START:
        return http_read_start(r, in, out);
    case VERB:
        return method(r, head, in, out);
    case TARGET:
        return target(r, head, in, out);
    case VERSION:
        return http_read_version(r, head, in, out);
    case FIELD:
        return http_read_field(r, head, in, out);
    case NAME:
        return http_read_name(r, head, in, out);
    case VALUE:
        return http_read_value(r, head, in, out);
    case HEAD_LF:
        return head_lf(r, head, in, out);
    case HEAD_DONE:
        return head_done(r, out);
    case DATA:
    case CHUNK:
        return data(r, in, out);
    case DATA_LAST:
        out->used++;
        return http_read_end(r);
    case SIZE:
        return size(r, in, out);
    case EXT_NAME:
    case EXT_VALUE:
        return extension(r, in, out);
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return trailer(r, in, out);
    case DEAD:
        return bad(r, out, 400);
    default:
        return must(r, in, out);
    }
}

enum http_read http_read(struct http_reader *r, struct http_head *head, slice in,
                         struct http_step *out)
{
    *out = (struct http_step){ 0 };
    while (out->used < in.len) {
        enum http_read e = http_read_step(r, head, slice_from(in, out->used), out);
        if (e != HTTP_READ_MORE)
            return e;
    }
    return HTTP_READ_MORE;
}
