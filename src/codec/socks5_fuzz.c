/* Any bytes: what is read lies in the input, and a prefix gives the same verdict or asks for more.
 */
#include "base/ensure.h"
#include "codec/socks5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(slice in)
{
    struct socks5_request q, part;
    enum socks5_result r = socks5_read_request(&q, in);
    for (size_t n = 0; n < in.len; n++) {
        enum socks5_result p = socks5_read_request(&part, (slice){ in.ptr, n });
        ensure(p == SOCKS5_MORE || (p == r && part.bytes == q.bytes));
    }
    if (r != SOCKS5_READ)
        return;
    ensure(q.bytes <= in.len && q.address.len <= 255);
    ensure(q.address.ptr + q.address.len + 2 == in.ptr + q.bytes);
    char out[SOCKS5_REPLY_MAX];
    size_t len = socks5_write_reply(out, SOCKS5_OK, q.address, q.port);
    struct socks5_request again; /* a reply looks like a request */
    ensure(socks5_read_request(&again, (slice){ out, len }) == SOCKS5_READ);
    ensure(slice_eq(again.address, q.address) && again.port == q.port && again.bytes == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice in = { (const char *)data, size };
    struct socks5_greeting g;
    if (size > 600)
        return 0;
    if (socks5_read_greeting(&g, in) == SOCKS5_READ) {
        ensure(g.bytes <= size);
        in = slice_from(in, g.bytes);
    }
    check_request(in);
    return 0;
}
