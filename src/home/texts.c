#include "home/texts.h"
#include "base/ensure.h"
#include <endian.h>

void texts_add(struct buf *out, slice text)
{
    ensure(text.len <= UINT32_MAX);
    const uint32_t len = htole32((uint32_t)text.len);
    buf_append(out, &len, sizeof len);
    buf_add(out, text);
}

bool texts_next(slice *packed, slice *text)
{
    uint32_t len;
    if (packed->len < sizeof len)
        return false;
    memcpy(&len, packed->ptr, sizeof len);
    len = le32toh(len);
    slice rest = slice_from(*packed, sizeof len);
    if (len > rest.len)
        return false;
    *text = (slice){ rest.ptr, len };
    *packed = slice_from(rest, len);
    return true;
}
