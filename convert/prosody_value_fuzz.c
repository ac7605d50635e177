#include "base/arena.h"
#include "base/ensure.h"
#include "codec/xml_read.h"
#include "convert/prosody_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t value_fuzz_walk(const struct lua_value *v, unsigned depth)
{
    size_t sum = v->text.len;
    ensure(depth <= 2 * LUA_DEPTH_MAX + 2); /* an element has a table of attributes */
    for (size_t i = 0; i < v->text.len; i++)
        sum += (unsigned char)v->text.ptr[i];
    for (const struct lua_field *f = v->first; f != NULL; f = f->next) {
        ensure(v->type == LUA_TABLE && f->key.type != LUA_TABLE && f->key.type != LUA_NIL);
        sum += value_fuzz_walk(&f->key, depth + 1) + value_fuzz_walk(&f->value, depth + 1);
    }
    return sum;
}

/* All texts can be read, tables have a bounded depth, and an error says something. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = { "json", "xml" };
    struct xml_work *xml = xml_work_create();
    slice text = { (const char *)data, size };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct arena *arena = arena_create(0);
        struct lua_value v;
        struct why why = { "" };
        if (prosody_value(&v, slice_of(types[i]), text, xml, arena, &why) == OK)
            ensure(value_fuzz_walk(&v, 0) + 1 > 0);
        else
            ensure(why.text[0] != '\0');
        arena_destroy(&arena);
    }
    xml_work_destroy(&xml);
    return 0;
}
