#include "base/buf.h"
#include "base/ensure.h"
#include "codec/syslog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20 };

/* The value of a field, read back as RFC 5424 §6.3.3 says; the end of the element. */
static size_t after_value(slice text, size_t at)
{
    for (; at < text.len && text.ptr[at] != '"'; at++) {
        ensure((unsigned char)text.ptr[at] >= ' ' && text.ptr[at] != ']');
        if (text.ptr[at] == '\\')
            at++;
    }
    ensure(at < text.len);
    return at;
}

/* A server in a setting; and a value that nobody trusts in a message and in a frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char begin[] = "<10>1 1970-01-01T00:00:00.000001Z h muster - k [muster@32473 v=\"";
    slice all = { (const char *)data, size }, frames, one;
    struct syslog_server server;
    if (syslog_server_read(all, &server))
        ensure(server.host.len > 0 && server.port > 0);
    frames = all;
    for (size_t left = size + 1; syslog_unframe(&frames, &one); left = frames.len)
        ensure(frames.len < left && one.len < size);
    if (size == 0 || size > 4096)
        return 0;
    const struct syslog_field fields[] = { { "v", all }, { 0 } };
    const struct syslog_line line = { .severity = SYSLOG_CRITICAL,
                                      .facility = 1,
                                      .at_us = 1,
                                      .host = SLICE_INIT("h"),
                                      .kind = "k",
                                      .fields = fields,
                                      .text = all };
    struct buf out;
    buf_init(&out, OUT_MAX);
    syslog_write(&out, &line);
    slice made = buf_slice(&out);
    ensure(made.len > sizeof begin && memcmp(made.ptr, begin, sizeof begin - 1) == 0);
    size_t end = after_value(made, sizeof begin - 1);
    ensure(made.len == end + 3 + size && memcmp(made.ptr + end, "\"] ", 3) == 0);
    for (size_t i = 0; i < made.len; i++)
        ensure((unsigned char)made.ptr[i] >= ' ');
    buf_clear(&out);
    syslog_journal(&out, &line);
    ensure(!out.overflow);
    buf_fini(&out);
    return 0;
}
