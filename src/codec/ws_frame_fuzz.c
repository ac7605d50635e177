/* Any bytes: what is read lies in the input, and a prefix gives the same verdict or asks for more.
 */
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice in = { (const char *)data, size };
    struct ws_frame f, part;
    enum ws_result r = ws_frame_read(&f, in, 4096);
    for (size_t n = 0; n < size; n++) {
        enum ws_result p = ws_frame_read(&part, (slice){ in.ptr, n }, 4096);
        ensure(p == WS_MORE || (p == r && (r != WS_READ || part.bytes == f.bytes)));
    }
    if (r != WS_READ)
        return 0;
    ensure(f.bytes <= size && f.masked.len <= 4096);
    ensure(f.masked.ptr + f.masked.len == in.ptr + f.bytes);
    char *out = mem_alloc(f.masked.len + 1), head[WS_HEAD_MAX];
    ws_unmask(out, &f);
    for (size_t i = 0; i < f.masked.len; i++)
        ensure((unsigned char)out[i] == ((unsigned char)f.masked.ptr[i] ^ f.mask[i % 4]));
    ensure(ws_head_write(head, f.opcode, f.masked.len) + f.masked.len + 4 == f.bytes);
    mem_free(&out);
    return 0;
}
