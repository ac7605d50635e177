/* Any bytes, read at once and in pieces: the same requests and the same refusal. Where Debian's
 * node-llhttp is installed, a second implementation reads what ours took: it has to accept each
 * request that ours accepts, and to find the same in it. */
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/http_read.h"
#ifdef HAVE_LLHTTP
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <llhttp.h>
#include <stdio.h>
#include <strings.h>
#pragma clang diagnostic pop
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER_BYTES = 1000 };

struct reading {
    struct http_reader reader;
    struct http_head head;
    struct buf log; /* the requests as text, and how it ended */
    size_t used;    /* behind the last complete request */
    size_t log_len; /* of the complete requests */
    bool open;
    unsigned status;
};

static void log_head(struct buf *log, const char *method, slice target, unsigned minor)
{
    buf_printf(log, "%s 1.%u ", method, minor);
    buf_add(log, target);
    buf_lit(log, "\n");
}

static void on_head(struct reading *r)
{
    static const char *const methods[] = { "?",   "GET",    "HEAD",  "POST",
                                           "PUT", "DELETE", "PATCH", "OPTIONS" };
    ensure(r->head.method > METHOD_UNKNOWN && r->head.method <= METHOD_OPTIONS);
    log_head(&r->log, methods[r->head.method], http_span(&r->head, r->head.target), r->head.minor);
    for (unsigned i = 0; i < r->head.field_count; i++) {
        buf_add(&r->log, http_span(&r->head, r->head.field[i].name));
        buf_lit(&r->log, ":");
        buf_add(&r->log, http_span(&r->head, r->head.field[i].value));
        buf_lit(&r->log, "\n");
    }
}

/* False: nothing more is to be read. */
static bool told(struct reading *r, enum http_read event, const struct http_step *step, size_t used)
{
    if (event == HTTP_READ_BEGIN) {
        ensure(!r->open);
        http_head_init(&r->head, HEADER_BYTES);
        r->open = true;
    } else if (event == HTTP_READ_HEAD) {
        on_head(r);
    } else if (event == HTTP_READ_BODY) {
        ensure(step->body.len > 0);
        buf_add(&r->log, step->body);
    } else if (event == HTTP_READ_END) {
        bool more = r->head.keep_alive;
        buf_lit(&r->log, "\nend\n");
        r->used = used;
        r->log_len = r->log.len;
        http_head_fini(&r->head);
        r->open = false;
        return more;
    } else if (event == HTTP_READ_BAD) {
        ensure(step->status >= 400);
        r->status = step->status;
        return false;
    }
    return true;
}

static void feed(struct reading *r, slice all, size_t step)
{
    struct http_step out;
    size_t used = 0;
    http_reader_init(&r->reader);
    buf_init(&r->log, 1 << 24);
    for (size_t end = 0; end < all.len;) {
        end = all.len - end < step ? all.len : end + step;
        size_t len = end - used;
        char *exact = mem_alloc(len); /* so that a read beyond it is seen */
        memcpy(exact, all.ptr + used, len);
        for (slice in = { exact, len }; in.len > 0; in = slice_from(in, out.used)) {
            enum http_read event = http_read(&r->reader, r->open ? &r->head : NULL, in, &out);
            ensure(out.used <= in.len && (event != HTTP_READ_MORE || out.used == in.len));
            used += out.used;
            if (!told(r, event, &out, used)) {
                mem_free(&exact);
                return;
            }
        }
        mem_free(&exact);
    }
}

static void end(struct reading *r)
{
    if (r->open)
        http_head_fini(&r->head);
    buf_fini(&r->log);
}

#ifdef HAVE_LLHTTP
struct other {
    llhttp_t parser; /* first: callbacks get it */
    struct buf target, fields, body, log;
    bool in_value, head;
    bool closed; /* behind the last request it reads no more */
    size_t value_at;
};

static struct other *other_of(llhttp_t *p) { return (struct other *)(void *)p; }

static int other_begin(llhttp_t *p)
{
    struct other *o = other_of(p);
    buf_clear(&o->target);
    buf_clear(&o->fields);
    buf_clear(&o->body);
    o->in_value = o->head = false;
    return 0;
}

static int other_target(llhttp_t *p, const char *at, size_t len)
{
    buf_append(&other_of(p)->target, at, len);
    return 0;
}

static int other_name(llhttp_t *p, const char *at, size_t len)
{
    if (!other_of(p)->head)
        buf_append(&other_of(p)->fields, at, len);
    return 0;
}

static int other_value(llhttp_t *p, const char *at, size_t len)
{
    struct other *o = other_of(p);
    if (o->head)
        return 0;
    if (!o->in_value) {
        buf_lit(&o->fields, ":");
        o->value_at = o->fields.len;
        o->in_value = true;
    }
    buf_append(&o->fields, at, len);
    return 0;
}

