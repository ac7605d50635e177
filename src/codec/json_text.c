#include "codec/json_text.h"
#include "base/buf.h"

void json_text(struct buf *out, slice text)
{
    buf_lit(out, "\"");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else
            buf_append(out, &c, 1);
    }
    buf_lit(out, "\"");
}
