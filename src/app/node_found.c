#include "app/node_found.h"
#include "base/arena.h"
#include "base/utf8.h"

static bool may_have_password(slice text)
{
    return text.len > 0 &&
           (memchr(text.ptr, '@', text.len) != NULL || memchr(text.ptr, '=', text.len) != NULL ||
            memmem(text.ptr, text.len, "//", 2) != NULL ||
            memmem(text.ptr, text.len, ":/", 2) != NULL);
}

const char *node_found(struct arena *arena, slice text)
{
    bool hides = may_have_password(text);
    size_t len = 0;
    while (len < text.len && len < NODE_FOUND_MAX &&
           (!hides || (text.ptr[len] >= 'a' && text.ptr[len] <= 'z')))
        len++;
    len = utf8_valid_len((slice){ text.ptr, len });
    char *out = arena_printf(arena, "\"%.*s%s\"", (int)len, text.ptr, len < text.len ? "…" : "");
    for (char *c = out; *c != '\0'; c++)
        *c = (unsigned char)*c < ' ' ? '?' : *c;
    return out;
}
