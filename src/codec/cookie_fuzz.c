/* Any bytes: what is found lies in the header, has no separator in it, and is found again where the
 * same cookie stands alone. */
#include "base/arena.h"
#include "base/ensure.h"
#include "codec/cookie.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice header = { (const char *)data, size }, name = SLICE("__Host-muster");
    slice found = cookie_find(header, name);
    if (found.ptr == NULL)
        return 0;
    ensure(found.ptr >= header.ptr && found.ptr + found.len <= header.ptr + header.len);
    ensure(memchr(found.ptr, ';', found.len) == NULL);
    struct arena *arena = arena_create(0);
    slice alone =
        slice_of(arena_printf(arena, "a=b; __Host-muster=\"%.*s\"", (int)found.len, found.ptr));
    if (memchr(found.ptr, 0, found.len) == NULL)
        ensure(slice_eq(cookie_find(alone, name), found));
    arena_destroy(&arena);
    return 0;
}
