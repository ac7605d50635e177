#include "base/ensure.h"
#include "codec/http_reply.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 256 };

/* An answer that is done stays the same whatever comes behind its end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice all = { (const char *)data, size };
    struct http_reply reply, part;
    struct http_uri uri;
    if (size == 0)
        return 0;
    enum http_reply_end end = http_reply_read(&reply, all, true, BODY_MAX);
    ensure(end != HTTP_REPLY_MORE);
    if (end == HTTP_REPLY_DONE) {
        ensure(reply.status >= 100 && reply.status < 600 && reply.body.len <= BODY_MAX);
        ensure(reply.body.ptr >= all.ptr && reply.body.ptr + reply.body.len <= all.ptr + all.len);
    }
    for (size_t len = 1; len < size; len++)
        if (http_reply_read(&part, (slice){ all.ptr, len }, false, BODY_MAX) == HTTP_REPLY_DONE) {
            ensure(end == HTTP_REPLY_DONE && part.body.len == reply.body.len);
            break;
        }
    if (http_uri_read(&uri, all) || https_uri_read(&uri, all))
        ensure(uri.host.len > 0 && uri.port > 0 && uri.path.len > 0 && uri.path.ptr[0] == '/');
    return 0;
}
