/* hex: bytes as lower-case hexadecimal digits and back. */
#pragma once
#include "base/slice.h"

void hex_encode(char *out, slice bytes); /* 2 * len digits and a NUL; may not overlap */
/* false: not exactly `bytes` bytes of lower-case digits. */
bool hex_decode(void *out, size_t bytes, slice text);
