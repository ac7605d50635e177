/* lua: reads the files that Prosody stores data in: Lua that only builds tables of
 * constants. `return {…};`, or a list: `item({…});` any number of times. Nothing is run. Pure.
 *
 * Limits: LUA_DEPTH_MAX tables inside each other, LUA_FIELDS_MAX fields in all. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

enum { LUA_DEPTH_MAX = 128, LUA_FIELDS_MAX = 500000 };
enum lua_type { LUA_NIL, LUA_BOOLEAN, LUA_NUMBER, LUA_STRING, LUA_TABLE };

struct lua_value {
    enum lua_type type;
    bool truth;              /* LUA_BOOLEAN */
    slice text;              /* LUA_STRING; of LUA_NUMBER, as written */
    struct lua_field *first; /* LUA_TABLE, in the order of the file */
};
struct lua_field {
    struct lua_field *next;
    struct lua_value key, value; /* key: LUA_NUMBER where none is written */
};

/* In the arena; strings may borrow the text. E_SYNTAX: `why` says where and what. */
NODISCARD enum err lua_read(struct lua_value *out, slice text, struct arena *tmp, struct why *why);

/* Each item of a file of them in turn, which is forgotten then, however many there are;
 * LUA_FIELDS_MAX holds for each. The arena is reset. */
typedef void lua_item_fn(void *arg, const struct lua_value *item);
NODISCARD enum err lua_each(slice text, struct arena *tmp, lua_item_fn *fn, void *arg,
                            struct why *why);

/* The field of a string as key; NULL: it is not there, or `table` is no table, or NULL. */
const struct lua_value *lua_get(const struct lua_value *table, const char *key);
/* Its text, if it is a string or a number; else empty. */
slice lua_text(const struct lua_value *table, const char *key);
