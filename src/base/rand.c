#include "base/rand.h"
#include "base/ensure.h"
#include "base/hex.h"
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
    char raw[RAND_HEX_MAX];
    ensure(bytes <= sizeof raw);
    rand_bytes(raw, bytes);
    hex_encode(out, (slice){ raw, bytes });
}
