#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_mask.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHOWN_MAX = 1 << 20 };

/* Without tags all is text, of which nothing is shown but the length; whatever comes, it ends, and
 * what is shown is not longer than what came and some brackets. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice all = { (const char *)data, size };
    struct buf out;
    for (int how = XML_MASK_TEXTS; how <= XML_MASK_BUT_BODIES; how++) {
        buf_init(&out, SHOWN_MAX);
        xml_mask(&out, all, (enum xml_mask)how);
        ensure(out.overflow || out.len <= 4 * size + 24);
        if (size > 0 && memchr(all.ptr, '<', size) == NULL)
            ensure(out.ptr[0] == '[' && out.ptr[out.len - 1] == ']' && out.len < 24);
        buf_fini(&out);
    }
    return 0;
}
