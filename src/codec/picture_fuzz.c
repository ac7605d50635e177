/* Any bytes: it ends, and of what it reads a longer text says the same. */
#include "base/arena.h"
#include "base/ensure.h"
#include "codec/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct picture p, more;
    slice bytes = { (const char *)data, size };
    if (!picture_read(&p, bytes))
        return 0;
    ensure(p.type != NULL);
    struct arena *arena = arena_create(0);
    char *copy = arena_new(arena, char, size + 1);
    memcpy(copy, data, size);
    ensure(picture_read(&more, (slice){ copy, size + 1 }));
    ensure(p.type == more.type && p.width == more.width && p.height == more.height);
    arena_destroy(&arena);
    return 0;
}