static int other_value_end(llhttp_t *p)
{
    struct other *o = other_of(p);
    if (o->head)
        return 0;
    (void)other_value(p, "", 0); /* an empty one is not told */
    slice value = http_trim(slice_from(buf_slice(&o->fields), o->value_at));
    memmove(o->fields.ptr + o->value_at, value.ptr, value.len);
    o->fields.len = o->value_at + value.len;
    buf_lit(&o->fields, "\n");
    o->in_value = false;
    return 0;
}

static int other_head(llhttp_t *p)
{
    other_of(p)->head = true;
    p->upgrade = 0; /* that is for the handler to say */
    return 0;
}

static int other_body(llhttp_t *p, const char *at, size_t len)
{
    buf_append(&other_of(p)->body, at, len);
    return 0;
}

static int other_end(llhttp_t *p)
{
    struct other *o = other_of(p);
    log_head(&o->log, llhttp_method_name((llhttp_method_t)p->method), buf_slice(&o->target),
             p->http_minor);
    buf_add(&o->log, buf_slice(&o->fields));
    buf_add(&o->log, buf_slice(&o->body));
    buf_lit(&o->log, "\nend\n");
    o->closed = !llhttp_should_keep_alive(p);
    return 0;
}

/* White space at the end of a field may be tabs (RFC 9110 §5.6.3); llhttp 8 knows "chunked" only
 * with spaces behind it, and a length of content. */
static bool has_chunked_tab(slice all)
{
    static const char word[] = "chunked";
    for (size_t i = 0; i + sizeof word <= all.len; i++) {
        size_t at = i + sizeof word - 1;
        if (strncasecmp(all.ptr + i, word, sizeof word - 1) != 0)
            continue;
        while (at + 1 < all.len && all.ptr[at] == ' ')
            at++;
        if (all.ptr[at] == '\t')
            return true;
    }
    return false;
}

static void ask_other(const struct reading *r, slice all)
{
    llhttp_settings_t calls;
    struct other o = { 0 };
    struct buf *bufs[] = { &o.target, &o.fields, &o.body, &o.log };
    llhttp_settings_init(&calls);
    calls.on_message_begin = other_begin;
    calls.on_url = other_target;
    calls.on_header_field = other_name;
    calls.on_header_value = other_value;
    calls.on_header_value_complete = other_value_end;
    calls.on_headers_complete = other_head;
    calls.on_body = other_body;
    calls.on_message_complete = other_end;
    for (unsigned i = 0; i < 4; i++)
        buf_init(bufs[i], 1 << 24);
    llhttp_init(&o.parser, HTTP_REQUEST, &calls);
    llhttp_errno_t e = llhttp_execute(&o.parser, all.ptr, r->used);
    const char *at = llhttp_get_error_pos(&o.parser);
    /* llhttp 8 loses the ';' between two chunk extensions ("a=b;c"), and closes the connection for
     * Proxy-Connection and for Connection in a trailer too. */
    bool its_fault = (e == HPE_INVALID_CHUNK_SIZE && at > all.ptr && at[-1] == ';') ||
                     (e == HPE_INVALID_TRANSFER_ENCODING && has_chunked_tab(all)) ||
                     (e == HPE_INVALID_CONTENT_LENGTH && at < all.ptr + all.len && *at == '\t');
    bool closes = (e == HPE_CLOSED_CONNECTION || (e == HPE_OK && o.closed)) && /* strict; loose */
                  o.log.len < r->log_len;
    slice its = buf_slice(&o.log), ours = { r->log.ptr, closes ? o.log.len : r->log_len };
    if (!its_fault && ((e != HPE_OK && !closes) || !slice_eq(its, ours))) {
        fprintf(stderr, "%s %s\nours:\n%.*s\nits:\n%.*s\n", llhttp_errno_name(e),
                llhttp_get_error_reason(&o.parser) ? llhttp_get_error_reason(&o.parser) : "",
                (int)r->log_len, r->log.ptr, (int)o.log.len, o.log.ptr);
        ensure(false);
    }
    for (unsigned i = 0; i < 4; i++)
        buf_fini(bufs[i]);
}
#else
static void ask_other(const struct reading *r, slice all)
{
    (void)r;
    (void)all;
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice all = { (const char *)data, size };
    const size_t steps[] = { 1, size > 0 ? 2 + data[size - 1] % 16 : 1 };
    struct reading whole = { 0 };
    feed(&whole, all, size > 0 ? size : 1);
    for (unsigned i = 0; i < 2; i++) {
        struct reading part = { 0 };
        feed(&part, all, steps[i]);
        ensure(part.status == whole.status && part.used == whole.used);
        ensure(slice_eq(buf_slice(&part.log), buf_slice(&whole.log)));
        end(&part);
    }
    if (whole.used > 0)
        ask_other(&whole, all);
    end(&whole);
    return 0;
}
