#include "home/jids.h"
#include "base/ensure.h"
#include <endian.h>

void jids_add(struct buf *out, slice jid, uint32_t number)
{
    ensure(jid.len <= UINT16_MAX);
    uint32_t n = htole32(number);
    uint16_t len = htole16((uint16_t)jid.len);
    buf_append(out, &n, sizeof n);
    buf_append(out, &len, sizeof len);
    buf_add(out, jid);
}

bool jids_next(slice *packed, slice *jid, uint32_t *number)
{
    uint32_t n;
    uint16_t len;
    if (packed->len < sizeof n + sizeof len)
        return false;
    memcpy(&n, packed->ptr, sizeof n);
    memcpy(&len, packed->ptr + sizeof n, sizeof len);
    len = le16toh(len);
    slice rest = slice_from(*packed, sizeof n + sizeof len);
    if (len > rest.len)
        return false;
    *number = le32toh(n);
    *jid = (slice){ rest.ptr, len };
    *packed = slice_from(rest, len);
    return true;
}
