#include "codec/ws_frame.h"

enum { FIN = 0x80, RESERVED = 0x70, MASKED = 0x80, CONTROL = 0x08, CONTROL_MAX = 125 };

static bool ws_frame_known(unsigned opcode)
{
    return opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
}

static uint64_t ws_frame_number(const unsigned char *at, size_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++)
        n = n << 8 | at[i];
    return n;
}

/* The length in as few bytes as possible (RFC 6455 §5.2). */
static bool length_fits(uint64_t len, size_t in_bytes)
{
    return in_bytes == 0 || (in_bytes == 2 && len >= 126) ||
           (in_bytes == 8 && len > UINT16_MAX && len >> 63 == 0);
}

enum ws_result ws_frame_read(struct ws_frame *out, slice in, size_t payload_max)
{
    const unsigned char *b = (const unsigned char *)in.ptr;
    if (in.len < 2)
        return WS_MORE;
    unsigned opcode = b[0] & 0x0fu;
    uint64_t len = b[1] & 0x7fu;
    size_t more = len == 127 ? 8 : len == 126 ? 2 : 0, head = 2 + more + 4;
    if ((b[0] & RESERVED) != 0 || !ws_frame_known(opcode) || (b[1] & MASKED) == 0 ||
        ((opcode & CONTROL) != 0 && ((b[0] & FIN) == 0 || len > CONTROL_MAX)))
        return WS_WRONG;
    if (in.len < head)
        return WS_MORE;
    if (more > 0)
        len = ws_frame_number(b + 2, more);
    if (!length_fits(len, more))
        return WS_WRONG;
    if (len > payload_max)
        return WS_LONG;
    if (in.len - head < len)
        return WS_MORE;
    *out = (struct ws_frame){ .opcode = (enum ws_opcode)opcode,
                              .fin = (b[0] & FIN) != 0,
                              .masked = { in.ptr + head, (size_t)len },
                              .bytes = head + (size_t)len };
    memcpy(out->mask, b + head - 4, 4);
    return WS_READ;
}

void ws_unmask(char *out, const struct ws_frame *f)
{
    uint64_t mask, word;
    size_t i = 0, len = f->masked.len;
    memcpy(&mask, f->mask, 4);
    memcpy((char *)&mask + 4, f->mask, 4);
    for (; len - i >= 8; i += 8) {
        memcpy(&word, f->masked.ptr + i, 8);
        word ^= mask;
        memcpy(out + i, &word, 8);
    }
    for (; i < len; i++)
        out[i] = (char)((unsigned char)f->masked.ptr[i] ^ f->mask[i % 4]);
}

size_t ws_head_write(char out[WS_HEAD_MAX], enum ws_opcode opcode, size_t payload)
{
    size_t more = payload > UINT16_MAX ? 8 : payload > 125 ? 2 : 0;
    out[0] = (char)(FIN | (unsigned)opcode);
    out[1] = (char)(more == 8 ? 127 : more == 2 ? 126 : payload);
    for (size_t i = 0; i < more; i++)
        out[2 + i] = (char)(payload >> (more - 1 - i) * 8);
    return 2 + more;
}
