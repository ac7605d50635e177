#include "admin/console_page.h"
#include "base/buf.h"
#include "base/hex.h"
#include "codec/http_read.h"
#include "core/feature.h"
#include "http/parse.h"
#include "http/server.h"
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>

#define CONSOLE_ROOT "/admin"

enum { LINES_BYTES_MAX = 512, TAG_BYTES = 8 };

/* The bytes of build/admin/FILE and of FILE.gz, as `name`, `name`_end, `name`_gz, `name`_gz_end. */
#define EMBED(name, file)                                                                          \
    __asm__(".section .rodata\n"                                                                   \
            ".global console_" #name "\nconsole_" #name ":\n.incbin \"build/admin/" file "\"\n"    \
            ".global console_" #name "_end\nconsole_" #name "_end:\n"                              \
            ".global console_" #name "_gz\nconsole_" #name "_gz:\n"                                \
            ".incbin \"build/admin/" file ".gz\"\n"                                                \
            ".global console_" #name "_gz_end\nconsole_" #name "_gz_end:\n"                        \
            ".previous\n");                                                                        \
    extern const char console_##name[], console_##name##_end[];                                    \
    extern const char console_##name##_gz[], console_##name##_gz_end[]

EMBED(page, "index.html");
EMBED(script, "app.js");
EMBED(style, "style.css");
EMBED(icon, "icon.svg");
EMBED(german, "de.json");
EMBED(reference, "reference.js"); /* of the page at /api/v1/ */
EMBED(reference_style, "reference.css");

#define BYTES(name)                                                                                \
    console_##name, console_##name##_end, console_##name##_gz, console_##name##_gz_end

static struct file {
    const char *path, *type;
    const char *from, *end, *gz_from, *gz_end;
    char tag[2 * TAG_BYTES + 1]; /* the same in each server of the same build */
} files[] = {
    { "/", "text/html; charset=utf-8", BYTES(page), "" },
    { "/app.js", "text/javascript; charset=utf-8", BYTES(script), "" },
    { "/style.css", "text/css; charset=utf-8", BYTES(style), "" },
    { "/icon.svg", "image/svg+xml", BYTES(icon), "" },
    { "/de.json", "application/json", BYTES(german), "" },
    { "/reference.js", "text/javascript; charset=utf-8", BYTES(reference), "" },
    { "/reference.css", "text/css; charset=utf-8", BYTES(reference_style), "" },
};

static slice plain_of(const struct file *f)
{
    return (slice){ f->from, (size_t)(f->end - f->from) };
}

/* Made at the first request: most starts of a server see none. */
static void make_tags(void)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
        slice text = plain_of(&files[i]);
        EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL);
        hex_encode(files[i].tag, (slice){ (const char *)digest, TAG_BYTES });
    }
}

static void send_file(struct http_request *r, const struct file *f)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct buf lines;
    char etag[2 * TAG_BYTES + 8];
    (void)pthread_once(&once, make_tags);
    bool gzip = http_has_token(http_header(r, "Accept-Encoding"), "gzip");
    snprintf(etag, sizeof etag, "\"%s%s\"", f->tag, gzip ? "-gz" : "");
    buf_init(&lines, LINES_BYTES_MAX);
    http_header_line(&lines, "ETag", slice_of(etag));
    http_header_line(&lines, "Vary", SLICE("Accept-Encoding"));
    struct http_answer a = { .status = 304, .cache = "no-cache", .policy = CONSOLE_POLICY };
    if (!http_has_etag(http_header(r, "If-None-Match"), slice_of(etag))) {
        a.status = 200;
        a.type = f->type;
        a.constant = true;
        a.body = gzip ? (slice){ f->gz_from, (size_t)(f->gz_end - f->gz_from) } : plain_of(f);
        if (gzip)
            http_header_line(&lines, "Content-Encoding", SLICE("gzip"));
    }
    a.headers = buf_fit(&lines);
    http_answer(r, &a);
    buf_fini(&lines);
}

static void console_get(struct http_request *r)
{
    slice name = slice_from(r->path, sizeof CONSOLE_ROOT - 1);
    if (name.len == 0) { /* the page names its files beside itself */
        http_answer(r, &(struct http_answer){
                           .status = 302, .headers = SLICE("Location: " CONSOLE_ROOT "/\r\n") });
        return;
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (slice_is(name, files[i].path)) {
            send_file(r, &files[i]);
            return;
        }
    http_answer_text(r, 404, SLICE("There is no such file.\n"));
}

static const struct http_route routes[] = {
    { .path = CONSOLE_ROOT,
      .group = "admin",
      .methods = HTTP_M_GET,
      .flags = HTTP_OWN_LISTENER | HTTP_BELOW | HTTP_WHEN_CROWDED,
      .handle = console_get },
    { 0 },
};

const struct feature console_page_feature = { .name = "console_page", .http = routes };
