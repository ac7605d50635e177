/* What passes holds what the header promises. */
#include "base/arena.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void path(slice in, struct arena *tmp)
{
    slice out, segment, rest;
    if (http_path_decode(in, tmp, &out) != OK)
        return;
    ensure(out.len > 0 && out.len <= in.len && out.ptr[0] == '/' && utf8_valid(out));
    for (rest = slice_from(out, 1); rest.len > 0;) {
        slice_cut(rest, '/', &segment, &rest);
        ensure(!slice_is(segment, ".") && !slice_is(segment, ".."));
    }
}

static void range(slice in)
{
    const uint64_t sizes[] = { 0, 1, 1000, UINT64_MAX };
    for (unsigned i = 0; i < 4; i++) {
        uint64_t first, last;
        if (http_range_parse(in, sizes[i], &first, &last) == HTTP_RANGE_PART)
            ensure(first <= last && last < sizes[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice in = { (const char *)data, size }, value;
    struct arena *tmp = arena_create(0);
    path(in, tmp);
    range(in);
    if (http_query_get(in, "a", tmp, &value))
        ensure(value.len <= size && utf8_valid(value));
    http_has_token(in, "upgrade");
    http_has_etag(in, SLICE("\"tag\""));
    arena_destroy(&tmp);
    return 0;
}
