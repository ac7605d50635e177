#include "gate/stream_limits.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"

void stream_limits_write(struct xml_write *x, int64_t bytes, int64_t idle_ms)
{
    xml_open(x, "limits", NS_STREAM_LIMITS);
    xml_element_int(x, "max-bytes", bytes);
    if (idle_ms > 0)
        xml_element_int(x, "idle-seconds", (idle_ms + 999) / 1000);
    xml_close(x);
}

uint32_t stream_limits_read(const struct elem *parent, struct arena *tmp)
{
    struct elem limits, e;
    int64_t bytes;
    if (!elem_child(parent, "limits", NS_STREAM_LIMITS, &limits) ||
        !elem_child(&limits, "max-bytes", NS_STREAM_LIMITS, &e) ||
        !slice_int(elem_text(&e, tmp), &bytes) || bytes <= 0)
        return 0;
    bytes = bytes < STREAM_BYTES_MIN ? STREAM_BYTES_MIN : bytes;
    return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}
