#include "base/rand.h"
#include "base/ensure.h"
#include <errno.h>
#include <sys/random.h>

void rand_bytes(void *out, size_t len)
{
    char *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        ensure(got > 0);
        at += got;
        len -= (size_t)got;
    }
}

uint64_t rand_u64(void)
{
    uint64_t value;
    rand_bytes(&value, sizeof value);
    return value;
}

void rand_hex(char *out, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    rand_bytes(out + bytes, bytes); /* the upper half holds the bytes until they are written */
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)out[bytes + i];
        out[2 * i] = digits[byte >> 4];
        out[2 * i + 1] = digits[byte & 15];
    }
    out[2 * bytes] = '\0';
}
