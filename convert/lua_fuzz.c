#include "base/arena.h"
#include "base/ensure.h"
#include "convert/lua.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t lua_fuzz_walk(const struct lua_value *v, unsigned depth)
{
    size_t sum = v->text.len;
    ensure(depth <= LUA_DEPTH_MAX + 1);
    for (size_t i = 0; i < v->text.len; i++)
        sum += (unsigned char)v->text.ptr[i];
    for (const struct lua_field *f = v->first; f != NULL; f = f->next) {
        ensure(v->type == LUA_TABLE && f->key.type != LUA_TABLE && f->key.type != LUA_NIL);
        sum += lua_fuzz_walk(&f->key, depth + 1) + lua_fuzz_walk(&f->value, depth + 1);
    }
    return sum;
}

static void lua_fuzz_item(void *arg, const struct lua_value *item)
{
    size_t *sum = arg;
    *sum += lua_fuzz_walk(item, 1) + 1;
}

/* All texts can be read, tables have a bounded depth, and an error says something. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(0);
    struct lua_value v;
    struct why why = { "" };
    if (lua_read(&v, (slice){ (const char *)data, size }, arena, &why) == OK)
        ensure(lua_fuzz_walk(&v, 0) + 1 > 0);
    else
        ensure(why.text[0] != '\0');
    struct arena *each = arena_create(0);
    size_t sum = 0;
    why.text[0] = '\0';
    if (lua_each((slice){ (const char *)data, size }, each, lua_fuzz_item, &sum, &why) != OK)
        ensure(why.text[0] != '\0');
    arena_destroy(&each);
    arena_destroy(&arena);
    return 0;
}
