/* Any bytes: no crash, and the verdict on a prefix is the verdict on the whole, or E_AGAIN. */
#include "base/ensure.h"
#include "base/mem.h"
#include "io/conn_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err parse(const uint8_t *data, size_t len, size_t *taken, struct conn_info *info)
{
    char *exact = mem_alloc(len > 0 ? len : 1); /* so that a read beyond it is seen */
    if (len > 0)
        memcpy(exact, data, len);
    conn_info_set(info, NULL);
    *taken = 0;
    enum err e = conn_proxy_parse((slice){ exact, len }, taken, info);
    mem_free(&exact);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conn_info whole;
    size_t taken;
    enum err e = parse(data, size, &taken, &whole);
    ensure(e == OK || e == E_AGAIN || e == E_PROTO);
    ensure(taken <= size && taken <= PROXY_HEADER_BYTES + PROXY_BODY_MAX);
    struct ip_text text = conn_info_text(&whole);
    ensure(memchr(text.text, '\0', sizeof text.text) != NULL);
    struct conn_info part;
    size_t taken_part;
    for (size_t len = 0; len < size && len < 128; len++) {
        enum err p = parse(data, len, &taken_part, &part);
        ensure(p == E_AGAIN || p == e);
        ensure(p != OK || (taken_part == taken && len >= taken));
    }
    return 0;
}
