#include "base/ensure.h"
#include "codec/pie.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Units lie within the bytes, the work ends, and it does not matter in which pieces they come. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice all = { (const char *)data, size };
    struct pie whole, pieces;
    pie_init(&whole, NULL);
    whole.openfire = size % 2 == 1;
    pie_init(&pieces, &whole);
    size_t at = 0, from = 0, have = 0;
    for (;;) {
        size_t used, used2;
        slice unit, unit2;
        enum pie_unit u = pie_next(&whole, slice_from(all, at), true, &used, &unit), v;
        ensure(used <= size - at);
        at += used;
        for (;;) {
            v = pie_next(&pieces, (slice){ all.ptr + from, have - from }, have == size, &used2,
                         &unit2);
            from += used2;
            if (v != PIE_MORE)
                break;
            ensure(have < size);
            have += 1 + (size - have) / 7;
        }
        ensure(u == v && slice_eq(unit, unit2));
        if (u == PIE_END || u == PIE_ERROR)
            return 0;
        ensure(used > 0);
    }
}
