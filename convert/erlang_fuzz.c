#include "base/arena.h"
#include "base/ensure.h"
#include "convert/erlang.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t erlang_fuzz_walk(const struct erlang_term *t, unsigned depth)
{
    size_t sum = t->text.len;
    ensure(depth <= ERLANG_DEPTH_MAX + 1);
    for (size_t i = 0; i < t->text.len; i++)
        sum += (unsigned char)t->text.ptr[i];
    for (const struct erlang_term *c = t->first; c != NULL; c = c->next) {
        ensure(t->type >= ERLANG_TUPLE);
        sum += erlang_fuzz_walk(c, depth + 1);
    }
    return sum;
}

/* All texts can be read, terms have a bounded depth, an error says something; and what is cut off
 * at each full stop is all of the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(0);
    struct erlang_term t;
    struct why why = { "" };
    slice text = { (const char *)data, size };
    if (erlang_read(&t, text, arena, &why) == OK)
        ensure(erlang_fuzz_walk(&t, 0) + 1 > 0 && erlang_count(&t) <= size);
    else
        ensure(why.text[0] != '\0');
    for (size_t n; text.len > 0 && (n = erlang_length(text, true)) > 0;) {
        ensure(n <= text.len && (n == text.len || erlang_length(text, false) == n));
        text = slice_from(text, n);
    }
    arena_destroy(&arena);
    return 0;
}
