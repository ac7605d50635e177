/* ws_frame: WebSocket frames (RFC 6455 §5) as a server reads and writes them. Pure.
 *
 * A frame is read where it lies: nothing is kept between calls, the caller comes again with the
 * same bytes and more. Clients mask, servers do not. */
#pragma once
#include "base/slice.h"

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10
};

/* RFC 6455 §7.4.1 */
enum ws_code {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_UNSUPPORTED = 1003,
    WS_BAD_DATA = 1007,
    WS_POLICY = 1008,
    WS_TOO_BIG = 1009
};

struct ws_frame {
    enum ws_opcode opcode;
    bool fin;
    slice masked; /* the payload, in the input */
    unsigned char mask[4];
    size_t bytes; /* of the whole frame */
};

enum ws_result {
    WS_READ,  /* out is filled */
    WS_MORE,  /* not complete */
    WS_WRONG, /* reserved bits or opcodes, no mask, a length in too many bytes, a long or fragmented
                 control frame: 1002 */
    WS_LONG   /* a payload above the maximum: 1009; known before it has come */
};
enum ws_result ws_frame_read(struct ws_frame *out, slice in, size_t payload_max);
void ws_unmask(char *out, const struct ws_frame *f); /* room for masked.len bytes */

enum { WS_HEAD_MAX = 10 };
/* The head of an unfragmented frame; its length. */
size_t ws_head_write(char out[WS_HEAD_MAX], enum ws_opcode opcode, size_t payload);
