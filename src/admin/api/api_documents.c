#include "admin/api/api_documents.h"
#include "admin/api/api_private.h"
#include "admin/api/api_reference.h"
#include "admin/console_page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "http/parse.h"
#include "http/server.h"
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>

enum { LINES_BYTES_MAX = 128, TAG_BYTES = 16, TAG_LEN = 2 * TAG_BYTES };
static const slice base_mark = SLICE_INIT("{base of the API}"); /* in the page, for the base */

struct made_once {
    pthread_once_t once;
    void (*make)(void);
    struct buf text;
    char tag[TAG_LEN + 1];
};

static void document_tag(slice text, char tag[TAG_LEN + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
    EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL);
    hex_encode(tag, (slice){ (const char *)digest, TAG_BYTES });
}

static void made(struct made_once *d)
{
    ensure(!d->text.overflow && d->text.len > 0); /* all of it is in the program */
    document_tag(buf_slice(&d->text), d->tag);
}

static void make_openapi(void);
static void make_page(void);
static struct made_once openapi = { .once = PTHREAD_ONCE_INIT, .make = make_openapi };
static struct made_once page = { .once = PTHREAD_ONCE_INIT, .make = make_page };

static void make_openapi(void)
{
    buf_init(&openapi.text, API_ANSWER_MAX);
    api_openapi(&openapi.text);
    made(&openapi);
}

static void make_page(void)
{
    buf_init(&page.text, API_ANSWER_MAX);
    api_page(&page.text, base_mark);
    made(&page);
}

static struct made_once *document_of(slice rest)
{
    struct made_once *d = slice_is(rest, "/") ? &page : &openapi;
    (void)pthread_once(&d->once, d->make);
    return d;
}

bool api_is_document(slice rest) { return slice_is(rest, "/") || slice_is(rest, "/openapi.json"); }

/* The same page for another base is another one. */
static slice document_etag(const struct made_once *d, slice base, struct arena *tmp)
{
    char tag[TAG_LEN + 1];
    if (d == &openapi)
        return slice_of(arena_printf(tmp, "\"%s\"", d->tag));
    document_tag(slice_of(arena_printf(tmp, "%s %.*s", d->tag, SLICE_ARG(base))), tag);
    return slice_of(arena_printf(tmp, "\"%s\"", tag));
}

static void with_base(struct buf *out, slice rest, slice base)
{
    const char *at;
    while ((at = memmem(rest.ptr, rest.len, base_mark.ptr, base_mark.len)) != NULL) {
        buf_append(out, rest.ptr, (size_t)(at - rest.ptr));
        buf_add(out, base);
        rest = slice_from(rest, (size_t)(at - rest.ptr) + base_mark.len);
    }
    buf_add(out, rest);
}

static void answer_whole(struct http_request *r, struct http_answer *a, const struct made_once *d,
                         slice base)
{
    struct buf out;
    a->status = 200;
    a->constant = d == &openapi;
    a->type = a->constant ? "application/json" : "text/html; charset=utf-8";
    buf_init(&out, API_ANSWER_MAX);
    if (!a->constant)
        with_base(&out, buf_slice(&d->text), base);
    a->body = a->constant ? buf_slice(&d->text) : buf_fit(&out);
    http_answer(r, a);
    buf_fini(&out);
}

void api_document_answer(struct http_request *r, slice rest, slice base)
{
    const struct made_once *d = document_of(rest);
    slice etag = document_etag(d, base, http_scratch(r)), match = http_header(r, "If-Match");
    struct buf lines;
    if (match.ptr != NULL && !api_etag_lets_change(match, etag.ptr)) {
        api_problem(
            r, &(struct api_problem){ .status = 412,
                                      .detail = SLICE("it is not as If-Match says; read it again"),
                                      .error = err_name(E_CONFLICT) });
        return;
    }
    buf_init(&lines, LINES_BYTES_MAX);
    http_header_line(&lines, "ETag", etag);
    struct http_answer a = { .status = 304,
                             .cache = "private, no-cache",
                             .policy = d == &page ? CONSOLE_POLICY : NULL,
                             .headers = buf_fit(&lines) };
    if (http_has_etag(http_header(r, "If-None-Match"), etag))
        http_answer(r, &a);
    else
        answer_whole(r, &a, d, base);
    buf_fini(&lines);
}
